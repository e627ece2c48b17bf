/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The machine as a whole: may it be replayed, what is its state.
 */
#ifndef _KVMFT_MACHINE_H
#define _KVMFT_MACHINE_H

#include "arch.h"
#include "start.h"
#include "vm.h"

/* What can not be replayed, for people: refused at arming, and the end of protection later. */
#define KVMFT_NO_IOEVENTFD	\
	"an ioeventfd is in use: a device (virtio, vhost) would write memory unseen"
#define KVMFT_NO_DEBUGGER	"the VMM is debugging the guest (gdbstub)"

/*
 * Make the machine deterministic: hide from the guest what no log could explain, and capture
 * its inputs.  The caller holds vcpu->mutex; the vCPU has never run.  -EOPNOTSUPP: the
 * machine has what can not be replayed, named in the kernel log; -EBUSY: it has run.
 */
int kvmft_machine_arm(struct kvmft_vm *vm, const struct kvmft_arch_ops *arch);

/*
 * Before the vCPU's first run, on its thread: what the VMM did since is looked at.  Returns why the
 * machine can not be replayed, or NULL.
 */
const char *kvmft_machine_begin(const struct kvmft_vm *vm, const struct kvmft_arch_ops *arch);

/* The VM never runs again: KVM_RUN returns -EIO. */
void kvmft_machine_kill(struct kvmft_vm *vm);

bool kvmft_machine_is_dead(const struct kvmft_vm *vm);

/* Is there guest memory at all of @len bytes from @addr? */
bool kvmft_machine_has_memory(const struct kvmft_vm *vm, u64 addr, u64 len);

/* Is the guest's memory at @addr the byte at @user of the address space @mm? */
bool kvmft_machine_is_at(const struct kvmft_vm *vm, const struct mm_struct *mm, u64 addr,
			 u64 user);

/*
 * Let a kernel thread work in the VMM's address space, if that still exists.  Returns what
 * kvmft_machine_unuse_mm() wants.
 */
struct mm_struct *kvmft_machine_use_mm(const struct kvmft_vm *vm);
void kvmft_machine_unuse_mm(struct mm_struct *mm);

/* Hashes of the CPUID leaves and of the memory slots.  vcpu->mutex is held. */
void kvmft_machine_shape(const struct kvmft_vm *vm, u64 *cpuid, u64 *slots);

/* What follows is for the vCPU's thread, at a boundary or while it is halted. */

/* Of the memory slots, the CPUID leaves and the registers. */
void kvmft_machine_describe(struct kvmft_vm *vm, const struct kvmft_arch_ops *arch,
			    struct kvmft_start *start);
void kvmft_machine_regs(const struct kvmft_vm *vm, const struct kvmft_arch_ops *arch,
			struct kvmft_regs *regs);

/* Is it about to execute the first instruction after a reset? */
bool kvmft_machine_is_reset(const struct kvmft_vm *vm, const struct kvmft_arch_ops *arch);

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

/* Lines of the interrupt chips that a VMM drives: pins of the IOAPIC, and the PICs' among them. */
#define KVMFT_LINES	24

/*
 * The guest ran by a log and goes on without.  Its TSC is the host's plus *@tsc_offset from now on,
 * unless that is NULL; timers are set again by the registers, and an expiry that has come here but
 * not in the log comes now; each of the lines is at its level in @lines, which may change
 * meanwhile.
 */
void kvmft_machine_go_live(struct kvmft_vm *vm, const struct kvmft_arch_ops *arch,
			   const u64 *tsc_offset, const unsigned long *lines);

/* The offset with which the guest's TSC is @tsc now. */
u64 kvmft_machine_tsc_offset(const struct kvmft_vm *vm, u64 tsc);

/* The vCPU comes to a boundary: wherever it is; unless it is in the guest anyway. */
void kvmft_machine_kick(struct kvmft_vm *vm);
void kvmft_machine_unblock(struct kvmft_vm *vm);

/* Around a sleep that may last: while KVM's SRCU is held the VMM can change no memory slots. */
void kvmft_machine_sleep(struct kvmft_vm *vm);
void kvmft_machine_wake(struct kvmft_vm *vm);

#endif /* _KVMFT_MACHINE_H */
