// SPDX-License-Identifier: GPL-2.0
/*
 * On a machine whose counters cannot be relied on the module loads, says why and what to
 * do, and makes no session.  Which machine this is, $KVMFT_MACHINE tells:
 *
 *	(unset)		a PMU as real ones are
 *	no-pmu		none
 *	vmrun-off	entering the guest counts as nothing, unlike on any real CPU
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "microrun.h"
#include "perf.h"
#include "programs.h"
#include "util.h"
#include "vmm.h"
#include "workload.h"

#define SYSFS		"/sys/class/misc/kvmft/counter/"
#define NMI_WATCHDOG	"/proc/sys/kernel/nmi_watchdog"
#define COUNTERS	6	/* of a core, on AMD family 17h and later */
#define SELF_TEST	3	/* it needs: two as a session does, one for the CPU's faults */
#define MAX_CPUS	8

static const char *machine;

static void needs_machine(const char *name)
{
	if (strcmp(machine, name))
		tap_skip("this machine is %s", *machine ? machine : "an ordinary one");
}

static int self_test(int dev)
{
	return ioctl(dev, KVMFT_SELF_TEST, 0) ? -errno : 0;
}

/* The module says no, everywhere, with @word in the reason */
static void check_refused(int dev, const char *word)
{
	char text[400];
	struct kvmft_info info;
	struct vm vm;

	kvmft_info_ok(dev, &info);
	CHECK(!read_file(SYSFS "reason", text, sizeof(text)), SYSFS "reason: %m");
	CHECK_EQ(info.verdict, KVMFT_VERDICT_REFUSED, "verdict");
	CHECK(*text, "no reason is given");
	tap_diag("reason: %s", text);
	CHECK(strstr(text, word), "the reason does not name '%s': %s", word, text);
	CHECK(!read_file(SYSFS "verdict", text, sizeof(text)), SYSFS "verdict: %m");
	CHECK(!strcmp(text, "refused"), "sysfs says '%s'", text);
	program_vm(&vm, 0);
	CHECK_RET(kvmft_create(dev, vm.fd), -EOPNOTSUPP, "session on a refused machine");
	kvmft_info_ok(dev, &info);
	CHECK_EQ(info.sessions, 0, "sessions");
	CHECK_EQ(info.hooks, 0, "hooks");
	/* The VM itself is none the worse */
	workload_start(&vm, 5, 2000);
	CHECK_EQ(vm_run_to_port(&vm), PORT_SYNC, "port");
	CHECK(workload_right(&vm), "the guest's result is wrong");
	vm_destroy(&vm);
}

static void check_exact(int dev)
{
	struct kvmft_session_status status;
	const struct kvm_regs regs = { .r15 = 12345 };
	struct kvmft_info info;
	struct vm vm;
	int session;

	kvmft_info_ok(dev, &info);
	CHECK_EQ(info.verdict, KVMFT_VERDICT_EXACT, "verdict");
	program_vm(&vm, 0);
	session = kvmft_create_ok(dev, vm.fd);
	vm_start(&vm, spin, &regs);
	CHECK_EQ(vm_run_to_port(&vm), PORT_DONE, "port");
	kvmft_status_ok(session, &status);
	CHECK_EQ(status.cond, 12345, "conditional branches");
	CHECK_EQ(status.taken, 12344, "taken branches");
	close(session);
	vm_destroy(&vm);
}

static int fresh_module(void)
{
	if (module_loaded("kvmft"))
		CHECK_RET(module_unload(), 0, "rmmod");
	CHECK_RET(module_load(""), 0, "insmod");
	return kvmft_open_ok();
}

static void unload(int dev)
{
	close(dev);
	CHECK_RET(module_unload(), 0, "rmmod");
}

/* Hold @n counters of every CPU */
static unsigned int take_counters(int *fds, unsigned int n)
{
	unsigned int cpu, i, taken = 0;

	CHECK(nr_cpus() <= MAX_CPUS, "more than %d CPUs", MAX_CPUS);
	for (cpu = 0; cpu < nr_cpus(); cpu++) {
		for (i = 0; i < n; i++) {
			int fd = perf_open_on(cpu, EVENT_INSTRUCTIONS, 0, true);

			CHECK(fd >= 0, "perf event on CPU %u: %s", cpu, tap_ret(fd));
			fds[taken++] = fd;
			perf_read(fd);
		}
	}
	return taken;
}

static void give_back(const int *fds, unsigned int taken)
{
	while (taken--)
		close(fds[taken]);
}

static void counters_are_taken(void)
{
	int fds[COUNTERS * MAX_CPUS], dev;
	unsigned int taken;

	needs_machine("");
	taken = take_counters(fds, COUNTERS);
	dev = fresh_module();
	check_refused(dev, "perf");
	CHECK_RET(self_test(dev), -EOPNOTSUPP, "KVMFT_SELF_TEST without a counter");
	give_back(fds, taken);
	CHECK_RET(self_test(dev), 0, "KVMFT_SELF_TEST with the counters back");
	check_exact(dev);

	/* One too few, and just enough */
	taken = take_counters(fds, COUNTERS - SELF_TEST + 1);
	CHECK_RET(self_test(dev), -EOPNOTSUPP, "KVMFT_SELF_TEST with a counter too few");
	check_refused(dev, "perf");
	give_back(fds, taken);
	taken = take_counters(fds, COUNTERS - SELF_TEST);
	CHECK_RET(self_test(dev), 0, "KVMFT_SELF_TEST with just enough counters");
	check_exact(dev);
	give_back(fds, taken);
	unload(dev);
}

/* A session whose counters are taken away ends; its guest does not */
static void counters_are_taken_later(void)
{
	struct kvmft_session_status status;
	int fds[COUNTERS * MAX_CPUS], dev, session, i;
	unsigned int taken;
	struct vmm vmm;

	needs_machine("");
	dev = fresh_module();
	vmm_start(&vmm, VMM_WORKLOAD, 1);
	vmm_command(&vmm, VMM_RUN);
	for (i = 0; i < 5; i++) {
		session = kvmft_create_ok(dev, vmm.vm_fd);
		do {
			kvmft_status_ok(session, &status);
		} while (status.state == KVMFT_STATE_ARMED);
		taken = take_counters(fds, COUNTERS);
		do {
			kvmft_status_ok(session, &status);
		} while (status.state == KVMFT_STATE_COUNTING);
		CHECK_EQ(status.state, KVMFT_STATE_ENDED, "state");
		CHECK_EQ(status.end, KVMFT_END_COUNTER_LOST, "end");
		give_back(fds, taken);
		vmm_wait_laps(&vmm, 2);
		close(session);
	}
	/* A session that finds none to begin with */
	taken = take_counters(fds, COUNTERS);
	session = kvmft_create_ok(dev, vmm.vm_fd);
	do {
		kvmft_status_ok(session, &status);
	} while (status.state != KVMFT_STATE_ENDED);
	CHECK(status.end == KVMFT_END_NO_COUNTER || status.end == KVMFT_END_COUNTER_LOST,
	      "end is %u", status.end);
	CHECK_EQ(status.cond, 0, "conditional branches");
	give_back(fds, taken);
	vmm_wait_laps(&vmm, 2);
	close(session);
	vmm_kill(&vmm);
	unload(dev);
}

struct loss {
	int session;
	pthread_t runner;
	u64 exits;
	bool stop;
};

/* Takes the counters of a replay that is under way; its guest goes no further */
static void *loss_thread(void *arg)
{
	int fds[COUNTERS * MAX_CPUS];
	struct kvmft_session_status status;
	struct loss *loss = arg;
	unsigned int taken;

	do {
		kvmft_status_ok(loss->session, &status);
	} while (status.state == KVMFT_STATE_ARMED || status.seq < 3);
	taken = take_counters(fds, COUNTERS);
	wait_until((kvmft_status_ok(loss->session, &status), status.end), "the replay ends");
	loss->exits = status.exits;
	give_back(fds, taken);
	while (!__atomic_load_n(&loss->stop, __ATOMIC_ACQUIRE)) {
		pthread_kill(loss->runner, SIGUSR1);
		usleep(2000);
	}
	return NULL;
}

static void a_replays_counters_are_taken(void)
{
	const struct micro *micro = micro_of("branches");
	struct kvmft_session_status status;
	struct micro_outcome outcome;
	struct loss loss;
	pthread_t thread;
	char reason[300];
	struct rng rng;
	int dev, log, i;
	struct vm vm;

	needs_machine("");
	catch_signal(SIGUSR1);
	dev = fresh_module();
	log = micro_open_log();
	micro_record(dev, micro, log, 0, 1, &outcome);
	micro_vm(&vm, micro);
	rng_seed(&rng, 2);
	loss = (struct loss) {
		.session = kvmft_create_ok(dev, vm.fd), .runner = pthread_self(),
	};
	CHECK_RET(kvmft_replay(loss.session, log), 0, "KVMFT_SESSION_REPLAY");
	CHECK(!pthread_create(&thread, NULL, loss_thread, &loss), "pthread_create");
	CHECK(!micro_run(&vm, micro, &rng, loss.session), "a replay without counters ran on");
	for (i = 0; i < 10; i++)
		CHECK(ioctl(vm.vcpu, KVM_RUN, NULL) < 0 && errno == EINTR, "KVM_RUN: %m");
	__atomic_store_n(&loss.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	kvmft_status_ok(loss.session, &status);
	micro_reason(status.id, reason, sizeof(reason));
	CHECK(status.end == KVMFT_END_COUNTER_LOST || status.end == KVMFT_END_NO_COUNTER,
	      "end %u: %s", status.end, reason);
	CHECK_EQ(status.exits, loss.exits, "exits since the end");
	close(loss.session);
	vm_destroy(&vm);
	close(log);
	unload(dev);
}

/* The NMI watchdog takes one counter of each CPU: the rest will do, if it is a rest */
static void nmi_watchdog(void)
{
	int fds[COUNTERS * MAX_CPUS], dev, ret, sixth;
	unsigned int taken;
	struct stat st;
	u64 value;

	needs_machine("");
	CHECK(!stat(NMI_WATCHDOG, &st), NMI_WATCHDOG ": %m");
	/* The file is there in any case, and read-only where it could switch nothing */
	if (!(st.st_mode & 0200))
		tap_skip("this kernel has no hardlockup detector");
	ret = write_file("/proc/sys/kernel/watchdog", "1");
	if (!ret)
		ret = write_file(NMI_WATCHDOG, "1");
	CHECK(!ret, "the NMI watchdog cannot be switched on: %s", tap_ret(ret));
	taken = take_counters(fds, COUNTERS - 1);
	sixth = perf_open_on(0, EVENT_INSTRUCTIONS, 0, true);
	CHECK(sixth >= 0, "perf event: %s", tap_ret(sixth));
	CHECK(read(sixth, &value, sizeof(value)) <= 0, "the NMI watchdog holds no counter");
	close(sixth);
	dev = fresh_module();
	check_refused(dev, "nmi_watchdog");
	give_back(fds, taken);
	CHECK_RET(self_test(dev), 0, "KVMFT_SELF_TEST beside the NMI watchdog");
	check_exact(dev);
	/* Beside it there is one too few, without it there are enough */
	taken = take_counters(fds, COUNTERS - SELF_TEST);
	CHECK_RET(self_test(dev), -EOPNOTSUPP, "KVMFT_SELF_TEST with a counter too few");
	write_file(NMI_WATCHDOG, "0");
	write_file("/proc/sys/kernel/watchdog", "0");
	CHECK_RET(self_test(dev), 0, "KVMFT_SELF_TEST after the NMI watchdog");
	check_exact(dev);
	give_back(fds, taken);
	unload(dev);
}

static void no_pmu(void)
{
	int dev;

	needs_machine("no-pmu");
	dev = fresh_module();
	check_refused(dev, "PMU");
	CHECK_RET(self_test(dev), -EOPNOTSUPP, "KVMFT_SELF_TEST without a PMU");
	unload(dev);
}

static void entries_are_not_counted(void)
{
	int dev;

	needs_machine("vmrun-off");
	dev = fresh_module();
	check_refused(dev, "taken branches");
	unload(dev);
}

/* Without KVM the module loads and waits; with it the first session is tested */
static void kvm_comes_later(void)
{
	struct kvmft_info info;
	char text[100];
	int dev, ret;
	struct vm vm;

	needs_machine("");
	if (module_loaded("kvmft"))
		CHECK_RET(module_unload(), 0, "rmmod");
	if (module_loaded("kvm_amd")) {
		const char *const argv[] = { "rmmod", "kvm_amd", NULL };

		ret = run_program(argv);
		CHECK(!ret && !module_loaded("kvm_amd"), "rmmod kvm_amd failed");
	}
	dev = fresh_module();
	kvmft_info_ok(dev, &info);
	CHECK_EQ(info.verdict, KVMFT_VERDICT_UNTESTED, "verdict");
	CHECK_EQ(info.hooks, 0, "hooks");
	CHECK(!read_file(SYSFS "verdict", text, sizeof(text)), SYSFS "verdict: %m");
	CHECK(!strcmp(text, "untested"), "sysfs says '%s'", text);
	CHECK_RET(self_test(dev), -ENODEV, "KVMFT_SELF_TEST without KVM");
	kvmft_info_ok(dev, &info);
	CHECK_EQ(info.verdict, KVMFT_VERDICT_UNTESTED, "verdict");
	CHECK_RET(module_unload(), -EAGAIN, "rmmod with the device open");
	modprobe("kvm_amd");
	program_vm(&vm, 0);
	close(kvmft_create_ok(dev, vm.fd));
	vm_destroy(&vm);
	check_exact(dev);
	unload(dev);
}

static void setup(void)
{
	machine = getenv("KVMFT_MACHINE");
	if (!machine)
		machine = "";
	if (access("/dev/kvm", F_OK))
		modprobe("kvm_amd");
}

static const struct tap_case cases[] = {
	{ "counters_are_taken", counters_are_taken, 0 },
	{ "counters_are_taken_later", counters_are_taken_later, 0 },
	{ "a_replays_counters_are_taken", a_replays_counters_are_taken, 0 },
	{ "nmi_watchdog", nmi_watchdog, 0 },
	{ "no_pmu", no_pmu, 0 },
	{ "entries_are_not_counted", entries_are_not_counted, 0 },
	{ "kvm_comes_later", kvm_comes_later, 0 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, &KVMFT_SUITE(cases, setup, NULL));
}
