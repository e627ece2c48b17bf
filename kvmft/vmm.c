// SPDX-License-Identifier: GPL-2.0
/*
 * What the VMM does to the machine beside running it and driving its interrupt lines.
 *
 * It may set registers, as it does when the guest resets the machine: the engines look at
 * the next boundary whether, and into what, they have changed.  What can not be replayed ends
 * protection.
 */
#include <linux/kvm_host.h>

#include "arch.h"
#include "machine.h"
#include "vm.h"

/* On any thread, under vcpu->mutex: the vCPU is outside the guest. */
KVMFT_HOOK(kvm_arch_vcpu_ioctl, "kvm", KVMFT_HOOK_VCPU_FILE);
KVMFT_HOOK(kvm_arch_vcpu_ioctl_set_regs, "kvm", KVMFT_HOOK_VCPU);
KVMFT_HOOK(kvm_arch_vcpu_ioctl_set_sregs, "kvm", KVMFT_HOOK_VCPU);
KVMFT_HOOK(kvm_arch_vcpu_ioctl_set_mpstate, "kvm", KVMFT_HOOK_VCPU);
KVMFT_HOOK(kvm_arch_vcpu_ioctl_set_fpu, "kvm", KVMFT_HOOK_VCPU);
KVMFT_HOOK(kvm_arch_vcpu_ioctl_set_guest_debug, "kvm", KVMFT_HOOK_VCPU);

static void changing(struct kvm_vcpu *vcpu)
{
	struct kvmft_vm *vm = kvmft_vm_get(vcpu->kvm);

	if (!vm)
		return;
	vm->ops->changing(vm);
	kvmft_vm_put(vm);
}

/* True: the call is done. */
static bool vcpu_call(struct kvmft_vm *vm, unsigned int ioctl)
{
	static const struct kvmft_input nmi = { .type = KVMFT_INPUT_NMI };

	switch (ioctl) {
	case KVM_NMI:
		return vm->ops->input(vm, &nmi);
	case KVM_SMI:
		vm->ops->unsupported(vm, "the VMM injected an SMI: QEMU needs -machine smm=off");
		break;
	case KVM_X86_SET_MCE:
		vm->ops->unsupported(vm, "the VMM reported a machine check to the guest");
		break;
	case KVM_SET_LAPIC:
	case KVM_SET_CPUID:
	case KVM_SET_CPUID2:
	case KVM_SET_MSRS:
	case KVM_SET_VCPU_EVENTS:
	case KVM_SET_DEBUGREGS:
	case KVM_SET_XSAVE:
	case KVM_SET_XCRS:
	case KVM_SET_NESTED_STATE:
	case KVM_SET_SREGS2:
		vm->ops->changing(vm);
		break;
	}
	return false;
}

static long replace_kvm_arch_vcpu_ioctl(struct file *file, unsigned int ioctl, unsigned long arg)
{
	struct kvm_vcpu *vcpu = file->private_data;
	struct kvmft_vm *vm = kvmft_vm_get(vcpu->kvm);
	bool done = false;

	if (vm) {
		done = vcpu_call(vm, ioctl);
		kvmft_vm_put(vm);
	}
	return done ? 0 : kvmft_original(kvm_arch_vcpu_ioctl)(file, ioctl, arg);
}

static int replace_kvm_arch_vcpu_ioctl_set_regs(struct kvm_vcpu *vcpu, struct kvm_regs *regs)
{
	changing(vcpu);
	return kvmft_original(kvm_arch_vcpu_ioctl_set_regs)(vcpu, regs);
}

static int replace_kvm_arch_vcpu_ioctl_set_sregs(struct kvm_vcpu *vcpu, struct kvm_sregs *sregs)
{
	changing(vcpu);
	return kvmft_original(kvm_arch_vcpu_ioctl_set_sregs)(vcpu, sregs);
}

static int replace_kvm_arch_vcpu_ioctl_set_mpstate(struct kvm_vcpu *vcpu,
						   struct kvm_mp_state *state)
{
	changing(vcpu);
	return kvmft_original(kvm_arch_vcpu_ioctl_set_mpstate)(vcpu, state);
}

static int replace_kvm_arch_vcpu_ioctl_set_fpu(struct kvm_vcpu *vcpu, struct kvm_fpu *fpu)
{
	changing(vcpu);
	return kvmft_original(kvm_arch_vcpu_ioctl_set_fpu)(vcpu, fpu);
}

static int replace_kvm_arch_vcpu_ioctl_set_guest_debug(struct kvm_vcpu *vcpu,
						       struct kvm_guest_debug *debug)
{
	struct kvmft_vm *vm = kvmft_vm_get(vcpu->kvm);

	if (vm) {
		if (debug->control & (KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_INJECT_DB |
				      KVM_GUESTDBG_INJECT_BP))
			vm->ops->unsupported(vm, KVMFT_NO_DEBUGGER);
		kvmft_vm_put(vm);
	}
	return kvmft_original(kvm_arch_vcpu_ioctl_set_guest_debug)(vcpu, debug);
}

struct kvmft_hook *const kvmft_vmm_hooks[] = {
	&hook_kvm_arch_vcpu_ioctl,
	&hook_kvm_arch_vcpu_ioctl_set_regs,
	&hook_kvm_arch_vcpu_ioctl_set_sregs,
	&hook_kvm_arch_vcpu_ioctl_set_mpstate,
	&hook_kvm_arch_vcpu_ioctl_set_fpu,
	&hook_kvm_arch_vcpu_ioctl_set_guest_debug,
	NULL
};
