/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The vendor side of KVM behind one table.  svm.c has AMD's; nothing above this file
 * knows which one is in use.
 */
#ifndef _KVMFT_ARCH_H
#define _KVMFT_ARCH_H

#include <linux/fs.h>
#include <linux/types.h>

#include "hook.h"
#include "regs.h"

/**
 * struct kvmft_arch_events - the events that make up a position
 * @cond: raw perf event: retired conditional branches
 * @taken: raw perf event: retired taken branches
 * @taken_per_entry: how much @taken counts for entering the guest itself
 * @unsafe: raw perf event that must not occur, or the others are inexact; 0: none
 * @unsafe_remedy: what to do when it does
 */
struct kvmft_arch_events {
	u64 cond;
	u64 taken;
	unsigned int taken_per_entry;
	u64 unsafe;
	const char *unsafe_remedy;
};

/**
 * struct kvmft_arch_ops - a vendor
 * @module: name of KVM's vendor module
 * @hooks: functions of @module to hook, NULL-terminated, the most frequently called first
 * @btf_crc: checksum of the BTF of @module that layout.h was made from
 * @events: what to count on the CPU we run on; NULL: not a CPU we know
 * @stable: could the guest be stopped where it is again: no interrupt shadow, no event being
 *	delivered, a debug register free.  On the vCPU's thread, out of the guest
 * @flags: guest RFLAGS
 * @linear_rip: linear address of the guest's next instruction
 * @regs: fill in what only the vendor knows
 * @encrypted: is the guest's memory encrypted, so that the host can not read it
 * @set_tsc_offset: the guest's TSC is the host's plus @offset from now on
 */
struct kvmft_arch_ops {
	const char *module;
	struct kvmft_hook *const *hooks;
	u32 btf_crc;
	const struct kvmft_arch_events *(*events)(void);
	bool (*stable)(const struct kvm_vcpu *vcpu);
	u64 (*flags)(const struct kvm_vcpu *vcpu);
	u64 (*linear_rip)(const struct kvm_vcpu *vcpu);
	void (*regs)(const struct kvm_vcpu *vcpu, struct kvmft_regs *regs);
	bool (*encrypted)(const struct kvm_vcpu *vcpu);
	void (*set_tsc_offset)(struct kvm_vcpu *vcpu, u64 offset);
};

extern const struct kvmft_arch_ops kvmft_svm_ops;

/*
 * Hooks that do not depend on the vendor: run loop and life cycle; devices; interrupts; what the
 * VMM does otherwise.
 */
extern struct kvmft_hook *const kvmft_kvm_hooks[];
extern struct kvmft_hook *const kvmft_io_hooks[];
extern struct kvmft_hook *const kvmft_irq_hooks[];
extern struct kvmft_hook *const kvmft_vmm_hooks[];
/* Functions that are called (machine.c). */
extern struct kvmft_hook *const kvmft_vm_callees[];

/* kvmft_hooks_get() for all hooks of a vendor's KVM; undone by kvmft_hooks_put(). */
int kvmft_arch_hooks_get(const struct kvmft_arch_ops *arch, struct module *vendor);

/*
 * The vendor that made the VM behind @vm; NULL, after saying so in the kernel log, if it
 * is not one with support.
 */
const struct kvmft_arch_ops *kvmft_arch_of_vm(const struct file *vm);

/* 0 if the KVM in memory is what layout.h was made from, else -ENOEXEC. */
int kvmft_arch_check(const struct kvmft_arch_ops *arch);

#endif /* _KVMFT_ARCH_H */
