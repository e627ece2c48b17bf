// SPDX-License-Identifier: GPL-2.0
/*
 * A session on one VM is nothing to another: neither to its results, nor to what perf
 * counts of it, nor the other way round, though both share a CPU.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "kvmft.h"
#include "perf.h"
#include "programs.h"
#include "util.h"
#include "vmm.h"
#include "workload.h"

#define WINDOWS		60

/* Windows of a VM without a session, counted by perf events of this process */
static void run_foreign_windows(struct vm *vm, unsigned int nr)
{
	int cond = perf_open(EVENT_COND, PERF_GUEST), taken = perf_open(EVENT_TAKEN, PERF_GUEST);
	int insns = perf_open(EVENT_INSTRUCTIONS, PERF_GUEST);
	u64 c, t, n, exits, length, extra;
	const struct exit_kind *kind;
	struct counts want;
	unsigned int i;
	struct rng rng;

	rng_seed(&rng, env_u64("KVMFT_SEED", 11));
	for (i = 0; i < nr; i++) {
		kind = &exit_kinds[i % 4];
		extra = i % 5 * 20;
		length = extra + rng_between(&rng, 1, 20000);
		program_counts(&programs[i % nr_programs], kind, length, extra, &want);
		program_start(vm, &programs[i % nr_programs], kind, length, extra);
		c = perf_read(cond);
		t = perf_read(taken);
		n = perf_read(insns);
		exits = vm_exits(vm);
		CHECK_RET(vm_run(vm), PORT_DONE, "a run of the VM without a session");
		exits = vm_exits(vm) - exits;
		CHECK_EQ(perf_read(cond) - c, want.cond, "the other VM's conditional branches");
		CHECK_EQ(perf_read(taken) - t, want.taken + exits,
			 "the other VM's taken branches, entries included");
		CHECK_EQ(perf_read(insns) - n, want.insns + exits,
			 "the other VM's instructions, entries included");
	}
	close(cond);
	close(taken);
	close(insns);
}

/* VM with a session in another process on this CPU, VM without in this one */
static void other_vm_is_not_affected(void)
{
	int dev = kvmft_open_ok(), session;
	struct kvmft_session_status status;
	struct vmm vmm;
	struct vm vm;
	u64 laps;

	pin_to_cpu(0, 0);
	vmm_start(&vmm, VMM_WORKLOAD, 1);
	session = kvmft_create_ok(dev, vmm.vm_fd);
	program_vm(&vm, 0);
	run_foreign_windows(&vm, 10);
	vmm_command(&vmm, VMM_RUN);
	laps = __atomic_load_n(&vmm.shared->laps, __ATOMIC_ACQUIRE);
	run_foreign_windows(&vm, WINDOWS);
	wait_until(__atomic_load_n(&vmm.shared->laps, __ATOMIC_ACQUIRE) > laps + 2,
		   "the VM with the session");
	kvmft_status_ok(session, &status);
	CHECK_EQ(status.state, KVMFT_STATE_COUNTING, "state");
	vmm_check(&vmm);
	close(session);
	run_foreign_windows(&vm, 10);
	vm_destroy(&vm);
	vmm_kill(&vmm);
}

/* The reverse: sessions count exactly while others run, and stops stop their own VM only */
static void session_is_not_affected(void)
{
	int dev = kvmft_open_ok(), session, ret, stops = 0;
	struct kvmft_session_status before, after;
	struct counts want;
	struct vmm vmm[2];
	struct rng rng;
	struct vm vm;
	unsigned int i;

	pin_to_cpu(0, 0);
	for (i = 0; i < 2; i++) {
		vmm_start(&vmm[i], VMM_WORKLOAD, i);
		vmm_command(&vmm[i], VMM_RUN);
	}
	program_vm(&vm, 0);
	session = kvmft_create_ok(dev, vm.fd);
	rng_seed(&rng, env_u64("KVMFT_SEED", 12));
	for (i = 0; i < WINDOWS; i++) {
		u64 n = 200 + rng_between(&rng, 1, 50000), extra = i % 5 * 20;

		program_counts(&programs[i % nr_programs], &exit_kinds[i % 4], n, extra, &want);
		program_start(&vm, &programs[i % nr_programs], &exit_kinds[i % 4], n, extra);
		kvmft_status_ok(session, &before);
		if (i % 2)
			kvmft_stop_ok(session, rng_between(&rng, 2, 2 * n));
		while ((ret = vm_run(&vm)) == -EINTR)
			stops++;
		CHECK_EQ(ret, PORT_DONE, "port");
		kvmft_status_ok(session, &after);
		CHECK_EQ(after.cond - before.cond, want.cond, "conditional branches");
		CHECK_EQ(after.taken - before.taken, want.taken, "taken branches");
		kvmft_stop_ok(session, 0);
	}
	CHECK(stops > WINDOWS / 4, "only %d stops", stops);
	for (i = 0; i < 2; i++)
		vmm_wait_laps(&vmm[i], 2);
	close(session);
	for (i = 0; i < 2; i++) {
		vmm_wait_laps(&vmm[i], 1);
		vmm_kill(&vmm[i]);
	}
	vm_destroy(&vm);
}

static const struct tap_case cases[] = {
	{ "other_vm_is_not_affected", other_vm_is_not_affected, 0 },
	{ "session_is_not_affected", session_is_not_affected, 0 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, &KVMFT_SUITE(cases, kvmft_setup, kvmft_teardown));
}
