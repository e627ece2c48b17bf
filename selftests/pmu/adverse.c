// SPDX-License-Identifier: GPL-2.0
/*
 * What the emulated CPU was told to do is what it does:
 *
 * adverse skids MEDIAN TAIL LOSE: skid with a tail, and lost PMIs.
 * adverse spurious P: PMIs without an overflow.
 * adverse sequence COUNT TAIL: print the first skids, and "lost" for a lost PMI.
 */
#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vm.h"

#define PERIOD	100ul
#define SAMPLES	5000

enum { LOST = -1, SPOILT = -2 };

static int compare(const void *a, const void *b)
{
	long left = *(const long *)a, right = *(const long *)b;

	return left < right ? -1 : left > right;
}

/* Overflow once: how late it was in instructions, LOST, or SPOILT by another exit */
static long sample(int fd, int entries, u64 rounds)
{
	u64 period = PERIOD, vmruns;
	struct kvm_regs regs;
	bool ended;
	long skid;

	vm_start(g_loop, rounds, 0);
	overflows = 0;
	vmruns = perf_read(entries);
	if (ioctl(fd, PERF_EVENT_IOC_PERIOD, &period) || ioctl(fd, PERF_EVENT_IOC_ENABLE, 0))
		die("period");
	ended = vm_run();
	ioctl(fd, PERF_EVENT_IOC_DISABLE, 0);
	vmruns = perf_read(entries) - vmruns;
	if (ended)
		return overflows ? SPOILT : LOST;
	regs = vm_regs();
	skid = 2 * (rounds - regs.r15) - (regs.rip == GUEST_ADDR(g_loop) + 3) - 2 * PERIOD;
	/* Another exit, or a late PMI of the run before */
	return vmruns == 1 && skid >= 0 ? skid : SPOILT;
}

static void test_skids(long median, long tail, long lose)
{
	static long skids[SAMPLES];
	int fd = perf_open(EV_COND, PERIOD, true), entries = perf_open_entries();
	long count = 0, lost = 0, spoilt = 0;

	perf_signal(fd);
	for (int i = 0; i < SAMPLES; i++) {
		long skid = sample(fd, entries, PERIOD + tail);

		if (skid == LOST)
			lost++;
		else if (skid == SPOILT)
			spoilt++;
		else
			skids[count++] = skid;
	}
	close(fd);
	qsort(skids, count, sizeof(*skids), compare);
	printf("# %ld skids, %ld lost, %ld spoilt; min %ld median %ld p99 %ld p99.9 %ld max %ld\n",
	       count, lost, spoilt, skids[0], skids[count / 2], skids[count * 99 / 100],
	       skids[count * 999 / 1000], skids[count - 1]);
	tap_result(count > SAMPLES / 2, "%ld PMIs measured", count);
	tap_result(labs(skids[count / 2] - median) < median / 20, "median skid");
	/* The few below are late PMIs of a run that a tick cut short */
	tap_result(skids[count / 100] >= median / 2 && skids[count / 10] < median * 9 / 10,
		   "1st and 10th percentile");
	tap_result(skids[count * 99 / 100] < median * 3 / 2 &&
		   skids[count * 999 / 1000] > median * 3 / 2 &&
		   skids[count * 999 / 1000] < median * 5 / 2, "99.9th percentile");
	tap_result(skids[count - 1] > median * 3 && skids[count - 1] <= tail, "maximum");
	tap_result(labs(lost - SAMPLES / lose) < SAMPLES / lose / 4,
		   "one PMI in %ld is lost", lose);
}

/* Nothing overflows here, so that each NMI is a spurious one */
static void test_spurious(u64 period)
{
	/* Linux has every counter interrupt when it overflows: these are armed */
	int host = perf_open(EV_INSNS, 0, false), guest = perf_open(EV_INSNS, 0, true);
	u64 insns = perf_read(host) + perf_read(guest), nmis = interrupts("NMI"), want;

	vm_start(g_loop, 100 * period, 0);
	vm_run_to_end();
	nmis = interrupts("NMI") - nmis;
	insns = perf_read(host) + perf_read(guest) - insns;
	want = insns / period;
	tap_result(want >= 200 && nmis > want * 3 / 4 && nmis < want * 5 / 4,
		   "%lu spurious PMIs in %lu instructions, one in %lu is %lu", nmis, insns, period,
		   want);
	close(host);
	close(guest);
	nmis = interrupts("NMI");
	vm_start(g_loop, 10 * period, 0);
	vm_run_to_end();
	tap_result(interrupts("NMI") == nmis, "none while no counter is armed");
}

static void print_sequence(int count, long tail)
{
	int fd = perf_open(EV_COND, PERIOD, true), entries = perf_open_entries();

	perf_signal(fd);
	while (count--) {
		long skid = sample(fd, entries, PERIOD + tail);

		if (skid >= 0)
			printf("%ld\n", skid);
		else
			printf("%s\n", skid == LOST ? "lost" : "spoilt");
	}
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	pin_to_cpu(0);
	/* Do not let perf find the interrupts too many or too slow */
	write_file("/proc/sys/kernel/perf_cpu_time_max_percent", "0");
	vm_create();
	if (!strcmp(mode, "sequence") && argc == 4) {
		print_sequence(atoi(argv[2]), atol(argv[3]));
		return 0;
	}
	if (!strcmp(mode, "skids") && argc == 5)
		test_skids(atol(argv[2]), atol(argv[3]), atol(argv[4]));
	else if (!strcmp(mode, "spurious") && argc == 3)
		test_spurious(strtoul(argv[2], NULL, 0));
	else
		die("usage: adverse skids MEDIAN TAIL LOSE | spurious P | sequence COUNT TAIL");
	return tap_end();
}
