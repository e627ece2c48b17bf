// SPDX-License-Identifier: GPL-2.0
#include <kunit/test.h>

#include "verdict.h"

static struct kvmft_verdict_report *new_report(struct kunit *test)
{
	struct kvmft_verdict_report *report;

	report = kunit_kzalloc(test, sizeof(*report), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, report);
	kvmft_verdict_start(report);
	return report;
}

static void good_window(struct kvmft_verdict_report *report)
{
	static const struct kvmft_position pos = { .cond = 10, .taken = 20 };

	kvmft_verdict_window(report, 0, &pos, &pos);
}

static void exact(struct kunit *test)
{
	struct kvmft_verdict_report *report = new_report(test);

	KUNIT_EXPECT_EQ(test, report->verdict, KVMFT_VERDICT_UNTESTED);
	good_window(report);
	kvmft_verdict_stop(report, 100, 100, true);
	kvmft_verdict_finish(report);
	KUNIT_EXPECT_EQ(test, report->verdict, KVMFT_VERDICT_EXACT);
	KUNIT_EXPECT_STREQ(test, report->reason, "");
	KUNIT_EXPECT_EQ(test, report->windows, 1);
	KUNIT_EXPECT_EQ(test, report->wrong, 0);
}

static void one_wrong_window_refuses(struct kunit *test)
{
	static const struct kvmft_position want = { .cond = 10, .taken = 20 };
	static const struct kvmft_position cond = { .cond = 11, .taken = 20 };
	static const struct kvmft_position taken = { .cond = 10, .taken = 19 };
	struct kvmft_verdict_report *report = new_report(test);

	good_window(report);
	kvmft_verdict_window(report, 1000, &want, &taken);
	kvmft_verdict_window(report, 10, &want, &cond);
	good_window(report);
	kvmft_verdict_stop(report, 100, 100, true);
	kvmft_verdict_finish(report);
	KUNIT_EXPECT_EQ(test, report->verdict, KVMFT_VERDICT_REFUSED);
	KUNIT_EXPECT_EQ(test, report->windows, 4);
	KUNIT_EXPECT_EQ(test, report->wrong, 2);
	/* The first reason stands, with its figures. */
	KUNIT_EXPECT_NOT_NULL(test, strstr(report->reason, "taken"));
	KUNIT_EXPECT_NOT_NULL(test, strstr(report->reason, "19 instead of 20 with 1000 exits"));
}

static void early_stop_refuses(struct kunit *test)
{
	struct kvmft_verdict_report *report = new_report(test);

	good_window(report);
	kvmft_verdict_stop(report, 100, 99, true);
	kvmft_verdict_finish(report);
	KUNIT_EXPECT_EQ(test, report->verdict, KVMFT_VERDICT_REFUSED);
	KUNIT_EXPECT_NOT_NULL(test, strstr(report->reason, "early"));
}

static void rare_losses_are_survived(struct kunit *test)
{
	struct kvmft_verdict_report *report = new_report(test);

	good_window(report);
	kvmft_verdict_stop(report, 100, 1000, false);
	kvmft_verdict_stop(report, 100, 100, true);
	kvmft_verdict_finish(report);
	KUNIT_EXPECT_EQ(test, report->verdict, KVMFT_VERDICT_EXACT);
	KUNIT_EXPECT_EQ(test, report->lost, 1);
	/* A stop without its interrupt says nothing about skid. */
	KUNIT_EXPECT_EQ(test, report->skid_max, 0);

	report = new_report(test);
	good_window(report);
	kvmft_verdict_stop(report, 100, 1000, false);
	kvmft_verdict_finish(report);
	KUNIT_EXPECT_EQ(test, report->verdict, KVMFT_VERDICT_REFUSED);
	KUNIT_EXPECT_NOT_NULL(test, strstr(report->reason, "1 of 1"));
}

static void nothing_measured_refuses(struct kunit *test)
{
	struct kvmft_verdict_report *report = new_report(test);

	kvmft_verdict_finish(report);
	KUNIT_EXPECT_EQ(test, report->verdict, KVMFT_VERDICT_REFUSED);

	report = new_report(test);
	good_window(report);
	kvmft_verdict_finish(report);
	KUNIT_EXPECT_EQ(test, report->verdict, KVMFT_VERDICT_REFUSED);
}

static void skid_histogram(struct kunit *test)
{
	static const struct {
		u64 skid;
		unsigned int bucket;
	} cases[] = {
		{ 0, 0 }, { 1, 1 }, { 2, 2 }, { 3, 2 }, { 4, 3 }, { 1023, 10 }, { 1024, 11 },
		{ (1 << 18) - 1, 18 }, { 1 << 18, 19 }, { 1ULL << 40, KVMFT_SKID_BUCKETS - 1 },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kvmft_verdict_report *report = new_report(test);

		kvmft_verdict_stop(report, 7, 7 + cases[i].skid, true);
		KUNIT_EXPECT_EQ_MSG(test, report->skid[cases[i].bucket], 1, "case %d", i);
		KUNIT_EXPECT_EQ(test, report->skid_max, cases[i].skid);
	}
}

static void long_reason_is_cut(struct kunit *test)
{
	struct kvmft_verdict_report *report = new_report(test);
	char text[2 * sizeof(report->reason)];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	kvmft_verdict_refuse(report, "%s", text);
	KUNIT_EXPECT_EQ(test, strlen(report->reason), sizeof(report->reason) - 1);
}

/* A stop is asked for so much earlier that none seen would have come behind its place. */
static void margin(struct kunit *test)
{
	struct kvmft_verdict_report *report = new_report(test);

	KUNIT_EXPECT_EQ(test, kvmft_verdict_margin(report), KVMFT_MARGIN_MIN);
	kvmft_verdict_stop(report, 100, 100, true);
	KUNIT_EXPECT_EQ(test, kvmft_verdict_margin(report), KVMFT_MARGIN_MIN);
	kvmft_verdict_stop(report, 100, 101, true);
	KUNIT_EXPECT_EQ(test, kvmft_verdict_margin(report), KVMFT_MARGIN_TAIL);
	kvmft_verdict_stop(report, 100, 20100, true);
	KUNIT_EXPECT_EQ(test, kvmft_verdict_margin(report), 4 * 20000);
}

static struct kunit_case verdict_cases[] = {
	KUNIT_CASE(exact),
	KUNIT_CASE(one_wrong_window_refuses),
	KUNIT_CASE(early_stop_refuses),
	KUNIT_CASE(rare_losses_are_survived),
	KUNIT_CASE(nothing_measured_refuses),
	KUNIT_CASE(skid_histogram),
	KUNIT_CASE(long_reason_is_cut),
	KUNIT_CASE(margin),
	{}
};

static struct kunit_suite verdict_suite = {
	.name = "kvmft_verdict",
	.test_cases = verdict_cases,
};

kunit_test_suite(verdict_suite);

MODULE_DESCRIPTION("KUnit suite of kvmft's verdict on the counters");
MODULE_LICENSE("GPL");
