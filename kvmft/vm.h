/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The VMs under protection: what the hooks need to know of them.
 *
 * A hooked function asks whether the VM it was called for is in the table.  The
 * answer is valid until it lets go of the reference; vm->calls counts those.
 */
#ifndef _KVMFT_VM_H
#define _KVMFT_VM_H

#include <linux/completion.h>
#include <linux/kvm_host.h>
#include <linux/rculist.h>
#include <linux/refcount.h>

#include <uapi/linux/kvmft.h>

#include "entry.h"

struct eventfd_ctx;
struct kvmft_vm;

/**
 * struct kvmft_run - how to run the guest this once; filled in by &kvmft_vm_ops.enter
 * @immediate_exit: deliver what is being injected, if anything, and leave again before
 *	the guest executes an instruction
 * @intercept: RDTSC, RDTSCP and accesses to debug registers leave the guest, each time
 * @breakpoint: leave when the instruction at the linear address @address is about to execute
 * @resume: execute the instruction at @address first, if the guest is there
 * @address: see @breakpoint
 * @ticks: leave after so many ticks of the TSC, at the latest; 0: no limit
 */
struct kvmft_run {
	bool immediate_exit;
	bool intercept;
	bool breakpoint;
	bool resume;
	u64 address;
	u64 ticks;
};

/**
 * struct kvmft_exit - how the vCPU left the guest
 * @nmi: a non-maskable interrupt of the host took it out
 * @sync: the guest's own instruction did, and always does: such exits can be numbered
 * @breakpoint: kvmft_run.breakpoint did
 * @shared: so did a breakpoint of the guest's, at the same instruction
 * @tsc: the guest reads its time-stamp counter, which is @value, and can be answered at once
 * @rip: guest RIP
 * @linear: its linear address
 * @code: the vendor's exit code
 * @value: see @tsc
 */
struct kvmft_exit {
	bool nmi;
	bool sync;
	bool breakpoint;
	bool shared;
	bool tsc;
	u64 rip;
	u64 linear;
	u64 code;
	u64 value;
};

/**
 * struct kvmft_vm_ops - what the hooks call, on the vCPU's thread
 * @boundary: before an entry, out of guest mode; may sleep; KVM's SRCU is held.  Not 0:
 *	leave KVM_RUN, with -EINTR
 * @halt: the vCPU halts: @boundary, for one that can not be entered; SRCU is not held.
 *	True: go and see whether it is still halted; false: sleep first
 * @enter: right before an entry, interrupts off
 * @exit: right after an exit, interrupts off.  True: it was for @breakpoint or @tsc, and the
 *	guest is to be entered again at once, unless something waits for the vCPU.  One that is
 *	@shared can be left to the guest: @breakpoint becomes false, @sync true.  If @tsc
 *	remains true @value is the answer; else @tsc of these operations will be asked
 * @handled: the exit has been handled with KVM's result @ret (1: back to the guest,
 *	0: to user space, < 0: error); returns the result to use; may sleep
 * @gate: KVM_RUN is about to return what the guest did to the VMM: wait until it may; may sleep.
 *	-EINTR: a signal came, the VMM gets it the next time; -EIO: it never does
 * @leave: KVM_RUN returns to the VMM
 * @tsc: the guest reads its time-stamp counter, which is *@value; may change that
 * @msr: the guest reads MSR @index, which is *@value; may change that
 * @ready: wait until @read need not; may sleep; SRCU is not held.  -EINTR: a signal came
 * @read: the guest reads @data from @space, see &enum kvmft_space; may change that
 * @write: the guest writes @data to @space.  False: nobody is to see it
 * @kick: the guest has written to the ioeventfd @event.  True: it is a device's of the module
 * @input: an asynchronous input arrives, on any thread, interrupts possibly off.  True: it
 *	will be applied at a boundary, or never; false: apply it now
 * @changing: the VMM is about to change registers, or to set them to what they are; under
 *	vcpu->mutex; may sleep; any thread
 * @unsupported: the VMM does what can not be replayed: @what, for people; may sleep; any thread
 * @lost: the VM is being destroyed, or does what ends protection; may sleep; any thread
 *
 * @tsc, @msr, @read and @write have no way to fail: the next @boundary does.
 */
struct kvmft_vm_ops {
	int (*boundary)(struct kvmft_vm *vm);
	bool (*halt)(struct kvmft_vm *vm);
	void (*enter)(struct kvmft_vm *vm, struct kvmft_run *run);
	bool (*exit)(struct kvmft_vm *vm, struct kvmft_exit *exit);
	int (*handled)(struct kvmft_vm *vm, int ret);
	int (*gate)(struct kvmft_vm *vm);
	void (*leave)(struct kvmft_vm *vm);
	void (*tsc)(struct kvmft_vm *vm, u64 *value);
	void (*msr)(struct kvmft_vm *vm, u32 index, u64 *value);
	int (*ready)(struct kvmft_vm *vm);
	void (*read)(struct kvmft_vm *vm, enum kvmft_space space, u64 addr, void *data, u32 len);
	bool (*write)(struct kvmft_vm *vm, enum kvmft_space space, u64 addr, const void *data,
		      u32 len);
	bool (*kick)(struct kvmft_vm *vm, const struct eventfd_ctx *event);
	bool (*input)(struct kvmft_vm *vm, const struct kvmft_input *input);
	void (*changing)(struct kvmft_vm *vm);
	void (*unsupported)(struct kvmft_vm *vm, const char *what);
	void (*lost)(struct kvmft_vm *vm, enum kvmft_end why);
};

/**
 * struct kvmft_vm - a VM under protection
 * @node: in the table
 * @kvm: KVM's VM; no reference is held: the hook on its destruction unlinks it
 * @vcpu: its only vCPU
 * @ops: see &struct kvmft_vm_ops
 * @calls: one while the VM is linked, and one for each hooked call in progress
 * @idle: completed when @calls drops to zero
 * @thread_lock: protects @thread
 * @thread: the vCPU's thread while it is in KVM_RUN, with frames of kvmft on its stack
 * @hidden_exit: exit code that KVM was not shown; the vCPU's thread
 * @emulate_dr: the guest was entered with kvmft_run.intercept; the vCPU's thread
 * @interrupted: KVM_RUN is to return -EINTR; the vCPU's thread
 * @answering: KVM_RUN has returned to the VMM for what the guest did, and the vCPU has not been in
 *	the guest since
 * @held: KVM has exited to the VMM, which has not seen it yet; the vCPU's thread
 * @exit_reason: of that exit
 * @rdmsr: it has exited for an MSR that the VMM is to read; the vCPU's thread
 * @applying: thread that hands KVM an input that was captured before
 * @kicked: the guest has told a network device of the module's (net.c) that its rings want work,
 *	which comes at the next boundary
 * @deterministic: inputs are captured, and what no log could explain is hidden from the guest
 */
struct kvmft_vm {
	struct hlist_node node;
	struct kvm *kvm;
	struct kvm_vcpu *vcpu;
	const struct kvmft_vm_ops *ops;
	refcount_t calls;
	struct completion idle;
	spinlock_t thread_lock; /* protects @thread */
	struct task_struct *thread;
	u64 hidden_exit;
	bool emulate_dr;
	bool interrupted;
	bool answering;
	bool held;
	u32 exit_reason;
	bool rdmsr;
	struct task_struct *applying;
	bool kicked;
	bool deterministic;
};

/* -EBUSY: @kvm is in the table already.  @vm->vcpu may still be NULL. */
int kvmft_vm_link(struct kvmft_vm *vm, struct kvm *kvm, const struct kvmft_vm_ops *ops);

/* Around KVM_RUN; the caller has a reference. */
void kvmft_vm_run_begin(struct kvmft_vm *vm);
void kvmft_vm_run_end(struct kvmft_vm *vm);

/*
 * From here on no hooked call starts, and KVM_RUN returns -EINTR as for a signal as soon as the
 * vCPU is kicked: it may have begun in a hooked call.  Once vm->idle is completed and an RCU grace
 * period has passed, the memory may go.  To be called once for each VM linked.
 */
void kvmft_vm_unlink(struct kvmft_vm *vm);

/* Any context, NMI excepted. */
bool kvmft_vm_protected(const struct kvm *kvm);
struct kvmft_vm *kvmft_vm_get(const struct kvm *kvm);
void kvmft_vm_put(struct kvmft_vm *vm);

/* One for which @is_it, which does not sleep, says so. */
struct kvmft_vm *kvmft_vm_find(bool (*is_it)(struct kvmft_vm *vm, const void *arg),
			       const void *arg);

/* The interrupt of an input that the VMM has made.  False: it has none. */
bool kvmft_vm_interrupt(const struct kvmft_session_input *from, struct kvmft_input *input);

/* They are about to be applied: a timer that the guest has set anew since is to run on. */
void kvmft_vm_look_at_timers(const struct kvmft_vm *vm, struct kvmft_input *inputs,
			     unsigned int nr);

/*
 * Hand @input to KVM's interrupt chips.  On the vCPU's thread, at a boundary or halted.  For the
 * same inputs in the same places the chips come to the same state.
 */
void kvmft_vm_apply(struct kvmft_vm *vm, const struct kvmft_input *input);

/*
 * The same on a kernel thread, when the VM's session ends.  In the VMM's address space; elsewhere
 * memory is not written.
 */
void kvmft_vm_flush(struct kvmft_vm *vm, const struct kvmft_input *input);

#endif /* _KVMFT_VM_H */
