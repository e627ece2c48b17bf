/* SPDX-License-Identifier: GPL-2.0 */
/* Performance counters of the host, through perf_event_open() */
#ifndef SELFTESTS_PERF_H
#define SELFTESTS_PERF_H

#include "tap.h"

/* Raw events of AMD family 17h and later */
#define EVENT_CYCLES		0x76
#define EVENT_INSTRUCTIONS	0xc0
#define EVENT_BRANCHES		0xc2
#define EVENT_TAKEN		0xc4
#define EVENT_COND		0xd1

/* In the guest, or in the host's kernel and user space, only */
enum perf_where { PERF_GUEST, PERF_HOST };

/* A pinned counter of this thread, running */
int perf_open(u64 event, enum perf_where where);
u64 perf_read(int fd);

/*
 * A counter of everything on @cpu (-1: of this thread) that interrupts every @period
 * (0: never); returns the descriptor or -errno
 */
int perf_open_on(int cpu, u64 event, u64 period, bool pinned);

#endif /* SELFTESTS_PERF_H */
