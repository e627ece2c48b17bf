// SPDX-License-Identifier: GPL-2.0
#include "landing.h"

struct kvmft_landing kvmft_landing_plan(const struct kvmft_target *target,
					const struct kvmft_position *now, u64 rip, u64 margin)
{
	struct kvmft_landing plan = { .step = KVMFT_LANDING_PASSED };
	u64 distance;

	if (now->cond > target->pos.cond ||
	    (now->cond == target->pos.cond && now->taken > target->pos.taken))
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

	distance = target->pos.cond - now->cond;
	if (distance > margin && distance - margin >= KVMFT_STOP_DISTANCE_MIN) {
		plan.step = KVMFT_LANDING_RUN;
		plan.distance = distance - margin;
	} else {
		plan.step = KVMFT_LANDING_BREAK;
		plan.distance = distance + KVMFT_STOP_DISTANCE_MIN;
	}
	return plan;
}
