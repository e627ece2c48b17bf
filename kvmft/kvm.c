// SPDX-License-Identifier: GPL-2.0
/*
 * Hooks in kvm.ko, the same for every vendor: the run loop, and the life of a VM.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "arch.h"
#include "io.h"
#include "symbol.h"
#include "vm.h"

/*
 * Runs on the vCPU's thread before an entry whenever KVM_REQ_EVENT is set, and when
 * the vCPU stops being blocked.
 */
KVMFT_HOOK(kvm_apic_accept_events, "kvm", KVMFT_HOOK_VCPU);
/* Runs on the vCPU's thread when it has nothing to execute, without KVM's SRCU. */
KVMFT_HOOK(kvm_vcpu_halt, "kvm", KVMFT_HOOK_VCPU);
/* KVM_RUN. */
KVMFT_HOOK(kvm_arch_vcpu_ioctl_run, "kvm", KVMFT_HOOK_VCPU);
/* Runs with the last reference to the VM gone: no vCPU is inside KVM_RUN. */
KVMFT_HOOK(kvm_arch_destroy_vm, "kvm", KVMFT_HOOK_VM);
/* Runs under kvm->lock, before the new vCPU exists. */
KVMFT_HOOK(kvm_arch_vcpu_precreate, "kvm", KVMFT_HOOK_VM);

static int replace_kvm_apic_accept_events(struct kvm_vcpu *vcpu)
{
	struct kvmft_vm *vm;
	int ret = 0;

	/* KVM_GET_MP_STATE comes here too, on any thread. */
	if (!vcpu->wants_to_run)
		return kvmft_original(kvm_apic_accept_events)(vcpu);

	vm = kvmft_vm_get(vcpu->kvm);
	if (vm) {
		ret = vm->ops->boundary(vm);
		/* An error here makes KVM_RUN return 0, with the exit reason of the last time. */
		vm->interrupted = ret;
		/* Not an instruction before the boundary that did not come about. */
		if (ret)
			kvm_make_request(KVM_REQ_EVENT, vcpu);
		kvmft_vm_put(vm);
	}
	return ret ? -EINTR : kvmft_original(kvm_apic_accept_events)(vcpu);
}

static void replace_kvm_vcpu_halt(struct kvm_vcpu *vcpu)
{
	struct kvmft_vm *vm = kvmft_vm_get(vcpu->kvm);
	bool done = false;

	if (vm)
		done = vm->ops->halt(vm);
	if (!done)
		kvmft_original(kvm_vcpu_halt)(vcpu);
	if (!vm)
		return;
	/* What woke it has to be applied before KVM looks whether it is still halted. */
	if (!done)
		vm->ops->halt(vm);
	kvmft_vm_put(vm);
}

/* KVM's run, unless the VMM has not seen yet how the last one ended. */
static int run(struct kvmft_vm *vm)
{
	struct kvm_vcpu *vcpu = vm->vcpu;
	int ret;

	if (!vm->held) {
		vm->interrupted = kvmft_io_complete(vm);
		if (vm->interrupted)
			return -EINTR;
		ret = kvmft_original(kvm_arch_vcpu_ioctl_run)(vcpu);
		vm->answering |= !ret && !vm->interrupted;
		if (ret || vm->interrupted)
			return ret;
		vm->held = true;
		vm->exit_reason = vcpu->run->exit_reason;
	}
	ret = vm->ops->gate(vm);
	vm->interrupted = ret == -EINTR;
	vm->held = vm->interrupted;
	vcpu->run->exit_reason = vm->exit_reason;
	return ret;
}

static int replace_kvm_arch_vcpu_ioctl_run(struct kvm_vcpu *vcpu)
{
	struct kvmft_vm *vm = kvmft_vm_get(vcpu->kvm);
	int ret;

	if (!vm)
		return kvmft_original(kvm_arch_vcpu_ioctl_run)(vcpu);

	kvmft_vm_run_begin(vm);
	/* KVM_SYNC_X86_*: the same as KVM_SET_REGS, KVM_SET_SREGS and KVM_SET_VCPU_EVENTS. */
	if (unlikely(READ_ONCE(vcpu->run->kvm_dirty_regs)))
		vm->ops->changing(vm);
	ret = run(vm);
	if (vm->interrupted) {
		vcpu->run->exit_reason = KVM_EXIT_INTR;
		ret = -EINTR;
	}
	vm->ops->leave(vm);
	kvmft_vm_run_end(vm);
	kvmft_vm_put(vm);
	return ret;
}

static void replace_kvm_arch_destroy_vm(struct kvm *kvm)
{
	struct kvmft_vm *vm = kvmft_vm_get(kvm);

	if (vm) {
		vm->ops->lost(vm, KVMFT_END_VM_DESTROYED);
		kvmft_vm_put(vm);
	}
	kvmft_original(kvm_arch_destroy_vm)(kvm);
}

static int replace_kvm_arch_vcpu_precreate(struct kvm *kvm, unsigned int id)
{
	struct kvmft_vm *vm = kvmft_vm_get(kvm);

	if (vm) {
		vm->ops->lost(vm, KVMFT_END_VCPU_ADDED);
		kvmft_vm_put(vm);
	}
	return kvmft_original(kvm_arch_vcpu_precreate)(kvm, id);
}

struct kvmft_hook *const kvmft_kvm_hooks[] = {
	&hook_kvm_apic_accept_events,
	&hook_kvm_arch_vcpu_ioctl_run,
	&hook_kvm_vcpu_halt,
	&hook_kvm_arch_vcpu_precreate,
	&hook_kvm_arch_destroy_vm,
	NULL
};

const struct kvmft_arch_ops *kvmft_arch_of_vm(const struct file *vm)
{
	static const struct kvmft_arch_ops *const vendors[] = { &kvmft_svm_ops };
	const struct module *owner = vm->f_op->owner;
	const char *name = owner ? owner->name : "(built in)";
	int i;

	for (i = 0; i < ARRAY_SIZE(vendors); i++)
		if (!strcmp(name, vendors[i]->module))
			return vendors[i];
	pr_err("no support for VMs of KVM's vendor module %s (only kvm_amd, built as a module)\n",
	       name);
	return NULL;
}

int kvmft_arch_hooks_get(const struct kvmft_arch_ops *arch, struct module *vendor)
{
	struct kvmft_hook *const *const lists[] = {
		arch->hooks, kvmft_kvm_hooks, kvmft_io_hooks, kvmft_irq_hooks, kvmft_vmm_hooks,
		kvmft_vm_callees,
	};

	return kvmft_hooks_get(lists, ARRAY_SIZE(lists), vendor);
}

int kvmft_arch_check(const struct kvmft_arch_ops *arch)
{
	int ret;

	ret = kvmft_symbol_check_btf("kvm", KVMFT_BTF_CRC_kvm);
	if (!ret)
		ret = kvmft_symbol_check_btf(arch->module, arch->btf_crc);
	return ret;
}
