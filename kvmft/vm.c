// SPDX-License-Identifier: GPL-2.0
#include <linux/hashtable.h>
#include <linux/sched.h>
#include <linux/spinlock.h>

#include "vm.h"

#define VM_HASH_BITS	6

static DEFINE_HASHTABLE(vms, VM_HASH_BITS);	/* RCU */
static DEFINE_SPINLOCK(vms_lock);		/* writers */

/* Under rcu_read_lock() or vms_lock. */
static struct kvmft_vm *find(const struct kvm *kvm)
{
	struct kvmft_vm *vm;

	hash_for_each_possible_rcu(vms, vm, node, (unsigned long)kvm,
				   lockdep_is_held(&vms_lock))
		if (vm->kvm == kvm)
			return vm;
	return NULL;
}

int kvmft_vm_link(struct kvmft_vm *vm, struct kvm *kvm, const struct kvmft_vm_ops *ops)
{
	int ret = 0;

	vm->kvm = kvm;
	vm->ops = ops;
	refcount_set(&vm->calls, 1);
	init_completion(&vm->idle);
	spin_lock_init(&vm->thread_lock);

	spin_lock(&vms_lock);
	if (find(kvm))
		ret = -EBUSY;
	else
		hash_add_rcu(vms, &vm->node, (unsigned long)kvm);
	spin_unlock(&vms_lock);
	return ret;
}

void kvmft_vm_unlink(struct kvmft_vm *vm)
{
	spin_lock(&vms_lock);
	hash_del_rcu(&vm->node);
	spin_unlock(&vms_lock);

	/* No signal is sent: the flag alone makes KVM return to the VMM, which sees EINTR. */
	spin_lock(&vm->thread_lock);
	if (vm->thread)
		set_tsk_thread_flag(vm->thread, TIF_NOTIFY_SIGNAL);
	spin_unlock(&vm->thread_lock);
	kvmft_vm_put(vm);
}

void kvmft_vm_run_begin(struct kvmft_vm *vm)
{
	spin_lock(&vm->thread_lock);
	vm->thread = current;
	/* kvmft_vm_unlink() has not seen it. */
	if (hlist_unhashed_lockless(&vm->node))
		set_tsk_thread_flag(current, TIF_NOTIFY_SIGNAL);
	spin_unlock(&vm->thread_lock);
}

void kvmft_vm_run_end(struct kvmft_vm *vm)
{
	spin_lock(&vm->thread_lock);
	vm->thread = NULL;
	spin_unlock(&vm->thread_lock);
}

bool kvmft_vm_protected(const struct kvm *kvm)
{
	bool found;

	/* For the functions of VMs that are not ours this is all. */
	if (likely(hlist_empty(&vms[hash_min((unsigned long)kvm, VM_HASH_BITS)])))
		return false;
	rcu_read_lock();
	found = find(kvm);
	rcu_read_unlock();
	return found;
}

struct kvmft_vm *kvmft_vm_get(const struct kvm *kvm)
{
	struct kvmft_vm *vm;

	rcu_read_lock();
	vm = find(kvm);
	if (vm && !refcount_inc_not_zero(&vm->calls))
		vm = NULL;
	rcu_read_unlock();
	return vm;
}

struct kvmft_vm *kvmft_vm_find(bool (*is_it)(struct kvmft_vm *vm, const void *arg),
			       const void *arg)
{
	struct kvmft_vm *vm, *found = NULL;
	int bucket;

	rcu_read_lock();
	hash_for_each_rcu(vms, bucket, vm, node) {
		if (!refcount_inc_not_zero(&vm->calls))
			continue;
		if (is_it(vm, arg)) {
			found = vm;
			break;
		}
		kvmft_vm_put(vm);
	}
	rcu_read_unlock();
	return found;
}

void kvmft_vm_put(struct kvmft_vm *vm)
{
	if (refcount_dec_and_test(&vm->calls))
		complete(&vm->idle);
}
