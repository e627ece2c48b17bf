// SPDX-License-Identifier: GPL-2.0
#include "programs.h"

#define REP_BYTES	3000

static void body_loop(u64 n, struct counts *counts)
{
	(void)n;
	(void)counts;
}

/* call ret call ret */
static void body_call(u64 n, struct counts *counts)
{
	counts->insns += 4 * n;
	counts->taken += 4 * n;
}

/* lea jmp lea call ret jmp */
static void body_indirect(u64 n, struct counts *counts)
{
	counts->insns += 6 * n;
	counts->taken += 4 * n;
}

/* cmp je jne bt jnc, and in odd iterations nop; the count-down passes n..1 */
static void body_jcc(u64 n, struct counts *counts)
{
	u64 odd = (n + 1) / 2;

	counts->insns += 5 * n + odd;
	counts->cond += 3 * n;
	counts->taken += n + (n - odd);
}

/* lea mov rep: a repeated instruction retires once */
static void body_rep(u64 n, struct counts *counts)
{
	counts->insns += 3 * n;
}

static void body_lock(u64 n, struct counts *counts)
{
	counts->insns += 3 * n;
}

const struct program programs[] = {
	{ "loop", program_loop, body_loop },
	{ "call", program_call, body_call },
	{ "indirect", program_indirect, body_indirect },
	{ "jcc", program_jcc, body_jcc },
	{ "rep", program_rep, body_rep },
	{ "lock", program_lock, body_lock },
};

const unsigned int nr_programs = ARRAY_SIZE(programs);

const struct exit_kind exit_kinds[] = {
	{ .name = "pio", .routine = exit_pio, .to_user = true, .insns = 1 },
	{ .name = "cpuid", .routine = exit_cpuid, .insns = 2 },
	{ .name = "page-fault", .routine = exit_page_fault, .touches = true, .insns = 3 },
	{ .name = "mixed", .routine = exit_mixed, .touches = true, .to_user = true, .insns = 4 },
	/* sti, iretq, cli, ret; a delivered interrupt counts as a taken branch, as IRETQ does */
	{ .name = "hlt-irq", .routine = exit_hlt_irq, .vm_flags = VM_IRQCHIP, .insns = 4,
	  .taken = 2 },
	{ .name = "hlt", .routine = exit_hlt, .to_user = true, .insns = 1 },
};

const unsigned int nr_exit_kinds = ARRAY_SIZE(exit_kinds);

void program_counts(const struct program *program, const struct exit_kind *kind, u64 n,
		    u64 exits, struct counts *counts)
{
	/* test jz dec jnz; JZ is taken when there is no exit, JNZ but for the last time */
	counts->insns = 4 * n;
	counts->cond = 2 * n;
	counts->taken = (n - exits) + (n - 1);
	/* dec call routine ret */
	counts->insns += exits * (2 + kind->insns);
	counts->taken += exits * (2 + kind->taken);
	program->body(n, counts);
}

void program_start(struct vm *vm, const struct program *program,
		   const struct exit_kind *kind, u64 n, u64 exits)
{
	struct kvm_regs regs = {
		.r8 = GUEST_APIC,
		.r9 = GUEST_HEAP,
		.r10 = REP_BYTES,
		.r14 = exits,
		.r15 = n,
		.rbp = guest_addr(kind->routine),
	};

	if (kind->touches && exits)
		vm_discard(vm, GUEST_HEAP, exits * 4096);
	vm_start(vm, program->entry, &regs);
}

void program_vm(struct vm *vm, unsigned int flags)
{
	vm_create(vm, flags);
	if (flags & VM_IRQCHIP) {
		vm_enable_apic(vm);
		vm_set_gate(vm, IRQ_VECTOR, irq_handler);
	}
}
