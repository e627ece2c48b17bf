// SPDX-License-Identifier: GPL-2.0
#include <linux/kernel.h>
#include <linux/types.h>

#include "state.h"

static const struct {
	enum kvmft_state from;
	enum kvmft_event event;
	enum kvmft_state to;
} transitions[] = {
	{ KVMFT_STATE_ARMED,	KVMFT_EVENT_RUN,	KVMFT_STATE_COUNTING },
	{ KVMFT_STATE_ARMED,	KVMFT_EVENT_ALONE,	KVMFT_STATE_CLAIMING },
	{ KVMFT_STATE_ARMED,	KVMFT_EVENT_OVER,	KVMFT_STATE_ENDED },
	{ KVMFT_STATE_COUNTING,	KVMFT_EVENT_ALONE,	KVMFT_STATE_CLAIMING },
	{ KVMFT_STATE_COUNTING,	KVMFT_EVENT_OVER,	KVMFT_STATE_ENDED },
	{ KVMFT_STATE_CLAIMING,	KVMFT_EVENT_WON,	KVMFT_STATE_LIVE },
	{ KVMFT_STATE_CLAIMING,	KVMFT_EVENT_LOST,	KVMFT_STATE_STOPPED },
	/* Closed before the arbiter had an answer: the guest is not to run on. */
	{ KVMFT_STATE_CLAIMING,	KVMFT_EVENT_OVER,	KVMFT_STATE_ENDED },
};

enum kvmft_state kvmft_state_next(enum kvmft_state state, enum kvmft_event event)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(transitions); i++)
		if (transitions[i].from == state && transitions[i].event == event)
			return transitions[i].to;
	return state;
}

bool kvmft_state_is_final(enum kvmft_state state)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(transitions); i++)
		if (transitions[i].from == state)
			return false;
	return true;
}
