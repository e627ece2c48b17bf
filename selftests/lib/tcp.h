/* SPDX-License-Identifier: GPL-2.0 */
/* TCP over the loopback interface */
#ifndef SELFTESTS_TCP_H
#define SELFTESTS_TCP_H

/* The interface is down when a host has booted.  The case fails when anything here does */
void tcp_loopback_up(void);

/* Two ends of a new connection */
void tcp_connection(int *ends);

#endif /* SELFTESTS_TCP_H */
