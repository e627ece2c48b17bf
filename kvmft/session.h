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

#include "channel.h"
#include "engine.h"
#include "vcpu.h"

/**
 * struct kvmft_session - a session
 * @ref: one for its maker, one until @detach has run, one for each other user
 * @vcpu: the protected vCPU
 * @engine: what records or replays; NULL: counting only.  Set once, under @lock
 * @lock: protects @end, @released and @engine; while it is held and @released is false, the
 *	VM exists
 * @end: why it is over
 * @released: the vCPU is not protected any more.  A replay's is held until the descriptor is
 *	closed or the VM is destroyed: it must not run on
 * @changed: woken when @end changes
 * @failed: its channel has failed, whatever the vCPU does meanwhile
 * @detach: gives back what was held, once no hooked call is in progress any more
 * @detached: completed by @detach
 */
struct kvmft_session {
	struct kref ref;
	struct kvmft_vcpu vcpu;
	struct kvmft_engine *engine;
	struct mutex lock; /* see above */
	enum kvmft_end end;
	bool released;
	wait_queue_head_t changed;
	struct work_struct failed;
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

/* Has it ended, and is its log, if it writes one, complete? */
bool kvmft_session_is_over(struct kvmft_session *session);

enum kvmft_end kvmft_session_end(const struct kvmft_session *session);
void kvmft_session_status(struct kvmft_session *session, struct kvmft_session_status *status);

/* See KVMFT_SESSION_STOP, and so on. */
int kvmft_session_stop(struct kvmft_session *session, u64 cond);
int kvmft_session_record(struct kvmft_session *session, struct file *log, u32 align_us);
/* @margin: see kvmft_replay_start(). */
int kvmft_session_replay(struct kvmft_session *session, struct file *log, u64 margin);
/* @align_us is for a primary, @margin for a backup. */
int kvmft_session_pair(struct kvmft_session *session, struct socket *sock,
		       const struct kvmft_channel_config *config, u32 align_us, u64 margin);
int kvmft_session_input(struct kvmft_session *session, const struct kvmft_session_input *input,
			const void *data);
int kvmft_session_finish(struct kvmft_session *session);

/* What ended it, in words; "" when @end says it all. */
const char *kvmft_session_reason(const struct kvmft_session *session);
enum kvmft_mode kvmft_session_mode(const struct kvmft_session *session);

#endif /* _KVMFT_SESSION_H */
