// SPDX-License-Identifier: GPL-2.0
#include <linux/compiler.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/time64.h>

#include "lag.h"

void kvmft_lag_update(struct kvmft_lag *lag, u64 ahead, u64 behind, u64 now)
{
	if (lag->seq && behind >= lag->seq) {
		WRITE_ONCE(lag->took, now - lag->since);
		lag->seq = 0;
	}
	if (lag->seq)
		return;
	WRITE_ONCE(lag->since, now);
	if (ahead > behind)
		lag->seq = ahead;
	else
		WRITE_ONCE(lag->took, 0);
}

u64 kvmft_lag_us(const struct kvmft_lag *lag, u64 ahead, u64 behind, u64 now)
{
	u64 since = READ_ONCE(lag->since), took = READ_ONCE(lag->took);

	if (ahead <= behind)
		return 0;
	return div_u64(max(took, now > since ? now - since : 0), NSEC_PER_USEC);
}
