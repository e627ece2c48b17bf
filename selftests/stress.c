// SPDX-License-Identifier: GPL-2.0
/*
 * $KVMFT_ROUNDS times: load the module, make and end sessions at random, unload it;
 * beside two guests that are not ours, under load, whose results have to be right.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "kvmft.h"
#include "programs.h"
#include "util.h"
#include "vmm.h"

#define ROUNDS		15
#define BYSTANDERS	2

static struct rng rng;
static struct vmm victim;	/* the VM that sessions are made on */
static u64 sessions, kills;

static void victim_start(void)
{
	vmm_start(&victim, VMM_WORKLOAD, rng_next(&rng));
	vmm_command(&victim, VMM_RUN);
}

/* A process that has a session, and does not live to close it */
static void hold_session(void *arg)
{
	int *vm_fd = arg, dev = kvmft_open_ok(), session = kvmft_create(dev, *vm_fd);

	CHECK(session >= 0 || session == -EBUSY, "KVMFT_CREATE_SESSION: %s", tap_ret(session));
	for (;;)
		pause();
}

/* The session of a process that was killed may take a moment to end */
static int create_session(int dev)
{
	int session;

	do {
		session = kvmft_create(dev, victim.vm_fd);
	} while (session == -EBUSY);
	CHECK(session >= 0, "KVMFT_CREATE_SESSION: %s", tap_ret(session));
	sessions++;
	return session;
}

static void nap(u64 max_us)
{
	usleep(rng_between(&rng, 0, max_us));
}

static void act(int dev)
{
	int session, i;
	pid_t pid;

	switch (rng_between(&rng, 0, 4)) {
	case 0:		/* open for a while */
		session = create_session(dev);
		nap(20000);
		close(session);
		break;
	case 1:		/* over and over */
		for (i = 0; i < 3; i++)
			close(create_session(dev));
		break;
	case 2:		/* the holder is killed */
		pid = spawn(hold_session, &victim.vm_fd);
		nap(20000);
		kill(pid, SIGKILL);
		join(pid, SIGKILL, "the holder of a session");
		kills++;
		break;
	case 3:		/* the VMM is killed */
		session = create_session(dev);
		nap(10000);
		vmm_check(&victim);
		vmm_kill(&victim);
		nap(2000);
		close(session);
		victim_start();
		kills++;
		break;
	case 4:		/* stops meanwhile: the vCPU is inside KVM_RUN nearly always */
		session = create_session(dev);
		for (i = 0; i < 20; i++) {
			int ret = kvmft_stop(session, rng_between(&rng, 2, 5000));

			CHECK(!ret || ret == -EBUSY, "KVMFT_SESSION_STOP: %s", tap_ret(ret));
		}
		close(session);
		break;
	}
}

/* Nothing is left that keeps the module, or soon is not */
static void unload(void)
{
	int ret;

	wait_until((ret = module_unload()) != -EAGAIN, "rmmod");
	CHECK_RET(ret, 0, "rmmod");
}

static void rounds(void)
{
	u64 seed = env_u64("KVMFT_SEED", now_ns()), nr = env_u64("KVMFT_ROUNDS", ROUNDS), i;
	struct vmm bystanders[BYSTANDERS];
	int b, dev, actions;
	u64 laps;

	tap_diag("seed %llu, %llu rounds", (unsigned long long)seed, (unsigned long long)nr);
	rng_seed(&rng, seed);
	for (b = 0; b < BYSTANDERS; b++) {
		vmm_start(&bystanders[b], VMM_WORKLOAD, rng_next(&rng));
		vmm_command(&bystanders[b], VMM_RUN);
	}
	victim_start();
	for (i = 0; i < nr; i++) {
		laps = __atomic_load_n(&bystanders[0].shared->laps, __ATOMIC_ACQUIRE);
		CHECK_RET(module_load(""), 0, "insmod");
		dev = kvmft_open_ok();
		for (actions = rng_between(&rng, 0, 4); actions; actions--)
			act(dev);
		close(dev);
		unload();
		for (b = 0; b < BYSTANDERS; b++)
			vmm_check(&bystanders[b]);
		wait_until(__atomic_load_n(&bystanders[0].shared->laps, __ATOMIC_ACQUIRE) > laps,
			   "a guest beside to go on");
		if (!((i + 1) % 5))
			tap_diag("round %llu: %llu sessions, %llu kills, %llu and %llu laps beside",
				 (unsigned long long)i + 1, (unsigned long long)sessions,
				 (unsigned long long)kills,
				 (unsigned long long)bystanders[0].shared->laps,
				 (unsigned long long)bystanders[1].shared->laps);
	}
	for (b = 0; b < BYSTANDERS; b++) {
		vmm_wait_laps(&bystanders[b], 1);
		vmm_kill(&bystanders[b]);
	}
	vmm_wait_laps(&victim, 1);
	vmm_kill(&victim);
	tap_diag("%llu rounds, %llu sessions, %llu kills", (unsigned long long)nr,
		 (unsigned long long)sessions, (unsigned long long)kills);
	CHECK(sessions, "no session was made");
}

static void setup(void)
{
	if (access("/dev/kvm", F_OK))
		modprobe("kvm_amd");
	if (module_loaded("kvmft"))
		CHECK_RET(module_unload(), 0, "rmmod");
}

static const struct tap_case cases[] = {
	{ "rounds", rounds, 36000 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, &KVMFT_SUITE(cases, setup, NULL));
}
