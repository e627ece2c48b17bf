/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A file that can be read and written up to a limit; whoever goes beyond waits until the test
 * raises it.  FUSE, served by a thread of the test: when that is gone, nobody waits any more.
 */
#ifndef SELFTESTS_STALL_H
#define SELFTESTS_STALL_H

#include <pthread.h>

#include "tap.h"

#define STALL_HELD_MAX	8

struct stall_request;

struct stall {
	const char *dir;
	int fuse;
	int wake[2];		/* a pipe */
	pthread_t thread;
	u8 *bytes;
	u64 size;		/* of the file */
	u64 limit;		/* accesses at this offset and behind it wait */
	u32 held;		/* number of those that do */
	struct stall_request *requests[STALL_HELD_MAX];
	struct stall_request *request;
};

/* Mount it on @dir, which is made; its name is "log".  The case is skipped without FUSE */
void stall_start(struct stall *stall, const char *dir);
/* Let accesses up to @limit happen */
void stall_limit(struct stall *stall, u64 limit);
void stall_stop(struct stall *stall);

/* Size of the file, and how many accesses wait */
u64 stall_size(const struct stall *stall);
u32 stall_held(const struct stall *stall);

#endif /* SELFTESTS_STALL_H */
