// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

void rng_seed(struct rng *rng, u64 seed)
{
	rng->state = seed * 0x9e3779b97f4a7c15ULL + 1;
	rng_next(rng);
}

u64 rng_next(struct rng *rng)
{
	u64 x = rng->state ? rng->state : 1;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	rng->state = x;
	return x * 0x2545f4914f6cdd1dULL;
}

u64 rng_between(struct rng *rng, u64 lo, u64 hi)
{
	return lo + (rng_next(rng) >> 11) % (hi - lo + 1);
}

u64 env_u64(const char *name, u64 other)
{
	const char *text = getenv(name);
	char *end;
	u64 value;

	if (!text || !*text)
		return other;
	value = strtoull(text, &end, 0);
	CHECK(!*end, "%s='%s' is no number", name, text);
	return value;
}

int kernel_log(void)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	CHECK(log >= 0 && lseek(log, 0, SEEK_END) >= 0, "/dev/kmsg: %m");
	return log;
}

/* A read returns one record */
unsigned int kernel_log_lines(int log, const char *text)
{
	char record[1024];
	unsigned int nr = 0;
	ssize_t n;

	while ((n = read(log, record, sizeof(record) - 1)) > 0) {
		record[n] = 0;
		nr += !!strstr(record, text);
	}
	CHECK(n < 0 && errno == EAGAIN, "/dev/kmsg: %m");
	return nr;
}

int read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n < 0)
		return n;
	if (n && buf[n - 1] == '\n')
		n--;
	buf[n] = 0;
	return 0;
}

int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

unsigned int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;
	struct dirent *entry;

	CHECK(dir, "/proc/self/fd: %m");
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n - 1;	/* the directory's own */
}

unsigned int nr_cpus(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n > 0 ? n : 1;
}

void pin_to_cpu(pid_t tid, unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	CHECK(!sched_setaffinity(tid, sizeof(set), &set), "sched_setaffinity: %m");
}

void send_fd(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(fd))] = {}, byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	CHECK(sendmsg(sock, &msg, 0) == 1, "sendmsg: %m");
}

int recv_fd(int sock)
{
	char control[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;
	ssize_t n;
	int fd;

	do {
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	CHECK(n >= 0, "recvmsg: %m");
	if (!n)
		return -1;
	cmsg = CMSG_FIRSTHDR(&msg);
	CHECK(cmsg && cmsg->cmsg_type == SCM_RIGHTS, "recvmsg: no descriptor came");
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

int run_program(const char *const argv[])
{
	pid_t pid = fork();
	int status, null;

	CHECK(pid >= 0, "fork: %m");
	if (!pid) {
		null = open("/dev/null", O_RDWR);
		dup2(null, 0);
		dup2(null, 1);
		execvp(argv[0], (char **)argv);
		_exit(127);
	}
	CHECK(waitpid(pid, &status, 0) == pid, "waitpid: %m");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

pid_t spawn(void (*fn)(void *arg), void *arg)
{
	pid_t parent = getpid(), pid;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0, "fork: %m");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	fn(arg);
	fflush(stdout);
	_exit(0);
}

void join(pid_t pid, int sig, const char *what)
{
	int status = 0;
	pid_t got;

	wait_until((got = waitpid(pid, &status, WNOHANG)), what);
	CHECK(got == pid, "waitpid(%s): %m", what);
	if (sig)
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == sig,
		      "%s ended with status %#x, not by signal %d", what, status, sig);
	else
		CHECK(!status, "%s ended with status %#x", what, status);
}

static void ignore(int sig)
{
	(void)sig;
}

void catch_signal(int sig)
{
	struct sigaction action = { .sa_handler = ignore };

	CHECK(!sigaction(sig, &action, NULL), "sigaction: %m");
}
