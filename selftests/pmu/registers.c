// SPDX-License-Identifier: GPL-2.0
/*
 * registers SKID: the counters' MSRs, their aliases and RDPMC, and a PMI that is on
 * its way when its counter is written.  SKID is that of the emulated CPU.
 *
 * Uses counters that the kernel leaves alone, and needs the modules msr and no other
 * user of the PMU.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "vm.h"

#define PERF_CTL(n)	(0xc0010200u + 2 * (n))
#define PERF_CTR(n)	(0xc0010201u + 2 * (n))
#define EVNTSEL(n)	(0xc0010000u + (n))
#define PERFCTR(n)	(0xc0010004u + (n))

#define CTL_USR		BIT(16)
#define CTL_OS		BIT(17)
#define CTL_INT		BIT(20)
#define CTL_EN		BIT(22)
#define CTL_CNTMASK1	BIT(24)

#define CTR_MASK	(BIT(48) - 1)

static int msr_fd;

static u64 rdmsr(unsigned int msr)
{
	u64 value;

	if (pread(msr_fd, &value, 8, msr) != 8)
		die("reading MSR %x", msr);
	return value;
}

static void wrmsr(unsigned int msr, u64 value)
{
	if (pwrite(msr_fd, &value, 8, msr) != 8)
		die("writing MSR %x", msr);
}

static u64 rdpmc(unsigned int counter)
{
	unsigned int low, high;

	asm volatile("rdpmc" : "=a"(low), "=d"(high) : "c"(counter));
	return (u64)high << 32 | low;
}

static void test_aliases(void)
{
	bool ok = true;

	for (unsigned int i = 0; i < 4; i++) {
		wrmsr(EVNTSEL(i), EV_INSNS | CTL_USR | i << 8);
		wrmsr(PERFCTR(i), 0xabc000000000ull + i);
		ok &= rdmsr(PERF_CTL(i)) == (EV_INSNS | CTL_USR | i << 8) &&
		      rdmsr(PERF_CTR(i)) == 0xabc000000000ull + i &&
		      rdpmc(i) == 0xabc000000000ull + i;
		wrmsr(PERF_CTL(i), 0);
		ok &= !rdmsr(EVNTSEL(i));
	}
	tap_result(ok, "legacy MSRs are the first four counters");
	wrmsr(PERF_CTR(5), ~0ull);
	tap_result(rdmsr(PERF_CTR(5)) == CTR_MASK && rdpmc(5) == CTR_MASK,
		   "48 bits, and RDPMC reads them");
}

/* User mode alone, where RDPMC can measure: 2 a round and the same around them */
static u64 count_loop(u64 rounds)
{
	unsigned int before, low, high;

	asm volatile("rdpmc\n\t"
		     "mov %%eax, %[before]\n\t"
		     "1: dec %[rounds]\n\t"
		     "jnz 1b\n\t"
		     "rdpmc"
		     : [before] "=&r"(before), "=a"(low), "=d"(high), [rounds] "+r"(rounds)
		     : "c"(5) : "cc");
	return low - before;
}

static void test_rdpmc(void)
{
	u64 one, many;

	wrmsr(PERF_CTL(5), EV_INSNS | CTL_USR | CTL_EN);
	one = count_loop(1);
	many = count_loop(1001);
	tap_result(many - one == 2000, "RDPMC counts 1000 rounds as %lu instructions", many - one);
	wrmsr(PERF_CTL(5), EV_COND | CTL_USR | CTL_EN);
	many = count_loop(1001);
	tap_result(many == 1001, "RDPMC counts 1001 conditional jumps as %lu", many);
	wrmsr(PERF_CTL(5), EV_INSNS | CTL_USR);
	tap_result(!count_loop(1001), "a counter that is not enabled stands still");
	wrmsr(PERF_CTL(5), EV_INSNS | CTL_USR | CTL_EN | CTL_CNTMASK1);
	tap_result(!count_loop(1001), "a modifier that is not emulated counts nothing");
	wrmsr(PERF_CTL(5), 0);
}

/* The NMI comes although the counter was written and disabled since */
static void test_late_pmi(u64 skid)
{
	u64 nmis, left, due;

	wrmsr(PERF_CTL(5), 0);
	wrmsr(PERF_CTR(5), CTR_MASK - 10);
	wrmsr(PERF_CTL(4), EV_INSNS | CTL_USR | CTL_OS | CTL_EN);
	wrmsr(PERF_CTR(4), 0);
	nmis = interrupts("NMI");
	wrmsr(PERF_CTL(5), EV_INSNS | CTL_USR | CTL_OS | CTL_INT | CTL_EN);
	due = rdmsr(PERF_CTR(4)) + skid;
	wrmsr(PERF_CTL(5), 0);
	wrmsr(PERF_CTR(5), 0);
	left = due - rdmsr(PERF_CTR(4));
	tap_result(left - 1 < skid, "%lu instructions to go for a PMI whose counter was written",
		   left);
	while (rdmsr(PERF_CTR(4)) < due + 1000)
		;
	tap_result(interrupts("NMI") == nmis + 1, "it arrives");
	wrmsr(PERF_CTL(4), 0);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		die("usage: registers SKID");
	pin_to_cpu(0);
	msr_fd = open("/dev/cpu/0/msr", O_RDWR);
	if (msr_fd < 0)
		die("/dev/cpu/0/msr (is the module msr loaded?)");
	write_file("/sys/bus/event_source/devices/cpu/rdpmc", "2");
	test_aliases();
	test_rdpmc();
	test_late_pmi(strtoul(argv[1], NULL, 0));
	return tap_end();
}
