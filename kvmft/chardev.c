// SPDX-License-Identifier: GPL-2.0
/*
 * The calls are described in include/uapi/linux/kvmft.h.
 */
#include <linux/anon_inodes.h>
#include <linux/capability.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/net.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "chardev.h"
#include "hook.h"
#include "selftest.h"
#include "sysfs.h"

/**
 * struct session_file - what a session's descriptor stands for
 * @session: the session
 * @kobj: its directory in sysfs
 */
struct session_file {
	struct kvmft_session *session;
	struct kobject *kobj;
};

static struct miscdevice kvmft_misc;

/* Copy a structure in; @min: the size of its first version; flags, some of @known, follow size. */
static int copy_in(void *dst, size_t size, size_t min, u32 known, const void __user *arg)
{
	const u32 *flags = dst + sizeof(u32);
	u32 user_size;
	int ret;

	if (get_user(user_size, (const u32 __user *)arg))
		return -EFAULT;
	if (user_size < min)
		return -EINVAL;
	if (user_size > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(dst, size, arg, user_size);
	if (ret)
		return ret;
	return *flags & ~known ? -EINVAL : 0;
}

/* Copy a structure out to a caller whose structure has @user_size bytes. */
static int copy_out(void __user *arg, const void *src, size_t size, u32 user_size)
{
	return copy_to_user(arg, src, min_t(size_t, size, user_size)) ? -EFAULT : 0;
}

#define copy_in_struct(dst, last, arg)	\
	copy_in(dst, sizeof(*(dst)), offsetofend(typeof(*(dst)), last), 0, arg)

/* A session's descriptor. */

static long session_status(struct kvmft_session *session, void __user *arg)
{
	struct kvmft_session_status status;
	u32 user_size;
	int ret;

	ret = copy_in_struct(&status, reserved, arg);
	if (ret)
		return ret;
	if (status.reserved)
		return -EINVAL;
	user_size = status.size;
	memset(&status, 0, sizeof(status));
	status.size = sizeof(status);
	kvmft_session_status(session, &status);
	return copy_out(arg, &status, sizeof(status), user_size);
}

static long session_stop(struct kvmft_session *session, void __user *arg)
{
	struct kvmft_session_stop stop;
	int ret;

	ret = copy_in_struct(&stop, reserved, arg);
	if (ret)
		return ret;
	if (memchr_inv(stop.reserved, 0, sizeof(stop.reserved)))
		return -EINVAL;
	if (stop.cond && (stop.cond < KVMFT_STOP_MIN || stop.cond > KVMFT_STOP_MAX))
		return -ERANGE;
	return kvmft_session_stop(session, stop.cond);
}

/* The file of a log, opened for @mode. */
static struct file *get_log(int fd, fmode_t mode)
{
	struct file *log = fget(fd);

	if (!log)
		return ERR_PTR(-EBADF);
	if (!(log->f_mode & mode)) {
		fput(log);
		return ERR_PTR(-EBADF);
	}
	if (!S_ISREG(file_inode(log)->i_mode) ||
	    (mode == FMODE_WRITE && i_size_read(file_inode(log)))) {
		fput(log);
		return ERR_PTR(-EINVAL);
	}
	return log;
}

static long session_record(struct kvmft_session *session, void __user *arg)
{
	struct kvmft_session_record record;
	struct file *log;
	int ret;

	ret = copy_in_struct(&record, reserved, arg);
	if (ret)
		return ret;
	if (memchr_inv(record.reserved, 0, sizeof(record.reserved)))
		return -EINVAL;
	if (record.align_us > KVMFT_ALIGN_MAX)
		return -ERANGE;
	log = get_log(record.log_fd, FMODE_WRITE);
	if (IS_ERR(log))
		return PTR_ERR(log);
	ret = kvmft_session_record(session, log, record.align_us);
	fput(log);
	return ret;
}

static long session_replay(struct kvmft_session *session, void __user *arg)
{
	struct kvmft_session_replay replay;
	struct kvmft_verdict_report report;
	struct file *log;
	int ret;

	ret = copy_in_struct(&replay, reserved, arg);
	if (ret)
		return ret;
	if (replay.pad || memchr_inv(replay.reserved, 0, sizeof(replay.reserved)))
		return -EINVAL;
	log = get_log(replay.log_fd, FMODE_READ);
	if (IS_ERR(log))
		return PTR_ERR(log);
	kvmft_selftest_report(&report);
	ret = kvmft_session_replay(session, log, kvmft_verdict_margin(&report));
	fput(log);
	return ret;
}

/* The arbiter that @pair names, or NULL if it does not; the channel will tell the peer. */
static struct kvmft_arbiter *get_arbiter(const struct kvmft_session_pair *pair,
					 struct kvmft_channel_config *config)
{
	struct kvmft_claim claim = { .generation = pair->generation, .role = pair->role };
	struct kvmft_arbiter *arbiter;
	struct file *disk;

	if (!(pair->flags & KVMFT_PAIR_ARBITER))
		return NULL;
	disk = fget(pair->arbiter_fd);
	if (!disk)
		return ERR_PTR(-EBADF);
	memcpy(claim.session, pair->id, sizeof(claim.session));
	arbiter = kvmft_arbiter_open(disk, pair->arbiter_block, &claim);
	fput(disk);
	config->arbiter = true;
	memcpy(config->instance, claim.instance, sizeof(config->instance));
	return arbiter;
}

#define PAIR_FLAGS	(KVMFT_PAIR_ARBITER | KVMFT_PAIR_HOLD_ALL)

/* Outputs wait where there is a backup that could carry on. */
static enum kvmft_gate gate_of(const struct kvmft_session_pair *pair)
{
	if (!(pair->flags & KVMFT_PAIR_ARBITER))
		return KVMFT_GATE_NONE;
	return pair->flags & KVMFT_PAIR_HOLD_ALL ? KVMFT_GATE_ALL : KVMFT_GATE_OUTPUT;
}

static long session_pair(struct kvmft_session *session, void __user *arg)
{
	struct kvmft_channel_config config;
	struct kvmft_verdict_report report;
	struct kvmft_arbiter *arbiter;
	struct kvmft_session_pair pair;
	struct socket *sock;
	int ret;

	ret = copy_in(&pair, sizeof(pair), sizeof(pair), PAIR_FLAGS, arg);
	if (ret)
		return ret;
	if ((!(pair.flags & KVMFT_PAIR_ARBITER) && (pair.arbiter_fd || pair.arbiter_block)) ||
	    memchr_inv(pair.reserved, 0, sizeof(pair.reserved)) ||
	    (pair.role != KVMFT_ROLE_PRIMARY && pair.role != KVMFT_ROLE_BACKUP) ||
	    (pair.role == KVMFT_ROLE_BACKUP && pair.align_us) ||
	    ((pair.flags & KVMFT_PAIR_HOLD_ALL) && (pair.role != KVMFT_ROLE_PRIMARY ||
						    !(pair.flags & KVMFT_PAIR_ARBITER))))
		return -EINVAL;
	if (!pair.heartbeat_ms || pair.heartbeat_ms > KVMFT_HEARTBEAT_MAX ||
	    pair.timeout_ms < 3 * pair.heartbeat_ms || pair.timeout_ms > KVMFT_TIMEOUT_MAX ||
	    pair.align_us > KVMFT_ALIGN_MAX)
		return -ERANGE;
	config = (struct kvmft_channel_config) {
		.role = pair.role,
		.generation = pair.generation,
		.heartbeat_ms = pair.heartbeat_ms,
		.timeout_ms = pair.timeout_ms,
	};
	memcpy(config.session, pair.id, sizeof(config.session));
	sock = sockfd_lookup(pair.socket_fd, &ret);
	if (!sock)
		return ret;
	arbiter = get_arbiter(&pair, &config);
	ret = PTR_ERR_OR_ZERO(arbiter);
	kvmft_selftest_report(&report);
	if (!ret)
		ret = kvmft_session_pair(session, sock, &config, arbiter, pair.align_us,
					 gate_of(&pair), kvmft_verdict_margin(&report));
	sockfd_put(sock);
	return ret;
}

static long session_input(struct kvmft_session *session, void __user *arg)
{
	struct kvmft_session_input input;
	void *data = NULL;
	long ret;

	ret = copy_in_struct(&input, reserved, arg);
	if (ret)
		return ret;
	if (input.pad || memchr_inv(input.reserved, 0, sizeof(input.reserved)) ||
	    input.irq > KVMFT_IRQ_MSI || (input.irq == KVMFT_IRQ_LINE && input.level > 1) ||
	    (!input.len && input.irq == KVMFT_IRQ_NONE))
		return -EINVAL;
	if (input.len > KVMFT_INPUT_MAX)
		return -ERANGE;
	if (input.len) {
		data = vmemdup_user(u64_to_user_ptr(input.data), input.len);
		if (IS_ERR(data))
			return PTR_ERR(data);
	}
	ret = kvmft_session_input(session, &input, data);
	kvfree(data);
	return ret;
}

static long session_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct session_file *sf = file->private_data;
	void __user *user = (void __user *)arg;

	switch (cmd) {
	case KVMFT_SESSION_STATUS:
		return session_status(sf->session, user);
	case KVMFT_SESSION_STOP:
		return session_stop(sf->session, user);
	case KVMFT_SESSION_RECORD:
		return session_record(sf->session, user);
	case KVMFT_SESSION_REPLAY:
		return session_replay(sf->session, user);
	case KVMFT_SESSION_PAIR:
		return session_pair(sf->session, user);
	case KVMFT_SESSION_INPUT:
		return session_input(sf->session, user);
	case KVMFT_SESSION_FINISH:
		return arg ? -EINVAL : kvmft_session_finish(sf->session);
	default:
		return -ENOTTY;
	}
}

static __poll_t session_poll(struct file *file, poll_table *wait)
{
	struct session_file *sf = file->private_data;

	poll_wait(file, &sf->session->changed, wait);
	return kvmft_session_is_over(sf->session) ? EPOLLHUP : 0;
}

static int session_release(struct inode *inode, struct file *file)
{
	struct session_file *sf = file->private_data;

	kvmft_sysfs_remove_session(sf->kobj);
	kvmft_session_close(sf->session);
	kfree(sf);
	return 0;
}

static const struct file_operations session_fops = {
	.owner = THIS_MODULE,
	.release = session_release,
	.unlocked_ioctl = session_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.poll = session_poll,
	.llseek = noop_llseek,
};

/* /dev/kvmft. */

static long get_info(void __user *arg)
{
	struct kvmft_verdict_report report;
	struct kvmft_info info;
	u32 user_size;
	int ret;

	ret = copy_in_struct(&info, reserved, arg);
	if (ret)
		return ret;
	if (memchr_inv(info.reserved, 0, sizeof(info.reserved)))
		return -EINVAL;
	user_size = info.size;
	kvmft_selftest_report(&report);
	info = (struct kvmft_info) {
		.size = sizeof(info),
		.api_version = KVMFT_API_VERSION,
		.verdict = report.verdict,
		.sessions = kvmft_sessions(),
		.hooks = kvmft_hooks_installed(),
		.skid_max = report.skid_max,
	};
	return copy_out(arg, &info, sizeof(info), user_size);
}

static long self_test(unsigned long arg)
{
	struct kvmft_verdict_report report;
	int ret;

	if (arg)
		return -EINVAL;
	ret = kvmft_selftest_run();
	if (ret)
		return ret;
	kvmft_selftest_report(&report);
	return report.verdict == KVMFT_VERDICT_EXACT ? 0 : -EOPNOTSUPP;
}

static long create_session(void __user *arg)
{
	struct kvmft_create_session create;
	struct session_file *sf;
	struct file *vm;
	long ret;
	int fd;

	ret = copy_in_struct(&create, reserved, arg);
	if (ret)
		return ret;
	if (create.pad || memchr_inv(create.reserved, 0, sizeof(create.reserved)))
		return -EINVAL;
	vm = fget(create.vm_fd);
	if (!vm)
		return -EBADF;
	if (!file_is_kvm(vm)) {
		ret = -EINVAL;
		goto put_vm;
	}

	sf = kzalloc(sizeof(*sf), GFP_KERNEL_ACCOUNT);
	if (!sf) {
		ret = -ENOMEM;
		goto put_vm;
	}
	sf->session = kvmft_selftest_session_create(vm);
	if (IS_ERR(sf->session)) {
		ret = PTR_ERR(sf->session);
		goto free_file;
	}
	sf->kobj = kvmft_sysfs_add_session(&kvmft_misc.this_device->kobj, sf->session);
	if (IS_ERR(sf->kobj)) {
		ret = PTR_ERR(sf->kobj);
		goto close_session;
	}
	fd = anon_inode_getfd("kvmft-session", &session_fops, sf, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		ret = fd;
		goto remove_sysfs;
	}
	fput(vm);
	return fd;

remove_sysfs:
	kvmft_sysfs_remove_session(sf->kobj);
close_session:
	kvmft_session_close(sf->session);
free_file:
	kfree(sf);
put_vm:
	fput(vm);
	return ret;
}

static long kvmft_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case KVMFT_GET_API_VERSION:
		return arg ? -EINVAL : KVMFT_API_VERSION;
	case KVMFT_GET_INFO:
		return get_info((void __user *)arg);
	case KVMFT_SELF_TEST:
		return self_test(arg);
	case KVMFT_CREATE_SESSION:
		return create_session((void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static int kvmft_open(struct inode *inode, struct file *file)
{
	return capable(CAP_SYS_ADMIN) ? 0 : -EPERM;
}

static const struct file_operations kvmft_fops = {
	.owner = THIS_MODULE,
	.open = kvmft_open,
	.unlocked_ioctl = kvmft_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice kvmft_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kvmft",
	.mode = 0600,
	.fops = &kvmft_fops,
	.groups = kvmft_sysfs_groups,
};

int kvmft_chardev_init(void)
{
	return misc_register(&kvmft_misc);
}

void kvmft_chardev_exit(void)
{
	misc_deregister(&kvmft_misc);
}
