// SPDX-License-Identifier: GPL-2.0
/*
 * Memory as a device sees it: addresses of the rings are the VMM's, those in the rings the guest's.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/uaccess.h>

#include <uapi/linux/virtio_config.h>
#include <uapi/linux/virtio_net.h>

#include "net.h"

int kvmft_net_read(const struct kvmft_ring_memory *memory, u64 addr, void *buf, u32 len)
{
	return copy_from_user(buf, u64_to_user_ptr(addr), len) ? -EFAULT : 0;
}

/* Where is the guest's @addr?  *@len becomes less if the region ends earlier. */
static void __user *user_of(const struct kvmft_net *net, u64 addr, u32 *len)
{
	u32 i;

	for (i = 0; i < net->nr_regions; i++) {
		const struct vhost_memory_region *region = &net->regions[i];
		u64 offset = addr - region->guest_phys_addr;

		if (addr < region->guest_phys_addr || offset >= region->memory_size)
			continue;
		*len = min_t(u64, *len, region->memory_size - offset);
		return u64_to_user_ptr(region->userspace_addr + offset);
	}
	return NULL;
}

/* The guest's address of @len bytes at the VMM's @addr; false: they are not in one region. */
bool kvmft_net_guest_of(const struct kvmft_net *net, u64 addr, u32 len, u64 *guest)
{
	u32 i;

	for (i = 0; i < net->nr_regions; i++) {
		const struct vhost_memory_region *region = &net->regions[i];
		u64 offset = addr - region->userspace_addr;

		if (addr < region->userspace_addr || offset >= region->memory_size ||
		    region->memory_size - offset < len)
			continue;
		*guest = region->guest_phys_addr + offset;
		return true;
	}
	return false;
}

int kvmft_net_read_piece(const struct kvmft_net *net, u8 *to, const struct kvmft_piece *piece)
{
	u32 done, len;

	for (done = 0; done < piece->len; done += len) {
		const void __user *from;

		len = piece->len - done;
		from = user_of(net, piece->addr + done, &len);
		if (!from || copy_from_user(to + done, from, len))
			return -EFAULT;
	}
	return 0;
}

int kvmft_net_write(const struct kvmft_net *net, u64 addr, const u8 *from, u32 size)
{
	u32 done, len;

	for (done = 0; done < size; done += len) {
		void __user *to;

		len = size - done;
		to = user_of(net, addr + done, &len);
		if (!to || copy_to_user(to, from + done, len))
			return -EFAULT;
	}
	return 0;
}

int kvmft_net_write_report(const struct kvmft_ring_report *report)
{
	unsigned int i;

	for (i = 0; i < report->nr; i++) {
		const struct kvmft_ring_write *write = &report->writes[i];

		if (i == report->nr - 1)
			/* The driver sees the index last. */
			smp_wmb();
		if (copy_to_user(u64_to_user_ptr(write->addr), write->data, write->len))
			return -EFAULT;
	}
	return 0;
}

void kvmft_net_interrupt(struct kvmft_net_queue *queue)
{
	if (queue->call)
		eventfd_signal(queue->call);
}

void kvmft_net_give_up(struct kvmft_net_queue *queue, const char *what, int error)
{
	queue->broken = true;
	pr_warn_ratelimited("a guest's %s ring makes no sense (%d): it is not looked at any more\n",
			    what, error);
	if (queue->err)
		eventfd_signal(queue->err);
}

bool kvmft_net_is_usable(const struct kvmft_net_queue *queue)
{
	return queue->running && !queue->broken;
}

u32 kvmft_net_header(const struct kvmft_net *net)
{
	return net->features & (BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_NET_F_MRG_RXBUF)) ?
	       KVMFT_NET_HEADER : KVMFT_NET_HEADER_LEGACY;
}

