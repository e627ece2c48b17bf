// SPDX-License-Identifier: GPL-2.0
/*
 * Record micro guests, replay them in another VM, and compare what they come to.  The
 * environment names rounds (KVMFT_ROUNDS), seed (KVMFT_SEED) and align_us (KVMFT_ALIGN).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvmft.h"
#include "micro.h"
#include "util.h"

static int dev;

/* How a run of a micro guest ended */
struct outcome {
	struct kvm_regs regs;
	u64 memory;
	u64 interrupts;
	struct kvmft_session_status status;
};

struct storm {
	struct vm *vm;
	pthread_t thread;
	u64 seed;
	bool stop;
	u64 sent;
};

/* Interrupts at random moments; all of them by different ways into KVM */
static void *storm_thread(void *arg)
{
	struct storm *storm = arg;
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = MICRO_VECTOR };
	struct rng rng;

	rng_seed(&rng, storm->seed);
	while (!__atomic_load_n(&storm->stop, __ATOMIC_ACQUIRE)) {
		CHECK(ioctl(storm->vm->fd, KVM_SIGNAL_MSI, &msi) >= 0, "KVM_SIGNAL_MSI: %m");
		storm->sent++;
		usleep(rng_between(&rng, 1, 300));
	}
	return NULL;
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

/* Run until the guest is done; false: KVM_RUN fails, or goes no further, with errno */
static bool run_on(struct vm *vm, struct rng *rng, int session)
{
	struct pollfd ended = { .fd = session };
	struct kvm_run *run = vm->run;

	for (;;) {
		if (ioctl(vm->vcpu, KVM_RUN, NULL) < 0) {
			if (errno != EINTR)
				return false;
			if (poll(&ended, 1, 0) > 0)
				return false;
			continue;
		}
		if (run->exit_reason == KVM_EXIT_IO && run->io.port == PORT_DONE)
			return true;
		if (run->exit_reason != KVM_EXIT_MMIO &&
		    !(run->exit_reason == KVM_EXIT_IO &&
		      (run->io.port == PORT_NOP || run->io.port == MICRO_PORT_VALUE ||
		       run->io.port == MICRO_PORT_STRING)))
			tap_fail("the guest left with reason %u, port %#x", run->exit_reason,
				 run->exit_reason == KVM_EXIT_IO ? run->io.port : 0);
		answer(vm, rng);
	}
}

static bool run_guest(struct vm *vm, struct rng *rng, int session)
{
	struct watch watch = { .session = session, .runner = pthread_self() };
	bool done;

	CHECK(!pthread_create(&watch.thread, NULL, watch_thread, &watch), "pthread_create");
	done = run_on(vm, rng, session);
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

static void get_outcome(struct vm *vm, int session, struct outcome *outcome)
{
	vm_get_regs(vm, &outcome->regs);
	outcome->memory = hash_memory(vm);
	outcome->interrupts = *(u64 *)(vm->mem + GUEST_DATA + MICRO_COUNT);
	kvmft_status_ok(session, &outcome->status);
}

static void record(const struct micro *micro, int log, u32 align_us, u64 seed,
		   struct outcome *outcome)
{
	struct storm storm = { .seed = seed };
	struct rng rng;
	struct vm vm;
	int session;

	rng_seed(&rng, seed);
	micro_vm(&vm, micro);
	session = kvmft_create_ok(dev, vm.fd);
	CHECK_RET(kvmft_record(session, log, align_us), 0, "KVMFT_SESSION_RECORD");
	storm.vm = &vm;
	if (micro->storm)
		CHECK(!pthread_create(&storm.thread, NULL, storm_thread, &storm), "pthread_create");
	CHECK(run_guest(&vm, &rng, session), "the recording ended: %m");
	__atomic_store_n(&storm.stop, true, __ATOMIC_RELEASE);
	if (micro->storm)
		pthread_join(storm.thread, NULL);
	get_outcome(&vm, session, outcome);
	close(session);
	vm_destroy(&vm);
}

static void get_reason(u64 id, char *text, size_t size)
{
	char path[100];

	snprintf(path, sizeof(path), "/sys/class/misc/kvmft/session%llu/reason",
		 (unsigned long long)id);
	if (read_file(path, text, size))
		snprintf(text, size, "no reason in %s", path);
}

static void replay(const struct micro *micro, int log, u64 seed, struct outcome *outcome)
{
	char reason[300];
	struct rng rng;
	struct vm vm;
	int session;

	/* Its devices give other answers */
	rng_seed(&rng, ~seed);
	micro_vm(&vm, micro);
	session = kvmft_create_ok(dev, vm.fd);
	CHECK_RET(kvmft_replay(session, log), 0, "KVMFT_SESSION_REPLAY");
	if (!run_guest(&vm, &rng, session)) {
		kvmft_status_ok(session, &outcome->status);
		get_reason(outcome->status.id, reason, sizeof(reason));
		tap_fail("%s: replay ended (%u): %s", micro->name, outcome->status.end, reason);
	}
	get_outcome(&vm, session, outcome);
	close(session);
	vm_destroy(&vm);
}

static void check_same(const struct outcome *a, const struct outcome *b)
{
	CHECK_EQ(b->regs.rbx, a->regs.rbx, "rbx, the guest's result,");
	CHECK(!memcmp(&a->regs, &b->regs, sizeof(a->regs)), "registers differ");
	CHECK_EQ(b->interrupts, a->interrupts, "number of interrupts");
	CHECK(a->memory == b->memory, "memory differs");
	CHECK_EQ(b->status.seq, a->status.seq, "number of entries");
	CHECK_EQ(b->status.inputs, a->status.inputs, "number of inputs");
	CHECK_EQ(b->status.landings, a->status.landings, "number of landings");
}

static int open_log(void)
{
	int fd = memfd_create("log", MFD_CLOEXEC);

	CHECK(fd >= 0, "memfd_create: %m");
	return fd;
}

static void round_of(const struct micro *micro, u32 align_us, u64 seed)
{
	struct outcome first, second;
	int log = open_log();

	record(micro, log, align_us, seed, &first);
	replay(micro, log, seed, &second);
	check_same(&first, &second);
	tap_diag("%s: %llu entries, %llu bytes, %llu interrupts, %llu landings", micro->name,
		 (unsigned long long)first.status.seq, (unsigned long long)first.status.log_bytes,
		 (unsigned long long)first.interrupts, (unsigned long long)first.status.landings);
	close(log);
}

static void run_micro(const char *name)
{
	u64 rounds = env_u64("KVMFT_ROUNDS", 2), seed = env_u64("KVMFT_SEED", 1), i;
	const struct micro *micro = micros;

	dev = kvmft_open_ok();
	while (strcmp(micro->name, name))
		micro++;
	for (i = 0; i < rounds; i++)
		round_of(micro, env_u64("KVMFT_ALIGN", 0), seed + i);
}

#define MICRO_CASE(name)	static void case_##name(void) { run_micro(#name); }
MICRO_CASE(tsc)
MICRO_CASE(pio)
MICRO_CASE(string)
MICRO_CASE(mmio)
MICRO_CASE(chips)
MICRO_CASE(branches)
MICRO_CASE(calls)
MICRO_CASE(indirect)
MICRO_CASE(endless)
MICRO_CASE(rep)
MICRO_CASE(shadow)
MICRO_CASE(flags)
MICRO_CASE(debug)
MICRO_CASE(halt)
MICRO_CASE(timer)
MICRO_CASE(touch)

static void setup(void)
{
	kvmft_setup();
	catch_signal(SIGUSR1);
}

static const struct tap_case cases[] = {
	{ "tsc", case_tsc, 0 },
	{ "pio", case_pio, 0 },
	{ "string", case_string, 0 },
	{ "mmio", case_mmio, 0 },
	{ "chips", case_chips, 0 },
	{ "branches", case_branches, 0 },
	{ "calls", case_calls, 0 },
	{ "indirect", case_indirect, 0 },
	{ "endless", case_endless, 0 },
	{ "rep", case_rep, 0 },
	{ "shadow", case_shadow, 0 },
	{ "flags", case_flags, 0 },
	{ "debug", case_debug, 0 },
	{ "halt", case_halt, 0 },
	{ "timer", case_timer, 0 },
	{ "touch", case_touch, 0 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, &KVMFT_SUITE(cases, setup, kvmft_teardown));
}
