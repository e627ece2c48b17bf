/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A virtqueue as a device sees it: the split layout of virtio 1.2, 2.7, little-endian, without
 * indirect descriptors and without event indices.  Its buffers are used in the order in which they
 * were made available, each as soon as it was taken: one index tells all.
 *
 * The driver is not trusted.  What it writes is read once; a ring that makes no sense is an error
 * and no more than that.
 *
 * Pure: memory is somebody else's, see &struct kvmft_ring_memory.
 */
#ifndef _KVMFT_RING_H
#define _KVMFT_RING_H

#include <linux/types.h>

/* Virtio 1.2, 2.7: a power of two up to this. */
#define KVMFT_RING_MAX		32768

/* Pieces of a chain, at most; Linux's drivers make up to 19 (MAX_SKB_FRAGS + 2). */
#define KVMFT_CHAIN_MAX		64

/**
 * struct kvmft_ring_memory - where a ring is
 * @read: read @len bytes at the address @addr of the ring's memory; 0, or -EFAULT
 */
struct kvmft_ring_memory {
	int (*read)(const struct kvmft_ring_memory *memory, u64 addr, void *buf, u32 len);
};

/**
 * struct kvmft_ring - a ring
 * @num: its size
 * @next: of the buffers made available, the next one to take; all before it were used
 * @desc: address of the descriptors
 * @avail: of the available ring
 * @used: of the used ring
 */
struct kvmft_ring {
	u32 num;
	u16 next;
	u64 desc;
	u64 avail;
	u64 used;
};

/**
 * struct kvmft_piece - of a buffer
 * @addr: guest physical address
 * @len: bytes
 */
struct kvmft_piece {
	u64 addr;
	u32 len;
};

/**
 * struct kvmft_chain - a buffer
 * @head: index of its first descriptor
 * @nr_out: pieces that the device reads
 * @nr_in: pieces that it writes, behind those
 * @len_out: their bytes
 * @len_in: the same
 * @pieces: both
 */
struct kvmft_chain {
	u16 head;
	u16 nr_out;
	u16 nr_in;
	u64 len_out;
	u64 len_in;
	struct kvmft_piece pieces[KVMFT_CHAIN_MAX];
};

/**
 * struct kvmft_ring_used - what became of a buffer; virtio 1.2, 2.7.8
 * @id: kvmft_chain.head
 * @len: bytes written to it
 */
struct kvmft_ring_used {
	__le32 id;
	__le32 len;
};

/**
 * struct kvmft_ring_write - what is to be written, to tell the driver
 * @addr: address of the ring's memory
 * @data: bytes
 * @len: their number
 */
struct kvmft_ring_write {
	u64 addr;
	const void *data;
	u32 len;
};

/**
 * struct kvmft_ring_report - that buffers were used
 * @writes: in this order, with a write barrier before the last, which makes the others seen
 * @nr: their number
 * @index: what the last one writes
 */
struct kvmft_ring_report {
	struct kvmft_ring_write writes[3];
	unsigned int nr;
	__le16 index;
};

/* Is that a ring's size, and are the addresses aligned as virtio 1.2, 2.7, wants them? */
bool kvmft_ring_valid(const struct kvmft_ring *ring);

/**
 * kvmft_ring_pop() - take the next buffer
 * @ring: the ring
 * @memory: where it is
 * @chain: the buffer
 *
 * Return: 1; 0: there is none; -EFAULT: memory can not be read; -EINVAL: the ring makes no sense
 * (more buffers than it has room for, an index out of range, a chain that is a loop, too long, in
 * the wrong order, or with an unknown flag).  @ring moves on only with 1.
 */
int kvmft_ring_pop(struct kvmft_ring *ring, const struct kvmft_ring_memory *memory,
		   struct kvmft_chain *chain);

/**
 * kvmft_ring_report() - report the buffers taken last as used
 * @ring: the ring
 * @used: what became of them
 * @nr: their number, 1 to the ring's size
 * @report: what to write; points to @used
 */
void kvmft_ring_report(const struct kvmft_ring *ring, const struct kvmft_ring_used *used,
		       unsigned int nr, struct kvmft_ring_report *report);

/* Does the driver want an interrupt?  It does if that can not be read. */
bool kvmft_ring_wants_interrupt(const struct kvmft_ring *ring,
				const struct kvmft_ring_memory *memory);

#endif /* _KVMFT_RING_H */
