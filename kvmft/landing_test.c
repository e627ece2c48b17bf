// SPDX-License-Identifier: GPL-2.0
#include <kunit/test.h>

#include "landing.h"

static const struct kvmft_target target = {
	.pos = { .cond = 1000, .taken = 700 },
	.rip = 0x401000,
};

static void check(struct kunit *test, u64 cond, u64 taken, u64 rip, u64 margin,
		  enum kvmft_landing_step step, u64 distance)
{
	struct kvmft_position now = { .cond = cond, .taken = taken };
	struct kvmft_landing plan = kvmft_landing_plan(&target, &now, rip, margin);

	KUNIT_EXPECT_EQ(test, plan.step, step);
	KUNIT_EXPECT_EQ(test, plan.distance, distance);
}

static void far_away(struct kunit *test)
{
	check(test, 0, 0, 0x1000, 100, KVMFT_LANDING_RUN, 900);
	check(test, 0, 0, 0x401000, 100, KVMFT_LANDING_RUN, 900);
	check(test, 898, 0, 0x401000, 100, KVMFT_LANDING_RUN, 2);
	check(test, 0, 0, 0x1000, 0, KVMFT_LANDING_RUN, 1000);
}

/* An overflow can not be asked for after less than two events. */
static void near(struct kunit *test)
{
	check(test, 899, 0, 0x401000, 100, KVMFT_LANDING_BREAK, 103);
	check(test, 900, 0, 0x401000, 100, KVMFT_LANDING_BREAK, 102);
	check(test, 999, 0, 0x401000, 100, KVMFT_LANDING_BREAK, 3);
	check(test, 0, 0, 0x401000, 5000, KVMFT_LANDING_BREAK, 1002);
	check(test, 999, 0, 0x401000, 0, KVMFT_LANDING_BREAK, 3);
}

/* Same count of conditional branches, same instruction, another visit. */
static void other_visit(struct kunit *test)
{
	check(test, 1000, 699, 0x401000, 100, KVMFT_LANDING_BREAK, 2);
	check(test, 1000, 700, 0x400fff, 100, KVMFT_LANDING_BREAK, 2);
	check(test, 1000, 701, 0x401000, 100, KVMFT_LANDING_PASSED, 0);
}

static void arrived(struct kunit *test)
{
	check(test, 1000, 700, 0x401000, 0, KVMFT_LANDING_HERE, 0);
	check(test, 1000, 700, 0x401000, 5000, KVMFT_LANDING_HERE, 0);
}

static void overshot(struct kunit *test)
{
	check(test, 1001, 0, 0x401000, 100, KVMFT_LANDING_PASSED, 0);
	check(test, U64_MAX, 0, 0x401000, U64_MAX, KVMFT_LANDING_PASSED, 0);
}

static struct kunit_case landing_cases[] = {
	KUNIT_CASE(far_away),
	KUNIT_CASE(near),
	KUNIT_CASE(other_visit),
	KUNIT_CASE(arrived),
	KUNIT_CASE(overshot),
	{}
};

static struct kunit_suite landing_suite = {
	.name = "kvmft_landing",
	.test_cases = landing_cases,
};

kunit_test_suite(landing_suite);

MODULE_DESCRIPTION("KUnit suite of kvmft's landings");
MODULE_LICENSE("GPL");
