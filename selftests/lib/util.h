/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SELFTESTS_UTIL_H
#define SELFTESTS_UTIL_H

#include <sys/types.h>

#include "tap.h"

#define NSEC_PER_SEC	1000000000ULL
#define NSEC_PER_MSEC	1000000ULL

/* CLOCK_MONOTONIC */
u64 now_ns(void);

/*
 * Wait until @cond is true; the case fails, naming @what, after the time limit.
 * Seconds of the emulated host: see struct tap_case.
 */
#define WAIT_TIMEOUT	120

#define wait_until(cond, what) do {						\
	u64 deadline_ = now_ns() + WAIT_TIMEOUT * NSEC_PER_SEC;			\
										\
	while (!(cond)) {							\
		if (now_ns() > deadline_)					\
			tap_fail("waited %d s in vain: %s", WAIT_TIMEOUT, what);	\
		usleep(500);							\
	}									\
} while (0)

/* xorshift64*: the same seed gives the same test */
struct rng {
	u64 state;
};

void rng_seed(struct rng *rng, u64 seed);
u64 rng_next(struct rng *rng);
/* A number from @lo to @hi, both included */
u64 rng_between(struct rng *rng, u64 lo, u64 hi);

/* Number in the environment variable @name, or @other if it is not set */
u64 env_u64(const char *name, u64 other);

/* Contents of a file without the last newline; returns 0 or -errno */
int read_file(const char *path, char *buf, size_t size);
int write_file(const char *path, const char *text);

/*
 * The kernel log from here on, and how many of its lines contain @text, up to now, and behind those
 * counted before
 */
int kernel_log(void);
unsigned int kernel_log_lines(int log, const char *text);

/* Number of descriptors that this process has open */
unsigned int open_fds(void);

/* The CPUs that are online; pin a task (0: this thread) to one of them */
unsigned int nr_cpus(void);
void pin_to_cpu(pid_t tid, unsigned int cpu);

/* Pass a descriptor over a unix socket; recv_fd() returns it, or -1 at end of file */
void send_fd(int sock, int fd);
int recv_fd(int sock);

/* Run a program, silently; returns its exit status */
int run_program(const char *const argv[]);

/* Fork a process of the case; it dies with its parent, and ends by exit status 0 */
pid_t spawn(void (*fn)(void *arg), void *arg);
/* Wait for a process that spawn() made: it has to end well, or by signal @sig if not 0 */
void join(pid_t pid, int sig, const char *what);

/* Handler that does nothing, so that the signal interrupts system calls */
void catch_signal(int sig);

#endif /* SELFTESTS_UTIL_H */
