/* SPDX-License-Identifier: GPL-2.0 */
/* Included by files of guest code */
#include "guest.h"

#define DATA(offset)	(GUEST_DATA + offset)

/* Code of this name, which C can refer to */
	.macro GUEST name
	.balign 64
	.globl \name
\name:
	.endm

/* The program is over */
	.macro DONE
	cli
	out %al, $PORT_DONE
	hlt
	.endm
