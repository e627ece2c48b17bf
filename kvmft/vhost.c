// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/kvmft-net: the calls of the kernel's vhost-net (include/uapi/linux/vhost.h), as far as QEMU
 * needs them for a network device.  Documentation/network.rst lists them.
 *
 * Not there, and refused: logging of writes for live migration, an IOMMU, workers, byte orders.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vhost.h>

#include <uapi/linux/virtio_config.h>

#include "net.h"
#include "vhost.h"

/*
 * What this device does; all else the VMM and the guest agree on without it.  Packets in several
 * buffers (VIRTIO_NET_F_MRG_RXBUF), and the layout of virtio 1.
 */
#define FEATURES	(BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_NET_F_MRG_RXBUF))

/**
 * struct call - a call, with its argument, which is read before any lock is taken: it may take long
 * @cmd: which
 * @features: VHOST_SET_FEATURES
 * @state: VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_GET_VRING_BASE
 * @addr: VHOST_SET_VRING_ADDR
 * @file: VHOST_SET_VRING_KICK, and so on
 * @memory: VHOST_SET_MEM_TABLE
 * @index: of the queue, in those four: the first member
 * @regions: of @memory; freed when the call is over
 */
struct call {
	unsigned int cmd;
	union {
		u64 features;
		struct vhost_vring_state state;
		struct vhost_vring_addr addr;
		struct vhost_vring_file file;
		struct vhost_memory memory;
		u32 index;
	};
	struct vhost_memory_region *regions;
};

/* Its memory is what the rings are in: whoever has become the owner. */
static int set_owner(struct kvmft_net *net)
{
	if (net->mm)
		return -EBUSY;
	mmgrab(current->mm);
	WRITE_ONCE(net->mm, current->mm);
	return 0;
}

static int set_features(struct kvmft_net *net, u64 features)
{
	if (features & ~FEATURES)
		return -EOPNOTSUPP;
	if (net->queues[KVMFT_NET_RX].running || net->queues[KVMFT_NET_TX].running)
		return -EBUSY;
	net->features = features;
	return 0;
}

static bool is_sane(const struct vhost_memory_region *region)
{
	u64 guest = region->guest_phys_addr, user = region->userspace_addr;
	u64 size = region->memory_size;

	return !region->flags_padding && guest + size >= guest && user + size >= user;
}

static int set_memory(struct kvmft_net *net, struct call *call)
{
	u32 i;

	for (i = 0; i < call->memory.nregions; i++)
		if (!is_sane(&call->regions[i]))
			return -EINVAL;
	swap(net->regions, call->regions);
	net->nr_regions = call->memory.nregions;
	return 0;
}

static int set_num(struct kvmft_net_queue *queue, u32 num)
{
	if (queue->running)
		return -EBUSY;
	if (!num || num > KVMFT_RING_MAX || num & (num - 1))
		return -EINVAL;
	queue->ring.num = num;
	return 0;
}

static int set_base(struct kvmft_net_queue *queue, u32 base)
{
	if (queue->running)
		return -EBUSY;
	if (base > U16_MAX)
		return -EINVAL;
	queue->ring.next = base;
	return 0;
}

static int set_addr(struct kvmft_net_queue *queue, const struct vhost_vring_addr *addr)
{
	struct kvmft_ring ring;

	if (addr->flags)
		return -EOPNOTSUPP;
	if (queue->running)
		return -EBUSY;
	ring = queue->ring;
	ring.desc = addr->desc_user_addr;
	ring.avail = addr->avail_user_addr;
	ring.used = addr->used_user_addr;
	if (!kvmft_ring_valid(&ring))
		return -EINVAL;
	queue->ring = ring;
	return 0;
}

static int set_kick(struct kvmft_net *net, struct kvmft_net_queue *queue, int fd)
{
	struct file *file = NULL;

	if (fd != VHOST_FILE_UNBIND) {
		file = eventfd_fget(fd);
		if (IS_ERR(file))
			return PTR_ERR(file);
	}
	return kvmft_net_watch(net, &queue->kick, file, queue == &net->queues[KVMFT_NET_TX] ?
			       &net->tx_work : &net->rx_work, true);
}

/* Of an eventfd that is only signalled. */
static int set_event(struct eventfd_ctx **event, int fd)
{
	struct eventfd_ctx *new = NULL;

	if (fd != VHOST_FILE_UNBIND) {
		new = eventfd_ctx_fdget(fd);
		if (IS_ERR(new))
			return PTR_ERR(new);
	}
	if (*event)
		eventfd_ctx_put(*event);
	*event = new;
	return 0;
}

/* The module of taps need not be loaded; it is if @file is one, and stays so. */
static struct socket *socket_of(struct file *file)
{
	typeof(tun_get_socket) *get = symbol_get(tun_get_socket);
	struct socket *sock;

	if (!get)
		return ERR_PTR(-ENOTSOCK);
	sock = get(file);
	symbol_put(tun_get_socket);
	return sock;
}

static int set_backend(struct kvmft_net *net, struct kvmft_net_queue *queue, int fd)
{
	struct socket *sock = NULL;
	struct file *file = NULL;

	if (fd == VHOST_FILE_UNBIND)
		return kvmft_net_start(net, queue - net->queues, NULL, NULL);
	if (!kvmft_ring_valid(&queue->ring))
		return -EFAULT;
	file = fget(fd);
	if (!file)
		return -EBADF;
	sock = socket_of(file);
	if (IS_ERR(sock)) {
		fput(file);
		return -ENOTSOCK;
	}
	return kvmft_net_start(net, queue - net->queues, file, sock);
}

static long queue_call(struct kvmft_net *net, struct call *call)
{
	struct kvmft_net_queue *queue;

	if (call->index >= KVMFT_NET_QUEUES)
		return -ENOBUFS;
	queue = &net->queues[call->index];
	switch (call->cmd) {
	case VHOST_SET_VRING_NUM:
		return set_num(queue, call->state.num);
	case VHOST_SET_VRING_BASE:
		return set_base(queue, call->state.num);
	case VHOST_GET_VRING_BASE:
		call->state.num = queue->ring.next;
		return 0;
	case VHOST_SET_VRING_ADDR:
		return set_addr(queue, &call->addr);
	case VHOST_SET_VRING_KICK:
		return set_kick(net, queue, call->file.fd);
	case VHOST_SET_VRING_CALL:
		return set_event(&queue->call, call->file.fd);
	case VHOST_SET_VRING_ERR:
		return set_event(&queue->err, call->file.fd);
	case VHOST_NET_SET_BACKEND:
		return set_backend(net, queue, call->file.fd);
	default:
		return -ENOTTY;
	}
}

static long owner_call(struct kvmft_net *net, struct call *call)
{
	if (call->cmd == VHOST_SET_OWNER)
		return set_owner(net);
	if (net->mm != current->mm)
		return -EPERM;
	switch (call->cmd) {
	case VHOST_SET_FEATURES:
		return set_features(net, call->features);
	case VHOST_SET_MEM_TABLE:
		return set_memory(net, call);
	default:
		return queue_call(net, call);
	}
}

static int get_regions(struct call *call, const struct vhost_memory __user *arg)
{
	u32 nr = call->memory.nregions;

	if (call->memory.padding)
		return -EOPNOTSUPP;
	if (nr > KVMFT_NET_REGIONS)
		return -E2BIG;
	call->regions = kvmalloc_array(nr, sizeof(*call->regions), GFP_KERNEL_ACCOUNT);
	if (!call->regions)
		return -ENOMEM;
	return copy_from_user(call->regions, arg->regions, nr * sizeof(*call->regions)) ?
	       -EFAULT : 0;
}

/* Its argument has as many bytes as its number says; none is more than fits. */
static int get_call(struct call *call, const void __user *arg)
{
	static_assert(_IOC_SIZE(VHOST_SET_VRING_ADDR) == sizeof(call->addr));

	if (copy_from_user(&call->features, arg, _IOC_SIZE(call->cmd)))
		return -EFAULT;
	return call->cmd == VHOST_SET_MEM_TABLE ? get_regions(call, arg) : 0;
}

static long make_call(struct kvmft_net *net, unsigned int cmd, void __user *arg)
{
	struct call call = { .cmd = cmd };
	long ret = get_call(&call, arg);

	if (!ret) {
		mutex_lock(&net->lock);
		ret = owner_call(net, &call);
		mutex_unlock(&net->lock);
	}
	kvfree(call.regions);
	if (!ret && cmd == VHOST_GET_VRING_BASE &&
	    copy_to_user(arg, &call.state, sizeof(call.state)))
		ret = -EFAULT;
	return ret;
}

static long vhost_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case VHOST_GET_FEATURES:
		return put_user(FEATURES, (u64 __user *)arg);
	case VHOST_SET_OWNER:
	case VHOST_SET_FEATURES:
	case VHOST_SET_MEM_TABLE:
	case VHOST_SET_VRING_NUM:
	case VHOST_SET_VRING_BASE:
	case VHOST_GET_VRING_BASE:
	case VHOST_SET_VRING_ADDR:
	case VHOST_SET_VRING_KICK:
	case VHOST_SET_VRING_CALL:
	case VHOST_SET_VRING_ERR:
	case VHOST_NET_SET_BACKEND:
		return make_call(file->private_data, cmd, (void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static int vhost_open(struct inode *inode, struct file *file)
{
	struct kvmft_net *net;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	net = kvmft_net_create();
	if (!net)
		return -ENOMEM;
	file->private_data = net;
	return 0;
}

static int vhost_release(struct inode *inode, struct file *file)
{
	kvmft_net_destroy(file->private_data);
	return 0;
}

static const struct file_operations vhost_fops = {
	.owner = THIS_MODULE,
	.open = vhost_open,
	.release = vhost_release,
	.unlocked_ioctl = vhost_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice vhost_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kvmft-net",
	.mode = 0600,
	.fops = &vhost_fops,
};

int kvmft_vhost_init(void)
{
	return misc_register(&vhost_misc);
}

void kvmft_vhost_exit(void)
{
	misc_deregister(&vhost_misc);
}
