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

#include "arbiter.h"
#include "channel.h"
#include "engine.h"
#include "vcpu.h"

/**
 * struct kvmft_session - a session
 * @ref: one for its maker, one until @detach has run, one for each other user
 * @vcpu: the protected vCPU
 * @engine: what records or replays; NULL: counting only.  Set once, under @lock
 * @role: of a pair; 0: it is no side of one.  Set once, under @lock, before @engine
 * @generation: of the pair; the same, and one more when this side goes live
 * @arbiter: of the pair, or NULL; the same as @role
 * @lock: protects @state, @end, @verdict, @ready, @released, @on_change and @engine; while it is
 *	held and @released is false, the VM exists
 * @state: but for KVMFT_STATE_COUNTING, which the vCPU tells
 * @end: why it is over, or has lost its peer
 * @verdict: what the arbiter said last, for people
 * @ready: the guest of a backup that has won can run on
 * @drained: the log of a guest that was switched off is complete, and its packets have left
 * @released: the vCPU is not protected any more.  A replay's is held until the descriptor is
 *	closed or the VM is destroyed: it must not run on
 * @holds_vm: a reference to the VM keeps it whole while it is released; @detach gives it back
 * @on_change: called with @on_change_arg, under @lock, when @state changes; or NULL
 * @on_change_arg: see there
 * @changed: woken when @state changes
 * @failed: its channel has failed, whatever the vCPU does meanwhile
 * @claim: asks the arbiter until it has decided
 * @drain: completes the log of a primary that was switched off, whose vCPU is held
 * @detach: gives back what was held, once no hooked call is in progress any more
 * @detached: completed by @detach
 */
struct kvmft_session {
	struct kref ref;
	struct kvmft_vcpu vcpu;
	struct kvmft_engine *engine;
	enum kvmft_role role;
	u64 generation;
	struct kvmft_arbiter *arbiter;
	struct mutex lock; /* see above */
	enum kvmft_state state;
	enum kvmft_end end;
	char verdict[128];
	bool ready;
	bool drained;
	bool released;
	bool holds_vm;
	void (*on_change)(void *arg);
	void *on_change_arg;
	wait_queue_head_t changed;
	struct work_struct failed;
	struct work_struct claim;
	struct work_struct drain;
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

/* Call @on_change with @arg whenever the state changes; NULL: no more, and none is in progress. */
void kvmft_session_on_change(struct kvmft_session *session, void (*on_change)(void *arg),
			     void *arg);

/* Is nothing more to come: is its state final, and its log, if it writes one, complete? */
bool kvmft_session_is_over(struct kvmft_session *session);

enum kvmft_end kvmft_session_end(const struct kvmft_session *session);
void kvmft_session_status(struct kvmft_session *session, struct kvmft_session_status *status);

/* See KVMFT_SESSION_STOP, and so on. */
int kvmft_session_stop(struct kvmft_session *session, u64 cond);
int kvmft_session_record(struct kvmft_session *session, struct file *log, u32 align_us);
/* @margin: see kvmft_replay_start(). */
int kvmft_session_replay(struct kvmft_session *session, struct file *log, u64 margin);
/*
 * @align_us and @gate: of a primary, @margin: of a backup.  Takes over @arbiter, or NULL.  What
 * @config says of the VM is filled in.
 */
int kvmft_session_pair(struct kvmft_session *session, struct socket *sock,
		       struct kvmft_channel_config *config, struct kvmft_arbiter *arbiter,
		       u32 align_us, enum kvmft_gate gate, u64 margin);
int kvmft_session_input(struct kvmft_session *session, const struct kvmft_session_input *input,
			const void *data);
int kvmft_session_finish(struct kvmft_session *session);

/* Entries that a primary's backup may be behind; -EOPNOTSUPP: it is no primary. */
u64 kvmft_session_lag_max(const struct kvmft_session *session);
int kvmft_session_set_lag_max(struct kvmft_session *session, u64 lag_max);

/* What the arbiter said last; "" if it was not asked.  @text has @size bytes. */
void kvmft_session_verdict(struct kvmft_session *session, char *text, size_t size);

/* What ended it, in words; "" when @end says it all. */
const char *kvmft_session_reason(const struct kvmft_session *session);
enum kvmft_mode kvmft_session_mode(const struct kvmft_session *session);

#endif /* _KVMFT_SESSION_H */
