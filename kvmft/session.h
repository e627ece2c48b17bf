/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A session: one protected VM on this host.
 */
#ifndef _KVMFT_SESSION_H
#define _KVMFT_SESSION_H

#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "vcpu.h"

/**
 * struct kvmft_session - a session
 * @ref: one for its maker, one until @detach has run, one for each other user
 * @vcpu: the protected vCPU
 * @lock: protects @end; while it is held and @end is KVMFT_END_NONE, the VM exists
 * @end: why it is over
 * @changed: woken when @end changes
 * @detach: gives back what was held, once no hooked call is in progress any more
 * @detached: completed by @detach
 */
struct kvmft_session {
	struct kref ref;
	struct kvmft_vcpu vcpu;
	struct mutex lock; /* protects @end, see above */
	enum kvmft_end end;
	wait_queue_head_t changed;
	struct work_struct detach;
	struct completion detached;
};

int kvmft_session_init(void);
void kvmft_session_exit(void);

/*
 * Protect the VM of @vm (a VM's file, else -EINVAL).  Returns a reference that
 * kvmft_session_close() takes back, or an ERR_PTR(): see KVMFT_CREATE_SESSION.
 */
struct kvmft_session *kvmft_session_create(const struct file *vm);

/* End it, if it has not ended, wait for the vCPU to let go, and drop the reference. */
void kvmft_session_close(struct kvmft_session *session);

void kvmft_session_get(struct kvmft_session *session);
void kvmft_session_put(struct kvmft_session *session);

/* Sessions that have not been closed. */
unsigned int kvmft_sessions(void);

enum kvmft_end kvmft_session_end(const struct kvmft_session *session);
void kvmft_session_status(struct kvmft_session *session, struct kvmft_session_status *status);

/* See KVMFT_SESSION_STOP. */
int kvmft_session_stop(struct kvmft_session *session, u64 cond);

#endif /* _KVMFT_SESSION_H */
