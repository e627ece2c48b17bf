/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Asynchronous inputs on their way from whoever brings them to the boundary where they are
 * applied, in the order in which they came.
 *
 * Pure: plain values; no locks.
 */
#ifndef _KVMFT_QUEUE_H
#define _KVMFT_QUEUE_H

#include <linux/types.h>

#include "entry.h"

#define KVMFT_QUEUE_SIZE	256

/* So many are no bytes for memory, whoever brings which will try again. */
#define KVMFT_QUEUE_RESERVE	64

/**
 * struct kvmft_queue - inputs
 * @inputs: the first @nr are in use; bytes for memory are owned by the queue, and by whoever
 *	takes them then
 * @nr: their number
 */
struct kvmft_queue {
	struct kvmft_input inputs[KVMFT_QUEUE_SIZE];
	unsigned int nr;
};

/*
 * Append all of @inputs, either bytes for memory or none of them.  False: there is no room, and
 * none was.
 */
bool kvmft_queue_add(struct kvmft_queue *queue, const struct kvmft_input *inputs,
		     unsigned int nr);

/*
 * Make room: what is queued is applied together, without an instruction of the guest's in between,
 * so an interrupt that is there already changes nothing, nor does a line that goes up and down
 * again and again.  False: there is nothing to leave out.
 */
bool kvmft_queue_merge(struct kvmft_queue *queue);

/*
 * Take the inputs of one BOUNDARY entry: up to KVMFT_BATCH_MAX, bytes for memory alone.  Returns
 * their number.
 */
unsigned int kvmft_queue_take(struct kvmft_queue *queue, struct kvmft_input *inputs);

/*
 * Make inputs of @len bytes for memory at @addr, with a copy of them, of which up to @max have to
 * do.  Returns their number, -E2BIG or -ENOMEM.  Sleeps.
 */
int kvmft_inputs_cut(struct kvmft_input *inputs, unsigned int max, u64 addr, const u8 *data,
		     u32 len);

/* The copies are not needed any more. */
void kvmft_inputs_free(const struct kvmft_input *inputs, unsigned int nr);

#endif /* _KVMFT_QUEUE_H */
