/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guest programs whose counts are known (macros.S), in real mode and in 32-bit
 * protected mode without paging.  Both from one text; EBP is the number of rounds.
 */
#include "macros.S"
#include "modes.h"

#define OFFSET(label)	(label - modes_start)

.macro again label
	dec	%ebp
	jnz	\label
	out	%al, $0xf4
.endm

/*
 * @ax: the accumulator of an operand, @word: the size of one, @cs: the selector of
 * the segment, @other: prefix for the other address size
 */
.macro programs bits, ax, word, cs, other
	.code\bits

describe \bits, loop, g\bits\()_loop, 2, 1, 1, 1
1:	again	1b

/* Every kind of conditional jump, taken and not, also to the next instruction */
describe \bits, cond, g\bits\()_cond, 19, 13, 8, 13
1:	xor	%eax, %eax		/* ZF=1 from here on */
	jz	2f			/* taken */
2:	jnz	3f
3:	mov	$3, %ecx
4:	loop	4b			/* three times, taken twice */
	mov	$0x10000, %ecx
	jcxz	5f			/* taken */
	hlt
5:	jecxz	6f
6:	mov	$2, %ecx
	loope	7f			/* taken */
7:	loopne	8f			/* (E)CX was 1 */
8:	mov	$3, %ecx
	loopne	9f			/* ZF is set */
9:	\other	loop	10f		/* taken */
10:	jz	11f			/* taken, too far for a displacement of 8 bits */
	.skip	200, 0xf4
11:	again	1b			/* taken */

/* Direct and indirect calls and jumps, RET with and without an operand */
describe \bits, near, g\bits\()_near, 19, 12, 12, 1
1:	call	2f
	mov	$OFFSET(2f), %eax
	call	*\ax
	mov	%eax, MODES_SCRATCH
	call	*MODES_SCRATCH
	jmp	3f
3:	mov	$OFFSET(4f), %eax
	jmp	*\ax
4:	mov	$OFFSET(5f), %eax
	mov	%eax, MODES_SCRATCH + 8
	jmp	*MODES_SCRATCH + 8
5:	push	$7
	call	6f
	again	1b
2:	ret
6:	ret	$\word

/* Direct and indirect far JMP and CALL, LRET, INT n, INT3 in both forms, INTO */
describe \bits, far, g\bits\()_far, 29, 16, 16, 1
1:	ljmp	$\cs, $OFFSET(2f)
2:	lcall	$\cs, $OFFSET(5f)
	mov	$OFFSET(3f), %eax
	mov	%eax, MODES_SCRATCH + 0x10
	movw	$\cs, MODES_SCRATCH + 0x10 + \word
	ljmp	*MODES_SCRATCH + 0x10
3:	mov	$OFFSET(5f), %eax
	mov	%eax, MODES_SCRATCH + 0x18
	movw	$\cs, MODES_SCRATCH + 0x18 + \word
	lcall	*MODES_SCRATCH + 0x18
	int	$0x80
	int3
	.byte	0xcd, 3
	xor	%eax, %eax
	into				/* no overflow: no control transfer */
	mov	$0x7fffffff, %eax
	inc	%eax
	into
	push	$\cs
	push	$OFFSET(4f)
	lret
4:	again	1b
5:	lret

/* An exception: UD2 does not retire; the handler has 2 instructions */
describe \bits, fault, g\bits\()_fault, 4, 3, 3, 1
1:	ud2
	again	1b

/* An interrupt that the test injects at each exit to port 0x11; IRET is its handler */
describe \bits, inject, g\bits\()_inject, 3, 3, 3, 1
1:	out	%al, $0x11
	again	1b

/* A repeated instruction is one, also with a count of 0 */
describe \bits, rep, g\bits\()_rep, 6, 1, 1, 1
1:	mov	$MODES_SCRATCH + 0x100, %edi
	mov	$300, %ecx
	rep stosb
	rep stosb
	again	1b

	.globl	h\bits\()_iret, h\bits\()_skip_ud2
h\bits\()_skip_ud2:
	.if	\bits == 16
	addw	$2, (%esp)
	.else
	addl	$2, (%esp)
	.endif
h\bits\()_iret:
	iret
.endm

	.text
	.balign	4096
	.globl	modes_start, modes_end
modes_start:
	programs 16, %ax, 2, MODES_CS16, addr32
	programs 32, %eax, 4, MODES_CS32, addr16
modes_end:
	.section .note.GNU-stack, "", @progbits
