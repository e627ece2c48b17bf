// SPDX-License-Identifier: GPL-2.0
#include <linux/minmax.h>

#include "landing.h"

struct kvmft_landing kvmft_landing_plan(const struct kvmft_target *target,
					const struct kvmft_position *now, u64 rip, u64 margin)
{
	struct kvmft_landing plan = { .step = KVMFT_LANDING_PASSED };
	u64 cond, taken;

	if (now->cond > target->pos.cond || now->taken > target->pos.taken)
		return plan;
	/*
	 * Between two visits of one instruction there is a taken branch: same counts and
	 * same address is the same place.
	 */
	if (now->cond == target->pos.cond && now->taken == target->pos.taken &&
	    rip == target->rip) {
		plan.step = KVMFT_LANDING_HERE;
		return plan;
	}

	cond = target->pos.cond - now->cond;
	taken = target->pos.taken - now->taken;
	plan.step = KVMFT_LANDING_RUN;
	if (cond >= margin + KVMFT_STOP_DISTANCE_MIN) {
		plan.cond = cond - margin;
	} else if (taken >= margin + KVMFT_STOP_DISTANCE_MIN) {
		plan.cond = cond + KVMFT_LANDING_NET;
		plan.taken = taken - margin;
	} else {
		plan.step = KVMFT_LANDING_BREAK;
		plan.cond = cond + KVMFT_LANDING_NET;
		plan.taken = taken + KVMFT_LANDING_NET;
	}
	return plan;
}

u64 kvmft_landing_ticks(const struct kvmft_target *target, const struct kvmft_position *now)
{
	u64 ticks;

	if (now->cond > target->pos.cond || now->taken > target->pos.taken)
		return 0;
	/* Each branch counts in one of them at least, or in both. */
	ticks = max(target->pos.cond - now->cond, target->pos.taken - now->taken) /
		KVMFT_BRANCHES_PER_TICK;
	return ticks < KVMFT_LANDING_TICKS_MIN ? 0 : ticks;
}
