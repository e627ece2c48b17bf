/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The logging channel: a log on its way from primary to backup, over a connected TCP socket.
 */
#ifndef _KVMFT_CHANNEL_H
#define _KVMFT_CHANNEL_H

#include <linux/net.h>

#include "transport.h"
#include "wire.h"

/**
 * struct kvmft_channel_config - what both sides have to agree on, and times
 * @role: of this side
 * @session: identity of the protected VM
 * @generation: how many times a side went live before
 * @arbiter: an arbiter decides who goes live
 * @instance: primary with an arbiter: of the pair, as it is there; else zero
 * @cpuid: hash of the guest's CPUID
 * @slots: hash of the VM's memory slots
 * @accept: backup: may it follow the primary whose pair is @instance?  Called while the channel is
 *	opened, before it greets back, with @accept_arg; may sleep.  An error, and the reason at
 *	@why; NULL: it may
 * @accept_arg: see there
 * @acked: primary: called by the receiver when the backup may have acknowledged more; may sleep,
 *	but not for long: what the backup says waits meanwhile.  Or NULL
 * @heartbeat_ms: the peer hears from this side at least this often
 * @timeout_ms: a peer that is silent for so long has failed
 */
struct kvmft_channel_config {
	enum kvmft_role role;
	u8 session[16];
	u64 generation;
	bool arbiter;
	u8 instance[16];
	u64 cpuid;
	u64 slots;
	int (*accept)(void *arg, const u8 *instance, const char **why);
	void *accept_arg;
	void (*acked)(const struct kvmft_transport *transport);
	u32 heartbeat_ms;
	u32 timeout_ms;
};

/**
 * struct kvmft_channel_status - how far a channel is
 * @acked: primary: bytes of the log that the backup has acknowledged; backup: acknowledged
 *	to the primary
 * @peer_seq: entries that the peer has written or replayed, as it said last
 * @lag_us: see &struct kvmft_session_status
 * @copied: bytes of the log that TCP had to copy: the network card can not gather
 */
struct kvmft_channel_status {
	u64 acked;
	u64 peer_seq;
	u64 lag_us;
	u64 copied;
};

/*
 * Greet the peer at the other end of @sock and wait until both agree.  Takes a reference to the
 * socket's file.  Returns an ERR_PTR() if they do not; the kernel log says why, on both sides if
 * that can be.  A backup greets when it has found nothing wrong: no primary runs its guest by the
 * word of one that refuses it.
 *
 * -EINVAL: no connected TCP socket.  -EPROTO: the peer does not match, or does not speak kvmft's
 * language, or refuses.  -ETIMEDOUT, -ECONNRESET, ...: it does not answer.  -EINTR: a signal came.
 * And errors of @config->accept().
 */
struct kvmft_transport *kvmft_channel_open(struct socket *sock,
					   const struct kvmft_channel_config *config);

/* Of a transport that is a channel; else zeroes. */
void kvmft_channel_status(struct kvmft_transport *transport, struct kvmft_channel_status *status);

#endif /* _KVMFT_CHANNEL_H */
