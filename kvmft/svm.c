// SPDX-License-Identifier: GPL-2.0
/*
 * AMD: hooks in kvm_amd.ko, and the events that Zen counts exactly.
 *
 * What a run in the guest needs is put into the VMCB and the debug registers right before it
 * and taken out right after: at rest they are KVM's alone, and a session may end at any
 * moment.  An exit that KVM must not see (RDTSC, a breakpoint of kvmft's) is turned into an
 * exit for an external interrupt in the same place; vm->hidden_exit remembers what it was.
 */
#include <asm/debugreg.h>
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

/* Kernels where it is a bool know no other. */
#define RUN_LOAD_GUEST_DR6		((KVMFT_ARG1_svm_vcpu_run)			\
					 (sizeof(KVMFT_ARG1_svm_vcpu_run) > sizeof(bool) ? 2 : 0))

/* What KVM intercepts of the debug registers: reads and writes of DR0 to DR7. */
#define INTERCEPT_ALL_DRS		0x00ff00ffU

/* Bits of vmcb_control_area.clean: enum in arch/x86/kvm/svm/svm.h. */
#define CLEAN_INTERCEPTS		BIT(0)
#define CLEAN_DR			BIT(6)

#define EXIT_DB				(SVM_EXIT_EXCP_BASE + DB_VECTOR)

/**
 * struct stolen - what a run in the guest borrowed from VMCB and processor
 * @intercepts: the intercepts that were set
 * @dr7: guest's DR7
 * @dr: what was in the debug register of the breakpoint
 * @slot: number of that register; -1: no breakpoint is set
 * @rf: RF is set for one instruction
 * @linear: linear address at the entry
 */
struct stolen {
	u32 intercepts[MAX_INTERCEPT];
	u64 dr7;
	unsigned long dr;
	int slot;
	bool rf;
	u64 linear;
};

static struct vmcb *vmcb_of(const struct kvm_vcpu *vcpu)
{
	return *(struct vmcb **)((char *)vcpu + KVMFT_OFFSET_vcpu_svm__vmcb);
}

static u64 linear_rip(const struct kvm_vcpu *vcpu)
{
	return vmcb_of(vcpu)->save.cs.base + vcpu->arch.regs[VCPU_REGS_RIP];
}

static u64 svm_flags(const struct kvm_vcpu *vcpu)
{
	return vmcb_of(vcpu)->save.rflags;
}

static int free_slot(u64 dr7)
{
	int slot;

	for (slot = 0; slot < 4; slot++)
		if (!(dr7 & (DR_GLOBAL_ENABLE | DR_LOCAL_ENABLE) << slot * DR_ENABLE_SIZE))
			return slot;
	return -1;
}

/* Which debug registers, as in DR6, does the guest have on the instruction at @address? */
static u64 guest_breaks(const struct kvm_vcpu *vcpu, u64 dr7, u64 address)
{
	u64 traps = 0;
	int slot;

	for (slot = 0; slot < 4; slot++)
		if (dr7 & (DR_GLOBAL_ENABLE | DR_LOCAL_ENABLE) << slot * DR_ENABLE_SIZE &&
		    !(dr7 >> (DR_CONTROL_SHIFT + slot * DR_CONTROL_SIZE) & 0xf) &&
		    vcpu->arch.db[slot] == address)
			traps |= DR_TRAP0 << slot;
	return traps;
}

/* A breakpoint on instruction execution has type and length 0. */
static void set_breakpoint(struct vmcb *vmcb, struct stolen *stolen, u64 address)
{
	int slot = free_slot(vmcb->save.dr7);

	stolen->slot = slot;
	if (slot < 0)
		return;
	stolen->dr7 = vmcb->save.dr7;
	vmcb->save.dr7 &= ~(0xfULL << (DR_CONTROL_SHIFT + slot * DR_CONTROL_SIZE));
	vmcb->save.dr7 |= DR_GLOBAL_ENABLE << slot * DR_ENABLE_SIZE;
	get_debugreg(stolen->dr, slot);
	set_debugreg(address, slot);
}

static void clear_breakpoint(struct vmcb *vmcb, const struct stolen *stolen)
{
	vmcb->save.dr7 = stolen->dr7;
	set_debugreg(stolen->dr, stolen->slot);
}

/*
 * KVM may have let the guest at the debug registers until the next exit, so that it can repeat the
 * MOV that was intercepted.  Take that back: KVM emulates the MOV, see replace_svm_handle_exit().
 */
static void take_debug_registers(struct kvm_vcpu *vcpu, KVMFT_ARG1_svm_vcpu_run *run_flags)
{
	if (!(vcpu->arch.switch_db_regs & KVM_DEBUGREG_WONT_EXIT))
		return;
	vcpu->arch.switch_db_regs &= ~KVM_DEBUGREG_WONT_EXIT;
	vmcb_of(vcpu)->control.intercepts[INTERCEPT_DR] = INTERCEPT_ALL_DRS;
	*run_flags &= ~RUN_LOAD_GUEST_DR6;
}

static void steal(struct kvm_vcpu *vcpu, const struct kvmft_run *run, struct stolen *stolen)
{
	struct vmcb *vmcb = vmcb_of(vcpu);
	u32 *intercepts = vmcb->control.intercepts;

	memcpy(stolen->intercepts, intercepts, sizeof(stolen->intercepts));
	stolen->linear = linear_rip(vcpu);

	intercepts[INTERCEPT_RDTSC / 32] |= BIT(INTERCEPT_RDTSC % 32);
	intercepts[INTERCEPT_RDTSCP / 32] |= BIT(INTERCEPT_RDTSCP % 32);

	intercepts[INTERCEPT_DR] = INTERCEPT_ALL_DRS;
	if (run->breakpoint) {
		set_breakpoint(vmcb, stolen, run->address);
		/* RF would suppress the guest's breakpoint, too: it comes first then. */
		if (run->resume && stolen->linear == run->address &&
		    !guest_breaks(vcpu, stolen->dr7, run->address) &&
		    !(vmcb->control.event_inj & SVM_EVTINJ_VALID) &&
		    !(vmcb->save.rflags & X86_EFLAGS_RF)) {
			stolen->rf = true;
			vmcb->save.rflags |= X86_EFLAGS_RF;
		}
	}
	vmcb->control.clean &= ~(CLEAN_INTERCEPTS | CLEAN_DR);
}

static void give_back(struct kvm_vcpu *vcpu, const struct stolen *stolen)
{
	struct vmcb *vmcb = vmcb_of(vcpu);

	memcpy(vmcb->control.intercepts, stolen->intercepts, sizeof(stolen->intercepts));
	if (stolen->slot >= 0)
		clear_breakpoint(vmcb, stolen);
	/* The instruction that it was set for clears it. */
	if (stolen->rf && linear_rip(vcpu) == stolen->linear)
		vmcb->save.rflags &= ~X86_EFLAGS_RF;
	vmcb->control.clean &= ~(CLEAN_INTERCEPTS | CLEAN_DR);
}

/* Exits that the same instruction causes every time it is executed. */
static bool is_sync(u64 code)
{
	switch (code) {
	case SVM_EXIT_RDTSC:
	case SVM_EXIT_RDTSCP:
	case SVM_EXIT_RDPMC:
	case SVM_EXIT_CPUID:
	case SVM_EXIT_HLT:
	case SVM_EXIT_IOIO:
	case SVM_EXIT_MSR:
	case SVM_EXIT_SHUTDOWN:
	case SVM_EXIT_READ_DR0 ... SVM_EXIT_WRITE_DR7:
	case EXIT_DB:
		return true;
	}
	return false;
}

/*
 * Take #DB exits apart that kvmft's breakpoint has caused, with others or alone.  True: nothing is
 * left for the guest, or it comes again: a breakpoint on the same instruction.
 */
static bool own_debug_exit(struct kvm_vcpu *vcpu, const struct kvmft_run *run,
			   const struct stolen *stolen, struct kvmft_exit *exit)
{
	struct vmcb *vmcb = vmcb_of(vcpu);
	u64 others;

	if (stolen->slot < 0 || !(vmcb->save.dr6 & (DR_TRAP0 << stolen->slot)))
		return false;
	vmcb->save.dr6 &= ~(DR_TRAP0 << stolen->slot);
	others = vmcb->save.dr6 & (DR_TRAP_BITS | DR_STEP);
	if (others & ~guest_breaks(vcpu, vmcb->save.dr7, exit->linear))
		return false;
	exit->breakpoint = exit->linear == run->address;
	exit->shared = others;
	return true;
}

/* RDTSC or RDTSCP, and nothing else is to be done than to emulate it. */
static bool is_plain_tsc(const struct kvm_vcpu *vcpu)
{
	const struct vmcb *vmcb = vmcb_of(vcpu);
	u32 code = vmcb->control.exit_code;

	return (code == SVM_EXIT_RDTSC || code == SVM_EXIT_RDTSCP) && vmcb->control.next_rip &&
	       !(vmcb->control.exit_int_info & SVM_EXITINTINFO_VALID) &&
	       !(vmcb->save.rflags & X86_EFLAGS_TF) && !vcpu->guest_debug;
}

static void describe_exit(struct kvm_vcpu *vcpu, const struct kvmft_run *run,
			  const struct stolen *stolen, struct kvmft_exit *exit)
{
	struct vmcb *vmcb = vmcb_of(vcpu);

	exit->code = vmcb->control.exit_code;
	exit->nmi = exit->code == SVM_EXIT_NMI;
	exit->rip = vcpu->arch.regs[VCPU_REGS_RIP];
	exit->linear = linear_rip(vcpu);
	exit->breakpoint = false;
	exit->shared = false;
	exit->sync = is_sync(exit->code);
	exit->tsc = is_plain_tsc(vcpu);
	exit->value = exit->tsc ? kvm_read_l1_tsc(vcpu, rdtsc()) : 0;
	if (exit->code == EXIT_DB && own_debug_exit(vcpu, run, stolen, exit))
		exit->sync = false;
}

/* Hide an exit from KVM that is kvmft's to handle. */
static void hide_exit(struct kvm_vcpu *vcpu, struct kvmft_vm *vm, const struct kvmft_exit *exit)
{
	vm->hidden_exit = 0;
	if (exit->code == SVM_EXIT_RDTSC || exit->code == SVM_EXIT_RDTSCP ||
	    (exit->code == EXIT_DB && !exit->sync)) {
		vm->hidden_exit = exit->code;
		vmcb_of(vcpu)->control.exit_code = SVM_EXIT_INTR;
	}
}

/* RDTSC and RDTSCP, which has been hidden: APM volume 3. */
static void answer_tsc(struct kvm_vcpu *vcpu, struct kvmft_vm *vm, u64 value)
{
	vcpu->arch.regs[VCPU_REGS_RAX] = (u32)value;
	vcpu->arch.regs[VCPU_REGS_RDX] = value >> 32;
	if (vm->hidden_exit == SVM_EXIT_RDTSCP)
		vcpu->arch.regs[VCPU_REGS_RCX] =
			(u32)*(u64 *)((char *)vcpu + KVMFT_OFFSET_vcpu_svm__tsc_aux);
	vm->hidden_exit = 0;
	/* As it does where it is not intercepted; KVM, which skips it, does not. */
	vmcb_of(vcpu)->save.rflags &= ~X86_EFLAGS_RF;
}

/* Of kvm_skip_emulated_instruction(), which may sleep, what is_plain_tsc() leaves to do. */
static void skip_instruction(struct kvm_vcpu *vcpu)
{
	struct vmcb *vmcb = vmcb_of(vcpu);

	vcpu->arch.regs[VCPU_REGS_RIP] = vmcb->control.next_rip;
	vmcb->control.int_state &= ~SVM_INTERRUPT_SHADOW_MASK;
}

static fastpath_t replace_svm_vcpu_run(struct kvm_vcpu *vcpu, KVMFT_ARG1_svm_vcpu_run run_flags)
{
	struct kvmft_vm *vm = kvmft_vm_get(vcpu->kvm);
	struct kvmft_run run = {};
	struct kvmft_exit exit;
	struct stolen stolen = { .slot = -1 };
	fastpath_t ret;
	bool again;

	if (!vm)
		return kvmft_original(svm_vcpu_run)(vcpu, run_flags);

	vm->ops->enter(vm, &run);
	if (run.intercept) {
		take_debug_registers(vcpu, &run_flags);
		steal(vcpu, &run, &stolen);
	}
	vm->emulate_dr = run.intercept;
	/* VMRUN with an interrupt pending leaves the guest before its first instruction. */
	if (run.immediate_exit)
		run_flags |= RUN_FORCE_IMMEDIATE_EXIT;

	ret = kvmft_original(svm_vcpu_run)(vcpu, run_flags);

	if (run.intercept)
		give_back(vcpu, &stolen);
	describe_exit(vcpu, &run, &stolen, &exit);
	again = vm->ops->exit(vm, &exit);
	hide_exit(vcpu, vm, &exit);
	if (exit.tsc) {
		answer_tsc(vcpu, vm, exit.value);
		skip_instruction(vcpu);
	}

	/* KVM would enter the guest again without passing any other hook. */
	if (ret == EXIT_FASTPATH_REENTER_GUEST)
		ret = EXIT_FASTPATH_EXIT_HANDLED;
	if (again && !(vmcb_of(vcpu)->control.exit_int_info & SVM_EXITINTINFO_VALID))
		ret = EXIT_FASTPATH_REENTER_GUEST;
	kvmft_vm_put(vm);
	return ret;
}

static bool is_dr_access(const struct kvm_vcpu *vcpu)
{
	u32 code = vmcb_of(vcpu)->control.exit_code;

	return code >= SVM_EXIT_READ_DR0 && code <= SVM_EXIT_WRITE_DR7;
}

static int replace_svm_handle_exit(struct kvm_vcpu *vcpu, fastpath_t fastpath)
{
	struct kvmft_vm *vm = kvmft_vm_get(vcpu->kvm);
	bool debug;
	u64 value;
	int ret;

	if (!vm)
		return kvmft_original(svm_handle_exit)(vcpu, fastpath);

	/* For a debugger KVM emulates accesses to debug registers; nothing else is different. */
	debug = vm->emulate_dr && !vcpu->guest_debug && is_dr_access(vcpu);
	if (debug)
		vcpu->guest_debug = KVM_GUESTDBG_ENABLE;
	ret = kvmft_original(svm_handle_exit)(vcpu, fastpath);
	if (debug)
		vcpu->guest_debug = 0;
	if (ret == 1 && vm->hidden_exit != EXIT_DB && vm->hidden_exit) {
		value = kvm_read_l1_tsc(vcpu, rdtsc());
		vm->ops->tsc(vm, &value);
		answer_tsc(vcpu, vm, value);
		ret = kvm_skip_emulated_instruction(vcpu);
	}
	vm->hidden_exit = 0;
	ret = vm->ops->handled(vm, ret);
	kvmft_vm_put(vm);
	return ret;
}

static struct kvmft_hook *const svm_hooks[] = {
	&hook_svm_vcpu_run,
	&hook_svm_handle_exit,
	NULL
};

static bool svm_stable(const struct kvm_vcpu *vcpu)
{
	const struct vmcb *vmcb = vmcb_of(vcpu);

	return !(vmcb->control.int_state & SVM_INTERRUPT_SHADOW_MASK) &&
	       !(vmcb->save.rflags & (X86_EFLAGS_RF | X86_EFLAGS_TF)) &&
	       !(vmcb->control.event_inj & SVM_EVTINJ_VALID) &&
	       !vcpu->arch.hflags && free_slot(vmcb->save.dr7) >= 0;
}

/*
 * Attributes as KVM_GET_SREGS shows them (svm_get_segment() in arch/x86/kvm/svm/svm.c): what a VMM
 * gets and sets again is the same.
 */
static u16 attributes(const struct vmcb_save_area *save, const struct vmcb_seg *seg)
{
	u16 attrib = seg->attrib & ~SVM_SELECTOR_G_MASK;

	if (seg->limit > 0xfffff)
		attrib |= SVM_SELECTOR_G_MASK;
	if (seg == &save->tr) {
		attrib |= SVM_SELECTOR_WRITE_MASK;	/* busy */
	} else if (seg == &save->ss) {
		attrib &= ~SVM_SELECTOR_DPL_MASK;
		attrib |= save->cpl << SVM_SELECTOR_DPL_SHIFT;
		if (!(attrib & SVM_SELECTOR_P_MASK))
			attrib &= ~SVM_SELECTOR_DB_MASK;
	} else if ((seg == &save->ds || seg == &save->es || seg == &save->fs || seg == &save->gs) &&
		   attrib & SVM_SELECTOR_P_MASK) {
		attrib |= 1;				/* accessed */
	}
	return attrib;
}

static struct kvmft_segment segment(const struct vmcb_save_area *save, const struct vmcb_seg *seg)
{
	return (struct kvmft_segment) {
		.base = cpu_to_le64(seg->base),
		.limit = cpu_to_le32(seg->limit),
		.selector = cpu_to_le16(seg->selector),
		.attributes = cpu_to_le16(attributes(save, seg)),
	};
}

static void svm_regs(const struct kvm_vcpu *vcpu, struct kvmft_regs *regs)
{
	const struct vmcb *vmcb = vmcb_of(vcpu);
	const struct vmcb_save_area *save = &vmcb->save;
	const struct vmcb_seg *const segments[] = {
		&save->es, &save->cs, &save->ss, &save->ds, &save->fs, &save->gs, &save->ldtr,
		&save->tr, &save->gdtr, &save->idtr,
	};
	const u64 msrs[] = {
		save->star, save->lstar, save->cstar, save->sfmask, save->kernel_gs_base,
		save->sysenter_cs, save->sysenter_esp, save->sysenter_eip,
	};
	int i;

	regs->flags = cpu_to_le64(save->rflags & ~X86_EFLAGS_RF);
	regs->cr[0] = cpu_to_le64(vcpu->arch.cr0);
	regs->cr[1] = cpu_to_le64(vcpu->arch.cr2);
	regs->cr[2] = cpu_to_le64(save->cr3);
	regs->cr[3] = cpu_to_le64(vcpu->arch.cr4);
	regs->efer = cpu_to_le64(vcpu->arch.efer);
	for (i = 0; i < ARRAY_SIZE(segments); i++)
		regs->segment[i] = segment(save, segments[i]);
	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		regs->msr[i] = cpu_to_le64(msrs[i]);
	regs->msr[10] = cpu_to_le64(*(u64 *)((char *)vcpu + KVMFT_OFFSET_vcpu_svm__tsc_aux));
}

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

/* SEV's bit is there from the vCPU's creation, and KVM's vm_type may be the usual one with it. */
static bool svm_encrypted(const struct kvm_vcpu *vcpu)
{
	return vmcb_of(vcpu)->control.nested_ctl & SVM_NESTED_CTL_SEV_ENABLE;
}

/* Of a guest that runs no guest of its own: there the offsets add up. */
static void set_tsc_offset(struct kvm_vcpu *vcpu, u64 offset)
{
	vcpu->arch.l1_tsc_offset = offset;
	vcpu->arch.tsc_offset = offset;
	vmcb_of(vcpu)->control.tsc_offset = offset;
	vmcb_of(vcpu)->control.clean &= ~CLEAN_INTERCEPTS;
}

const struct kvmft_arch_ops kvmft_svm_ops = {
	.module = "kvm_amd",
	.hooks = svm_hooks,
	.btf_crc = KVMFT_BTF_CRC_kvm_amd,
	.events = svm_events,
	.stable = svm_stable,
	.flags = svm_flags,
	.linear_rip = linear_rip,
	.regs = svm_regs,
	.encrypted = svm_encrypted,
	.set_tsc_offset = set_tsc_offset,
};
