/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Micro guests: each has one kind of non-deterministic event, or one reason why it is hard to
 * stop at.  What they come to (registers, memory) depends on where every event hits them.
 */
#ifndef SELFTESTS_MICRO_H
#define SELFTESTS_MICRO_H

/* Ports that the test answers */
#define MICRO_PORT_VALUE	0xe5	/* another value each time */
#define MICRO_PORT_WRONG	0x99	/* nobody answers there */
#define MICRO_MSR_ASKED		0x4b564d31	/* of which only the VMM knows */
#define MICRO_PORT_STRING	0xe6	/* the same, for string input */
#define MICRO_PORT_SLEEP	0x604	/* ACPI's PM1 control register on QEMU's pc and q35 */
#define MICRO_PORT_OUTPUT	0x3f8	/* a byte more each time: COM1 */
#define MICRO_PORT_WRITE	0xe8	/* the same, but of no effect outside */
#define MICRO_PORT_KICK		0xea	/* an ioeventfd: there are packets (nic.h) */
#define MICRO_NIC_INDEX		0x401002 /* ... as many as are told here */
#define MICRO_NIC_USED		0x402002 /* ... and so many were used */
#define MICRO_PORT_RESET	0xe7	/* the test starts the machine again */

/* Memory-mapped I/O that the test answers: behind the end of memory */
#define MICRO_MMIO		0x2000000

#define MICRO_VECTOR		0x40
#define MICRO_TIMER_VECTOR	0x41
#define MICRO_PIT_READS		1000	/* by one instruction */
#define MICRO_GSI		16	/* of the IOAPIC alone */

/* At GUEST_DATA */
#define MICRO_HASH		0	/* of every interrupt's place */
#define MICRO_COUNT		8	/* of interrupts */
#define MICRO_LIMIT		16	/* an endless loop is left after so many; 0: no limit */
#define MICRO_EXIT		24	/* ... to this address; 0: it is not endless */
#define MICRO_RUNS		32	/* how often the machine was started */
#define MICRO_NO_IDT		48	/* zeros */
#define MICRO_CLOCK		64	/* the TSC as it was read last */

#ifndef __ASSEMBLER__

#include "vm.h"

struct micro {
	const char *name;
	const char *entry;
	u64 iterations;
	bool storm;		/* interrupts from another thread */
	bool nmi;		/* ... are NMIs */
	bool input;		/* ... bring bytes along */
	bool poke;		/* the VMM sets registers, to what they are, now and then */
	bool lint0;		/* the PIT can send NMIs */
	bool level;		/* a level-triggered line stays raised */
	unsigned int resets;	/* which the log has to have */
	bool halts;		/* sleeps until one comes */
	u64 endless;		/* interrupts after which it is left */
	const char *out;	/* where to */
};

/* Code in micro_guests.S */
extern const char micro_irq[], micro_timer_irq[], micro_nmi_irq[], micro_endless_out[];
extern const char micro_tsc[], micro_pio[], micro_string[], micro_mmio[], micro_chips[];
extern const char micro_branches[], micro_calls[], micro_indirect[], micro_endless[];
extern const char micro_rep[], micro_shadow[], micro_flags[], micro_debug[], micro_halt[];
extern const char micro_timer[], micro_touch[], micro_lint0[], micro_input[], micro_reset[];
extern const char micro_pit[], micro_rearm[], micro_level[], micro_level_out[], micro_sleep[];
extern const char micro_off[];
extern const char micro_alarm[], micro_output[], micro_write[], micro_nic[], micro_nic_blind[];
extern const char micro_nic_flood[], micro_nic_off[];

extern const struct micro micros[];
extern const unsigned int nr_micros;

/* The one of this name */
const struct micro *micro_of(const char *name);

/* About how many interrupts it is to have, by KVMFT_INTERRUPTS; 0: any number */
u64 micro_limit(const struct micro *micro);

/* A VM ready to run @micro */
void micro_vm(struct vm *vm, const struct micro *micro);
/* From its beginning */
void micro_start(struct vm *vm, const struct micro *micro);
/* The same, whatever state the vCPU is in */
void micro_restart(struct vm *vm, const struct micro *micro);

#endif /* !__ASSEMBLER__ */
#endif /* SELFTESTS_MICRO_H */
