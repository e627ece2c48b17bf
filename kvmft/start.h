/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The machine that a log begins with, and how two of them differ.
 *
 * Pure: plain values.
 */
#ifndef _KVMFT_START_H
#define _KVMFT_START_H

#include <linux/types.h>

#include "regs.h"

#define KVMFT_SLOTS_MAX	32

/**
 * struct kvmft_slot - a memory slot
 * @addr: guest physical address
 * @size: bytes
 * @flags: of KVM_SET_USER_MEMORY_REGION
 */
struct kvmft_slot {
	__le64 addr;
	__le64 size;
	__le64 flags;
};

/**
 * struct kvmft_start - data of a KVMFT_ENTRY_START
 * @cpu: x86 family, model and stepping of the host: CPUID 1 EAX
 * @vendor: the host's vendor, as the kernel numbers them
 * @tsc_khz: rate of the guest's time-stamp counter
 * @reserved: zero
 * @cpuid: hash of the guest's CPUID leaves
 * @nr_slots: number of @slots in use
 * @regs: registers
 * @slots: memory slots, in the order of addresses
 */
struct kvmft_start {
	__le32 cpu;
	__le32 vendor;
	__le32 tsc_khz;
	__le32 reserved;
	__le64 cpuid;
	__le64 nr_slots;
	struct kvmft_regs regs;
	struct kvmft_slot slots[KVMFT_SLOTS_MAX];
};

/*
 * Write into @text, of @size bytes, what differs between the machine of the log and the one
 * here.  False if nothing does.
 */
bool kvmft_start_differ(const struct kvmft_start *log, const struct kvmft_start *here,
			char *text, size_t size);

#endif /* _KVMFT_START_H */
