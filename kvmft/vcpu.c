// SPDX-License-Identifier: GPL-2.0
/*
 * Order of calls for one run in the guest, all on the vCPU's thread:
 *
 *	boundary   may sleep; opens the counters on this thread; the engine's turn
 *	enter      interrupts off; arms the overflow of a stop, and the timer
 *	(guest)
 *	exit       interrupts off; reads the counters
 *	tsc, msr, read, write    the engine's turn
 *	handled    may sleep; leaves KVM_RUN when a stop was reached
 *	gate       may sleep; what the VMM gets to see waits
 *
 * A breakpoint that is passed on the way to a position goes from exit to enter: landing may
 * take thousands of them.
 *
 * A vCPU that was already in KVM_RUN when protection began, or whose thread changed,
 * arrives at "enter" without counters of its own: it is sent round by the boundary
 * without executing an instruction.
 */
#include <linux/sched.h>

#include "machine.h"
#include "trace.h"
#include "vcpu.h"

static struct kvmft_vcpu *to_vcpu(struct kvmft_vm *vm)
{
	return container_of(vm, struct kvmft_vcpu, vm);
}

/* Open the counters on this thread, unless they are. */
static void open_counters(struct kvmft_vcpu *vcpu)
{
	unsigned long flags;

	/* Every run in the guest ended with a reading: the old counters know no more. */
	kvmft_counter_close(&vcpu->counter);
	vcpu->base = vcpu->state.pos;
	vcpu->entries = 0;
	local_irq_save(flags);
	write_seqcount_begin(&vcpu->seq);
	kvmft_stop_reset(&vcpu->state.stop);
	write_seqcount_end(&vcpu->seq);
	local_irq_restore(flags);

	if (kvmft_counter_open(&vcpu->counter, vcpu->events->cond, vcpu->events->taken)) {
		vcpu->failure = KVMFT_END_NO_COUNTER;
		vcpu->owner->ended(vcpu, vcpu->failure);
	} else if (!vcpu->started) {
		vcpu->started = true;
		trace_kvmft_session(vcpu->id, KVMFT_STATE_COUNTING, KVMFT_END_NONE);
	}
}

/* Until it is let go, or a signal comes. */
static int stand_still(struct kvmft_vcpu *vcpu)
{
	int ret;

	kvmft_machine_sleep(&vcpu->vm);
	trace_kvmft_stall_begin(vcpu->id, KVMFT_STALL_ARBITER);
	ret = wait_event_interruptible(vcpu->thaw, !READ_ONCE(vcpu->frozen));
	trace_kvmft_stall_end(vcpu->id, KVMFT_STALL_ARBITER, ret);
	kvmft_machine_wake(&vcpu->vm);
	return -EINTR;
}

static int vcpu_boundary(struct kvmft_vm *vm)
{
	struct kvmft_vcpu *vcpu = to_vcpu(vm);

	if (unlikely(READ_ONCE(vcpu->frozen)))
		return stand_still(vcpu);
	if (unlikely(READ_ONCE(vcpu->live))) {
		vcpu->owner->live(vcpu);
		return 0;
	}
	if (unlikely(!vcpu->failure && vcpu->counter.thread != current))
		open_counters(vcpu);
	if (unlikely(vcpu->failure))
		return vcpu->engine && vcpu->engine->failed ? vcpu->engine->failed(vcpu) : 0;
	return vcpu->engine ? vcpu->engine->boundary(vcpu) : 0;
}

static bool vcpu_halt(struct kvmft_vm *vm)
{
	struct kvmft_vcpu *vcpu = to_vcpu(vm);

	if (unlikely(READ_ONCE(vcpu->live))) {
		vcpu->owner->live(vcpu);
		return true;
	}
	return vcpu->engine && !vcpu->failure && vcpu->engine->halt(vcpu);
}

/* Not an instruction before the next boundary. */
static void go_round(struct kvmft_vcpu *vcpu, struct kvmft_run *run)
{
	run->immediate_exit = true;
	kvm_make_request(KVM_REQ_EVENT, vcpu->vm.vcpu);
}

static void vcpu_enter(struct kvmft_vm *vm, struct kvmft_run *run)
{
	struct kvmft_vcpu *vcpu = to_vcpu(vm);
	unsigned int interrupts;
	u64 distance;

	vcpu->counted = false;
	/* Set before the kick that gets the vCPU out: interrupts are off, it comes after this. */
	if (unlikely(READ_ONCE(vcpu->frozen))) {
		go_round(vcpu, run);
		return;
	}
	if (unlikely(!vcpu->failure && vcpu->counter.thread != current)) {
		go_round(vcpu, run);
		return;
	}
	if (unlikely(!vcpu->failure && !kvmft_counter_active(&vcpu->counter)))
		vcpu->failure = KVMFT_END_COUNTER_LOST;
	if (unlikely(vcpu->failure)) {
		/* A guest that is only counted may run on; others not where nobody knows. */
		if (vcpu->engine)
			go_round(vcpu, run);
		return;
	}
	vcpu->counted = true;
	if (vcpu->engine)
		vcpu->engine->enter(vcpu, run);

	trace_kvmft_enter(vcpu->id);
	kvmft_counter_unthrottle(&vcpu->counter);
	interrupts = kvmft_counter_interrupts(&vcpu->counter);
	write_seqcount_begin(&vcpu->seq);
	distance = kvmft_stop_enter(&vcpu->state.stop, vcpu->state.pos.cond, interrupts);
	write_seqcount_end(&vcpu->seq);
	if (distance)
		kvmft_counter_arm(vcpu->counter.cond, distance);
	if (unlikely(vcpu->taken_in || (vcpu->taken_armed && !vcpu->again))) {
		/* This entry counts, too. */
		distance = vcpu->taken_in ? vcpu->taken_in + vcpu->events->taken_per_entry :
					    KVMFT_STOP_DISARM;
		kvmft_counter_arm(vcpu->counter.taken, distance);
		vcpu->taken_armed = vcpu->taken_in;
		/* For this run: the engine asks again if it still wants one. */
		vcpu->taken_in = 0;
	}
	/* On this CPU: its interrupt can not come before the guest is entered, nor be missed. */
	if (unlikely(run->ticks))
		hrtimer_start(&vcpu->timer, ns_to_ktime(mul_u64_u32_div(run->ticks, NSEC_PER_MSEC,
									tsc_khz)),
			      HRTIMER_MODE_REL_PINNED_HARD);
}

/* The interrupt was all that was wanted. */
static enum hrtimer_restart timer_over(struct hrtimer *timer)
{
	return HRTIMER_NORESTART;
}

/* At the breakpoint, which the guest may have, too.  True: go on at once. */
static bool at_breakpoint(struct kvmft_vcpu *vcpu, struct kvmft_exit *exit)
{
	if (!exit->breakpoint || !vcpu->engine || vcpu->failure || !vcpu->engine->passing(vcpu))
		return false;
	if (exit->shared) {
		exit->breakpoint = false;
		exit->sync = true;
	}
	return exit->breakpoint && !vcpu->stopping;
}

/* Most exits of a guest that is recorded are this.  True: go on at once. */
static bool answer_tsc(struct kvmft_vcpu *vcpu, struct kvmft_exit *exit)
{
	int ret = -EAGAIN;

	if (exit->tsc && vcpu->engine && !vcpu->failure && !vcpu->stopping)
		ret = vcpu->engine->quick_tsc(vcpu, &exit->value);
	exit->tsc = ret >= 0;
	return ret > 0;
}

static bool vcpu_exit(struct kvmft_vm *vm, struct kvmft_exit *exit)
{
	struct kvmft_vcpu *vcpu = to_vcpu(vm);
	struct kvmft_vcpu_state *state = &vcpu->state;
	struct kvmft_position_raw raw;
	u64 stop_at = state->stop.at;
	unsigned int interrupts;

	vcpu->again = false;
	if (unlikely(!vcpu->counted)) {
		exit->tsc = false;
		return false;
	}
	raw.entries = ++vcpu->entries;
	if (likely(kvmft_counter_active(&vcpu->counter)))
		kvmft_counter_read(&vcpu->counter, &raw);
	else
		vcpu->failure = KVMFT_END_COUNTER_LOST;
	interrupts = kvmft_counter_interrupts(&vcpu->counter);

	write_seqcount_begin(&vcpu->seq);
	state->exits++;
	state->rip = exit->rip;
	if (likely(!vcpu->failure) &&
	    !kvmft_position_advance(&state->pos, &vcpu->base, &raw,
				    vcpu->events->taken_per_entry))
		vcpu->failure = KVMFT_END_COUNTER_WRONG;
	if (likely(!vcpu->failure))
		vcpu->stopping = kvmft_stop_exit(&state->stop, state->pos.cond, interrupts,
						 exit->nmi);
	write_seqcount_end(&vcpu->seq);
	vcpu->again = at_breakpoint(vcpu, exit);
	vcpu->last = *exit;
	vcpu->moved = true;
	vm->answering = false;
	vcpu->sync_exits += exit->sync;
	trace_kvmft_exit(vcpu, exit);
	if (!vcpu->again)
		vcpu->again = answer_tsc(vcpu, exit);
	if (vcpu->stopping)
		trace_kvmft_stop(vcpu, stop_at, interrupts);
	if (vcpu->engine && !vcpu->again)
		kvm_make_request(KVM_REQ_EVENT, vm->vcpu);
	return vcpu->again;
}

static int vcpu_handled(struct kvmft_vm *vm, int ret)
{
	struct kvmft_vcpu *vcpu = to_vcpu(vm);

	if (unlikely(vcpu->failure))
		vcpu->owner->ended(vcpu, vcpu->failure);
	if (vcpu->stopping) {
		vcpu->stopping = false;
		/* An engine asked for it, and has its turn at the boundary. */
		if (ret > 0 && !vcpu->engine) {
			vm->vcpu->run->exit_reason = KVM_EXIT_INTR;
			ret = -EINTR;
		}
	}
	return ret;
}

static int vcpu_gate(struct kvmft_vm *vm)
{
	struct kvmft_vcpu *vcpu = to_vcpu(vm);

	return vcpu->engine && vcpu->engine->gate ? vcpu->engine->gate(vcpu) : 0;
}

static void vcpu_leave(struct kvmft_vm *vm)
{
	struct kvmft_vcpu *vcpu = to_vcpu(vm);

	if (vcpu->engine && vcpu->engine->leave)
		vcpu->engine->leave(vcpu);
}

/* Has the engine a place for what the guest does? */
static bool has_place(const struct kvmft_vcpu *vcpu)
{
	return vcpu->engine && likely(!vcpu->failure);
}

static void vcpu_tsc(struct kvmft_vm *vm, u64 *value)
{
	struct kvmft_vcpu *vcpu = to_vcpu(vm);

	if (has_place(vcpu))
		vcpu->engine->tsc(vcpu, value);
}

static void vcpu_msr(struct kvmft_vm *vm, u32 index, u64 *value)
{
	struct kvmft_vcpu *vcpu = to_vcpu(vm);

	if (has_place(vcpu))
		vcpu->engine->msr(vcpu, index, value);
}

static int vcpu_ready(struct kvmft_vm *vm)
{
	struct kvmft_vcpu *vcpu = to_vcpu(vm);

	return has_place(vcpu) && vcpu->engine->ready ? vcpu->engine->ready(vcpu) : 0;
}

static void vcpu_read(struct kvmft_vm *vm, enum kvmft_space space, u64 addr, void *data, u32 len)
{
	struct kvmft_vcpu *vcpu = to_vcpu(vm);

	if (has_place(vcpu))
		vcpu->engine->read(vcpu, space, addr, data, len);
}

static bool vcpu_write(struct kvmft_vm *vm, enum kvmft_space space, u64 addr, const void *data,
		       u32 len)
{
	struct kvmft_vcpu *vcpu = to_vcpu(vm);

	/* What a replay writes without its log leads nowhere. */
	if (!has_place(vcpu))
		return !vcpu->engine || !vcpu->engine->failed;
	return vcpu->engine->write(vcpu, space, addr, data, len);
}

static bool vcpu_kick(struct kvmft_vm *vm, const struct eventfd_ctx *event)
{
	struct kvmft_vcpu *vcpu = to_vcpu(vm);

	return vcpu->owner->kick(vcpu, event);
}

static bool vcpu_input(struct kvmft_vm *vm, const struct kvmft_input *input)
{
	struct kvmft_vcpu *vcpu = to_vcpu(vm);
	/* Pairs with kvmft_vcpu_set_engine(): its context is set up. */
	const struct kvmft_engine_ops *engine = smp_load_acquire(&vcpu->engine);

	return engine && engine->input(vcpu, input);
}

static void vcpu_changing(struct kvmft_vm *vm)
{
	struct kvmft_vcpu *vcpu = to_vcpu(vm);

	if (!vcpu->engine || vcpu->changing)
		return;
	kvmft_machine_regs(&vcpu->vm, vcpu->arch, &vcpu->before);
	vcpu->changing = true;
	/* It is seen at a boundary, before the guest changes them, too. */
	kvm_make_request(KVM_REQ_EVENT, vm->vcpu);
}

static void vcpu_unsupported(struct kvmft_vm *vm, const char *what)
{
	struct kvmft_vcpu *vcpu = to_vcpu(vm);

	WRITE_ONCE(vcpu->unsupported, what);
	kvmft_machine_kick(vm);
}

static void vcpu_lost(struct kvmft_vm *vm, enum kvmft_end why)
{
	struct kvmft_vcpu *vcpu = to_vcpu(vm);

	vcpu->owner->ended(vcpu, why);
}

static const struct kvmft_vm_ops vcpu_ops = {
	.boundary = vcpu_boundary,
	.halt = vcpu_halt,
	.enter = vcpu_enter,
	.exit = vcpu_exit,
	.handled = vcpu_handled,
	.gate = vcpu_gate,
	.leave = vcpu_leave,
	.tsc = vcpu_tsc,
	.msr = vcpu_msr,
	.ready = vcpu_ready,
	.read = vcpu_read,
	.write = vcpu_write,
	.kick = vcpu_kick,
	.input = vcpu_input,
	.changing = vcpu_changing,
	.unsupported = vcpu_unsupported,
	.lost = vcpu_lost,
};

int kvmft_vcpu_protect(struct kvmft_vcpu *vcpu, u64 id, struct kvm *kvm,
		       const struct kvmft_arch_ops *arch, const struct kvmft_arch_events *events,
		       const struct kvmft_vcpu_owner *owner)
{
	int ret = -EOPNOTSUPP;

	vcpu->id = id;
	vcpu->arch = arch;
	vcpu->events = events;
	vcpu->owner = owner;
	init_waitqueue_head(&vcpu->thaw);
	seqcount_init(&vcpu->seq);
	hrtimer_init(&vcpu->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
	vcpu->timer.function = timer_over;

	/* kvm->lock: no vCPU is being made, and one made later finds the VM linked. */
	mutex_lock(&kvm->lock);
	if (kvm->created_vcpus == 1 && atomic_read(&kvm->online_vcpus) == 1) {
		vcpu->vm.vcpu = kvm_get_vcpu(kvm, 0);
		ret = kvmft_vm_link(&vcpu->vm, kvm, &vcpu_ops);
	}
	mutex_unlock(&kvm->lock);
	if (!ret)
		kvm_vcpu_kick(vcpu->vm.vcpu);
	return ret;
}

void kvmft_vcpu_freeze(struct kvmft_vcpu *vcpu)
{
	WRITE_ONCE(vcpu->frozen, true);
	kvm_make_request(KVM_REQ_EVENT, vcpu->vm.vcpu);
	kvm_vcpu_kick(vcpu->vm.vcpu);
}

void kvmft_vcpu_thaw(struct kvmft_vcpu *vcpu)
{
	WRITE_ONCE(vcpu->live, true);
	/* Pairs with vcpu_boundary(): who is let go knows why. */
	smp_wmb();
	WRITE_ONCE(vcpu->frozen, false);
	wake_up_all(&vcpu->thaw);
	kvmft_machine_kick(&vcpu->vm);
}

bool kvmft_vcpu_hold(struct kvmft_vcpu *vcpu)
{
	return kvm_get_kvm_safe(vcpu->vm.kvm);
}

void kvmft_vcpu_drop(struct kvmft_vcpu *vcpu)
{
	kvm_put_kvm(vcpu->vm.kvm);
}

void kvmft_vcpu_release(struct kvmft_vcpu *vcpu)
{
	kvmft_vm_unlink(&vcpu->vm);
	WRITE_ONCE(vcpu->frozen, false);
	wake_up_all(&vcpu->thaw);
	/* Also one that is halted: it is to leave the functions of this module. */
	kvmft_machine_kick(&vcpu->vm);
}

void kvmft_vcpu_kill(struct kvmft_vcpu *vcpu)
{
	kvmft_machine_kill(&vcpu->vm);
}

void kvmft_vcpu_drain(struct kvmft_vcpu *vcpu)
{
	wait_for_completion(&vcpu->vm.idle);
	synchronize_rcu();
	hrtimer_cancel(&vcpu->timer);
	kvmft_counter_close(&vcpu->counter);
}

void kvmft_vcpu_snapshot(struct kvmft_vcpu *vcpu, struct kvmft_vcpu_state *state)
{
	unsigned int seq;

	do {
		seq = read_seqcount_begin(&vcpu->seq);
		*state = vcpu->state;
	} while (read_seqcount_retry(&vcpu->seq, seq));
}

int kvmft_vcpu_shape(struct kvmft_vcpu *vcpu, u64 *cpuid, u64 *slots)
{
	struct kvm_vcpu *kvm_vcpu = vcpu->vm.vcpu;

	if (!mutex_trylock(&kvm_vcpu->mutex))
		return -EBUSY;
	kvmft_machine_shape(&vcpu->vm, cpuid, slots);
	mutex_unlock(&kvm_vcpu->mutex);
	return 0;
}

int kvmft_vcpu_request_stop(struct kvmft_vcpu *vcpu, u64 distance)
{
	struct kvm_vcpu *kvm_vcpu = vcpu->vm.vcpu;
	int ret = 0;

	/* Held by every ioctl of the vCPU, KVM_RUN among them. */
	if (!mutex_trylock(&kvm_vcpu->mutex))
		return -EBUSY;
	if (vcpu->engine)
		ret = -EBUSY;
	else
		kvmft_vcpu_set_overflow(vcpu, distance, 0);
	mutex_unlock(&kvm_vcpu->mutex);
	return ret;
}

int kvmft_vcpu_set_engine(struct kvmft_vcpu *vcpu, const struct kvmft_engine_ops *engine,
			  void *context)
{
	struct kvm_vcpu *kvm_vcpu = vcpu->vm.vcpu;
	int ret = -EBUSY;

	if (!mutex_trylock(&kvm_vcpu->mutex))
		return ret;
	if (!vcpu->engine) {
		/* From here on: what came before, kvmft_machine_arm() sees. */
		WRITE_ONCE(vcpu->unsupported, NULL);
		ret = kvmft_machine_arm(&vcpu->vm, vcpu->arch);
	}
	if (!ret) {
		vcpu->context = context;
		vcpu->moved = true;
		/* Inputs may arrive at once, on any thread: see vcpu_input(). */
		smp_store_release(&vcpu->engine, engine);
		kvm_make_request(KVM_REQ_EVENT, kvm_vcpu);
	}
	mutex_unlock(&kvm_vcpu->mutex);
	return ret;
}

const char *kvmft_vcpu_changed(struct kvmft_vcpu *vcpu)
{
	struct kvmft_regs regs;
	u64 a, b;

	if (likely(!vcpu->changing))
		return NULL;
	vcpu->changing = false;
	kvmft_machine_regs(&vcpu->vm, vcpu->arch, &regs);
	return kvmft_regs_differ(&vcpu->before, &regs, &a, &b);
}

u32 kvmft_vcpu_hash(const struct kvmft_vcpu *vcpu)
{
	const struct kvm_vcpu *kvm_vcpu = vcpu->vm.vcpu;

	return kvmft_machine_state(&vcpu->vm, kvm_vcpu->arch.regs[VCPU_REGS_RIP],
				   vcpu->arch->flags(kvm_vcpu), &vcpu->state.pos,
				   vcpu->sync_exits);
}

void kvmft_vcpu_set_overflow(struct kvmft_vcpu *vcpu, u64 cond, u64 taken)
{
	unsigned long flags;

	local_irq_save(flags);
	write_seqcount_begin(&vcpu->seq);
	kvmft_stop_request(&vcpu->state.stop, vcpu->state.pos.cond, cond);
	write_seqcount_end(&vcpu->seq);
	local_irq_restore(flags);
	vcpu->taken_in = taken;
}
