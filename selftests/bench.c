// SPDX-License-Identifier: GPL-2.0
/*
 * What a guest's exit costs the host, in instructions: without the module, with it
 * loaded, with a session on another VM, with one on this VM, and with this VM recorded.
 * Only meaningful where instructions are time (-icount) and nothing else runs: a host
 * with one CPU.
 *
 * Of many windows the cheapest counts: the others were interrupted by a timer.  The
 * difference of two sizes is free of what a window costs besides its exits.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "kvmft.h"
#include "perf.h"
#include "programs.h"
#include "util.h"

#define WINDOWS		40
#define EXITS		25	/* in the smaller window, twice as many in the larger */

static const struct {
	const char *name;
	const char *routine;
	unsigned int vm_flags;
	unsigned int exits;	/* a call of the routine makes */
} kinds[] = {
	{ "CPUID", exit_cpuid, VM_IRQCHIP, 1 },
	{ "RDTSC: an exit if recorded", exit_rdtsc, VM_IRQCHIP, 1 },
	{ "RDMSR", exit_rdmsr, VM_IRQCHIP, 1 },
	{ "OUT, to user space", exit_pio, VM_IRQCHIP, 1 },
	{ "IN, from user space", exit_in, VM_IRQCHIP, 1 },
	{ "HLT with an interrupt of its own", exit_hlt_irq, VM_IRQCHIP, 4 },
};

enum situation { UNLOADED, LOADED, OTHER_VM, THIS_VM, RECORDED, NR_SITUATIONS };

static const char *const situations[] = {
	"no module", "no session", "another VM's", "this VM's", "recorded",
};

/* Host instructions of a window of @exits calls, undisturbed */
static u64 cheapest(struct vm *vm, int insns, unsigned int kind, u64 exits)
{
	const struct kvm_regs regs = {
		.r8 = GUEST_APIC,
		.r15 = exits,
		.rbp = guest_addr(kinds[kind].routine),
	};
	u64 least = ~0ULL, before, used;
	int i;

	for (i = 0; i < WINDOWS; i++) {
		vm_start(vm, exits_only, &regs);
		before = perf_read(insns);
		CHECK_EQ(vm_run_to_port(vm), PORT_DONE, "port");
		used = perf_read(insns) - before;
		if (used < least)
			least = used;
	}
	return least;
}

/* Hundredths of an instruction an exit */
static u64 measure(enum situation situation, unsigned int kind)
{
	int insns = perf_open(EVENT_INSTRUCTIONS, PERF_HOST), session = -1, dev = -1, log = -1;
	struct vm vm, other;
	u64 small, large;

	program_vm(&vm, kinds[kind].vm_flags);
	program_vm(&other, 0);
	if (situation >= OTHER_VM) {
		dev = kvmft_open_ok();
		session = kvmft_create_ok(dev, situation == OTHER_VM ? other.fd : vm.fd);
	}
	if (situation == RECORDED) {
		log = memfd_create("log", MFD_CLOEXEC);
		CHECK(log >= 0, "memfd_create: %m");
		CHECK_RET(kvmft_record(session, log, 0), 0, "KVMFT_SESSION_RECORD");
	}
	cheapest(&vm, insns, kind, 2 * EXITS);	/* warm up */
	small = cheapest(&vm, insns, kind, EXITS);
	large = cheapest(&vm, insns, kind, 2 * EXITS);
	if (session >= 0) {
		close(session);
		close(dev);
	}
	if (log >= 0)
		close(log);
	vm_destroy(&other);
	vm_destroy(&vm);
	close(insns);
	CHECK(large >= small, "more exits are cheaper: %llu, %llu", (unsigned long long)small,
	      (unsigned long long)large);
	return (large - small) * 100 / EXITS / kinds[kind].exits;
}

static void instructions(void)
{
	u64 cost[ARRAY_SIZE(kinds)][NR_SITUATIONS];
	unsigned int kind, s;

	CHECK_EQ(nr_cpus(), 1, "number of CPUs");
	for (s = 0; s < NR_SITUATIONS; s++) {
		if (s == LOADED)
			CHECK_RET(module_load(""), 0, "insmod");
		for (kind = 0; kind < ARRAY_SIZE(kinds); kind++)
			cost[kind][s] = measure(s, kind);
	}
	CHECK_RET(module_unload(), 0, "rmmod");

	tap_diag("Host instructions for each exit, and added to those without the module:");
	tap_diag("%-34s %10s %10s %14s %14s %14s", "exit", situations[0], situations[1],
		 situations[2], situations[3], situations[4]);
	for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		s64 diff[NR_SITUATIONS];

		for (s = 0; s < NR_SITUATIONS; s++)
			diff[s] = (s64)cost[kind][s] - (s64)cost[kind][UNLOADED];
		tap_diag("%-34s %7lld.%02lld %+10lld %+14lld %+14lld %+14lld", kinds[kind].name,
			 (long long)cost[kind][0] / 100, (long long)cost[kind][0] % 100,
			 (long long)diff[LOADED] / 100, (long long)diff[OTHER_VM] / 100,
			 (long long)diff[THIS_VM] / 100, (long long)diff[RECORDED] / 100);
	}
	for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		CHECK(cost[kind][LOADED] == cost[kind][UNLOADED],
		      "%s: %lld.%02lld instructions with the module loaded and no session, %lld.%02lld without",
		      kinds[kind].name, (long long)cost[kind][LOADED] / 100,
		      (long long)cost[kind][LOADED] % 100, (long long)cost[kind][UNLOADED] / 100,
		      (long long)cost[kind][UNLOADED] % 100);
		/* The measurement sees what it is for */
		CHECK(cost[kind][RECORDED] > cost[kind][UNLOADED],
		      "%s: recording adds nothing", kinds[kind].name);
	}
}

static void setup(void)
{
	if (access("/dev/kvm", F_OK))
		modprobe("kvm_amd");
	if (module_loaded("kvmft"))
		CHECK_RET(module_unload(), 0, "rmmod");
}

static const struct tap_case cases[] = {
	{ "instructions", instructions, 0 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, &KVMFT_SUITE(cases, setup, NULL));
}
