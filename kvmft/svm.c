// SPDX-License-Identifier: GPL-2.0
/*
 * AMD: hooks in kvm_amd.ko, and the events that Zen counts exactly.
 */
#include <asm/processor.h>
#include <asm/svm.h>

#include "arch.h"
#include "vm.h"

KVMFT_HOOK(svm_vcpu_run, "kvm_amd", KVMFT_HOOK_VCPU);
KVMFT_HOOK(svm_handle_exit, "kvm_amd", KVMFT_HOOK_VCPU);

/*
 * run_flags was "bool force_immediate_exit" earlier in the 6.12 series, which has
 * the same meaning in bit 0.
 */
#define RUN_FORCE_IMMEDIATE_EXIT	((KVMFT_ARG1_svm_vcpu_run)1)

static const struct vmcb *vmcb_of(const struct kvm_vcpu *vcpu)
{
	return *(struct vmcb **)((char *)vcpu + KVMFT_OFFSET_vcpu_svm__vmcb);
}

static fastpath_t replace_svm_vcpu_run(struct kvm_vcpu *vcpu, KVMFT_ARG1_svm_vcpu_run run_flags)
{
	struct kvmft_vm *vm = kvmft_vm_get(vcpu->kvm);
	struct kvmft_exit exit;
	fastpath_t ret;

	if (!vm)
		return kvmft_original(svm_vcpu_run)(vcpu, run_flags);

	if (!vm->ops->enter(vm)) {
		/*
		 * VMRUN with an interrupt pending leaves the guest again before its
		 * first instruction; KVM_REQ_EVENT makes KVM pass the boundary.
		 */
		run_flags |= RUN_FORCE_IMMEDIATE_EXIT;
		kvm_make_request(KVM_REQ_EVENT, vcpu);
	}

	ret = kvmft_original(svm_vcpu_run)(vcpu, run_flags);

	exit.code = vmcb_of(vcpu)->control.exit_code;
	exit.nmi = exit.code == SVM_EXIT_NMI;
	exit.rip = vcpu->arch.regs[VCPU_REGS_RIP];
	vm->ops->exit(vm, &exit);

	/* KVM would enter the guest again without passing any other hook. */
	if (ret == EXIT_FASTPATH_REENTER_GUEST)
		ret = EXIT_FASTPATH_EXIT_HANDLED;
	kvmft_vm_put(vm);
	return ret;
}

static int replace_svm_handle_exit(struct kvm_vcpu *vcpu, fastpath_t fastpath)
{
	struct kvmft_vm *vm = kvmft_vm_get(vcpu->kvm);
	int ret;

	if (!vm)
		return kvmft_original(svm_handle_exit)(vcpu, fastpath);

	ret = kvmft_original(svm_handle_exit)(vcpu, fastpath);
	ret = vm->ops->handled(vm, ret);
	kvmft_vm_put(vm);
	return ret;
}

static struct kvmft_hook *const svm_hooks[] = {
	&hook_svm_vcpu_run,
	&hook_svm_handle_exit,
	NULL
};

/*
 * Processor Programming Reference for family 19h model 01h, "Core Performance Monitor
 * Counters": PMCx0D1 retired conditional branches, PMCx0C4 retired taken branches,
 * PMCx025 unit mask 08h SpecLockMapCommit.  VMRUN counts as a taken branch of the
 * guest.  While the core's SpecLockMap optimisation is in use conditional branches are
 * overcounted.
 */
static const struct kvmft_arch_events zen_events = {
	.cond = 0xd1,
	.taken = 0xc4,
	.taken_per_entry = 1,
	.unsafe = 0x825,
	.unsafe_remedy = "set bit 54 of MSR 0xc0011020 on every CPU (SpecLockMap off)",
};

static const struct kvmft_arch_events *svm_events(void)
{
	const struct cpuinfo_x86 *cpu = &boot_cpu_data;

	if (cpu->x86_vendor != X86_VENDOR_AMD && cpu->x86_vendor != X86_VENDOR_HYGON)
		return NULL;
	/* Zen: 17h and 18h (Zen, Zen 2), 19h (Zen 3, Zen 4), 1Ah (Zen 5) */
	if (cpu->x86 < 0x17 || cpu->x86 > 0x1a)
		return NULL;
	return &zen_events;
}

const struct kvmft_arch_ops kvmft_svm_ops = {
	.module = "kvm_amd",
	.hooks = svm_hooks,
	.btf_crc = KVMFT_BTF_CRC_kvm_amd,
	.events = svm_events,
};
