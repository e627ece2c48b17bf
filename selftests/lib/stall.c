// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "stall.h"

#define FILE_NODE	2
#define FILE_NAME	"log"
#define FILE_MAX	(16UL << 20)
#define WRITE_MAX	(128 << 10)

struct stall_request {
	struct fuse_in_header in;
	union {
		struct fuse_getattr_in getattr;
		struct fuse_setattr_in setattr;
		struct fuse_read_in read;
		struct fuse_write_in write;
		char name[256];
		u8 body[WRITE_MAX + 4096];
	};
};

static void reply(struct stall *stall, const struct stall_request *request, int error,
		  const void *body, size_t size)
{
	struct fuse_out_header out = {
		.len = sizeof(out) + size, .error = error, .unique = request->in.unique,
	};
	struct iovec iov[] = { { &out, sizeof(out) }, { (void *)body, size } };

	/* ENOENT: whoever asked is gone */
	CHECK(writev(stall->fuse, iov, 2) >= 0 || errno == ENOENT, "/dev/fuse: %m");
}

static void get_attr(const struct stall *stall, u64 node, struct fuse_attr *attr)
{
	bool is_file = node == FILE_NODE;

	*attr = (struct fuse_attr) {
		.ino = node,
		.size = is_file ? stall->size : 0,
		.mode = is_file ? S_IFREG | 0600 : S_IFDIR | 0700,
		.nlink = 1,
		.blksize = 4096,
	};
}

static void init(struct stall *stall, const struct stall_request *request)
{
	const struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.flags = FUSE_BIG_WRITES,
		.max_background = STALL_HELD_MAX / 2,
		.congestion_threshold = STALL_HELD_MAX / 2,
		.max_write = WRITE_MAX,
		.time_gran = 1,
	};

	reply(stall, request, 0, &out, sizeof(out));
}

static void look_up(struct stall *stall, const struct stall_request *request)
{
	struct fuse_entry_out out = { .nodeid = FILE_NODE };

	get_attr(stall, FILE_NODE, &out.attr);
	if (strcmp(request->name, FILE_NAME))
		reply(stall, request, -ENOENT, NULL, 0);
	else
		reply(stall, request, 0, &out, sizeof(out));
}

static void attributes(struct stall *stall, const struct stall_request *request)
{
	struct fuse_attr_out out = {};

	if (request->in.opcode == FUSE_SETATTR && request->setattr.valid & FATTR_SIZE &&
	    request->setattr.size <= FILE_MAX)
		__atomic_store_n(&stall->size, request->setattr.size, __ATOMIC_RELEASE);
	get_attr(stall, request->in.nodeid, &out.attr);
	reply(stall, request, 0, &out, sizeof(out));
}

static u64 limit_of(const struct stall *stall)
{
	return __atomic_load_n(&stall->limit, __ATOMIC_ACQUIRE);
}

/* Up to the limit: the kernel reads any number of bytes at once, and asks for the rest then */
static void read_file_at(struct stall *stall, const struct stall_request *request)
{
	u64 offset = request->read.offset, len = request->read.size;
	u64 end = limit_of(stall);

	if (end > stall->size)
		end = stall->size;
	if (offset > end)
		offset = end;
	if (len > end - offset)
		len = end - offset;
	reply(stall, request, 0, stall->bytes + offset, len);
}

static void write_file_at(struct stall *stall, const struct stall_request *request)
{
	const struct fuse_write_out out = { .size = request->write.size };
	u64 end = request->write.offset + request->write.size;

	if (end > FILE_MAX) {
		reply(stall, request, -EFBIG, NULL, 0);
		return;
	}
	memcpy(stall->bytes + request->write.offset, &request->write + 1, request->write.size);
	if (end > stall->size)
		__atomic_store_n(&stall->size, end, __ATOMIC_RELEASE);
	reply(stall, request, 0, &out, sizeof(out));
}

/* Has it to wait? */
static bool is_beyond(const struct stall *stall, const struct stall_request *request)
{
	u64 limit = limit_of(stall);

	if (request->in.opcode == FUSE_READ)
		return request->read.offset >= limit;
	return request->in.opcode == FUSE_WRITE && request->write.offset >= limit;
}

static void serve(struct stall *stall, const struct stall_request *request)
{
	const struct fuse_open_out opened = { .open_flags = FOPEN_DIRECT_IO };

	switch (request->in.opcode) {
	case FUSE_INIT:
		init(stall, request);
		break;
	case FUSE_LOOKUP:
		look_up(stall, request);
		break;
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		attributes(stall, request);
		break;
	case FUSE_OPEN:
		reply(stall, request, 0, &opened, sizeof(opened));
		break;
	case FUSE_READ:
		read_file_at(stall, request);
		break;
	case FUSE_WRITE:
		write_file_at(stall, request);
		break;
	case FUSE_RELEASE:
		reply(stall, request, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		reply(stall, request, -ENOSYS, NULL, 0);
	}
}

static void hold(struct stall *stall)
{
	CHECK(stall->held < STALL_HELD_MAX, "too many accesses wait");
	stall->requests[stall->held] = stall->request;
	__atomic_store_n(&stall->held, stall->held + 1, __ATOMIC_RELEASE);
	stall->request = malloc(sizeof(*stall->request));
	CHECK(stall->request, "out of memory");
}

/* Those that need not wait any more */
static void serve_held(struct stall *stall)
{
	u32 i, left = 0;

	for (i = 0; i < stall->held; i++) {
		struct stall_request *request = stall->requests[i];

		if (is_beyond(stall, request)) {
			stall->requests[left++] = request;
			continue;
		}
		serve(stall, request);
		free(request);
	}
	__atomic_store_n(&stall->held, left, __ATOMIC_RELEASE);
}

static void *stall_thread(void *arg)
{
	struct stall *stall = arg;
	struct pollfd fds[] = {
		{ .fd = stall->fuse, .events = POLLIN }, { .fd = stall->wake[0], .events = POLLIN },
	};
	ssize_t n;
	char byte;

	for (;;) {
		CHECK(poll(fds, ARRAY_SIZE(fds), -1) > 0 || errno == EINTR, "poll: %m");
		if (fds[1].revents) {
			/* 0: the end */
			if (read(stall->wake[0], &byte, 1) == 1 && !byte)
				return NULL;
			serve_held(stall);
		}
		if (!fds[0].revents)
			continue;
		n = read(stall->fuse, stall->request, sizeof(*stall->request));
		if (n < 0 && errno == ENODEV)
			return NULL;	/* unmounted */
		if (n < 0) {
			CHECK(errno == EINTR || errno == EAGAIN || errno == ENOENT,
			      "/dev/fuse: %m");
			continue;
		}
		if (is_beyond(stall, stall->request))
			hold(stall);
		else
			serve(stall, stall->request);
	}
}

void stall_start(struct stall *stall, const char *dir)
{
	char options[100];

	*stall = (struct stall) { .dir = dir, .limit = ~0ULL };
	stall->fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (stall->fuse < 0)
		tap_skip("/dev/fuse: %m");
	stall->bytes = calloc(1, FILE_MAX);
	stall->request = malloc(sizeof(*stall->request));
	CHECK(stall->bytes && stall->request, "out of memory");
	CHECK(!pipe2(stall->wake, O_CLOEXEC), "pipe: %m");
	/* What a case that failed has left */
	umount2(dir, MNT_DETACH);
	CHECK(!mkdir(dir, 0700) || errno == EEXIST, "%s: %m", dir);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0",
		 stall->fuse);
	CHECK(!mount("stall", dir, "fuse", MS_NOSUID | MS_NODEV, options), "mount %s: %m", dir);
	CHECK(!pthread_create(&stall->thread, NULL, stall_thread, stall), "pthread_create");
}

void stall_limit(struct stall *stall, u64 limit)
{
	__atomic_store_n(&stall->limit, limit, __ATOMIC_RELEASE);
	CHECK(write(stall->wake[1], "x", 1) == 1, "write: %m");
}

void stall_stop(struct stall *stall)
{
	stall_limit(stall, ~0ULL);
	CHECK(!umount2(stall->dir, MNT_DETACH), "umount %s: %m", stall->dir);
	CHECK(write(stall->wake[1], "", 1) == 1, "write: %m");
	pthread_join(stall->thread, NULL);
	close(stall->fuse);
	close(stall->wake[0]);
	close(stall->wake[1]);
	free(stall->request);
	free(stall->bytes);
}

u64 stall_size(const struct stall *stall)
{
	return __atomic_load_n(&stall->size, __ATOMIC_ACQUIRE);
}

u32 stall_held(const struct stall *stall)
{
	return __atomic_load_n(&stall->held, __ATOMIC_ACQUIRE);
}
