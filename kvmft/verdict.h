/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the measurements of the self-test mean.  Pure.
 */
#ifndef _KVMFT_VERDICT_H
#define _KVMFT_VERDICT_H

#include <linux/compiler_attributes.h>
#include <linux/types.h>

#include <uapi/linux/kvmft.h>

#include "position.h"

/* Bucket 0: no skid; bucket n: 2^(n-1) up to 2^n - 1 conditional branches. */
#define KVMFT_SKID_BUCKETS	20

/**
 * struct kvmft_verdict_report - outcome of the self-test
 * @verdict: see &enum kvmft_verdict
 * @reason: why sessions are refused and what to do; empty otherwise
 * @windows: stretches of the test guest with a known number of branches
 * @wrong: windows whose count was not that number
 * @stops: stops requested
 * @lost: stops whose overflow interrupt did not come in time
 * @skid_max: largest distance of a stop from the requested place, in conditional
 *	branches
 * @skid: histogram of those distances
 */
struct kvmft_verdict_report {
	enum kvmft_verdict verdict;
	char reason[192];
	unsigned int windows;
	unsigned int wrong;
	unsigned int stops;
	unsigned int lost;
	u64 skid_max;
	unsigned int skid[KVMFT_SKID_BUCKETS];
};

void kvmft_verdict_start(struct kvmft_verdict_report *report);

/* Refuse; the first reason stands. */
void kvmft_verdict_refuse(struct kvmft_verdict_report *report, const char *fmt, ...)
	__printf(2, 3);

/* A window with @exits exits in it counted @got instead of @want. */
void kvmft_verdict_window(struct kvmft_verdict_report *report, unsigned int exits,
			  const struct kvmft_position *want, const struct kvmft_position *got);

/* A stop requested @distance ahead ended after @got; @arrived: by its interrupt. */
void kvmft_verdict_stop(struct kvmft_verdict_report *report, u64 distance, u64 got,
			bool arrived);

/* All is measured. */
void kvmft_verdict_finish(struct kvmft_verdict_report *report);

/*
 * How many conditional branches before a place a stop has to be requested so that it does not
 * come behind it.  The largest of a few dozen samples of a skid with a long tail says little
 * about the tail: four times that, and where there is skid at all more than the longest that
 * was published for Zen (56,725 in 8,000 stops).
 */
#define KVMFT_MARGIN_MIN	64
#define KVMFT_MARGIN_TAIL	65536
u64 kvmft_verdict_margin(const struct kvmft_verdict_report *report);

#endif /* _KVMFT_VERDICT_H */
