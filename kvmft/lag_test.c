// SPDX-License-Identifier: GPL-2.0
#include <kunit/test.h>
#include <linux/time64.h>

#include "lag.h"

#define US(n)	((n) * NSEC_PER_USEC)

static void same_place(struct kunit *test)
{
	struct kvmft_lag lag = {};

	KUNIT_EXPECT_EQ(test, kvmft_lag_us(&lag, 0, 0, US(1000)), 0);
	kvmft_lag_update(&lag, 5, 5, US(2000));
	KUNIT_EXPECT_EQ(test, kvmft_lag_us(&lag, 5, 5, US(9000)), 0);
	/* A backup that has replayed more than it was told of is not behind. */
	kvmft_lag_update(&lag, 10, 12, US(3000));
	KUNIT_EXPECT_EQ(test, kvmft_lag_us(&lag, 10, 12, US(9000)), 0);
}

/* What counts is the entry that was the last when it was taken note of, not those after it. */
static void one_entry_is_followed(struct kunit *test)
{
	struct kvmft_lag lag = {};

	kvmft_lag_update(&lag, 10, 0, US(100));
	kvmft_lag_update(&lag, 20, 9, US(150));
	KUNIT_EXPECT_EQ(test, lag.seq, 10);
	kvmft_lag_update(&lag, 30, 10, US(175));
	KUNIT_EXPECT_EQ(test, kvmft_lag_us(&lag, 30, 10, US(175)), 75);
	/* The next is on its way, for less time than that. */
	KUNIT_EXPECT_EQ(test, lag.seq, 30);
	KUNIT_EXPECT_EQ(test, kvmft_lag_us(&lag, 35, 10, US(249)), 75);
	KUNIT_EXPECT_EQ(test, kvmft_lag_us(&lag, 35, 10, US(251)), 76);
}

/* Who stands still falls behind while he is looked at, without any news. */
static void grows_by_itself(struct kunit *test)
{
	struct kvmft_lag lag = {};

	kvmft_lag_update(&lag, 10, 0, US(100));
	KUNIT_EXPECT_EQ(test, kvmft_lag_us(&lag, 10, 0, US(101)), 1);
	KUNIT_EXPECT_EQ(test, kvmft_lag_us(&lag, 10, 0, US(3000100)), 3000000);
	/* A clock that was read before that. */
	KUNIT_EXPECT_EQ(test, kvmft_lag_us(&lag, 10, 0, US(99)), 0);
}

/* The last that was heard is that both were at the same place, then one went on. */
static void lost_at_the_same_place(struct kunit *test)
{
	struct kvmft_lag lag = {};

	kvmft_lag_update(&lag, 10, 0, US(100));
	kvmft_lag_update(&lag, 10, 10, US(900));
	KUNIT_EXPECT_EQ(test, kvmft_lag_us(&lag, 10, 10, US(5000)), 0);
	KUNIT_EXPECT_EQ(test, kvmft_lag_us(&lag, 11, 10, US(5000)), 4100);
	/* What it took before that is over. */
	kvmft_lag_update(&lag, 11, 10, US(5000));
	KUNIT_EXPECT_EQ(test, kvmft_lag_us(&lag, 11, 10, US(5050)), 50);
}

static struct kunit_case lag_cases[] = {
	KUNIT_CASE(same_place),
	KUNIT_CASE(one_entry_is_followed),
	KUNIT_CASE(grows_by_itself),
	KUNIT_CASE(lost_at_the_same_place),
	{}
};

static struct kunit_suite lag_suite = {
	.name = "kvmft_lag",
	.test_cases = lag_cases,
};

kunit_test_suite(lag_suite);

MODULE_DESCRIPTION("KUnit suite of kvmft's lag");
MODULE_LICENSE("GPL");
