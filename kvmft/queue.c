// SPDX-License-Identifier: GPL-2.0
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "queue.h"

bool kvmft_queue_add(struct kvmft_queue *queue, const struct kvmft_input *inputs, unsigned int nr)
{
	unsigned int room = KVMFT_QUEUE_SIZE - queue->nr;

	if (nr && inputs->type == KVMFT_INPUT_MEMORY)
		room -= min_t(unsigned int, room, KVMFT_QUEUE_RESERVE);
	if (nr > room)
		return false;
	memcpy(queue->inputs + queue->nr, inputs, nr * sizeof(*inputs));
	queue->nr += nr;
	return true;
}

static void drop(struct kvmft_queue *queue, unsigned int at)
{
	queue->nr--;
	memmove(queue->inputs + at, queue->inputs + at + 1,
		(queue->nr - at) * sizeof(*queue->inputs));
}

/* The second of two NMIs waits for the end of the first; a third of anything is nothing. */
static bool is_third(const struct kvmft_queue *queue, unsigned int at)
{
	const struct kvmft_input *input = &queue->inputs[at], *other;
	unsigned int same = 0;

	for (other = queue->inputs; other < input && same < 2; other++)
		same += other->type == input->type && other->addr == input->addr &&
			other->data == input->data;
	return same == 2;
}

/*
 * Of a line that the same source, and no other in between, changes up, down, up and down, or down,
 * up, down and up, the first and the last change make the same edge and the same level.  Drops
 * those before the one at @at; returns how many.
 */
static unsigned int merge_line(struct kvmft_queue *queue, unsigned int at)
{
	const struct kvmft_input *last = &queue->inputs[at];
	unsigned int before[3], nr = 0, i;

	for (i = at; i && nr < 3; i--) {
		const struct kvmft_input *input = &queue->inputs[i - 1];

		if (input->type != KVMFT_INPUT_LINE || input->gsi != last->gsi)
			continue;
		if (input->source != last->source || input->level != (last->level ^ !(nr % 2)))
			return 0;
		before[nr++] = i - 1;
	}
	if (nr < 3)
		return 0;
	drop(queue, before[0]);
	drop(queue, before[1]);
	return 2;
}

bool kvmft_queue_merge(struct kvmft_queue *queue)
{
	unsigned int before = queue->nr, i = 0;

	while (i < queue->nr) {
		if (queue->inputs[i].type == KVMFT_INPUT_LINE) {
			i -= merge_line(queue, i);
		} else if (queue->inputs[i].type != KVMFT_INPUT_MEMORY && is_third(queue, i)) {
			drop(queue, i);
			continue;
		}
		i++;
	}
	return queue->nr < before;
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

int kvmft_inputs_cut(struct kvmft_input *inputs, unsigned int max, u64 addr, const u8 *data,
		     u32 len)
{
	u32 done, size;
	int nr = 0;

	if (DIV_ROUND_UP(len, KVMFT_DATA_MAX) > max)
		return -E2BIG;
	for (done = 0; done < len; done += size) {
		size = min_t(u32, len - done, KVMFT_DATA_MAX);
		inputs[nr] = (struct kvmft_input) {
			.type = KVMFT_INPUT_MEMORY,
			.addr = addr + done,
			.len = size,
			.bytes = kmemdup(data + done, size, GFP_KERNEL_ACCOUNT),
		};
		if (!inputs[nr].bytes) {
			kvmft_inputs_free(inputs, nr);
			return -ENOMEM;
		}
		nr++;
	}
	return nr;
}

void kvmft_inputs_free(const struct kvmft_input *inputs, unsigned int nr)
{
	while (nr)
		kfree(inputs[--nr].bytes);
}
