/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How far, in time, one side of a pair is behind the other.
 *
 * Pure.
 */
#ifndef _KVMFT_LAG_H
#define _KVMFT_LAG_H

#include <linux/types.h>

/**
 * struct kvmft_lag - measured with one entry at a time
 * @seq: the entry on its way; 0: none
 * @since: when the side ahead was heard to be there, or both to be at the same place, in
 *	nanoseconds
 * @took: until the side behind was, of the entry before
 *
 * One thread updates it; others may read.
 */
struct kvmft_lag {
	u64 seq;
	u64 since;
	u64 took;
};

/* One side is at entry @ahead, the other at @behind: so it was heard at @now. */
void kvmft_lag_update(struct kvmft_lag *lag, u64 ahead, u64 behind, u64 now);

/*
 * In microseconds, at @now, when one is at @ahead, and the other was last heard to be at @behind:
 * what the last entry took, or the one on its way already has, if that is more; 0 at the same
 * place.
 */
u64 kvmft_lag_us(const struct kvmft_lag *lag, u64 ahead, u64 behind, u64 now);

#endif /* _KVMFT_LAG_H */
