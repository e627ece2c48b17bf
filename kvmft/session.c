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
 * A side of a pair with an arbiter does not end when it has lost the other: its vCPU is kept out
 * of the guest, and session->claim asks the arbiter.  Nor does a primary whose guest was switched
 * off go on: only its VMM could say that it is, and a backup that misses the log's end claims.
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
#include "net.h"
#include "session.h"
#include "state.h"
#include "trace.h"

/* How long close() waits for a vCPU that sleeps in the handling of an exit. */
#define CLOSE_TIMEOUT	(10 * HZ)
/* An arbiter that can not say is asked again after this. */
#define CLAIM_INTERVAL	HZ

static struct workqueue_struct *detach_wq;
static struct workqueue_struct *claim_wq;
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

/* Nothing is left of the VM, or of who looked after it here. */
static bool is_gone(enum kvmft_end why)
{
	return why == KVMFT_END_CLOSED || why == KVMFT_END_VM_DESTROYED;
}

/* Under session->lock: was the guest of a primary switched off, whose backup might claim? */
static bool is_off(const struct kvmft_session *session)
{
	return session->end == KVMFT_END_FINISHED && session->arbiter &&
	       kvmft_session_mode(session) == KVMFT_MODE_RECORD;
}

/*
 * Under session->lock: a replay that is over must not run on, nor a primary that is stopped or
 * switched off.
 */
static bool is_held(const struct kvmft_session *session, enum kvmft_end why)
{
	return (kvmft_session_mode(session) == KVMFT_MODE_REPLAY ||
		session->state == KVMFT_STATE_STOPPED || is_off(session)) && !is_gone(why);
}

/*
 * Under session->lock: is it for the arbiter to say whether the guest runs on?  It does not
 * when its VMM is gone, or has switched it off; and a backup that could not follow must not.
 */
static bool may_claim(const struct kvmft_session *session, enum kvmft_end why)
{
	if (!session->arbiter || !session->engine || is_gone(why) || why == KVMFT_END_FINISHED)
		return false;
	return session->role == KVMFT_ROLE_PRIMARY || session->engine->alone;
}

/* Under session->lock: is the guest that was protected not to run on here? */
static bool may_not_run(const struct kvmft_session *session, enum kvmft_end why)
{
	if (why == KVMFT_END_VM_DESTROYED)
		return false;
	/* A backup's that has won is ready to only when its vCPU's thread has said so. */
	if (session->state == KVMFT_STATE_LIVE)
		return session->role == KVMFT_ROLE_BACKUP && !session->ready;
	if (kvmft_session_mode(session) == KVMFT_MODE_REPLAY)
		return true;
	/* It was switched off, or nobody asked the arbiter. */
	return session->arbiter && session->engine;
}

/* Under session->lock.  False: the event means nothing now. */
static bool advance(struct kvmft_session *session, enum kvmft_event event)
{
	enum kvmft_state next = kvmft_state_next(session->state, event);

	if (next == session->state)
		return false;
	if (next == KVMFT_STATE_LIVE)
		WRITE_ONCE(session->generation, session->generation + 1);
	/* Pairs with kvmft_session_status(): the end and the generation are there before it. */
	smp_store_release(&session->state, next);
	trace_kvmft_session(session->vcpu.id, next, session->end);
	if (session->on_change)
		session->on_change(session->on_change_arg);
	return true;
}

/* Under session->lock: what the guest's network devices are for from now on. */
static enum kvmft_net_phase phase_after(const struct kvmft_session *session, enum kvmft_end why)
{
	return why == KVMFT_END_VM_DESTROYED || may_not_run(session, why) ? KVMFT_NET_STOPPED :
									    KVMFT_NET_LIVE;
}

/* Under session->lock.  From here on the VM may go. */
static void release(struct kvmft_session *session, enum kvmft_end why)
{
	struct kvmft_engine *engine = session->engine;

	if (session->released)
		return;
	session->released = true;
	session->holds_vm = kvmft_vcpu_hold(&session->vcpu);
	if (may_not_run(session, why))
		kvmft_vcpu_kill(&session->vcpu);
	if (engine && engine->mode == KVMFT_MODE_REPLAY)
		kvmft_engine_cancel(engine);
	else if (engine)
		kvmft_record_cancel(engine, !session->holds_vm);
	if (engine && phase_after(session, why) == KVMFT_NET_LIVE)
		kvmft_net_outlive(&session->vcpu.vm);
	kvmft_vcpu_release(&session->vcpu);
	/* Else session_drain() sees to them. */
	if (!is_off(session))
		kvmft_net_release(&session->vcpu.vm, phase_after(session, why));
	queue_work(detach_wq, &session->detach);
}

/* Under session->lock: its last packets are not to leave before the backup has the log's end. */
static void switch_off(struct kvmft_session *session)
{
	kvmft_vcpu_freeze(&session->vcpu);
	kvmft_net_release(&session->vcpu.vm, KVMFT_NET_DRAIN);
	kvmft_session_get(session);
	queue_work(detach_wq, &session->drain);
}

/* The kernel log is told why. */
static void say_end(const struct kvmft_session *session, enum kvmft_end why, bool claim)
{
	const char *reason = kvmft_session_reason(session);
	u64 id = session->vcpu.id;

	if (claim)
		pr_warn("session %llu is alone: %s%s%s; its guest stands still until the arbiter has decided\n",
			id, end_text(why), *reason ? ": " : "", reason);
	else if (why == KVMFT_END_FINISHED)
		pr_info("session %llu ended: %s\n", id, reason);
	else if (why != KVMFT_END_CLOSED)
		pr_warn("session %llu ended: %s%s%s\n", id, end_text(why), *reason ? ": " : "",
			reason);
}

static void session_end(struct kvmft_session *session, enum kvmft_end why)
{
	bool first, claim = false;

	mutex_lock(&session->lock);
	first = !session->end;
	if (first) {
		WRITE_ONCE(session->end, why);
		claim = may_claim(session, why);
		advance(session, claim ? KVMFT_EVENT_ALONE : KVMFT_EVENT_OVER);
		if (claim)
			kvmft_session_get(session);
		/* A backup's replay holds it. */
		if (claim && session->role == KVMFT_ROLE_PRIMARY)
			kvmft_vcpu_freeze(&session->vcpu);
		if (session->engine)
			kvmft_transport_end(session->engine->transport, why,
					    *session->engine->reason ? session->engine->reason :
								       end_text(why));
		if (is_off(session))
			switch_off(session);
	} else if (is_gone(why)) {
		advance(session, KVMFT_EVENT_OVER);
	}
	if (session->state != KVMFT_STATE_CLAIMING && !is_held(session, why))
		release(session, why);
	mutex_unlock(&session->lock);
	/* One that is closed while it asks the arbiter. */
	wake_up_all(&session->changed);

	if (!first)
		return;
	say_end(session, why, claim);
	if (claim)
		queue_work(claim_wq, &session->claim);
	/* A recording is complete only when its file is: see session_detach(). */
	if (kvmft_session_is_over(session))
		wake_up_interruptible_poll(&session->changed, EPOLLHUP);
}

static bool is_claiming(const struct kvmft_session *session)
{
	return READ_ONCE(session->state) == KVMFT_STATE_CLAIMING;
}

/* What the arbiter says is final.  A guest runs on when its vCPU's thread has seen to it. */
static void decided(struct kvmft_session *session, enum kvmft_claim_verdict verdict)
{
	bool won = verdict == KVMFT_CLAIM_WON;

	mutex_lock(&session->lock);
	if (is_claiming(session)) {
		/* Who learns that it is live may bring an interrupt, which is not to be dropped. */
		if (won && session->role == KVMFT_ROLE_BACKUP)
			kvmft_engine_go_live(session->engine);
		advance(session, won ? KVMFT_EVENT_WON : KVMFT_EVENT_LOST);
		if (won)
			pr_warn("session %llu is live: %s; its guest runs on, without protection\n",
				session->vcpu.id, session->verdict);
		else
			pr_warn("session %llu is stopped: %s; its guest never runs again here\n",
				session->vcpu.id, session->verdict);
		/* A loser stays held where it is until its session is closed. */
		if (won && session->role == KVMFT_ROLE_PRIMARY)
			kvmft_vcpu_thaw(&session->vcpu);
		kvmft_transport_wake(session->engine->transport);
	}
	mutex_unlock(&session->lock);
	wake_up_interruptible_poll(&session->changed, EPOLLHUP);
}

/* Take down what the arbiter says; true: it is another thing than before. */
static bool note_verdict(struct kvmft_session *session, const char *text)
{
	bool other;

	mutex_lock(&session->lock);
	other = strcmp(session->verdict, text);
	strscpy(session->verdict, text, sizeof(session->verdict));
	mutex_unlock(&session->lock);
	return other;
}

static void session_claim(struct work_struct *work)
{
	struct kvmft_session *session = container_of(work, struct kvmft_session, claim);
	enum kvmft_claim_verdict verdict = KVMFT_CLAIM_OPEN;
	char text[sizeof(session->verdict)];

	while (is_claiming(session)) {
		verdict = kvmft_arbiter_claim(session->arbiter, text, sizeof(text));
		if (note_verdict(session, text) && verdict != KVMFT_CLAIM_WON &&
		    verdict != KVMFT_CLAIM_LOST)
			pr_warn("session %llu: nothing is decided: %s; asking again every second\n",
				session->vcpu.id, text);
		if (verdict == KVMFT_CLAIM_WON || verdict == KVMFT_CLAIM_LOST)
			decided(session, verdict);
		else
			wait_event_timeout(session->changed, !is_claiming(session),
					   CLAIM_INTERVAL);
	}
	kvmft_session_put(session);
}

/* On the vCPU's thread, which is ready for what comes without protection. */
static void vcpu_live(struct kvmft_vcpu *vcpu)
{
	struct kvmft_session *session = of_vcpu(vcpu);

	mutex_lock(&session->lock);
	session->ready = true;
	release(session, session->end);
	mutex_unlock(&session->lock);
}

static void vcpu_ended(struct kvmft_vcpu *vcpu, enum kvmft_end why)
{
	session_end(of_vcpu(vcpu), why);
}

static bool vcpu_kick(struct kvmft_vcpu *vcpu, const struct eventfd_ctx *event)
{
	return kvmft_net_kick(&vcpu->vm, event);
}

static int vcpu_transmit(struct kvmft_vcpu *vcpu)
{
	/* The session may not have been told of its engine yet. */
	return kvmft_net_transmit(vcpu->context);
}

static const struct kvmft_vcpu_owner vcpu_owner = {
	.ended = vcpu_ended,
	.live = vcpu_live,
	.kick = vcpu_kick,
	.transmit = vcpu_transmit,
};

static void session_failed(struct work_struct *work)
{
	session_end(container_of(work, struct kvmft_session, failed), KVMFT_END_LOG_ERROR);
}

static void session_drain(struct work_struct *work)
{
	struct kvmft_session *session = container_of(work, struct kvmft_session, drain);

	kvmft_record_close(session->engine, KVMFT_END_NONE);
	kvmft_net_drain(&session->vcpu.vm);
	kvmft_net_release(&session->vcpu.vm, KVMFT_NET_STOPPED);
	WRITE_ONCE(session->drained, true);
	wake_up_interruptible_poll(&session->changed, EPOLLHUP);
	kvmft_session_put(session);
}

/* Unless it was complete. */
static void close_log(struct kvmft_session *session)
{
	if (!session->engine || session->drained)
		return;
	if (session->engine->mode == KVMFT_MODE_RECORD)
		/* Without an end the backup goes on where the log stops. */
		kvmft_record_close(session->engine,
				   session->arbiter ? KVMFT_END_NONE : session->end);
	else
		kvmft_replay_close(session->engine);
}

static void session_detach(struct work_struct *work)
{
	struct kvmft_session *session = container_of(work, struct kvmft_session, detach);

	/* Not under session->lock: the VM may go with it. */
	if (session->holds_vm)
		kvmft_vcpu_drop(&session->vcpu);
	flush_work(&session->drain);
	kvmft_vcpu_drain(&session->vcpu);
	close_log(session);
	kvmft_net_release(&session->vcpu.vm, KVMFT_NET_LIVE);
	cancel_work_sync(&session->failed);
	flush_work(&session->claim);
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
	session->state = KVMFT_STATE_ARMED;
	INIT_WORK(&session->failed, session_failed);
	INIT_WORK(&session->claim, session_claim);
	INIT_WORK(&session->drain, session_drain);
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

	ret = kvmft_vcpu_protect(&session->vcpu, id, vm->private_data, arch, events, &vcpu_owner);
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
	kvmft_arbiter_close(session->arbiter);
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

void kvmft_session_on_change(struct kvmft_session *session, void (*on_change)(void *arg),
			     void *arg)
{
	mutex_lock(&session->lock);
	session->on_change = on_change;
	session->on_change_arg = arg;
	mutex_unlock(&session->lock);
}

bool kvmft_session_is_over(struct kvmft_session *session)
{
	enum kvmft_state state = READ_ONCE(session->state);

	if (!kvmft_state_is_final(state))
		return false;
	/* One that is stopped keeps its vCPU until it is closed, and has no log to complete. */
	return kvmft_session_mode(session) != KVMFT_MODE_RECORD ||
	       state == KVMFT_STATE_STOPPED || READ_ONCE(session->drained) ||
	       completion_done(&session->detached);
}

u64 kvmft_session_lag_max(const struct kvmft_session *session)
{
	const struct kvmft_engine *engine = engine_of(session);

	return engine ? READ_ONCE(engine->lag_max) : 0;
}

int kvmft_session_set_lag_max(struct kvmft_session *session, u64 lag_max)
{
	/* The role is set before the engine is. */
	if (!engine_of(session) || session->role != KVMFT_ROLE_PRIMARY)
		return -EOPNOTSUPP;
	WRITE_ONCE(session->engine->lag_max, lag_max);
	kvmft_transport_wake(session->engine->transport);
	return 0;
}

void kvmft_session_verdict(struct kvmft_session *session, char *text, size_t size)
{
	mutex_lock(&session->lock);
	strscpy(text, session->verdict, size);
	mutex_unlock(&session->lock);
}

void kvmft_session_status(struct kvmft_session *session, struct kvmft_session_status *status)
{
	const struct kvmft_engine *engine = engine_of(session);
	struct kvmft_channel_status channel;
	struct kvmft_vcpu_state state;

	status->id = session->vcpu.id;
	kvmft_vcpu_snapshot(&session->vcpu, &state);
	/* Pairs with advance(). */
	status->state = smp_load_acquire(&session->state);
	/* No end before the state that it leads to, either. */
	status->end = status->state == KVMFT_STATE_ARMED || status->state == KVMFT_STATE_COUNTING ?
			      KVMFT_END_NONE : kvmft_session_end(session);
	if (state.exits)
		status->state = kvmft_state_next(status->state, KVMFT_EVENT_RUN);
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
	/* Set before the engine is. */
	status->role = engine ? session->role : 0;
	if (!engine)
		return;
	status->seq = READ_ONCE(engine->progress.seq);
	status->log_bytes = READ_ONCE(engine->progress.bytes);
	status->inputs = READ_ONCE(engine->progress.inputs);
	status->landings = READ_ONCE(engine->progress.landings);
	status->digests = READ_ONCE(engine->progress.digests);
	status->packets_held = READ_ONCE(engine->outputs.held);
	status->bytes_held = READ_ONCE(engine->outputs.held_bytes);
	status->packets_sent = READ_ONCE(engine->outputs.sent);
	status->packets_resent = READ_ONCE(engine->outputs.resent);
	status->packets_dropped = READ_ONCE(engine->outputs.dropped);
	kvmft_channel_status(engine->transport, &channel);
	status->acked = channel.acked;
	status->peer_seq = channel.peer_seq;
	status->copied = channel.copied;
	status->generation = READ_ONCE(session->generation);
	status->lag_us = channel.lag_us;
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
		ret = set_engine(session, kvmft_record_start(&session->vcpu, transport, align_us,
							     KVMFT_GATE_NONE));
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
		ret = set_engine(session, kvmft_replay_start(&session->vcpu, transport, margin,
							     false));
	mutex_unlock(&session->lock);
	return ret;
}

/* A backup's: is the primary's pair on its block? */
static int join(void *arbiter, const u8 *instance, const char **why)
{
	return kvmft_arbiter_join(arbiter, instance, why);
}

int kvmft_session_pair(struct kvmft_session *session, struct socket *sock,
		       struct kvmft_channel_config *config, struct kvmft_arbiter *arbiter,
		       u32 align_us, enum kvmft_gate gate, u64 margin)
{
	struct kvmft_transport *transport;
	struct kvmft_engine *engine;
	int ret;

	mutex_lock(&session->lock);
	ret = may_start(session);
	if (!ret)
		ret = kvmft_vcpu_shape(&session->vcpu, &config->cpuid, &config->slots);
	mutex_unlock(&session->lock);
	if (arbiter && config->role == KVMFT_ROLE_BACKUP) {
		config->accept = join;
		config->accept_arg = arbiter;
	}
	config->acked = kvmft_net_acked;
	/* Not under the lock: the peer may take its time. */
	transport = ret ? ERR_PTR(ret) : kvmft_channel_open(sock, config);
	if (IS_ERR(transport)) {
		kvmft_arbiter_close(arbiter);
		return PTR_ERR(transport);
	}
	mutex_lock(&session->lock);
	ret = may_start(session);
	if (!ret) {
		session->role = config->role;
		session->generation = config->generation;
		swap(session->arbiter, arbiter);
		engine = config->role == KVMFT_ROLE_PRIMARY ?
			 kvmft_record_start(&session->vcpu, transport, align_us, gate) :
			 kvmft_replay_start(&session->vcpu, transport, margin,
					    session->arbiter);
		ret = set_engine(session, engine);
		/* Without an engine the session is as before. */
		if (ret) {
			session->role = 0;
			session->generation = 0;
			swap(session->arbiter, arbiter);
		}
		/* A backup replays what it has got before it ends. */
		else if (config->role == KVMFT_ROLE_PRIMARY)
			kvmft_transport_notify(transport, &session->failed);
		transport = NULL;
	}
	mutex_unlock(&session->lock);
	if (transport) {
		kvmft_transport_close(transport);
		kvmft_transport_free(transport);
	}
	kvmft_arbiter_close(arbiter);
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
	else if (kvmft_session_mode(session) != KVMFT_MODE_RECORD || session->arbiter)
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
	if (!detach_wq)
		return -ENOMEM;
	claim_wq = alloc_workqueue("kvmft_claim", WQ_UNBOUND, 0);
	if (!claim_wq) {
		destroy_workqueue(detach_wq);
		return -ENOMEM;
	}
	return 0;
}

void kvmft_session_exit(void)
{
	destroy_workqueue(detach_wq);
	destroy_workqueue(claim_wq);
	kvmft_hooks_exit();
}
