// SPDX-License-Identifier: GPL-2.0
#include <linux/array_size.h>
#include <linux/build_bug.h>
#include <linux/stddef.h>
#include <linux/xxhash.h>
#include <asm/byteorder.h>

#include "regs.h"

/* Every 8 bytes of struct kvmft_regs, in its order. */
static const char *const names[] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
	"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
	"rip", "rflags",
	"cr0", "cr2", "cr3", "cr4", "cr8",
	"dr0", "dr1", "dr2", "dr3", "dr6", "dr7",
	"efer",
	"es.base", "es", "cs.base", "cs", "ss.base", "ss", "ds.base", "ds",
	"fs.base", "fs", "gs.base", "gs", "ldtr.base", "ldtr", "tr.base", "tr",
	"gdtr.base", "gdtr", "idtr.base", "idtr",
	"star", "lstar", "cstar", "sfmask", "kernel_gs_base", "sysenter_cs", "sysenter_esp",
	"sysenter_eip", "pat", "apic_base", "tsc_aux", "xcr0",
	"hash of LAPIC", "hash of FPU", "activity", "pending events",
};

static_assert(ARRAY_SIZE(names) == sizeof(struct kvmft_regs) / sizeof(u64));

u64 kvmft_regs_hash(const struct kvmft_regs *regs)
{
	return xxh64(regs, sizeof(*regs), 0);
}

const char *kvmft_regs_differ(const struct kvmft_regs *regs_a, const struct kvmft_regs *regs_b,
			      u64 *a, u64 *b)
{
	const __le64 *values_a = (const __le64 *)regs_a, *values_b = (const __le64 *)regs_b;
	int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		if (values_a[i] != values_b[i]) {
			*a = le64_to_cpu(values_a[i]);
			*b = le64_to_cpu(values_b[i]);
			return names[i];
		}
	}
	return NULL;
}
