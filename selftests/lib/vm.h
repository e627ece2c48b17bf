/* SPDX-License-Identifier: GPL-2.0 */
/* A virtual machine with one vCPU in 64-bit mode, ready to run code of guest_text */
#ifndef SELFTESTS_VM_H
#define SELFTESTS_VM_H

#include <linux/kvm.h>

#include "guest.h"
#include "tap.h"

#define VM_MEM		(16UL << 20)

enum vm_flags {
	VM_IRQCHIP	= 1,	/* PIC, IOAPIC and LAPIC in the kernel */
	VM_PIT		= 2,	/* and the timer; with VM_IRQCHIP */
};

struct vm {
	int kvm;
	int fd;
	int vcpu;
	int stats;
	u64 exits_offset;
	u8 *mem;
	struct kvm_run *run;
	size_t run_size;
	u64 outputs;		/* that have left it */
};

/* The case fails when anything here does */
void vm_create(struct vm *vm, unsigned int flags);
void vm_destroy(struct vm *vm);

/* Start at @entry with the stack empty and interrupts off; general registers from @regs */
void vm_start(struct vm *vm, const void *entry, const struct kvm_regs *regs);
/* 64-bit mode again, after a shutdown or in the middle of anything */
void vm_reset(struct vm *vm);
void vm_get_regs(struct vm *vm, struct kvm_regs *regs);
/* Interrupt @vector goes to @handler */
void vm_set_gate(struct vm *vm, unsigned int vector, const void *handler);
void vm_enable_apic(struct vm *vm);
/* Drop the memory behind a range: the next touch of each page faults */
void vm_discard(struct vm *vm, u64 addr, size_t size);

/*
 * Run until the guest writes to PORT_SYNC or PORT_DONE: returns the port; or until
 * KVM_RUN is interrupted: returns -EINTR.  PORT_NOP and HLT without an irqchip go
 * on; anything else fails the case.
 */
int vm_run(struct vm *vm);
/* The same, going on after EINTR */
int vm_run_to_port(struct vm *vm);

/* KVM's own count of returns from this vCPU's guest */
u64 vm_exits(struct vm *vm);

#endif /* SELFTESTS_VM_H */
