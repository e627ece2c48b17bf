// SPDX-License-Identifier: GPL-2.0
/*
 * Wherever the module makes a vCPU wait, its VMM can stop it, go on, change memory slots, end
 * the session and be killed.
 *
 *	test                          VMM: a thread for the vCPU, one for commands
 *	  |<---- "log" of stall.h ------|	the test decides how far it can be read or written
 *	  |------- commands ----------->|	one byte each over a socket, returned when done
 *	  |<==== struct shared =========|	progress
 *
 * That the vCPU waits, and where, is seen in the stack of its thread.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kvmft.h"
#include "logfile.h"
#include "microrun.h"
#include "stall.h"
#include "transparent.h"
#include "util.h"

#define DIR		"/tmp/waits"
#define MEMORY_DIR	"/tmp/waits-memory"

/* What happens at once takes no longer than this of the host's time */
#define AT_ONCE		5

/* More than the entries that a recording has room for behind a place where it waits */
#define DISTURBANCES	20

#define SLOT_ADDR	0x10000000ULL
#define SLOT_SIZE	0x10000ULL

/* Of the IOAPIC alone */
#define MASKED_LINE	20

enum command {
	ADD_SLOT = 's',
	ADD_FILE_SLOT = 'f',	/* its memory is a file that stalls */
	FINISH = 'e',		/* the recording, with a digest of memory */
	INTERRUPT = 'i',
	LINE = 'l',		/* an interrupt line that is masked */
	TELL = 't',		/* fill in shared->seq */
	HURRY = 'h',		/* immediate_exit is set */
	NO_HURRY = 'n',
	CLOSE = 'c',		/* the session */
};

struct shared {
	pid_t tid;		/* of the vCPU's thread */
	u64 session;		/* its number */
	u64 interrupted;	/* returns from KVM_RUN with EINTR */
	int done;		/* the guest has come to its end */
	int error;		/* of KVM_RUN, the last */
	u64 seq;		/* entries written or consumed */
	u64 exits;		/* returns from the guest */
	u64 inputs;		/* applied */
	u32 end;		/* how the session ended */
	int split;		/* the first access of two is over: the VMM waits for */
	int go_on;		/* ... this */
};

struct vmm {
	const struct place *place;
	bool replay;
	pid_t pid;
	int sock;
	struct shared *shared;
	struct vm vm;
	int session;
	unsigned int slots;
};

/**
 * struct place - where a vCPU waits
 * @name: of the case
 * @function: is in the stack of a thread that waits there
 * @micro: the guest
 * @replay: in a replay, else in a recording
 * @differs: the replay's guest is another: it has diverged
 * @held: it never goes on
 * @halted: the guest needs an interrupt to go on, in the recording
 * @split: its log is cut between two accesses of one instruction
 * @finish: the log ends there, with a digest of memory
 */
struct place {
	const char *name;
	const char *function;
	struct micro micro;
	bool replay;
	bool differs;
	bool held;
	bool halted;
	bool split;
	bool finish;
};

enum place_index {
	RECORD_FULL,
	RECORD_HALTED,
	REPLAY_STARVED,
	REPLAY_IN_INSTRUCTION,
	REPLAY_HALTED,
	REPLAY_DIVERGED,
	REPLAY_ENDED,
	REPLAY_ENDED_HALTED,
	REPLAY_DIGEST,
	REPLAY_DIGEST_HALTED,
};

#define STRINGS(n)	{ .name = "strings", .entry = waits_strings, .iterations = n }
#define SPLIT(n)	{ .name = "split", .entry = waits_split, .iterations = n }
#define HALTED(n)	{ .name = "halted", .entry = waits_halted, .iterations = n }

static const struct place places[] = {
	[RECORD_FULL] = { .function = "record_boundary", .micro = STRINGS(3000) },
	[RECORD_HALTED] = { .function = "kvm_vcpu_block", .micro = HALTED(1), .halted = true },
	[REPLAY_STARVED] = { .function = "replay_boundary", .micro = STRINGS(500), .replay = true },
	[REPLAY_IN_INSTRUCTION] = { .function = "replay_", .micro = SPLIT(2),
				    .replay = true, .split = true },
	[REPLAY_HALTED] = { .function = "replay_halt", .micro = HALTED(1), .replay = true,
			    .halted = true },
	[REPLAY_DIVERGED] = { .function = "replay_boundary", .micro = STRINGS(5), .replay = true,
			      .differs = true, .held = true },
	[REPLAY_ENDED] = { .function = "replay_boundary", .micro = STRINGS(5), .replay = true,
			   .held = true },
	[REPLAY_ENDED_HALTED] = { .function = "replay_halt", .micro = HALTED(1), .replay = true,
				  .held = true, .halted = true },
	[REPLAY_DIGEST] = { .function = "replay_", .micro = SPLIT(2), .replay = true,
			    .split = true, .finish = true },
	[REPLAY_DIGEST_HALTED] = { .function = "replay_halt", .micro = HALTED(1), .replay = true,
				   .halted = true, .finish = true },
};

static struct stall stall, memory;

/* In the VMM */

static void answer(const struct vmm *vmm, struct kvm_run *run)
{
	if (run->exit_reason == KVM_EXIT_MMIO) {
		memset(run->mmio.data, 'x', run->mmio.len);
		if (vmm->replay || run->mmio.phys_addr % 4096)
			return;
		__atomic_store_n(&vmm->shared->split, 1, __ATOMIC_RELEASE);
		wait_until(__atomic_load_n(&vmm->shared->go_on, __ATOMIC_ACQUIRE), "the test");
		return;
	}
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != MICRO_PORT_STRING)
		tap_fail("the guest left with reason %u", run->exit_reason);
	memset((u8 *)run + run->io.data_offset, 'x', run->io.size * run->io.count);
}

static void *vcpu_thread(void *arg)
{
	struct vmm *vmm = arg;
	struct kvm_run *run = vmm->vm.run;

	__atomic_store_n(&vmm->shared->tid, gettid(), __ATOMIC_RELEASE);
	for (;;) {
		if (!ioctl(vmm->vm.vcpu, KVM_RUN, NULL)) {
			if (run->exit_reason == KVM_EXIT_IO && run->io.port == PORT_DONE)
				__atomic_store_n(&vmm->shared->done, 1, __ATOMIC_RELEASE);
			else
				answer(vmm, run);
			if (!vmm->shared->done || vmm->place->held)
				continue;
		} else if (errno == EINTR) {
			__atomic_fetch_add(&vmm->shared->interrupted, 1, __ATOMIC_RELEASE);
			continue;
		} else {
			__atomic_store_n(&vmm->shared->error, errno, __ATOMIC_RELEASE);
		}
		return NULL;
	}
}

/* @file: its memory, or NULL */
static void add_slot(struct vmm *vmm, const char *file)
{
	struct kvm_userspace_memory_region region = {
		.slot = ++vmm->slots,
		.guest_phys_addr = SLOT_ADDR + vmm->slots * SLOT_SIZE,
		.memory_size = SLOT_SIZE,
	};
	int fd = -1;
	void *mem;

	if (file) {
		fd = open(file, O_RDWR | O_CLOEXEC);
		CHECK(fd >= 0 && !ftruncate(fd, SLOT_SIZE), "%s: %m", file);
	}
	mem = mmap(NULL, SLOT_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | (file ? 0 : MAP_ANONYMOUS), fd, 0);
	CHECK(mem != MAP_FAILED, "mmap: %m");
	if (file)
		close(fd);
	region.userspace_addr = (uintptr_t)mem;
	CHECK(!ioctl(vmm->vm.fd, KVM_SET_USER_MEMORY_REGION, &region),
	      "KVM_SET_USER_MEMORY_REGION: %m");
}

static void obey(struct vmm *vmm, char command)
{
	struct kvm_msi msi = { .address_lo = GUEST_APIC, .data = MICRO_VECTOR };
	struct kvm_irq_level line = { .irq = MASKED_LINE, .level = 1 };
	struct kvmft_session_status status;

	switch (command) {
	case ADD_SLOT:
		add_slot(vmm, NULL);
		break;
	case ADD_FILE_SLOT:
		add_slot(vmm, MEMORY_DIR "/log");
		break;
	case FINISH:
		CHECK_RET(kvmft_finish(vmm->session), 0, "KVMFT_SESSION_FINISH");
		break;
	case INTERRUPT:
		CHECK(ioctl(vmm->vm.fd, KVM_SIGNAL_MSI, &msi) >= 0, "KVM_SIGNAL_MSI: %m");
		break;
	case LINE:
		CHECK(!ioctl(vmm->vm.fd, KVM_IRQ_LINE, &line), "KVM_IRQ_LINE: %m");
		break;
	case TELL:
		kvmft_status_ok(vmm->session, &status);
		vmm->shared->seq = status.seq;
		vmm->shared->exits = status.exits;
		vmm->shared->inputs = status.inputs;
		vmm->shared->end = status.end;
		break;
	case HURRY:
	case NO_HURRY:
		__atomic_store_n(&vmm->vm.run->immediate_exit, command == HURRY, __ATOMIC_RELEASE);
		break;
	case CLOSE:
		close(vmm->session);
		break;
	}
}

static void vmm_main(void *arg)
{
	struct vmm *vmm = arg;
	struct micro micro = vmm->place->micro;
	struct kvmft_session_status status;
	pthread_t thread;
	char command;
	int dev, log;

	if (vmm->replay && vmm->place->differs)
		micro.iterations++;
	micro_vm(&vmm->vm, &micro);
	dev = kvmft_open_ok();
	log = open(DIR "/log", O_RDWR | O_CLOEXEC);
	CHECK(log >= 0, DIR "/log: %m");
	vmm->session = kvmft_create_ok(dev, vmm->vm.fd);
	close(dev);
	kvmft_status_ok(vmm->session, &status);
	vmm->shared->session = status.id;
	if (vmm->replay)
		CHECK_RET(kvmft_replay(vmm->session, log), 0, "KVMFT_SESSION_REPLAY");
	else
		CHECK_RET(kvmft_record(vmm->session, log, 0), 0, "KVMFT_SESSION_RECORD");
	close(log);
	CHECK(!pthread_create(&thread, NULL, vcpu_thread, vmm), "pthread_create");
	while (read(vmm->sock, &command, 1) == 1) {
		obey(vmm, command);
		CHECK(write(vmm->sock, &command, 1) == 1, "write: %m");
	}
}

/* In the test */

static void start(struct vmm *vmm, const struct place *place, bool replay)
{
	int socks[2];

	*vmm = (struct vmm) { .place = place, .replay = replay };
	vmm->shared = mmap(NULL, sizeof(*vmm->shared), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(vmm->shared != MAP_FAILED, "mmap: %m");
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks), "socketpair: %m");
	vmm->sock = socks[1];
	vmm->pid = spawn(vmm_main, vmm);
	close(socks[1]);
	vmm->sock = socks[0];
	wait_until(__atomic_load_n(&vmm->shared->tid, __ATOMIC_ACQUIRE), "the vCPU's thread");
}

#define at_once(cond, what) do {						\
	u64 deadline_ = now_ns() + AT_ONCE * NSEC_PER_SEC;			\
										\
	while (!(cond)) {							\
		CHECK(now_ns() < deadline_, "not within %d s: %s", AT_ONCE, what); \
		usleep(500);							\
	}									\
} while (0)

static void send_command(struct vmm *vmm, enum command command)
{
	char byte = command;

	CHECK(write(vmm->sock, &byte, 1) == 1, "the VMM is gone: %m");
}

/* @seconds: how long it may take */
static void wait_command(struct vmm *vmm, enum command command, int seconds)
{
	struct pollfd pfd = { .fd = vmm->sock, .events = POLLIN };
	char byte;

	CHECK(poll(&pfd, 1, seconds * 1000) == 1, "the VMM's '%c' is not over within %d s", command,
	      seconds);
	CHECK(read(vmm->sock, &byte, 1) == 1, "the VMM died of '%c'", command);
}

static void run_command(struct vmm *vmm, enum command command)
{
	send_command(vmm, command);
	wait_command(vmm, command, AT_ONCE);
}

/* Does this thread of the VMM sleep in this function? */
static bool thread_sleeps_in(const struct vmm *vmm, pid_t tid, const char *function)
{
	char path[100], text[4000];
	const char *state;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", vmm->pid, tid);
	if (read_file(path, text, sizeof(text)))
		return false;
	state = strrchr(text, ')');
	if (!state || strncmp(state, ") S", 3))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/stack", vmm->pid, tid);
	return !read_file(path, text, sizeof(text)) && strstr(text, function);
}

/* Does the vCPU's? */
static bool sleeps_in(const struct vmm *vmm, const char *function)
{
	return thread_sleeps_in(vmm, vmm->shared->tid, function);
}

static bool in_sysfs(const struct vmm *vmm)
{
	char path[100];

	snprintf(path, sizeof(path), "/sys/class/misc/kvmft/session%llu",
		 (unsigned long long)vmm->shared->session);
	return !access(path, F_OK);
}

static void kill_vmm(struct vmm *vmm)
{
	u64 before = now_ns();

	CHECK(!kill(vmm->pid, SIGKILL), "kill: %m");
	join(vmm->pid, SIGKILL, "a killed VMM");
	CHECK(now_ns() < before + AT_ONCE * NSEC_PER_SEC, "a killed VMM took more than %d s to go",
	      AT_ONCE);
	CHECK(!in_sysfs(vmm), "the session of a killed VMM is in sysfs");
	close(vmm->sock);
	munmap(vmm->shared, sizeof(*vmm->shared));
}

static void unused_module(void)
{
	wait_until(!module_refcount(), "the module to be unused");
}

static bool is_done(const struct vmm *vmm)
{
	return __atomic_load_n(&vmm->shared->done, __ATOMIC_ACQUIRE);
}

static u64 inputs(struct vmm *vmm)
{
	run_command(vmm, TELL);
	return vmm->shared->inputs;
}

static bool has_ended(struct vmm *vmm)
{
	run_command(vmm, TELL);
	return vmm->shared->end;
}

/* All that was recorded is in the file: its size */
static u64 wait_written(struct vmm *vmm)
{
	static size_t offsets[1000];
	u64 size = 0;

	run_command(vmm, TELL);
	wait_until((size = stall_size(&stall)) &&
		   logfile_entries(stall.bytes, size, offsets, ARRAY_SIZE(offsets)) ==
		   (int)vmm->shared->seq, "the log to be written");
	return size;
}

/* Record the log that @place needs; returns up to where it is to be read at first */
static u64 record_for(const struct place *place)
{
	u64 limit = ~0ULL;
	struct vmm vmm;

	/* Not even written while the guest runs: one block has most of it */
	if (!place->halted && !place->split)
		stall_limit(&stall, 1);
	start(&vmm, place, false);
	if (place->halted) {
		/* An input that does not wake it: only behind one of these a replay waits halted */
		wait_until(sleeps_in(&vmm, "kvm_vcpu_block"), "the recorded guest to halt");
		run_command(&vmm, LINE);
		wait_until(inputs(&vmm), "the input to be recorded");
		limit = wait_written(&vmm);
		if (!place->held && !place->finish)
			run_command(&vmm, INTERRUPT);
	} else if (place->split) {
		wait_until(__atomic_load_n(&vmm.shared->split, __ATOMIC_ACQUIRE), "the access");
		limit = wait_written(&vmm);
		if (place->finish) {
			/* Asked for before the guest goes on, which would come to its end */
			send_command(&vmm, FINISH);
			wait_until(thread_sleeps_in(&vmm, vmm.pid, "kvmft_session_finish"),
				   "KVMFT_SESSION_FINISH");
		}
		__atomic_store_n(&vmm.shared->go_on, 1, __ATOMIC_RELEASE);
		if (place->finish)
			wait_command(&vmm, FINISH, AT_ONCE);
	} else {
		wait_until(is_done(&vmm), "the recorded guest's end");
		stall_limit(&stall, ~0ULL);
	}
	if (place->halted && place->finish)
		run_command(&vmm, FINISH);
	if (place->finish)
		wait_until(has_ended(&vmm), "the recording's end");
	else if (!place->halted || !place->held)
		wait_until(is_done(&vmm), "the recorded guest's end");
	/* This ends the log, which is complete when the module is unused */
	kill_vmm(&vmm);
	unused_module();
	if (place->held)
		return ~0ULL;
	return limit == ~0ULL ? stall_size(&stall) / 2 : limit;
}

/* Does the vCPU wait in its place, for what will not come by itself? */
static bool waits(struct vmm *vmm)
{
	const struct place *place = vmm->place;

	run_command(vmm, TELL);
	if (place->held ? !vmm->shared->end : vmm->shared->end)
		return false;
	if (!place->held && (place->replay || !place->halted) && !stall_held(&stall))
		return false;
	return sleeps_in(vmm, place->function);
}

/* What a failed wait needs to be understood: how far the vCPU came, and where it is */
static void fail_to_wait(struct vmm *vmm)
{
	char path[100], stack[150] = "", reason[150] = "";
	const struct shared *shared = vmm->shared;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stack", vmm->pid, shared->tid);
	read_file(path, stack, sizeof(stack));
	snprintf(path, sizeof(path), "/sys/class/misc/kvmft/session%llu/reason",
		 (unsigned long long)shared->session);
	read_file(path, reason, sizeof(reason));
	tap_fail("the vCPU does not wait: entry %llu, done %d, error %d, end %u (%s), in %s",
		 (unsigned long long)shared->seq, shared->done, shared->error, shared->end,
		 reason, stack);
}

static void begin(struct vmm *vmm, const struct place *place)
{
	u64 deadline = now_ns() + WAIT_TIMEOUT * NSEC_PER_SEC;
	u64 limit = 1;		/* the file's header */

	stall_start(&stall, DIR);
	if (place->replay)
		limit = record_for(place);
	else if (place->halted)
		limit = ~0ULL;
	stall_limit(&stall, limit);
	start(vmm, place, place->replay);
	while (!waits(vmm)) {
		if (now_ns() > deadline)
			fail_to_wait(vmm);
		usleep(500);
	}
}

static void finish(void)
{
	stall_limit(&stall, ~0ULL);
	unused_module();
	stall_stop(&stall);
}

static u64 interrupted(const struct vmm *vmm)
{
	return __atomic_load_n(&vmm->shared->interrupted, __ATOMIC_ACQUIRE);
}

/* It is stopped, and waits again, and memory slots come meanwhile */
static void disturb(struct vmm *vmm)
{
	u64 before, exits;
	int i;

	run_command(vmm, TELL);
	exits = vmm->shared->exits;
	for (i = 0; i < DISTURBANCES; i++) {
		before = interrupted(vmm);
		CHECK(!syscall(SYS_tgkill, vmm->pid, vmm->shared->tid, SIGUSR1), "tgkill: %m");
		at_once(interrupted(vmm) > before, "EINTR from KVM_RUN");
		at_once(sleeps_in(vmm, vmm->place->function), "waiting again");
		run_command(vmm, ADD_SLOT);
		at_once(sleeps_in(vmm, vmm->place->function), "waiting on after a new slot");
		run_command(vmm, TELL);
		CHECK(vmm->shared->exits == exits, "the guest ran when it had to wait");
	}
}

/* With immediate_exit KVM_RUN comes back each time, and for one signal alone it came once */
static void hurry(struct vmm *vmm)
{
	u64 before = interrupted(vmm);

	run_command(vmm, HURRY);
	CHECK(!syscall(SYS_tgkill, vmm->pid, vmm->shared->tid, SIGUSR1), "tgkill: %m");
	at_once(interrupted(vmm) > before + 10, "EINTR for immediate_exit");
	run_command(vmm, NO_HURRY);
	at_once(sleeps_in(vmm, vmm->place->function), "waiting again");
}

/* What it waits for comes */
static void goes_on(struct vmm *vmm)
{
	stall_limit(&stall, ~0ULL);
	if (vmm->place->held)
		return;
	if (vmm->place->halted && !vmm->place->replay)
		run_command(vmm, INTERRUPT);
	wait_until(is_done(vmm), "the guest's end");
	CHECK(in_sysfs(vmm), "the session is not in sysfs");
}

/* Another thread closes the session: the vCPU is let go, and its VM is alive if it was recorded */
static void is_closed(struct vmm *vmm)
{
	bool replay = vmm->place->replay;

	send_command(vmm, CLOSE);
	at_once(!in_sysfs(vmm), "the session to leave sysfs");
	if (replay)
		at_once(__atomic_load_n(&vmm->shared->error, __ATOMIC_ACQUIRE) == EIO,
			"KVM_RUN of a closed replay to fail");
	else if (!vmm->place->halted)
		at_once(is_done(vmm), "the guest to go on without its session");
	/* The file's end of the log waits as long as its file system does */
	stall_limit(&stall, ~0ULL);
	wait_command(vmm, CLOSE, AT_ONCE);
	if (vmm->place->halted && !replay) {
		run_command(vmm, INTERRUPT);
		at_once(is_done(vmm), "the guest to go on without its session");
	}
}

static void run_place(enum place_index index)
{
	const struct place *place = &places[index];
	struct vmm vmm;

	/* Undisturbed, to be killed; disturbed, to go on; to be closed */
	begin(&vmm, place);
	kill_vmm(&vmm);
	finish();

	begin(&vmm, place);
	disturb(&vmm);
	hurry(&vmm);
	goes_on(&vmm);
	kill_vmm(&vmm);
	finish();

	begin(&vmm, place);
	disturb(&vmm);
	is_closed(&vmm);
	kill_vmm(&vmm);
	finish();
}

/* Killed while it reads memory to compare its digest, in the middle of a page fault */
static void run_digest(enum place_index index)
{
	struct vmm vmm;

	begin(&vmm, &places[index]);
	stall_start(&memory, MEMORY_DIR);
	run_command(&vmm, ADD_FILE_SLOT);
	stall_limit(&memory, 0);
	stall_limit(&stall, ~0ULL);
	wait_until(stall_held(&memory), "the digest of memory");
	CHECK(!kill(vmm.pid, SIGKILL), "kill: %m");
	stall_limit(&memory, ~0ULL);
	kill_vmm(&vmm);
	stall_stop(&memory);
	finish();
}

#define PLACE_CASE(name, index)	static void name(void) { run_place(index); }
PLACE_CASE(record_full, RECORD_FULL)
PLACE_CASE(record_halted, RECORD_HALTED)
PLACE_CASE(replay_starved, REPLAY_STARVED)
PLACE_CASE(replay_in_instruction, REPLAY_IN_INSTRUCTION)
PLACE_CASE(replay_halted, REPLAY_HALTED)
PLACE_CASE(replay_diverged, REPLAY_DIVERGED)
PLACE_CASE(replay_ended, REPLAY_ENDED)
PLACE_CASE(replay_ended_halted, REPLAY_ENDED_HALTED)

static void replay_digest(void)
{
	run_digest(REPLAY_DIGEST);
}

static void replay_digest_halted(void)
{
	run_digest(REPLAY_DIGEST_HALTED);
}

static void setup(void)
{
	kvmft_setup();
	catch_signal(SIGUSR1);
}

static const struct tap_case cases[] = {
	{ "record_full", record_full, 0 },
	{ "record_halted", record_halted, 0 },
	{ "replay_starved", replay_starved, 0 },
	{ "replay_in_instruction", replay_in_instruction, 0 },
	{ "replay_halted", replay_halted, 0 },
	{ "replay_diverged", replay_diverged, 0 },
	{ "replay_ended", replay_ended, 0 },
	{ "replay_ended_halted", replay_ended_halted, 0 },
	{ "replay_digest", replay_digest, 0 },
	{ "replay_digest_halted", replay_digest_halted, 0 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, &KVMFT_SUITE(cases, setup, kvmft_teardown));
}
