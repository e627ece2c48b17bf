// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <endian.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvmft.h"
#include "nic.h"
#include "util.h"

#define FEATURE_VERSION_1	32	/* VIRTIO_F_VERSION_1 */

static const u8 guest_mac[] = { 0x52, 0x54, 0, 1, 2, 3 }, other_mac[] = { 0x52, 0x54, 0, 9, 9, 9 };

struct frame {
	u8 to[6];
	u8 from[6];
	u8 type[2];
	u32 nr;
	u8 rest[NIC_FRAME - 18];
} __attribute__((packed));

static struct frame frame_of(u32 nr, const u8 *from, const u8 *to)
{
	struct frame frame = { .type = { NIC_TYPE >> 8, NIC_TYPE & 0xff }, .nr = nr };

	memcpy(frame.to, to, sizeof(frame.to));
	memcpy(frame.from, from, sizeof(frame.from));
	memset(frame.rest, nr * 7 + 1, sizeof(frame.rest));
	return frame;
}

/* A tap, with virtio's header before each frame, that is up; and a socket on it */
static void open_tap(struct nic *nic, const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	struct sockaddr_ll at = {
		.sll_family = AF_PACKET, .sll_protocol = htobe16(NIC_TYPE),
	};
	int header = NIC_HEADER, room = 64 << 20;
	char path[100];

	modprobe("tun");
	snprintf(nic->name, sizeof(nic->name), "%s", name);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	nic->tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	CHECK(nic->tap >= 0, "/dev/net/tun: %m");
	CHECK(!ioctl(nic->tap, TUNSETIFF, &ifr), "TUNSETIFF: %m");
	CHECK(!ioctl(nic->tap, TUNSETVNETHDRSZ, &header), "TUNSETVNETHDRSZ: %m");
	nic->far = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htobe16(NIC_TYPE));
	CHECK(nic->far >= 0, "a packet socket: %m");
	/* All that a guest sends while nobody reads */
	CHECK(!setsockopt(nic->far, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)),
	      "SO_RCVBUFFORCE: %m");
	/* Else the host asks for routers there */
	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
	if (!access(path, W_OK))
		CHECK(!write_file(path, "1\n"), "%s: %m", path);
	CHECK(!ioctl(nic->far, SIOCGIFFLAGS, &ifr), "SIOCGIFFLAGS: %m");
	ifr.ifr_flags |= IFF_UP | IFF_PROMISC;
	CHECK(!ioctl(nic->far, SIOCSIFFLAGS, &ifr), "SIOCSIFFLAGS: %m");
	at.sll_ifindex = if_nametoindex(name);
	CHECK(!bind(nic->far, (struct sockaddr *)&at, sizeof(at)), "bind: %m");
}

static void set_file(struct nic *nic, unsigned long call, unsigned int queue, int fd)
{
	struct vhost_vring_file file = { .index = queue, .fd = fd };

	CHECK(!ioctl(nic->fd, call, &file), "call %#lx of queue %u: %m", call, queue);
}

static void set_up_queue(struct nic *nic, unsigned int queue)
{
	struct nic_ring *ring = nic_ring(nic, queue);
	struct vhost_vring_state num = { .index = queue, .num = NIC_RING };
	struct vhost_vring_state base = { .index = queue };
	struct vhost_vring_addr addr = {
		.index = queue,
		.desc_user_addr = (uintptr_t)ring->desc,
		.avail_user_addr = (uintptr_t)&ring->avail,
		.used_user_addr = (uintptr_t)&ring->used,
	};

	CHECK(!ioctl(nic->fd, VHOST_SET_VRING_NUM, &num), "VHOST_SET_VRING_NUM: %m");
	CHECK(!ioctl(nic->fd, VHOST_SET_VRING_BASE, &base), "VHOST_SET_VRING_BASE: %m");
	CHECK(!ioctl(nic->fd, VHOST_SET_VRING_ADDR, &addr), "VHOST_SET_VRING_ADDR: %m");
	nic->call[queue] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	nic->err[queue] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CHECK(nic->call[queue] >= 0 && nic->err[queue] >= 0, "eventfd: %m");
	set_file(nic, VHOST_SET_VRING_CALL, queue, nic->call[queue]);
	set_file(nic, VHOST_SET_VRING_ERR, queue, nic->err[queue]);
}

void nic_connect(struct nic *nic, u16 port)
{
	struct kvm_ioeventfd event = {
		.addr = port, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.flags = KVM_IOEVENTFD_FLAG_PIO,
	};

	CHECK(event.fd >= 0, "eventfd: %m");
	CHECK(!ioctl(nic->vm->fd, KVM_IOEVENTFD, &event), "KVM_IOEVENTFD: %m");
	set_file(nic, VHOST_SET_VRING_KICK, NIC_TX_QUEUE, event.fd);
	close(event.fd);
}

void nic_open(struct nic *nic, struct vm *vm, const char *name)
{
	struct {
		struct vhost_memory head;
		struct vhost_memory_region region;
	} memory = {
		.head.nregions = 1,
		.region = { .memory_size = VM_MEM, .userspace_addr = (uintptr_t)vm->mem },
	};
	u64 features = 1ULL << FEATURE_VERSION_1;

	memset(nic, 0, sizeof(*nic));
	nic->vm = vm;
	open_tap(nic, name);
	nic->fd = open(NIC_DEVICE, O_RDWR | O_CLOEXEC);
	CHECK(nic->fd >= 0, NIC_DEVICE ": %m");
	CHECK(!ioctl(nic->fd, VHOST_SET_OWNER), "VHOST_SET_OWNER: %m");
	CHECK(!ioctl(nic->fd, VHOST_SET_FEATURES, &features), "VHOST_SET_FEATURES: %m");
	CHECK(!ioctl(nic->fd, VHOST_SET_MEM_TABLE, &memory), "VHOST_SET_MEM_TABLE: %m");
	set_up_queue(nic, NIC_RX_QUEUE);
	set_up_queue(nic, NIC_TX_QUEUE);
}

void nic_close(struct nic *nic)
{
	int i;

	close(nic->fd);
	close(nic->far);
	close(nic->tap);
	for (i = 0; i < 2; i++) {
		close(nic->call[i]);
		close(nic->err[i]);
	}
}

static int set_backend(struct nic *nic, unsigned int queue, int fd)
{
	struct vhost_vring_file file = { .index = queue, .fd = fd };

	return ioctl(nic->fd, VHOST_NET_SET_BACKEND, &file) ? -errno : 0;
}

int nic_start(struct nic *nic, unsigned int queue)
{
	return set_backend(nic, queue, nic->tap);
}

int nic_stop(struct nic *nic, unsigned int queue)
{
	return set_backend(nic, queue, -1);
}

void nic_down(struct nic *nic)
{
	struct ifreq ifr = {};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", nic->name);
	CHECK(!ioctl(nic->far, SIOCGIFFLAGS, &ifr), "SIOCGIFFLAGS: %m");
	ifr.ifr_flags &= ~IFF_UP;
	CHECK(!ioctl(nic->far, SIOCSIFFLAGS, &ifr), "SIOCSIFFLAGS: %m");
}

struct nic_ring *nic_ring(const struct nic *nic, unsigned int queue)
{
	return (struct nic_ring *)(nic->vm->mem + (queue == NIC_TX_QUEUE ? NIC_TX : NIC_RX));
}

static u64 buffer_of(unsigned int queue, unsigned int nr)
{
	return NIC_BUFFERS + (u64)(queue * NIC_RING + nr) * NIC_BUFFER;
}

void nic_fill_tx(struct nic *nic)
{
	struct nic_ring *ring = nic_ring(nic, NIC_TX_QUEUE);
	struct frame frame;
	unsigned int i;

	for (i = 0; i < NIC_RING; i++) {
		u64 addr = buffer_of(NIC_TX_QUEUE, i);

		frame = frame_of(i, guest_mac, other_mac);
		memset(nic->vm->mem + addr, 0, NIC_HEADER);
		memcpy(nic->vm->mem + addr + NIC_HEADER, &frame, sizeof(frame));
		ring->desc[i] = (struct nic_desc) { .addr = addr, .len = NIC_HEADER + NIC_FRAME };
		ring->avail.heads[i] = i;
	}
}

#define DESC_NEXT	1
#define DESC_WRITE	2

void nic_fill_rx(struct nic *nic)
{
	struct nic_ring *ring = nic_ring(nic, NIC_RX_QUEUE);
	unsigned int i;

	for (i = 0; i < NIC_RING; i++) {
		ring->desc[i] = (struct nic_desc) {
			.addr = buffer_of(NIC_RX_QUEUE, i), .len = NIC_BUFFER, .flags = DESC_WRITE,
		};
		ring->avail.heads[i] = i;
	}
	__atomic_store_n(&ring->avail.index, NIC_RING, __ATOMIC_RELEASE);
}

void nic_fill_rx_pieces(struct nic *nic, unsigned int buffers, unsigned int pieces)
{
	struct nic_ring *ring = nic_ring(nic, NIC_RX_QUEUE);
	unsigned int i;

	for (i = 0; i < buffers * pieces; i++)
		ring->desc[i] = (struct nic_desc) {
			.addr = NIC_BUFFERS + i, .len = 1, .next = i + 1,
			.flags = DESC_WRITE | ((i + 1) % pieces ? DESC_NEXT : 0),
		};
	for (i = 0; i < buffers; i++)
		ring->avail.heads[i] = i * pieces;
	ring->avail.index = buffers;
}

int nic_left(struct nic *nic)
{
	struct frame frame, want;
	ssize_t len;

	do {
		len = recv(nic->far, &frame, sizeof(frame), 0);
		if (len < 0)
			CHECK(errno == EAGAIN, "recv: %m");
		if (len < 0)
			return -1;
	} while (memcmp(frame.from, guest_mac, sizeof(guest_mac)));
	want = frame_of(frame.nr, guest_mac, other_mac);
	CHECK(len == sizeof(frame) && !memcmp(&frame, &want, sizeof(frame)),
	      "a packet of %zd bytes that the guest did not send", len);
	return frame.nr;
}

void nic_send(struct nic *nic, u32 nr)
{
	struct frame frame = frame_of(nr, other_mac, guest_mac);

	CHECK(send(nic->far, &frame, sizeof(frame), 0) == sizeof(frame), "send: %m");
}

void nic_send_bytes(const struct nic *nic, u8 byte, unsigned int len)
{
	u8 frame[NIC_BUFFER] = {};

	memset(frame, byte, len - NIC_HEADER);
	frame[12] = NIC_TYPE >> 8;
	frame[13] = NIC_TYPE & 0xff;
	CHECK(send(nic->far, frame, len - NIC_HEADER, 0) == (ssize_t)len - NIC_HEADER, "send: %m");
}

u32 nic_got(const struct nic *nic, unsigned int buffer)
{
	const u8 *packet = nic->vm->mem + buffer_of(NIC_RX_QUEUE, buffer);
	struct frame frame, want;

	memcpy(&frame, packet + NIC_HEADER, sizeof(frame));
	want = frame_of(frame.nr, other_mac, guest_mac);
	CHECK(!memcmp(&frame, &want, sizeof(frame)), "buffer %u has no packet that was sent",
	      buffer);
	return frame.nr;
}

bool nic_signalled(int event)
{
	u64 value;

	return read(event, &value, sizeof(value)) == sizeof(value);
}
