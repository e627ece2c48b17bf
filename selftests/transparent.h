/* SPDX-License-Identifier: GPL-2.0 */
/* Guests that look at their own state: what they share with the host */
#ifndef SELFTESTS_TRANSPARENT_H
#define SELFTESTS_TRANSPARENT_H

/* Words at GUEST_DATA, by their offset; those of micro.h are not used */
#define RUNS		0	/* the guest has set up its tables */
#define INTERRUPTS	8	/* number of them */
#define RING_0		16	/* ... by ring */
#define RING_3		24
#define BAD		48	/* ... with TF, RF or IF where it should not be */
#define BAD_FLAGS	56	/* the last of those */
#define BAD_RIP		64
#define EXCEPTIONS	72	/* number of them */
#define WRONG		80	/* ... with TF or RF where it should not be */
#define WRONG_FLAGS	88	/* the last of those */
#define HASH_RIP	96	/* of what handlers of debug exceptions saw */
#define HASH_FLAGS	104
#define HASH_DR6	112
#define HASH_DR7	120
#define BACK		128	/* how often the TSC went back */

/* The guest's own */
#define IGNORE		256	/* bits of RFLAGS that interrupts may find */
#define STEP_BEGIN	264	/* TF is set for the addresses from here */
#define STEP_END	272	/* ... up to this */
#define EITHER_END	280	/* ... and may be from there up to this */
#define RESUMED		288	/* address of an instruction that is executed with RF */
#define USER_RSP	296
#define LAST_MAIN	304	/* TSC, as the program read it */
#define LAST_IRQ	312	/* ... as an interrupt did */
#define LAST_SEEN	320	/* ... before the program read it */
#define WATCHED		328	/* by data breakpoints */
#define WATCHED_TOO	336

#ifndef __ASSEMBLER__

extern const char transparent_flags[], transparent_syscall[], transparent_debug[];
extern const char transparent_break[], transparent_watch[], transparent_step[];
extern const char transparent_tsc[];

/* Of waits.c */
extern const char waits_strings[], waits_split[], waits_halted[];

#endif /* !__ASSEMBLER__ */
#endif /* SELFTESTS_TRANSPARENT_H */
