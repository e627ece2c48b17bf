/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One end of a channel, and its sending half; channel.c has the other, and says how they work.
 */
#ifndef _KVMFT_SENDER_H
#define _KVMFT_SENDER_H

#include <linux/bvec.h>
#include <linux/completion.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/timer.h>

#include <uapi/linux/kvmft.h>

#include "lag.h"
#include "transport.h"
#include "wire.h"

/* Memory of the ring; all that is published fits into one message. */
#define KVMFT_CHANNEL_RING	KVMFT_WIRE_ENTRIES_MAX

/* So many bytes in the ring are sent at once; fewer so many jiffies after they came. */
#define KVMFT_SEND_SIZE		16384
#define KVMFT_SEND_DELAY	1

/**
 * struct kvmft_channel - one end
 * @transport: the ring, and errors
 * @sock: the socket
 * @hello: what this side says of itself
 * @peer: role of the other
 * @heartbeat: jiffies between two marks, at most
 * @timeout: jiffies of silence that are a failure
 * @sender: sends
 * @receiver: receives
 * @running: completed by the sender
 * @accept: see &struct kvmft_channel_config
 * @accept_arg: see there
 * @acked: see there
 * @greeted: the peer's hello has come, and is accepted; written by the receiver
 * @end: why the session ended, &enum kvmft_end; 0: it has not.  @text is valid then
 * @text: why, for people
 * @left: the peer has said farewell; written by the receiver
 * @closing: the sender has sent all, the receiver is to stop
 * @send_lock: protects @out, @marked, @marked_at and @gone
 * @gone: farewell has been said: nothing is sent any more
 * @out: messages sent
 * @in: messages received
 * @sent: primary: bytes of the log sent; written under @send_lock
 * @flush: primary: runs since bytes were published
 * @due: some of them have waited; set by @flush, cleared by the sender
 * @marked: bytes that the last mark told
 * @marked_at: when that was, in jiffies
 * @heard: when the last valid message came, in jiffies
 * @advanced: primary: when the backup got on last, in jiffies; written by the receiver
 * @moved: primary: when the backup got on last, or the guest did not wait for it, in jiffies
 * @lag: of the backup; written by the receiver
 * @copied: see there
 * @pages: of the ring, as TCP gets them
 * @payload: of the message being received
 */
struct kvmft_channel {
	struct kvmft_transport transport;
	struct socket *sock;
	struct kvmft_wire_hello hello;
	enum kvmft_role peer;
	unsigned long heartbeat;
	unsigned long timeout;
	struct task_struct *sender;
	struct task_struct *receiver;
	struct completion running;
	int (*accept)(void *arg, const u8 *instance, const char **why);
	void *accept_arg;
	void (*acked)(const struct kvmft_transport *transport);
	bool greeted;
	u32 end;
	char text[KVMFT_WIRE_TEXT_MAX + 1];
	bool left;
	bool closing;
	struct mutex send_lock; /* see above */
	bool gone;
	u64 out;
	u64 in;
	u64 sent;
	struct timer_list flush;
	bool due;
	u64 marked;
	unsigned long marked_at;
	unsigned long heard;
	unsigned long advanced;
	unsigned long moved;
	struct kvmft_lag lag;
	u64 copied;
	struct bio_vec pages[KVMFT_CHANNEL_RING / PAGE_SIZE + 1];
	u8 *payload;
};

static inline bool kvmft_is_primary(const struct kvmft_channel *ch)
{
	return ch->peer == KVMFT_ROLE_BACKUP;
}

static inline const char *kvmft_peer_name(const struct kvmft_channel *ch)
{
	return kvmft_is_primary(ch) ? "backup" : "primary";
}

/* Has the session ended, and is it known why? */
static inline bool kvmft_has_end(const struct kvmft_channel *ch)
{
	/* Pairs with end(): the reason is complete. */
	return smp_load_acquire(&ch->end);
}

/* The last entries of a primary are put when its session has ended; then it closes. */
static inline bool kvmft_is_over(const struct kvmft_channel *ch)
{
	/* Pairs with kvmft_transport_close(): what was put before is seen. */
	return smp_load_acquire(&ch->transport.stop) ||
	       (!kvmft_is_primary(ch) && kvmft_has_end(ch));
}

/* The sender; @data is the end. */
int kvmft_send_thread(void *data);

/* Primary: so does @flush have it send. */
void kvmft_send_due(struct timer_list *timer);

/* See &struct kvmft_transport_ops. */
bool kvmft_send_now(struct kvmft_transport *transport);

/* Backup: what has been put into the ring.  If that is not possible at once, the sender does it. */
int kvmft_acknowledge(struct kvmft_channel *ch);

#endif /* _KVMFT_SENDER_H */
