// SPDX-License-Identifier: GPL-2.0
/*
 * arm [FILE]: keep a VM running with a session armed, beside something else that is
 * tested.  Prints the line "armed" (and makes FILE, if given) when the session counts; ends on
 * SIGTERM, SIGINT or end of standard input, with status 0 if the guest's results were
 * right and the session was still there, and the module unloaded if it was loaded here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "kvmft.h"
#include "util.h"
#include "vmm.h"

static const char *flag_file;

static void say_armed(void)
{
	int fd;

	puts("armed");
	fflush(stdout);
	if (!flag_file)
		return;
	fd = open(flag_file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	CHECK(fd >= 0, "%s: %m", flag_file);
	close(fd);
}

/* Until a signal comes or standard input ends; the session has to count on meanwhile */
static void wait_for_end(struct vmm *vmm, int session, int signals)
{
	struct pollfd fds[2] = {
		{ .fd = signals, .events = POLLIN },
		{ .fd = STDIN_FILENO, .events = POLLIN },
	};
	struct kvmft_session_status status;
	char buf[64];

	for (;;) {
		int n = poll(fds, 2, 1000);

		CHECK(n >= 0 || errno == EINTR, "poll: %m");
		kvmft_status_ok(session, &status);
		CHECK(status.state == KVMFT_STATE_COUNTING,
		      "the session ended by itself: state %u, end %u", status.state, status.end);
		vmm_check(vmm);
		if (fds[0].revents)
			return;
		/* /dev/null is no end: nobody is there to say it */
		if (fds[1].revents && read(STDIN_FILENO, buf, sizeof(buf)) <= 0) {
			if (isatty(STDIN_FILENO) || lseek(STDIN_FILENO, 0, SEEK_CUR) < 0)
				return;
			fds[1].fd = -1;
		}
	}
}

static void armed(void)
{
	struct kvmft_session_status status;
	int dev = kvmft_open_ok(), session, signals;
	struct vmm vmm;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	CHECK(signals >= 0, "signalfd: %m");
	vmm_start(&vmm, VMM_WORKLOAD, 1);
	session = kvmft_create_ok(dev, vmm.vm_fd);
	vmm_command(&vmm, VMM_RUN);
	do {
		kvmft_status_ok(session, &status);
	} while (status.state == KVMFT_STATE_ARMED);
	say_armed();

	wait_for_end(&vmm, session, signals);
	vmm_wait_laps(&vmm, 1);
	kvmft_status_ok(session, &status);
	tap_diag("%llu exits, %llu conditional branches, %llu laps",
		 (unsigned long long)status.exits, (unsigned long long)status.cond,
		 (unsigned long long)vmm.shared->laps);
	vmm_kill(&vmm);
	close(session);
	/* It counts as a user of the module. */
	close(dev);
}

int main(int argc, char **argv)
{
	const char *left;

	tap_helper("arm");
	if (argc > 2) {
		fprintf(stderr, "usage: arm [FILE]\n");
		return 2;
	}
	flag_file = argc > 1 ? argv[1] : NULL;
	kvmft_setup();
	armed();
	left = kvmft_after();
	if (!left)
		left = kvmft_teardown();
	CHECK(!left, "%s", left);
	return 0;
}
