// SPDX-License-Identifier: GPL-2.0
#include <linux/minmax.h>
#include <linux/string.h>

#include "queue.h"

bool kvmft_queue_add(struct kvmft_queue *queue, const struct kvmft_input *inputs, unsigned int nr)
{
	if (nr > KVMFT_QUEUE_SIZE - queue->nr)
		return false;
	memcpy(queue->inputs + queue->nr, inputs, nr * sizeof(*inputs));
	queue->nr += nr;
	return true;
}

/* How many fit into one entry? */
static unsigned int batch_size(const struct kvmft_queue *queue)
{
	unsigned int nr = min_t(unsigned int, queue->nr, KVMFT_BATCH_MAX), i;

	for (i = 0; i < nr; i++)
		if (queue->inputs[i].type == KVMFT_INPUT_MEMORY)
			return i ? i : 1;
	return nr;
}

unsigned int kvmft_queue_take(struct kvmft_queue *queue, struct kvmft_input *inputs)
{
	unsigned int nr = batch_size(queue);

	memcpy(inputs, queue->inputs, nr * sizeof(*inputs));
	queue->nr -= nr;
	memmove(queue->inputs, queue->inputs + nr, queue->nr * sizeof(*inputs));
	return nr;
}
