// SPDX-License-Identifier: GPL-2.0
#include <linux/kernel.h>

#include "gate.h"

/*
 * Writes by which something leaves the host, as QEMU's machines have their devices.  A write that
 * only sets a device up is none: what it leads to comes with another.
 */
static const struct {
	u16 first;
	u16 last;
} ports[] = {
	/* Transmit registers of the serial ports COM4, COM2, COM3, COM1 (hw/char/serial-isa.c) */
	{ 0x2e8, 0x2e8 },
	{ 0x2f8, 0x2f8 },
	{ 0x3e8, 0x3e8 },
	{ 0x3f8, 0x3f8 },
	/* Data and strobe of the parallel ports (hw/char/parallel.c) */
	{ 0x278, 0x27a },
	{ 0x378, 0x37a },
	{ 0x3bc, 0x3be },
	/* Debug consoles: of the firmware, and Bochs' (hw/char/debugcon.c) */
	{ 0x402, 0x402 },
	{ 0x0e9, 0x0e9 },
};

bool kvmft_gate_holds(enum kvmft_gate gate, enum kvmft_space space, u64 addr)
{
	unsigned int i;

	if (gate != KVMFT_GATE_OUTPUT || space != KVMFT_SPACE_PORT)
		return gate == KVMFT_GATE_ALL;
	for (i = 0; i < ARRAY_SIZE(ports); i++)
		if (addr >= ports[i].first && addr <= ports[i].last)
			return true;
	return false;
}

void kvmft_held_init(struct kvmft_held *held)
{
	*held = (struct kvmft_held) {};
	INIT_LIST_HEAD(&held->packets);
}

void kvmft_held_add(struct kvmft_held *held, struct kvmft_packet *packet)
{
	list_add_tail(&packet->node, &held->packets);
	held->nr++;
	held->bytes += packet->len;
}

void kvmft_held_add_first(struct kvmft_held *held, struct kvmft_packet *packet)
{
	list_add(&packet->node, &held->packets);
	held->nr++;
	held->bytes += packet->len;
}

struct kvmft_packet *kvmft_held_first(struct kvmft_held *held, u64 limit)
{
	struct kvmft_packet *packet;

	packet = list_first_entry_or_null(&held->packets, struct kvmft_packet, node);
	return packet && packet->at <= limit ? packet : NULL;
}

void kvmft_held_remove(struct kvmft_held *held, struct kvmft_packet *packet)
{
	list_del(&packet->node);
	held->nr--;
	held->bytes -= packet->len;
}

u64 kvmft_held_released(struct kvmft_held *held, u64 acked)
{
	const struct kvmft_packet *first = kvmft_held_first(held, acked);

	return first ? first->at - 1 : acked;
}
