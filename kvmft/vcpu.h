/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A vCPU under protection: its position, stops on the way, and the engine that records or
 * replays it.
 *
 * The vCPU's thread is the only writer of the counts, with interrupts off; others read
 * them with kvmft_vcpu_snapshot().
 */
#ifndef _KVMFT_VCPU_H
#define _KVMFT_VCPU_H

#include <linux/hrtimer.h>
#include <linux/seqlock.h>

#include "arch.h"
#include "counter.h"
#include "position.h"
#include "vm.h"

/**
 * struct kvmft_vcpu_state - what an exit changes
 * @pos: the position
 * @rip: guest RIP
 * @exits: returns from the guest
 * @stop: requested stop
 */
struct kvmft_vcpu_state {
	struct kvmft_position pos;
	u64 rip;
	u64 exits;
	struct kvmft_stop stop;
};

struct kvmft_vcpu;

/**
 * struct kvmft_vcpu_owner - whom it belongs to; all may sleep
 * @ended: protection can not go on; called at most once for each reason
 * @live: the guest is ready to run on without protection; on the vCPU's thread
 * @kick: see &struct kvmft_vm_ops
 * @transmit: network devices are to take out of their rings what the guest has told of; at a
 *	boundary of the engine, KVM's SRCU held, with all published that has been put.  -EINTR:
 *	there is no room, and a signal came
 */
struct kvmft_vcpu_owner {
	void (*ended)(struct kvmft_vcpu *vcpu, enum kvmft_end why);
	void (*live)(struct kvmft_vcpu *vcpu);
	bool (*kick)(struct kvmft_vcpu *vcpu, const struct eventfd_ctx *event);
	int (*transmit)(struct kvmft_vcpu *vcpu);
};

/**
 * struct kvmft_engine_ops - recording, or replaying
 * @boundary: see &struct kvmft_vm_ops
 * @failed: the same, once the counters are lost; NULL: the guest may run on
 * @halt: see there
 * @enter: see there
 * @passing: the breakpoint has stopped the vCPU: is it elsewhere, and has to go on?  Interrupts off
 * @gate: see there; NULL: nothing has to wait
 * @leave: see there; NULL: nothing to do
 * @quick_tsc: @tsc, interrupts off, right after the exit.  1: *@value is the answer, and no
 *	boundary is needed before the next entry; 0: it is the answer; < 0: @tsc has to be asked
 * @tsc: see there
 * @msr: see there
 * @ready: see there; NULL: it always is
 * @read: see there
 * @write: see there
 * @input: see there
 */
struct kvmft_engine_ops {
	int (*boundary)(struct kvmft_vcpu *vcpu);
	int (*failed)(struct kvmft_vcpu *vcpu);
	bool (*halt)(struct kvmft_vcpu *vcpu);
	void (*enter)(struct kvmft_vcpu *vcpu, struct kvmft_run *run);
	bool (*passing)(const struct kvmft_vcpu *vcpu);
	int (*gate)(struct kvmft_vcpu *vcpu);
	void (*leave)(struct kvmft_vcpu *vcpu);
	int (*quick_tsc)(struct kvmft_vcpu *vcpu, u64 *value);
	void (*tsc)(struct kvmft_vcpu *vcpu, u64 *value);
	void (*msr)(struct kvmft_vcpu *vcpu, u32 index, u64 *value);
	int (*ready)(struct kvmft_vcpu *vcpu);
	void (*read)(struct kvmft_vcpu *vcpu, enum kvmft_space space, u64 addr, void *data,
		     u32 len);
	bool (*write)(struct kvmft_vcpu *vcpu, enum kvmft_space space, u64 addr,
		      const void *data, u32 len);
	bool (*input)(struct kvmft_vcpu *vcpu, const struct kvmft_input *input);
};

/**
 * struct kvmft_vcpu - a vCPU under protection
 * @vm: its VM
 * @id: the session's number
 * @arch: its vendor
 * @events: what is counted
 * @owner: see there
 * @counter: the counters
 * @base: position at which @counter started
 * @entries: entries of the guest since then
 * @started: it has been counted before
 * @counted: the entry in progress is being counted
 * @stopping: a stop was reached; leave KVM_RUN
 * @failure: protection can not go on
 * @frozen: it does not enter the guest
 * @live: the guest may run on without protection; its thread is to let go of it
 * @thaw: where its thread waits then
 * @engine: what it is protected for; NULL: counting only.  Set once, under vcpu->mutex,
 *	before its first run
 * @context: the engine's own
 * @sync_exits: number of synchronous exits since @engine was set
 * @last: the last exit
 * @taken_in: taken branches to an overflow that is wanted in the next run; 0: none
 * @taken_armed: the counter is set to one
 * @timer: takes it out of the guest: &kvmft_run.ticks
 * @again: the vCPU is entered again without a boundary
 * @moved: the vCPU has been in the guest since the engine set this to false
 * @changing: the VMM may have changed registers since the last boundary; under vcpu->mutex
 * @before: the registers before it did
 * @unsupported: what can not be replayed was done, for people; any thread
 * @seq: protects @state
 * @state: see &struct kvmft_vcpu_state
 */
struct kvmft_vcpu {
	struct kvmft_vm vm;
	u64 id;
	const struct kvmft_arch_ops *arch;
	const struct kvmft_arch_events *events;
	const struct kvmft_vcpu_owner *owner;

	/* the vCPU's thread alone */
	struct kvmft_counter counter;
	struct kvmft_position base;
	u64 entries;
	bool started;
	bool counted;
	bool stopping;
	enum kvmft_end failure;
	bool frozen;
	bool live;
	wait_queue_head_t thaw;
	const struct kvmft_engine_ops *engine;
	void *context;
	u64 sync_exits;
	struct kvmft_exit last;
	u64 taken_in;
	bool taken_armed;
	struct hrtimer timer;
	bool again;
	bool moved;
	bool changing;
	struct kvmft_regs before;
	const char *unsupported;

	seqcount_t seq;
	struct kvmft_vcpu_state state;
};

/*
 * Begin to protect the only vCPU of @kvm.  -EBUSY: it is protected; -EOPNOTSUPP: not
 * exactly one vCPU.  The caller holds a reference to @kvm during the call.
 */
int kvmft_vcpu_protect(struct kvmft_vcpu *vcpu, u64 id, struct kvm *kvm,
		       const struct kvmft_arch_ops *arch, const struct kvmft_arch_events *events,
		       const struct kvmft_vcpu_owner *owner);

/*
 * Keep it out of the guest, from the moment of return on but for what a kick takes; KVM_RUN is
 * interrupted by signals meanwhile.  Once it has been released it is let go.
 */
void kvmft_vcpu_freeze(struct kvmft_vcpu *vcpu);

/* Let it go: its thread calls &kvmft_vcpu_owner.live when what it holds is with the VMM. */
void kvmft_vcpu_thaw(struct kvmft_vcpu *vcpu);

/*
 * Give it an engine.  -EBUSY: it has one, has run, or is inside KVM_RUN; -EOPNOTSUPP: see
 * kvmft_machine_arm().  The VM must not go away during the call.
 */
int kvmft_vcpu_set_engine(struct kvmft_vcpu *vcpu, const struct kvmft_engine_ops *engine,
			  void *context);

/*
 * Take a reference to the VM, so that nobody begins to destroy it; false: somebody has.  And give
 * it back: with the last one the VM goes, at once.
 */
bool kvmft_vcpu_hold(struct kvmft_vcpu *vcpu);
void kvmft_vcpu_drop(struct kvmft_vcpu *vcpu);

/* Stop: the VM still exists.  Once. */
void kvmft_vcpu_release(struct kvmft_vcpu *vcpu);

/* Wait until no hooked call uses @vcpu, and give back what it held.  Sleeps. */
void kvmft_vcpu_drain(struct kvmft_vcpu *vcpu);

/* It never runs again: KVM_RUN returns -EIO.  The VM still exists. */
void kvmft_vcpu_kill(struct kvmft_vcpu *vcpu);

void kvmft_vcpu_snapshot(struct kvmft_vcpu *vcpu, struct kvmft_vcpu_state *state);

/* kvmft_machine_shape().  -EBUSY: the vCPU is inside KVM_RUN.  The VM must not go away. */
int kvmft_vcpu_shape(struct kvmft_vcpu *vcpu, u64 *cpuid, u64 *slots);

/*
 * Request a stop @distance conditional branches from here; 0 withdraws it.
 * -EBUSY: the vCPU is inside KVM_RUN.  The VM must not go away during the call.
 */
int kvmft_vcpu_request_stop(struct kvmft_vcpu *vcpu, u64 distance);

/* What follows is for engines, on the vCPU's thread. */

/* A register that the VMM has changed since the last call, or NULL.  Once a boundary. */
const char *kvmft_vcpu_changed(struct kvmft_vcpu *vcpu);

/* Hash of its state, for the check of an entry. */
u32 kvmft_vcpu_hash(const struct kvmft_vcpu *vcpu);

/*
 * Let the counters overflow @cond conditional branches and @taken taken branches from here, the
 * latter only until the next exit; 0: not any more.
 */
void kvmft_vcpu_set_overflow(struct kvmft_vcpu *vcpu, u64 cond, u64 taken);

#endif /* _KVMFT_VCPU_H */
