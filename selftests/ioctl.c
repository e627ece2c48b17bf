// SPDX-License-Identifier: GPL-2.0
/*
 * Every call with everything that can be wrong about it: the errno is the one that
 * include/uapi/linux/kvmft.h promises, and nothing is leaked.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kvmft.h"
#include "programs.h"
#include "util.h"
#include "vmm.h"
#include "workload.h"

#define PAGE	4096

static int dev, session;
static struct vm vm;

static int call(int fd, unsigned long cmd, const void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

/* The session that this makes keeps the hooks in place: making others is quick then */
static void prepare(void)
{
	dev = kvmft_open_ok();
	program_vm(&vm, 0);
	session = kvmft_create_ok(dev, vm.fd);
}

/* The calls that take a structure */
static const struct struct_call {
	const char *name;
	unsigned long cmd;
	bool on_session;
	size_t size;
	size_t reserved;	/* offset of the reserved fields, up to the end */
	size_t pad;		/* offset of a pad field, or 0 */
	int good;		/* what the call returns when all is well; -EBUSY: see below */
} struct_calls[] = {
	{ "KVMFT_GET_INFO", KVMFT_GET_INFO, false, sizeof(struct kvmft_info),
	  offsetof(struct kvmft_info, reserved), 0, 0 },
	/* The VM has its session already: the structure has been accepted */
	{ "KVMFT_CREATE_SESSION", KVMFT_CREATE_SESSION, false,
	  sizeof(struct kvmft_create_session), offsetof(struct kvmft_create_session, reserved),
	  offsetof(struct kvmft_create_session, pad), -EBUSY },
	{ "KVMFT_SESSION_STATUS", KVMFT_SESSION_STATUS, true,
	  sizeof(struct kvmft_session_status), offsetof(struct kvmft_session_status, reserved),
	  0, 0 },
	{ "KVMFT_SESSION_STOP", KVMFT_SESSION_STOP, true, sizeof(struct kvmft_session_stop),
	  offsetof(struct kvmft_session_stop, reserved), 0, 0 },
	/* All is well but the log's descriptor: see fill() */
	{ "KVMFT_SESSION_RECORD", KVMFT_SESSION_RECORD, true,
	  sizeof(struct kvmft_session_record), offsetof(struct kvmft_session_record, reserved),
	  0, -EBADF },
	{ "KVMFT_SESSION_REPLAY", KVMFT_SESSION_REPLAY, true,
	  sizeof(struct kvmft_session_replay), offsetof(struct kvmft_session_replay, reserved),
	  offsetof(struct kvmft_session_replay, pad), -EBADF },
};

/* A structure that the call accepts, with @size bytes said and the rest of the buffer zero */
static void fill(const struct struct_call *sc, void *buf, size_t size)
{
	u32 *words = buf;

	memset(buf, 0, size < 2 * PAGE ? size : 2 * PAGE);
	words[0] = size;
	if (sc->cmd == KVMFT_CREATE_SESSION)
		((struct kvmft_create_session *)buf)->vm_fd = vm.fd;
	if (sc->cmd == KVMFT_SESSION_RECORD)
		((struct kvmft_session_record *)buf)->log_fd = -1;
	if (sc->cmd == KVMFT_SESSION_REPLAY)
		((struct kvmft_session_replay *)buf)->log_fd = -1;
}

static int call_struct(const struct struct_call *sc, const void *arg)
{
	return call(sc->on_session ? session : dev, sc->cmd, arg);
}

static void sizes(void)
{
	static u8 buf[2 * PAGE] __attribute__((aligned(8)));
	const struct struct_call *sc;
	char what[100];
	size_t size;

	prepare();
	for (sc = struct_calls; sc < struct_calls + ARRAY_SIZE(struct_calls); sc++) {
		for (size = 0; size < sc->size; size++) {
			snprintf(what, sizeof(what), "%s with size %zu", sc->name, size);
			fill(sc, buf, sc->size);
			*(u32 *)buf = size;
			CHECK_RET(call_struct(sc, buf), -EINVAL, what);
		}
		fill(sc, buf, sc->size);
		CHECK_RET(call_struct(sc, buf), sc->good, sc->name);
		for (size = sc->size + 1; size <= PAGE; size += size < sc->size + 9 ? 1 : 509) {
			snprintf(what, sizeof(what), "%s with size %zu, zero tail", sc->name, size);
			fill(sc, buf, size);
			CHECK_RET(call_struct(sc, buf), sc->good, what);
			snprintf(what, sizeof(what), "%s with size %zu, last byte set", sc->name,
				 size);
			fill(sc, buf, size);
			buf[size - 1] = 1;
			CHECK_RET(call_struct(sc, buf), -E2BIG, what);
			snprintf(what, sizeof(what), "%s with size %zu, first new byte set",
				 sc->name, size);
			fill(sc, buf, size);
			buf[sc->size] = 0x80;
			CHECK_RET(call_struct(sc, buf), -E2BIG, what);
		}
		fill(sc, buf, sc->size);
		*(u32 *)buf = PAGE + 1;
		CHECK_RET(call_struct(sc, buf), -E2BIG, "size of more than a page");
		*(u32 *)buf = 1U << 31;
		CHECK_RET(call_struct(sc, buf), -E2BIG, "size 2^31");
		*(u32 *)buf = ~0U;
		CHECK_RET(call_struct(sc, buf), -E2BIG, "size 2^32 - 1");
	}
}

/* A larger structure is filled as far as the kernel knows it, and its size said */
static void output(void)
{
	struct {
		struct kvmft_info info;
		u64 tail[4];
	} big = { .info.size = sizeof(big) };
	struct kvmft_session_status status;

	prepare();
	CHECK_RET(call(dev, KVMFT_GET_INFO, &big), 0, "KVMFT_GET_INFO");
	CHECK_EQ(big.info.size, sizeof(big.info), "size");
	CHECK_EQ(big.info.flags, 0, "flags");
	CHECK_EQ(big.info.api_version, KVMFT_API_VERSION, "api_version");
	CHECK_EQ(big.info.verdict, KVMFT_VERDICT_EXACT, "verdict");
	CHECK_EQ(big.info.sessions, 1, "sessions");
	CHECK(big.info.hooks > 0 && big.info.hooks < 100, "%u hooks", big.info.hooks);
	CHECK_EQ(big.info.reserved[0] | big.info.reserved[1] | big.info.reserved[2] |
		 big.info.reserved[3], 0, "reserved");
	CHECK_EQ(big.tail[0] | big.tail[1] | big.tail[2] | big.tail[3], 0, "tail");

	memset(&status, 0, sizeof(status));
	status.size = sizeof(status);
	CHECK_RET(call(session, KVMFT_SESSION_STATUS, &status), 0, "KVMFT_SESSION_STATUS");
	CHECK_EQ(status.size, sizeof(status), "size");
	CHECK_EQ(status.flags, 0, "flags");
	CHECK_EQ(status.state, KVMFT_STATE_ARMED, "state");
	CHECK_EQ(status.end, KVMFT_END_NONE, "end");
	CHECK(status.id > 0, "id is 0");
	CHECK_EQ(status.exits | status.cond | status.taken | status.rip | status.stop_at |
		 status.stopped_at | status.overflows | status.lost | status.spurious, 0,
		 "a count of a session that has not run");
	CHECK_EQ(status.acked | status.peer_seq | status.copied, 0, "a count of no pair's");
	CHECK_EQ(status.reserved, 0, "reserved");
	CHECK_RET(call(dev, KVMFT_GET_API_VERSION, NULL), KVMFT_API_VERSION,
		  "KVMFT_GET_API_VERSION");
	CHECK_RET(call(dev, KVMFT_GET_API_VERSION, &status), -EINVAL,
		  "KVMFT_GET_API_VERSION with an argument");
	CHECK_RET(call(dev, KVMFT_SELF_TEST, &status), -EINVAL,
		  "KVMFT_SELF_TEST with an argument");
}

static void flags_and_reserved(void)
{
	static u8 buf[2 * PAGE] __attribute__((aligned(8)));
	const struct struct_call *sc;
	char what[100];
	size_t at;
	int bit;

	prepare();
	for (sc = struct_calls; sc < struct_calls + ARRAY_SIZE(struct_calls); sc++) {
		for (bit = 0; bit < 32; bit++) {
			snprintf(what, sizeof(what), "%s with flag %d", sc->name, bit);
			fill(sc, buf, sc->size);
			((u32 *)buf)[1] = 1U << bit;
			CHECK_RET(call_struct(sc, buf), -EINVAL, what);
		}
		for (at = sc->reserved; at < sc->size; at++) {
			snprintf(what, sizeof(what), "%s with reserved byte %zu set", sc->name, at);
			fill(sc, buf, sc->size);
			buf[at] = 1;
			CHECK_RET(call_struct(sc, buf), -EINVAL, what);
		}
		if (!sc->pad)
			continue;
		snprintf(what, sizeof(what), "%s with pad set", sc->name);
		fill(sc, buf, sc->size);
		*(u32 *)(buf + sc->pad) = 1;
		CHECK_RET(call_struct(sc, buf), -EINVAL, what);
	}
}

static void pointers(void)
{
	static u8 buf[2 * PAGE] __attribute__((aligned(8)));
	const struct struct_call *sc;
	char what[100];
	u8 *pages;

	prepare();
	pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(pages != MAP_FAILED && !munmap(pages + PAGE, PAGE), "mmap: %m");
	for (sc = struct_calls; sc < struct_calls + ARRAY_SIZE(struct_calls); sc++) {
		const struct {
			const char *name;
			const void *address;
		} bad[] = {
			{ "NULL", NULL },
			{ "4", (void *)4 },
			{ "a kernel address", (void *)0xffffffff81000000 },
			{ "a non-canonical address", (void *)0x8000000000000000 },
			{ "the last byte of memory", (void *)~0UL },
			{ "an unmapped page", pages + PAGE },
			{ "two bytes before an unmapped page", pages + PAGE - 2 },
			{ "a structure half mapped", pages + PAGE - sc->size / 2 / 8 * 8 },
			{ "a structure but for its last byte", pages + PAGE - sc->size + 1 },
		};
		size_t i;

		fill(sc, buf, sc->size);
		/* The part that is mapped is good */
		for (i = 7; i < ARRAY_SIZE(bad); i++)
			memcpy((void *)bad[i].address, buf,
			       pages + PAGE - (u8 *)bad[i].address);
		for (i = 0; i < ARRAY_SIZE(bad); i++) {
			snprintf(what, sizeof(what), "%s at %s", sc->name, bad[i].name);
			if (i >= 7)
				memcpy((void *)bad[i].address, buf,
				       pages + PAGE - (u8 *)bad[i].address);
			CHECK_RET(call_struct(sc, bad[i].address), -EFAULT, what);
		}
		/* Up to the end of the page is fine, and aligned to nothing */
		memcpy(pages + PAGE - sc->size, buf, sc->size);
		CHECK_RET(call_struct(sc, pages + PAGE - sc->size), sc->good, sc->name);
		memcpy(pages + 3, buf, sc->size);
		CHECK_RET(call_struct(sc, pages + 3), sc->good, sc->name);
		/* A large structure that is not all there */
		*(u32 *)(pages + PAGE - sc->size) = sc->size + 8;
		CHECK_RET(call_struct(sc, pages + PAGE - sc->size), -EFAULT,
			  "a larger structure with an unmapped tail");

		/* What the call writes to cannot be written */
		memcpy(pages, buf, sc->size);
		CHECK(!mprotect(pages, PAGE, PROT_READ), "mprotect: %m");
		snprintf(what, sizeof(what), "%s in read-only memory", sc->name);
		CHECK_RET(call_struct(sc, pages),
			  _IOC_DIR(sc->cmd) & _IOC_READ ? -EFAULT : sc->good, what);
		CHECK(!mprotect(pages, PAGE, PROT_READ | PROT_WRITE), "mprotect: %m");
	}
}

static void unknown_numbers(void)
{
	static u8 buf[1 << 14] __attribute__((aligned(8)));
	static const unsigned long known[2][5] = {
		{ KVMFT_GET_API_VERSION, KVMFT_GET_INFO, KVMFT_SELF_TEST,
		  KVMFT_CREATE_SESSION, KVMFT_CREATE_SESSION },
		{ KVMFT_SESSION_STATUS, KVMFT_SESSION_STOP, KVMFT_SESSION_RECORD,
		  KVMFT_SESSION_REPLAY, KVMFT_SESSION_FINISH },
	};
	static const size_t some_sizes[] = { 0, 4, 8, 48, 64, 152, 4096 };
	const unsigned int combinations = 2 * 4 * ARRAY_SIZE(some_sizes) * 256;
	unsigned int i, rest, on, k;
	unsigned long cmd;
	char what[100];

	prepare();
	for (i = 0; i < combinations; i++) {
		on = i % 2;
		rest = i / 2;
		cmd = _IOC(rest % 4, KVMFT_IOCTL_TYPE, rest / 4 % 256, some_sizes[rest / 1024]);
		for (k = 0; k < 5 && cmd != known[on][k]; k++)
			;
		if (k < 5)
			continue;
		snprintf(what, sizeof(what), "ioctl %#lx on %s", cmd,
			 on ? "a session" : KVMFT_DEVICE);
		CHECK_RET(call(on ? session : dev, cmd, buf), -ENOTTY, what);
	}
	/* The other descriptor's calls, and somebody else's */
	for (k = 0; k < 5; k++) {
		CHECK_RET(call(session, known[0][k], buf), -ENOTTY, "a call of the device");
		CHECK_RET(call(dev, known[1][k], buf), -ENOTTY, "a call of a session");
	}
	CHECK_RET(call(session, KVM_RUN, NULL), -ENOTTY, "KVM_RUN on a session");
	CHECK_RET(call(vm.fd, KVMFT_SESSION_STATUS, buf), -ENOTTY, "a session's call on a VM");
	CHECK(read(session, buf, 1) < 0 && errno == EINVAL, "read() of a session: %m");
	CHECK(write(session, buf, 1) < 0 && errno == EINVAL, "write() to a session: %m");
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, session, 0) == MAP_FAILED &&
	      errno == ENODEV, "mmap() of a session: %m");
}

static void descriptors(void)
{
	int closed, null, path, pipefd[2], none, ended;
	struct vm empty;

	prepare();
	closed = 500;
	CHECK(dup2(vm.fd, closed) == closed && !close(closed), "dup2: %m");
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	path = open("/dev/kvm", O_PATH | O_CLOEXEC);
	CHECK(null >= 0 && path >= 0 && !pipe(pipefd), "open: %m");
	none = ioctl(vm.kvm, KVM_CREATE_VM, 0);
	CHECK(none >= 0, "KVM_CREATE_VM: %m");

	CHECK_RET(kvmft_create(dev, -1), -EBADF, "session on descriptor -1");
	CHECK_RET(kvmft_create(dev, -100), -EBADF, "session on descriptor -100");
	CHECK_RET(kvmft_create(dev, 0x7fffffff), -EBADF, "session on descriptor 2^31-1");
	CHECK_RET(kvmft_create(dev, -0x7fffffff - 1), -EBADF, "session on descriptor -2^31");
	CHECK_RET(kvmft_create(dev, closed), -EBADF, "session on a closed descriptor");
	CHECK_RET(kvmft_create(dev, path), -EBADF, "session on an O_PATH descriptor");
	CHECK_RET(kvmft_create(dev, null), -EINVAL, "session on /dev/null");
	CHECK_RET(kvmft_create(dev, pipefd[0]), -EINVAL, "session on a pipe");
	CHECK_RET(kvmft_create(dev, vm.kvm), -EINVAL, "session on /dev/kvm");
	CHECK_RET(kvmft_create(dev, vm.vcpu), -EINVAL, "session on a vCPU");
	CHECK_RET(kvmft_create(dev, dev), -EINVAL, "session on " KVMFT_DEVICE);
	CHECK_RET(kvmft_create(dev, session), -EINVAL, "session on a session");
	CHECK_RET(kvmft_create(dev, none), -EOPNOTSUPP, "session on a VM without a vCPU");

	/* vm_destroy() poisons the structure: keep a descriptor of the VM */
	program_vm(&empty, 0);
	ended = kvmft_create_ok(dev, empty.fd);
	CHECK_RET(kvmft_create(dev, empty.fd), -EBUSY, "second session on a VM");
	vm_destroy(&empty);
	CHECK_RET(kvmft_stop(ended, 5), -ESTALE, "stop of an ended session");
	CHECK_RET(kvmft_stop(ended, 0), -ESTALE, "withdrawing from an ended session");
	CHECK_RET(kvmft_stop(ended, KVMFT_STOP_MAX + 1), -ERANGE,
		  "stop too far ahead of an ended session");
}

static void order(void)
{
	struct kvmft_session_status status;
	struct vmm vmm;
	int other;

	prepare();
	CHECK_RET(kvmft_create(dev, vm.fd), -EBUSY, "second session on a VM");
	CHECK_RET(call(dev, KVMFT_SELF_TEST, NULL), -EBUSY, "self-test beside a session");
	CHECK_RET(kvmft_stop(session, KVMFT_STOP_MAX + 1), -ERANGE, "stop too far ahead");
	CHECK_RET(kvmft_stop(session, ~0ULL), -ERANGE, "stop at 2^64-1");
	CHECK_RET(kvmft_stop(session, 1), -ERANGE, "stop nearer than KVMFT_STOP_MIN");
	kvmft_status_ok(session, &status);
	CHECK_EQ(status.stop_at, 0, "stop_at after refused requests");
	CHECK_RET(kvmft_stop(session, 0), 0, "withdrawing what was not requested");
	CHECK_RET(kvmft_stop(session, KVMFT_STOP_MAX), 0, "stop at KVMFT_STOP_MAX");
	CHECK_RET(kvmft_stop(session, KVMFT_STOP_MIN), 0, "stop at KVMFT_STOP_MIN");
	CHECK_RET(kvmft_stop(session, 0), 0, "withdrawing");

	vmm_start(&vmm, VMM_SPIN, 0);
	other = kvmft_create_ok(dev, vmm.vm_fd);
	CHECK_RET(kvmft_stop(other, 1000000000000), 0, "stop of a vCPU that has not started");
	vmm_command(&vmm, VMM_RUN);
	do {
		kvmft_status_ok(other, &status);
	} while (!status.exits);
	CHECK_RET(kvmft_stop(other, 5), -EBUSY, "stop of a vCPU in KVM_RUN");
	CHECK_RET(kvmft_stop(other, 0), -EBUSY, "withdrawing from a vCPU in KVM_RUN");
	CHECK_RET(kvmft_create(dev, vmm.vm_fd), -EBUSY, "second session on a running VM");
	kvmft_status_ok(other, &status);
	CHECK_EQ(status.stop_at, 1000000000000, "stop_at after refused requests");
	close(other);
	vmm_kill(&vmm);

	close(session);
	CHECK_RET(call(dev, KVMFT_SELF_TEST, NULL), 0, "self-test after the sessions");
	session = kvmft_create_ok(dev, vm.fd);
}

/* Run as nobody; @mode: of the device file meanwhile */
static void open_as_nobody(void *arg)
{
	int want = *(int *)arg;

	CHECK(!setresgid(65534, 65534, 65534) && !setresuid(65534, 65534, 65534),
	      "setresuid: %m");
	CHECK_RET(kvmft_open(), want, "open() without privileges");
}

static void privileges(void)
{
	int denied = -EACCES, not_permitted = -EPERM, fd;
	struct kvmft_info info = { .size = sizeof(info) };
	struct stat st;

	CHECK(!stat(KVMFT_DEVICE, &st), "%s: %m", KVMFT_DEVICE);
	CHECK(S_ISCHR(st.st_mode) && (st.st_mode & 0777) == 0600, "%s has mode %o",
	      KVMFT_DEVICE, st.st_mode);
	join(spawn(open_as_nobody, &denied), 0, "open() as nobody");
	CHECK(!chmod(KVMFT_DEVICE, 0666), "chmod: %m");
	join(spawn(open_as_nobody, &not_permitted), 0, "open() as nobody");
	CHECK(!chmod(KVMFT_DEVICE, 0600), "chmod: %m");

	fd = open(KVMFT_DEVICE, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0, "read-only open: %m");
	CHECK_RET(call(fd, KVMFT_GET_INFO, &info), 0, "KVMFT_GET_INFO on a read-only descriptor");
}

/* ioctl() as a 32-bit program makes it */
static int call32(int fd, unsigned long cmd, u32 arg)
{
	long ret;

	asm volatile("int $0x80" : "=a"(ret) : "a"(54), "b"((u64)fd), "c"(cmd), "d"((u64)arg)
		     : "memory", "r8", "r9", "r10", "r11");
	return (int)ret;
}

/* Without CONFIG_IA32_EMULATION the instruction faults, or answers ENOSYS */
static bool runs_32_bit_calls(void)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0, "fork: %m");
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		_exit(call32(-1, 0, 0) == -ENOSYS);
	}
	CHECK(waitpid(pid, &status, 0) == pid, "waitpid: %m");
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

static void calls_of_32_bit_programs(void)
{
	const struct struct_call *sc;
	u8 *buf;

	prepare();
	buf = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	CHECK(buf != MAP_FAILED, "mmap: %m");
	if (!runs_32_bit_calls())
		tap_skip("this kernel runs no 32-bit programs");
	for (sc = struct_calls; sc < struct_calls + ARRAY_SIZE(struct_calls); sc++) {
		fill(sc, buf, sc->size);
		CHECK_RET(call32(sc->on_session ? session : dev, sc->cmd, (uintptr_t)buf),
			  sc->good, sc->name);
		CHECK_RET(call32(sc->on_session ? session : dev, sc->cmd, 0), -EFAULT, sc->name);
	}
	CHECK_EQ(*(u32 *)buf, sizeof(struct kvmft_session_stop), "size");
	CHECK_RET(call32(dev, KVMFT_GET_API_VERSION, 0), KVMFT_API_VERSION,
		  "KVMFT_GET_API_VERSION");
}

/* With no descriptor left the session that was nearly made is undone */
static void no_descriptors_left(void)
{
	struct rlimit limit, few;
	struct kvmft_info info;
	unsigned int fds;
	int i;

	dev = kvmft_open_ok();
	program_vm(&vm, 0);
	fds = open_fds();
	CHECK(!getrlimit(RLIMIT_NOFILE, &limit), "getrlimit: %m");
	few = limit;
	few.rlim_cur = fds;
	/* Close the gaps below the limit */
	while (open_fds() < 40)
		CHECK(dup(0) >= 0, "dup: %m");
	few.rlim_cur = open_fds();
	CHECK(!setrlimit(RLIMIT_NOFILE, &few), "setrlimit: %m");
	for (i = 0; i < 5; i++) {
		CHECK_RET(kvmft_create(dev, vm.fd), -EMFILE, "session without a descriptor");
		kvmft_info_ok(dev, &info);
		CHECK_EQ(info.sessions, 0, "sessions");
		CHECK_EQ(info.hooks, 0, "hooks");
	}
	CHECK(!setrlimit(RLIMIT_NOFILE, &limit), "setrlimit: %m");
	session = kvmft_create_ok(dev, vm.fd);
}

/* Several threads make, question and close sessions of one VM and end them under it */
#define RACERS	4

static struct race {
	struct vmm vmm;
	bool stop;
	int newest;		/* a session's descriptor, perhaps closed by now */
	unsigned int made;
	unsigned int busy;
} race;

static void expect_one_of(int ret, const char *what, const int *allowed)
{
	int i;

	if (ret >= 0)
		return;
	for (i = 0; allowed[i]; i++) {
		if (ret == allowed[i])
			return;
	}
	tap_fail("%s: %s", what, tap_ret(ret));
}

/*
 * Until another thread has been refused.  A call looks at KVM, one caller at a time, before it
 * looks for a session: on a slow kernel one of a few milliseconds is gone by then.
 */
static void wait_for_busy(void)
{
	unsigned int before = __atomic_load_n(&race.busy, __ATOMIC_RELAXED);

	while (__atomic_load_n(&race.busy, __ATOMIC_RELAXED) == before &&
	       !__atomic_load_n(&race.stop, __ATOMIC_ACQUIRE))
		usleep(100);
}

static void *racer(void *arg)
{
	static const int create[] = { -EBUSY, 0 };
	static const int stop[] = { -EBUSY, -ESTALE, -EBADF, -ENOTTY, 0 };
	static const int status[] = { -EBADF, -ENOTTY, 0 };
	static const int info[] = { 0 };
	struct kvmft_session_status st;
	struct kvmft_info in;
	struct rng rng;
	int ret, fd;

	rng_seed(&rng, (uintptr_t)arg);
	while (!__atomic_load_n(&race.stop, __ATOMIC_ACQUIRE)) {
		fd = __atomic_load_n(&race.newest, __ATOMIC_ACQUIRE);
		switch (rng_between(&rng, 0, 8)) {
		case 0 ... 3:
			ret = kvmft_create(dev, race.vmm.vm_fd);
			expect_one_of(ret, "KVMFT_CREATE_SESSION", create);
			if (ret < 0) {
				__atomic_fetch_add(&race.busy, 1, __ATOMIC_RELAXED);
				break;
			}
			__atomic_fetch_add(&race.made, 1, __ATOMIC_RELAXED);
			__atomic_store_n(&race.newest, ret, __ATOMIC_RELEASE);
			usleep(rng_between(&rng, 0, 3000));
			if (!rng_between(&rng, 0, 7))
				wait_for_busy();
			close(ret);
			break;
		case 4 ... 5:
			expect_one_of(kvmft_status(fd, &st), "KVMFT_SESSION_STATUS", status);
			break;
		case 6 ... 7:
			expect_one_of(kvmft_stop(fd, rng_between(&rng, 2, 100000)),
				      "KVMFT_SESSION_STOP", stop);
			break;
		case 8:
			expect_one_of(kvmft_info(dev, &in), "KVMFT_GET_INFO", info);
			CHECK(in.sessions >= 1 && in.sessions <= RACERS + 1, "%u sessions",
			      in.sessions);
			break;
		}
	}
	return NULL;
}

static void from_many_threads(void)
{
	pthread_t threads[RACERS];
	unsigned int fds;
	uintptr_t i;

	prepare();
	vmm_start(&race.vmm, VMM_WORKLOAD, 1);
	vmm_command(&race.vmm, VMM_RUN);
	race.newest = -1;
	fds = open_fds();
	for (i = 0; i < RACERS; i++)
		CHECK(!pthread_create(&threads[i], NULL, racer,
				      (void *)(env_u64("KVMFT_SEED", 9) + i)),
		      "pthread_create");
	wait_until(__atomic_load_n(&race.made, __ATOMIC_RELAXED) >= 100 &&
		   __atomic_load_n(&race.busy, __ATOMIC_RELAXED),
		   "100 sessions, and two threads that meet");
	__atomic_store_n(&race.stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < RACERS; i++)
		pthread_join(threads[i], NULL);
	tap_diag("%u sessions made, %u refused as busy", race.made, race.busy);
	CHECK_EQ(open_fds(), fds, "open descriptors");
	vmm_wait_laps(&race.vmm, 1);
	vmm_kill(&race.vmm);
}

/* Self-tests and sessions at one time: one waits for the other, or is told EBUSY */
static void *self_tester(void *arg)
{
	unsigned int *done = arg;
	int ret;

	while (*done < 3) {
		ret = call(dev, KVMFT_SELF_TEST, NULL);
		CHECK(!ret || ret == -EBUSY, "KVMFT_SELF_TEST: %s", tap_ret(ret));
		*done += !ret;
	}
	return NULL;
}

static void self_test_beside_sessions(void)
{
	unsigned int done[2] = {}, i, made = 0;
	pthread_t threads[2];
	int fd;

	dev = kvmft_open_ok();
	program_vm(&vm, 0);
	for (i = 0; i < 2; i++)
		CHECK(!pthread_create(&threads[i], NULL, self_tester, &done[i]),
		      "pthread_create");
	for (i = 0; i < 5; i++) {
		fd = kvmft_create_ok(dev, vm.fd);
		made++;
		close(fd);
		usleep(20000);
	}
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	tap_diag("%u sessions, %u and %u self-tests", made, done[0], done[1]);
}

/* One descriptor, closed by one thread while others use it */
static void *use_descriptor(void *arg)
{
	static const int allowed[] = { -EBADF, -EBUSY, -ENOTTY, 0 };
	struct kvmft_session_status st;

	(void)arg;
	while (!__atomic_load_n(&race.stop, __ATOMIC_ACQUIRE)) {
		int fd = __atomic_load_n(&race.newest, __ATOMIC_ACQUIRE);

		expect_one_of(kvmft_status(fd, &st), "KVMFT_SESSION_STATUS", allowed);
		expect_one_of(kvmft_stop(fd, 0), "KVMFT_SESSION_STOP", allowed);
	}
	return NULL;
}

static void closed_while_in_use(void)
{
	pthread_t threads[2];
	struct vm other;
	unsigned int i;
	int fd;

	prepare();
	program_vm(&other, 0);
	race.newest = -1;
	race.stop = false;
	for (i = 0; i < 2; i++)
		CHECK(!pthread_create(&threads[i], NULL, use_descriptor, NULL), "pthread_create");
	for (i = 0; i < 60; i++) {
		do {
			fd = kvmft_create(dev, other.fd);
			/* A caller still holds the descriptor that was closed */
		} while (fd == -EBUSY);
		CHECK(fd >= 0, "KVMFT_CREATE_SESSION: %s", tap_ret(fd));
		__atomic_store_n(&race.newest, fd, __ATOMIC_RELEASE);
		usleep(1000);
		close(fd);
	}
	__atomic_store_n(&race.stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

/* KiB of unreclaimable slab, without what KASAN keeps of freed objects: as much as it likes */
static s64 slab_kib(void)
{
	char text[8192];
	const char *p;
	size_t i;
	glob_t caches;
	int fd;

	CHECK(!glob("/sys/kernel/slab/*/shrink", 0, NULL, &caches), "there are no slab caches");
	for (i = 0; i < caches.gl_pathc; i++) {
		/* It may be gone meanwhile */
		fd = open(caches.gl_pathv[i], O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		CHECK(write(fd, "1", 1) == 1, "%s: %m", caches.gl_pathv[i]);
		close(fd);
	}
	globfree(&caches);
	CHECK(!read_file("/proc/meminfo", text, sizeof(text)), "/proc/meminfo: %m");
	p = strstr(text, "SUnreclaim:");
	CHECK(p, "/proc/meminfo has no SUnreclaim");
	return atoll(p + strlen("SUnreclaim:"));
}

#define SESSIONS_WARM	100
#define SESSIONS	600
/* Less than one object of 512 bytes a session */
#define LEAK_KIB	(SESSIONS * 512 / 1024 / 2)

/* Memory does not grow with the number of sessions that have been */
static void memory(void)
{
	const struct kvm_regs regs = { .r15 = 100 };
	unsigned int fds;
	struct vm other;
	s64 before = 0, after;
	int i, fd;

	prepare();
	program_vm(&other, 0);
	fds = open_fds();
	for (i = 0; i < SESSIONS_WARM + SESSIONS; i++) {
		if (i == SESSIONS_WARM)
			before = slab_kib();
		fd = kvmft_create_ok(dev, other.fd);
		if (!(i % 50)) {
			vm_start(&other, spin, &regs);
			CHECK_EQ(vm_run_to_port(&other), PORT_DONE, "port");
		}
		close(fd);
	}
	after = slab_kib();
	tap_diag("%d sessions: slab %+lld KiB", SESSIONS, (long long)(after - before));
	wait_until(slab_kib() - before < LEAK_KIB, "slab memory to come back");
	CHECK_EQ(open_fds(), fds, "open descriptors");
}

static const struct tap_case cases[] = {
	{ "output", output, 0 },
	{ "sizes", sizes, 0 },
	{ "flags_and_reserved", flags_and_reserved, 0 },
	{ "pointers", pointers, 0 },
	{ "unknown_numbers", unknown_numbers, 0 },
	{ "descriptors", descriptors, 0 },
	{ "order", order, 0 },
	{ "privileges", privileges, 0 },
	{ "calls_of_32_bit_programs", calls_of_32_bit_programs, 0 },
	{ "no_descriptors_left", no_descriptors_left, 0 },
	{ "from_many_threads", from_many_threads, 0 },
	{ "self_test_beside_sessions", self_test_beside_sessions, 0 },
	{ "closed_while_in_use", closed_while_in_use, 0 },
	{ "memory", memory, 0 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, &KVMFT_SUITE(cases, kvmft_setup, kvmft_teardown));
}
