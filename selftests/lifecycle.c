// SPDX-License-Identifier: GPL-2.0
/*
 * However a session, its VM, its VMM or the module's user ends: the others go on, what
 * was held is given back, and rmmod works as soon as no session is left.  After each
 * case the library checks that no session, hook or user of the module remains.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvmft.h"
#include "programs.h"
#include "util.h"
#include "vmm.h"
#include "workload.h"

/* A session closes at once, whatever its vCPU does: far below the module's own patience */
#define CLOSE_LIMIT	(5 * NSEC_PER_SEC)

static int dev;

static void close_session(int session)
{
	u64 start = now_ns();

	close(session);
	CHECK(now_ns() - start < CLOSE_LIMIT, "close() of a session took %llu ms",
	      (unsigned long long)((now_ns() - start) / NSEC_PER_MSEC));
}

static bool session_counts(int session)
{
	struct kvmft_session_status status;

	kvmft_status_ok(session, &status);
	return status.state == KVMFT_STATE_COUNTING;
}

static u64 session_exits(int session)
{
	struct kvmft_session_status status;

	kvmft_status_ok(session, &status);
	return status.exits;
}

static short poll_now(int session)
{
	struct pollfd pfd = { .fd = session, .events = POLLIN | POLLOUT };

	CHECK(poll(&pfd, 1, 0) >= 0, "poll: %m");
	return pfd.revents;
}

/* The session has ended for the reason @end, says so in every way, and answers */
static void check_ended(int session, enum kvmft_end end)
{
	struct pollfd pfd = { .fd = session };
	struct kvmft_session_status status;

	CHECK(poll(&pfd, 1, WAIT_TIMEOUT * 1000) == 1, "the session does not end");
	CHECK(pfd.revents & POLLHUP, "poll() reports %#x instead of POLLHUP", pfd.revents);
	kvmft_status_ok(session, &status);
	CHECK_EQ(status.state, KVMFT_STATE_ENDED, "state");
	CHECK_EQ(status.end, end, "end");
	CHECK_RET(kvmft_stop(session, 1000), -ESTALE, "KVMFT_SESSION_STOP of an ended session");
}

static u32 hooks(void)
{
	struct kvmft_info info;

	kvmft_info_ok(dev, &info);
	return info.hooks;
}

static void rmmod_is_refused(void)
{
	struct kvmft_info info;
	int session;
	struct vm vm;

	CHECK_RET(module_unload(), -EAGAIN, "rmmod with the device open");
	program_vm(&vm, 0);
	CHECK_EQ(hooks(), 0, "hooks without a session");
	session = kvmft_create_ok(dev, vm.fd);
	kvmft_info_ok(dev, &info);
	CHECK_EQ(info.sessions, 1, "sessions");
	CHECK(info.hooks > 0, "nothing is hooked");
	close(dev);
	CHECK_RET(module_unload(), -EAGAIN, "rmmod with a session");
	workload_start(&vm, 1, 1000);
	CHECK_EQ(vm_run_to_port(&vm), PORT_SYNC, "port");
	CHECK_RET(module_unload(), -EAGAIN, "rmmod with a session that counts");
	close_session(session);
	wait_until(!module_refcount(), "the module to be unused");
	CHECK_RET(module_unload(), 0, "rmmod after the session");
	workload_next(&vm, 2, 1000);
	CHECK_EQ(vm_run_to_port(&vm), PORT_SYNC, "port");
	CHECK(workload_right(&vm), "the guest's result is wrong");
	CHECK_RET(module_load(""), 0, "loading the module again");
	vm_destroy(&vm);
}

/* The guest does not notice when its session is closed under way */
static void closed_while_running(void)
{
	struct vmm vmm;
	int i, session;

	vmm_start(&vmm, VMM_WORKLOAD, 1);
	vmm_command(&vmm, VMM_RUN);
	for (i = 0; i < 8; i++) {
		session = kvmft_create_ok(dev, vmm.vm_fd);
		wait_until(session_counts(session), "the session to count");
		if (i % 2)
			vmm_wait_laps(&vmm, 1);
		close_session(session);
		vmm_wait_laps(&vmm, 2);
		CHECK_EQ(hooks(), 0, "hooks after the session");
	}
	vmm_kill(&vmm);
}

/* A vCPU that never leaves the guest by itself is armed, counted and let go all the same */
static void closed_while_spinning(void)
{
	u64 exits;
	struct vmm vmm;
	int i, session;

	vmm_start(&vmm, VMM_SPIN, 0);
	vmm_command(&vmm, VMM_RUN);
	for (i = 0; i < 5; i++) {
		session = kvmft_create_ok(dev, vmm.vm_fd);
		wait_until(session_counts(session), "the session to count");
		exits = session_exits(session);
		wait_until(session_exits(session) > exits, "another exit");
		CHECK_RET(kvmft_stop(session, 1000), -EBUSY, "KVMFT_SESSION_STOP in KVM_RUN");
		close_session(session);
	}
	vmm_kill(&vmm);
}

static void *close_from_thread(void *arg)
{
	usleep(20000);
	close_session(*(int *)arg);
	return NULL;
}

static void closed_by_another_thread(void)
{
	pthread_t thread;
	int i, session;
	struct vm vm;

	program_vm(&vm, 0);
	workload_start(&vm, 7, 500);
	for (i = 0; i < 6; i++) {
		u64 until = now_ns() + 40 * NSEC_PER_MSEC;

		session = kvmft_create_ok(dev, vm.fd);
		CHECK(!pthread_create(&thread, NULL, close_from_thread, &session),
		      "pthread_create");
		while (now_ns() < until) {
			CHECK_EQ(vm_run_to_port(&vm), PORT_SYNC, "port");
			CHECK(workload_right(&vm), "the guest's result is wrong");
			workload_next(&vm, now_ns(), 500);
		}
		pthread_join(thread, NULL);
	}
	vm_destroy(&vm);
}

/* A vCPU that sleeps in HLT holds nothing up, and still wakes */
static void closed_while_halted(void)
{
	struct kvmft_session_status status;
	struct vmm vmm;
	u64 wakes;
	int i, session;

	vmm_start(&vmm, VMM_HALT, 0);
	session = kvmft_create_ok(dev, vmm.vm_fd);
	vmm_command(&vmm, VMM_RUN);
	for (i = 0; i < 6; i++) {
		if (i == 3) {	/* from here on each session is made while the vCPU sleeps */
			close_session(session);
			session = -1;
		}
		if (session < 0)
			session = kvmft_create_ok(dev, vmm.vm_fd);
		wakes = __atomic_load_n(&vmm.shared->wakes, __ATOMIC_ACQUIRE);
		vmm_command(&vmm, VMM_INTERRUPT);
		wait_until(__atomic_load_n(&vmm.shared->wakes, __ATOMIC_ACQUIRE) > wakes,
			   "the guest to wake with a session");
		kvmft_status_ok(session, &status);
		CHECK_EQ(status.state, KVMFT_STATE_COUNTING, "state");
		close_session(session);
		session = -1;
		CHECK_EQ(hooks(), 0, "hooks after the session");
		wakes = __atomic_load_n(&vmm.shared->wakes, __ATOMIC_ACQUIRE);
		vmm_command(&vmm, VMM_INTERRUPT);
		wait_until(__atomic_load_n(&vmm.shared->wakes, __ATOMIC_ACQUIRE) > wakes,
			   "the guest to wake without a session");
	}
	vmm_kill(&vmm);
}

/* kill -9 of the VMM, session and all */
static void vmm_with_session(void *arg)
{
	int session;
	struct vm vm;
	u64 *laps = arg;

	program_vm(&vm, 0);
	session = kvmft_create_ok(dev, vm.fd);
	workload_start(&vm, 3, 3000);
	kvmft_stop_ok(session, 1000000000);
	for (;;) {
		CHECK_EQ(vm_run_to_port(&vm), PORT_SYNC, "port");
		__atomic_fetch_add(laps, 1, __ATOMIC_RELEASE);
	}
}

static void killed_with_its_session(void)
{
	struct vmm_shared *shared;
	struct vmm vmm;
	pid_t pid;
	u64 laps;
	int i;

	/* For its shared page */
	vmm_start(&vmm, VMM_WORKLOAD, 1);
	shared = vmm.shared;
	for (i = 0; i < 6; i++) {
		laps = __atomic_load_n(&shared->laps, __ATOMIC_ACQUIRE);
		pid = spawn(vmm_with_session, &shared->laps);
		wait_until(__atomic_load_n(&shared->laps, __ATOMIC_ACQUIRE) > laps + i % 3,
			   "the guest to run");
		kill(pid, SIGKILL);
		join(pid, SIGKILL, "a killed VMM");
	}
	vmm_kill(&vmm);
}

/* The VMM dies, the session's descriptor lives on in this process */
static void vmm_killed(enum vmm_guest guest)
{
	struct vmm vmm;
	int i, session;

	for (i = 0; i < 4; i++) {
		vmm_start(&vmm, guest, i);
		if (i % 2)
			vmm_command(&vmm, VMM_RUN);
		session = kvmft_create_ok(dev, vmm.vm_fd);
		if (!(i % 2))
			vmm_command(&vmm, VMM_RUN);
		wait_until(session_counts(session) || (guest == VMM_HALT && i % 2),
			   "the session to count");
		CHECK_EQ(poll_now(session), 0, "poll() of a living session");
		close(vmm.vm_fd);
		vmm.vm_fd = -1;
		vmm_kill(&vmm);
		check_ended(session, KVMFT_END_VM_DESTROYED);
		wait_until(!hooks(), "hooks of an ended session to go");
		close_session(session);
	}
}

static void vmm_killed_while_running(void)
{
	vmm_killed(VMM_WORKLOAD);
}

static void vmm_killed_while_spinning(void)
{
	vmm_killed(VMM_SPIN);
}

static void vmm_killed_while_halted(void)
{
	vmm_killed(VMM_HALT);
}

static void vm_destroyed(void)
{
	struct kvmft_session_status status;
	int session;
	struct vm vm;

	program_vm(&vm, 0);
	session = kvmft_create_ok(dev, vm.fd);
	CHECK_EQ(poll_now(session), 0, "poll() of a living session");
	vm_destroy(&vm);		/* before its vCPU ever ran */
	check_ended(session, KVMFT_END_VM_DESTROYED);
	close_session(session);

	program_vm(&vm, 0);
	session = kvmft_create_ok(dev, vm.fd);
	workload_start(&vm, 3, 3000);
	CHECK_EQ(vm_run_to_port(&vm), PORT_SYNC, "port");
	vm_destroy(&vm);
	check_ended(session, KVMFT_END_VM_DESTROYED);
	kvmft_status_ok(session, &status);
	CHECK(status.exits && status.cond, "the counts of the ended session are gone");
	close_session(session);
}

static void vmm_becomes_another_program(void)
{
	struct vmm vmm;
	int session;

	vmm_start(&vmm, VMM_WORKLOAD, 1);
	session = kvmft_create_ok(dev, vmm.vm_fd);
	vmm_command(&vmm, VMM_RUN);
	vmm_wait_laps(&vmm, 1);
	close(vmm.vm_fd);
	vmm.vm_fd = -1;
	vmm_command(&vmm, VMM_EXEC);
	vmm_join(&vmm);
	check_ended(session, KVMFT_END_VM_DESTROYED);
	close_session(session);
}

struct watcher {
	int session;		/* -1: none */
	unsigned int looks;
	unsigned int torn;
	bool stop;
};

/* Whoever sees that a session is over sees why, and the other way round */
static void *watch_status(void *arg)
{
	struct kvmft_session_status status;
	struct watcher *watcher = arg;
	int session;

	while (!__atomic_load_n(&watcher->stop, __ATOMIC_ACQUIRE)) {
		session = __atomic_load_n(&watcher->session, __ATOMIC_ACQUIRE);
		if (session < 0 || kvmft_status(session, &status))
			continue;
		watcher->looks++;
		watcher->torn += (status.state == KVMFT_STATE_ENDED) != !!status.end;
	}
	return NULL;
}

#define WATCHED	40

static void status_is_whole(void)
{
	struct watcher watcher = { .session = -1 };
	struct kvmft_session_status status;
	pthread_t thread;
	struct vm vm;
	int i, session;

	CHECK(!pthread_create(&thread, NULL, watch_status, &watcher), "pthread_create");
	for (i = 0; i < WATCHED; i++) {
		program_vm(&vm, 0);
		session = kvmft_create_ok(dev, vm.fd);
		__atomic_store_n(&watcher.session, session, __ATOMIC_RELEASE);
		/* The watcher has the CPU meanwhile, and loses it wherever it is then */
		usleep(3000);
		CHECK(ioctl(vm.fd, KVM_CREATE_VCPU, 1) >= 0, "KVM_CREATE_VCPU: %m");
		do {
			kvmft_status_ok(session, &status);
		} while (status.state != KVMFT_STATE_ENDED);
		CHECK_EQ(status.end, KVMFT_END_VCPU_ADDED, "end");
		__atomic_store_n(&watcher.session, -1, __ATOMIC_RELEASE);
		close_session(session);
		vm_destroy(&vm);
	}
	__atomic_store_n(&watcher.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	tap_diag("%d sessions ended, %u looks", WATCHED, watcher.looks);
	CHECK_EQ(watcher.torn, 0, "looks at half a status");
}

/* More than one vCPU is not protected, neither from the start nor later */
static void second_vcpu(void)
{
	struct vmm vmm;
	int session;

	vmm_start(&vmm, VMM_WORKLOAD, 1);
	session = kvmft_create_ok(dev, vmm.vm_fd);
	vmm_command(&vmm, VMM_RUN);
	vmm_wait_laps(&vmm, 1);
	vmm_command(&vmm, VMM_ADD_VCPU);
	check_ended(session, KVMFT_END_VCPU_ADDED);
	wait_until(!hooks(), "hooks of an ended session to go");
	vmm_wait_laps(&vmm, 2);
	CHECK_RET(kvmft_create(dev, vmm.vm_fd), -EOPNOTSUPP, "session on a VM with two vCPUs");
	close_session(session);
	CHECK_RET(kvmft_create(dev, vmm.vm_fd), -EOPNOTSUPP, "session on a VM with two vCPUs");
	vmm_wait_laps(&vmm, 1);
	vmm_kill(&vmm);
}

static void fork_child(void *arg)
{
	int *socks = arg;
	char byte;

	CHECK(read(socks[1], &byte, 1) == 1, "read: %m");
}

/* A session lives until its last descriptor is closed, in whichever process */
static void fork_and_exec(void)
{
	struct kvmft_session_status status;
	struct kvmft_info info;
	int session, socks[2];
	struct vm vm;
	pid_t pid;

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks), "socketpair: %m");
	program_vm(&vm, 0);
	session = kvmft_create_ok(dev, vm.fd);
	CHECK(fcntl(session, F_GETFD) & FD_CLOEXEC, "a session's descriptor survives exec()");
	pid = spawn(fork_child, socks);
	close(session);
	kvmft_info_ok(dev, &info);
	CHECK_EQ(info.sessions, 1, "sessions while the child has a descriptor");
	CHECK_RET(kvmft_create(dev, vm.fd), -EBUSY, "another session meanwhile");
	workload_start(&vm, 3, 3000);
	CHECK_EQ(vm_run_to_port(&vm), PORT_SYNC, "port");
	CHECK(write(socks[0], "", 1) == 1, "write: %m");
	join(pid, 0, "the child");
	kvmft_info_ok(dev, &info);
	CHECK_EQ(info.sessions, 0, "sessions after the child");
	session = kvmft_create_ok(dev, vm.fd);
	kvmft_status_ok(session, &status);
	CHECK_EQ(status.cond, 0, "conditional branches of a new session");
	close_session(session);
	vm_destroy(&vm);
}

static void make_session_for_parent(void *arg)
{
	int *fds = arg;		/* socket, vm */
	int own_dev = kvmft_open_ok();

	send_fd(fds[0], kvmft_create_ok(own_dev, fds[1]));
}

/* Made by one process, used by another after the first is gone */
static void passed_over_a_socket(void)
{
	struct kvmft_session_status status;
	int session, socks[2], fds[2];
	struct vm vm;
	pid_t pid;

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks), "socketpair: %m");
	program_vm(&vm, 0);
	fds[0] = socks[1];
	fds[1] = vm.fd;
	pid = spawn(make_session_for_parent, fds);
	session = recv_fd(socks[0]);
	CHECK(session >= 0, "no session came");
	join(pid, 0, "the maker of the session");
	workload_start(&vm, 3, 3000);
	CHECK_EQ(vm_run_to_port(&vm), PORT_SYNC, "port");
	kvmft_status_ok(session, &status);
	CHECK_EQ(status.state, KVMFT_STATE_COUNTING, "state");
	CHECK(status.cond > 3000, "only %llu conditional branches",
	      (unsigned long long)status.cond);
	close_session(session);
	vm_destroy(&vm);
}

struct window {
	struct vm *vm;
	u64 n;
};

static void *run_window(void *arg)
{
	struct window *window = arg;

	program_start(window->vm, &programs[1], &exit_kinds[0], window->n, window->n / 3);
	CHECK_EQ(vm_run_to_port(window->vm), PORT_DONE, "port");
	return NULL;
}

/* The counters follow the vCPU from thread to thread, and count on */
static void vcpu_changes_threads(void)
{
	struct kvmft_session_status status;
	struct counts want, sum = {};
	struct window window;
	pthread_t thread;
	int i, session;
	struct vm vm;

	program_vm(&vm, 0);
	session = kvmft_create_ok(dev, vm.fd);
	window.vm = &vm;
	for (i = 0; i < 12; i++) {
		window.n = 100 + 50 * i;
		if (i % 3) {
			CHECK(!pthread_create(&thread, NULL, run_window, &window),
			      "pthread_create");
			pthread_join(thread, NULL);
		} else {
			run_window(&window);
		}
		program_counts(&programs[1], &exit_kinds[0], window.n, window.n / 3, &want);
		sum.cond += want.cond;
		sum.taken += want.taken;
		kvmft_status_ok(session, &status);
		CHECK_EQ(status.state, KVMFT_STATE_COUNTING, "state");
		CHECK_EQ(status.cond, sum.cond, "conditional branches");
		CHECK_EQ(status.taken, sum.taken, "taken branches");
	}
	close_session(session);
	vm_destroy(&vm);
}

/*
 * Each session is its own: several VMs at a time, by chance on one thread.  That has
 * counters for three; the fourth session ends, and harms neither the others nor its VM.
 */
#define SESSIONS	4
#define COUNTED		3

static void several_sessions(void)
{
	struct kvmft_session_status status;
	int i, sessions[SESSIONS];
	struct vm vms[SESSIONS];
	struct kvmft_info info;
	u32 one_hooked = 0;
	u64 last = 0;

	for (i = 0; i < SESSIONS; i++) {
		program_vm(&vms[i], 0);
		sessions[i] = kvmft_create_ok(dev, vms[i].fd);
		kvmft_info_ok(dev, &info);
		CHECK_EQ(info.sessions, i + 1, "sessions");
		if (!i)
			one_hooked = info.hooks;
		CHECK_EQ(info.hooks, one_hooked, "hooks");
		kvmft_status_ok(sessions[i], &status);
		CHECK(status.id > last, "session id %llu after %llu",
		      (unsigned long long)status.id, (unsigned long long)last);
		last = status.id;
	}
	for (i = 0; i < SESSIONS; i++) {
		const struct kvm_regs regs = { .r15 = 1000 + i };

		vm_start(&vms[i], spin, &regs);
		CHECK_EQ(vm_run_to_port(&vms[i]), PORT_DONE, "port");
	}
	check_ended(sessions[COUNTED], KVMFT_END_NO_COUNTER);
	for (i = 0; i < SESSIONS; i++) {
		kvmft_info_ok(dev, &info);
		CHECK_EQ(info.sessions, SESSIONS - i, "sessions");
		if (i < COUNTED)
			CHECK_EQ(info.hooks, one_hooked, "hooks");
		else
			wait_until(!hooks(), "hooks of ended sessions to go");
		if (i < COUNTED) {
			kvmft_status_ok(sessions[i], &status);
			CHECK_EQ(status.cond, 1000 + i, "conditional branches");
			CHECK_EQ(status.taken, 999 + i, "taken branches");
		}
		close_session(sessions[i]);
		vm_destroy(&vms[i]);
	}
}

/* The device's descriptor is open in every case */
#define CASE(name)				\
static void case_##name(void)			\
{						\
	dev = kvmft_open_ok();			\
	name();					\
}

CASE(rmmod_is_refused)
CASE(closed_while_running)
CASE(closed_while_spinning)
CASE(closed_by_another_thread)
CASE(closed_while_halted)
CASE(killed_with_its_session)
CASE(vmm_killed_while_running)
CASE(vmm_killed_while_spinning)
CASE(vmm_killed_while_halted)
CASE(vm_destroyed)
CASE(vmm_becomes_another_program)
CASE(second_vcpu)
CASE(status_is_whole)
CASE(fork_and_exec)
CASE(passed_over_a_socket)
CASE(vcpu_changes_threads)
CASE(several_sessions)

#define ENTRY(name) { #name, case_##name, 0 }

static const struct tap_case cases[] = {
	ENTRY(rmmod_is_refused),
	ENTRY(closed_while_running),
	ENTRY(closed_while_spinning),
	ENTRY(closed_by_another_thread),
	ENTRY(closed_while_halted),
	ENTRY(killed_with_its_session),
	ENTRY(vmm_killed_while_running),
	ENTRY(vmm_killed_while_spinning),
	ENTRY(vmm_killed_while_halted),
	ENTRY(vm_destroyed),
	ENTRY(vmm_becomes_another_program),
	ENTRY(second_vcpu),
	ENTRY(status_is_whole),
	ENTRY(fork_and_exec),
	ENTRY(passed_over_a_socket),
	ENTRY(vcpu_changes_threads),
	ENTRY(several_sessions),
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, &KVMFT_SUITE(cases, kvmft_setup, kvmft_teardown));
}
