/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The registers of a vCPU that make up its state, for digests and comparisons.
 *
 * Pure: plain values.
 */
#ifndef _KVMFT_REGS_H
#define _KVMFT_REGS_H

#include <linux/types.h>

/**
 * struct kvmft_segment - a segment register, or a descriptor table register
 * @base: base
 * @limit: limit
 * @selector: selector
 * @attributes: as the vendor keeps them, in the form that KVM shows
 */
struct kvmft_segment {
	__le64 base;
	__le32 limit;
	__le16 selector;
	__le16 attributes;
};

/**
 * struct kvmft_regs - registers, as a log keeps them
 * @gpr: general registers in KVM's order, RSP among them
 * @rip: RIP
 * @flags: RFLAGS without RF, which says nothing about the guest between instructions
 * @cr: CR0, CR2, CR3, CR4; zero: CR8 is a register of the LAPIC's, in @apic
 * @dr: DR0 to DR3, DR6, DR7
 * @efer: EFER
 * @segment: ES, CS, SS, DS, FS, GS, LDTR, TR, GDTR, IDTR
 * @msr: STAR, LSTAR, CSTAR, SFMASK, KernelGSBase, SYSENTER_CS, SYSENTER_ESP,
 *	SYSENTER_EIP, PAT, APIC_BASE, TSC_AUX, XCR0
 * @apic: hash of the LAPIC's registers, but for the timer's current count
 * @fpu: hash of x87, SSE and AVX state
 * @activity: KVM's mp_state
 * @events: exceptions, interrupts and NMIs on their way into the guest
 */
struct kvmft_regs {
	__le64 gpr[16];
	__le64 rip;
	__le64 flags;
	__le64 cr[5];
	__le64 dr[6];
	__le64 efer;
	struct kvmft_segment segment[10];
	__le64 msr[12];
	__le64 apic;
	__le64 fpu;
	__le64 activity;
	__le64 events;
};

u64 kvmft_regs_hash(const struct kvmft_regs *regs);

/*
 * The name of the first register that differs, with *@a and *@b set to its values;
 * NULL if none does.
 */
const char *kvmft_regs_differ(const struct kvmft_regs *regs_a, const struct kvmft_regs *regs_b,
			      u64 *a, u64 *b);

#endif /* _KVMFT_REGS_H */
