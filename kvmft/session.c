// SPDX-License-Identifier: GPL-2.0
/*
 * A session begins and ends in one place each.
 *
 * It ends when its descriptor is closed, when the VM is destroyed, or when the vCPU can
 * not be counted any more, whichever comes first.  That moment only unlinks the VM and
 * kicks the vCPU: hooked calls may be in progress, the caller may be one.  What they
 * use (counters, hooks, this module's code) is given back by session->detach when the
 * last of them is over.
 *
 * Lock order: kvm->lock or vcpu->mutex, then session->lock, then vms_lock (vm.c).
 * vcpu->mutex inside session->lock is tried only.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>

#include "logfile.h"
#include "session.h"
#include "trace.h"

/* How long close() waits for a vCPU that sleeps in the handling of an exit. */
#define CLOSE_TIMEOUT	(10 * HZ)

static struct workqueue_struct *detach_wq;
static atomic_t nr_sessions;
static atomic64_t last_id;

static const char *end_text(enum kvmft_end end)
{
	switch (end) {
	case KVMFT_END_NONE:
		break;
	case KVMFT_END_CLOSED:
		return "its descriptor was closed";
	case KVMFT_END_VM_DESTROYED:
		return "the VM was destroyed";
	case KVMFT_END_COUNTER_LOST:
		return "an event counter was taken away: stop CPU-wide perf users";
	case KVMFT_END_VCPU_ADDED:
		return "a second vCPU was created";
	case KVMFT_END_NO_COUNTER:
		return "no free event counters: stop perf users, or set kernel.nmi_watchdog=0";
	case KVMFT_END_COUNTER_WRONG:
		return "the counters contradict each other: run the self-test again";
	case KVMFT_END_FINISHED:
		return "the log is complete";
	case KVMFT_END_DIVERGED:
		return "replay diverged";
	case KVMFT_END_LOG_ERROR:
		return "its log failed";
	case KVMFT_END_UNSUPPORTED:
		return "what can not be replayed";
	}
	return "unknown";
}

static const struct kvmft_engine *engine_of(const struct kvmft_session *session)
{
	/* Pairs with set_engine(): it has been set up. */
	return smp_load_acquire(&session->engine);
}

static struct kvmft_session *of_vcpu(struct kvmft_vcpu *vcpu)
{
	return container_of(vcpu, struct kvmft_session, vcpu);
}

/* A replay that is over must not run on. */
static bool is_held(const struct kvmft_session *session, enum kvmft_end why)
{
	return kvmft_session_mode(session) == KVMFT_MODE_REPLAY &&
	       why != KVMFT_END_CLOSED && why != KVMFT_END_VM_DESTROYED;
}

/* Under session->lock.  From here on the VM may go. */
static void release(struct kvmft_session *session, enum kvmft_end why)
{
	struct kvmft_engine *engine = session->engine;

	if (session->released)
		return;
	session->released = true;
	if (engine && engine->mode == KVMFT_MODE_REPLAY) {
		if (why != KVMFT_END_VM_DESTROYED)
			kvmft_vcpu_kill(&session->vcpu);
		kvmft_engine_cancel(engine);
	} else if (engine) {
		kvmft_record_cancel(engine);
	}
	kvmft_vcpu_release(&session->vcpu);
	queue_work(detach_wq, &session->detach);
}

static void session_end(struct kvmft_session *session, enum kvmft_end why)
{
	bool first;

	mutex_lock(&session->lock);
	first = !session->end;
	if (first) {
		WRITE_ONCE(session->end, why);
		trace_kvmft_session(session->vcpu.id, KVMFT_STATE_ENDED, why);
		if (session->engine)
			kvmft_transport_end(session->engine->transport, why,
					    *session->engine->reason ? session->engine->reason :
								       end_text(why));
	}
	if (!is_held(session, why))
		release(session, why);
	mutex_unlock(&session->lock);

	if (!first)
		return;
	if (why == KVMFT_END_FINISHED)
		pr_info("session %llu ended: %s\n", session->vcpu.id, session->engine->reason);
	else if (why != KVMFT_END_CLOSED)
		pr_warn("session %llu ended: %s%s%s\n", session->vcpu.id, end_text(why),
			*kvmft_session_reason(session) ? ": " : "", kvmft_session_reason(session));
	/* A recording is complete only when its file is: see session_detach(). */
	if (kvmft_session_mode(session) != KVMFT_MODE_RECORD)
		wake_up_interruptible_poll(&session->changed, EPOLLHUP);
}

static void vcpu_ended(struct kvmft_vcpu *vcpu, enum kvmft_end why)
{
	session_end(of_vcpu(vcpu), why);
}

static void session_failed(struct work_struct *work)
{
	session_end(container_of(work, struct kvmft_session, failed), KVMFT_END_LOG_ERROR);
}

static void session_detach(struct work_struct *work)
{
	struct kvmft_session *session = container_of(work, struct kvmft_session, detach);

	kvmft_vcpu_drain(&session->vcpu);
	if (session->engine && session->engine->mode == KVMFT_MODE_RECORD)
		kvmft_record_close(session->engine, session->end);
	else if (session->engine)
		kvmft_replay_close(session->engine);
	cancel_work_sync(&session->failed);
	kvmft_hooks_put();
	complete_all(&session->detached);
	wake_up_interruptible_poll(&session->changed, EPOLLHUP);
	kvmft_session_put(session);
	/* kvmft_session_exit() waits for this function to return. */
	module_put(THIS_MODULE);
}

struct kvmft_session *kvmft_session_create(const struct file *vm)
{
	const struct kvmft_arch_events *events;
	const struct kvmft_arch_ops *arch;
	struct kvmft_session *session;
	u64 id;
	int ret;

	if (!file_is_kvm((struct file *)vm))
		return ERR_PTR(-EINVAL);
	arch = kvmft_arch_of_vm(vm);
	if (!arch)
		return ERR_PTR(-EOPNOTSUPP);
	ret = kvmft_arch_check(arch);
	if (ret)
		return ERR_PTR(ret);
	events = arch->events();
	if (!events)
		return ERR_PTR(-EOPNOTSUPP);

	session = kzalloc(sizeof(*session), GFP_KERNEL_ACCOUNT);
	if (!session)
		return ERR_PTR(-ENOMEM);
	kref_init(&session->ref);
	mutex_init(&session->lock);
	init_waitqueue_head(&session->changed);
	INIT_WORK(&session->failed, session_failed);
	INIT_WORK(&session->detach, session_detach);
	init_completion(&session->detached);

	ret = kvmft_arch_hooks_get(arch, vm->f_op->owner);
	if (ret)
		goto put_session;

	/* For session_detach(); the caller is in this module. */
	kvmft_session_get(session);
	__module_get(THIS_MODULE);
	atomic_inc(&nr_sessions);
	id = atomic64_inc_return(&last_id);
	trace_kvmft_session(id, KVMFT_STATE_ARMED, KVMFT_END_NONE);

	ret = kvmft_vcpu_protect(&session->vcpu, id, vm->private_data, arch, events, vcpu_ended);
	if (ret)
		goto put_hooks;
	return session;

put_hooks:
	atomic_dec(&nr_sessions);
	module_put(THIS_MODULE);
	kvmft_session_put(session);
	kvmft_hooks_put();
put_session:
	kvmft_session_put(session);
	return ERR_PTR(ret);
}

void kvmft_session_close(struct kvmft_session *session)
{
	session_end(session, KVMFT_END_CLOSED);
	/* Nobody is left whom it would tell something, and a killed VMM has to go at once. */
	if (!(current->flags & PF_EXITING) &&
	    !wait_for_completion_timeout(&session->detached, CLOSE_TIMEOUT))
		pr_info("session %llu: its vCPU still handles an exit, or its log is still being written; the module stays busy until then\n",
			session->vcpu.id);
	atomic_dec(&nr_sessions);
	kvmft_session_put(session);
}

static void session_free(struct kref *ref)
{
	struct kvmft_session *session = container_of(ref, struct kvmft_session, ref);

	if (session->engine)
		kvmft_engine_free(session->engine);
	kfree(session);
}

void kvmft_session_get(struct kvmft_session *session)
{
	kref_get(&session->ref);
}

void kvmft_session_put(struct kvmft_session *session)
{
	kref_put(&session->ref, session_free);
}

unsigned int kvmft_sessions(void)
{
	return atomic_read(&nr_sessions);
}

enum kvmft_end kvmft_session_end(const struct kvmft_session *session)
{
	return READ_ONCE(session->end);
}

enum kvmft_mode kvmft_session_mode(const struct kvmft_session *session)
{
	const struct kvmft_engine *engine = engine_of(session);

	return engine ? engine->mode : KVMFT_MODE_COUNT;
}

const char *kvmft_session_reason(const struct kvmft_session *session)
{
	const struct kvmft_engine *engine = engine_of(session);

	if (!engine || !kvmft_session_end(session))
		return "";
	/* Written before @end is set. */
	if (!*engine->reason && kvmft_transport_error(engine->transport))
		return engine->transport->reason;
	return engine->reason;
}

bool kvmft_session_is_over(struct kvmft_session *session)
{
	if (!kvmft_session_end(session))
		return false;
	return kvmft_session_mode(session) != KVMFT_MODE_RECORD ||
	       completion_done(&session->detached);
}

void kvmft_session_status(struct kvmft_session *session, struct kvmft_session_status *status)
{
	const struct kvmft_engine *engine = engine_of(session);
	struct kvmft_channel_status channel;
	struct kvmft_vcpu_state state;

	status->id = session->vcpu.id;
	status->end = kvmft_session_end(session);
	kvmft_vcpu_snapshot(&session->vcpu, &state);
	if (status->end)
		status->state = KVMFT_STATE_ENDED;
	else
		status->state = state.exits ? KVMFT_STATE_COUNTING : KVMFT_STATE_ARMED;
	status->exits = state.exits;
	status->cond = state.pos.cond;
	status->taken = state.pos.taken;
	status->rip = state.rip;
	status->stop_at = state.stop.at;
	status->stopped_at = state.stop.stopped_at;
	status->overflows = state.stop.overflows;
	status->lost = state.stop.lost;
	status->spurious = state.stop.spurious;
	status->mode = kvmft_session_mode(session);
	if (!engine)
		return;
	status->seq = READ_ONCE(engine->progress.seq);
	status->log_bytes = READ_ONCE(engine->progress.bytes);
	status->inputs = READ_ONCE(engine->progress.inputs);
	status->landings = READ_ONCE(engine->progress.landings);
	status->digests = READ_ONCE(engine->progress.digests);
	kvmft_channel_status(engine->transport, &channel);
	status->acked = channel.acked;
	status->peer_seq = channel.peer_seq;
	status->copied = channel.copied;
}

int kvmft_session_stop(struct kvmft_session *session, u64 cond)
{
	int ret;

	mutex_lock(&session->lock);
	if (session->released)
		ret = -ESTALE;
	else
		ret = kvmft_vcpu_request_stop(&session->vcpu, cond);
	mutex_unlock(&session->lock);
	return ret;
}

/* Under session->lock. */
static int set_engine(struct kvmft_session *session, struct kvmft_engine *engine)
{
	if (IS_ERR(engine))
		return PTR_ERR(engine);
	/* Pairs with engine_of(). */
	smp_store_release(&session->engine, engine);
	return 0;
}

/* Under session->lock: can it be given an engine? */
static int may_start(const struct kvmft_session *session)
{
	if (session->end)
		return -ESTALE;
	return session->engine ? -EBUSY : 0;
}

int kvmft_session_record(struct kvmft_session *session, struct file *log, u32 align_us)
{
	struct kvmft_transport *transport;
	int ret;

	mutex_lock(&session->lock);
	ret = may_start(session);
	if (!ret) {
		transport = kvmft_logfile_write(log);
		ret = PTR_ERR_OR_ZERO(transport);
	}
	if (!ret)
		ret = set_engine(session, kvmft_record_start(&session->vcpu, transport, align_us));
	mutex_unlock(&session->lock);
	return ret;
}

int kvmft_session_replay(struct kvmft_session *session, struct file *log, u64 margin)
{
	struct kvmft_transport *transport;
	int ret;

	mutex_lock(&session->lock);
	ret = may_start(session);
	if (!ret) {
		transport = kvmft_logfile_read(log);
		ret = PTR_ERR_OR_ZERO(transport);
	}
	if (!ret)
		ret = set_engine(session, kvmft_replay_start(&session->vcpu, transport, margin));
	mutex_unlock(&session->lock);
	return ret;
}

int kvmft_session_pair(struct kvmft_session *session, struct socket *sock,
		       const struct kvmft_channel_config *config, u32 align_us, u64 margin)
{
	struct kvmft_transport *transport;
	struct kvmft_engine *engine;
	int ret;

	/* Not under the lock: the peer may take its time. */
	transport = kvmft_channel_open(sock, config);
	if (IS_ERR(transport))
		return PTR_ERR(transport);
	mutex_lock(&session->lock);
	ret = may_start(session);
	if (!ret) {
		engine = config->role == KVMFT_ROLE_PRIMARY ?
			 kvmft_record_start(&session->vcpu, transport, align_us) :
			 kvmft_replay_start(&session->vcpu, transport, margin);
		ret = set_engine(session, engine);
		/* A backup replays what it has got before it ends. */
		if (!ret && config->role == KVMFT_ROLE_PRIMARY)
			kvmft_transport_notify(transport, &session->failed);
		transport = NULL;
	}
	mutex_unlock(&session->lock);
	if (transport) {
		kvmft_transport_close(transport);
		kvmft_transport_free(transport);
	}
	return ret;
}

int kvmft_session_input(struct kvmft_session *session, const struct kvmft_session_input *input,
			const void *data)
{
	int ret = 0;

	mutex_lock(&session->lock);
	if (session->end)
		ret = -ESTALE;
	else if (kvmft_session_mode(session) == KVMFT_MODE_COUNT)
		ret = -EOPNOTSUPP;
	else if (kvmft_session_mode(session) == KVMFT_MODE_RECORD)
		ret = kvmft_record_input(session->engine, input, data);
	mutex_unlock(&session->lock);
	return ret;
}

int kvmft_session_finish(struct kvmft_session *session)
{
	int ret = 0;

	mutex_lock(&session->lock);
	if (session->end)
		ret = -ESTALE;
	else if (kvmft_session_mode(session) != KVMFT_MODE_RECORD)
		ret = -EOPNOTSUPP;
	else
		kvmft_record_finish(session->engine);
	mutex_unlock(&session->lock);
	if (ret)
		return ret;
	ret = wait_event_interruptible(session->changed, kvmft_session_is_over(session));
	if (ret)
		return -EINTR;
	if (session->end != KVMFT_END_FINISHED)
		return -EIO;
	return kvmft_transport_error(session->engine->transport);
}

int kvmft_session_init(void)
{
	detach_wq = alloc_workqueue("kvmft_detach", WQ_UNBOUND, 0);
	return detach_wq ? 0 : -ENOMEM;
}

void kvmft_session_exit(void)
{
	destroy_workqueue(detach_wq);
	kvmft_hooks_exit();
}
