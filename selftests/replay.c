// SPDX-License-Identifier: GPL-2.0
/*
 * Record micro guests, replay them in another VM, and compare what they come to.  The
 * environment names rounds (KVMFT_ROUNDS), seed (KVMFT_SEED) and align_us (KVMFT_ALIGN).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvmft.h"
#include "logfile.h"
#include "micro.h"
#include "util.h"

static int dev;

/* How a run of a micro guest ended */
struct outcome {
	struct kvm_regs regs;
	u64 memory;
	u64 interrupts;
	struct kvmft_session_status status;
};

struct storm {
	struct vm *vm;
	pthread_t thread;
	u64 seed;
	bool stop;
	u64 sent;
};

/* Interrupts at random moments; all of them by different ways into KVM */
static void *storm_thread(void *arg)
{
	struct storm *storm = arg;
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = MICRO_VECTOR };
	struct rng rng;

	rng_seed(&rng, storm->seed);
	while (!__atomic_load_n(&storm->stop, __ATOMIC_ACQUIRE)) {
		CHECK(ioctl(storm->vm->fd, KVM_SIGNAL_MSI, &msi) >= 0, "KVM_SIGNAL_MSI: %m");
		storm->sent++;
		usleep(rng_between(&rng, 1, 300));
	}
	return NULL;
}

static void answer(struct vm *vm, struct rng *rng)
{
	struct kvm_run *run = vm->run;
	u8 *data = run->mmio.data;
	u32 i, len = run->mmio.len;

	if (run->exit_reason == KVM_EXIT_IO) {
		data = (u8 *)run + run->io.data_offset;
		len = run->io.size * run->io.count;
		if (run->io.direction == KVM_EXIT_IO_OUT)
			return;
	} else if (run->mmio.is_write) {
		return;
	}
	for (i = 0; i < len; i++)
		data[i] = rng_next(rng);
}

/* A replay that is over holds the vCPU in KVM_RUN: a signal gets it out */
struct watch {
	int session;
	pthread_t runner;
	pthread_t thread;
	bool stop;
};

static void *watch_thread(void *arg)
{
	struct watch *watch = arg;
	struct pollfd pfd = { .fd = watch->session };

	while (!__atomic_load_n(&watch->stop, __ATOMIC_ACQUIRE)) {
		if (poll(&pfd, 1, 20) > 0) {
			pthread_kill(watch->runner, SIGUSR1);
			usleep(2000);
		}
	}
	return NULL;
}

/* Run until the guest is done; false: KVM_RUN fails, or goes no further, with errno */
static bool run_on(struct vm *vm, struct rng *rng, int session)
{
	struct pollfd ended = { .fd = session };
	struct kvm_run *run = vm->run;

	for (;;) {
		if (ioctl(vm->vcpu, KVM_RUN, NULL) < 0) {
			if (errno != EINTR)
				return false;
			if (poll(&ended, 1, 0) > 0)
				return false;
			continue;
		}
		if (run->exit_reason == KVM_EXIT_IO && run->io.port == PORT_DONE)
			return true;
		if (run->exit_reason != KVM_EXIT_MMIO &&
		    !(run->exit_reason == KVM_EXIT_IO &&
		      (run->io.port == PORT_NOP || run->io.port == MICRO_PORT_VALUE ||
		       run->io.port == MICRO_PORT_STRING)))
			tap_fail("the guest left with reason %u, port %#x", run->exit_reason,
				 run->exit_reason == KVM_EXIT_IO ? run->io.port : 0);
		answer(vm, rng);
	}
}

static bool run_guest(struct vm *vm, struct rng *rng, int session)
{
	struct watch watch = { .session = session, .runner = pthread_self() };
	bool done;

	CHECK(!pthread_create(&watch.thread, NULL, watch_thread, &watch), "pthread_create");
	done = run_on(vm, rng, session);
	__atomic_store_n(&watch.stop, true, __ATOMIC_RELEASE);
	pthread_join(watch.thread, NULL);
	return done;
}

static u64 hash_memory(const struct vm *vm)
{
	const u64 *word = (const u64 *)vm->mem;
	u64 hash = 0xcbf29ce484222325ULL;
	size_t i;

	for (i = 0; i < VM_MEM / 8; i++)
		hash = (hash ^ word[i]) * 0x100000001b3ULL;
	return hash;
}

static void get_outcome(struct vm *vm, int session, struct outcome *outcome)
{
	vm_get_regs(vm, &outcome->regs);
	outcome->memory = hash_memory(vm);
	outcome->interrupts = *(u64 *)(vm->mem + GUEST_DATA + MICRO_COUNT);
	kvmft_status_ok(session, &outcome->status);
}

static void record(const struct micro *micro, int log, u32 align_us, u64 seed,
		   struct outcome *outcome)
{
	struct storm storm = { .seed = seed };
	struct rng rng;
	struct vm vm;
	int session;

	rng_seed(&rng, seed);
	micro_vm(&vm, micro);
	session = kvmft_create_ok(dev, vm.fd);
	CHECK_RET(kvmft_record(session, log, align_us), 0, "KVMFT_SESSION_RECORD");
	storm.vm = &vm;
	if (micro->storm)
		CHECK(!pthread_create(&storm.thread, NULL, storm_thread, &storm), "pthread_create");
	CHECK(run_guest(&vm, &rng, session), "the recording ended: %m");
	__atomic_store_n(&storm.stop, true, __ATOMIC_RELEASE);
	if (micro->storm)
		pthread_join(storm.thread, NULL);
	get_outcome(&vm, session, outcome);
	close(session);
	vm_destroy(&vm);
}

static void get_reason(u64 id, char *text, size_t size)
{
	char path[100];

	snprintf(path, sizeof(path), "/sys/class/misc/kvmft/session%llu/reason",
		 (unsigned long long)id);
	if (read_file(path, text, size))
		snprintf(text, size, "no reason in %s", path);
}

/* Replay; returns false, and why, if it does not come to the guest's end */
static bool try_replay(const struct micro *micro, int log, u64 seed, struct outcome *outcome,
		       char *reason, size_t size)
{
	struct rng rng;
	struct vm vm;
	int session;
	bool done;

	/* Its devices give other answers */
	rng_seed(&rng, ~seed);
	micro_vm(&vm, micro);
	session = kvmft_create_ok(dev, vm.fd);
	CHECK_RET(kvmft_replay(session, log), 0, "KVMFT_SESSION_REPLAY");
	done = run_guest(&vm, &rng, session);
	if (done) {
		get_outcome(&vm, session, outcome);
	} else {
		kvmft_status_ok(session, &outcome->status);
		get_reason(outcome->status.id, reason, size);
	}
	close(session);
	vm_destroy(&vm);
	return done;
}

static void replay(const struct micro *micro, int log, u64 seed, struct outcome *outcome)
{
	char reason[300];

	if (!try_replay(micro, log, seed, outcome, reason, sizeof(reason)))
		tap_fail("%s: replay ended (%u): %s", micro->name, outcome->status.end, reason);
}

static void check_same(const struct outcome *a, const struct outcome *b)
{
	CHECK_EQ(b->regs.rbx, a->regs.rbx, "rbx, the guest's result,");
	CHECK(!memcmp(&a->regs, &b->regs, sizeof(a->regs)), "registers differ");
	CHECK_EQ(b->interrupts, a->interrupts, "number of interrupts");
	CHECK(a->memory == b->memory, "memory differs");
	CHECK_EQ(b->status.seq, a->status.seq, "number of entries");
	CHECK_EQ(b->status.inputs, a->status.inputs, "number of inputs");
	CHECK_EQ(b->status.landings, a->status.landings, "number of landings");
}

static int open_log(void)
{
	int fd = memfd_create("log", MFD_CLOEXEC);

	CHECK(fd >= 0, "memfd_create: %m");
	return fd;
}

static void round_of(const struct micro *micro, u32 align_us, u64 seed)
{
	struct outcome first, second;
	int log = open_log();

	record(micro, log, align_us, seed, &first);
	replay(micro, log, seed, &second);
	check_same(&first, &second);
	tap_diag("%s: %llu entries, %llu bytes, %llu interrupts, %llu landings", micro->name,
		 (unsigned long long)first.status.seq, (unsigned long long)first.status.log_bytes,
		 (unsigned long long)first.interrupts, (unsigned long long)first.status.landings);
	close(log);
}

static void run_micro(const char *name)
{
	u64 rounds = env_u64("KVMFT_ROUNDS", 2), seed = env_u64("KVMFT_SEED", 1), i;
	const struct micro *micro = micros;

	dev = kvmft_open_ok();
	while (strcmp(micro->name, name))
		micro++;
	for (i = 0; i < rounds; i++)
		round_of(micro, env_u64("KVMFT_ALIGN", 0), seed + i);
}

static u8 *read_log(int log, size_t *size)
{
	off_t end = lseek(log, 0, SEEK_END);
	u8 *bytes = malloc(end);

	CHECK(bytes && pread(log, bytes, end, 0) == end, "the log can not be read");
	*size = end;
	return bytes;
}

static int write_log(const u8 *bytes, size_t size)
{
	int log = open_log();

	CHECK(write(log, bytes, size) == (ssize_t)size, "write: %m");
	return log;
}

/*
 * One bit of one entry is wrong, and all checksums of blocks are right: replay ends at that
 * entry.  With the checksums as they were, it ends before any entry of that block.
 */
static void damage_entry(const struct micro *micro, const u8 *bytes, size_t size,
			 const size_t *offsets, int nr, struct rng *rng, u64 seed)
{
	int which = rng_between(rng, 0, nr - 2), log;
	size_t at = rng_between(rng, offsets[which], offsets[which + 1] - 1);
	char reason[300] = "", want[40];
	struct outcome outcome;
	u8 *copy = malloc(size);

	CHECK(copy, "out of memory");
	memcpy(copy, bytes, size);
	copy[at] ^= 1 << rng_between(rng, 0, 7);
	log = write_log(copy, size);
	CHECK(!try_replay(micro, log, seed, &outcome, reason, sizeof(reason)),
	      "a block with a wrong checksum was replayed");
	CHECK_EQ(outcome.status.end, KVMFT_END_LOG_ERROR, "end with a wrong checksum");
	close(log);

	logfile_repair(copy, size);
	log = write_log(copy, size);
	CHECK(!try_replay(micro, log, seed, &outcome, reason, sizeof(reason)),
	      "%s: entry %d of %d, damaged at byte %zu of the file, was replayed", micro->name,
	      which + 1, nr, at);
	snprintf(want, sizeof(want), "entry %d ", which + 1);
	CHECK(strstr(reason, want), "damaged at %swas noticed as '%s'", want, reason);
	close(log);
	free(copy);
}

static void damaged_entries(void)
{
	static const char *const names[] = { "tsc", "pio", "timer", "mmio" };
	u64 rounds = env_u64("KVMFT_ROUNDS", 2) * 4, seed = env_u64("KVMFT_SEED", 1);
	static size_t offsets[100000];
	const struct micro *micro;
	struct outcome outcome;
	unsigned int i, round;
	struct rng rng;
	size_t size;
	u8 *bytes;
	int log, nr;

	dev = kvmft_open_ok();
	rng_seed(&rng, seed);
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		for (micro = micros; strcmp(micro->name, names[i]); micro++)
			;
		log = open_log();
		record(micro, log, 0, seed, &outcome);
		bytes = read_log(log, &size);
		nr = logfile_entries(bytes, size, offsets, ARRAY_SIZE(offsets));
		CHECK(nr > 20, "%s: %d entries", micro->name, nr);
		for (round = 0; round < rounds; round++)
			damage_entry(micro, bytes, size, offsets, nr, &rng, seed);
		free(bytes);
		close(log);
	}
}

/* A file cut short anywhere, or with bytes of another, ends in an error that says so */
static void truncated_files(void)
{
	const struct micro *micro = &micros[0];
	struct outcome outcome;
	char reason[300];
	struct rng rng;
	size_t size, cut;
	u8 *bytes;
	int log, i;

	dev = kvmft_open_ok();
	rng_seed(&rng, 3);
	log = open_log();
	record(micro, log, 0, 1, &outcome);
	bytes = read_log(log, &size);
	close(log);
	for (i = 0; i < 8; i++) {
		cut = rng_between(&rng, 24, size - 1);
		log = write_log(bytes, cut);
		CHECK(!try_replay(micro, log, 1, &outcome, reason, sizeof(reason)),
		      "a log cut at %zu of %zu was replayed", cut, size);
		CHECK_EQ(outcome.status.end, KVMFT_END_LOG_ERROR, "end of a log cut short");
		CHECK(strstr(reason, "truncated") && strstr(reason, "entry"), "reason '%s'", reason);
		close(log);
	}
	free(bytes);
}

/* A disk that is full ends the recording, and not the guest */
static void full_disk(void)
{
	const struct micro *micro = &micros[2];
	struct kvmft_session_status status;
	char reason[300];
	struct rng rng;
	struct vm vm;
	int session, log;

	dev = kvmft_open_ok();
	rng_seed(&rng, 1);
	CHECK(!mkdir("/tmp/small", 0700) || errno == EEXIST, "mkdir: %m");
	CHECK(!mount("small", "/tmp/small", "tmpfs", 0, "size=4096"), "mount: %m");
	log = open("/tmp/small/log", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(log >= 0, "open: %m");
	micro_vm(&vm, micro);
	session = kvmft_create_ok(dev, vm.fd);
	CHECK_RET(kvmft_record(session, log, 0), 0, "KVMFT_SESSION_RECORD");
	do {
		CHECK(run_on(&vm, &rng, -1), "the guest was stopped: %m");
		micro_start(&vm, micro);
		kvmft_status_ok(session, &status);
	} while (!status.end);
	CHECK_EQ(status.end, KVMFT_END_LOG_ERROR, "end");
	get_reason(status.id, reason, sizeof(reason));
	CHECK(strstr(reason, "-28") && strstr(reason, "entry"), "reason '%s'", reason);
	CHECK(run_on(&vm, &rng, -1), "the guest does not run on: %m");
	close(session);
	vm_destroy(&vm);
	close(log);
	CHECK(!umount2("/tmp/small", MNT_DETACH), "umount: %m");
}

#define MICRO_CASE(name)	static void case_##name(void) { run_micro(#name); }
MICRO_CASE(tsc)
MICRO_CASE(pio)
MICRO_CASE(string)
MICRO_CASE(mmio)
MICRO_CASE(chips)
MICRO_CASE(branches)
MICRO_CASE(calls)
MICRO_CASE(indirect)
MICRO_CASE(endless)
MICRO_CASE(rep)
MICRO_CASE(shadow)
MICRO_CASE(flags)
MICRO_CASE(debug)
MICRO_CASE(halt)
MICRO_CASE(timer)
MICRO_CASE(touch)

static void setup(void)
{
	kvmft_setup();
	catch_signal(SIGUSR1);
}

static const struct tap_case cases[] = {
	{ "damaged_entries", damaged_entries, 0 },
	{ "truncated_files", truncated_files, 0 },
	{ "full_disk", full_disk, 0 },
	{ "tsc", case_tsc, 0 },
	{ "pio", case_pio, 0 },
	{ "string", case_string, 0 },
	{ "mmio", case_mmio, 0 },
	{ "chips", case_chips, 0 },
	{ "branches", case_branches, 0 },
	{ "calls", case_calls, 0 },
	{ "indirect", case_indirect, 0 },
	{ "endless", case_endless, 0 },
	{ "rep", case_rep, 0 },
	{ "shadow", case_shadow, 0 },
	{ "flags", case_flags, 0 },
	{ "debug", case_debug, 0 },
	{ "halt", case_halt, 0 },
	{ "timer", case_timer, 0 },
	{ "touch", case_touch, 0 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, &KVMFT_SUITE(cases, setup, kvmft_teardown));
}
