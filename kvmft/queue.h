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

/* Append all of @inputs.  False: there is no room, and none was. */
bool kvmft_queue_add(struct kvmft_queue *queue, const struct kvmft_input *inputs,
		     unsigned int nr);

/*
 * Take the inputs of one BOUNDARY entry: up to KVMFT_BATCH_MAX, bytes for memory alone.  Returns
 * their number.
 */
unsigned int kvmft_queue_take(struct kvmft_queue *queue, struct kvmft_input *inputs);

#endif /* _KVMFT_QUEUE_H */
