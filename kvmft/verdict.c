// SPDX-License-Identifier: GPL-2.0
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/stdarg.h>
#include <linux/string.h>

#include "verdict.h"

void kvmft_verdict_start(struct kvmft_verdict_report *report)
{
	memset(report, 0, sizeof(*report));
}

void kvmft_verdict_refuse(struct kvmft_verdict_report *report, const char *fmt, ...)
{
	va_list args;

	if (report->verdict == KVMFT_VERDICT_REFUSED)
		return;
	report->verdict = KVMFT_VERDICT_REFUSED;
	va_start(args, fmt);
	vsnprintf(report->reason, sizeof(report->reason), fmt, args);
	va_end(args);
}

void kvmft_verdict_window(struct kvmft_verdict_report *report, unsigned int exits,
			  const struct kvmft_position *want, const struct kvmft_position *got)
{
	report->windows++;
	if (got->cond == want->cond && got->taken == want->taken)
		return;
	report->wrong++;
	if (got->cond != want->cond)
		kvmft_verdict_refuse(report,
				     "conditional branches are not counted exactly: %llu instead of %llu with %u exits",
				     got->cond, want->cond, exits);
	else
		kvmft_verdict_refuse(report,
				     "taken branches are not counted exactly, less one for each entry: %llu instead of %llu with %u exits",
				     got->taken, want->taken, exits);
}

void kvmft_verdict_stop(struct kvmft_verdict_report *report, u64 distance, u64 got,
			bool arrived)
{
	unsigned int bucket;
	u64 skid;

	report->stops++;
	if (!arrived) {
		report->lost++;
		return;
	}
	if (got < distance) {
		kvmft_verdict_refuse(report,
				     "the overflow interrupt came early: after %llu conditional branches instead of %llu",
				     got, distance);
		return;
	}
	skid = got - distance;
	report->skid_max = max(report->skid_max, skid);
	bucket = skid ? ilog2(skid) + 1 : 0;
	report->skid[min(bucket, KVMFT_SKID_BUCKETS - 1U)]++;
}

void kvmft_verdict_finish(struct kvmft_verdict_report *report)
{
	if (!report->windows || !report->stops)
		kvmft_verdict_refuse(report, "nothing was measured");
	/* Noticed and survived when rare; without any, no stop is ever exact. */
	if (report->lost > report->stops / 2)
		kvmft_verdict_refuse(report,
				     "%u of %u overflow interrupts did not come: is LVTPC masked, or another perf user in the way?",
				     report->lost, report->stops);
	if (report->verdict == KVMFT_VERDICT_UNTESTED)
		report->verdict = KVMFT_VERDICT_EXACT;
}

u64 kvmft_verdict_margin(const struct kvmft_verdict_report *report)
{
	if (!report->skid_max)
		return KVMFT_MARGIN_MIN;
	return max(4 * report->skid_max, (u64)KVMFT_MARGIN_TAIL);
}
