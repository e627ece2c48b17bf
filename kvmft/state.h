/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The states of a session, and what leads from one to another.
 *
 * Pure.  What a transition means for the guest is session.c's to do.
 */
#ifndef _KVMFT_STATE_H
#define _KVMFT_STATE_H

#include <uapi/linux/kvmft.h>

/**
 * enum kvmft_event - what happens to a session
 * @KVMFT_EVENT_RUN: its vCPU has been in the guest, and was counted
 * @KVMFT_EVENT_ALONE: it can not go on as a side of its pair, and an arbiter is there to say
 *	whether it may without
 * @KVMFT_EVENT_WON: the arbiter says: it may
 * @KVMFT_EVENT_LOST: the arbiter says: never
 * @KVMFT_EVENT_OVER: it ends, for a reason that needs no arbiter, or without having one
 */
enum kvmft_event {
	KVMFT_EVENT_RUN,
	KVMFT_EVENT_ALONE,
	KVMFT_EVENT_WON,
	KVMFT_EVENT_LOST,
	KVMFT_EVENT_OVER,
};

/**
 * kvmft_state_next() - the table of all transitions
 * @state: the session's
 * @event: what happened
 *
 * Return: the state after it; @state itself if the event means nothing there.
 */
enum kvmft_state kvmft_state_next(enum kvmft_state state, enum kvmft_event event);

/* LIVE, STOPPED and ENDED are final: nothing leads out of them. */
bool kvmft_state_is_final(enum kvmft_state state);

#endif /* _KVMFT_STATE_H */
