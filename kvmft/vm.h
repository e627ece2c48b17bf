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

struct kvmft_vm;

/**
 * struct kvmft_exit - how the vCPU left the guest
 * @nmi: a non-maskable interrupt of the host took it out
 * @rip: guest RIP
 * @code: the vendor's exit code
 */
struct kvmft_exit {
	bool nmi;
	u64 rip;
	u64 code;
};

/**
 * struct kvmft_vm_ops - what the hooks call, on the vCPU's thread
 * @boundary: before an entry, out of guest mode; may sleep; KVM's SRCU is held
 * @enter: right before an entry, interrupts off; false: the guest must not execute
 *	an instruction, and @boundary has to be called before the next entry
 * @exit: right after an exit, interrupts off
 * @handled: the exit has been handled with KVM's result @ret (1: back to the guest,
 *	0: to user space, < 0: error); returns the result to use; may sleep
 * @lost: the VM is being destroyed, or grows a second vCPU; may sleep.  The only
 *	one that may come on another thread than the vCPU's.
 */
struct kvmft_vm_ops {
	void (*boundary)(struct kvmft_vm *vm);
	bool (*enter)(struct kvmft_vm *vm);
	void (*exit)(struct kvmft_vm *vm, const struct kvmft_exit *exit);
	int (*handled)(struct kvmft_vm *vm, int ret);
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
 */
struct kvmft_vm {
	struct hlist_node node;
	struct kvm *kvm;
	struct kvm_vcpu *vcpu;
	const struct kvmft_vm_ops *ops;
	refcount_t calls;
	struct completion idle;
};

/* -EBUSY: @kvm is in the table already.  @vm->vcpu may still be NULL. */
int kvmft_vm_link(struct kvmft_vm *vm, struct kvm *kvm, const struct kvmft_vm_ops *ops);

/*
 * From here on no hooked call starts.  Once vm->idle is completed and an RCU grace
 * period has passed, the memory may go.  To be called once for each VM linked.
 */
void kvmft_vm_unlink(struct kvmft_vm *vm);

/* Any context, NMI excepted. */
bool kvmft_vm_protected(const struct kvm *kvm);
struct kvmft_vm *kvmft_vm_get(const struct kvm *kvm);
void kvmft_vm_put(struct kvmft_vm *vm);

#endif /* _KVMFT_VM_H */
