// SPDX-License-Identifier: GPL-2.0
#include <linux/limits.h>
#include <linux/minmax.h>

#include "position.h"

bool kvmft_position_advance(struct kvmft_position *pos, const struct kvmft_position *base,
			    const struct kvmft_position_raw *raw, unsigned int taken_per_entry)
{
	u64 entering = raw->entries * taken_per_entry;

	if (raw->taken < entering)
		return false;
	pos->cond = base->cond + raw->cond;
	pos->taken = base->taken + raw->taken - entering;
	return true;
}

void kvmft_stop_request(struct kvmft_stop *stop, u64 cond, u64 distance)
{
	stop->at = distance ? cond + distance : 0;
	stop->phase = distance ? KVMFT_STOP_WANTED : KVMFT_STOP_NONE;
}

u64 kvmft_stop_enter(struct kvmft_stop *stop, u64 cond, unsigned int interrupts)
{
	if (stop->passed) {
		if (interrupts)
			stop->overflows++;
		else
			stop->lost++;
		stop->passed = false;
	}

	if (stop->phase == KVMFT_STOP_WANTED) {
		stop->phase = KVMFT_STOP_SET;
		stop->armed = true;
		if (stop->at <= cond)
			return KVMFT_STOP_DISTANCE_MIN;
		return max(stop->at - cond, (u64)KVMFT_STOP_DISTANCE_MIN);
	}
	if (stop->phase == KVMFT_STOP_NONE && stop->armed) {
		stop->armed = false;
		return KVMFT_STOP_DISARM;
	}
	return 0;
}

bool kvmft_stop_exit(struct kvmft_stop *stop, u64 cond, unsigned int interrupts, bool nmi)
{
	if (stop->phase != KVMFT_STOP_SET)
		return false;

	if (cond < stop->at && !interrupts) {
		stop->spurious += nmi;
		return false;
	}
	if (interrupts) {
		/* Perf reloaded the counter with its long period. */
		stop->overflows++;
		stop->armed = false;
	} else {
		stop->passed = true;
	}
	stop->stopped_at = cond;
	stop->at = 0;
	stop->phase = KVMFT_STOP_NONE;
	return true;
}

void kvmft_stop_reset(struct kvmft_stop *stop)
{
	if (stop->passed)
		stop->lost++;
	stop->passed = false;
	stop->armed = false;
	if (stop->phase == KVMFT_STOP_SET)
		stop->phase = KVMFT_STOP_WANTED;
}
