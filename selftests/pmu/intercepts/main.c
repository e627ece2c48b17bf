// SPDX-License-Identifier: GPL-2.0
/*
 * Which #VMEXIT the instructions RDTSC, RDTSCP, INT3, INTO and INT n cause, by the
 * intercepts that are set: AMD64 Architecture Programmer's Manual, volume 2, chapter
 * "Secure Virtual Machine", "Instruction Intercepts" and "Exception Intercepts".
 *
 * A hypervisor of one CPU and some instructions, which needs no KVM and leaves that
 * alone.  The results are TAP in the kernel's log, and loading fails with EAGAIN when
 * all has been tried: the module never stays.
 */
#include <linux/cpufeature.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/string.h>
#include <asm/debugreg.h>
#include <asm/msr.h>
#include <asm/processor-flags.h>
#include <asm/segment.h>
#include <asm/svm.h>
#include <asm/trapnr.h>

#include "guest.h"

#undef pr_fmt
#define pr_fmt(fmt) "kvmft_intercepts: " fmt

/* Its page: the programs, these, and the stack below the end */
#define GDT_AT		0x400
#define IDT_AT		0x600

#define BP	(INTERCEPT_EXCEPTION_OFFSET + X86_TRAP_BP)
#define OF	(INTERCEPT_EXCEPTION_OFFSET + X86_TRAP_OF)
#define INTN	INTERCEPT_INTn
#define RDTSC	INTERCEPT_RDTSC
#define RDTSCP	INTERCEPT_RDTSCP

struct trial {
	const char *name;
	const char *program;
	int intercepts[4];	/* bits of the VMCB's; 0 ends them */
	unsigned int exit_code;
	const char *at;		/* where the guest is then */
};

static const struct trial trials[] = {
	{ "RDTSC, none intercepted", g_rdtsc, {}, SVM_EXIT_VMMCALL, after_rdtsc },
	{ "RDTSC, RDTSC intercepted", g_rdtsc, { RDTSC }, SVM_EXIT_RDTSC, g_rdtsc },
	{ "RDTSC, RDTSCP intercepted", g_rdtsc, { RDTSCP }, SVM_EXIT_VMMCALL, after_rdtsc },
	{ "RDTSC, both intercepted", g_rdtsc, { RDTSC, RDTSCP }, SVM_EXIT_RDTSC, g_rdtsc },
	{ "RDTSCP, none intercepted", g_rdtscp, {}, SVM_EXIT_VMMCALL, after_rdtscp },
	{ "RDTSCP, RDTSC intercepted", g_rdtscp, { RDTSC }, SVM_EXIT_VMMCALL, after_rdtscp },
	{ "RDTSCP, RDTSCP intercepted", g_rdtscp, { RDTSCP }, SVM_EXIT_RDTSCP, g_rdtscp },
	{ "RDTSCP, both intercepted", g_rdtscp, { RDTSC, RDTSCP }, SVM_EXIT_RDTSCP, g_rdtscp },

	{ "INT3, none intercepted", g_int3, {}, SVM_EXIT_VMMCALL, handle_bp },
	{ "INT3, #BP intercepted", g_int3, { BP }, SVM_EXIT_EXCP_BASE + X86_TRAP_BP, g_int3 },
	{ "INT3, INTn and #OF intercepted", g_int3, { INTN, OF }, SVM_EXIT_VMMCALL, handle_bp },
	{ "INT 3 in two bytes, #BP intercepted", g_int_3, { BP }, SVM_EXIT_VMMCALL, handle_bp },
	{ "INT 3 in two bytes, INTn intercepted", g_int_3, { INTN }, SVM_EXIT_SWINT, g_int_3 },

	{ "INTO, none intercepted", g_into_set, {}, SVM_EXIT_VMMCALL, handle_of },
	{ "INTO, #OF intercepted", g_into_set, { OF }, SVM_EXIT_EXCP_BASE + X86_TRAP_OF,
	  g_into_set },
	{ "INTO, INTn and #BP intercepted", g_into_set, { INTN, BP }, SVM_EXIT_VMMCALL, handle_of },
	{ "INTO without overflow, all intercepted", g_into_clear, { BP, OF, INTN },
	  SVM_EXIT_VMMCALL, after_into },

	{ "INT 80h, #BP and #OF intercepted", g_int_80, { BP, OF }, SVM_EXIT_VMMCALL, handle_int },
	{ "INT 80h, INTn intercepted", g_int_80, { INTN }, SVM_EXIT_SWINT, g_int_80 },
};

/* A page each */
static struct vmcb *vmcb;
static void *host_save, *memory;

static void intercept(int bit)
{
	vmcb->control.intercepts[bit / 32] |= BIT(bit % 32);
}

static void set_gate(int vector, const char *handler)
{
	u64 *gate = memory + IDT_AT + 8 * vector;

	*gate = (u64)(handler - guest_start) | (u64)GUEST_CS << 16 | 0x8e00ull << 32;
}

/* The guest's page, below 4 GiB as its segments' base has to be */
static void set_memory(void)
{
	u64 *gdt = memory + GDT_AT;
	u64 base = virt_to_phys(memory);

	memcpy(memory, guest_start, guest_end - guest_start);
	gdt[GUEST_CS / 8] = GDT_ENTRY(0xc09b, base, 0xfffff);
	gdt[GUEST_DS / 8] = GDT_ENTRY(0xc093, base, 0xfffff);
	set_gate(X86_TRAP_BP, handle_bp);
	set_gate(X86_TRAP_OF, handle_of);
	set_gate(0x80, handle_int);
}

static struct vmcb_seg segment(u16 selector, u16 attributes)
{
	return (struct vmcb_seg){
		.selector = selector, .attrib = attributes, .limit = ~0u,
		.base = virt_to_phys(memory),
	};
}

static void set_vmcb(const struct trial *trial)
{
	struct vmcb_save_area *save = &vmcb->save;

	memset(vmcb, 0, PAGE_SIZE);
	intercept(INTERCEPT_VMRUN);
	intercept(INTERCEPT_VMMCALL);
	intercept(INTERCEPT_HLT);
	intercept(INTERCEPT_SHUTDOWN);
	intercept(INTERCEPT_NMI);
	for (int i = 0; trial->intercepts[i]; i++)
		intercept(trial->intercepts[i]);
	vmcb->control.asid = 1;
	vmcb->control.tlb_ctl = TLB_CONTROL_FLUSH_ALL_ASID;

	save->cs = segment(GUEST_CS, 0xc9b);
	save->ds = segment(GUEST_DS, 0xc93);
	save->es = save->ds;
	save->ss = save->ds;
	save->gdtr.base = save->ds.base + GDT_AT;
	save->gdtr.limit = GUEST_DS + 7;
	save->idtr.base = save->ds.base + IDT_AT;
	save->idtr.limit = 8 * 0x100 - 1;
	save->efer = EFER_SVME;
	save->cr0 = X86_CR0_PE | X86_CR0_ET;
	save->dr6 = DR6_RESERVED;
	save->dr7 = DR7_FIXED_1;
	save->rflags = X86_EFLAGS_FIXED;
	if (trial->program == g_into_set)
		save->rflags |= X86_EFLAGS_OF;
	save->rip = trial->program - guest_start;
	save->rsp = PAGE_SIZE;
}

/* Until an exit that is the guest's own; none of its programs lasts */
static int run(void)
{
	unsigned long flags;
	u64 efer, save;
	int error;

	local_irq_save(flags);
	rdmsrl(MSR_EFER, efer);
	error = wrmsrl_safe(MSR_EFER, efer | EFER_SVME);
	if (error)
		goto out;
	rdmsrl(MSR_VM_HSAVE_PA, save);
	wrmsrl(MSR_VM_HSAVE_PA, virt_to_phys(host_save));
	do {
		/* VMRUN saves RAX; the guest writes no other register than these */
		asm volatile("clgi\n\t"
			     "vmrun %%rax\n\t"
			     "stgi"
			     : : "a" (virt_to_phys(vmcb)) : "rcx", "rdx", "cc", "memory");
	} while (vmcb->control.exit_code == SVM_EXIT_NMI);
	wrmsrl(MSR_VM_HSAVE_PA, save);
	wrmsrl(MSR_EFER, efer);
out:
	local_irq_restore(flags);
	return error;
}

static int try(int number, const struct trial *trial)
{
	u64 want = trial->at - guest_start;
	int error;
	bool ok;

	set_vmcb(trial);
	error = run();
	if (error) {
		pr_info("Bail out! SVM cannot be enabled (error %d): the firmware or an emulator forbids it\n",
			error);
		return error;
	}
	ok = vmcb->control.exit_code == trial->exit_code && vmcb->save.rip == want;
	if (!ok)
		pr_info("# exit %#x at %#llx, should be %#x at %#llx\n", vmcb->control.exit_code,
			vmcb->save.rip, trial->exit_code, want);
	pr_info("%s %d - %s\n", ok ? "ok" : "not ok", number, trial->name);
	return 0;
}

static int __init intercepts_init(void)
{
	int error = -ENOMEM;

	if (!boot_cpu_has(X86_FEATURE_SVM)) {
		pr_info("Bail out! this CPU has no SVM\n");
		return -ENODEV;
	}
	vmcb = (void *)get_zeroed_page(GFP_KERNEL);
	host_save = (void *)get_zeroed_page(GFP_KERNEL);
	memory = (void *)get_zeroed_page(GFP_KERNEL | GFP_DMA32);
	if (!vmcb || !host_save || !memory)
		goto out;
	set_memory();
	for (int i = 0; i < ARRAY_SIZE(trials); i++) {
		error = try(i + 1, &trials[i]);
		if (error)
			goto out;
	}
	pr_info("1..%zu\n", ARRAY_SIZE(trials));
	error = -EAGAIN;
out:
	free_page((unsigned long)memory);
	free_page((unsigned long)host_save);
	free_page((unsigned long)vmcb);
	return error;
}
module_init(intercepts_init);

MODULE_DESCRIPTION("Test of the intercepts of RDTSCP, INT3 and INTO");
MODULE_LICENSE("GPL");
