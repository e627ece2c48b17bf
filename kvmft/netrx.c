// SPDX-License-Identifier: GPL-2.0
/*
 * What the guest receives: from the tap into its buffers, by way of the log while it is recorded.
 */
#include <linux/kthread.h>
#include <linux/net.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/unaligned.h>

#include <uapi/linux/virtio_net.h>
#include <uapi/linux/virtio_ring.h>

#include "net.h"
#include "queue.h"

/* Buffers that one packet may take. */
#define BUFFERS_MAX	64

/**
 * struct delivery - a packet on its way into buffers
 * @inputs: what to write; their bytes are those of the packet
 * @nr: their number
 * @used: the buffers
 * @buffers: their number
 */
struct delivery {
	struct kvmft_input inputs[KVMFT_QUEUE_SIZE / 2];
	unsigned int nr;
	struct kvmft_ring_used used[BUFFERS_MAX];
	unsigned int buffers;
};

/* Read a packet from the tap.  False: there is none. */
bool kvmft_net_read_tap(struct kvmft_net *net)
{
	struct kvec vec = { .iov_base = net->rx, .iov_len = KVMFT_NET_PACKET_MAX };
	struct socket *sock = net->queues[KVMFT_NET_RX].sock;
	struct msghdr msg = {};
	int ret;

	iov_iter_kvec(&msg.msg_iter, ITER_DEST, &vec, 1, KVMFT_NET_PACKET_MAX);
	ret = sock->ops->recvmsg(sock, &msg, KVMFT_NET_PACKET_MAX, MSG_DONTWAIT);
	net->rx_len = max(ret, 0);
	return ret > 0;
}

/* What a report takes; the rest is for the packet. */
#define REPORT_INPUTS	ARRAY_SIZE(((struct kvmft_ring_report *)NULL)->writes)

/* @len bytes go to @addr.  False: that are more than @max pieces in all. */
static bool deliver(struct delivery *to, unsigned int max, u64 addr, u8 *data, u32 len)
{
	u32 size;

	for (; len; len -= size, addr += size, data += size) {
		if (to->nr == max)
			return false;
		size = min_t(u32, len, KVMFT_DATA_MAX);
		to->inputs[to->nr++] = (struct kvmft_input) {
			.type = KVMFT_INPUT_MEMORY,
			.addr = addr,
			.len = size,
			.bytes = data,
		};
	}
	return true;
}

/* Up to @len bytes of the packet go into the buffer in net->chain. */
static int fill(struct kvmft_net *net, struct delivery *to, u8 *data, u32 len)
{
	const struct kvmft_chain *chain = &net->chain;
	u32 done = 0, size;
	int i;

	for (i = 0; i < chain->nr_in && done < len; i++) {
		const struct kvmft_piece *piece = &chain->pieces[chain->nr_out + i];

		size = min(piece->len, len - done);
		if (!deliver(to, ARRAY_SIZE(to->inputs) - REPORT_INPUTS, piece->addr, data + done,
			     size))
			return -E2BIG;
		done += size;
	}
	to->used[to->buffers++] = (struct kvmft_ring_used) {
		.id = cpu_to_le32(chain->head),
		.len = cpu_to_le32(done),
	};
	return done;
}

/*
 * Find room for the packet.  0: it is in @to; -ENOBUFS: there are not enough buffers; -E2BIG: there
 * never will be; another error: the ring makes no sense.
 */
static int find_buffers(struct kvmft_net *net, struct delivery *to)
{
	struct kvmft_ring *ring = &net->queues[KVMFT_NET_RX].ring;
	bool mergeable = net->features & BIT_ULL(VIRTIO_NET_F_MRG_RXBUF);
	/* The guest may add some meanwhile: no more than the ring has can be reported at once. */
	u32 max = mergeable ? min(BUFFERS_MAX, ring->num) : 1, done;
	int ret;

	to->nr = 0;
	to->buffers = 0;
	for (done = 0; done < net->rx_len; done += ret) {
		if (to->buffers == max)
			return -E2BIG;
		ret = kvmft_ring_pop(ring, &net->memory, &net->chain);
		if (ret <= 0)
			return ret ?: -ENOBUFS;
		ret = fill(net, to, net->rx + done, net->rx_len - done);
		if (ret < 0)
			return ret;
	}
	/* Virtio 1.2, 5.1.6.4: also without mergeable buffers it is there, and 1. */
	if (kvmft_net_header(net) == KVMFT_NET_HEADER)
		put_unaligned_le16(to->buffers, net->rx +
				   offsetof(struct virtio_net_hdr_mrg_rxbuf, num_buffers));
	return 0;
}

/* By way of the log.  -EAGAIN: not now. */
static int write_logged(struct kvmft_net *net, struct delivery *to,
			const struct kvmft_ring_report *report)
{
	unsigned int i;
	int ret;

	for (i = 0; i < report->nr; i++) {
		const struct kvmft_ring_write *write = &report->writes[i];
		u64 addr;

		if (!kvmft_net_guest_of(net, write->addr, write->len, &addr))
			return -EFAULT;
		/* There is room: fill() has left it. */
		deliver(to, ARRAY_SIZE(to->inputs), addr, (u8 *)write->data, write->len);
	}
	for (i = 0; i < to->nr; i++) {
		to->inputs[i].bytes = kmemdup(to->inputs[i].bytes, to->inputs[i].len,
					      GFP_KERNEL_ACCOUNT);
		if (!to->inputs[i].bytes) {
			kvmft_inputs_free(to->inputs, i);
			return -EAGAIN;
		}
	}
	ret = kvmft_record_dma(net->engine, to->inputs, to->nr);
	if (ret)
		kvmft_inputs_free(to->inputs, to->nr);
	/* If recording is over, what comes then is not known yet. */
	return ret ? -EAGAIN : 0;
}

static int write_now(struct kvmft_net *net, const struct delivery *to,
		     const struct kvmft_ring_report *report)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < to->nr && !ret; i++) {
		const struct kvmft_input *input = &to->inputs[i];

		ret = kvmft_net_write(net, input->addr, input->bytes, input->len);
	}
	return ret ?: kvmft_net_write_report(report);
}

/* Give the guest the packet in net->rx.  Errors as those of find_buffers(), -EAGAIN. */
static int give_packet(struct kvmft_net *net, struct delivery *to)
{
	struct kvmft_ring *ring = &net->queues[KVMFT_NET_RX].ring;
	struct kvmft_ring_report report;
	u16 next = ring->next;
	int ret;

	ret = find_buffers(net, to);
	if (!ret) {
		kvmft_ring_report(ring, to->used, to->buffers, &report);
		ret = net->phase == KVMFT_NET_RECORD ? write_logged(net, to, &report) :
						       write_now(net, to, &report);
	}
	if (ret)
		ring->next = next;
	return ret;
}

/* Returns how many packets the guest was given. */
static unsigned int give_packets(struct kvmft_net *net, struct delivery *to)
{
	struct kvmft_net_queue *queue = &net->queues[KVMFT_NET_RX];
	unsigned int nr;
	int ret;

	for (nr = 0; nr < KVMFT_NET_BUDGET && kvmft_net_is_usable(queue); nr++) {
		if (!net->rx_len && !kvmft_net_read_tap(net))
			return nr;
		ret = give_packet(net, to);
		/* The guest tells when there are more. */
		if (ret == -ENOBUFS)
			return nr;
		if (ret == -EAGAIN) {
			kvmft_net_queue_work(&net->rx_work, 1);
			return nr;
		}
		if (ret && ret != -E2BIG)
			kvmft_net_give_up(queue, "receive", ret);
		net->rx_len = 0;
	}
	kvmft_net_queue_work(&net->rx_work, 0);
	return nr;
}

void kvmft_net_receive_work(struct work_struct *item)
{
	struct kvmft_net *net = container_of(to_delayed_work(item), struct kvmft_net, rx_work);
	struct kvmft_net_queue *queue = &net->queues[KVMFT_NET_RX];
	struct delivery *to = kmalloc(sizeof(*to), GFP_KERNEL);
	unsigned int nr;

	if (!to) {
		kvmft_net_queue_work(&net->rx_work, 1);
		return;
	}
	mutex_lock(&net->lock);
	if ((net->phase == KVMFT_NET_RECORD || net->phase == KVMFT_NET_LIVE) &&
	    kvmft_net_is_usable(queue) && mmget_not_zero(net->mm)) {
		kthread_use_mm(net->mm);
		nr = give_packets(net, to);
		/*
		 * Whether the guest wants to know is in its memory, where what it was given is not
		 * yet if that goes through the log: it might look away just before that comes.
		 */
		if (nr && (net->phase == KVMFT_NET_RECORD ||
			   kvmft_ring_wants_interrupt(&queue->ring, &net->memory)))
			kvmft_net_interrupt(queue);
		kthread_unuse_mm(net->mm);
		mmput(net->mm);
	}
	mutex_unlock(&net->lock);
	kfree(to);
}

/* The first used index that a driver can not know yet, in guest memory. */
void kvmft_net_find_place(struct kvmft_net_queue *queue)
{
	__le16 index;

	if (!kvmft_net_read(NULL, queue->ring.used + offsetof(struct vring_used, idx), &index,
			    sizeof(index)))
		queue->ring.next = le16_to_cpu(index);
	else
		kvmft_net_give_up(queue, "receive", -EFAULT);
}

