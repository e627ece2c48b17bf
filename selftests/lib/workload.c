// SPDX-License-Identifier: GPL-2.0
#include "workload.h"

/*
 * A lap: some rounds leave to user space, some execute CPUID.  Not many: in an emulated
 * host an exit takes 3 us of its time and 150 us of everybody else's.
 */
#define OUT_EVERY	8192
#define CPUID_EVERY	5000

static inline __attribute__((always_inline)) u64 lap(u64 seed, u64 rounds, bool in_guest)
{
	u64 x = seed, sum = 0, i;

	for (i = 1; i <= rounds; i++) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		sum ^= x >> (x >> 59);
		sum = (sum & 1) ? sum * 3 + i : (sum >> 1) + x;
		if (in_guest && !(i % OUT_EVERY))
			guest_out(PORT_NOP, sum);
		if (in_guest && !(i % CPUID_EVERY))
			sum += !guest_cpuid(0);		/* adds zero: leaf 0 is never empty */
	}
	return sum;
}

__guest void workload_guest(void)
{
	volatile struct workload *work = (void *)GUEST_DATA;

	for (;;) {
		work->result = lap(work->seed, work->rounds, true);
		guest_out(PORT_SYNC, work->result);
	}
}

static struct workload *workload(struct vm *vm)
{
	return (struct workload *)(vm->mem + GUEST_DATA);
}

void workload_next(struct vm *vm, u64 seed, u64 rounds)
{
	workload(vm)->seed = seed;
	workload(vm)->rounds = rounds;
	workload(vm)->result = 0;
}

void workload_start(struct vm *vm, u64 seed, u64 rounds)
{
	workload_next(vm, seed, rounds);
	vm_start(vm, workload_guest, NULL);
}

bool workload_right(struct vm *vm)
{
	return workload(vm)->result == lap(workload(vm)->seed, workload(vm)->rounds, false);
}
