// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "microrun.h"

int micro_open_log(void)
{
	int fd = memfd_create("log", MFD_CLOEXEC);

	CHECK(fd >= 0, "memfd_create: %m");
	return fd;
}

struct storm {
	const struct micro *micro;
	struct vm *vm;
	int session;
	pthread_t runner;
	pthread_t thread;
	u64 seed;
	bool stop;
};

/* Bytes and an interrupt, as by a device of the VMM */
static void send_input(struct storm *storm, struct rng *rng)
{
	static u64 words[1024];
	struct kvmft_session_input input = {
		.size = sizeof(input), .addr = GUEST_HEAP + 8 * rng_between(rng, 0, 4),
		.data = (uintptr_t)words, .len = 8 * rng_between(rng, 1, ARRAY_SIZE(words)),
		.irq = KVMFT_IRQ_MSI, .msi_addr = 0xfee00000, .msi_data = MICRO_VECTOR,
	};
	unsigned int i;
	int ret;

	for (i = 0; i < input.len / 8; i++)
		words[i] = rng_next(rng);
	ret = kvmft_input(storm->session, &input);
	CHECK(!ret || ret == -EAGAIN, "KVMFT_SESSION_INPUT: %s", strerror(-ret));
}

static u64 count_of(const struct vm *vm)
{
	return *(volatile u64 *)(vm->mem + GUEST_DATA + MICRO_COUNT);
}

/* The guest is to get on with its work on a slow host, too: mostly wait for it to notice */
static void pause_storm(struct storm *storm, struct rng *rng, u64 count)
{
	/* Few: far from one another */
	u32 longest = micro_limit(storm->micro) ? 3000 : 300;
	bool wait = rng_between(rng, 0, 3);

	do {
		usleep(rng_between(rng, 1, longest));
	} while (wait && count_of(storm->vm) == count &&
		 !__atomic_load_n(&storm->stop, __ATOMIC_ACQUIRE));
}

/* Interrupts at random moments, by one of the ways into KVM */
static void *storm_thread(void *arg)
{
	struct storm *storm = arg;
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = MICRO_VECTOR };
	u64 count, limit = micro_limit(storm->micro);
	struct rng rng;

	rng_seed(&rng, storm->seed);
	while (!__atomic_load_n(&storm->stop, __ATOMIC_ACQUIRE)) {
		count = count_of(storm->vm);
		if (limit && count >= limit)
			break;
		if (storm->micro->input)
			send_input(storm, &rng);
		else if (storm->micro->nmi || storm->micro->poke)
			pthread_kill(storm->runner, SIGUSR1);
		if (!storm->micro->input && !storm->micro->nmi)
			CHECK(ioctl(storm->vm->fd, KVM_SIGNAL_MSI, &msi) >= 0,
			      "KVM_SIGNAL_MSI: %m");
		pause_storm(storm, &rng, count);
	}
	return NULL;
}

/* Set what can be set to what it is */
static void poke(struct vm *vm)
{
	struct kvm_vcpu_events events;
	struct kvm_lapic_state lapic;
	struct kvm_debugregs debug;
	struct kvm_mp_state state;
	struct kvm_sregs sregs;
	struct kvm_xsave xsave;
	struct kvm_regs regs;
	struct kvm_xcrs xcrs;
	struct kvm_fpu fpu;

#define POKE(get, set, what)								\
	CHECK(!ioctl(vm->vcpu, get, what) && !ioctl(vm->vcpu, set, what), #set ": %m")
	POKE(KVM_GET_REGS, KVM_SET_REGS, &regs);
	POKE(KVM_GET_FPU, KVM_SET_FPU, &fpu);
	POKE(KVM_GET_XSAVE, KVM_SET_XSAVE, &xsave);
	POKE(KVM_GET_XCRS, KVM_SET_XCRS, &xcrs);
	POKE(KVM_GET_SREGS, KVM_SET_SREGS, &sregs);
	POKE(KVM_GET_MP_STATE, KVM_SET_MP_STATE, &state);
	POKE(KVM_GET_LAPIC, KVM_SET_LAPIC, &lapic);
	POKE(KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, &events);
	POKE(KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, &debug);
#undef POKE
}

static void interrupted(struct vm *vm, const struct micro *micro)
{
	if (micro->poke)
		poke(vm);
	if (micro->nmi)
		CHECK(!ioctl(vm->vcpu, KVM_NMI), "KVM_NMI: %m");
}

/* What leaves the guest is a byte more each time: nothing is lost, or comes twice */
static void take_output(struct vm *vm)
{
	u8 byte = *((u8 *)vm->run + vm->run->io.data_offset);

	CHECK_EQ(byte, (u8)(vm->outputs + 1), "the next output");
	__atomic_store_n(&vm->outputs, vm->outputs + 1, __ATOMIC_RELEASE);
}

static void answer(struct vm *vm, struct rng *rng)
{
	struct kvm_run *run = vm->run;
	u8 *data = run->mmio.data;
	u32 i, len = run->mmio.len;

	if (run->exit_reason == KVM_EXIT_IO) {
		data = (u8 *)run + run->io.data_offset;
		len = run->io.size * run->io.count;
		if (run->io.direction == KVM_EXIT_IO_OUT)
			return;
	} else if (run->mmio.is_write) {
		return;
	}
	for (i = 0; i < len; i++)
		data[i] = rng_next(rng);
}

/* A replay that is over holds the vCPU in KVM_RUN: a signal gets it out */
struct watch {
	int session;
	pthread_t runner;
	pthread_t thread;
	bool stop;
};

static void *watch_thread(void *arg)
{
	struct watch *watch = arg;
	struct pollfd pfd = { .fd = watch->session };

	while (!__atomic_load_n(&watch->stop, __ATOMIC_ACQUIRE)) {
		if (poll(&pfd, 1, 20) > 0) {
			pthread_kill(watch->runner, SIGUSR1);
			usleep(2000);
		}
	}
	return NULL;
}

bool micro_run(struct vm *vm, const struct micro *micro, struct rng *rng, int session)
{
	struct pollfd ended = { .fd = session };
	struct kvm_run *run = vm->run;

	for (;;) {
		if (ioctl(vm->vcpu, KVM_RUN, NULL) < 0) {
			if (errno != EINTR)
				return false;
			if (poll(&ended, 1, 0) > 0)
				return false;
			interrupted(vm, micro);
			continue;
		}
		if (run->exit_reason == KVM_EXIT_SHUTDOWN ||
		    (run->exit_reason == KVM_EXIT_IO && run->io.port == MICRO_PORT_RESET)) {
			micro_restart(vm, micro);
			continue;
		}
		if (run->exit_reason == KVM_EXIT_IO && run->io.port == PORT_DONE)
			return true;
		if (run->exit_reason == KVM_EXIT_X86_RDMSR &&
		    run->msr.index == MICRO_MSR_ASKED) {
			run->msr.data = rng_next(rng);
			continue;
		}
		if (run->exit_reason == KVM_EXIT_IO &&
		    (run->io.port == MICRO_PORT_OUTPUT || run->io.port == MICRO_PORT_WRITE)) {
			take_output(vm);
			continue;
		}
		/* Whatever the guest wants: it is run again */
		if (run->exit_reason == KVM_EXIT_IO && run->io.port == MICRO_PORT_SLEEP)
			continue;
		if (run->exit_reason != KVM_EXIT_MMIO &&
		    !(run->exit_reason == KVM_EXIT_IO &&
		      (run->io.port == PORT_NOP || run->io.port == MICRO_PORT_VALUE ||
		       run->io.port == MICRO_PORT_STRING)))
			tap_fail("the guest left with reason %u, port %#x", run->exit_reason,
				 run->exit_reason == KVM_EXIT_IO ? run->io.port : 0);
		answer(vm, rng);
	}
}

static bool run_guest(struct vm *vm, const struct micro *micro, struct rng *rng, int session)
{
	struct watch watch = { .session = session, .runner = pthread_self() };
	bool done;

	CHECK(!pthread_create(&watch.thread, NULL, watch_thread, &watch), "pthread_create");
	done = micro_run(vm, micro, rng, session);
	__atomic_store_n(&watch.stop, true, __ATOMIC_RELEASE);
	pthread_join(watch.thread, NULL);
	return done;
}

static u64 hash_memory(const struct vm *vm)
{
	const u64 *word = (const u64 *)vm->mem;
	u64 hash = 0xcbf29ce484222325ULL;
	size_t i;

	for (i = 0; i < VM_MEM / 8; i++)
		hash = (hash ^ word[i]) * 0x100000001b3ULL;
	return hash;
}

static void get_outcome(struct vm *vm, int session, struct micro_outcome *outcome)
{
	vm_get_regs(vm, &outcome->regs);
	outcome->memory = hash_memory(vm);
	outcome->interrupts = count_of(vm);
	kvmft_status_ok(session, &outcome->status);
}

/* Record, with what begins it left to @begin */
static void record_with(int dev, const struct micro *micro, void (*begin)(int session, void *arg),
			void *arg, u64 seed, struct micro_outcome *outcome)
{
	struct storm storm = { .micro = micro, .runner = pthread_self(), .seed = seed };
	struct kvm_irq_level raised = { .irq = MICRO_GSI, .level = 1 };
	struct rng rng;
	struct vm vm;
	int session;

	rng_seed(&rng, seed);
	micro_vm(&vm, micro);
	session = kvmft_create_ok(dev, vm.fd);
	begin(session, arg);
	if (micro->level)
		CHECK(!ioctl(vm.fd, KVM_IRQ_LINE, &raised), "KVM_IRQ_LINE: %m");
	storm.vm = &vm;
	storm.session = session;
	if (micro->storm)
		CHECK(!pthread_create(&storm.thread, NULL, storm_thread, &storm), "pthread_create");
	CHECK(run_guest(&vm, micro, &rng, session), "the recording ended: %m");
	__atomic_store_n(&storm.stop, true, __ATOMIC_RELEASE);
	if (micro->storm)
		pthread_join(storm.thread, NULL);
	get_outcome(&vm, session, outcome);
	close(session);
	vm_destroy(&vm);
}

void micro_reason(u64 id, char *text, size_t size)
{
	char path[100];

	snprintf(path, sizeof(path), "/sys/class/misc/kvmft/session%llu/reason",
		 (unsigned long long)id);
	if (read_file(path, text, size))
		snprintf(text, size, "no reason in %s", path);
}

static bool replay_with(int dev, const struct micro *micro, void (*begin)(int session, void *arg),
			void *arg, u64 seed, struct micro_outcome *outcome, char *reason,
			size_t size)
{
	struct rng rng;
	struct vm vm;
	int session;
	bool done;

	/* Its devices give other answers */
	rng_seed(&rng, ~seed);
	micro_vm(&vm, micro);
	session = kvmft_create_ok(dev, vm.fd);
	begin(session, arg);
	done = run_guest(&vm, micro, &rng, session);
	if (done) {
		get_outcome(&vm, session, outcome);
	} else {
		kvmft_status_ok(session, &outcome->status);
		micro_reason(outcome->status.id, reason, size);
	}
	close(session);
	vm_destroy(&vm);
	return done;
}

struct begin_record {
	int log;
	u32 align_us;
};

static void begin_record(int session, void *arg)
{
	const struct begin_record *record = arg;

	CHECK_RET(kvmft_record(session, record->log, record->align_us), 0,
		  "KVMFT_SESSION_RECORD");
}

static void begin_replay(int session, void *arg)
{
	CHECK_RET(kvmft_replay(session, *(int *)arg), 0, "KVMFT_SESSION_REPLAY");
}

static void begin_pair(int session, void *arg)
{
	CHECK_RET(kvmft_pair(session, arg), 0, "KVMFT_SESSION_PAIR");
}

void micro_record(int dev, const struct micro *micro, int log, u32 align_us, u64 seed,
		  struct micro_outcome *outcome)
{
	struct begin_record record = { .log = log, .align_us = align_us };

	record_with(dev, micro, begin_record, &record, seed, outcome);
}

bool micro_replay(int dev, const struct micro *micro, int log, u64 seed,
		  struct micro_outcome *outcome, char *reason, size_t size)
{
	return replay_with(dev, micro, begin_replay, &log, seed, outcome, reason, size);
}

void micro_primary(int dev, const struct micro *micro, struct kvmft_session_pair *pair, u64 seed,
		   struct micro_outcome *outcome)
{
	record_with(dev, micro, begin_pair, pair, seed, outcome);
}

bool micro_backup(int dev, const struct micro *micro, struct kvmft_session_pair *pair, u64 seed,
		  struct micro_outcome *outcome, char *reason, size_t size)
{
	return replay_with(dev, micro, begin_pair, pair, seed, outcome, reason, size);
}

void micro_check_same(const struct micro_outcome *a, const struct micro_outcome *b)
{
	CHECK_EQ(b->regs.rbx, a->regs.rbx, "rbx, the guest's result,");
	CHECK(!memcmp(&a->regs, &b->regs, sizeof(a->regs)), "registers differ");
	CHECK_EQ(b->interrupts, a->interrupts, "number of interrupts");
	CHECK(a->memory == b->memory, "memory differs");
	CHECK_EQ(b->status.seq, a->status.seq, "number of entries");
	CHECK_EQ(b->status.inputs, a->status.inputs, "number of inputs");
	CHECK_EQ(b->status.landings, a->status.landings, "number of landings");
}
