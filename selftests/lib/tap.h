/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A test program is a table of cases.  Each case runs in a process group of its
 * own, under a time limit, and prints one TAP line; a case that crashes, hangs or
 * leaves processes behind is a failure of that case and of no other.
 */
#ifndef SELFTESTS_TAP_H
#define SELFTESTS_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t u64;
typedef int64_t s64;
typedef uint32_t u32;
typedef uint16_t u16;
typedef uint8_t u8;

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/**
 * struct tap_case - one TAP line
 * @name: one word
 * @run: passes by returning; fails, or is skipped, by tap_fail() or tap_skip()
 * @timeout: seconds; 0: TAP_TIMEOUT.  Seconds of the emulated host, whose clock
 *	jumps ahead while it waits for its root file system: generous, on purpose
 */
struct tap_case {
	const char *name;
	void (*run)(void);
	unsigned int timeout;
};

#define TAP_TIMEOUT	600

/**
 * struct tap_suite - a test program
 * @setup: runs before the first case, in the process that outlives them all; may
 *	call tap_skip() (skips everything) or tap_fail() (bails out)
 * @after: runs after every case, in that same process; returns NULL, or what the
 *	case left behind, which fails the case
 * @teardown: as @after, once, as a case of its own called "teardown"
 */
struct tap_suite {
	const struct tap_case *cases;
	unsigned int nr_cases;
	void (*setup)(void);
	const char *(*after)(void);
	const char *(*teardown)(void);
};

/* main() of a test program; arguments: [-l] [CASE...] */
int tap_main(int argc, char **argv, const struct tap_suite *suite);

/* main() of a program that is no test: a failure of the library ends it, with a message */
void tap_helper(const char *name);

/* A line of explanation: "# ..." */
void tap_diag(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* End the case, from any process or thread of it */
void tap_fail_at(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), noreturn));
void tap_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#define tap_fail(...)	tap_fail_at(__FILE__, __LINE__, __VA_ARGS__)

/* The case fails unless @cond */
#define CHECK(cond, ...) do {						\
	if (!(cond))							\
		tap_fail(__VA_ARGS__);					\
} while (0)

/* ... unless the integers are equal; @what names them */
#define CHECK_EQ(got, want, what) do {					\
	long long got_ = (long long)(got), want_ = (long long)(want);	\
									\
	if (got_ != want_)						\
		tap_fail("%s is %lld, not %lld", what, got_, want_);	\
} while (0)

/* ... unless the call returned @want: 0 or more, or -errno */
#define CHECK_RET(got, want, what) do {					\
	long got_ = (long)(got), want_ = (long)(want);			\
									\
	if (got_ != want_)						\
		tap_fail("%s: %s, not %s", what, tap_ret(got_),	\
			 tap_ret(want_));				\
} while (0)

/* "EBUSY" for -EBUSY, "3" for 3; valid until the fourth call after it */
const char *tap_ret(long ret);

#endif /* SELFTESTS_TAP_H */
