/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The guest of the self-test, in 16 bit real mode.
 *
 *	%esi	rounds of a plain loop, >= 1
 *	%edi	exits by CPUID
 *	%ebp	rounds of a locked increment, >= 1
 *
 *			conditional branches	taken branches
 *	plain loop	%esi			%esi - 1
 *	exits		%edi + 1		%edi + 1
 *	call and return				2
 *	indirect jump				1
 *	locked loop	%ebp			%ebp - 1
 *	sum		esi + edi + ebp + 1	esi + edi + ebp + 2
 *
 * It ends with OUT to GUEST_DONE_PORT.
 */
#include <linux/linkage.h>

#include "selftest_guest.h"

	.section .rodata
	.code16
SYM_DATA_START(kvmft_selftest_guest)
1:	decl	%esi
	jnz	1b
2:	testl	%edi, %edi
	jz	3f
	xorl	%eax, %eax
	cpuid
	decl	%edi
	jmp	2b
3:	call	6f
	movw	$(GUEST_CODE + (4f - kvmft_selftest_guest)), %ax
	jmpw	*%ax
	hlt
4:	lock incl GUEST_WORD
	decl	%ebp
	jnz	4b
	outb	%al, $GUEST_DONE_PORT
5:	hlt
	jmp	5b
6:	ret
SYM_DATA_END_LABEL(kvmft_selftest_guest, SYM_L_GLOBAL, kvmft_selftest_guest_end)
	.code64
