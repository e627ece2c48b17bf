// SPDX-License-Identifier: GPL-2.0
#include <string.h>
#include <sys/ioctl.h>

#include "micro.h"
#include "util.h"

#define NMI_VECTOR	2

const struct micro micros[] = {
	{ .name = "tsc", .entry = micro_tsc, .iterations = 50 },
	{ .name = "pio", .entry = micro_pio, .iterations = 50 },
	{ .name = "string", .entry = micro_string, .iterations = 5 },
	{ .name = "pit", .entry = micro_pit, .iterations = 20 },
	{ .name = "mmio", .entry = micro_mmio, .iterations = 20 },
	{ .name = "chips", .entry = micro_chips, .iterations = 30 },
	{ .name = "branches", .entry = micro_branches, .iterations = 300000, .storm = true },
	{ .name = "calls", .entry = micro_calls, .iterations = 200000, .storm = true },
	{ .name = "indirect", .entry = micro_indirect, .iterations = 30000, .storm = true },
	{ .name = "endless", .entry = micro_endless, .storm = true, .endless = 10,
	  .out = micro_endless_out },
	{ .name = "rep", .entry = micro_rep, .iterations = 300, .storm = true },
	{ .name = "shadow", .entry = micro_shadow, .iterations = 200000, .storm = true },
	{ .name = "flags", .entry = micro_flags, .iterations = 200000, .storm = true },
	{ .name = "debug", .entry = micro_debug, .iterations = 300, .storm = true },
	{ .name = "halt", .entry = micro_halt, .iterations = 20, .storm = true, .halts = true },
	{ .name = "alarm", .entry = micro_alarm, .iterations = 300, .halts = true },
	{ .name = "output", .entry = micro_output, .iterations = 2000 },
	{ .name = "write", .entry = micro_write, .iterations = 20000 },
	{ .name = "off", .entry = micro_off, .iterations = 200 },
	{ .name = "nic", .entry = micro_nic, .iterations = 1000 },
	{ .name = "nic_blind", .entry = micro_nic_blind, .iterations = 200 },
	{ .name = "rearm", .entry = micro_rearm, .iterations = 20 },
	{ .name = "nic_flood", .entry = micro_nic_flood, .iterations = 100 },
	{ .name = "nic_off", .entry = micro_nic_off, .iterations = 2 },
	{ .name = "timer", .entry = micro_timer, .iterations = 1000000 },
	{ .name = "touch", .entry = micro_touch, .iterations = 20000, .storm = true },
	{ .name = "nmi", .entry = micro_branches, .iterations = 1000000, .storm = true,
	  .nmi = true },
	{ .name = "lint0", .entry = micro_lint0, .iterations = 600000, .lint0 = true },
	{ .name = "input", .entry = micro_input, .iterations = 100000, .storm = true,
	  .input = true },
	{ .name = "poke", .entry = micro_branches, .iterations = 1000000, .storm = true,
	  .poke = true },
	{ .name = "reset", .entry = micro_reset, .iterations = 50000, .storm = true,
	  .resets = 2 },
	/* KVM holds back the 10,000th interrupt */
	{ .name = "level", .entry = micro_level, .level = true, .endless = 10010,
	  .out = micro_level_out },
};

const unsigned int nr_micros = ARRAY_SIZE(micros);

void micro_start(struct vm *vm, const struct micro *micro)
{
	struct kvm_regs regs = { .r15 = micro->iterations, .rbx = 0x811c9dc5 };

	vm_start(vm, micro->entry, &regs);
}

void micro_restart(struct vm *vm, const struct micro *micro)
{
	vm_reset(vm);
	vm_enable_apic(vm);
	micro_start(vm, micro);
}

const struct micro *micro_of(const char *name)
{
	const struct micro *micro;

	for (micro = micros; micro < micros + nr_micros; micro++)
		if (!strcmp(micro->name, name))
			return micro;
	tap_fail("there is no micro guest %s", name);
}

u64 micro_limit(const struct micro *micro)
{
	u64 limit = env_u64("KVMFT_INTERRUPTS", 0);

	/* Those cost no landing */
	if (micro->halts || micro->level)
		return micro->endless;
	return micro->endless && (!limit || micro->endless < limit) ? micro->endless : limit;
}

void micro_vm(struct vm *vm, const struct micro *micro)
{
	struct kvm_reinject_control free_running = {};
	struct kvm_enable_cap asks = {
		.cap = KVM_CAP_X86_USER_SPACE_MSR, .args = { KVM_MSR_EXIT_REASON_UNKNOWN },
	};

	vm_create(vm, VM_IRQCHIP | VM_PIT);
	CHECK(!ioctl(vm->fd, KVM_ENABLE_CAP, &asks), "KVM_CAP_X86_USER_SPACE_MSR: %m");
	if (micro->lint0)
		CHECK(!ioctl(vm->fd, KVM_REINJECT_CONTROL, &free_running),
		      "KVM_REINJECT_CONTROL: %m");
	vm_enable_apic(vm);
	vm_set_gate(vm, MICRO_VECTOR, micro_irq);
	vm_set_gate(vm, MICRO_TIMER_VECTOR, micro_timer_irq);
	vm_set_gate(vm, NMI_VECTOR, micro_nmi_irq);
	*(u64 *)(vm->mem + GUEST_DATA + MICRO_LIMIT) = micro_limit(micro);
	if (micro->endless)
		*(u64 *)(vm->mem + GUEST_DATA + MICRO_EXIT) = guest_addr(micro->out);
	micro_start(vm, micro);
}
