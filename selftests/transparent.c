// SPDX-License-Identifier: GPL-2.0
/*
 * What a guest sees of its own state is the same on bare KVM, in a recording, and in a replay
 * that lands everywhere.  The guests are such that where interrupts hit makes no difference to
 * what they come to.
 *
 * The environment has seed (KVMFT_SEED), rounds (KVMFT_ROUNDS), and how many microseconds at
 * most pass between interrupts (KVMFT_GAP).
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "kvmft.h"
#include "microrun.h"
#include "transparent.h"
#include "util.h"

/* Interrupts that are sent and not applied yet: far less than a recording can keep */
#define PENDING_MAX	32

/*
 * Interrupts in all: where one comes at each exit, a guest that makes many exits takes very long
 */
#define STORM_MAX	1500

/* Branches between two landings of a recording, at least: PROGRESS_MIN in kvmft/record.c */
#define PROGRESS_MIN	16

#define TRACING		"/sys/kernel/tracing"

static int dev;

/* How a value compares with that of the same guest on bare KVM */
enum relation {
	SAME = 1,
	ZERO,		/* is zero there, too */
};

/**
 * struct value - what a guest leaves at GUEST_DATA
 * @relation: to that of bare KVM; 0 ends a list
 * @offset: of it
 * @name: for people
 */
struct value {
	enum relation relation;
	u32 offset;
	const char *name;
};

static const struct value interrupt_values[] = {
	{ ZERO, BAD, "number of interrupts with wrong flags in their frame" },
	{ ZERO, BAD_FLAGS, "wrong flags in an interrupt's frame" },
	{ ZERO, BAD_RIP, "address where an interrupt had wrong flags" },
	{}
};

static const struct value exception_values[] = {
	{ ZERO, WRONG, "number of exceptions with wrong TF or RF in their frame" },
	{ ZERO, WRONG_FLAGS, "wrong flags in an exception's frame" },
	{ SAME, EXCEPTIONS, "number of exceptions" },
	{}
};

static const struct value debug_values[] = {
	{ SAME, EXCEPTIONS, "number of debug exceptions" },
	{ SAME, HASH_RIP, "hash of the addresses of debug exceptions" },
	{ SAME, HASH_FLAGS, "hash of the flags in the frames of debug exceptions" },
	{ SAME, HASH_DR6, "hash of DR6 in debug exceptions" },
	{ SAME, HASH_DR7, "hash of DR7 in debug exceptions" },
	{}
};

static const struct value tsc_values[] = {
	{ ZERO, BACK, "how often the TSC went back" },
	{}
};

static const struct guest {
	struct micro micro;
	const struct value *values;
} guests[] = {
	{ { .name = "flags", .entry = transparent_flags, .iterations = 200000 }, exception_values },
	{ { .name = "syscall", .entry = transparent_syscall, .iterations = 60000 },
	  exception_values },
	{ { .name = "debug", .entry = transparent_debug, .iterations = 300 }, debug_values },
	{ { .name = "break", .entry = transparent_break, .iterations = 1000 }, debug_values },
	{ { .name = "watch", .entry = transparent_watch, .iterations = 1000 }, debug_values },
	{ { .name = "step", .entry = transparent_step, .iterations = 100 }, debug_values },
	{ { .name = "tsc", .entry = transparent_tsc, .iterations = 500 }, tsc_values },
};

#define DATA_SIZE	256

/* How a run of a guest ended */
struct outcome {
	struct kvm_regs regs;
	u64 data[DATA_SIZE / 8];
	struct kvmft_session_status status;
};

/* A run of a guest; a thread beside it sends interrupts, or ends it when its session is over */
struct run {
	struct vm vm;
	u64 seed;
	bool storm;
	int session;
	pthread_t runner;
	pthread_t side;
	bool stop;
};

static void *side_thread(void *arg)
{
	struct run *run = arg;
	struct kvm_msi msi = { .address_lo = GUEST_APIC, .data = MICRO_VECTOR };
	const u64 *runs = (u64 *)(run->vm.mem + GUEST_DATA + RUNS);
	struct pollfd over = { .fd = run->session };
	u64 gap = env_u64("KVMFT_GAP", 30), sent = 0;
	struct kvmft_session_status status = {};
	struct rng rng;

	rng_seed(&rng, run->seed);
	wait_until(!run->storm || __atomic_load_n(runs, __ATOMIC_ACQUIRE), "the guest to run");
	prctl(PR_SET_TIMERSLACK, 1);
	while (!__atomic_load_n(&run->stop, __ATOMIC_ACQUIRE)) {
		if (poll(&over, 1, run->storm ? 0 : 20) > 0) {
			pthread_kill(run->runner, SIGUSR1);
			usleep(2000);
			continue;
		}
		if (run->session >= 0)
			kvmft_status_ok(run->session, &status);
		if (run->storm && sent < STORM_MAX &&
		    (run->session < 0 || sent < status.inputs + PENDING_MAX)) {
			CHECK(ioctl(run->vm.fd, KVM_SIGNAL_MSI, &msi) >= 0, "KVM_SIGNAL_MSI: %m");
			sent++;
		}
		usleep(rng_between(&rng, 1, gap));
	}
	return NULL;
}

static bool run_guest(struct run *run, const struct guest *guest)
{
	struct rng rng;
	bool done;

	rng_seed(&rng, run->seed);
	run->runner = pthread_self();
	CHECK(!pthread_create(&run->side, NULL, side_thread, run), "pthread_create");
	done = micro_run(&run->vm, &guest->micro, &rng, run->session);
	__atomic_store_n(&run->stop, true, __ATOMIC_RELEASE);
	pthread_join(run->side, NULL);
	return done;
}

/* The first of @values that is not zero, and has to be; for the end of a message */
static void tell_wrong(const struct outcome *outcome, const struct value *values, char *text,
		       size_t size)
{
	const struct value *value;
	u64 got;

	for (value = values; value->relation && !*text; value++) {
		got = outcome->data[value->offset / 8];
		if (value->relation == ZERO && got)
			snprintf(text, size, "; %s is %#llx", value->name, (unsigned long long)got);
	}
}

/* Run it to its end; what it came to */
static void finish(struct run *run, const struct guest *guest, const char *how,
		   struct outcome *outcome)
{
	char reason[300] = "no session", wrong[200] = "";
	bool done = run_guest(run, guest);

	memset(outcome, 0, sizeof(*outcome));
	memcpy(outcome->data, run->vm.mem + GUEST_DATA, sizeof(outcome->data));
	if (run->session >= 0)
		kvmft_status_ok(run->session, &outcome->status);
	if (!done || outcome->status.end) {
		micro_reason(outcome->status.id, reason, sizeof(reason));
		tell_wrong(outcome, interrupt_values, wrong, sizeof(wrong));
		tell_wrong(outcome, guest->values, wrong, sizeof(wrong));
		tap_fail("%s, %s, ended early (%u): %s%s", guest->micro.name, how,
			 outcome->status.end, reason, wrong);
	}
	vm_get_regs(&run->vm, &outcome->regs);
	if (run->session >= 0)
		close(run->session);
	vm_destroy(&run->vm);
}

static void run_bare(const struct guest *guest, u64 seed, struct outcome *outcome)
{
	struct run run = { .seed = seed, .storm = true, .session = -1 };

	micro_vm(&run.vm, &guest->micro);
	finish(&run, guest, "bare", outcome);
}

static void run_recorded(const struct guest *guest, int log, u64 seed,
			 struct outcome *outcome)
{
	struct run run = { .seed = seed, .storm = true };

	micro_vm(&run.vm, &guest->micro);
	run.session = kvmft_create_ok(dev, run.vm.fd);
	CHECK_RET(kvmft_record(run.session, log, 0), 0, "KVMFT_SESSION_RECORD");
	finish(&run, guest, "recorded", outcome);
}

static void run_replayed(const struct guest *guest, int log, u64 seed,
			 struct outcome *outcome)
{
	struct run run = { .seed = seed };

	micro_vm(&run.vm, &guest->micro);
	run.session = kvmft_create_ok(dev, run.vm.fd);
	CHECK_RET(kvmft_replay(run.session, log), 0, "KVMFT_SESSION_REPLAY");
	finish(&run, guest, "replayed", outcome);
}

static void check_values(const struct guest *guest, const struct value *value, const char *how,
			 const struct outcome *bare, const struct outcome *outcome)
{
	u64 got, want;

	for (; value->relation; value++) {
		got = outcome->data[value->offset / 8];
		want = value->relation == ZERO ? 0 : bare->data[value->offset / 8];
		CHECK(got == want, "%s, %s: %s is %#llx, not %#llx", guest->micro.name, how,
		      value->name, (unsigned long long)got, (unsigned long long)want);
	}
}

/* What the guest saw: by name, and then all of it */
static void check_seen(const struct guest *guest, const char *how, const struct outcome *bare,
		       const struct outcome *outcome)
{
	tap_diag("%s, %s: %llu interrupts (%llu in ring 3), %llu exceptions, %llu landings",
		 guest->micro.name, how, (unsigned long long)outcome->data[INTERRUPTS / 8],
		 (unsigned long long)outcome->data[RING_3 / 8],
		 (unsigned long long)outcome->data[EXCEPTIONS / 8],
		 (unsigned long long)outcome->status.landings);
	check_values(guest, interrupt_values, how, bare, outcome);
	check_values(guest, guest->values, how, bare, outcome);
	/* All of it, unless it reads clocks */
	CHECK(guest->values == tsc_values || outcome->regs.rbx == bare->regs.rbx,
	      "%s, %s: hash of what the guest saw is %#llx, not %#llx", guest->micro.name, how,
	      outcome->regs.rbx, bare->regs.rbx);
}

static void round_of(const struct guest *guest, u64 seed)
{
	struct outcome bare, recorded, replayed;
	int log = micro_open_log();

	run_bare(guest, seed, &bare);
	check_seen(guest, "bare", &bare, &bare);
	run_recorded(guest, log, seed, &recorded);
	check_seen(guest, "recorded", &bare, &recorded);
	CHECK(recorded.status.landings * PROGRESS_MIN <=
	      recorded.status.cond + recorded.status.taken,
	      "%s: %llu landings in %llu branches: interrupts keep the guest from getting on",
	      guest->micro.name, (unsigned long long)recorded.status.landings,
	      (unsigned long long)(recorded.status.cond + recorded.status.taken));
	run_replayed(guest, log, seed, &replayed);
	check_seen(guest, "replayed", &bare, &replayed);
	CHECK(!memcmp(&recorded.regs, &replayed.regs, sizeof(recorded.regs)),
	      "%s: registers of recording and replay differ", guest->micro.name);
	CHECK(!memcmp(&recorded.data, &replayed.data, sizeof(recorded.data)),
	      "%s: memory of recording and replay differs", guest->micro.name);
	CHECK_EQ(replayed.status.landings, recorded.status.landings, "number of landings");
	close(log);
}

static void run_case(const char *name)
{
	u64 rounds = env_u64("KVMFT_ROUNDS", 2), seed = env_u64("KVMFT_SEED", 1), i;
	const struct guest *guest = guests;

	dev = kvmft_open_ok();
	while (strcmp(guest->micro.name, name))
		guest++;
	for (i = 0; i < rounds; i++)
		round_of(guest, seed + i);
}

#define GUEST_CASE(name)	static void case_##name(void) { run_case(#name); }
GUEST_CASE(flags)
GUEST_CASE(syscall)
GUEST_CASE(debug)
GUEST_CASE(break)
GUEST_CASE(watch)
GUEST_CASE(step)
GUEST_CASE(tsc)

/* Does each exit, with its stack, become many times as expensive? */
static bool trace_exits(const char *on)
{
	return !write_file(TRACING "/options/stacktrace", on) &&
	       !write_file(TRACING "/events/kvm/enable", on) &&
	       !write_file(TRACING "/events/kvmft/enable", on);
}

/* Interrupts come faster than the host gets the vCPU through an exit */
static void slow_host(void)
{
	CHECK(trace_exits("1"), TRACING ": %m");
	setenv("KVMFT_GAP", "10", 1);
	run_case("watch");
	CHECK(trace_exits("0"), TRACING ": %m");
}

static void setup(void)
{
	kvmft_setup();
	catch_signal(SIGUSR1);
}

static const struct tap_case cases[] = {
	{ "flags", case_flags, 0 },
	{ "syscall", case_syscall, 0 },
	{ "debug", case_debug, 0 },
	{ "break", case_break, 0 },
	{ "watch", case_watch, 0 },
	{ "step", case_step, 0 },
	{ "tsc", case_tsc, 0 },
	{ "slow_host", slow_host, 0 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, &KVMFT_SUITE(cases, setup, kvmft_teardown));
}
