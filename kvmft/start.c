// SPDX-License-Identifier: GPL-2.0
#include <linux/kernel.h>

#include "start.h"
#include "tsc.h"

static bool slot_differs(const struct kvmft_start *log, const struct kvmft_start *here,
			 char *text, size_t size)
{
	int i;

	for (i = 0; i < KVMFT_SLOTS_MAX; i++) {
		const struct kvmft_slot *a = &log->slots[i], *b = &here->slots[i];

		if (a->addr == b->addr && a->size == b->size && a->flags == b->flags)
			continue;
		snprintf(text, size,
			 "memory slot %d: %#llx bytes at %#llx (flags %#llx) in the log, %#llx bytes at %#llx (flags %#llx) here",
			 i, le64_to_cpu(a->size), le64_to_cpu(a->addr), le64_to_cpu(a->flags),
			 le64_to_cpu(b->size), le64_to_cpu(b->addr), le64_to_cpu(b->flags));
		return true;
	}
	return false;
}

bool kvmft_start_differ(const struct kvmft_start *log, const struct kvmft_start *here,
			char *text, size_t size)
{
	const char *reg;
	u64 a, b;

	if (log->vendor != here->vendor || log->cpu != here->cpu) {
		snprintf(text, size, "host CPU %#x in the log, %#x here (CPUID 1 EAX)",
			 le32_to_cpu(log->cpu), le32_to_cpu(here->cpu));
		return true;
	}
	if (kvmft_tsc_differs(le32_to_cpu(log->tsc_khz), le32_to_cpu(here->tsc_khz))) {
		snprintf(text, size, "TSC of %u kHz in the log, %u kHz here",
			 le32_to_cpu(log->tsc_khz), le32_to_cpu(here->tsc_khz));
		return true;
	}
	if (log->cpuid != here->cpuid) {
		snprintf(text, size, "the guest's CPUID differs: another -cpu, or another host");
		return true;
	}
	if (slot_differs(log, here, text, size))
		return true;
	reg = kvmft_regs_differ(&log->regs, &here->regs, &a, &b);
	if (reg) {
		snprintf(text, size, "register %s: %#llx in the log, %#llx here", reg, a, b);
		return true;
	}
	return false;
}
