// SPDX-License-Identifier: GPL-2.0
/*
 * What the guest sends: out of the ring, and, later, out of the host.
 */
#include <linux/etherdevice.h>
#include <linux/if_arp.h>
#include <linux/kthread.h>
#include <linux/net.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "net.h"
#include "trace.h"

static void count(u64 *counter)
{
	WRITE_ONCE(*counter, *counter + 1);
}

static void trace(const struct kvmft_net *net, enum kvmft_fate fate,
		  const struct kvmft_packet *packet)
{
	const struct kvmft_engine *engine = net->engine;

	trace_kvmft_packet(engine ? engine->vcpu->id : 0, fate, packet,
			   engine ? READ_ONCE(engine->transport->acked) : 0);
}

static bool has_room(struct kvmft_net *net)
{
	return READ_ONCE(net->held.bytes) < KVMFT_NET_HELD_MAX;
}

static void hold(struct kvmft_net *net, struct kvmft_packet *packet)
{
	trace(net, KVMFT_FATE_HELD, packet);
	spin_lock(&net->held_lock);
	kvmft_held_add(&net->held, packet);
	spin_unlock(&net->held_lock);
}

static void remove_first(struct kvmft_net *net, struct kvmft_packet *packet, enum kvmft_fate fate)
{
	trace(net, fate, packet);
	spin_lock(&net->held_lock);
	kvmft_held_remove(&net->held, packet);
	spin_unlock(&net->held_lock);
	kfree(packet);
}

static struct kvmft_packet *first(struct kvmft_net *net, u64 limit)
{
	struct kvmft_packet *packet;

	spin_lock(&net->held_lock);
	packet = kvmft_held_first(&net->held, limit);
	spin_unlock(&net->held_lock);
	return packet;
}

void kvmft_net_drop(struct kvmft_net *net, u64 limit)
{
	struct kvmft_packet *packet;

	while ((packet = first(net, limit)))
		remove_first(net, packet, KVMFT_FATE_DROPPED);
}

/* The packet in net->chain; NULL: it is none, or there is no memory: networks lose packets. */
static struct kvmft_packet *read_packet(const struct kvmft_net *net, u64 at)
{
	const struct kvmft_chain *chain = &net->chain;
	struct kvmft_packet *packet;
	u32 done = 0;
	int i;

	if (chain->len_out < kvmft_net_header(net) + ETH_HLEN ||
	    chain->len_out > KVMFT_NET_PACKET_MAX)
		return NULL;
	packet = kmalloc(struct_size(packet, data, chain->len_out), GFP_KERNEL_ACCOUNT);
	if (!packet)
		return NULL;
	packet->at = at;
	packet->len = chain->len_out;
	for (i = 0; i < chain->nr_out; i++) {
		if (kvmft_net_read_piece(net, packet->data + done, &chain->pieces[i])) {
			kfree(packet);
			return NULL;
		}
		done += chain->pieces[i].len;
	}
	return packet;
}

static void learn_mac(struct kvmft_net *net, const struct kvmft_packet *packet)
{
	const struct ethhdr *eth = (const void *)(packet->data + kvmft_net_header(net));

	if (is_valid_ether_addr(eth->h_source))
		ether_addr_copy(net->mac, eth->h_source);
}

/*
 * Under net->lock, in the VMM's address space: take out of the ring what is in it, to be sent
 * when @at bytes of the log are acknowledged.  Returns false if there was no room for all.
 */
bool kvmft_net_take(struct kvmft_net *net, u64 at)
{
	struct kvmft_net_queue *queue = &net->queues[KVMFT_NET_TX];
	struct kvmft_ring_report report;
	struct kvmft_ring_used used = {};
	struct kvmft_packet *packet;
	bool full = false;
	u32 taken = 0;
	int ret = 0;

	while (kvmft_net_is_usable(queue)) {
		full = net->phase != KVMFT_NET_REPLAY && !has_room(net);
		if (full)
			break;
		ret = kvmft_ring_pop(&queue->ring, &net->memory, &net->chain);
		if (ret <= 0)
			break;
		packet = read_packet(net, at);
		if (packet) {
			learn_mac(net, packet);
			hold(net, packet);
			if (net->phase == KVMFT_NET_REPLAY)
				kvmft_net_keep(net);
		} else if (net->engine) {
			count(&net->engine->outputs.dropped);
		}
		used.id = cpu_to_le32(net->chain.head);
		kvmft_ring_report(&queue->ring, &used, 1, &report);
		ret = kvmft_net_write_report(&report);
		if (ret)
			break;
		taken++;
	}
	if (ret < 0)
		kvmft_net_give_up(queue, "transmit", ret);
	if (taken && kvmft_ring_wants_interrupt(&queue->ring, &net->memory))
		kvmft_net_interrupt(queue);
	return !full;
}

/* The backup keeps what the primary may not have sent, and not more than it can. */
void kvmft_net_keep(struct kvmft_net *net)
{
	const struct kvmft_engine *engine = net->engine;
	struct kvmft_packet *packet;

	kvmft_net_drop(net, engine->gated ? READ_ONCE(engine->transport->released) : U64_MAX);
	while (!has_room(net)) {
		packet = first(net, U64_MAX);
		remove_first(net, packet, KVMFT_FATE_DROPPED);
		count(&net->engine->outputs.dropped);
	}
}

/* Without protection. */
void kvmft_net_transmit_work(struct work_struct *item)
{
	struct kvmft_net *net = container_of(to_delayed_work(item), struct kvmft_net, tx_work);

	mutex_lock(&net->lock);
	if (net->phase == KVMFT_NET_LIVE && mmget_not_zero(net->mm)) {
		kthread_use_mm(net->mm);
		kvmft_net_take(net, 0);
		kthread_unuse_mm(net->mm);
		mmput(net->mm);
		kvmft_net_queue_work(&net->send_work, 0);
	}
	mutex_unlock(&net->lock);
}

/* How much of the log is known where it has to be? */
static u64 may_leave(const struct kvmft_net *net)
{
	switch (READ_ONCE(net->phase)) {
	case KVMFT_NET_RECORD:
	case KVMFT_NET_DRAIN:
		return net->engine->gated ? READ_ONCE(net->engine->transport->acked) : U64_MAX;
	case KVMFT_NET_LIVE:
		return U64_MAX;
	case KVMFT_NET_NONE:
	case KVMFT_NET_REPLAY:
	case KVMFT_NET_STOPPED:
		break;
	}
	return 0;
}

bool kvmft_net_may_send(struct kvmft_net *net)
{
	u64 limit = may_leave(net);

	return limit && first(net, limit);
}

static int send_packet(struct socket *sock, struct kvmft_packet *packet)
{
	struct kvec vec = { .iov_base = packet->data, .iov_len = packet->len };
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT };

	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, &vec, 1, packet->len);
	return sock->ops->sendmsg(sock, &msg, packet->len);
}

/* Under net->lock.  Returns how many packets are not held any more; @sent of them have left. */
static u64 send_free(struct kvmft_net *net, u64 *sent)
{
	u64 gone = 0, limit = may_leave(net);
	struct kvmft_packet *packet;
	unsigned int nr = 0;
	int ret;

	*sent = 0;
	while (limit && net->out && nr++ < KVMFT_NET_BUDGET && (packet = first(net, limit))) {
		ret = send_packet(net->out_sock, packet);
		if (ret == -EAGAIN || ret == -ENOBUFS) {
			kvmft_net_queue_work(&net->send_work, 1);
			break;
		}
		if (ret >= 0)
			++*sent;
		else if (net->engine)
			count(&net->engine->outputs.dropped);
		remove_first(net, packet, ret < 0 ? KVMFT_FATE_DROPPED : KVMFT_FATE_SENT);
		gone++;
	}
	if (nr > KVMFT_NET_BUDGET)
		kvmft_net_queue_work(&net->send_work, 0);
	/* It may have stopped for want of room. */
	if (gone && net->phase == KVMFT_NET_LIVE)
		kvmft_net_queue_work(&net->tx_work, 0);
	return gone;
}

void kvmft_net_send_work(struct work_struct *item)
{
	struct kvmft_net *net = container_of(to_delayed_work(item), struct kvmft_net, send_work);
	u64 gone, sent;

	mutex_lock(&net->lock);
	gone = send_free(net, &sent);
	mutex_unlock(&net->lock);
	kvmft_net_gone(net, gone, sent);
}

bool kvmft_net_try_send(struct kvmft_net *net)
{
	u64 gone, sent;

	if (!mutex_trylock(&net->lock))
		return false;
	gone = send_free(net, &sent);
	mutex_unlock(&net->lock);
	kvmft_net_gone(net, gone, sent);
	return true;
}

/* Switches learn where the guest's address is now: RFC 903, a reverse ARP request. */
void kvmft_net_announce(struct kvmft_net *net)
{
	u32 header = kvmft_net_header(net), len = header + ETH_ZLEN;
	struct kvmft_packet *packet;
	struct ethhdr *eth;
	struct arphdr *arp;
	u8 *addresses;

	if (!is_valid_ether_addr(net->mac))
		return;
	packet = kzalloc(struct_size(packet, data, len), GFP_KERNEL_ACCOUNT);
	if (!packet)
		return;
	packet->len = len;
	eth = (void *)(packet->data + header);
	eth_broadcast_addr(eth->h_dest);
	ether_addr_copy(eth->h_source, net->mac);
	eth->h_proto = htons(ETH_P_RARP);
	arp = (void *)(eth + 1);
	arp->ar_hrd = htons(ARPHRD_ETHER);
	arp->ar_pro = htons(ETH_P_IP);
	arp->ar_hln = ETH_ALEN;
	arp->ar_pln = sizeof(__be32);
	arp->ar_op = htons(ARPOP_RREQUEST);
	/* Sender, its IP address, target, its IP address. */
	addresses = (u8 *)(arp + 1);
	ether_addr_copy(addresses, net->mac);
	ether_addr_copy(addresses + ETH_ALEN + sizeof(__be32), net->mac);
	spin_lock(&net->held_lock);
	kvmft_held_add_first(&net->held, packet);
	spin_unlock(&net->held_lock);
}

