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
 * @KVMFT_LANDING_BREAK: it is near: stop it at every execution of the instruction; the
 *	counters overflow behind the place, as a net below
 * @KVMFT_LANDING_PASSED: it has been there, or on another way: never again
 */
enum kvmft_landing_step {
	KVMFT_LANDING_HERE,
	KVMFT_LANDING_RUN,
	KVMFT_LANDING_BREAK,
	KVMFT_LANDING_PASSED,
};

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

#endif /* _KVMFT_LANDING_H */
