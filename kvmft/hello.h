/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a side says of itself when it meets the other.
 */
#ifndef _KVMFT_HELLO_H
#define _KVMFT_HELLO_H

struct kvmft_channel_config;
struct kvmft_wire_hello;

/* By @config, and of this host. */
void kvmft_hello(struct kvmft_wire_hello *hello, const struct kvmft_channel_config *config);

#endif /* _KVMFT_HELLO_H */
