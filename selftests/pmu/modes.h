/* SPDX-License-Identifier: GPL-2.0 */
/* The segment in which guests in 16-bit and 32-bit mode have code, data and stack */
#ifndef PMU_MODES_H
#define PMU_MODES_H

#define MODES_TEXT	0x20000
#define MODES_CS16	0x2000
#define MODES_CS32	0x38
#define MODES_SCRATCH	0x8000		/* in the segment */
#define MODES_STACK	0xf000

#endif
