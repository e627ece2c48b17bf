/* SPDX-License-Identifier: GPL-2.0 */
/* Guest programs (routines.S) and what they retire */
#ifndef SELFTESTS_PROGRAMS_H
#define SELFTESTS_PROGRAMS_H

#define IRQ_VECTOR	0x40

#ifndef __ASSEMBLER__

#include "vm.h"

/* Retired in the guest by the program itself: VMRUN not included */
struct counts {
	u64 insns;
	u64 cond;
	u64 taken;
};

struct program {
	const char *name;
	const char *entry;
	/* What @n iterations of the body add, the loop around it apart */
	void (*body)(u64 n, struct counts *counts);
};

struct exit_kind {
	const char *name;
	const char *routine;
	unsigned int vm_flags;	/* needs a VM made with these */
	bool touches;		/* one page each */
	bool to_user;		/* KVM_RUN returns (at least) once each */
	u64 insns;		/* that retire in the routine, its RET included */
	u64 taken;		/* branches, besides its CALL and RET */
};

extern const struct program programs[];
extern const unsigned int nr_programs;
extern const struct exit_kind exit_kinds[];
extern const unsigned int nr_exit_kinds;

/* What @program retires in @n iterations of which @exits make exits */
void program_counts(const struct program *program, const struct exit_kind *kind, u64 n,
		    u64 exits, struct counts *counts);
void program_start(struct vm *vm, const struct program *program,
		   const struct exit_kind *kind, u64 n, u64 exits);
/* A VM for @kind: its interrupt handler is in place */
void program_vm(struct vm *vm, unsigned int flags);

/* Code in routines.S */
extern const char program_loop[], program_call[], program_indirect[], program_jcc[];
extern const char program_rep[], program_lock[];
extern const char exit_page_fault[], exit_mixed[], irq_handler[];
extern const char spin[], spin_exits[], spin_forever[], exit_forever[], halt_forever[];
extern const char exits_only[], exit_pio[], exit_cpuid[], exit_hlt[], exit_hlt_irq[];
extern const char exit_rdtsc[], exit_rdmsr[], exit_in[];

#endif /* !__ASSEMBLER__ */
#endif /* SELFTESTS_PROGRAMS_H */
