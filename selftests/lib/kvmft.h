/* SPDX-License-Identifier: GPL-2.0 */
/* The module under test: loading it, and its calls */
#ifndef SELFTESTS_KVMFT_H
#define SELFTESTS_KVMFT_H

#include <linux/kvmft.h>

#include "tap.h"

#define KVMFT_DEVICE	"/dev/kvmft"

/* Load the module ($KVMFT_KO, or kvmft.ko at the top of the tree); returns 0 or -errno */
int module_load(const char *params);
/* Returns 0 or -errno: -EAGAIN while it is in use */
int module_unload(void);
bool module_loaded(const char *name);
/* Users of the module, as lsmod shows them, but for those it had before kvmft_setup() */
long module_refcount(void);
/* Read a module of the running kernel: kvm_amd and what it needs */
void modprobe(const char *name);

/*
 * For &struct tap_suite: load kvm_amd and the module unless they are, and skip the
 * suite when there is no verdict EXACT; nothing may be left of a session after a
 * case; unload what setup loaded
 */
void kvmft_setup(void);
const char *kvmft_after(void);
const char *kvmft_teardown(void);

/* A suite of the array @list of cases with kvmft_after() after each, for tap_main() */
#define KVMFT_SUITE(list, begin, end)		\
	((const struct tap_suite) {		\
		.cases = list,			\
		.nr_cases = ARRAY_SIZE(list),	\
		.setup = begin,			\
		.after = kvmft_after,		\
		.teardown = end,		\
	})

/* Calls: -errno on failure.  The *_ok() forms fail the case instead */
int kvmft_open(void);
int kvmft_info(int dev, struct kvmft_info *info);
int kvmft_create(int dev, int vm_fd);
int kvmft_status(int session, struct kvmft_session_status *status);
int kvmft_stop(int session, u64 cond);
int kvmft_record(int session, int log, u32 align_us);
int kvmft_replay(int session, int log);
int kvmft_pair(int session, const struct kvmft_session_pair *pair);
int kvmft_finish(int session);
int kvmft_input(int session, struct kvmft_session_input *input);

int kvmft_open_ok(void);
void kvmft_info_ok(int dev, struct kvmft_info *info);
int kvmft_create_ok(int dev, int vm_fd);
void kvmft_status_ok(int session, struct kvmft_session_status *status);
void kvmft_stop_ok(int session, u64 cond);

#endif /* SELFTESTS_KVMFT_H */
