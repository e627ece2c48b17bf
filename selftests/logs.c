// SPDX-License-Identifier: GPL-2.0
/*
 * Logs that can not be written, or are not what was written, and machines without one: what is
 * wrong is said, and where; the guest, or the host, comes to no harm.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "logfile.h"
#include "microrun.h"
#include "programs.h"

static int dev;

/* Files of logs, and VMs, that recording and replay can not use */
static void refused(void)
{
	int log = memfd_create("log", MFD_CLOEXEC), other = memfd_create("other", MFD_CLOEXEC);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), pipefd[2], fd, chips, i;
	unsigned char header[LOGFILE_HEADER];
	char path[64], garbage[4096];
	struct kvm_enable_cap sleeps = {
		.cap = KVM_CAP_X86_DISABLE_EXITS, .args = { KVM_X86_DISABLE_EXITS_HLT },
	};
	struct vm vm, with_chips;
	int session;

	dev = kvmft_open_ok();
	program_vm(&vm, 0);
	session = kvmft_create_ok(dev, vm.fd);
	CHECK(log >= 0 && other >= 0 && null >= 0 && !pipe(pipefd), "open: %m");
	CHECK_RET(kvmft_finish(session), -EOPNOTSUPP, "FINISH of a session that counts");
	CHECK_RET(ioctl(session, KVMFT_SESSION_FINISH, path) ? -errno : 0, -EINVAL,
		  "FINISH with an argument");
	CHECK_RET(kvmft_record(session, 0x7fffffff, 0), -EBADF, "record to descriptor 2^31-1");
	CHECK_RET(kvmft_record(session, null, 0), -EINVAL, "record to /dev/null");
	CHECK_RET(kvmft_record(session, pipefd[1], 0), -EINVAL, "record to a pipe");
	CHECK_RET(kvmft_record(session, pipefd[0], 0), -EBADF, "record to a pipe's read end");
	CHECK_RET(kvmft_record(session, log, KVMFT_ALIGN_MAX + 1), -ERANGE, "align_us 1,000,001");
	CHECK_RET(kvmft_record(session, log, ~0U), -ERANGE, "align_us 2^32-1");
	CHECK_RET(kvmft_replay(session, null), -EINVAL, "replay of /dev/null");
	CHECK_RET(kvmft_replay(session, pipefd[1]), -EBADF, "replay of a pipe's write end");
	CHECK_RET(kvmft_replay(session, log), -EBADMSG, "replay of an empty file");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", log);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0, "%s: %m", path);
	CHECK_RET(kvmft_record(session, fd, 0), -EBADF, "record to a file opened for reading");
	close(fd);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	CHECK(fd >= 0, "%s: %m", path);
	CHECK_RET(kvmft_replay(session, fd), -EBADF, "replay of a file opened for writing");
	close(fd);
	memset(garbage, 'x', sizeof(garbage));
	CHECK(write(other, garbage, sizeof(garbage)) == sizeof(garbage), "write: %m");
	CHECK_RET(kvmft_record(session, other, 0), -EINVAL, "record to a file that is not empty");
	CHECK_RET(kvmft_replay(session, other), -EBADMSG, "replay of garbage");
	logfile_newer_header(header);
	CHECK(pwrite(other, header, sizeof(header), 0) == sizeof(header), "write: %m");
	CHECK_RET(kvmft_replay(session, other), -EPROTO, "replay of a newer version's log");
	header[8]++;
	CHECK(pwrite(other, header, sizeof(header), 0) == sizeof(header), "write: %m");
	CHECK_RET(kvmft_replay(session, other), -EBADMSG, "replay with a damaged header");
	CHECK_RET(kvmft_record(session, log, 0), -EOPNOTSUPP, "record a VM without chips");

	/* One that would sleep unseen */
	program_vm(&with_chips, VM_IRQCHIP);
	CHECK(!ioctl(with_chips.fd, KVM_ENABLE_CAP, &sleeps), "KVM_CAP_X86_DISABLE_EXITS: %m");
	chips = kvmft_create_ok(dev, with_chips.fd);
	CHECK(!ftruncate(log, 0), "ftruncate: %m");
	CHECK_RET(kvmft_record(chips, log, 0), -EOPNOTSUPP, "record a VM that halts in the guest");
	close(chips);
	vm_destroy(&with_chips);

	/* A machine that can be recorded, once */
	program_vm(&with_chips, VM_IRQCHIP);
	chips = kvmft_create_ok(dev, with_chips.fd);
	CHECK(!ftruncate(log, 0), "ftruncate: %m");
	for (i = 0; i < 2; i++) {
		CHECK_RET(kvmft_record(chips, log, 0), i ? -EINVAL : 0, "record");
		CHECK(!ftruncate(other, 0), "ftruncate: %m");
		CHECK_RET(kvmft_record(chips, other, 0), -EBUSY, "record twice");
		CHECK_RET(kvmft_replay(chips, log), -EBUSY, "replay what records");
		CHECK_RET(kvmft_stop(chips, 1000), -EBUSY, "stop what records");
	}
	close(chips);
	/* One that has run */
	chips = kvmft_create_ok(dev, with_chips.fd);
	program_start(&with_chips, &programs[0], &exit_kinds[0], 10, 1);
	CHECK_RET(vm_run_to_port(&with_chips), PORT_DONE, "the guest's run");
	CHECK_RET(kvmft_record(chips, other, 0), -EBUSY, "record a vCPU that has run");
	close(chips);
	vm_destroy(&with_chips);
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
	int log = micro_open_log();

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
	struct micro_outcome outcome;
	u8 *copy = malloc(size);

	CHECK(copy, "out of memory");
	memcpy(copy, bytes, size);
	copy[at] ^= 1 << rng_between(rng, 0, 7);
	log = write_log(copy, size);
	CHECK(!micro_replay(dev, micro, log, seed, &outcome, reason, sizeof(reason)),
	      "a block with a wrong checksum was replayed");
	CHECK_EQ(outcome.status.end, KVMFT_END_LOG_ERROR, "end with a wrong checksum");
	close(log);

	logfile_repair(copy, size);
	log = write_log(copy, size);
	CHECK(!micro_replay(dev, micro, log, seed, &outcome, reason, sizeof(reason)),
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
	struct micro_outcome outcome;
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
		log = micro_open_log();
		micro_record(dev, micro, log, 0, seed, &outcome);
		bytes = read_log(log, &size);
		nr = logfile_entries(bytes, size, offsets, ARRAY_SIZE(offsets));
		CHECK(nr > 20, "%s: %d entries", micro->name, nr);
		for (round = 0; round < rounds; round++)
			damage_entry(micro, bytes, size, offsets, nr, &rng, seed);
		free(bytes);
		close(log);
	}
}

/* What one instruction reads from a device in the kernel is in one block: see kvmft/logfile.c */
static void whole_instructions(void)
{
	static size_t offsets[200000], ends[100];
	struct micro micro = { .name = "pit", .entry = micro_pit, .iterations = 100 };
	int log = micro_open_log(), nr, blocks, i, block, reads = 0;
	struct micro_outcome outcome;
	size_t size;
	u8 *bytes;

	dev = kvmft_open_ok();
	micro_record(dev, &micro, log, 0, 1, &outcome);
	bytes = read_log(log, &size);
	nr = logfile_entries(bytes, size, offsets, ARRAY_SIZE(offsets));
	blocks = logfile_blocks(bytes, size, ends, ARRAY_SIZE(ends));
	CHECK(blocks >= 5, "%d blocks", blocks);
	for (i = 0, block = 0; block < blocks; block++) {
		for (; i < nr && offsets[i] < ends[block]; i++)
			reads += logfile_is_port_read(bytes + offsets[i]);
		CHECK(reads % MICRO_PIT_READS == 0,
		      "block %d ends behind %d reads, within an instruction", block, reads);
	}
	CHECK_EQ((u64)reads, micro.iterations * MICRO_PIT_READS, "reads");
	free(bytes);
	close(log);
}

/* A file cut short anywhere, or with bytes of another, ends in an error that says so */
static void truncated_files(void)
{
	const struct micro *micro = &micros[0];
	struct micro_outcome outcome;
	char reason[300];
	struct rng rng;
	size_t size, cut;
	u8 *bytes;
	int log, i;

	dev = kvmft_open_ok();
	rng_seed(&rng, 3);
	log = micro_open_log();
	micro_record(dev, micro, log, 0, 1, &outcome);
	bytes = read_log(log, &size);
	close(log);
	for (i = 0; i < 8; i++) {
		cut = rng_between(&rng, 24, size - 1);
		log = write_log(bytes, cut);
		CHECK(!micro_replay(dev, micro, log, 1, &outcome, reason, sizeof(reason)),
		      "a log cut at %zu of %zu was replayed", cut, size);
		CHECK_EQ(outcome.status.end, KVMFT_END_LOG_ERROR, "end of a log cut short");
		CHECK(strstr(reason, "truncated") && strstr(reason, "entry"), "reason %s",
		      reason);
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
		CHECK(micro_run(&vm, micro, &rng, -1), "the guest was stopped: %m");
		micro_start(&vm, micro);
		kvmft_status_ok(session, &status);
	} while (!status.end);
	CHECK_EQ(status.end, KVMFT_END_LOG_ERROR, "end");
	micro_reason(status.id, reason, sizeof(reason));
	CHECK(strstr(reason, "-28") && strstr(reason, "entry"), "reason '%s'", reason);
	CHECK(micro_run(&vm, micro, &rng, -1), "the guest does not run on: %m");
	close(session);
	vm_destroy(&vm);
	close(log);
	CHECK(!umount2("/tmp/small", MNT_DETACH), "umount: %m");
}

/* A machine that is switched off ends its recording, and one that is suspended can not go on */
static void sleep_states(void)
{
	static const struct {
		u16 value;
		u32 end;
		const char *reason;
	} writes[] = {
		/* SLP_EN is bit 13, SLP_TYP bits 10 to 12; QEMU: S5 is 0, S3 is 1, S4 is 2 */
		{ 1 << 13, KVMFT_END_FINISHED, "switched its machine off" },
		{ 1 << 13 | 2 << 10, KVMFT_END_FINISHED, "switched its machine off" },
		{ 1 << 13 | 1 << 10, KVMFT_END_UNSUPPORTED, "suspended its machine to RAM" },
		{ 1 << 10, KVMFT_END_NONE, NULL },
		{ 1 << 13 | 7 << 10, KVMFT_END_NONE, NULL },
	};
	struct micro micro = { .name = "sleep", .entry = micro_sleep };
	struct kvmft_session_status status;
	char reason[300];
	int session, log;
	struct vm vm;
	size_t i;

	dev = kvmft_open_ok();
	for (i = 0; i < ARRAY_SIZE(writes); i++) {
		micro.iterations = writes[i].value;
		micro_vm(&vm, &micro);
		session = kvmft_create_ok(dev, vm.fd);
		log = micro_open_log();
		CHECK_RET(kvmft_record(session, log, 0), 0, "KVMFT_SESSION_RECORD");
		CHECK(!ioctl(vm.vcpu, KVM_RUN, NULL) && vm.run->exit_reason == KVM_EXIT_IO &&
		      vm.run->io.port == MICRO_PORT_SLEEP, "not the write");
		kvmft_status_ok(session, &status);
		CHECK_EQ(status.end, writes[i].end, "how the recording ended");
		if (writes[i].reason) {
			micro_reason(status.id, reason, sizeof(reason));
			CHECK(strstr(reason, writes[i].reason), "%#x: reason '%s'", writes[i].value,
			      reason);
		}
		CHECK_RET(vm_run_to_port(&vm), PORT_DONE, "the guest's end");
		close(session);
		close(log);
		vm_destroy(&vm);
	}
}

static void setup(void)
{
	kvmft_setup();
	catch_signal(SIGUSR1);
}

static const struct tap_case cases[] = {
	{ "refused", refused, 0 },
	{ "damaged_entries", damaged_entries, 0 },
	{ "whole_instructions", whole_instructions, 0 },
	{ "truncated_files", truncated_files, 0 },
	{ "full_disk", full_disk, 0 },
	{ "sleep_states", sleep_states, 0 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, &KVMFT_SUITE(cases, setup, kvmft_teardown));
}
