// SPDX-License-Identifier: GPL-2.0
#include <kunit/test.h>

#include "landing.h"

static const struct kvmft_target target = {
	.pos = { .cond = 1000, .taken = 700 },
	.rip = 0x401000,
};

static void check(struct kunit *test, u64 cond, u64 taken, u64 rip, u64 margin,
		  enum kvmft_landing_step step, u64 to_cond, u64 to_taken)
{
	struct kvmft_position now = { .cond = cond, .taken = taken };
	struct kvmft_landing plan = kvmft_landing_plan(&target, &now, rip, margin);

	KUNIT_EXPECT_EQ(test, plan.step, step);
	KUNIT_EXPECT_EQ(test, plan.cond, to_cond);
	KUNIT_EXPECT_EQ(test, plan.taken, to_taken);
}

static void far_away(struct kunit *test)
{
	check(test, 0, 0, 0x1000, 100, KVMFT_LANDING_RUN, 900, 0);
	check(test, 0, 0, 0x401000, 100, KVMFT_LANDING_RUN, 900, 0);
	check(test, 898, 0, 0x401000, 100, KVMFT_LANDING_RUN, 2, 0);
	check(test, 0, 0, 0x1000, 0, KVMFT_LANDING_RUN, 1000, 0);
}

/* Few conditional branches, many others: call, ret, jmp. */
static void far_in_taken_branches(struct kunit *test)
{
	check(test, 899, 0, 0x401000, 100, KVMFT_LANDING_RUN, 1101, 600);
	check(test, 1000, 0, 0x401000, 100, KVMFT_LANDING_RUN, 1000, 600);
	check(test, 1000, 598, 0x401000, 100, KVMFT_LANDING_RUN, 1000, 2);
}

/* An overflow can not be asked for after less than two events. */
static void near(struct kunit *test)
{
	check(test, 899, 650, 0x401000, 100, KVMFT_LANDING_BREAK, 1101, 1050);
	check(test, 900, 599, 0x401000, 100, KVMFT_LANDING_BREAK, 1100, 1101);
	check(test, 999, 700, 0x401000, 100, KVMFT_LANDING_BREAK, 1001, 1000);
	check(test, 0, 0, 0x401000, 5000, KVMFT_LANDING_BREAK, 2000, 1700);
	check(test, 999, 699, 0x401000, 0, KVMFT_LANDING_BREAK, 1001, 1001);
}

/* Same count of conditional branches, same instruction, another visit. */
static void other_visit(struct kunit *test)
{
	check(test, 1000, 699, 0x401000, 100, KVMFT_LANDING_BREAK, 1000, 1001);
	check(test, 1000, 700, 0x400fff, 100, KVMFT_LANDING_BREAK, 1000, 1000);
	check(test, 1000, 701, 0x401000, 100, KVMFT_LANDING_PASSED, 0, 0);
	check(test, 999, 701, 0x401000, 100, KVMFT_LANDING_PASSED, 0, 0);
}

static void arrived(struct kunit *test)
{
	check(test, 1000, 700, 0x401000, 0, KVMFT_LANDING_HERE, 0, 0);
	check(test, 1000, 700, 0x401000, 5000, KVMFT_LANDING_HERE, 0, 0);
}

static void overshot(struct kunit *test)
{
	check(test, 1001, 0, 0x401000, 100, KVMFT_LANDING_PASSED, 0, 0);
	check(test, U64_MAX, 0, 0x401000, 100, KVMFT_LANDING_PASSED, 0, 0);
}

/* So long that a timer is worth while, and too short to get there. */
static void ticks(struct kunit *test)
{
	const struct kvmft_target far = { .pos = { .cond = 50000, .taken = 9000 } };
	struct kvmft_position now = {};

	KUNIT_EXPECT_EQ(test, kvmft_landing_ticks(&far, &now), 12500);
	now.cond = 42000;
	KUNIT_EXPECT_EQ(test, kvmft_landing_ticks(&far, &now), 2250);
	now.taken = 1000;
	KUNIT_EXPECT_EQ(test, kvmft_landing_ticks(&far, &now), 2000);
	now.taken = 1001;
	KUNIT_EXPECT_EQ(test, kvmft_landing_ticks(&far, &now), 2000);
	now.cond = 42001;
	KUNIT_EXPECT_EQ(test, kvmft_landing_ticks(&far, &now), 0);
	now = far.pos;
	KUNIT_EXPECT_EQ(test, kvmft_landing_ticks(&far, &now), 0);
	now = (struct kvmft_position) { .cond = 50001 };
	KUNIT_EXPECT_EQ(test, kvmft_landing_ticks(&far, &now), 0);
	now = (struct kvmft_position) { .taken = 9001 };
	KUNIT_EXPECT_EQ(test, kvmft_landing_ticks(&far, &now), 0);
}

static struct kunit_case landing_cases[] = {
	KUNIT_CASE(far_away),
	KUNIT_CASE(far_in_taken_branches),
	KUNIT_CASE(near),
	KUNIT_CASE(other_visit),
	KUNIT_CASE(arrived),
	KUNIT_CASE(overshot),
	KUNIT_CASE(ticks),
	{}
};

static struct kunit_suite landing_suite = {
	.name = "kvmft_landing",
	.test_cases = landing_cases,
};

kunit_test_suite(landing_suite);

MODULE_DESCRIPTION("KUnit suite of kvmft's landings");
MODULE_LICENSE("GPL");
