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
#include "guest.h"
#include "programs.h"

	.section guest_text, "ax"

/* body; exit if wanted; count down; end */
	.macro PROGRAM name
	.balign 64
	.globl \name
\name:
	.endm

	.macro LOOP_END start
	test %r14, %r14
	jz 90f
	dec %r14
	call *%rbp
90:	dec %r15
	jnz \start
	out %al, $PORT_DONE
	.endm

PROGRAM program_loop
1:	LOOP_END 1b

PROGRAM program_call
1:	call 2f
	call 2f			/* one RIP, twice at one conditional branch */
	LOOP_END 1b
2:	ret

PROGRAM program_indirect
1:	lea 3f(%rip), %rax
	jmp *%rax
2:	ud2
3:	lea 5f(%rip), %rax
	call *%rax
	jmp 6f
4:	ud2
5:	ret
6:	LOOP_END 1b

PROGRAM program_jcc
1:	cmp %r15, %r15
	je 2f			/* taken */
	ud2
2:	jne 3f			/* not taken */
	bt $0, %r15
	jnc 3f			/* taken every second time */
	nop
3:	LOOP_END 1b

PROGRAM program_rep
1:	lea GUEST_DATA, %rdi
	mov %r10, %rcx
	rep stosb
	LOOP_END 1b

PROGRAM program_lock
1:	lock incl GUEST_DATA
	xchg %eax, GUEST_DATA + 4
	lock cmpxchg %ecx, GUEST_DATA + 8
	LOOP_END 1b

/* Exits: called with nothing to preserve but r8-r10, r14, r15, rbp */
PROGRAM exit_pio
	out %al, $PORT_NOP
	ret

PROGRAM exit_cpuid
	xor %eax, %eax
	cpuid
	ret

PROGRAM exit_rdtsc
	rdtsc
	ret

PROGRAM exit_rdmsr
	mov $0x10, %ecx			/* the TSC */
	rdmsr
	ret

PROGRAM exit_in
	in $PORT_NOP, %al
	ret

PROGRAM exit_page_fault
	mov %rax, (%r9)
	add $4096, %r9
	ret

/* To user space when there is no irqchip */
PROGRAM exit_hlt
	hlt
	ret

/* Interrupt to itself, pending while HLT executes in the shadow of STI */
PROGRAM exit_hlt_irq
	movl $0x44000 + IRQ_VECTOR, 0x300(%r8)
	sti
	hlt
	cli
	ret

PROGRAM irq_handler
	movl $0, 0xb0(%r8)
	iretq

PROGRAM exit_mixed
	out %al, $PORT_NOP
	xor %eax, %eax
	cpuid
	mov %rax, (%r9)
	add $4096, %r9
	ret

/* dec, jnz: two instructions and one conditional branch an iteration, r15 of them */
PROGRAM spin
	dec %r15
	jnz spin
	out %al, $PORT_DONE

/* r15 iterations; every r14-th also goes to the test, rbx counts down to it */
PROGRAM spin_exits
1:	dec %rbx
	jnz 2f
	mov %r14, %rbx
	out %al, $PORT_SYNC
2:	dec %r15
	jnz 1b
	out %al, $PORT_DONE

/* For ever, with and without exits; r15 counts up */
PROGRAM spin_forever
1:	inc %r15
	test %r14, %r14
	jns 1b
	ud2

PROGRAM exit_forever
1:	inc %r15
	out %al, $PORT_NOP
	jmp 1b

/* Wait for interrupts, and tell of each */
PROGRAM halt_forever
1:	sti
	hlt
	cli
	inc %r15
	out %al, $PORT_SYNC
	jmp 1b

/* For scripts/bench: r15 exits, the routine's, and nothing else */
PROGRAM exits_only
1:	call *%rbp
	dec %r15
	jnz 1b
	out %al, $PORT_DONE

	.section .note.GNU-stack, "", @progbits
