/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Network devices of protected guests: virtio-net, for whose rings the VMM has /dev/kvmft-net
 * (vhost.c) work with a tap.
 *
 * What the guest sends is taken out of the ring on the vCPU's thread, at the boundary behind the
 * exit by which the guest told of it: recording and replay do the same there, so that nothing has
 * to be logged.  A packet leaves when the backup has the log up to there; the backup keeps what it
 * has made itself until the primary says that it has left, and sends the rest when it goes live.
 *
 * What comes in is read by a work item, which looks for buffers as vhost's thread does.  What it
 * writes to guest memory becomes inputs, which replay applies as it does any other
 * (KVMFT_INPUT_MEMORY): a backup does not look at the ring.  Since buffers are used in order, the
 * used ring's index in guest memory tells a backup that goes live where to go on.
 *
 * Without protection both rings are worked by work items.
 *
 * Lock order: session->lock or vcpu->mutex, then net->lock, then nets_lock (net.c), then
 * net->held_lock, a spinlock.  Memory of the VMM is read and written under the first two: it may
 * take for ever, and then its own machine alone waits for it.  So nobody waits for them who holds
 * nets_lock, which is all devices'.
 */
#ifndef _KVMFT_NET_H
#define _KVMFT_NET_H

#include <linux/eventfd.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/sizes.h>
#include <linux/vhost_types.h>
#include <linux/workqueue.h>
#include <uapi/linux/virtio_net.h>

#include "engine.h"
#include "gate.h"
#include "ring.h"
#include "vm.h"

/* Virtio 1.2, 5.1.2. */
#define KVMFT_NET_RX		0
#define KVMFT_NET_TX		1
#define KVMFT_NET_QUEUES	2

/* A frame of 64 KiB, as segmentation offload makes them, with its headers. */
#define KVMFT_NET_PACKET_MAX	(65536 + 256)
/* Bytes of packets that wait; the guest is stopped until there is room (a backup drops). */
#define KVMFT_NET_HELD_MAX	SZ_4M
/* Packets handled before another device, or another ring, has its turn. */
#define KVMFT_NET_BUDGET	256

/* Bytes before a frame, without the number of buffers, and with it: virtio 1.2, 5.1.6. */
#define KVMFT_NET_HEADER_LEGACY	sizeof(struct virtio_net_hdr)
#define KVMFT_NET_HEADER	sizeof(struct virtio_net_hdr_mrg_rxbuf)

/* Regions of guest memory, at most: as many memory slots as KVM has. */
#define KVMFT_NET_REGIONS	512

/**
 * enum kvmft_net_phase - what a device is for
 * @KVMFT_NET_NONE: nothing: no session has begun to protect its guest
 * @KVMFT_NET_RECORD: the guest is recorded
 * @KVMFT_NET_REPLAY: a log is replayed: nothing goes in or out
 * @KVMFT_NET_DRAIN: the guest is switched off; what has left it waits until it is acknowledged
 * @KVMFT_NET_LIVE: the guest runs without protection
 * @KVMFT_NET_STOPPED: it never runs again
 */
enum kvmft_net_phase {
	KVMFT_NET_NONE,
	KVMFT_NET_RECORD,
	KVMFT_NET_REPLAY,
	KVMFT_NET_DRAIN,
	KVMFT_NET_LIVE,
	KVMFT_NET_STOPPED,
};

/**
 * struct kvmft_net_wait - waits for a file to become readable
 * @net: whose
 * @file: the file, of which it has a reference; NULL: none
 * @table: to find @head
 * @head: where @entry is queued
 * @entry: queues @work
 * @work: see there
 * @eventfd: the file is one: what it has counted is taken
 */
struct kvmft_net_wait {
	struct kvmft_net *net;
	struct file *file;
	struct poll_table_struct table;
	wait_queue_head_t *head;
	wait_queue_entry_t entry;
	struct delayed_work *work;
	struct eventfd_ctx *eventfd;
};

/**
 * struct kvmft_net_queue - one virtqueue
 * @ring: where it is
 * @running: its device has been started: @tap is there
 * @broken: the ring makes no sense; nothing is done any more until it is set up anew
 * @kicked: TX: the guest has told of packets, and no boundary has come since; set, as @kicked_at,
 *	by the vCPU's thread, under nets_lock
 * @kicked_at: bytes of the log then: no more of it is explained before
 * @kick: the eventfd by which it tells that to whoever polls; changed under both locks
 * @call: to interrupt the guest, or NULL
 * @err: to tell the VMM that @broken is set, or NULL
 * @tap: what is sent to, or received from
 * @sock: as a socket
 */
struct kvmft_net_queue {
	struct kvmft_ring ring;
	bool running;
	bool broken;
	bool kicked;
	u64 kicked_at;
	struct kvmft_net_wait kick;
	struct eventfd_ctx *call;
	struct eventfd_ctx *err;
	struct file *tap;
	struct socket *sock;
};

/**
 * struct kvmft_net - a device
 * @node: among all, under nets_lock
 * @id: larger than that of any that was made before
 * @ref: one for its file, one for each who looks at it without nets_lock
 * @lock: protects what follows; to change @vm, @engine and @phase nets_lock has to be held, too
 * @mm: address space of the VMM, once it has one; its rings are there
 * @vm: whose device it is, while that is protected; or NULL
 * @engine: of its session
 * @phase: see there
 * @outlived: a session has let go of a guest of its VMM's, which runs on: it can be started without
 *	one; under nets_lock
 * @features: that the driver and this device have agreed on
 * @memory: to read the rings by
 * @nr_regions: of @regions
 * @regions: guest memory, and where the VMM has it
 * @queues: see KVMFT_NET_RX
 * @tap_wait: a packet has arrived
 * @out: where packets go, also when the device is stopped
 * @out_sock: as a socket
 * @mac: of the guest, as it has sent
 * @chain: for whoever works a ring
 * @rx: a packet that was received, with its header
 * @rx_len: its bytes; 0: there is none
 * @rx_work: receives
 * @tx_work: takes packets out of the ring, without protection
 * @send_work: sends what may leave
 * @held_lock: protects @held
 * @held: packets that may not
 */
struct kvmft_net {
	struct list_head node;
	u64 id;
	struct kref ref;
	struct mutex lock; /* see above */
	struct mm_struct *mm;
	struct kvmft_vm *vm;
	struct kvmft_engine *engine;
	enum kvmft_net_phase phase;
	bool outlived;
	u64 features;
	struct kvmft_ring_memory memory;
	u32 nr_regions;
	struct vhost_memory_region *regions;
	struct kvmft_net_queue queues[KVMFT_NET_QUEUES];
	struct kvmft_net_wait tap_wait;
	struct file *out;
	struct socket *out_sock;
	u8 mac[6];
	struct kvmft_chain chain;
	u8 *rx;
	u32 rx_len;
	struct delayed_work rx_work;
	struct delayed_work tx_work;
	struct delayed_work send_work;
	spinlock_t held_lock; /* see above */
	struct kvmft_held held;
};

int kvmft_net_init(void);
void kvmft_net_exit(void);

/* -ENOMEM. */
struct kvmft_net *kvmft_net_create(void);
void kvmft_net_destroy(struct kvmft_net *net);

/*
 * Under net->lock: it works the queue @nr with @tap, whose reference it takes over and whose
 * socket is @sock, or does so no more (NULL).  -ENOTCONN: no session protects the guest, or has
 * let go of it.
 */
int kvmft_net_start(struct kvmft_net *net, unsigned int nr, struct file *tap, struct socket *sock);

/*
 * Under net->lock: have @dwork queued when @file, whose reference it takes over, becomes readable
 * and @net is in a phase in which that is its work, and now if it is readable; NULL: no more.
 * -EINVAL: it is no eventfd, but was to be.
 */
int kvmft_net_watch(struct kvmft_net *net, struct kvmft_net_wait *wait, struct file *file,
		    struct delayed_work *dwork, bool is_eventfd);

/* See &struct kvmft_vm_ops, and &struct kvmft_vcpu_owner. */
bool kvmft_net_kick(struct kvmft_vm *vm, const struct eventfd_ctx *event);
int kvmft_net_transmit(struct kvmft_engine *engine);

/*
 * The session of @vm has let go of it: its devices go on as @phase.  The caller holds
 * session->lock.  For LIVE, when a replay's guest goes live, it is the vCPU's thread.
 */
void kvmft_net_release(struct kvmft_vm *vm, enum kvmft_net_phase phase);

/*
 * The session of @vm, which exists, is about to let go of it, and it runs on: its devices that the
 * guest has not set up yet can be started then.
 */
void kvmft_net_outlive(const struct kvmft_vm *vm);

/* Send what may leave of the devices of @vm, which drain.  Sleeps, for a second at most. */
void kvmft_net_drain(struct kvmft_vm *vm);

/* The backup of @transport's may have acknowledged more: send what waits for that.  May sleep. */
void kvmft_net_acked(const struct kvmft_transport *transport);

/*
 * What follows is between net.c, nettx.c, netrx.c and netmem.c; under net->lock, but for the first
 * two.
 */
void kvmft_net_queue_work(struct delayed_work *dwork, unsigned long delay);

/*
 * So many packets are not held any more, and @sent of them have left: tell who wants to know.  None
 * of the locks is held.
 */
void kvmft_net_gone(struct kvmft_net *net, u64 gone, u64 sent);

/* See &struct kvmft_ring_memory; in the VMM's address space, as the next four. */
int kvmft_net_read(const struct kvmft_ring_memory *memory, u64 addr, void *buf, u32 len);
int kvmft_net_read_piece(const struct kvmft_net *net, u8 *to, const struct kvmft_piece *piece);
/* @size bytes to the guest's @addr; -EFAULT: that is no memory of its. */
int kvmft_net_write(const struct kvmft_net *net, u64 addr, const u8 *from, u32 size);
int kvmft_net_write_report(const struct kvmft_ring_report *report);
/* The place where a driver, by its memory, has seen the last used buffer. */
void kvmft_net_find_place(struct kvmft_net_queue *queue);

/* The guest's address of @len bytes at the VMM's @addr; false: they are not in one region. */
bool kvmft_net_guest_of(const struct kvmft_net *net, u64 addr, u32 len, u64 *guest);
/* Bytes before a frame. */
u32 kvmft_net_header(const struct kvmft_net *net);
bool kvmft_net_is_usable(const struct kvmft_net_queue *queue);
void kvmft_net_interrupt(struct kvmft_net_queue *queue);
/* The ring makes no sense. */
void kvmft_net_give_up(struct kvmft_net_queue *queue, const char *what, int error);

/*
 * In the VMM's address space: take out of the ring what is in it, to be sent when @at bytes of the
 * log are acknowledged.  False: there was no room for all.
 */
bool kvmft_net_take(struct kvmft_net *net, u64 at);
/* A backup keeps what the primary may not have sent, and not more than it can. */
void kvmft_net_keep(struct kvmft_net *net);
/* May a packet that is held leave?  Without net->lock: it was so, or is. */
bool kvmft_net_may_send(struct kvmft_net *net);
/* What @limit bytes of the log explain is not needed any more. */
void kvmft_net_drop(struct kvmft_net *net, u64 limit);
/* Have switches learn where the guest's address is now: RFC 903, a reverse ARP request. */
void kvmft_net_announce(struct kvmft_net *net);
/* Read a packet from the tap.  False: there is none. */
bool kvmft_net_read_tap(struct kvmft_net *net);

/* Send what may leave, as @send_work does.  False: somebody has net->lock. */
bool kvmft_net_try_send(struct kvmft_net *net);

void kvmft_net_transmit_work(struct work_struct *item);
void kvmft_net_send_work(struct work_struct *item);
void kvmft_net_receive_work(struct work_struct *item);

#endif /* _KVMFT_NET_H */
