/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The socket of a channel.
 */
#ifndef _KVMFT_TCP_H
#define _KVMFT_TCP_H

#include <linux/net.h>

/* Is it one of TCP's, and connected? */
bool kvmft_tcp_is_connected(const struct socket *sock);

/* What is sent leaves at once; calls wait so many jiffies at most. */
void kvmft_tcp_set_up(struct socket *sock, long receive_timeout, long send_timeout);

/* Does what carries it take pages as they are?  Else TCP copies them. */
bool kvmft_tcp_gathers(const struct socket *sock);

#endif /* _KVMFT_TCP_H */
