// SPDX-License-Identifier: GPL-2.0
#include <kunit/test.h>

#include "regs.h"

/* A change of any register changes the hash, and is named. */
static void every_register(struct kunit *test)
{
	struct kvmft_regs *a = kunit_kzalloc(test, sizeof(*a), GFP_KERNEL);
	struct kvmft_regs *b = kunit_kzalloc(test, sizeof(*b), GFP_KERNEL);
	const char *name, *last = "";
	u64 value_a, value_b;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, a);
	KUNIT_ASSERT_NOT_NULL(test, b);
	KUNIT_EXPECT_NULL(test, kvmft_regs_differ(a, b, &value_a, &value_b));
	KUNIT_EXPECT_EQ(test, kvmft_regs_hash(a), kvmft_regs_hash(b));
	for (i = 0; i < sizeof(*b); i++) {
		((u8 *)b)[i] = 1;
		KUNIT_EXPECT_NE(test, kvmft_regs_hash(a), kvmft_regs_hash(b));
		name = kvmft_regs_differ(a, b, &value_a, &value_b);
		KUNIT_ASSERT_NOT_NULL(test, name);
		KUNIT_EXPECT_EQ(test, value_a, 0);
		KUNIT_EXPECT_EQ(test, value_b, 1ULL << 8 * (i % 8));
		if (!(i % 8))
			KUNIT_EXPECT_STRNEQ(test, name, last);
		last = name;
		((u8 *)b)[i] = 0;
	}
}

static void names(struct kunit *test)
{
	struct kvmft_regs a = {}, b = {};
	u64 value_a, value_b;

	b.rip = cpu_to_le64(0x1234);
	KUNIT_EXPECT_STREQ(test, kvmft_regs_differ(&a, &b, &value_a, &value_b), "rip");
	KUNIT_EXPECT_EQ(test, value_b, 0x1234);
	a.gpr[15] = cpu_to_le64(5);
	KUNIT_EXPECT_STREQ(test, kvmft_regs_differ(&a, &b, &value_a, &value_b), "r15");
	KUNIT_EXPECT_EQ(test, value_a, 5);
	a.gpr[15] = 0;
	b.rip = 0;
	b.segment[1].selector = cpu_to_le16(8);
	KUNIT_EXPECT_STREQ(test, kvmft_regs_differ(&a, &b, &value_a, &value_b), "cs");
	b.segment[1].selector = 0;
	b.efer = cpu_to_le64(1);
	KUNIT_EXPECT_STREQ(test, kvmft_regs_differ(&a, &b, &value_a, &value_b), "efer");
	b.efer = 0;
	b.msr[0] = cpu_to_le64(1);
	KUNIT_EXPECT_STREQ(test, kvmft_regs_differ(&a, &b, &value_a, &value_b), "star");
	b.msr[0] = 0;
	b.events = cpu_to_le64(1);
	KUNIT_EXPECT_STREQ(test, kvmft_regs_differ(&a, &b, &value_a, &value_b), "pending events");
}

static struct kunit_case regs_cases[] = {
	KUNIT_CASE(every_register),
	KUNIT_CASE(names),
	{}
};

static struct kunit_suite regs_suite = {
	.name = "kvmft_regs",
	.test_cases = regs_cases,
};

kunit_test_suite(regs_suite);

MODULE_DESCRIPTION("KUnit suite of kvmft's registers");
MODULE_LICENSE("GPL");
