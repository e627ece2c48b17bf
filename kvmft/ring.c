// SPDX-License-Identifier: GPL-2.0
#include <linux/align.h>
#include <linux/errno.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include <asm/barrier.h>
#include <asm/byteorder.h>

#include "ring.h"

/* Virtio 1.2, 2.7.5 to 2.7.8. */
struct desc {
	__le64 addr;
	__le32 len;
	__le16 flags;
	__le16 next;
};

#define DESC_NEXT	1
#define DESC_WRITE	2

#define AVAIL_FLAGS	0
#define AVAIL_INDEX	2
#define AVAIL_RING	4
#define NO_INTERRUPT	1

#define USED_INDEX	2
#define USED_RING	4

bool kvmft_ring_valid(const struct kvmft_ring *ring)
{
	return is_power_of_2(ring->num) && ring->num <= KVMFT_RING_MAX &&
	       IS_ALIGNED(ring->desc, 16) && IS_ALIGNED(ring->avail, 2) &&
	       IS_ALIGNED(ring->used, 4);
}

static int read16(const struct kvmft_ring_memory *memory, u64 addr, u16 *value)
{
	__le16 le;
	int ret = memory->read(memory, addr, &le, sizeof(le));

	*value = le16_to_cpu(le);
	return ret;
}

static int add(struct kvmft_chain *chain, const struct desc *desc)
{
	unsigned int nr = chain->nr_out + chain->nr_in;
	u32 len = le32_to_cpu(desc->len);

	if (nr == KVMFT_CHAIN_MAX)
		return -EINVAL;
	chain->pieces[nr] = (struct kvmft_piece) {
		.addr = le64_to_cpu(desc->addr),
		.len = len,
	};
	if (desc->flags & cpu_to_le16(DESC_WRITE)) {
		chain->nr_in++;
		chain->len_in += len;
		return 0;
	}
	if (chain->nr_in)
		return -EINVAL;
	chain->nr_out++;
	chain->len_out += len;
	return 0;
}

/* A loop is longer than any chain may be. */
static int walk(const struct kvmft_ring *ring, const struct kvmft_ring_memory *memory,
		struct kvmft_chain *chain)
{
	u16 index = chain->head;
	struct desc desc;
	int ret;

	do {
		if (index >= ring->num)
			return -EINVAL;
		ret = memory->read(memory, ring->desc + index * sizeof(desc), &desc, sizeof(desc));
		if (!ret && le16_to_cpu(desc.flags) & ~(DESC_NEXT | DESC_WRITE))
			ret = -EINVAL;
		if (!ret)
			ret = add(chain, &desc);
		index = le16_to_cpu(desc.next);
	} while (!ret && desc.flags & cpu_to_le16(DESC_NEXT));
	return ret;
}

int kvmft_ring_pop(struct kvmft_ring *ring, const struct kvmft_ring_memory *memory,
		   struct kvmft_chain *chain)
{
	u16 index;
	int ret;

	ret = read16(memory, ring->avail + AVAIL_INDEX, &index);
	if (ret)
		return ret;
	if (index == ring->next)
		return 0;
	if ((u16)(index - ring->next) > ring->num)
		return -EINVAL;
	/* The driver has written what the index tells of before it. */
	smp_rmb();
	memset(chain, 0, offsetof(struct kvmft_chain, pieces));
	ret = read16(memory, ring->avail + AVAIL_RING + 2 * (ring->next & (ring->num - 1)),
		     &chain->head);
	if (!ret)
		ret = walk(ring, memory, chain);
	if (ret)
		return ret;
	ring->next++;
	return 1;
}

void kvmft_ring_report(const struct kvmft_ring *ring, const struct kvmft_ring_used *used,
		       unsigned int nr, struct kvmft_ring_report *report)
{
	u32 first = (u16)(ring->next - nr) & (ring->num - 1);
	u32 part = min(nr, ring->num - first);
	u64 elements = ring->used + USED_RING;

	report->nr = 0;
	report->writes[report->nr++] = (struct kvmft_ring_write) {
		elements + first * sizeof(*used), used, part * sizeof(*used)
	};
	if (part < nr)
		report->writes[report->nr++] = (struct kvmft_ring_write) {
			elements, used + part, (nr - part) * sizeof(*used)
		};
	report->index = cpu_to_le16(ring->next);
	report->writes[report->nr++] = (struct kvmft_ring_write) {
		ring->used + USED_INDEX, &report->index, sizeof(report->index)
	};
}

bool kvmft_ring_wants_interrupt(const struct kvmft_ring *ring,
				const struct kvmft_ring_memory *memory)
{
	u16 flags;

	/* The driver sets the flag before it looks at the index: one of both sees the other's. */
	smp_mb();
	return read16(memory, ring->avail + AVAIL_FLAGS, &flags) || !(flags & NO_INTERRUPT);
}
