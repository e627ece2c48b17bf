// SPDX-License-Identifier: GPL-2.0
#include <kunit/test.h>

#include "state.h"

#define ARMED		KVMFT_STATE_ARMED
#define COUNTING	KVMFT_STATE_COUNTING
#define ENDED		KVMFT_STATE_ENDED
#define CLAIMING	KVMFT_STATE_CLAIMING
#define LIVE		KVMFT_STATE_LIVE
#define STOPPED		KVMFT_STATE_STOPPED

static const enum kvmft_state states[] = { ARMED, COUNTING, ENDED, CLAIMING, LIVE, STOPPED };

static const enum kvmft_event events[] = {
	KVMFT_EVENT_RUN, KVMFT_EVENT_ALONE, KVMFT_EVENT_WON, KVMFT_EVENT_LOST, KVMFT_EVENT_OVER,
};

/* The whole table. */
static void every_event_in_every_state(struct kunit *test)
{
	static const enum kvmft_state next[ARRAY_SIZE(states)][ARRAY_SIZE(events)] = {
		/* RUN	    ALONE     WON	LOST	  OVER */
		{ COUNTING, CLAIMING, ARMED,	ARMED,	  ENDED },	/* ARMED */
		{ COUNTING, CLAIMING, COUNTING, COUNTING, ENDED },	/* COUNTING */
		{ ENDED,    ENDED,    ENDED,	ENDED,	  ENDED },	/* ENDED */
		{ CLAIMING, CLAIMING, LIVE,	STOPPED,  ENDED },	/* CLAIMING */
		{ LIVE,	    LIVE,     LIVE,	LIVE,	  LIVE },	/* LIVE */
		{ STOPPED,  STOPPED,  STOPPED,	STOPPED,  STOPPED },	/* STOPPED */
	};
	int i, j;

	for (i = 0; i < ARRAY_SIZE(states); i++)
		for (j = 0; j < ARRAY_SIZE(events); j++)
			KUNIT_EXPECT_EQ_MSG(test, kvmft_state_next(states[i], events[j]),
					    next[i][j], "state %d, event %d", states[i],
					    events[j]);
}

static void finality(struct kunit *test)
{
	KUNIT_EXPECT_FALSE(test, kvmft_state_is_final(ARMED));
	KUNIT_EXPECT_FALSE(test, kvmft_state_is_final(COUNTING));
	KUNIT_EXPECT_FALSE(test, kvmft_state_is_final(CLAIMING));
	KUNIT_EXPECT_TRUE(test, kvmft_state_is_final(ENDED));
	KUNIT_EXPECT_TRUE(test, kvmft_state_is_final(LIVE));
	KUNIT_EXPECT_TRUE(test, kvmft_state_is_final(STOPPED));
}

/* Whatever comes, in any order: nobody is live but by a verdict that was asked for. */
static void live_is_won(struct kunit *test)
{
	unsigned int n, order;

	for (n = 0; n < 5 * 5 * 5 * 5 * 5; n++) {
		enum kvmft_state state = ARMED, before;
		int i;

		for (i = 0, order = n; i < 5; i++, order /= 5) {
			before = state;
			state = kvmft_state_next(state, events[order % 5]);
			if (state == before)
				continue;
			if (state == LIVE)
				KUNIT_EXPECT_TRUE(test, before == CLAIMING &&
						  events[order % 5] == KVMFT_EVENT_WON);
			if (state == STOPPED)
				KUNIT_EXPECT_TRUE(test, before == CLAIMING &&
						  events[order % 5] == KVMFT_EVENT_LOST);
			KUNIT_EXPECT_FALSE(test, kvmft_state_is_final(before));
		}
	}
}

static struct kunit_case state_cases[] = {
	KUNIT_CASE(every_event_in_every_state),
	KUNIT_CASE(finality),
	KUNIT_CASE(live_is_won),
	{}
};

static struct kunit_suite state_suite = {
	.name = "kvmft_state",
	.test_cases = state_cases,
};

kunit_test_suite(state_suite);

MODULE_DESCRIPTION("KUnit suite of kvmft's session states");
MODULE_LICENSE("GPL");
