/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One instruction each, in 32-bit protected mode without paging, with the segments'
 * base at guest_start.  Where it is not intercepted the guest goes on to a VMMCALL,
 * behind it or in the handler of its interrupt.
 */
#include "guest.h"

.macro place name
	.globl	\name
\name:
.endm

	.section .rodata
	.code32
	.balign	16
place guest_start

place g_rdtsc
	rdtsc
place after_rdtsc
	vmmcall

place g_rdtscp
	rdtscp
place after_rdtscp
	vmmcall

place g_int3
	int3
	hlt

/* In two bytes, which makes it an INT n */
place g_int_3
	.byte	0xcd, 3
	hlt

place g_int_80
	int	$0x80
	hlt

/* The overflow flag is set, or is not */
place g_into_set
	into
	hlt

place g_into_clear
	into
place after_into
	vmmcall

place handle_bp
	vmmcall
place handle_of
	vmmcall
place handle_int
	vmmcall
place guest_end
	.code64
	.section .note.GNU-stack, "", @progbits
