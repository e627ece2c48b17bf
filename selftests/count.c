// SPDX-License-Identifier: GPL-2.0
/*
 * A session counts conditional and taken branches exactly, whatever makes the guest
 * exit and however often; the same windows counted in instructions are wrong by one
 * for every entry, which shows that the check can fail.
 *
 * A window is one run of a guest program to its OUT at the end.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kvmft.h"
#include "perf.h"
#include "programs.h"
#include "util.h"

/* Extra exits in a window, and how many of a hundred windows have them */
static const struct {
	u64 exits;
	unsigned int percent;
} mixture[] = {
	{ 0, 50 }, { 10, 33 }, { 100, 14 }, { 1000, 3 },
};

#define WINDOWS		1000
#define WINDOWS_IRQCHIP	300	/* four exits for each extra one */

struct machine {
	struct vm vm;
	int session;
	int insns;		/* perf counter of guest instructions */
};

struct tally {
	unsigned int windows;
	unsigned int wrong;		/* by the session's counts */
	unsigned int insns_off;		/* instructions differ from the program's own */
	unsigned int insns_unexplained;	/* ... by something else than the entries */
	u64 exits;
};

static void machine_create(struct machine *m, unsigned int vm_flags)
{
	int dev = kvmft_open_ok();

	program_vm(&m->vm, vm_flags);
	m->session = kvmft_create_ok(dev, m->vm.fd);
	m->insns = perf_open(EVENT_INSTRUCTIONS, PERF_GUEST);
	close(dev);
}

static void machine_destroy(struct machine *m)
{
	close(m->insns);
	close(m->session);
	vm_destroy(&m->vm);
}

/* Run one window; @skew is added to what is expected, to see it noticed */
static void run_window(struct machine *m, const struct program *program,
		       const struct exit_kind *kind, u64 n, u64 extra, u64 skew,
		       struct tally *tally)
{
	struct kvmft_session_status before, after;
	u64 insns, exits, cond, taken;
	struct counts want;

	program_counts(program, kind, n, extra, &want);
	program_start(&m->vm, program, kind, n, extra);
	kvmft_status_ok(m->session, &before);
	exits = vm_exits(&m->vm);
	insns = perf_read(m->insns);

	CHECK_EQ(vm_run_to_port(&m->vm), PORT_DONE, "port");

	insns = perf_read(m->insns) - insns;
	exits = vm_exits(&m->vm) - exits;
	kvmft_status_ok(m->session, &after);
	cond = after.cond - before.cond;
	taken = after.taken - before.taken;

	CHECK(after.state == KVMFT_STATE_COUNTING, "the session ended: state %u, end %u",
	      after.state, after.end);
	CHECK(exits > extra, "%llu exits where the program makes %llu",
	      (unsigned long long)exits, (unsigned long long)extra + 1);
	CHECK_EQ(after.exits - before.exits, exits, "the session's number of exits");
	tally->windows++;
	tally->exits += exits;
	if (cond != want.cond + skew || taken != want.taken) {
		if (!skew && tally->wrong < 10)
			tap_diag("%s * %llu, %llu %s exits: cond %llu (%+lld), taken %llu (%+lld)",
				 program->name, (unsigned long long)n,
				 (unsigned long long)extra, kind->name,
				 (unsigned long long)cond, (long long)(cond - want.cond),
				 (unsigned long long)taken, (long long)(taken - want.taken));
		tally->wrong++;
	}
	tally->insns_off += insns != want.insns;
	if (insns != want.insns + exits) {
		if (tally->insns_unexplained < 10)
			tap_diag("%s * %llu, %llu %s exits: %llu insns in %llu entries, own %llu",
				 program->name, (unsigned long long)n,
				 (unsigned long long)extra, kind->name,
				 (unsigned long long)insns, (unsigned long long)exits,
				 (unsigned long long)want.insns);
		tally->insns_unexplained++;
	}
}

/* @nr windows of all programs in turn, with a mixture of exits of the kinds that fit */
static void run_windows(struct machine *m, unsigned int vm_flags, unsigned int nr, u64 seed,
			struct tally *tally)
{
	const struct exit_kind *kind;
	unsigned int i, roll, mix;
	struct rng rng;
	u64 extra, n;

	rng_seed(&rng, seed);
	for (i = 0; i < nr; i++) {
		do {
			kind = &exit_kinds[rng_between(&rng, 0, nr_exit_kinds - 1)];
		} while (kind->vm_flags != vm_flags && strcmp(kind->name, "mixed"));
		roll = rng_between(&rng, 0, 99);
		for (mix = 0; roll >= mixture[mix].percent; mix++)
			roll -= mixture[mix].percent;
		extra = mixture[mix].exits;
		n = extra + rng_between(&rng, 1, 3000);
		run_window(m, &programs[i % nr_programs], kind, n, extra, 0, tally);
	}
}

static void check_tally(const struct tally *tally, unsigned int windows)
{
	tap_diag("%u windows, %llu exits: %u wrong; in instructions %u off, %u unexplained",
		 tally->windows, (unsigned long long)tally->exits, tally->wrong,
		 tally->insns_off, tally->insns_unexplained);
	CHECK_EQ(tally->windows, windows, "number of windows");
	CHECK_EQ(tally->wrong, 0, "number of windows with a wrong count");
	CHECK_EQ(tally->insns_unexplained, 0,
		 "number of windows whose instructions are not the program's own plus one an entry");
	CHECK_EQ(tally->insns_off, windows,
		 "number of windows whose instructions show that VMRUN is counted");
}

/* Every program with every kind of exit and every number of them */
static void each_exit_kind(void)
{
	unsigned int k, p, mix, windows = 0;
	struct tally tally = {};
	struct machine m;

	for (k = 0; k < nr_exit_kinds; k++) {
		machine_create(&m, exit_kinds[k].vm_flags);
		for (p = 0; p < nr_programs; p++) {
			for (mix = 0; mix < ARRAY_SIZE(mixture); mix++) {
				if (mixture[mix].exits == 1000 && p)
					continue;
				run_window(&m, &programs[p], &exit_kinds[k],
					   mixture[mix].exits + 1 + p, mixture[mix].exits, 0,
					   &tally);
				windows++;
			}
		}
		machine_destroy(&m);
	}
	check_tally(&tally, windows);
}

static void thousand_windows(void)
{
	struct tally tally = {};
	struct machine m;

	machine_create(&m, 0);
	run_windows(&m, 0, WINDOWS, env_u64("KVMFT_SEED", 1), &tally);
	machine_destroy(&m);
	check_tally(&tally, WINDOWS);
}

static void windows_irqchip(void)
{
	struct tally tally = {};
	struct machine m;

	machine_create(&m, VM_IRQCHIP);
	run_windows(&m, VM_IRQCHIP, WINDOWS_IRQCHIP, env_u64("KVMFT_SEED", 2), &tally);
	machine_destroy(&m);
	check_tally(&tally, WINDOWS_IRQCHIP);
}

/* Load: timer interrupts, samples of a profiler, and moves from CPU to CPU */
struct load {
	pid_t vcpu_tid;
	const struct tally *tally;
	bool stop;
	u64 ticks;
	u64 moves;
};

static void *load_timer(void *arg)
{
	const struct timespec period = { .tv_nsec = 50000 };
	struct load *load = arg;

	while (!__atomic_load_n(&load->stop, __ATOMIC_ACQUIRE)) {
		nanosleep(&period, NULL);
		load->ticks++;
	}
	return NULL;
}

/* A host that moves it all the time never gets to the guest if it is slow */
#define MOVES_PER_WINDOW	4

static void *load_moves(void *arg)
{
	const struct timespec period = { .tv_nsec = 300000 };
	unsigned int cpus = nr_cpus(), windows = 0, moves = 0, now;
	struct load *load = arg;

	while (!__atomic_load_n(&load->stop, __ATOMIC_ACQUIRE)) {
		now = *(volatile const unsigned int *)&load->tally->windows;
		moves = now == windows ? moves + 1 : 0;
		windows = now;
		if (moves < MOVES_PER_WINDOW)
			pin_to_cpu(load->vcpu_tid, load->moves++ % cpus);
		nanosleep(&period, NULL);
	}
	return NULL;
}

#define SAMPLE_PERIOD	300000		/* cycles */

static void under_host_load(void)
{
	struct tally tally = {};
	struct load load = { .vcpu_tid = syscall(SYS_gettid), .tally = &tally };
	pthread_t timer, mover;
	struct machine m;
	unsigned int cpu;
	u64 samples = 0;
	int fds[64];

	CHECK(nr_cpus() > 1 && nr_cpus() <= ARRAY_SIZE(fds),
	      "needs a host with 2 CPUs or more to move the vCPU between");
	machine_create(&m, 0);
	for (cpu = 0; cpu < nr_cpus(); cpu++) {
		fds[cpu] = perf_open_on(cpu, EVENT_CYCLES, SAMPLE_PERIOD, false);
		CHECK(fds[cpu] >= 0, "sampling event on CPU %u: %s", cpu, tap_ret(fds[cpu]));
	}
	CHECK(!pthread_create(&timer, NULL, load_timer, &load), "pthread_create");
	CHECK(!pthread_create(&mover, NULL, load_moves, &load), "pthread_create");

	run_windows(&m, 0, WINDOWS, env_u64("KVMFT_SEED", 3), &tally);

	__atomic_store_n(&load.stop, true, __ATOMIC_RELEASE);
	pthread_join(timer, NULL);
	pthread_join(mover, NULL);
	for (cpu = 0; cpu < nr_cpus(); cpu++) {
		samples += perf_read(fds[cpu]) / SAMPLE_PERIOD;
		close(fds[cpu]);
	}
	machine_destroy(&m);
	tap_diag("%llu moves, %llu timer ticks, %llu samples",
		 (unsigned long long)load.moves, (unsigned long long)load.ticks,
		 (unsigned long long)samples);
	CHECK(load.moves > 100 && load.ticks > 1000 && samples > 1000, "there was no load");
	check_tally(&tally, WINDOWS);
}

/* A count that differs by one is seen */
static void wrong_expectation_is_noticed(void)
{
	const struct exit_kind *pio = &exit_kinds[0];
	struct tally tally = {};
	struct machine m;
	unsigned int i;

	machine_create(&m, 0);
	for (i = 0; i < 50; i++)
		run_window(&m, &programs[i % nr_programs], pio, 100, i % 20, i % 7 ? 0 : 1,
			   &tally);
	machine_destroy(&m);
	CHECK_EQ(tally.windows, 50, "number of windows");
	CHECK_EQ(tally.wrong, 8, "number of windows with a wrong count, of 8 made wrong");
}

/* A session that starts after the guest ran counts from there */
static void starts_at_zero(void)
{
	const struct exit_kind *pio = &exit_kinds[0];
	struct kvmft_session_status status;
	int dev = kvmft_open_ok(), session;
	struct counts want;
	struct vm vm;
	int i;

	program_vm(&vm, 0);
	program_start(&vm, &programs[0], pio, 500, 20);
	CHECK_EQ(vm_run_to_port(&vm), PORT_DONE, "port");
	for (i = 0; i < 3; i++) {
		session = kvmft_create_ok(dev, vm.fd);
		kvmft_status_ok(session, &status);
		CHECK_EQ(status.state, KVMFT_STATE_ARMED, "state before the first run");
		CHECK_EQ(status.exits | status.cond | status.taken, 0,
			 "a count before the first run");
		program_start(&vm, &programs[1], pio, 300, 10);
		CHECK_EQ(vm_run_to_port(&vm), PORT_DONE, "port");
		kvmft_status_ok(session, &status);
		program_counts(&programs[1], pio, 300, 10, &want);
		CHECK_EQ(status.state, KVMFT_STATE_COUNTING, "state");
		CHECK_EQ(status.cond, want.cond, "conditional branches");
		CHECK_EQ(status.taken, want.taken, "taken branches");
		close(session);
	}
	vm_destroy(&vm);
	close(dev);
}

static const struct tap_case cases[] = {
	{ "starts_at_zero", starts_at_zero, 0 },
	{ "each_exit_kind", each_exit_kind, 0 },
	{ "thousand_windows", thousand_windows, 1800 },
	{ "windows_irqchip", windows_irqchip, 1800 },
	{ "under_host_load", under_host_load, 1800 },
	{ "wrong_expectation_is_noticed", wrong_expectation_is_noticed, 0 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, &KVMFT_SUITE(cases, kvmft_setup, kvmft_teardown));
}
