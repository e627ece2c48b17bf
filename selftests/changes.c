// SPDX-License-Identifier: GPL-2.0
/*
 * What a VMM does to a machine that is recorded or replayed, and no log could explain: it ends
 * the session by name, and a recorded guest runs on with all of its interrupts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "microrun.h"

static int dev;

static void set_regs(struct vm *vm)
{
	struct kvm_regs regs;

	vm_get_regs(vm, &regs);
	regs.rbx++;
	CHECK(!ioctl(vm->vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS: %m");
}

static void set_events(struct vm *vm)
{
	struct kvm_vcpu_events events;

	CHECK(!ioctl(vm->vcpu, KVM_GET_VCPU_EVENTS, &events), "KVM_GET_VCPU_EVENTS: %m");
	events.nmi.pending = 1;
	events.flags |= KVM_VCPUEVENT_VALID_NMI_PENDING;
	CHECK(!ioctl(vm->vcpu, KVM_SET_VCPU_EVENTS, &events), "KVM_SET_VCPU_EVENTS: %m");
}

static void set_lapic(struct vm *vm)
{
	struct kvm_lapic_state lapic;

	CHECK(!ioctl(vm->vcpu, KVM_GET_LAPIC, &lapic), "KVM_GET_LAPIC: %m");
	*(u32 *)&lapic.regs[0x380] = 12345;	/* the timer's initial count */
	CHECK(!ioctl(vm->vcpu, KVM_SET_LAPIC, &lapic), "KVM_SET_LAPIC: %m");
}

/* As KVM_SET_REGS, at the next KVM_RUN */
static void set_regs_by_page(struct vm *vm)
{
	struct kvm_regs *regs = &vm->run->s.regs.regs;

	vm_get_regs(vm, regs);
	regs->rbx++;
	vm->run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
}

/* No bank takes it, which does not matter */
static void machine_check(struct vm *vm)
{
	struct kvm_x86_mce mce = { .bank = 255 };

	CHECK(ioctl(vm->vcpu, KVM_X86_SET_MCE, &mce) < 0 && errno == EINVAL, "KVM_X86_SET_MCE: %m");
}

/* An exception, which is taken back */
static void inject(struct vm *vm)
{
	struct kvm_guest_debug step = { .control = KVM_GUESTDBG_INJECT_DB };
	struct kvm_vcpu_events events;

	CHECK(!ioctl(vm->vcpu, KVM_SET_GUEST_DEBUG, &step), "KVM_SET_GUEST_DEBUG: %m");
	CHECK(!ioctl(vm->vcpu, KVM_GET_VCPU_EVENTS, &events), "KVM_GET_VCPU_EVENTS: %m");
	memset(&events.exception, 0, sizeof(events.exception));
	CHECK(!ioctl(vm->vcpu, KVM_SET_VCPU_EVENTS, &events), "KVM_SET_VCPU_EVENTS: %m");
}

static void debug(struct vm *vm)
{
	struct kvm_guest_debug on = { .control = KVM_GUESTDBG_ENABLE };
	struct kvm_guest_debug off = {};

	CHECK(!ioctl(vm->vcpu, KVM_SET_GUEST_DEBUG, &on), "KVM_SET_GUEST_DEBUG: %m");
	CHECK(!ioctl(vm->vcpu, KVM_SET_GUEST_DEBUG, &off), "KVM_SET_GUEST_DEBUG: %m");
}

/* Without the handler that SMM wants: pending is all that it gets */
static void smi(struct vm *vm)
{
	struct kvm_vcpu_events events;

	if (ioctl(vm->vcpu, KVM_SMI)) {
		CHECK(errno == ENOTTY || errno == EINVAL, "KVM_SMI: %m");
		return;
	}
	CHECK(!ioctl(vm->vcpu, KVM_GET_VCPU_EVENTS, &events), "KVM_GET_VCPU_EVENTS: %m");
	events.smi.pending = 0;
	events.flags = KVM_VCPUEVENT_VALID_SMM;
	CHECK(!ioctl(vm->vcpu, KVM_SET_VCPU_EVENTS, &events), "KVM_SET_VCPU_EVENTS: %m");
}

static const struct change {
	const char *name;
	void (*make)(struct vm *vm);
	const char *reason;
} changes[] = {
	{ "registers", set_regs, "the VMM changed registers" },
	{ "events", set_events, "the VMM changed registers" },
	{ "LAPIC", set_lapic, "the VMM changed registers" },
	{ "gdbstub", debug, "gdbstub" },
	{ "SMI", smi, "smm=off" },
	{ "registers by the run page", set_regs_by_page, "the VMM changed registers" },
	{ "machine check", machine_check, "a machine check" },
	{ "injected exception", inject, "gdbstub" },
};

struct helper {
	struct vm *vm;
	pthread_t runner;
	pthread_t thread;
	bool stop;
};

static void start_helper(struct helper *helper, void *(*fn)(void *), struct vm *vm)
{
	*helper = (struct helper) { .vm = vm, .runner = pthread_self() };
	CHECK(!pthread_create(&helper->thread, NULL, fn, helper), "pthread_create");
}

static void stop_helper(struct helper *helper)
{
	__atomic_store_n(&helper->stop, true, __ATOMIC_RELEASE);
	pthread_join(helper->thread, NULL);
}

static bool stopped(struct helper *helper)
{
	usleep(1000);
	return __atomic_load_n(&helper->stop, __ATOMIC_ACQUIRE);
}

/* A signal that comes before KVM_RUN does is lost: there will be another */
static void *signal_thread(void *arg)
{
	struct helper *helper = arg;

	while (!stopped(helper))
		pthread_kill(helper->runner, SIGUSR1);
	return NULL;
}

/* Into the guest, which does not end by itself, and out of it again */
static void run_a_while(struct vm *vm, int session, struct kvmft_session_status *status)
{
	struct helper helper;

	start_helper(&helper, signal_thread, vm);
	do {
		CHECK(ioctl(vm->vcpu, KVM_RUN, NULL) < 0 && errno == EINTR, "KVM_RUN: %m");
		kvmft_status_ok(session, status);
	} while (!status->end && !status->taken);
	stop_helper(&helper);
}

static void send_interrupt(struct vm *vm)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = MICRO_VECTOR };

	CHECK(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi) >= 0, "KVM_SIGNAL_MSI: %m");
}

static void *storm_thread(void *arg)
{
	struct helper *helper = arg;

	while (!stopped(helper))
		send_interrupt(helper->vm);
	return NULL;
}

/* To its end, which interrupts bring about */
static void run_on(struct vm *vm, const struct micro *micro, const char *name)
{
	struct helper helper;
	struct rng rng;

	rng_seed(&rng, 1);
	start_helper(&helper, storm_thread, vm);
	CHECK(micro_run(vm, micro, &rng, -1), "%s: the guest does not run on: %m", name);
	stop_helper(&helper);
}

static void recorded_change(const struct change *change)
{
	const struct micro *micro = micro_of("endless");
	struct kvmft_session_status status;
	int log = micro_open_log(), session;
	char reason[300];
	struct vm vm;

	micro_vm(&vm, micro);
	session = kvmft_create_ok(dev, vm.fd);
	CHECK_RET(kvmft_record(session, log, 0), 0, "KVMFT_SESSION_RECORD");
	run_a_while(&vm, session, &status);
	CHECK_EQ(status.end, KVMFT_END_NONE, "end");
	change->make(&vm);
	run_on(&vm, micro, change->name);
	kvmft_status_ok(session, &status);
	micro_reason(status.id, reason, sizeof(reason));
	CHECK(status.end == KVMFT_END_UNSUPPORTED && strstr(reason, change->reason),
	      "%s: end %u, reason '%s'", change->name, status.end, reason);
	close(session);
	vm_destroy(&vm);
	close(log);
}

static void recorded_changes(void)
{
	unsigned int i;

	dev = kvmft_open_ok();
	for (i = 0; i < ARRAY_SIZE(changes); i++)
		recorded_change(&changes[i]);
}

/*
 * An ioeventfd at @port of a recorded guest that writes to MICRO_PORT_WRITE.  Returns how often it
 * was signalled; *@end and @reason tell what became of the session.
 */
static u64 with_ioeventfd(u64 port, u32 *end, char *reason, size_t size)
{
	struct kvm_ioeventfd event = {
		.addr = port, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.flags = KVM_IOEVENTFD_FLAG_PIO,
	};
	const struct micro *micro = micro_of("write");
	struct kvmft_session_status status;
	int log = micro_open_log(), session;
	u64 signals = 0;
	struct rng rng;
	struct vm vm;

	rng_seed(&rng, 1);
	micro_vm(&vm, micro);
	session = kvmft_create_ok(dev, vm.fd);
	CHECK_RET(kvmft_record(session, log, 0), 0, "KVMFT_SESSION_RECORD");
	CHECK(event.fd >= 0, "eventfd: %m");
	CHECK(!ioctl(vm.fd, KVM_IOEVENTFD, &event), "KVM_IOEVENTFD: %m");
	CHECK(micro_run(&vm, micro, &rng, -1), "the guest does not run on: %m");
	kvmft_status_ok(session, &status);
	micro_reason(status.id, reason, size);
	*end = status.end;
	CHECK(read(event.fd, &signals, sizeof(signals)) == sizeof(signals) || errno == EAGAIN,
	      "read: %m");
	close(event.fd);
	close(session);
	vm_destroy(&vm);
	close(log);
	return signals;
}

/* A device that nobody knows, perhaps one that writes memory: once the guest sets it to work */
static void foreign_ioeventfd(void)
{
	char reason[300];
	u64 signals;
	u32 end;

	dev = kvmft_open_ok();
	signals = with_ioeventfd(MICRO_PORT_WRITE + 1, &end, reason, sizeof(reason));
	CHECK(!signals && end == KVMFT_END_NONE, "%llu signals, end %u: %s",
	      (unsigned long long)signals, end, reason);
	signals = with_ioeventfd(MICRO_PORT_WRITE, &end, reason, sizeof(reason));
	CHECK(signals, "none");
	CHECK(end == KVMFT_END_UNSUPPORTED && strstr(reason, "ioeventfd"), "end %u: %s", end,
	      reason);
}

/* In a replay the VMM changes what it did not change before */
static void replayed_change(void)
{
	const struct micro *micro = micro_of("endless");
	struct kvmft_session_status status;
	struct micro_outcome outcome;
	int log = micro_open_log(), session;
	char reason[300];
	struct vm vm;

	dev = kvmft_open_ok();
	micro_record(dev, micro, log, 0, 1, &outcome);
	micro_vm(&vm, micro);
	session = kvmft_create_ok(dev, vm.fd);
	CHECK_RET(kvmft_replay(session, log), 0, "KVMFT_SESSION_REPLAY");
	run_a_while(&vm, session, &status);
	CHECK_EQ(status.end, KVMFT_END_NONE, "end");
	set_regs(&vm);
	run_a_while(&vm, session, &status);
	micro_reason(status.id, reason, sizeof(reason));
	CHECK(status.end == KVMFT_END_DIVERGED && strstr(reason, "the VMM changed registers"),
	      "end %u, reason '%s'", status.end, reason);
	close(session);
	vm_destroy(&vm);
	close(log);
}

static u64 count_of(const struct vm *vm)
{
	return *(volatile u64 *)(vm->mem + GUEST_DATA + MICRO_COUNT);
}

struct closer {
	struct vm *vm;
	int session;
	u64 limit;
};

/* One interrupt waits for the guest to exit; then there is no session any more */
static void *close_thread(void *arg)
{
	struct closer *closer = arg;
	static const u8 bytes[] = "these bytes were queued, too";
	struct kvmft_session_input input = {
		.size = sizeof(input), .addr = GUEST_HEAP + 4090, .data = (uintptr_t)bytes,
		.len = sizeof(bytes),
	};
	struct kvmft_session_status status;
	unsigned int i;

	do {
		kvmft_status_ok(closer->session, &status);
	} while (status.state != KVMFT_STATE_COUNTING);
	send_interrupt(closer->vm);
	CHECK_RET(kvmft_input(closer->session, &input), 0, "KVMFT_SESSION_INPUT");
	close(closer->session);
	CHECK(!memcmp(closer->vm->mem + input.addr, bytes, sizeof(bytes)),
	      "bytes were lost with the session");
	/* The guest leaves its loop at the last of them */
	for (i = 1; i < closer->limit; i++) {
		while (count_of(closer->vm) < i)
			usleep(100);
		send_interrupt(closer->vm);
	}
	return NULL;
}

/* What waits for the end of align_us when the session is closed reaches the guest */
static void queued_inputs(void)
{
	const struct micro *micro = micro_of("endless");
	int log = micro_open_log();
	struct closer closer;
	pthread_t thread;
	struct rng rng;
	struct vm vm;

	dev = kvmft_open_ok();
	rng_seed(&rng, 1);
	micro_vm(&vm, micro);
	closer = (struct closer) {
		.vm = &vm, .session = kvmft_create_ok(dev, vm.fd), .limit = micro->endless,
	};
	CHECK_RET(kvmft_record(closer.session, log, KVMFT_ALIGN_MAX), 0, "KVMFT_SESSION_RECORD");
	CHECK(!pthread_create(&thread, NULL, close_thread, &closer), "pthread_create");
	CHECK(micro_run(&vm, micro, &rng, -1), "the guest does not run on: %m");
	pthread_join(thread, NULL);
	CHECK_EQ(count_of(&vm), micro->endless, "interrupts that reached the guest");
	vm_destroy(&vm);
	close(log);
}

/* KVMFT_SESSION_INPUT with what it can not take */
/* What waits when the VM is destroyed reaches nobody: KVM has no lines any more */
static void destroyed_with_inputs(void)
{
	const struct micro *micro = micro_of("endless");
	struct kvm_irq_level line = { .irq = 5 };
	struct kvmft_session_status status;
	int log = micro_open_log(), session;
	struct vm vm;

	dev = kvmft_open_ok();
	micro_vm(&vm, micro);
	session = kvmft_create_ok(dev, vm.fd);
	CHECK_RET(kvmft_record(session, log, KVMFT_ALIGN_MAX), 0, "KVMFT_SESSION_RECORD");
	run_a_while(&vm, session, &status);
	for (line.level = 1; line.level < 20; line.level++) {
		struct kvm_irq_level change = { .irq = line.irq, .level = line.level & 1 };

		CHECK(!ioctl(vm.fd, KVM_IRQ_LINE, &change), "KVM_IRQ_LINE: %m");
	}
	vm_destroy(&vm);
	kvmft_status_ok(session, &status);
	CHECK_EQ(status.end, KVMFT_END_VM_DESTROYED, "end");
	CHECK_EQ(status.inputs, 0, "inputs applied");
	close(session);
	close(log);
}

/* Features that no log explains are found where the VMM gives them to a vCPU late */
static void cpuid_after_arming(void)
{
	enum { MAX = 128 };
	const struct micro *micro = micro_of("endless");
	struct kvmft_session_status status;
	int log = micro_open_log(), session;
	struct kvm_cpuid2 *cpuid;
	char reason[300];
	struct vm vm;
	u32 i;

	dev = kvmft_open_ok();
	micro_vm(&vm, micro);
	session = kvmft_create_ok(dev, vm.fd);
	CHECK_RET(kvmft_record(session, log, 0), 0, "KVMFT_SESSION_RECORD");
	cpuid = calloc(1, sizeof(*cpuid) + MAX * sizeof(cpuid->entries[0]));
	CHECK(cpuid, "no memory");
	cpuid->nent = MAX;
	CHECK(!ioctl(vm.kvm, KVM_GET_SUPPORTED_CPUID, cpuid), "KVM_GET_SUPPORTED_CPUID: %m");
	for (i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == 0x40000001)
			cpuid->entries[i].eax = 0x31237648;	/* "Hv#1" */
	CHECK(!ioctl(vm.vcpu, KVM_SET_CPUID2, cpuid), "KVM_SET_CPUID2: %m");
	free(cpuid);
	run_on(&vm, micro, "Hyper-V");
	kvmft_status_ok(session, &status);
	micro_reason(status.id, reason, sizeof(reason));
	CHECK(status.end == KVMFT_END_UNSUPPORTED && strstr(reason, "Hyper-V"),
	      "end %u, reason '%s'", status.end, reason);
	close(session);
	vm_destroy(&vm);
	close(log);
}

static void bad_inputs(void)
{
	static const u8 bytes[KVMFT_INPUT_MAX + 1];
	const struct kvmft_session_input good = {
		.size = sizeof(good), .addr = GUEST_HEAP, .data = (uintptr_t)bytes, .len = 8,
	};
	struct kvmft_session_input input;
	int log = micro_open_log(), session, i;
	struct vm vm;

	dev = kvmft_open_ok();
	micro_vm(&vm, micro_of("branches"));
	session = kvmft_create_ok(dev, vm.fd);
	input = good;
	CHECK_RET(kvmft_input(session, &input), -EOPNOTSUPP, "input for a session that counts");
	CHECK_RET(kvmft_record(session, log, 0), 0, "KVMFT_SESSION_RECORD");

#define BAD(err, field, value) do {								\
	input = good;										\
	input.field = value;									\
	CHECK_RET(kvmft_input(session, &input), err, #field " = " #value);			\
} while (0)
	BAD(-EINVAL, size, 8);
	BAD(-EINVAL, flags, 1);
	BAD(-EINVAL, len, 0);
	BAD(-EINVAL, irq, 3);
	BAD(-EINVAL, pad, 1);
	BAD(-EINVAL, reserved[3], 1);
	BAD(-ERANGE, len, KVMFT_INPUT_MAX + 1);
	BAD(-ERANGE, len, ~0U);
	BAD(-EFAULT, data, 1);
	BAD(-EFAULT, data, ~0ULL);
	BAD(-ERANGE, addr, VM_MEM);
	BAD(-ERANGE, addr, VM_MEM - 4);
	BAD(-ERANGE, addr, ~0ULL);
	BAD(-ERANGE, addr, ~0ULL - 8);
#undef BAD
	input = good;
	input.irq = KVMFT_IRQ_LINE;
	input.level = 2;
	CHECK_RET(kvmft_input(session, &input), -EINVAL, "level = 2");

	/* Until the queue is full, which is said */
	input = good;
	input.len = KVMFT_INPUT_MAX;
	for (i = 0; i < 1000 && !kvmft_input(session, &input); i++)
		;
	CHECK(i > 0 && i < 1000, "%d inputs fit", i);
	CHECK_RET(kvmft_input(session, &input), -EAGAIN, "input for a full queue");
	close(session);
	vm_destroy(&vm);
	close(log);
}

static void setup(void)
{
	kvmft_setup();
	catch_signal(SIGUSR1);
}

static const struct tap_case cases[] = {
	{ "recorded_changes", recorded_changes, 0 },
	{ "foreign_ioeventfd", foreign_ioeventfd, 0 },
	{ "replayed_change", replayed_change, 0 },
	{ "queued_inputs", queued_inputs, 0 },
	{ "destroyed_with_inputs", destroyed_with_inputs, 0 },
	{ "cpuid_after_arming", cpuid_after_arming, 0 },
	{ "bad_inputs", bad_inputs, 0 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, &KVMFT_SUITE(cases, setup, kvmft_teardown));
}
