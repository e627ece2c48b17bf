/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The self-test of the event counters, in a guest of its own.
 */
#ifndef _KVMFT_SELFTEST_H
#define _KVMFT_SELFTEST_H

#include "session.h"
#include "verdict.h"

/*
 * Run it in the calling process, whose memory the guest borrows; takes a second or so.
 * 0: there is a verdict.  -EBUSY: a session exists.  -EINTR: a signal came.  -ENODEV: no
 * KVM, or a task without memory.  -EMFILE and others of KVM: no guest could be made.
 */
int kvmft_selftest_run(void);

/* The last verdict. */
void kvmft_selftest_report(struct kvmft_verdict_report *report);

/*
 * As kvmft_session_create(), when the verdict is "exact", after running the test if it
 * has not been; -EOPNOTSUPP otherwise.
 */
struct kvmft_session *kvmft_selftest_session_create(const struct file *vm);

#endif /* _KVMFT_SELFTEST_H */
