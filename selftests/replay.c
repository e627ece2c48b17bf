// SPDX-License-Identifier: GPL-2.0
/*
 * Record micro guests, replay them in another VM, and compare what they come to.  The
 * environment names rounds (KVMFT_ROUNDS), seed (KVMFT_SEED) and align_us (KVMFT_ALIGN), and how
 * many interrupts a guest has, about (KVMFT_INTERRUPTS): with skid, each may take thousands
 * of exits.
 * KVMFT_PIN=1: record on one CPU, replay on another; KVMFT_LOAD=N: N threads keep the CPUs busy.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "kvmft.h"
#include "microrun.h"
#include "util.h"

static int dev;

/*
 * False: an overflow interrupt was lost, which replay has to notice.  Where none are lost that
 * fails the case.
 */
static bool replay(const struct micro *micro, int log, u64 seed, struct micro_outcome *outcome)
{
	char reason[300];

	if (micro_replay(dev, micro, log, seed, outcome, reason, sizeof(reason)))
		return true;
	CHECK(env_u64("KVMFT_LOSE", 0) && outcome->status.end == KVMFT_END_DIVERGED &&
	      strstr(reason, "overshoot"), "%s: replay ended (%u): %s", micro->name,
	      outcome->status.end, reason);
	tap_diag("%s: noticed: %s", micro->name, reason);
	return false;
}

/* On the @nth of the host's CPUs, if so wanted */
static void pin(unsigned int nth)
{
	if (env_u64("KVMFT_PIN", 0))
		pin_to_cpu(0, nth % nr_cpus());
}

static void round_of(const struct micro *micro, u32 align_us, u64 seed)
{
	struct micro_outcome first, second;
	int log = micro_open_log();

	pin(seed);
	micro_record(dev, micro, log, align_us, seed, &first);
	/* Each has a digest; nothing else in so short a log has */
	CHECK(first.status.digests >= micro->resets, "%s: %llu resets in the log, not %u",
	      micro->name, (unsigned long long)first.status.digests, micro->resets);
	pin(seed + 1);
	if (replay(micro, log, seed, &second))
		micro_check_same(&first, &second);
	tap_diag("%s: %llu entries, %llu bytes, %llu interrupts, %llu landings, replay %llu exits",
		 micro->name, (unsigned long long)first.status.seq,
		 (unsigned long long)first.status.log_bytes,
		 (unsigned long long)first.interrupts, (unsigned long long)first.status.landings,
		 (unsigned long long)second.status.exits);
	close(log);
}

static void *finish_thread(void *arg)
{
	int session = *(int *)arg;
	struct kvmft_session_status status;

	do {
		kvmft_status_ok(session, &status);
	} while (status.cond < 1000);
	CHECK_RET(kvmft_finish(session), 0, "KVMFT_SESSION_FINISH");
	kvmft_status_ok(session, &status);
	CHECK_EQ(status.end, KVMFT_END_FINISHED, "end");
	CHECK_RET(kvmft_finish(session), -ESTALE, "KVMFT_SESSION_FINISH again");
	return NULL;
}

/* A log that ends on request, anywhere, with a digest of memory: replay ends there */
static void finished(void)
{
	struct micro_outcome first, second;
	const struct micro *micro = micro_of("timer");
	char reason[300];
	pthread_t thread;
	struct rng rng;
	struct vm vm;
	int session, log = micro_open_log();

	dev = kvmft_open_ok();
	rng_seed(&rng, 1);
	micro_vm(&vm, micro);
	session = kvmft_create_ok(dev, vm.fd);
	CHECK_RET(kvmft_record(session, log, 0), 0, "KVMFT_SESSION_RECORD");
	CHECK(!pthread_create(&thread, NULL, finish_thread, &session), "pthread_create");
	CHECK(micro_run(&vm, micro, &rng, -1), "the guest does not run on: %m");
	pthread_join(thread, NULL);
	kvmft_status_ok(session, &first.status);
	close(session);
	vm_destroy(&vm);

	CHECK(!micro_replay(dev, micro, log, 1, &second, reason, sizeof(reason)),
	      "the guest ran on behind the log's end");
	CHECK(second.status.end == KVMFT_END_FINISHED, "replay ended (%u): %s", second.status.end,
	      reason);
	CHECK_EQ(second.status.seq, first.status.seq, "number of entries");
	CHECK_EQ(second.status.digests, first.status.digests, "number of digests");
	CHECK(first.status.digests > 0, "there is no digest");
	close(log);
}

static void run_aligned(const char *name, u32 align_us)
{
	u64 rounds = env_u64("KVMFT_ROUNDS", 2), seed = env_u64("KVMFT_SEED", 1), i;
	const struct micro *micro = micro_of(name);
	struct vm other;
	int session;

	dev = kvmft_open_ok();
	/* With the last session the hooks go, which takes a while: there is another */
	vm_create(&other, 0);
	session = kvmft_create_ok(dev, other.fd);
	for (i = 0; i < rounds; i++)
		round_of(micro, align_us, seed + i);
	close(session);
	vm_destroy(&other);
}

static void run_micro(const char *name)
{
	run_aligned(name, env_u64("KVMFT_ALIGN", 0));
}

static void case_rearm(void)
{
	run_aligned("rearm", KVMFT_ALIGN_MAX);
}

#define MICRO_CASE(name)	static void case_##name(void) { run_micro(#name); }
MICRO_CASE(tsc)
MICRO_CASE(pio)
MICRO_CASE(string)
MICRO_CASE(pit)
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
MICRO_CASE(alarm)
MICRO_CASE(timer)
MICRO_CASE(touch)
MICRO_CASE(nmi)
MICRO_CASE(lint0)
MICRO_CASE(input)
MICRO_CASE(poke)
MICRO_CASE(reset)
MICRO_CASE(level)

static void *load_thread(void *arg)
{
	volatile unsigned int i;

	for (i = 0; ; i++)
		;
	return arg;
}

static void setup(void)
{
	u64 load = env_u64("KVMFT_LOAD", 0);
	pthread_t thread;

	kvmft_setup();
	catch_signal(SIGUSR1);
	while (load--)
		CHECK(!pthread_create(&thread, NULL, load_thread, NULL), "pthread_create");
}

static const struct tap_case cases[] = {
	{ "finished", finished, 0 },
	{ "tsc", case_tsc, 0 },
	{ "pio", case_pio, 0 },
	{ "string", case_string, 0 },
	{ "pit", case_pit, 0 },
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
	{ "alarm", case_alarm, 0 },
	{ "rearm", case_rearm, 0 },
	{ "timer", case_timer, 0 },
	{ "touch", case_touch, 0 },
	{ "nmi", case_nmi, 0 },
	{ "lint0", case_lint0, 0 },
	{ "input", case_input, 0 },
	{ "poke", case_poke, 0 },
	{ "reset", case_reset, 0 },
	{ "level", case_level, 0 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, &KVMFT_SUITE(cases, setup, kvmft_teardown));
}
