/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where a guest is in its run, and stopping it at a given place.
 *
 * Pure: plain values, nothing of KVM or perf.
 */
#ifndef _KVMFT_POSITION_H
#define _KVMFT_POSITION_H

#include <linux/types.h>

/**
 * struct kvmft_position - counted part of a position
 * @cond: conditional branches retired by the guest since the session was made
 * @taken: taken branches retired by the guest, less those that entering it counts
 */
struct kvmft_position {
	u64 cond;
	u64 taken;
};

/**
 * struct kvmft_position_raw - what the counters say
 * @cond: retired conditional branches
 * @taken: retired taken branches, with those that entering the guest counts
 * @entries: how often it was entered while the counters ran
 */
struct kvmft_position_raw {
	u64 cond;
	u64 taken;
	u64 entries;
};

/*
 * @base advanced by @raw, when one entry counts as @taken_per_entry taken branches.
 * False when @raw is impossible: fewer taken branches than the entries account for.
 */
bool kvmft_position_advance(struct kvmft_position *pos, const struct kvmft_position *base,
			    const struct kvmft_position_raw *raw, unsigned int taken_per_entry);

/*
 * Perf reloads a counter that is to overflow after less than this many events with
 * this many (x86_perf_event_set_period() in arch/x86/events/core.c).
 */
#define KVMFT_STOP_DISTANCE_MIN	2

/**
 * enum kvmft_stop_phase - a requested stop
 * @KVMFT_STOP_NONE: nothing is requested
 * @KVMFT_STOP_WANTED: requested; the counter has not been told
 * @KVMFT_STOP_SET: the counter will overflow there
 */
enum kvmft_stop_phase {
	KVMFT_STOP_NONE,
	KVMFT_STOP_WANTED,
	KVMFT_STOP_SET,
};

/**
 * struct kvmft_stop - a requested stop and what became of the ones before
 * @phase: see &enum kvmft_stop_phase
 * @armed: the counter is set to overflow at a stop
 * @passed: a stop was reached without its interrupt, which may be late (skid across an
 *	exit) or lost; the next entry tells
 * @at: value of kvmft_position.cond to stop at
 * @stopped_at: value at which the last one was found to be reached; 0: none yet
 * @overflows: interrupts of overflows that were asked for
 * @lost: stops passed without one
 * @spurious: non-maskable interrupts that ended a run in the guest while a stop was
 *	set, but were no overflow
 */
struct kvmft_stop {
	enum kvmft_stop_phase phase;
	bool armed;
	bool passed;
	u64 at;
	u64 stopped_at;
	u64 overflows;
	u64 lost;
	u64 spurious;
};

/* Request a stop @distance conditional branches after @cond; 0 withdraws it. */
void kvmft_stop_request(struct kvmft_stop *stop, u64 cond, u64 distance);

/*
 * The guest is about to be entered at @cond, after @interrupts overflow interrupts since
 * the last call of this function or the next.  Returns the distance to set the counter
 * to, 0 if it is to be left alone, or KVMFT_STOP_DISARM if no overflow is wanted of it
 * any more.
 */
#define KVMFT_STOP_DISARM	U64_MAX
u64 kvmft_stop_enter(struct kvmft_stop *stop, u64 cond, unsigned int interrupts);

/*
 * The guest was left at @cond, by a non-maskable interrupt of the host if @nmi, with
 * @interrupts overflow interrupts since it was entered.  True: the stop is reached.
 */
bool kvmft_stop_exit(struct kvmft_stop *stop, u64 cond, unsigned int interrupts, bool nmi);

/* The counters were opened anew: what was set is not any more. */
void kvmft_stop_reset(struct kvmft_stop *stop);

#endif /* _KVMFT_POSITION_H */
