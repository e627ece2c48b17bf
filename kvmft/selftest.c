// SPDX-License-Identifier: GPL-2.0
/*
 * The guest is an ordinary VM with an ordinary session: what is tested is the path that
 * every session depends on.  The module acts as its VMM, in the calling process,
 * through the same ioctls as any VMM: guest memory and the ioctls' arguments lie in a
 * mapping made for the purpose.
 *
 * test_lock serialises test and creation of sessions: while a session is made the
 * verdict stands.  It is taken before all other locks of kvmft.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/kvm.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "selftest.h"
#include "selftest_guest.h"

#define MAP_SIZE	(GUEST_SIZE + PAGE_SIZE)	/* guest, then arguments of ioctls */

/* Room for the skid of a stop: PMI skid on Zen was seen up to 56,725 instructions. */
#define STOP_SLACK	1000000

/**
 * struct test_vm - the VM of the test
 * @vm: its file
 * @vcpu: its vCPU's
 * @kvm_vcpu: KVM's vCPU
 * @base: address of the mapping in the calling process
 */
struct test_vm {
	struct file *vm;
	struct file *vcpu;
	struct kvm_vcpu *kvm_vcpu;
	unsigned long base;
};

static DEFINE_MUTEX(test_lock);
static DEFINE_SPINLOCK(report_lock);
static struct kvmft_verdict_report last_report;

/* An ioctl with an argument of @size bytes, copied in before and out after. */
static long vm_ioctl(struct test_vm *test, struct file *file, unsigned int cmd, void *arg,
		     size_t size)
{
	void __user *user = (void __user *)(test->base + GUEST_SIZE);
	long ret;

	if (copy_to_user(user, arg, size))
		return -EFAULT;
	ret = vfs_ioctl(file, cmd, (unsigned long)user);
	if (ret >= 0 && copy_from_user(arg, user, size))
		return -EFAULT;
	return ret;
}

/* The file behind the descriptor that an ioctl has made. */
static struct file *take_file(long fd)
{
	struct file *file;

	if (fd < 0)
		return ERR_PTR(fd);
	file = fget(fd);
	close_fd(fd);
	return file ?: ERR_PTR(-EBADF);
}

static void test_vm_destroy(struct test_vm *test)
{
	if (!IS_ERR_OR_NULL(test->vcpu))
		fput(test->vcpu);
	if (!IS_ERR_OR_NULL(test->vm))
		fput(test->vm);
	if (test->base)
		vm_munmap(test->base, MAP_SIZE);
}

static int test_vm_create(struct test_vm *test)
{
	struct kvm_userspace_memory_region region = { .memory_size = GUEST_SIZE };
	struct kvm_sregs *sregs;
	struct file *kvm;
	long ret;

	memset(test, 0, sizeof(*test));
	if (!current->mm)
		return -ENODEV;
	kvm = filp_open("/dev/kvm", O_RDWR, 0);
	if (IS_ERR(kvm))
		return -ENODEV;
	test->vm = take_file(vfs_ioctl(kvm, KVM_CREATE_VM, 0));
	fput(kvm);
	if (IS_ERR(test->vm))
		return PTR_ERR(test->vm);

	test->base = vm_mmap(NULL, 0, MAP_SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, 0);
	if (IS_ERR_VALUE(test->base)) {
		ret = test->base;
		test->base = 0;
		goto destroy;
	}
	ret = -EFAULT;
	if (copy_to_user((void __user *)(test->base + GUEST_CODE), kvmft_selftest_guest,
			 kvmft_selftest_guest_end - kvmft_selftest_guest))
		goto destroy;

	region.userspace_addr = test->base;
	ret = vm_ioctl(test, test->vm, KVM_SET_USER_MEMORY_REGION, &region, sizeof(region));
	if (ret)
		goto destroy;
	test->vcpu = take_file(vfs_ioctl(test->vm, KVM_CREATE_VCPU, 0));
	if (IS_ERR(test->vcpu)) {
		ret = PTR_ERR(test->vcpu);
		goto destroy;
	}
	test->kvm_vcpu = test->vcpu->private_data;

	ret = -ENOMEM;
	sregs = kzalloc(sizeof(*sregs), GFP_KERNEL);
	if (!sregs)
		goto destroy;
	ret = vm_ioctl(test, test->vcpu, KVM_GET_SREGS, sregs, sizeof(*sregs));
	if (!ret) {
		sregs->cs.base = 0;
		sregs->cs.selector = 0;
		ret = vm_ioctl(test, test->vcpu, KVM_SET_SREGS, sregs, sizeof(*sregs));
	}
	kfree(sregs);
	if (!ret)
		return 0;
destroy:
	test_vm_destroy(test);
	return ret;
}

/* Run the guest from its start: 0 when it is done, -EINTR when it was stopped before. */
static int test_vm_run(struct test_vm *test, u32 loop, u32 exits, u32 locked)
{
	struct kvm_regs regs = {
		.rip = GUEST_CODE,
		.rsp = GUEST_STACK,
		.rflags = X86_EFLAGS_FIXED,
		.rsi = loop,
		.rdi = exits,
		.rbp = locked,
	};
	struct kvm_run *run = test->kvm_vcpu->run;
	long ret;

	ret = vm_ioctl(test, test->vcpu, KVM_SET_REGS, &regs, sizeof(regs));
	if (!ret)
		ret = vfs_ioctl(test->vcpu, KVM_RUN, 0);
	if (ret)
		return ret;
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != GUEST_DONE_PORT) {
		pr_err("self-test: the guest left with KVM exit reason %u\n", run->exit_reason);
		return -EIO;
	}
	return 0;
}

static struct kvmft_position position(struct kvmft_session *session)
{
	struct kvmft_vcpu_state state;

	kvmft_vcpu_snapshot(&session->vcpu, &state);
	return state.pos;
}

/* Two sizes, with more and more exits between. */
static int test_counts(struct test_vm *test, struct kvmft_session *session,
		       struct kvmft_verdict_report *report)
{
	static const u32 loops[] = { 1, 1000, 123457 };
	static const u32 exits[] = { 0, 10, 100, 1000 };
	static const u32 locked = 500;
	struct kvmft_position before, after, want;
	int i, j, ret;

	for (i = 0; i < ARRAY_SIZE(loops); i++) {
		for (j = 0; j < ARRAY_SIZE(exits); j++) {
			before = position(session);
			ret = test_vm_run(test, loops[i], exits[j], locked);
			if (ret)
				return ret;
			if (kvmft_session_end(session))
				return -EIO;
			after = position(session);
			after.cond -= before.cond;
			after.taken -= before.taken;
			want.cond = loops[i] + exits[j] + locked + 1;
			want.taken = loops[i] + exits[j] + locked + 2;
			kvmft_verdict_window(report, exits[j], &want, &after);
		}
	}
	return 0;
}

/* Stops near and far. */
static int test_stops(struct test_vm *test, struct kvmft_session *session,
		      struct kvmft_verdict_report *report)
{
	static const u32 distances[] = { 2, 3, 10, 101, 1000, 4999, 20000, 65537 };
	struct kvmft_vcpu_state state;
	u64 start, overflows, stopped_at;
	int i, ret;

	for (i = 0; i < 8 * ARRAY_SIZE(distances); i++) {
		u32 distance = distances[i % ARRAY_SIZE(distances)];

		kvmft_vcpu_snapshot(&session->vcpu, &state);
		start = state.pos.cond;
		overflows = state.stop.overflows;
		ret = kvmft_session_stop(session, distance);
		if (ret)
			return ret;
		ret = test_vm_run(test, distance + STOP_SLACK, 0, 1);
		if (ret == -EINTR && signal_pending(current))
			return ret;
		if (ret && ret != -EINTR)
			return ret;
		kvmft_vcpu_snapshot(&session->vcpu, &state);
		stopped_at = state.stop.stopped_at;

		/* The next entry tells whether an interrupt was lost or late. */
		ret = test_vm_run(test, 1, 0, 1);
		if (ret)
			return ret;
		if (kvmft_session_end(session))
			return -EIO;
		kvmft_vcpu_snapshot(&session->vcpu, &state);
		kvmft_verdict_stop(report, distance, stopped_at - start,
				   state.stop.overflows > overflows);
	}
	return 0;
}

static int test_session(struct test_vm *test, struct kvmft_session *session,
			const struct kvmft_arch_events *events,
			struct kvmft_verdict_report *report)
{
	struct perf_event *unsafe = NULL;
	u64 enabled, running;
	int ret;

	if (events->unsafe) {
		unsafe = kvmft_counter_open_event(events->unsafe);
		if (IS_ERR(unsafe))
			return PTR_ERR(unsafe);
	}
	ret = test_counts(test, session, report);
	if (unsafe) {
		if (!ret && perf_event_read_value(unsafe, &enabled, &running))
			kvmft_verdict_refuse(report,
					     "the CPU runs with an optimisation that makes counts inexact (event %#llx): %s",
					     events->unsafe, events->unsafe_remedy);
		perf_event_release_kernel(unsafe);
	}
	if (!ret)
		ret = test_stops(test, session, report);
	return ret;
}

/* Under test_lock. */
static int run_test(struct kvmft_verdict_report *report)
{
	const struct kvmft_arch_events *events;
	const struct kvmft_arch_ops *arch;
	struct kvmft_session *session;
	enum kvmft_end end;
	struct test_vm test;
	int ret;

	ret = test_vm_create(&test);
	if (ret)
		return ret;

	arch = kvmft_arch_of_vm(test.vm);
	if (!arch) {
		kvmft_verdict_refuse(report,
				     "no support for this vendor's KVM; see the kernel log");
		goto destroy;
	}
	events = arch->events();
	if (!events) {
		kvmft_verdict_refuse(report,
				     "no event is known to count exactly on this CPU: AMD family 17h to 1Ah are supported");
		goto destroy;
	}
	session = kvmft_session_create(test.vm);
	if (IS_ERR(session)) {
		ret = PTR_ERR(session);
		if (ret == -ENOEXEC) {
			kvmft_verdict_refuse(report,
					     "KVM is not the one kvmft was built for: rebuild kvmft; see the kernel log");
			ret = 0;
		} else if (ret == -EOPNOTSUPP) {
			kvmft_verdict_refuse(report,
					     "a KVM function can not be hooked; see the kernel log");
			ret = 0;
		}
		goto destroy;
	}

	ret = test_session(&test, session, events, report);
	end = kvmft_session_end(session);
	kvmft_session_close(session);

	/* The end of a session interrupts KVM_RUN as a signal does. */
	if (ret == -EINTR && end == KVMFT_END_NONE)
		goto destroy;
	if (end == KVMFT_END_COUNTER_WRONG)
		kvmft_verdict_refuse(report,
				     "taken branches are not counted exactly: fewer than entries of the guest, which count as one each on a real CPU");
	else if (end == KVMFT_END_NO_COUNTER || end == KVMFT_END_COUNTER_LOST || ret == -EBUSY)
		kvmft_verdict_refuse(report,
				     "no free event counters: stop perf users (perf stat -a, perf record -a), or set kernel.nmi_watchdog=0");
	else if (ret == -ENOENT || ret == -EOPNOTSUPP)
		kvmft_verdict_refuse(report,
				     "perf has no counters: is the PMU hidden by a hypervisor or switched off in the firmware?");
	else if (ret)
		kvmft_verdict_refuse(report, "the test's guest could not be run (%d)", ret);
	ret = 0;
destroy:
	test_vm_destroy(&test);
	return ret;
}

/* Under test_lock. */
static int test_and_report(void)
{
	struct kvmft_verdict_report *report;
	int ret;

	report = kzalloc(sizeof(*report), GFP_KERNEL);
	if (!report)
		return -ENOMEM;
	kvmft_verdict_start(report);
	ret = run_test(report);
	if (!ret) {
		kvmft_verdict_finish(report);
		spin_lock(&report_lock);
		last_report = *report;
		spin_unlock(&report_lock);
		if (report->verdict == KVMFT_VERDICT_EXACT)
			pr_info("self-test: counters exact in %u windows; %u stops, skid up to %llu branches, %u lost\n",
				report->windows, report->stops, report->skid_max, report->lost);
		else
			pr_warn("self-test: sessions are refused: %s\n", report->reason);
	}
	kfree(report);
	return ret;
}

int kvmft_selftest_run(void)
{
	int ret = -EBUSY;

	mutex_lock(&test_lock);
	if (!kvmft_sessions())
		ret = test_and_report();
	mutex_unlock(&test_lock);
	return ret;
}

void kvmft_selftest_report(struct kvmft_verdict_report *report)
{
	spin_lock(&report_lock);
	*report = last_report;
	spin_unlock(&report_lock);
}

struct kvmft_session *kvmft_selftest_session_create(const struct file *vm)
{
	struct kvmft_session *session;
	int ret = 0;

	mutex_lock(&test_lock);
	if (last_report.verdict == KVMFT_VERDICT_UNTESTED)
		ret = test_and_report();
	if (ret)
		session = ERR_PTR(ret);
	else if (last_report.verdict != KVMFT_VERDICT_EXACT)
		session = ERR_PTR(-EOPNOTSUPP);
	else
		session = kvmft_session_create(vm);
	mutex_unlock(&test_lock);
	return session;
}
