/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest programs whose counts are known (macros.S).  64-bit, copied to GUEST_TEXT;
 * R15D is the number of rounds, and the end is an OUT to port 0xf4, which like every
 * intercepted instruction does not retire.
 */
#include "macros.S"

#define GUEST_SCRATCH	0x180000
#define GUEST_HEAP	0x200000	/* pages that nobody has touched */
#define GUEST_STACK	0x90000
#define GUEST_UNMAPPED	0x40000000	/* not in the guest's page tables */
#define GUEST_MMIO	0x10000000	/* no memory there */
#define GUEST_CS	0x08

.macro guest name, counts:vararg
	describe 64, \name, g_\name, \counts
.endm

.macro again label
	dec	%r15d
	jnz	\label
	out	%al, $0xf4
.endm

	.text
	.balign	4096
	.globl	guest_start, guest_end
guest_start:

guest loop, 2, 1, 1, 1
1:	again	1b

/* R14D rounds from one exit to the next; counted by the test */
	.globl	g_exits
	.balign	64
g_exits:
	mov	%r14d, %r13d
1:	dec	%r13d
	jnz	2f
	out	%al, $0x10
	mov	%r14d, %r13d
2:	again	1b

/* Without an end, and without a conditional jump; PAUSE lets another CPU of the emulator's run */
	.globl	g_pause
	.balign	64
g_pause:
	pause
	jmp	g_pause

/* Every kind of conditional jump, taken and not, also to the next instruction */
guest cond, 19, 13, 7, 13
1:	xor	%eax, %eax		/* ZF=1 from here on */
	jz	2f			/* taken */
2:	jnz	3f
3:	mov	$3, %ecx
4:	loop	4b			/* three times, taken twice */
	mov	$1, %ecx
	loop	5f
5:	jrcxz	6f			/* taken */
	ud2
6:	jecxz	7f			/* taken */
7:	mov	$2, %ecx
	loope	8f			/* taken */
	ud2
8:	loopne	9f			/* RCX was 1 */
9:	mov	$2, %ecx
	loopne	10f			/* ZF is set */
10:	jrcxz	11f			/* RCX is 1 */
11:	again	1b			/* taken */

/* Direct and indirect calls and jumps, RET with and without an operand */
guest near, 21, 14, 14, 1
1:	call	2f
	call	2f
	lea	2f(%rip), %rax
	call	*%rax
	mov	%rax, GUEST_SCRATCH
	call	*GUEST_SCRATCH
	jmp	3f
3:	lea	4f(%rip), %rax
	jmp	*%rax
4:	lea	5f(%rip), %rax
	mov	%rax, GUEST_SCRATCH + 8
	jmp	*GUEST_SCRATCH + 8
5:	push	$7
	call	6f
	again	1b
2:	ret
6:	ret	$8

/* LRET, far JMP and CALL, INT n, INT3, and INT 3 in two bytes; the handlers IRET */
guest far, 21, 11, 11, 1
1:	push	$GUEST_CS
	lea	2f(%rip), %rax
	push	%rax
	lretq
2:	lea	3f(%rip), %rax
	mov	%eax, GUEST_SCRATCH + 0x10
	movw	$GUEST_CS, GUEST_SCRATCH + 0x14
	ljmp	*GUEST_SCRATCH + 0x10
3:	lea	4f(%rip), %rax
	mov	%eax, GUEST_SCRATCH + 0x18
	movw	$GUEST_CS, GUEST_SCRATCH + 0x1c
	lcall	*GUEST_SCRATCH + 0x18
	int	$0x80
	int3
	.byte	0xcd, 3
	again	1b
4:	lretl

/* SYSRET to user mode (two instructions there) and SYSCALL back */
guest syscall, 7, 3, 3, 1
1:	lea	2f(%rip), %rcx
	mov	$2, %r11d
	sysretq
2:	nop
	syscall
	.globl	h_syscall
h_syscall:
	again	1b

/* An exception: UD2 does not retire; the handler has 2 instructions */
guest fault, 4, 3, 3, 1
1:	ud2
	again	1b

/* A CALL whose push faults, and executes when the handler (3) has mended RSP */
guest fault_call, 8, 5, 5, 1
1:	mov	$GUEST_UNMAPPED + 0x1000, %esp
	call	2f
	again	1b
2:	ret

/* The same with INT n, whose frame cannot be pushed */
guest fault_int, 8, 5, 5, 1
1:	mov	$GUEST_UNMAPPED + 0x1000, %esp
	int	$0x80
	again	1b

/* Nested page faults (exits) in a store, a CALL and the delivery of an INT n */
guest npf_store, 4, 1, 1, 1, plus_insns=1
	mov	$GUEST_HEAP, %edi
1:	mov	%rax, (%rdi)
	add	$4096, %rdi
	again	1b

guest npf_call, 6, 3, 3, 1, plus_insns=1
	mov	$GUEST_HEAP, %ebx
1:	add	$4096, %ebx
	lea	-2048(%rbx), %rsp
	call	2f
	again	1b
2:	ret

guest npf_int, 6, 3, 3, 1, plus_insns=1
	mov	$GUEST_HEAP, %ebx
1:	add	$4096, %ebx
	lea	-2048(%rbx), %rsp
	int	$0x80
	again	1b

/* An interrupt that the test injects at each exit to port 0x11; IRET is its handler */
guest inject, 3, 3, 3, 1
1:	out	%al, $0x11
	again	1b

/* The same with a nested page fault in the delivery */
guest npf_inject, 5, 3, 3, 1, plus_insns=1
	mov	$GUEST_HEAP, %ebx
1:	add	$4096, %ebx
	lea	-2048(%rbx), %rsp
	out	%al, $0x11
	again	1b

/* A repeated instruction is one: over a page, with a count of 0, ended by its condition */
guest rep, 10, 1, 1, 1, plus_insns=1
	mov	$0xaa, %al
1:	mov	$GUEST_HEAP + 0x800, %edi
	mov	$3000, %ecx
	rep stosb
	rep stosb
	mov	$GUEST_SCRATCH + 0x100, %esi
	mov	$GUEST_HEAP + 0x800, %edi
	mov	$100, %ecx
	repe cmpsb
	again	1b

/* An instruction that changes the next one */
guest smc, 4, 1, 1, 1
1:	mov	%r15d, 2f+1(%rip)
2:	mov	$0, %eax
	again	1b

/* A CALL that pushes into its own translation block: over the operand of MOVABS */
guest smc_call, 6, 3, 3, 1
1:	lea	2f(%rip), %rsp
	movabs	$0, %rax
2:	call	3f
	again	1b
3:	ret

/* Jumps between pages, and one that lies across the end of a page */
guest pages, 8, 6, 5, 3
1:	call	p_first
	again	1b

/* Single-stepped by the guest itself: #DB and IRET after 5 of the instructions */
guest tf, 15, 11, 11, 1
1:	pushfq
	orl	$0x100, (%rsp)
	popfq
	nop
	nop
	pushfq
	andl	$~0x100, (%rsp)
	popfq
	again	1b

/* Intercepted: emulated by KVM or by user space, retired by nobody */
guest cpuid, 3, 1, 1, 1
1:	xor	%eax, %eax
	cpuid
	again	1b

guest hlt, 2, 1, 1, 1
1:	hlt
	again	1b

guest mmio, 3, 1, 1, 1, plus_insns=1
	mov	$GUEST_MMIO, %edi
1:	mov	%eax, (%rdi)
	nop
	again	1b

/* Exception and interrupt handlers */
	.globl	h_iret, h_skip_ud2, h_mend_rsp
	.balign	16
h_skip_ud2:
	addq	$2, (%rsp)
h_iret:	iretq
h_mend_rsp:				/* of a frame with an error code, on IST 1 */
	add	$8, %rsp
	movq	$GUEST_STACK, 24(%rsp)
	iretq

	.balign	4096
p_first:
	xor	%eax, %eax
	jz	p_second
	.balign	4096
p_second:
	jmp	2f
	.org	p_second + 4093
2:	jnz	p_first			/* six bytes */
	ret
guest_end:

	.section .note.GNU-stack, "", @progbits
