// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"
#include "util.h"

#define STATUS_PASS	0
#define STATUS_FAIL	1
#define STATUS_SKIP	4

/* Shared by all processes of a case: why it ended, as told by the first to say so */
static struct verdict {
	int claimed;
	int status;
	char reason[400];
} *verdict;

static int test_number;

/* Not in a case, but in this: the verdict is printed at once, and ends the program */
static const char *outside;

void tap_diag(const char *fmt, ...)
{
	char line[500];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	printf("# %s\n", line);
	fflush(stdout);
}

/* A report has one line, and '#' would begin a TAP directive */
static void make_one_line(char *text)
{
	for (; *text; text++) {
		if (*text == '\n' || *text == '\r')
			*text = ' ';
		else if (*text == '#')
			*text = '.';
	}
}

static void vend(int status, const char *fmt, va_list ap)
{
	char reason[sizeof(verdict->reason)];

	vsnprintf(reason, sizeof(reason), fmt, ap);
	make_one_line(reason);
	if (outside) {
		if (status == STATUS_SKIP)
			printf("1..0 # SKIP %s\n", reason);
		else
			printf("Bail out! %s: %s\n", outside, reason);
		fflush(stdout);
		_exit(status == STATUS_SKIP ? 0 : STATUS_FAIL);
	}
	if (!__atomic_exchange_n(&verdict->claimed, 1, __ATOMIC_ACQ_REL)) {
		verdict->status = status;
		strcpy(verdict->reason, reason);
	} else {
		printf("# also: %s\n", reason);
	}
	fflush(stdout);
	_exit(status);
}

void tap_fail_at(const char *file, int line, const char *fmt, ...)
{
	char text[sizeof(verdict->reason)];
	const char *base = strrchr(file, '/');
	va_list ap;

	snprintf(text, sizeof(text), "%s (%s:%d)", fmt, base ? base + 1 : file, line);
	va_start(ap, fmt);
	vend(STATUS_FAIL, text, ap);
	va_end(ap);
	__builtin_unreachable();
}

void tap_skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vend(STATUS_SKIP, fmt, ap);
	va_end(ap);
	__builtin_unreachable();
}

const char *tap_ret(long ret)
{
	static __thread char text[4][40];
	static __thread unsigned int next;
	char *p = text[next++ % ARRAY_SIZE(text)];
	const char *name = ret < 0 ? strerrorname_np(-ret) : NULL;

	if (name)
		snprintf(p, sizeof(text[0]), "%s", name);
	else
		snprintf(p, sizeof(text[0]), "%ld", ret);
	return p;
}

static bool report(const char *name, int status, const char *reason)
{
	bool pass = status == STATUS_PASS || status == STATUS_SKIP;

	printf("%sok %d - %s%s%s\n", pass ? "" : "not ", ++test_number, name,
	       status == STATUS_SKIP ? " # SKIP " : *reason ? ": " : "", reason);
	fflush(stdout);
	return pass;
}

/* Wait for @pid until @deadline; returns its status, or -1 */
static int wait_case(pid_t pid, u64 deadline)
{
	int status;

	for (;;) {
		pid_t got = waitpid(pid, &status, WNOHANG);

		if (got == pid)
			return status;
		if (got < 0 || now_ns() > deadline)
			return -1;
		usleep(2000);
	}
}

/* Kill and collect whatever the case started: this process is its subreaper */
static void reap_group(pid_t group)
{
	u64 deadline = now_ns() + 120 * NSEC_PER_SEC;

	kill(-group, SIGKILL);
	while (now_ns() < deadline) {
		pid_t got = waitpid(-1, NULL, WNOHANG);

		if (got < 0 && errno == ECHILD)
			return;
		if (got <= 0) {
			kill(-group, SIGKILL);
			usleep(2000);
		}
	}
	printf("Bail out! processes of the case cannot be killed\n");
	fflush(stdout);
	_exit(STATUS_FAIL);
}

/* Run @fn in a process group of its own; fills *verdict */
static void run_forked(void (*fn)(void), unsigned int timeout)
{
	pid_t pid;
	int status;

	memset(verdict, 0, sizeof(*verdict));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		fn();
		fflush(stdout);
		_exit(STATUS_PASS);
	}
	if (pid < 0) {
		verdict->status = STATUS_FAIL;
		strcpy(verdict->reason, "fork failed");
		return;
	}
	setpgid(pid, pid);
	status = wait_case(pid, now_ns() + timeout * NSEC_PER_SEC);
	reap_group(pid);
	if (verdict->claimed)
		return;
	if (status == -1)
		snprintf(verdict->reason, sizeof(verdict->reason),
			 "still running after %u s", timeout);
	else if (WIFSIGNALED(status))
		snprintf(verdict->reason, sizeof(verdict->reason), "died of signal %d (%s)",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status))
		snprintf(verdict->reason, sizeof(verdict->reason), "exited with %d",
			 WEXITSTATUS(status));
	verdict->status = status ? STATUS_FAIL : STATUS_PASS;
}

static bool run_case(const struct tap_suite *suite, const struct tap_case *tc)
{
	const char *left = NULL;

	run_forked(tc->run, tc->timeout ? tc->timeout : TAP_TIMEOUT);
	if (suite->after)
		left = suite->after();
	if (left && verdict->status == STATUS_FAIL)
		tap_diag("%s: afterwards %s", tc->name, left);
	else if (left)
		return report(tc->name, STATUS_FAIL, left);
	return report(tc->name, verdict->status, verdict->reason);
}

static bool selected(const struct tap_case *tc, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], tc->name))
			return true;
	}
	return argc < 2;
}

/* The names on the command line have to exist; returns the number of cases they select */
static unsigned int count_selected(const struct tap_suite *suite, int argc, char **argv)
{
	unsigned int i, n = 0, found;
	int a;

	for (a = 1; a < argc; a++) {
		for (i = 0, found = 0; i < suite->nr_cases; i++)
			found += !strcmp(argv[a], suite->cases[i].name);
		if (!found) {
			fprintf(stderr, "%s: no case '%s'; -l lists them\n", argv[0], argv[a]);
			exit(2);
		}
	}
	for (i = 0; i < suite->nr_cases; i++)
		n += selected(&suite->cases[i], argc, argv);
	return n;
}

void tap_helper(const char *name)
{
	outside = name;
}

int tap_main(int argc, char **argv, const struct tap_suite *suite)
{
	unsigned int i, n;
	bool pass = true;

	if (argc == 2 && !strcmp(argv[1], "-l")) {
		for (i = 0; i < suite->nr_cases; i++)
			puts(suite->cases[i].name);
		return 0;
	}
	n = count_selected(suite, argc, argv);

	verdict = mmap(NULL, sizeof(*verdict), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (verdict == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGPIPE, SIG_IGN);

	printf("TAP version 13\n");
	if (suite->setup) {
		outside = "setup";
		suite->setup();
		outside = NULL;
	}
	printf("1..%u\n", n + !!suite->teardown);
	for (i = 0; i < suite->nr_cases; i++) {
		if (selected(&suite->cases[i], argc, argv))
			pass &= run_case(suite, &suite->cases[i]);
	}
	if (suite->teardown) {
		const char *left = suite->teardown();

		pass &= report("teardown", left ? STATUS_FAIL : STATUS_PASS, left ? left : "");
	}
	return !pass;
}
