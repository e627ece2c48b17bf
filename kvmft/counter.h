/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The guest's branches, counted by pinned perf events on the vCPU's thread.
 *
 * Everything here is for that thread; kvmft_counter_close() alone may be called by any
 * task, once the vCPU's thread can not use the counters any more.
 */
#ifndef _KVMFT_COUNTER_H
#define _KVMFT_COUNTER_H

#include <linux/perf_event.h>
#include <linux/types.h>

#include "position.h"

/**
 * struct kvmft_counter - the counters of one vCPU
 * @cond: retired conditional branches
 * @taken: retired taken branches
 * @thread: whose they are; NULL: closed.  Only compared, never followed.
 * @interrupts: overflow interrupts since it was last asked
 */
struct kvmft_counter {
	struct perf_event *cond;
	struct perf_event *taken;
	const struct task_struct *thread;
	atomic_t interrupts;
};

/*
 * Open counters for the raw events @cond and @taken on the current thread, starting at
 * zero.  May sleep.  Perf's error if there are none, -EBUSY if others hold them all.
 */
int kvmft_counter_open(struct kvmft_counter *counter, u64 cond, u64 taken);
void kvmft_counter_close(struct kvmft_counter *counter);

/* Another event of the guest, without overflow; release with perf_event_release_kernel(). */
struct perf_event *kvmft_counter_open_event(u64 event);

/* Do the counters belong to this thread and count at this moment?  Interrupts off. */
bool kvmft_counter_active(const struct kvmft_counter *counter);

/* Interrupts off, while active. */
void kvmft_counter_read(struct kvmft_counter *counter, struct kvmft_position_raw *raw);

/*
 * Make one of the counters overflow after @distance, or not in practice
 * (KVMFT_STOP_DISARM).  Interrupts off, while active.
 */
void kvmft_counter_arm(struct perf_event *event, u64 distance);

/*
 * Perf stops a counter that overflows more often than kernel.perf_event_max_sample_rate
 * allows.  It does so in the host: continue before the guest runs on, and nothing is
 * missed.  Interrupts off, while active.
 */
void kvmft_counter_unthrottle(struct kvmft_counter *counter);

/* Overflow interrupts since the last call. */
unsigned int kvmft_counter_interrupts(struct kvmft_counter *counter);

#endif /* _KVMFT_COUNTER_H */
