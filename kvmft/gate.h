/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The output gate: what leaves the primary's host only once the backup has the log that explains
 * it.  Here: which of the guest's writes to devices do, and packets that wait.
 *
 * Pure.
 */
#ifndef _KVMFT_GATE_H
#define _KVMFT_GATE_H

#include <linux/list.h>
#include <linux/types.h>

#include <uapi/linux/kvmft.h>

#include "entry.h"

/**
 * enum kvmft_gate - what waits
 * @KVMFT_GATE_NONE: nothing: there is nobody who would carry on
 * @KVMFT_GATE_OUTPUT: writes that the table in gate.c names
 * @KVMFT_GATE_ALL: every write that the VMM gets to see
 */
enum kvmft_gate {
	KVMFT_GATE_NONE,
	KVMFT_GATE_OUTPUT,
	KVMFT_GATE_ALL,
};

/**
 * kvmft_gate_holds() - is this write an output?
 * @gate: what waits
 * @space: where it goes
 * @addr: address
 *
 * Return: true if the VMM is not to see it before the backup has its entry.
 */
bool kvmft_gate_holds(enum kvmft_gate gate, enum kvmft_space space, u64 addr);

/**
 * struct kvmft_packet - what a network device of the guest's sends
 * @node: among others
 * @at: bytes of the log that explain it
 * @len: its bytes
 * @data: with a virtio header before the frame
 */
struct kvmft_packet {
	struct list_head node;
	u64 at;
	u32 len;
	u8 data[] __counted_by(len);
};

/**
 * enum kvmft_fate - what became of a packet
 * @KVMFT_FATE_HELD: it waits
 * @KVMFT_FATE_SENT: it has left the host
 * @KVMFT_FATE_DROPPED: it never will: the primary has sent it, or it could not be sent
 */
enum kvmft_fate {
	KVMFT_FATE_HELD,
	KVMFT_FATE_SENT,
	KVMFT_FATE_DROPPED,
};

/**
 * struct kvmft_held - packets that wait, in the order in which they were sent
 * @packets: &struct kvmft_packet
 * @nr: their number
 * @bytes: of their data
 */
struct kvmft_held {
	struct list_head packets;
	u32 nr;
	u64 bytes;
};

void kvmft_held_init(struct kvmft_held *held);

/* kvmft_packet.at is never less than that of the one before. */
void kvmft_held_add(struct kvmft_held *held, struct kvmft_packet *packet);

/* Before all others. */
void kvmft_held_add_first(struct kvmft_held *held, struct kvmft_packet *packet);

/* The first, if @limit bytes of the log explain it, or NULL.  It stays. */
struct kvmft_packet *kvmft_held_first(struct kvmft_held *held, u64 limit);

/* Not one of them any more; the caller owns it. */
void kvmft_held_remove(struct kvmft_held *held, struct kvmft_packet *packet);

/* All that @acked bytes of the log explain has left, but for what waits: the same in bytes. */
u64 kvmft_held_released(struct kvmft_held *held, u64 acked);

#endif /* _KVMFT_GATE_H */
