/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How to get a guest to stand exactly at a logged position.
 *
 * Pure: plain values, nothing of KVM or perf.
 */
#ifndef _KVMFT_LANDING_H
#define _KVMFT_LANDING_H

#include <linux/types.h>

#include "position.h"

/**
 * struct kvmft_target - where to land
 * @pos: counted part of the position
 * @rip: linear address of the next instruction
 */
struct kvmft_target {
	struct kvmft_position pos;
	u64 rip;
};

/**
 * enum kvmft_landing_step - what to do next
 * @KVMFT_LANDING_HERE: the guest is there
 * @KVMFT_LANDING_RUN: it is far: run until a counter overflows
 * @KVMFT_LANDING_BREAK: it is near: run for kvmft_landing_ticks(), or stop it at every execution
 *	of the instruction; the counters overflow behind the place, as a net below
 * @KVMFT_LANDING_PASSED: it has been there, or on another way: never again
 */
enum kvmft_landing_step {
	KVMFT_LANDING_HERE,
	KVMFT_LANDING_RUN,
	KVMFT_LANDING_BREAK,
	KVMFT_LANDING_PASSED,
};

/* How far behind the place the net is: a guest that goes there is lost anyway. */
#define KVMFT_LANDING_NET	1000

/**
 * struct kvmft_landing - a plan, for the next run in the guest
 * @step: see &enum kvmft_landing_step
 * @cond: conditional branches from here to an overflow; 0: none
 * @taken: the same for taken branches: a loop may have no other
 */
struct kvmft_landing {
	enum kvmft_landing_step step;
	u64 cond;
	u64 taken;
};

/*
 * The guest is at @now, its next instruction at the linear address @rip; an overflow
 * interrupt may come up to @margin branches late.
 */
struct kvmft_landing kvmft_landing_plan(const struct kvmft_target *target,
					const struct kvmft_position *now, u64 rip, u64 margin);

/*
 * In so many ticks of the TSC no guest gets from @now to @target; 0: too few to be worth a timer.
 *
 * A timer can not be late as an overflow can: the guest does not execute instructions while the
 * host's interrupt is pending.
 *
 * KVMFT_BRANCHES_PER_TICK: what no CPU exceeds for long: two branches a cycle, cycles at twice the
 * TSC's rate.
 */
#define KVMFT_BRANCHES_PER_TICK	4
#define KVMFT_LANDING_TICKS_MIN	2000
u64 kvmft_landing_ticks(const struct kvmft_target *target, const struct kvmft_position *now);

#endif /* _KVMFT_LANDING_H */
