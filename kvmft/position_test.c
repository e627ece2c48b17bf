// SPDX-License-Identifier: GPL-2.0
#include <kunit/test.h>

#include "position.h"

static void advance_takes_entries_off(struct kunit *test)
{
	static const struct {
		struct kvmft_position_raw raw;
		unsigned int per_entry;
		u64 taken;
		bool possible;
	} cases[] = {
		{ { .cond = 0, .taken = 0, .entries = 0 }, 1, 0, true },
		{ { .cond = 5, .taken = 7, .entries = 7 }, 1, 0, true },
		{ { .cond = 5, .taken = 1007, .entries = 1000 }, 1, 7, true },
		{ { .cond = 5, .taken = 7, .entries = 7 }, 0, 7, true },
		{ { .cond = 5, .taken = 6, .entries = 7 }, 1, 0, false },
		{ { .cond = 5, .taken = 13, .entries = 7 }, 2, 0, false },
	};
	const struct kvmft_position base = { .cond = 100, .taken = 1000 };
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kvmft_position pos = { .cond = 1, .taken = 2 };
		bool possible = kvmft_position_advance(&pos, &base, &cases[i].raw,
						       cases[i].per_entry);

		KUNIT_ASSERT_EQ_MSG(test, possible, cases[i].possible, "case %d", i);
		if (possible) {
			KUNIT_EXPECT_EQ(test, pos.cond, 100 + cases[i].raw.cond);
			KUNIT_EXPECT_EQ(test, pos.taken, 1000 + cases[i].taken);
		} else {
			/* What was known stays. */
			KUNIT_EXPECT_EQ(test, pos.cond, 1);
			KUNIT_EXPECT_EQ(test, pos.taken, 2);
		}
	}
}

static void stop_by_interrupt(struct kunit *test)
{
	struct kvmft_stop stop = {};

	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 10, 0), 0);
	kvmft_stop_request(&stop, 10, 100);
	KUNIT_EXPECT_EQ(test, stop.at, 110);
	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 10, 0), 100);
	/* Other exits on the way: the counter is left alone. */
	KUNIT_EXPECT_FALSE(test, kvmft_stop_exit(&stop, 50, 0, false));
	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 50, 0), 0);
	KUNIT_EXPECT_TRUE(test, kvmft_stop_exit(&stop, 113, 1, true));
	KUNIT_EXPECT_EQ(test, stop.stopped_at, 113);
	KUNIT_EXPECT_EQ(test, stop.at, 0);
	/* Nothing is left set. */
	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 113, 0), 0);
	KUNIT_EXPECT_FALSE(test, kvmft_stop_exit(&stop, 500, 0, true));
	KUNIT_EXPECT_EQ(test, stop.overflows, 1);
	KUNIT_EXPECT_EQ(test, stop.lost, 0);
	KUNIT_EXPECT_EQ(test, stop.spurious, 0);
}

/* The guest exits behind the place while the interrupt is still under way. */
static void stop_by_late_interrupt(struct kunit *test)
{
	struct kvmft_stop stop = {};

	kvmft_stop_request(&stop, 0, 100);
	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 0, 0), 100);
	KUNIT_EXPECT_TRUE(test, kvmft_stop_exit(&stop, 104, 0, false));
	KUNIT_EXPECT_EQ(test, stop.stopped_at, 104);
	KUNIT_EXPECT_EQ(test, stop.lost, 0);
	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 104, 1), KVMFT_STOP_DISARM);
	KUNIT_EXPECT_EQ(test, stop.overflows, 1);
	KUNIT_EXPECT_EQ(test, stop.lost, 0);
	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 104, 0), 0);
}

static void stop_with_lost_interrupt(struct kunit *test)
{
	struct kvmft_stop stop = {};

	kvmft_stop_request(&stop, 0, 100);
	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 0, 0), 100);
	KUNIT_EXPECT_TRUE(test, kvmft_stop_exit(&stop, 100, 0, false));
	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 100, 0), KVMFT_STOP_DISARM);
	KUNIT_EXPECT_EQ(test, stop.overflows, 0);
	KUNIT_EXPECT_EQ(test, stop.lost, 1);

	/* The next one is set all the same, and a loss is counted once. */
	kvmft_stop_request(&stop, 100, 50);
	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 100, 0), 50);
	KUNIT_EXPECT_EQ(test, stop.lost, 1);
}

/* A new request between a passed stop and the entry that decides about it. */
static void stop_requested_after_passed(struct kunit *test)
{
	struct kvmft_stop stop = {};

	kvmft_stop_request(&stop, 0, 100);
	kvmft_stop_enter(&stop, 0, 0);
	KUNIT_EXPECT_TRUE(test, kvmft_stop_exit(&stop, 120, 0, false));
	kvmft_stop_request(&stop, 120, 30);
	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 120, 1), 30);
	KUNIT_EXPECT_EQ(test, stop.overflows, 1);
	KUNIT_EXPECT_EQ(test, stop.lost, 0);
	KUNIT_EXPECT_TRUE(test, kvmft_stop_exit(&stop, 150, 1, true));
	KUNIT_EXPECT_EQ(test, stop.overflows, 2);
}

static void stop_ignores_spurious(struct kunit *test)
{
	struct kvmft_stop stop = {};

	/* Without a stop set, an NMI is somebody else's. */
	KUNIT_EXPECT_FALSE(test, kvmft_stop_exit(&stop, 1, 0, true));
	KUNIT_EXPECT_EQ(test, stop.spurious, 0);

	kvmft_stop_request(&stop, 1, 100);
	kvmft_stop_enter(&stop, 1, 0);
	KUNIT_EXPECT_FALSE(test, kvmft_stop_exit(&stop, 60, 0, true));
	KUNIT_EXPECT_EQ(test, stop.spurious, 1);
	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 60, 0), 0);
	KUNIT_EXPECT_TRUE(test, kvmft_stop_exit(&stop, 101, 1, true));
	KUNIT_EXPECT_EQ(test, stop.spurious, 1);
	KUNIT_EXPECT_EQ(test, stop.overflows, 1);
}

static void stop_withdrawn(struct kunit *test)
{
	struct kvmft_stop stop = {};

	/* Before the counter was told: nothing to undo. */
	kvmft_stop_request(&stop, 0, 100);
	kvmft_stop_request(&stop, 0, 0);
	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 0, 0), 0);

	kvmft_stop_request(&stop, 0, 100);
	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 0, 0), 100);
	KUNIT_EXPECT_FALSE(test, kvmft_stop_exit(&stop, 50, 0, false));
	kvmft_stop_request(&stop, 50, 0);
	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 50, 0), KVMFT_STOP_DISARM);
	KUNIT_EXPECT_FALSE(test, kvmft_stop_exit(&stop, 200, 0, false));
	KUNIT_EXPECT_EQ(test, stop.stopped_at, 0);
	KUNIT_EXPECT_EQ(test, stop.lost, 0);
}

static void stop_survives_new_counters(struct kunit *test)
{
	struct kvmft_stop stop = {};

	kvmft_stop_request(&stop, 0, 100);
	kvmft_stop_enter(&stop, 0, 0);
	KUNIT_EXPECT_FALSE(test, kvmft_stop_exit(&stop, 40, 0, false));
	kvmft_stop_reset(&stop);
	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 40, 0), 60);

	/* Passed, and the counter that would have interrupted is gone. */
	KUNIT_EXPECT_TRUE(test, kvmft_stop_exit(&stop, 100, 0, false));
	kvmft_stop_reset(&stop);
	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 100, 0), 0);
	KUNIT_EXPECT_EQ(test, stop.lost, 1);
}

/* What perf can not do, or not in time. */
static void stop_nearby(struct kunit *test)
{
	struct kvmft_stop stop = {};

	kvmft_stop_request(&stop, 0, 100);
	stop.at = 100;
	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 99, 0), KVMFT_STOP_DISTANCE_MIN);
	kvmft_stop_reset(&stop);
	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 100, 0), KVMFT_STOP_DISTANCE_MIN);
	kvmft_stop_reset(&stop);
	KUNIT_EXPECT_EQ(test, kvmft_stop_enter(&stop, 101, 0), KVMFT_STOP_DISTANCE_MIN);
}

static struct kunit_case position_cases[] = {
	KUNIT_CASE(advance_takes_entries_off),
	KUNIT_CASE(stop_by_interrupt),
	KUNIT_CASE(stop_by_late_interrupt),
	KUNIT_CASE(stop_with_lost_interrupt),
	KUNIT_CASE(stop_requested_after_passed),
	KUNIT_CASE(stop_ignores_spurious),
	KUNIT_CASE(stop_withdrawn),
	KUNIT_CASE(stop_survives_new_counters),
	KUNIT_CASE(stop_nearby),
	{}
};

static struct kunit_suite position_suite = {
	.name = "kvmft_position",
	.test_cases = position_cases,
};

kunit_test_suite(position_suite);

MODULE_DESCRIPTION("KUnit suite of kvmft's positions");
MODULE_LICENSE("GPL");
