// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "perf.h"

static int event_open(struct perf_event_attr *attr, int cpu)
{
	long fd;

	attr->size = sizeof(*attr);
	attr->type = PERF_TYPE_RAW;
	fd = syscall(SYS_perf_event_open, attr, cpu < 0 ? 0 : -1, cpu, -1,
		     PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int perf_open(u64 event, enum perf_where where)
{
	struct perf_event_attr attr = {
		.config = event,
		.exclude_host = where == PERF_GUEST,
		.exclude_guest = where == PERF_HOST,
		.pinned = 1,
	};
	int fd = event_open(&attr, -1);

	CHECK(fd >= 0, "perf_event_open(%#llx): %s", (unsigned long long)event, tap_ret(fd));
	return fd;
}

int perf_open_on(int cpu, u64 event, u64 period, bool pinned)
{
	struct perf_event_attr attr = {
		.config = event,
		.sample_period = period,
		.sample_type = period ? PERF_SAMPLE_IP | PERF_SAMPLE_TID : 0,
		.pinned = pinned,
	};

	return event_open(&attr, cpu);
}

u64 perf_read(int fd)
{
	u64 value;

	/* 0 bytes: a pinned event that found no counter */
	CHECK(read(fd, &value, sizeof(value)) == sizeof(value),
	      "perf counter %d is in error: no hardware counter was free", fd);
	return value;
}
