/* SPDX-License-Identifier: GPL-2.0 */
/* Macros of the guest programs, for the assembler */

/*
 * An entry of the table of struct guest (vm.h): what the program at @entry retires a
 * round and, behind "plus", once: instructions (event C0), control transfers (C2),
 * taken ones (C4), conditional ones (D1).  The last round's JNZ is not taken, hence
 * the -1.
 */
.macro describe bits, name, entry, insns, branches, taken, cond, plus_insns=0, plus_taken=-1
	.pushsection guests, "a"
	.balign 8
	.quad	\bits, 9f, \entry
	.quad	\insns, \branches, \taken, \cond
	.quad	\plus_insns, \plus_taken
	.popsection
	.pushsection .rodata.str, "aMS", @progbits, 1
9:	.string	"\name"
	.popsection
	.balign	64
	.globl	\entry
\entry:
.endm
