// SPDX-License-Identifier: GPL-2.0
/*
 * Network devices of protected guests, /dev/kvmft-net: recorded and replayed, and with a pair.  The
 * guest is a micro guest that has packets to send; rings that make no sense are the VMM's doing.
 * The environment names seed (KVMFT_SEED) and rounds (KVMFT_ROUNDS).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_net.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "both.h"
#include "nic.h"
#include "nowhere.h"
#include "tcp.h"
#include "util.h"

/* Descriptors of a packet: half of the module's queue, but for what tells the guest */
#define PIECES		125
#define PIECES_MAX	127
#define BUFFER		5	/* ... of a buffer */

#define LARGE		60000		/* bytes of a packet, with virtio's header */
#define ROOM		(4 << 20)	/* for packets that wait */

/*
 * One guest, to a file or from it.
 */
struct run {
	struct vm vm;
	struct nic nic;
	int session;
	struct micro micro;
};

static void open_run(struct run *run, const char *name, const char *tap)
{
	run->micro = *micro_of(name);
	micro_vm(&run->vm, &run->micro);
	run->session = kvmft_create_ok(dev, run->vm.fd);
	nic_open(&run->nic, &run->vm, tap);
	nic_fill_tx(&run->nic);
	nic_fill_rx(&run->nic);
}

static void start_nic(struct nic *nic)
{
	nic_connect(nic, MICRO_PORT_KICK);
	CHECK_RET(nic_start(nic, NIC_RX_QUEUE), 0, "VHOST_NET_SET_BACKEND, receive");
	CHECK_RET(nic_start(nic, NIC_TX_QUEUE), 0, "VHOST_NET_SET_BACKEND, transmit");
}

static void run_to_end(struct run *run)
{
	struct rng rng;

	rng_seed(&rng, 1);
	CHECK(micro_run(&run->vm, &run->micro, &rng, -1), "the guest does not come to its end: %m");
}

static void close_run(struct run *run)
{
	nic_close(&run->nic);
	vm_destroy(&run->vm);
	close(run->session);
}

/* Until @nr packets, from number @first on, have left, each once and in order */
static void check_left(struct nic *nic, unsigned int first, unsigned int nr)
{
	unsigned int i;
	int left;

	for (i = first; i < first + nr; i++) {
		wait_until((left = nic_left(nic)) >= 0, "a packet leaves");
		CHECK_EQ(left, i % NIC_RING, "the packet that leaves");
	}
}

/* How many buffers of a queue the device is done with */
static u16 done(const struct nic *nic, unsigned int queue)
{
	return __atomic_load_n(&nic_ring(nic, queue)->used.index, __ATOMIC_ACQUIRE);
}

/* The log has the end of the guest, and memory */
static void finish(struct run *run)
{
	struct kvmft_session_status status;
	char reason[300];

	kvmft_status_ok(run->session, &status);
	micro_reason(status.id, reason, sizeof(reason));
	CHECK(!status.end, "end %u: %s", status.end, reason);
}

/* All that the guest sends leaves, once; of a replay nothing does, and its rings are the same */
static void sends(void)
{
	struct run first, second;
	struct nic_ring *a, *b;
	int log = micro_open_log();
	struct kvmft_session_status status;

	dev = kvmft_open_ok();
	open_run(&first, "nic", "kvmft-a");
	CHECK_RET(kvmft_record(first.session, log, 0), 0, "KVMFT_SESSION_RECORD");
	start_nic(&first.nic);
	run_to_end(&first);
	finish(&first);
	check_left(&first.nic, 0, first.micro.iterations);
	CHECK(nic_left(&first.nic) < 0, "more packets left than were sent");
	a = nic_ring(&first.nic, NIC_TX_QUEUE);
	CHECK_EQ(a->used.index, (u16)first.micro.iterations, "used");
	kvmft_status_ok(first.session, &status);
	CHECK_EQ(status.packets_sent, first.micro.iterations, "packets_sent");
	CHECK_EQ(status.packets_held | status.packets_resent | status.packets_dropped, 0,
		 "of nobody");
	close(first.session);

	open_run(&second, "nic", "kvmft-b");
	CHECK_RET(kvmft_replay(second.session, log), 0, "KVMFT_SESSION_REPLAY");
	start_nic(&second.nic);
	run_to_end(&second);
	finish(&second);
	b = nic_ring(&second.nic, NIC_TX_QUEUE);
	CHECK(!memcmp(a, b, sizeof(*a)), "the rings differ");
	CHECK(nic_left(&second.nic) < 0, "a replay sends");
	close_run(&second);
	first.session = -1;
	close_run(&first);
	close(log);
}

struct sender {
	struct nic *nic;
	bool stop;
	u32 nr;
};

static void *sender_thread(void *arg)
{
	struct sender *sender = arg;

	while (!__atomic_load_n(&sender->stop, __ATOMIC_ACQUIRE) && sender->nr < NIC_RING / 2) {
		nic_send(sender->nic, sender->nr++);
		usleep(500);
	}
	return NULL;
}

/* What comes becomes part of the log: a replay, to whose tap nothing comes, gets the same */
static void receives(void)
{
	struct sender sender = {};
	struct run first, second;
	int log = micro_open_log();
	struct nic_ring *a, *b;
	pthread_t thread;
	u16 got;

	dev = kvmft_open_ok();
	open_run(&first, "nic", "kvmft-a");
	CHECK_RET(kvmft_record(first.session, log, 0), 0, "KVMFT_SESSION_RECORD");
	start_nic(&first.nic);
	sender.nic = &first.nic;
	CHECK(!pthread_create(&thread, NULL, sender_thread, &sender), "pthread_create");
	run_to_end(&first);
	__atomic_store_n(&sender.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	finish(&first);
	a = nic_ring(&first.nic, NIC_RX_QUEUE);
	got = a->used.index;
	CHECK(got > 3, "%u packets were received, %u sent", got, sender.nr);
	CHECK_EQ(a->used.done[0].len, NIC_HEADER + NIC_FRAME, "bytes of the first");
	CHECK(nic_signalled(first.nic.call[NIC_RX_QUEUE]), "nobody was told");

	open_run(&second, "nic", "kvmft-b");
	/* The recording is to have no more of them than the guest has seen */
	CHECK_RET(nic_stop(&first.nic, NIC_RX_QUEUE), 0, "VHOST_NET_SET_BACKEND, -1");
	close(first.session);
	CHECK_RET(kvmft_replay(second.session, log), 0, "KVMFT_SESSION_REPLAY");
	start_nic(&second.nic);
	nic_send(&second.nic, 99);
	run_to_end(&second);
	finish(&second);
	b = nic_ring(&second.nic, NIC_RX_QUEUE);
	CHECK(b->used.index <= a->used.index && b->used.index >= got, "%u, %u, %u packets", got,
	      b->used.index, a->used.index);
	CHECK(!memcmp(b->used.done, a->used.done, b->used.index * sizeof(b->used.done[0])),
	      "the rings differ");
	CHECK(!memcmp(first.vm.mem + NIC_BUFFERS, second.vm.mem + NIC_BUFFERS,
		      (u64)b->used.index * NIC_BUFFER), "the packets differ");
	close_run(&second);
	first.session = -1;
	close_run(&first);
	close(log);
}

/* As many as there is room for in the queue, with the news of it; a packet of more is lost */
static void receives_in_pieces(void)
{
	const u64 features = 1ULL << 32 | 1 << VIRTIO_NET_F_MRG_RXBUF;
	int log = micro_open_log();
	struct nic_ring *ring;
	struct run run;
	const u8 *got;

	dev = kvmft_open_ok();
	open_run(&run, "nic", "kvmft-a");
	CHECK(!ioctl(run.nic.fd, VHOST_SET_FEATURES, &features), "VHOST_SET_FEATURES: %m");
	memset(run.vm.mem + NIC_BUFFERS, 0, NIC_RING);
	nic_fill_rx_pieces(&run.nic, NIC_RING / BUFFER, BUFFER);
	CHECK_RET(kvmft_record(run.session, log, 0), 0, "KVMFT_SESSION_RECORD");
	start_nic(&run.nic);
	nic_send_bytes(&run.nic, 0x11, PIECES);
	nic_send_bytes(&run.nic, 0x22, PIECES_MAX);
	nic_send_bytes(&run.nic, 0x33, PIECES);
	run_to_end(&run);
	finish(&run);
	ring = nic_ring(&run.nic, NIC_RX_QUEUE);
	CHECK_EQ(ring->used.index, 2 * PIECES / BUFFER, "buffers that were used");
	CHECK_EQ(ring->used.done[PIECES / BUFFER].id, PIECES, "where the last packet begins");
	got = run.vm.mem + NIC_BUFFERS;
	CHECK_EQ(got[NIC_HEADER - 2], PIECES / BUFFER, "buffers in the first one's header");
	CHECK(got[PIECES - 1] == 0x11, "the first packet is another");
	CHECK(got[2 * PIECES - 1] == 0x33 && !got[2 * PIECES], "the last packet is another");
	close_run(&run);
	close(log);
}

/* A guest that nobody protects gets no device, nor does one whose session only counts */
static void no_session(void)
{
	struct run run;

	dev = kvmft_open_ok();
	open_run(&run, "nic", "kvmft-a");
	CHECK_RET(nic_start(&run.nic, NIC_TX_QUEUE), -ENOTCONN, "a session that counts");
	close(run.session);
	CHECK_RET(nic_start(&run.nic, NIC_TX_QUEUE), -ENOTCONN, "no session");
	run.session = -1;
	close_run(&run);
}

/* When its session is closed the guest goes on, and so does its device; @late: set up then only */
static void go_on(bool late)
{
	int log = micro_open_log();
	struct run run;
	u32 i;

	dev = kvmft_open_ok();
	open_run(&run, "nic", "kvmft-a");
	CHECK_RET(kvmft_record(run.session, log, 0), 0, "KVMFT_SESSION_RECORD");
	if (!late)
		start_nic(&run.nic);
	close(run.session);
	if (late)
		start_nic(&run.nic);
	run_to_end(&run);
	check_left(&run.nic, 0, run.micro.iterations);
	for (i = 0; i < 5; i++)
		nic_send(&run.nic, i);
	wait_until(done(&run.nic, NIC_RX_QUEUE) == 5, "packets come in");
	CHECK(nic_signalled(run.nic.call[NIC_RX_QUEUE]), "nobody was told");
	/* Stopped, and started again where it was */
	CHECK_RET(nic_stop(&run.nic, NIC_RX_QUEUE), 0, "VHOST_NET_SET_BACKEND, -1");
	CHECK_RET(nic_start(&run.nic, NIC_RX_QUEUE), 0, "VHOST_NET_SET_BACKEND");
	nic_send(&run.nic, 5);
	wait_until(done(&run.nic, NIC_RX_QUEUE) == 6, "one more");
	run.session = -1;
	close_run(&run);
	close(log);
}

static void unprotected(void) { go_on(false); }

static void set_up_late(void) { go_on(true); }

/* Packets as large as can be */
static void enlarge(struct nic *nic)
{
	struct nic_ring *ring = nic_ring(nic, NIC_TX_QUEUE);
	unsigned int i;

	for (i = 0; i < NIC_RING; i++)
		ring->desc[i].len = LARGE;
}

/* More than there is room for, and each is an error: none keeps room, or the next waiting */
static void tap_is_down(void)
{
	int log = micro_open_log();
	struct run run;

	dev = kvmft_open_ok();
	open_run(&run, "nic_blind", "kvmft-a");
	enlarge(&run.nic);
	CHECK_RET(kvmft_record(run.session, log, 0), 0, "KVMFT_SESSION_RECORD");
	start_nic(&run.nic);
	close(run.session);
	CHECK_RET(nic_stop(&run.nic, NIC_TX_QUEUE), 0, "VHOST_NET_SET_BACKEND, -1");
	run_to_end(&run);
	CHECK_EQ(done(&run.nic, NIC_TX_QUEUE), 0, "packets that a device took that was stopped");
	nic_down(&run.nic);
	CHECK_RET(nic_start(&run.nic, NIC_TX_QUEUE), 0, "VHOST_NET_SET_BACKEND");
	wait_until(done(&run.nic, NIC_TX_QUEUE) == run.micro.iterations, "all are taken");
	run.session = -1;
	close_run(&run);
	close(log);
}

/*
 * Rings that make no sense: the VMM is told, the host is well, and replay comes to the same.
 */
struct lie {
	const char *name;
	void (*tell)(struct nic_ring *tx, struct nic_ring *rx);
	bool breaks_tx, breaks_rx;
};

static void lie_loop(struct nic_ring *tx, struct nic_ring *rx)
{
	tx->desc[3].flags = 1;
	tx->desc[3].next = 3;
	rx->desc[3].flags = 1 | 2;
	rx->desc[3].next = 3;
}

static void lie_head(struct nic_ring *tx, struct nic_ring *rx)
{
	tx->avail.heads[2] = NIC_RING;
	rx->avail.heads[2] = NIC_RING;
}

static void lie_next(struct nic_ring *tx, struct nic_ring *rx)
{
	tx->desc[0].flags = 1;
	tx->desc[0].next = 0xffff;
	rx->desc[0].flags = 1 | 2;
	rx->desc[0].next = 0xffff;
}

static void lie_indirect(struct nic_ring *tx, struct nic_ring *rx)
{
	tx->desc[1].flags = 4;
	rx->desc[1].flags = 4 | 2;
}

static void lie_index(struct nic_ring *tx, struct nic_ring *rx)
{
	(void)tx;
	rx->avail.index = 0x8000;
}

/* Not a broken ring: packets that can not be, and are lost */
static void lie_buffers(struct nic_ring *tx, struct nic_ring *rx)
{
	tx->desc[0].addr = 1ULL << 40;
	tx->desc[1].addr = ~0ULL - 5;
	tx->desc[2].addr = VM_MEM - 4;
	tx->desc[3].len = ~0U;
	tx->desc[4].len = 0;
	tx->desc[5].len = NIC_HEADER;
	tx->desc[6].flags = 2;
	rx->desc[0].addr = 1ULL << 40;
	rx->desc[1].len = 0;
	rx->desc[2].len = 13;
	rx->desc[3].flags = 0;
}

static const struct lie lies[] = {
	{ "a loop", lie_loop, true, true },
	{ "a head", lie_head, true, true },
	{ "a next", lie_next, true, true },
	{ "an indirect table", lie_indirect, true, true },
	{ "an index", lie_index, false, true },
	{ "buffers", lie_buffers, false, false },
};

static void tell_lie(struct run *run, const struct lie *lie)
{
	nic_fill_tx(&run->nic);
	nic_fill_rx(&run->nic);
	lie->tell(nic_ring(&run->nic, NIC_TX_QUEUE), nic_ring(&run->nic, NIC_RX_QUEUE));
}

static void check_lie(const struct lie *lie)
{
	int log = micro_open_log();
	struct run first, second;
	u32 i;

	open_run(&first, "nic_blind", "kvmft-a");
	tell_lie(&first, lie);
	CHECK_RET(kvmft_record(first.session, log, 0), 0, lie->name);
	start_nic(&first.nic);
	for (i = 0; i < 10; i++)
		nic_send(&first.nic, i);
	run_to_end(&first);
	finish(&first);
	CHECK_EQ(nic_signalled(first.nic.err[NIC_TX_QUEUE]), lie->breaks_tx, lie->name);
	if (lie->breaks_rx)
		wait_until(nic_signalled(first.nic.err[NIC_RX_QUEUE]), "the VMM is told");
	close(first.session);

	open_run(&second, "nic_blind", "kvmft-b");
	tell_lie(&second, lie);
	CHECK_RET(kvmft_replay(second.session, log), 0, lie->name);
	start_nic(&second.nic);
	run_to_end(&second);
	finish(&second);
	CHECK(!memcmp(nic_ring(&first.nic, NIC_TX_QUEUE), nic_ring(&second.nic, NIC_TX_QUEUE),
		      sizeof(struct nic_ring)), "%s: the rings differ", lie->name);
	close_run(&second);
	first.session = -1;
	close_run(&first);
	close(log);
}

static void hostile(void)
{
	unsigned int i;

	dev = kvmft_open_ok();
	for (i = 0; i < ARRAY_SIZE(lies); i++)
		check_lie(&lies[i]);
}

static void *stuck_thread(void *arg)
{
	int fd = open(NIC_DEVICE, O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0 && !ioctl(fd, VHOST_SET_OWNER, 0), NIC_DEVICE ": %m");
	CHECK(!ioctl(fd, VHOST_SET_FEATURES, arg), "VHOST_SET_FEATURES: %m");
	close(fd);
	return NULL;
}

/* A VMM's argument, and a guest's ring, never come: no other is kept waiting */
static void stuck_vmm(void)
{
	int log = micro_open_log(), other = micro_open_log();
	struct nowhere argument, memory;
	struct vhost_vring_addr addr = { .index = NIC_RX_QUEUE };
	struct run run, stuck;
	pthread_t thread;

	dev = kvmft_open_ok();
	nowhere_open(&argument);
	nowhere_open(&memory);
	CHECK(!pthread_create(&thread, NULL, stuck_thread, argument.page), "pthread_create");
	nowhere_wait(&argument);

	open_run(&stuck, "nic", "kvmft-b");
	addr.desc_user_addr = (uintptr_t)nic_ring(&stuck.nic, NIC_RX_QUEUE)->desc;
	addr.used_user_addr = (uintptr_t)&nic_ring(&stuck.nic, NIC_RX_QUEUE)->used;
	addr.avail_user_addr = (uintptr_t)memory.page;
	CHECK(!ioctl(stuck.nic.fd, VHOST_SET_VRING_ADDR, &addr), "VHOST_SET_VRING_ADDR: %m");
	CHECK_RET(kvmft_record(stuck.session, other, 0), 0, "KVMFT_SESSION_RECORD");
	start_nic(&stuck.nic);
	nic_send(&stuck.nic, 1);
	nowhere_wait(&memory);

	open_run(&run, "nic", "kvmft-a");
	CHECK_RET(kvmft_record(run.session, log, 0), 0, "KVMFT_SESSION_RECORD");
	start_nic(&run.nic);
	run_to_end(&run);
	finish(&run);
	check_left(&run.nic, 0, run.micro.iterations);
	close_run(&run);

	nowhere_close(&argument);
	nowhere_close(&memory);
	pthread_join(thread, NULL);
	close_run(&stuck);
	close(log);
	close(other);
}

/* What can not be: each call says so, by its errno */
static void arguments(void)
{
	struct vhost_vring_state state = {};
	struct vhost_vring_addr addr = {};
	struct vhost_vring_file file = { .fd = -1 };
	struct {
		struct vhost_memory head;
		struct vhost_memory_region region;
	} memory = {};
	int fd = open(NIC_DEVICE, O_RDWR | O_CLOEXEC), null = open("/dev/null", O_RDWR);
	u64 features;

#define CALL(cmd, arg)	(ioctl(fd, cmd, arg) ? -errno : 0)
#define BAD(err, cmd, arg)	CHECK_RET(CALL(cmd, arg), err, #cmd)
	CHECK(fd >= 0 && null >= 0, NIC_DEVICE ": %m");
	CHECK_RET(CALL(VHOST_GET_FEATURES, &features), 0, "VHOST_GET_FEATURES");
	BAD(-EFAULT, VHOST_GET_FEATURES, NULL);
	BAD(-ENOTTY, VHOST_SET_LOG_FD, &state);
	BAD(-ENOTTY, VHOST_SET_VRING_ENDIAN, &state);
	BAD(-EPERM, VHOST_SET_FEATURES, &features);
	CHECK_RET(CALL(VHOST_SET_OWNER, 0), 0, "VHOST_SET_OWNER");
	BAD(-EBUSY, VHOST_SET_OWNER, 0);
	CHECK_RET(CALL(VHOST_SET_FEATURES, &features), 0, "all of its features");
	features |= 1;
	BAD(-EOPNOTSUPP, VHOST_SET_FEATURES, &features);
	memory.head.nregions = 1;
	memory.head.padding = 1;
	BAD(-EOPNOTSUPP, VHOST_SET_MEM_TABLE, &memory);
	memory.head.padding = 0;
	memory.region = (struct vhost_memory_region) { 4096, ~0ULL, 4096, 0 };
	BAD(-EINVAL, VHOST_SET_MEM_TABLE, &memory);
	memory.region = (struct vhost_memory_region) { 4096, 8192, 4096, 1 };
	BAD(-EINVAL, VHOST_SET_MEM_TABLE, &memory);
	memory.head.nregions = 513;
	BAD(-E2BIG, VHOST_SET_MEM_TABLE, &memory);
	memory.head.nregions = 0;
	CHECK_RET(CALL(VHOST_SET_MEM_TABLE, &memory), 0, "no memory");
	state.index = 2;
	BAD(-ENOBUFS, VHOST_SET_VRING_NUM, &state);
	state.index = 0;
	for (state.num = 0; state.num < 8; state.num++)
		BAD(state.num && !(state.num & (state.num - 1)) ? 0 : -EINVAL, VHOST_SET_VRING_NUM,
		    &state);
	state.num = 65536;
	BAD(-EINVAL, VHOST_SET_VRING_NUM, &state);
	BAD(-EINVAL, VHOST_SET_VRING_BASE, &state);
	state.num = 65535;
	CHECK_RET(CALL(VHOST_SET_VRING_BASE, &state), 0, "VHOST_SET_VRING_BASE");
	state.num = 0;
	CHECK_RET(CALL(VHOST_GET_VRING_BASE, &state), 0, "VHOST_GET_VRING_BASE");
	CHECK_EQ(state.num, 65535, "base");
	addr.flags = 1;
	BAD(-EOPNOTSUPP, VHOST_SET_VRING_ADDR, &addr);
	addr.flags = 0;
	addr.desc_user_addr = 8;
	BAD(-EINVAL, VHOST_SET_VRING_ADDR, &addr);
	file.fd = null;
	BAD(-EINVAL, VHOST_SET_VRING_KICK, &file);
	BAD(-EINVAL, VHOST_SET_VRING_CALL, &file);
	BAD(-ENOTSOCK, VHOST_NET_SET_BACKEND, &file);
	file.fd = 999;
	BAD(-EBADF, VHOST_SET_VRING_KICK, &file);
	BAD(-EBADF, VHOST_SET_VRING_ERR, &file);
	BAD(-EBADF, VHOST_NET_SET_BACKEND, &file);
	file.fd = -1;
	CHECK_RET(CALL(VHOST_SET_VRING_KICK, &file), 0, "no kick");
	CHECK_RET(CALL(VHOST_SET_VRING_CALL, &file), 0, "no call");
	CHECK_RET(CALL(VHOST_NET_SET_BACKEND, &file), 0, "no backend");
	close(fd);
	close(null);
}

/*
 * A pair.
 */
static struct nic nics[2];

static void prepare(struct half *half)
{
	struct nic *nic = &nics[half->pair.role == KVMFT_ROLE_BACKUP];

	nic_open(nic, &half->vm, half->pair.role == KVMFT_ROLE_BACKUP ? "kvmft-b" : "kvmft-a");
	nic_fill_tx(nic);
	nic_fill_rx(nic);
	start_nic(nic);
}

static void start_nics(struct both *both, unsigned int block)
{
	start_both(both, "nic", block, 10, prepare);
}

static void end_nics(struct both *both)
{
	nic_close(&nics[0]);
	nic_close(&nics[1]);
	end_both(both);
}

/* Take what has left; returns the number of the last packet, counted from the first on, or @last */
static u64 drain(struct nic *nic, u64 last)
{
	int left;

	while ((left = nic_left(nic)) >= 0) {
		CHECK_EQ(left, last % NIC_RING, "the packet that leaves");
		last++;
	}
	return last;
}

/* Nothing leaves a primary that is cut off, whose guest goes on; then all does, in order */
static void packets_wait(void)
{
	struct kvmft_session_status *status;
	u64 left = 0, before, count;
	struct both both;
	int i;

	dev = kvmft_open_ok();
	start_nics(&both, 100);
	status = &both.primary.outcome.status;
	for (i = 0; i < 3; i++) {
		wait_until((left = drain(&nics[0], left)) > (u64)i * 100, "packets leave");
		cut_link(&both.link);
		/* What was under way arrives */
		usleep(50000);
		left = drain(&nics[0], left);
		count = interrupts_of(&both.primary);
		before = left;
		wait_until(interrupts_of(&both.primary) >= count + 20, "its guest goes on");
		left = drain(&nics[0], left);
		CHECK_EQ(left, before, "packets that left a primary that is cut off");
		status_of(&both.primary);
		CHECK(status->packets_held, "none is held");
		mend_link(&both.link);
		wait_until((left = drain(&nics[0], left)) > before, "what was held leaves");
	}
	CHECK(nic_left(&nics[1]) < 0, "a backup sends");
	end_nics(&both);
}

/*
 * The primary is lost, whose acknowledgements come late: what has left it the backup has made, too,
 * and what has not leaves the backup.  No number is missing; some may come twice.
 */
static void packets_are_resent(void)
{
	u64 rounds = env_u64("KVMFT_ROUNDS", 3), round, left, first, i;
	struct both both;
	struct rng rng;
	int number;

	dev = kvmft_open_ok();
	rng_seed(&rng, env_u64("KVMFT_SEED", 1));
	for (round = 0; round < rounds; round++) {
		start_nics(&both, 101 + round % 4);
		usleep(rng_between(&rng, 1, 50000));
		if (round % 2) {
			cut_link(&both.link);
			usleep(20000);
		}
		kill_half(&both.primary);
		wait_for_state(&both.backup, KVMFT_STATE_LIVE, "the backup is live");
		left = drain(&nics[0], 0);
		wait_until((number = nic_left(&nics[1])) >= 0, "the backup sends");
		/* It may begin with what had left, not behind it */
		first = left - (u8)(left - number);
		CHECK(first <= left, "packets %llu to %d are missing", (unsigned long long)left,
		      number);
		for (i = first + 1; i < first + 20; i++) {
			wait_until((number = nic_left(&nics[1])) >= 0, "it goes on");
			CHECK_EQ(number, i % NIC_RING, "the packet that leaves");
		}
		status_of(&both.backup);
		CHECK(both.backup.outcome.status.packets_resent + first >= left, "%llu were resent",
		      (unsigned long long)both.backup.outcome.status.packets_resent);
		end_nics(&both);
	}
}

/* The backup is lost: what was held leaves, the guest sends on, and gets what comes */
static void backup_is_lost(void)
{
	struct both both;
	u64 left = 0;
	u16 before;

	dev = kvmft_open_ok();
	start_nics(&both, 106);
	kill_half(&both.backup);
	wait_for_state(&both.primary, KVMFT_STATE_LIVE, "the primary is live");
	wait_until((left = drain(&nics[0], left)) > interrupts_of(&both.primary) / 2,
		   "packets leave");
	before = done(&nics[0], NIC_RX_QUEUE);
	nic_send(&nics[0], 1);
	wait_until(done(&nics[0], NIC_RX_QUEUE) != before, "a packet comes in");
	end_nics(&both);
}

static void prepare_large(struct half *half)
{
	prepare(half);
	enlarge(&nics[half->pair.role == KVMFT_ROLE_BACKUP]);
}

/*
 * Its VMM hangs; the module there lives, and has a word with the primary now and then.  The guest
 * waits until there is room for packets: not for long
 */
static void backup_stands_still(void)
{
	struct both both;

	dev = kvmft_open_ok();
	start_both(&both, "nic_flood", 108, 10, prepare_large);
	stop_thread(&both.backup);
	wait_until((status_of(&both.primary),
		    both.primary.outcome.status.bytes_held > ROOM - LARGE),
		   "there is no room");
	CHECK_EQ(both.primary.outcome.status.state, KVMFT_STATE_COUNTING, "state of the primary");
	wait_for_state(&both.primary, KVMFT_STATE_LIVE, "the primary is live");
	check_reason(&both.primary, "has stood still for 1000 ms");
	close_session(&both.backup);
	end_nics(&both);
}

static struct both *cut_off;

/* Nothing that the primary's guest does arrives */
static void prepare_cut_off(struct half *half)
{
	prepare_large(half);
	if (half->pair.role == KVMFT_ROLE_PRIMARY)
		cut_link(&cut_off->link);
}

/* A guest is switched off before the backup has all: what it has sent leaves when that has it */
static void last_packets(void)
{
	struct both both;
	u64 left = 0;

	dev = kvmft_open_ok();
	primary_timeout = 20 * TIMEOUT;
	cut_off = &both;
	start_both(&both, "nic_off", 109, 0, prepare_cut_off);
	wait_until((status_of(&both.primary), both.primary.outcome.status.end),
		   "the guest is switched off");
	CHECK_EQ(both.primary.outcome.status.end, KVMFT_END_FINISHED, "how the session ended");
	CHECK_EQ(drain(&nics[0], left), 0, "packets that left a primary that is cut off");
	mend_link(&both.link);
	wait_until((left = drain(&nics[0], left)) == both.micro.iterations, "all leave");
	end_nics(&both);
}

/* Packets that came to the primary are with the backup's guest; it goes on behind them */
static void received_by_both(void)
{
	struct both both;
	u32 i;

	dev = kvmft_open_ok();
	start_nics(&both, 107);
	for (i = 0; i < 20; i++) {
		nic_send(&nics[0], i);
		/* To the tap of a backup: it is not to get through, now or later */
		nic_send(&nics[1], 200);
	}
	wait_until(done(&nics[1], NIC_RX_QUEUE) == 20, "the backup has what came to the primary");
	CHECK_EQ(done(&nics[0], NIC_RX_QUEUE), 20, "packets that came");
	kill_half(&both.primary);
	wait_for_state(&both.backup, KVMFT_STATE_LIVE, "the backup is live");
	wait_until(nic_left(&nics[1]) >= 0, "it sends");
	CHECK_EQ(done(&nics[1], NIC_RX_QUEUE), 20, "packets that had come");
	nic_send(&nics[1], 20);
	wait_until(done(&nics[1], NIC_RX_QUEUE) == 21, "one more comes");
	for (i = 0; i <= 20; i++)
		CHECK_EQ(nic_got(&nics[1], i), i, "the packet that came");
	end_nics(&both);
}

static const struct tap_case cases[] = {
	{ "arguments", arguments, 0 },
	{ "no_session", no_session, 0 },
	{ "sends", sends, 0 },
	{ "receives", receives, 0 },
	{ "receives_in_pieces", receives_in_pieces, 0 },
	{ "unprotected", unprotected, 0 },
	{ "set_up_late", set_up_late, 0 },
	{ "tap_is_down", tap_is_down, 0 },
	{ "hostile", hostile, 0 },
	{ "stuck_vmm", stuck_vmm, 0 },
	{ "packets_wait", packets_wait, 0 },
	{ "packets_are_resent", packets_are_resent, 0 },
	{ "backup_is_lost", backup_is_lost, 0 },
	{ "backup_stands_still", backup_stands_still, 0 },
	{ "last_packets", last_packets, 0 },
	{ "received_by_both", received_by_both, 0 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, &KVMFT_SUITE(cases, both_setup, kvmft_teardown));
}
