// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kvmft.h"
#include "util.h"

static bool loaded_here;
/* Users of a module that setup has found loaded: who traces it is one */
static long users_before;

/* The tree's own module, unless the environment names another */
static const char *module_path(void)
{
	const char *path = getenv("KVMFT_KO");

	return path && *path ? path : KVMFT_KO_DEFAULT;
}

/* Read the file first: loading is then no wait for a file system */
int module_load(const char *params)
{
	int fd = open(module_path(), O_RDONLY | O_CLOEXEC);
	size_t done = 0;
	struct stat st;
	char *image;
	int ret = 0;

	CHECK(fd >= 0 && !fstat(fd, &st), "%s: %m; build the module, or set KVMFT_KO",
	      module_path());
	image = malloc(st.st_size);
	CHECK(image, "out of memory");
	while (done < (size_t)st.st_size) {
		ssize_t n = read(fd, image + done, st.st_size - done);

		CHECK(n > 0, "%s: cannot be read", module_path());
		done += n;
	}
	close(fd);
	if (syscall(SYS_init_module, image, done, params))
		ret = -errno;
	free(image);
	return ret;
}

int module_unload(void)
{
	return syscall(SYS_delete_module, "kvmft", O_NONBLOCK) ? -errno : 0;
}

bool module_loaded(const char *name)
{
	char path[100];

	snprintf(path, sizeof(path), "/sys/module/%s/refcnt", name);
	return !access(path, F_OK);
}

long module_refcount(void)
{
	char text[32];

	if (read_file("/sys/module/kvmft/refcnt", text, sizeof(text)))
		return -1;
	return strtol(text, NULL, 10) - users_before;
}

void modprobe(const char *name)
{
	const char *const argv[] = { "modprobe", name, NULL };

	CHECK(!run_program(argv), "modprobe %s failed", name);
}

void kvmft_setup(void)
{
	struct kvmft_info info;
	char reason[200] = "";
	int dev, ret;

	if (access("/dev/kvm", F_OK))
		modprobe("kvm_amd");
	if (!module_loaded("kvmft")) {
		ret = module_load("");
		CHECK(!ret, "%s does not load: %s; see the kernel log", module_path(),
		      tap_ret(ret));
		loaded_here = true;
	} else {
		users_before = module_refcount();
	}
	dev = kvmft_open_ok();
	kvmft_info_ok(dev, &info);
	close(dev);
	read_file("/sys/class/misc/kvmft/counter/reason", reason, sizeof(reason));
	CHECK(info.verdict == KVMFT_VERDICT_EXACT, "counter verdict is %u: %s", info.verdict,
	      reason);
}

const char *kvmft_after(void)
{
	u64 deadline = now_ns() + WAIT_TIMEOUT * NSEC_PER_SEC;
	static char text[200];
	struct kvmft_info info;
	long users;
	int dev;

	if (!module_loaded("kvmft"))
		return NULL;
	/* A killed VMM is torn down by work that its parent does not wait for */
	for (;;) {
		dev = kvmft_open();
		if (dev < 0) {
			snprintf(text, sizeof(text), KVMFT_DEVICE " does not open: %s",
				 tap_ret(dev));
			return text;
		}
		kvmft_info_ok(dev, &info);
		close(dev);
		users = module_refcount();
		if (!info.sessions && !info.hooks && !users)
			return NULL;
		if (now_ns() > deadline)
			break;
		usleep(1000);
	}
	snprintf(text, sizeof(text), "left behind: %u sessions, %u hooks, module used by %ld",
		 info.sessions, info.hooks, users);
	return text;
}

const char *kvmft_teardown(void)
{
	static char text[100];
	int ret;

	if (!loaded_here)
		return NULL;
	ret = module_unload();
	if (!ret)
		return NULL;
	snprintf(text, sizeof(text), "the module does not unload: %s", tap_ret(ret));
	return text;
}

static int call(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

int kvmft_open(void)
{
	int fd = open(KVMFT_DEVICE, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int kvmft_info(int dev, struct kvmft_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	return call(dev, KVMFT_GET_INFO, info);
}

int kvmft_create(int dev, int vm_fd)
{
	struct kvmft_create_session create = { .size = sizeof(create), .vm_fd = vm_fd };

	return call(dev, KVMFT_CREATE_SESSION, &create);
}

int kvmft_status(int session, struct kvmft_session_status *status)
{
	memset(status, 0, sizeof(*status));
	status->size = sizeof(*status);
	return call(session, KVMFT_SESSION_STATUS, status);
}

int kvmft_stop(int session, u64 cond)
{
	struct kvmft_session_stop stop = { .size = sizeof(stop), .cond = cond };

	return call(session, KVMFT_SESSION_STOP, &stop);
}

int kvmft_record(int session, int log, u32 align_us)
{
	struct kvmft_session_record record = {
		.size = sizeof(record), .log_fd = log, .align_us = align_us,
	};

	return call(session, KVMFT_SESSION_RECORD, &record);
}

int kvmft_replay(int session, int log)
{
	struct kvmft_session_replay replay = { .size = sizeof(replay), .log_fd = log };

	return call(session, KVMFT_SESSION_REPLAY, &replay);
}

int kvmft_pair(int session, const struct kvmft_session_pair *pair)
{
	return call(session, KVMFT_SESSION_PAIR, (void *)pair);
}

int kvmft_input(int session, struct kvmft_session_input *input)
{
	return call(session, KVMFT_SESSION_INPUT, input);
}

int kvmft_finish(int session)
{
	return call(session, KVMFT_SESSION_FINISH, NULL);
}

int kvmft_open_ok(void)
{
	int fd = kvmft_open();

	CHECK(fd >= 0, KVMFT_DEVICE ": %s", tap_ret(fd));
	return fd;
}

void kvmft_info_ok(int dev, struct kvmft_info *info)
{
	CHECK_RET(kvmft_info(dev, info), 0, "KVMFT_GET_INFO");
}

int kvmft_create_ok(int dev, int vm_fd)
{
	int fd = kvmft_create(dev, vm_fd);

	CHECK(fd >= 0, "KVMFT_CREATE_SESSION: %s", tap_ret(fd));
	return fd;
}

void kvmft_status_ok(int session, struct kvmft_session_status *status)
{
	CHECK_RET(kvmft_status(session, status), 0, "KVMFT_SESSION_STATUS");
}

void kvmft_stop_ok(int session, u64 cond)
{
	CHECK_RET(kvmft_stop(session, cond), 0, "KVMFT_SESSION_STOP");
}
