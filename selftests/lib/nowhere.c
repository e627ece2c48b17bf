// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "nowhere.h"
#include "tap.h"

#define SIZE		4096
#define TIMEOUT		10000	/* milliseconds */

void nowhere_open(struct nowhere *nowhere)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	nowhere->fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (nowhere->fd < 0)
		tap_skip("no userfaultfd");
	nowhere->page = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			     0);
	range.range.start = (uintptr_t)nowhere->page;
	range.range.len = SIZE;
	CHECK(nowhere->page != MAP_FAILED && !ioctl(nowhere->fd, UFFDIO_API, &api) &&
	      !ioctl(nowhere->fd, UFFDIO_REGISTER, &range), "userfaultfd: %m");
}

void nowhere_close(struct nowhere *nowhere)
{
	close(nowhere->fd);
}

void nowhere_wait(const struct nowhere *nowhere)
{
	struct pollfd pfd = { .fd = nowhere->fd, .events = POLLIN };

	CHECK(poll(&pfd, 1, TIMEOUT) == 1, "nobody waits for the page");
}
