/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A transport: the log's ring, and who moves entries between it and another place.  One end of
 * the ring is the engine's, on the vCPU's thread; at the other a thread of the transport's own
 * is at work (logfile.c).
 */
#ifndef _KVMFT_TRANSPORT_H
#define _KVMFT_TRANSPORT_H

#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "log.h"
#include "stall.h"

struct kvmft_transport;

/**
 * struct kvmft_transport_ops - what is special about one
 * @close: stop its threads, when all that is in the ring has gone where it goes; no entries will
 *	be put, or are wanted.  Returns its error, or what went wrong in the end.  Sleeps
 * @end: the session has ended, for a reason of &enum kvmft_end and, for people, @text; or NULL.
 *	Does not sleep
 * @send_now: recording: send all that is published, in the caller's thread; or NULL.  False, and
 *	nothing is sent, if that would have it wait.  May sleep
 */
struct kvmft_transport_ops {
	int (*close)(struct kvmft_transport *transport);
	void (*end)(struct kvmft_transport *transport, u32 why, const char *text);
	bool (*send_now)(struct kvmft_transport *transport);
};

/**
 * struct kvmft_transport - a transport
 * @ops: see there
 * @id: of the session, for tracepoints; 0: it has no engine yet
 * @log: the ring
 * @wait: both sides sleep here
 * @wake_at: recording: so many bytes in the ring are worth a wake-up
 * @acked: recording: bytes of the log that are safe with a backup
 * @peer_seq: with a channel: entries that the peer has written, or replayed
 * @released: with a channel: bytes of the log whose outputs the primary has released
 * @idle: recording: who reads the log has nothing to do, and wants to know of the first byte
 * @flush: recording: runs out @flush_delay jiffies after bytes were published, or NULL
 * @flush_delay: see @flush
 * @urgent: recording: up to here it is waited for that
 * @stalled: recording: the guest waits for who reads the log
 * @wanted: replaying: space in the ring that is waited for, or 0
 * @stop: it is being closed
 * @seq: where the engine tells how many entries it has written or replayed
 * @ended: replaying: no more entries will come, and all are in the ring
 * @lock: protects @notify, and @error and @reason until @error is set
 * @error: what went wrong first, negative; @reason is valid then
 * @reason: for people
 * @notify: queued when @error is set, or NULL
 */
struct kvmft_transport {
	const struct kvmft_transport_ops *ops;
	u64 id;
	struct kvmft_log log;
	wait_queue_head_t wait;
	size_t wake_at;
	u64 acked;
	u64 peer_seq;
	u64 released;
	u64 urgent;
	bool idle;
	struct timer_list *flush;
	unsigned long flush_delay;
	bool stalled;
	size_t wanted;
	bool stop;
	bool ended;
	const u64 *seq;
	spinlock_t lock; /* see above */
	int error;
	char reason[160];
	struct work_struct *notify;
};

/* @size: of the ring, a power of two.  -ENOMEM. */
int kvmft_transport_init(struct kvmft_transport *transport, const struct kvmft_transport_ops *ops,
			 size_t size);

/* See &struct kvmft_transport_ops.  @error and @reason stay until it is freed. */
int kvmft_transport_close(struct kvmft_transport *transport);

/* See &struct kvmft_transport_ops. */
void kvmft_transport_end(struct kvmft_transport *transport, u32 why, const char *text);

/* It is the first member of what is freed with kvfree(). */
void kvmft_transport_free(struct kvmft_transport *transport);

/* Returns @error.  Any thread. */
__printf(3, 4) int kvmft_transport_fail(struct kvmft_transport *transport, int error,
					const char *fmt, ...);

/*
 * Replaying: a thread of the transport waits for @len bytes of space, or to be stopped; and the
 * engine has consumed some.
 */
void kvmft_transport_wait_for_space(struct kvmft_transport *transport, size_t len);
void kvmft_transport_consumed(struct kvmft_transport *transport);

/* Recording: the engine has published entries. */
void kvmft_transport_published(struct kvmft_transport *transport);

/* Recording: what has been published is to be acknowledged soon; how far that is.  May sleep. */
u64 kvmft_transport_urge(struct kvmft_transport *transport);

/* Recording: the vCPU's thread waits until @cond holds, woken as all are.  0, or -ERESTARTSYS */
#define kvmft_transport_wait(transport, why, cond) ({				\
	struct kvmft_transport *waiting_ = (transport);				\
	enum kvmft_stall why_ = (why);						\
	int wait_ret_;								\
										\
	kvmft_transport_stall_begin(waiting_, why_);				\
	wait_ret_ = wait_event_interruptible(waiting_->wait, cond);		\
	kvmft_transport_stall_end(waiting_, why_, wait_ret_);			\
	wait_ret_;								\
})

/* The same, for who reads the log: it is to get on. */
#define kvmft_transport_stall(transport, why, cond) ({				\
	struct kvmft_transport *stalled_ = (transport);				\
	int ret_;								\
										\
	WRITE_ONCE(stalled_->stalled, true);					\
	ret_ = kvmft_transport_wait(stalled_, why, cond);			\
	WRITE_ONCE(stalled_->stalled, false);					\
	ret_;									\
})

/* Tracepoints of the above. */
void kvmft_transport_stall_begin(const struct kvmft_transport *transport, enum kvmft_stall why);
void kvmft_transport_stall_end(const struct kvmft_transport *transport, enum kvmft_stall why,
			       int ret);

/* Have @work queued once something goes wrong, or has. */
void kvmft_transport_notify(struct kvmft_transport *transport, struct work_struct *work);

/* Its error, or 0. */
int kvmft_transport_error(const struct kvmft_transport *transport);

/* There is something in the ring, or space. */
void kvmft_transport_wake(struct kvmft_transport *transport);

#endif /* _KVMFT_TRANSPORT_H */
