/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What guest and host agree on.  Guest code lives in the section guest_text, which
 * is copied whole to GUEST_TEXT in guest memory: it may refer to other things of
 * that section, and to nothing else.
 */
#ifndef SELFTESTS_GUEST_H
#define SELFTESTS_GUEST_H

/* Guest-physical layout; guest-virtual is the same: 4 GiB of 2 MiB pages, identity mapped */
#define GUEST_PML4	0x1000
#define GUEST_PDPT	0x2000
#define GUEST_PD	0x3000		/* four pages */
#define GUEST_GDT	0x8000
#define GUEST_IDT	0x9000
#define GUEST_STACK	0x1f000		/* top of it */
#define GUEST_TEXT	0x100000
#define GUEST_DATA	0x180000	/* a page that programs may write */
#define GUEST_HEAP	0x200000	/* up to the end of memory */

#define GUEST_CS	0x08
#define GUEST_DS	0x10

#define GUEST_APIC	0xfee00000
#define GUEST_IOAPIC	0xfec00000

/* One-byte I/O ports, so that "out %al, $PORT" will do */
#define PORT_NOP	0xe0	/* an exit to user space and nothing else */
#define PORT_SYNC	0xe1	/* back to the test, which looks at the registers */
#define PORT_DONE	0xe2	/* the program is over */
#define PORT_ABORT	0xe3	/* the guest found something wrong: RAX tells what */
#define PORT_EXCEPTION	0xe4	/* an exception without a handler: RAX is the vector */

#ifndef __ASSEMBLER__

#include "tap.h"

extern char __start_guest_text[], __stop_guest_text[];

/* Where a thing of guest_text is in the guest */
static inline u64 guest_addr(const void *symbol)
{
	return GUEST_TEXT + ((const char *)symbol - __start_guest_text);
}

/* A C function of the guest; it must not return */
#define __guest	__attribute__((section("guest_text"), used, noinline))

static inline __attribute__((always_inline)) void guest_out(u16 port, u64 rax)
{
	asm volatile("outb %%al, %0" : : "N"(port), "a"(rax) : "memory");
}

static inline __attribute__((always_inline)) u32 guest_cpuid(u32 leaf)
{
	u32 eax = leaf, ebx, ecx = 0, edx;

	asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
	return eax;
}

/* Stubs for vectors 0-31, 16 bytes each */
extern char guest_exceptions[];

#endif /* !__ASSEMBLER__ */
#endif /* SELFTESTS_GUEST_H */
