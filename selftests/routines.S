/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest programs whose branches and instructions are known; programs.c holds the
 * formulas.  An instruction that exits and is then skipped or emulated by the host
 * (OUT, CPUID, HLT, a store to the APIC) does not retire in the guest.
 *
 * Registers, all set by the host:
 *	r15	iterations, at least r14
 *	r14	how many of the first iterations also make an exit
 *	rbp	routine that makes it
 *	r9	next page to touch
 *	r8	GUEST_APIC
 *	r10	bytes for REP
 */
#include "guest_macros.S"
#include "programs.h"

	.section guest_text, "ax"

/* exit if wanted; count down; end */
	.macro LOOP_END start
	test %r14, %r14
	jz 90f
	dec %r14
	call *%rbp
90:	dec %r15
	jnz \start
	out %al, $PORT_DONE
	.endm

GUEST program_loop
1:	LOOP_END 1b

GUEST program_call
1:	call 2f
	call 2f			/* one RIP, twice at one conditional branch */
	LOOP_END 1b
2:	ret

GUEST program_indirect
1:	lea 3f(%rip), %rax
	jmp *%rax
2:	ud2
3:	lea 5f(%rip), %rax
	call *%rax
	jmp 6f
4:	ud2
5:	ret
6:	LOOP_END 1b

GUEST program_jcc
1:	cmp %r15, %r15
	je 2f			/* taken */
	ud2
2:	jne 3f			/* not taken */
	bt $0, %r15
	jnc 3f			/* taken every second time */
	nop
3:	LOOP_END 1b

GUEST program_rep
1:	lea GUEST_DATA, %rdi
	mov %r10, %rcx
	rep stosb
	LOOP_END 1b

GUEST program_lock
1:	lock incl GUEST_DATA
	xchg %eax, GUEST_DATA + 4
	lock cmpxchg %ecx, GUEST_DATA + 8
	LOOP_END 1b

/* Exits: called with nothing to preserve but r8-r10, r14, r15, rbp */
GUEST exit_pio
	out %al, $PORT_NOP
	ret

GUEST exit_cpuid
	xor %eax, %eax
	cpuid
	ret

GUEST exit_rdtsc
	rdtsc
	ret

GUEST exit_rdmsr
	mov $0x10, %ecx			/* the TSC */
	rdmsr
	ret

GUEST exit_in
	in $PORT_NOP, %al
	ret

GUEST exit_page_fault
	mov %rax, (%r9)
	add $4096, %r9
	ret

/* To user space when there is no irqchip */
GUEST exit_hlt
	hlt
	ret

/* Interrupt to itself, pending while HLT executes in the shadow of STI */
GUEST exit_hlt_irq
	movl $0x44000 + IRQ_VECTOR, 0x300(%r8)
	sti
	hlt
	cli
	ret

GUEST irq_handler
	movl $0, 0xb0(%r8)
	iretq

GUEST exit_mixed
	out %al, $PORT_NOP
	xor %eax, %eax
	cpuid
	mov %rax, (%r9)
	add $4096, %r9
	ret

/* dec, jnz: two instructions and one conditional branch an iteration, r15 of them */
GUEST spin
	dec %r15
	jnz spin
	out %al, $PORT_DONE

/* r15 iterations; every r14-th also goes to the test, rbx counts down to it */
GUEST spin_exits
1:	dec %rbx
	jnz 2f
	mov %r14, %rbx
	out %al, $PORT_SYNC
2:	dec %r15
	jnz 1b
	out %al, $PORT_DONE

/* For ever, with and without exits; r15 counts up */
GUEST spin_forever
1:	inc %r15
	test %r14, %r14
	jns 1b
	ud2

GUEST exit_forever
1:	inc %r15
	out %al, $PORT_NOP
	jmp 1b

/* Wait for interrupts, and tell of each */
GUEST halt_forever
1:	sti
	hlt
	cli
	inc %r15
	out %al, $PORT_SYNC
	jmp 1b

/* For scripts/bench: r15 exits, the routine's, and nothing else */
GUEST exits_only
1:	call *%rbp
	dec %r15
	jnz 1b
	out %al, $PORT_DONE

	.section .note.GNU-stack, "", @progbits
