/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A network device of a micro guest: /dev/kvmft-net with a tap, the rings in guest memory, and a
 * socket at the other end of the tap.  The case fails when anything here does, unless it says
 * otherwise.
 */
#ifndef SELFTESTS_NIC_H
#define SELFTESTS_NIC_H

#include <stdbool.h>

#include "vm.h"

#define NIC_DEVICE	"/dev/kvmft-net"

/* Rings of so many descriptors; where they are in guest memory, and their buffers */
#define NIC_RING	256
#define NIC_TX		0x400000
#define NIC_RX		0x410000
#define NIC_BUFFERS	0x500000
#define NIC_BUFFER	2048

#define NIC_HEADER	12		/* bytes of virtio's before a frame */
#define NIC_FRAME	100		/* bytes of a frame here */
#define NIC_TYPE	0x88b5		/* EtherType for experiments: IEEE 802a */

#define NIC_RX_QUEUE	0
#define NIC_TX_QUEUE	1

struct nic_desc {
	u64 addr;
	u32 len;
	u16 flags;
	u16 next;
};

struct nic_ring {
	struct nic_desc desc[NIC_RING];
	struct {
		u16 flags;
		u16 index;
		u16 heads[NIC_RING];
	} avail;
	u8 pad[4096 - (4 + 2 * NIC_RING) % 4096];
	struct {
		u16 flags;
		u16 index;
		struct {
			u32 id;
			u32 len;
		} done[NIC_RING];
	} used;
};

struct nic {
	struct vm *vm;
	int fd;			/* NIC_DEVICE */
	int tap;
	int far;		/* a packet socket: what the tap is sent, and gets */
	int call[2];		/* eventfds */
	int err[2];
	char name[16];
};

/*
 * Make a device for @vm, whose rings are empty; its tap has the name @name.  It does not run yet.
 */
void nic_open(struct nic *nic, struct vm *vm, const char *name);
/* Writes of the guest to @port tell it of packets: an ioeventfd; not before it is armed */
void nic_connect(struct nic *nic, u16 port);
void nic_close(struct nic *nic);

/* 0, or -errno: a queue works, or does so no more */
int nic_start(struct nic *nic, unsigned int queue);
int nic_stop(struct nic *nic, unsigned int queue);

/* The tap takes nothing any more: what is sent is an error */
void nic_down(struct nic *nic);

struct nic_ring *nic_ring(const struct nic *nic, unsigned int queue);

/* Packet @nr, of a guest that sends, lies ready in its buffer, and its head in the ring */
void nic_fill_tx(struct nic *nic);
/* Buffers for packets that come: all are available */
void nic_fill_rx(struct nic *nic);
/* The same, of so many descriptors of a byte each, one behind the other in memory */
void nic_fill_rx_pieces(struct nic *nic, unsigned int buffers, unsigned int pieces);

/* A packet has left the guest's tap: its number; -1: none has */
int nic_left(struct nic *nic);
/* A packet of this number comes */
void nic_send(struct nic *nic, u32 nr);
/* One that fills so many bytes, virtio's header included, with @byte */
void nic_send_bytes(const struct nic *nic, u8 byte, unsigned int len);
/* The number of the packet in buffer @buffer of those that came */
u32 nic_got(const struct nic *nic, unsigned int buffer);

/* Has an eventfd been signalled since the last call? */
bool nic_signalled(int event);

#endif /* SELFTESTS_NIC_H */
