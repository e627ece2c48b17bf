// SPDX-License-Identifier: GPL-2.0
#include <kunit/test.h>

#include "start.h"

static struct kvmft_start *new_start(struct kunit *test)
{
	struct kvmft_start *start = kunit_kzalloc(test, sizeof(*start), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, start);
	return start;
}

/* What differs is said, in words that contain @word. */
static void check(struct kunit *test, const struct kvmft_start *log,
		  const struct kvmft_start *here, const char *word)
{
	char text[128] = "";

	KUNIT_EXPECT_TRUE(test, kvmft_start_differ(log, here, text, sizeof(text)));
	KUNIT_EXPECT_TRUE_MSG(test, strstr(text, word), "'%s' does not say %s", text, word);
}

static void differences(struct kunit *test)
{
	struct kvmft_start *log = new_start(test), *here = new_start(test);
	char text[128];

	KUNIT_EXPECT_FALSE(test, kvmft_start_differ(log, here, text, sizeof(text)));
	here->cpu = cpu_to_le32(0xa00f11);
	check(test, log, here, "0xa00f11");
	*here = *log;
	here->vendor = cpu_to_le32(2);
	check(test, log, here, "CPU");
	*here = *log;
	log->tsc_khz = cpu_to_le32(2445000);
	check(test, log, here, "2445000 kHz");
	/* Two boots of one host. */
	here->tsc_khz = cpu_to_le32(2445611);
	KUNIT_EXPECT_FALSE(test, kvmft_start_differ(log, here, text, sizeof(text)));
	here->tsc_khz = cpu_to_le32(2445612);
	check(test, log, here, "2445612 kHz");
	here->tsc_khz = cpu_to_le32(2444389);
	KUNIT_EXPECT_FALSE(test, kvmft_start_differ(log, here, text, sizeof(text)));
	here->tsc_khz = cpu_to_le32(2444388);
	check(test, log, here, "2444388 kHz");
	here->tsc_khz = log->tsc_khz;
	*here = *log;
	here->cpuid = cpu_to_le64(1);
	check(test, log, here, "CPUID");
	*here = *log;
	here->slots[3].size = cpu_to_le64(0x10000);
	check(test, log, here, "memory slot 3");
	*here = *log;
	here->regs.cr[3] = cpu_to_le64(0x20);
	check(test, log, here, "register cr4");
}

/* A long difference is cut, not written beyond the end. */
static void short_buffer(struct kunit *test)
{
	struct kvmft_start *log = new_start(test), *here = new_start(test);
	char text[16];

	memset(text, 'x', sizeof(text));
	here->cpuid = cpu_to_le64(1);
	KUNIT_EXPECT_TRUE(test, kvmft_start_differ(log, here, text, 8));
	KUNIT_EXPECT_EQ(test, text[7], 0);
	KUNIT_EXPECT_EQ(test, text[8], 'x');
}

static struct kunit_case start_cases[] = {
	KUNIT_CASE(differences),
	KUNIT_CASE(short_buffer),
	{}
};

static struct kunit_suite start_suite = {
	.name = "kvmft_start",
	.test_cases = start_cases,
};

kunit_test_suite(start_suite);

MODULE_DESCRIPTION("KUnit suite of kvmft's machines at the start of a log");
MODULE_LICENSE("GPL");
