// SPDX-License-Identifier: GPL-2.0
/*
 * overflow SKID: a counter that overflows stops the guest exactly at N plus the
 * skid, which is that of the emulated CPU (x-pmu-skid); no PMI is lost, and none
 * comes that nobody asked for.
 */
#include <linux/perf_event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vm.h"

static const u64 periods[] = {
	2, 3, 4, 5, 7, 10, 50, 101, 999, 1000, 12345, 100000, 1000001, 2000000
};

#define PERIODS (sizeof(periods) / sizeof(*periods))

static u64 skid;

/* How many instructions of g_loop (DEC, JNZ) the stopped guest has executed */
static u64 position(u64 rounds)
{
	struct kvm_regs regs = vm_regs();
	u64 done = rounds - regs.r15;

	return regs.rip == GUEST_ADDR(g_loop) + 3 ? 2 * done - 1 : 2 * done;
}

/*
 * Stop at conditional jump number @period.  A host timer's exit between overflow and
 * PMI would have the skid pass in the host: then try again.
 */
static bool stops_at(u64 period)
{
	const u64 want = 2 * period + skid, rounds = want + 1000;

	for (int try = 0; try < 5; try++) {
		int entries = perf_open_entries(), fd;
		u64 vmruns, found, counted;
		bool ended;

		vm_start(g_loop, rounds, 0);
		overflows = 0;
		fd = perf_open(EV_COND, period, true);
		perf_signal(fd);
		vmruns = perf_read(entries);
		ended = vm_run();
		vmruns = perf_read(entries) - vmruns;
		found = position(rounds);
		counted = perf_read(fd);
		close(fd);
		close(entries);
		if (!ended && overflows == 1 && found == want && counted == found / 2)
			return true;
		if (ended || vmruns == 1) {
			printf("# %lu: %s at %lu, should be %lu, counted %lu, %d overflows\n",
			       period, ended ? "ended" : "stopped", found, want, counted,
			       overflows);
			return false;
		}
	}
	printf("# %lu: each of 5 runs was interrupted\n", period);
	return false;
}

static void test_exact(void)
{
	unsigned int good = 0, runs = 0;

	for (int round = 0; round < 20; round++) {
		for (unsigned int i = 0; i < PERIODS; i++) {
			if (periods[i] > 100000 && round)
				continue;
			good += stops_at(periods[i]);
			runs++;
		}
	}
	tap_result(good == runs, "%u of %u overflows stop the guest %lu instructions late",
		   good, runs, skid);
}

/* An overflow shortly before an exit: the PMI arrives in the host, and only once */
static void test_exit_first(void)
{
	const u64 rounds = 1000;
	unsigned int good = 0;
	int entries = perf_open_entries();

	for (int run = 0; run < 50; run++) {
		u64 pmis = interrupts("PMI");
		bool ended;
		int fd;

		vm_start(g_loop, rounds, 0);
		overflows = 0;
		fd = perf_open(EV_COND, rounds - 20, true);
		perf_signal(fd);
		ended = vm_run();
		for (u64 try = 0; try < 1000 && !overflows; try++)
			getppid();
		close(fd);
		good += (ended || !skid) && overflows == 1 && interrupts("PMI") == pmis + 1;
	}
	close(entries);
	tap_result(good == 50, "%u of 50 PMIs due after an exit arrive in the host", good);
}

/* A guest whose counter is about to overflow, and does not, until a signal; its exit status */
static int wait_in_guest(int ready)
{
	int insns, fd;

	pin_to_cpu(1);
	vm_create();
	vm_start(g_pause, 0, 0);
	insns = perf_open(EV_INSNS, 0, true);
	fd = perf_open(EV_COND, 2, true);
	perf_signal(fd);
	overflows = 0;
	if (write(ready, "", 1) != 1)
		die("write");
	/* The signal is the parent's, and is taken for an overflow */
	return vm_run() || overflows != 1 || perf_read(fd) || !perf_read(insns);
}

/*
 * A counter that is close to its overflow has to be looked at often, while its CPU
 * executes: not while another one does, which would take an hour here.
 */
static void test_other_cpu(void)
{
	u64 rounds = 30000000;
	int ready[2], status;
	pid_t child;
	char byte;

	if (pipe(ready))
		die("pipe");
	fflush(stdout);
	child = fork();
	if (child < 0)
		die("fork");
	if (!child)
		_exit(wait_in_guest(ready[1]));
	close(ready[1]);
	if (read(ready[0], &byte, 1) == 1)
		while (rounds--)
			asm volatile("" : : : "memory");
	close(ready[0]);
	kill(child, SIGIO);
	if (waitpid(child, &status, 0) != child)
		die("waitpid");
	tap_result(!status, "one CPU goes on while a counter of another is about to overflow");
}

int main(int argc, char **argv)
{
	u64 pmis, nmis, stray;

	if (argc != 2)
		die("usage: overflow SKID");
	skid = strtoul(argv[1], NULL, 0);
	pin_to_cpu(0);
	vm_create();
	pmis = interrupts("PMI");
	nmis = interrupts("NMI");
	test_exact();
	test_exit_first();
	test_other_cpu();
	stray = interrupts("NMI") - nmis - (interrupts("PMI") - pmis);
	tap_result(!stray, "%lu NMIs that were no overflow", stray);
	vm_destroy();
	return tap_end();
}
