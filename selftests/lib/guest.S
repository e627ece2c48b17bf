/* SPDX-License-Identifier: GPL-2.0 */
/* Exceptions that no test expects: tell the host which, with RSP at the frame. */
#include "guest.h"

	.section guest_text, "ax"
	.balign 16
	.globl guest_exceptions
guest_exceptions:
	.set vector, 0
	.rept 32
	.balign 16
	mov $vector, %eax
	out %al, $PORT_EXCEPTION
	hlt
	.set vector, vector + 1
	.endr

	.section .note.GNU-stack, "", @progbits
