// SPDX-License-Identifier: GPL-2.0
/*
 * counts on|off: guest-only counts are exact, whatever the guest does.
 *
 * The argument is x-pmu-vmrun of the emulated CPU: with "on" each VMRUN counts as
 * an instruction and a taken branch of the guest.
 */
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <unistd.h>

#include "vm.h"

enum { INSNS, BRANCHES, TAKEN, COND, EVENTS };

static const struct {
	int event;
	const char *name;
} events[EVENTS] = {
	{ EV_INSNS, "instructions" }, { EV_BRANCHES, "branches" },
	{ EV_TAKEN, "taken" }, { EV_COND, "conditional" },
};

static bool vmrun_counts;

/* Run the program that vm_start() set; the counts it made, and its VMRUNs */
static u64 measure(u64 *counts)
{
	int fds[EVENTS], entries = perf_open_entries();
	u64 start[EVENTS], result;

	for (int i = 0; i < EVENTS; i++)
		fds[i] = perf_open(events[i].event, 0, true);
	result = perf_read(entries);
	for (int i = 0; i < EVENTS; i++)
		start[i] = perf_read(fds[i]);
	vm_run_to_end();
	result = perf_read(entries) - result;
	for (int i = 0; i < EVENTS; i++) {
		counts[i] = perf_read(fds[i]) - start[i];
		close(fds[i]);
	}
	close(entries);
	return result;
}

static bool right(const char *name, u64 *want, u64 *counts, u64 entries)
{
	bool ok = true;

	for (int i = 0; i < EVENTS; i++) {
		u64 bias = vmrun_counts && i != COND ? entries : 0;

		if (counts[i] == want[i] + bias)
			continue;
		ok = false;
		printf("# %s: %s: counted %lu, should be %lu + %lu VMRUNs of %lu\n", name,
		       events[i].name, counts[i], want[i], bias, entries);
	}
	return ok;
}

static void test_guest(const struct guest *guest)
{
	bool ok = true;

	for (int run = 0; run < 3; run++) {
		u64 rounds = 300 + 7 * run, counts[EVENTS], entries;
		u64 want[EVENTS] = {
			guest->insns * rounds + guest->plus_insns, guest->branches * rounds,
			guest->taken * rounds + guest->plus_taken, guest->cond * rounds,
		};

		vm_create();
		vm_mode(guest->bits);
		vm_start(guest->entry, rounds, 0);
		entries = measure(counts);
		ok &= right(guest->name, want, counts, entries);
		vm_destroy();
	}
	tap_result(ok, "%lu bits: %s", guest->bits, guest->name);
}

/* The same loop with more and more exits; under load a timer interrupts it, too */
static void test_exits(u64 exits, bool load)
{
	const u64 rounds = 10000;
	u64 want[EVENTS] = {
		1 + 4 * rounds + exits, 2 * rounds, rounds - exits + rounds - 1, 2 * rounds
	};
	struct itimerval timer = { { 0, 100 }, { 0, 100 } }, none = { 0 };
	bool ok = true, busy = true;

	vm_create();
	for (int run = 0; run < 10; run++) {
		u64 counts[EVENTS], entries;

		vm_start(g_exits, rounds, exits ? rounds / exits : rounds + 1);
		if (load)
			setitimer(ITIMER_REAL, &timer, NULL);
		entries = measure(counts);
		setitimer(ITIMER_REAL, &none, NULL);
		busy &= entries > exits;
		ok &= right("exits", want, counts, entries);
	}
	vm_destroy();
	tap_result(ok && busy, "%lu exits%s", exits, load ? ", timer load" : "");
}

/* The guest "syscall" has 2 instructions a round in user mode, and 5 outside */
static void test_modes(void)
{
	const u64 rounds = 500;
	int user, kernel, host, entries;
	u64 counts[2], vmruns, host_count;

	vm_create();
	vm_start(g_syscall, rounds, 0);
	entries = perf_open_entries();
	user = perf_open_modes(EV_INSNS, true, true, false);
	kernel = perf_open_modes(EV_INSNS, true, false, true);
	host = perf_open_modes(EV_INSNS, false, true, true);
	vm_run_to_end();
	counts[0] = perf_read(user);
	counts[1] = perf_read(kernel);
	host_count = perf_read(host);
	vmruns = vmrun_counts ? perf_read(entries) : 0;
	/* A VMRUN may have entered the guest in either mode. */
	tap_result(counts[0] >= 2 * rounds && counts[0] + counts[1] == 7 * rounds + vmruns &&
		   counts[1] >= 5 * rounds, "user mode %lu of %lu, kernel mode %lu of %lu",
		   counts[0], 2 * rounds, counts[1], 5 * rounds);
	tap_result(host_count > 1000, "host-only counter counts the host: %lu", host_count);
	close(user);
	close(kernel);
	close(host);
	close(entries);
	vm_destroy();
}

static void ignore(int signal)
{
	(void)signal;
}

int main(int argc, char **argv)
{
	static const u64 exits[] = { 0, 10, 100, 1000 };
	struct sigaction action = { .sa_handler = ignore };

	if (argc != 2 || (strcmp(argv[1], "on") && strcmp(argv[1], "off")))
		die("usage: counts on|off");
	vmrun_counts = !strcmp(argv[1], "on");
	sigaction(SIGALRM, &action, NULL);
	pin_to_cpu(0);
	for (const struct guest *guest = __start_guests; guest < __stop_guests; guest++)
		test_guest(guest);
	for (int i = 0; i < 4; i++)
		for (int load = 0; load < 2; load++)
			test_exits(exits[i], load);
	test_modes();
	return tap_end();
}
