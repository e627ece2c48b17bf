/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The machine as a whole: may it be replayed, what is its state.
 */
#ifndef _KVMFT_MACHINE_H
#define _KVMFT_MACHINE_H

#include "arch.h"
#include "start.h"
#include "vm.h"

/*
 * Make the machine deterministic: hide from the guest what no log could explain, and capture
 * its inputs.  The caller holds vcpu->mutex; the vCPU has never run.  -EOPNOTSUPP: the
 * machine has what can not be replayed, named in the kernel log; -EBUSY: it has run.
 */
int kvmft_machine_arm(struct kvmft_vm *vm);

/* The VM never runs again: KVM_RUN returns -EIO. */
void kvmft_machine_kill(struct kvmft_vm *vm);

/* What follows is for the vCPU's thread, at a boundary or while it is halted. */

/* Of the memory slots, the CPUID leaves and the registers. */
void kvmft_machine_describe(struct kvmft_vm *vm, const struct kvmft_arch_ops *arch,
			    struct kvmft_start *start);
void kvmft_machine_regs(struct kvmft_vm *vm, const struct kvmft_arch_ops *arch,
			struct kvmft_regs *regs);

/* Hash of registers that every exit has at hand, and of @pos and @exits. */
u32 kvmft_machine_state(const struct kvmft_vm *vm, u64 rip, u64 flags,
			const struct kvmft_position *pos, u64 exits);

/* Could the vCPU be stopped again where it is? */
bool kvmft_machine_stable(struct kvmft_vm *vm, const struct kvmft_arch_ops *arch);

/* Is an event on its way into the guest, or being emulated? */
bool kvmft_machine_delivering(const struct kvmft_vm *vm);

bool kvmft_machine_halted(const struct kvmft_vm *vm);

/*
 * Call @page for each page of guest memory that is not zero, in the order of addresses, with
 * the hash of its contents, until it returns other than 0.  KVM's SRCU is held.  Returns that,
 * 0, or -EINTR on a fatal signal.
 */
int kvmft_machine_pages(struct kvmft_vm *vm, int (*page)(void *ctx, u64 addr, u64 hash),
			void *ctx);

/* Digest of guest memory, never 0 without an error; -EINTR as above. */
int kvmft_machine_memory(struct kvmft_vm *vm, u64 *digest);

/* Around a sleep that may last: while KVM's SRCU is held the VMM can change no memory slots. */
void kvmft_machine_sleep(struct kvmft_vm *vm);
void kvmft_machine_wake(struct kvmft_vm *vm);

#endif /* _KVMFT_MACHINE_H */
