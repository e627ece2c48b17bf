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

/* Its memory is what the rings are in: whoever has become the owner. */
static int set_owner(struct kvmft_net *net)
{
	if (net->mm)
		return -EBUSY;
	mmgrab(current->mm);
	net->mm = current->mm;
	return 0;
}

static int set_features(struct kvmft_net *net, const u64 __user *arg)
{
	u64 features;

	if (get_user(features, arg))
		return -EFAULT;
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

static int set_memory(struct kvmft_net *net, const struct vhost_memory __user *arg)
{
	struct vhost_memory_region *regions;
	struct vhost_memory memory;
	u32 i;

	if (copy_from_user(&memory, arg, sizeof(memory)))
		return -EFAULT;
	if (memory.padding)
		return -EOPNOTSUPP;
	if (memory.nregions > KVMFT_NET_REGIONS)
		return -E2BIG;
	regions = kvmalloc_array(memory.nregions, sizeof(*regions), GFP_KERNEL_ACCOUNT);
	if (!regions)
		return -ENOMEM;
	if (copy_from_user(regions, arg->regions, memory.nregions * sizeof(*regions))) {
		kvfree(regions);
		return -EFAULT;
	}
	for (i = 0; i < memory.nregions; i++) {
		if (!is_sane(&regions[i])) {
			kvfree(regions);
			return -EINVAL;
		}
	}
	kvfree(net->regions);
	net->regions = regions;
	net->nr_regions = memory.nregions;
	return 0;
}

/* Of a call about one queue: the first member tells which. */
static struct kvmft_net_queue *queue_of(struct kvmft_net *net, const void __user *arg)
{
	u32 nr;

	if (get_user(nr, (const u32 __user *)arg))
		return ERR_PTR(-EFAULT);
	return nr < KVMFT_NET_QUEUES ? &net->queues[nr] : ERR_PTR(-ENOBUFS);
}

static int set_num(struct kvmft_net_queue *queue, const void __user *arg)
{
	struct vhost_vring_state state;

	if (copy_from_user(&state, arg, sizeof(state)))
		return -EFAULT;
	if (queue->running)
		return -EBUSY;
	if (!state.num || state.num > KVMFT_RING_MAX || state.num & (state.num - 1))
		return -EINVAL;
	queue->ring.num = state.num;
	return 0;
}

static int set_base(struct kvmft_net_queue *queue, const void __user *arg)
{
	struct vhost_vring_state state;

	if (copy_from_user(&state, arg, sizeof(state)))
		return -EFAULT;
	if (queue->running)
		return -EBUSY;
	if (state.num > U16_MAX)
		return -EINVAL;
	queue->ring.next = state.num;
	return 0;
}

static int get_base(struct kvmft_net *net, const struct kvmft_net_queue *queue, void __user *arg)
{
	struct vhost_vring_state state = {
		.index = queue - net->queues,
		.num = queue->ring.next,
	};

	return copy_to_user(arg, &state, sizeof(state)) ? -EFAULT : 0;
}

static int set_addr(struct kvmft_net_queue *queue, const void __user *arg)
{
	struct vhost_vring_addr addr;
	struct kvmft_ring ring;

	if (copy_from_user(&addr, arg, sizeof(addr)))
		return -EFAULT;
	if (addr.flags)
		return -EOPNOTSUPP;
	if (queue->running)
		return -EBUSY;
	ring = queue->ring;
	ring.desc = addr.desc_user_addr;
	ring.avail = addr.avail_user_addr;
	ring.used = addr.used_user_addr;
	if (!kvmft_ring_valid(&ring))
		return -EINVAL;
	queue->ring = ring;
	return 0;
}

/* -1 is none. */
static int get_fd(const void __user *arg, int *fd)
{
	struct vhost_vring_file file;

	if (copy_from_user(&file, arg, sizeof(file)))
		return -EFAULT;
	*fd = file.fd;
	return 0;
}

static int set_kick(struct kvmft_net *net, struct kvmft_net_queue *queue, const void __user *arg)
{
	struct file *file = NULL;
	int fd, ret;

	ret = get_fd(arg, &fd);
	if (ret)
		return ret;
	if (fd != VHOST_FILE_UNBIND) {
		file = eventfd_fget(fd);
		if (IS_ERR(file))
			return PTR_ERR(file);
	}
	return kvmft_net_watch(net, &queue->kick, file, queue == &net->queues[KVMFT_NET_TX] ?
			       &net->tx_work : &net->rx_work, true);
}

/* Of an eventfd that is only signalled. */
static int set_event(struct eventfd_ctx **event, const void __user *arg)
{
	struct eventfd_ctx *new = NULL;
	int fd, ret;

	ret = get_fd(arg, &fd);
	if (ret)
		return ret;
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

static int set_backend(struct kvmft_net *net, struct kvmft_net_queue *queue, const void __user *arg)
{
	struct socket *sock = NULL;
	struct file *file = NULL;
	int fd, ret;

	ret = get_fd(arg, &fd);
	if (ret)
		return ret;
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

static long queue_call(struct kvmft_net *net, unsigned int cmd, void __user *arg)
{
	struct kvmft_net_queue *queue = queue_of(net, arg);

	if (IS_ERR(queue))
		return PTR_ERR(queue);
	switch (cmd) {
	case VHOST_SET_VRING_NUM:
		return set_num(queue, arg);
	case VHOST_SET_VRING_BASE:
		return set_base(queue, arg);
	case VHOST_GET_VRING_BASE:
		return get_base(net, queue, arg);
	case VHOST_SET_VRING_ADDR:
		return set_addr(queue, arg);
	case VHOST_SET_VRING_KICK:
		return set_kick(net, queue, arg);
	case VHOST_SET_VRING_CALL:
		return set_event(&queue->call, arg);
	case VHOST_SET_VRING_ERR:
		return set_event(&queue->err, arg);
	case VHOST_NET_SET_BACKEND:
		return set_backend(net, queue, arg);
	default:
		return -ENOTTY;
	}
}

static long owner_call(struct kvmft_net *net, unsigned int cmd, void __user *arg)
{
	if (cmd == VHOST_SET_OWNER)
		return set_owner(net);
	if (net->mm != current->mm)
		return -EPERM;
	switch (cmd) {
	case VHOST_SET_FEATURES:
		return set_features(net, arg);
	case VHOST_SET_MEM_TABLE:
		return set_memory(net, arg);
	default:
		return queue_call(net, cmd, arg);
	}
}

static long vhost_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct kvmft_net *net = file->private_data;
	long ret;

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
		break;
	default:
		return -ENOTTY;
	}
	kvmft_net_lock(net);
	ret = owner_call(net, cmd, (void __user *)arg);
	kvmft_net_unlock(net);
	return ret;
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
