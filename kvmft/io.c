// SPDX-License-Identifier: GPL-2.0
/*
 * What the guest reads from devices and model-specific registers, and writes to devices:
 * captured where KVM emulates the access, whoever serves it.
 *
 * A read that the VMM serves leaves KVM_RUN; its answer is there when KVM_RUN is called
 * again (kvm.c calls kvmft_io_complete()).  A read that a device in the kernel serves is over when
 * kvm_io_bus_read() returns.  The LAPIC is asked before the bus; of its registers only the
 * timer's current count depends on time.
 */
#include <linux/kvm_host.h>
#include <asm/apicdef.h>

#include "arch.h"
#include "io.h"
#include "machine.h"
#include "vm.h"

KVMFT_HOOK(kvm_io_bus_read, "kvm", KVMFT_HOOK_VCPU);
KVMFT_HOOK(kvm_io_bus_write, "kvm", KVMFT_HOOK_VCPU);
/* The guest writes to the address of an ioeventfd. */
KVMFT_HOOK(ioeventfd_write, "kvm", KVMFT_HOOK_VCPU);
KVMFT_HOOK(apic_mmio_read, "kvm", KVMFT_HOOK_VCPU);
KVMFT_HOOK(kvm_emulate_rdmsr, "kvm", KVMFT_HOOK_VCPU);
KVMFT_HOOK(kvm_emulate_hypercall, "kvm", KVMFT_HOOK_VCPU);
KVMFT_HOOK(kvm_cpuid, "kvm", KVMFT_HOOK_VCPU);

static bool to_space(enum kvm_bus bus, enum kvmft_space *space)
{
	*space = bus == KVM_PIO_BUS ? KVMFT_SPACE_PORT : KVMFT_SPACE_MEMORY;
	return bus == KVM_PIO_BUS || bus == KVM_MMIO_BUS;
}

static int replace_kvm_io_bus_read(struct kvm_vcpu *vcpu, enum kvm_bus bus, gpa_t addr, int len,
				   void *data)
{
	struct kvmft_vm *vm = kvmft_vm_get(vcpu->kvm);
	enum kvmft_space space;
	int ret;

	ret = kvmft_original(kvm_io_bus_read)(vcpu, bus, addr, len, data);
	if (vm) {
		if (!ret && to_space(bus, &space))
			vm->ops->read(vm, space, addr, data, len);
		kvmft_vm_put(vm);
	}
	return ret;
}

static int replace_kvm_io_bus_write(struct kvm_vcpu *vcpu, enum kvm_bus bus, gpa_t addr, int len,
				    const void *data)
{
	struct kvmft_vm *vm = kvmft_vm_get(vcpu->kvm);
	enum kvmft_space space;
	bool go_on = true;

	if (vm) {
		if (to_space(bus, &space))
			go_on = vm->ops->write(vm, space, addr, data, len);
		kvmft_vm_put(vm);
	}
	/* As if a device in the kernel had taken it. */
	if (!go_on)
		return 0;
	return kvmft_original(kvm_io_bus_write)(vcpu, bus, addr, len, data);
}

/* Whose device is it?  A network device of the module's works its rings at the next boundary. */
static void kick(struct kvmft_vm *vm, const struct kvm_io_device *dev)
{
	const char *event = (const char *)dev - KVMFT_OFFSET__ioeventfd__dev;

	if (!vm->ops->kick(vm, *(struct eventfd_ctx **)(event + KVMFT_OFFSET__ioeventfd__eventfd)))
		vm->ops->unsupported(vm, KVMFT_NO_IOEVENTFD);
}

static int replace_ioeventfd_write(struct kvm_vcpu *vcpu, struct kvm_io_device *dev, gpa_t addr,
				   int len, const void *data)
{
	struct kvmft_vm *vm = kvmft_vm_get(vcpu->kvm);
	int ret;

	/* Who polls the eventfd is woken, too: see net.c. */
	ret = kvmft_original(ioeventfd_write)(vcpu, dev, addr, len, data);
	if (vm) {
		/* Else it is another device's address. */
		if (!ret && READ_ONCE(vm->deterministic))
			kick(vm, dev);
		kvmft_vm_put(vm);
	}
	return ret;
}

static int replace_apic_mmio_read(struct kvm_vcpu *vcpu, struct kvm_io_device *dev, gpa_t addr,
				  int len, void *data)
{
	struct kvmft_vm *vm = kvmft_vm_get(vcpu->kvm);
	int ret;

	ret = kvmft_original(apic_mmio_read)(vcpu, dev, addr, len, data);
	if (vm) {
		if (!ret && (addr & 0xff0) == APIC_TMCCT)
			vm->ops->read(vm, KVMFT_SPACE_MEMORY, addr, data, len);
		kvmft_vm_put(vm);
	}
	return ret;
}

static int replace_kvm_emulate_rdmsr(struct kvm_vcpu *vcpu)
{
	struct kvmft_vm *vm = kvmft_vm_get(vcpu->kvm);
	unsigned long *regs = vcpu->arch.regs;
	unsigned long rip = regs[VCPU_REGS_RIP], rax = regs[VCPU_REGS_RAX];
	unsigned long rdx = regs[VCPU_REGS_RDX], next;
	u64 value;
	int ret;

	ret = kvmft_original(kvm_emulate_rdmsr)(vcpu);
	if (vm) {
		/* The VMM does: kvmft_io_complete() has its answer. */
		vm->rdmsr = !ret;
		/* It has not moved if the MSR does not exist: always so, or never. */
		if (ret == 1 && regs[VCPU_REGS_RIP] != rip) {
			value = (u32)regs[VCPU_REGS_RAX] | (u64)regs[VCPU_REGS_RDX] << 32;
			next = regs[VCPU_REGS_RIP];
			/* The state of the machine before the read is what both sides share. */
			regs[VCPU_REGS_RIP] = rip;
			regs[VCPU_REGS_RAX] = rax;
			regs[VCPU_REGS_RDX] = rdx;
			vm->ops->msr(vm, regs[VCPU_REGS_RCX], &value);
			regs[VCPU_REGS_RIP] = next;
			regs[VCPU_REGS_RAX] = (u32)value;
			regs[VCPU_REGS_RDX] = value >> 32;
		}
		kvmft_vm_put(vm);
	}
	return ret;
}

/* The host's wall clock goes to guest memory; every other call is the same each time. */
static int replace_kvm_emulate_hypercall(struct kvm_vcpu *vcpu)
{
	struct kvmft_vm *vm = kvmft_vm_get(vcpu->kvm);

	if (vm) {
		if (READ_ONCE(vm->deterministic) &&
		    vcpu->arch.regs[VCPU_REGS_RAX] == KVM_HC_CLOCK_PAIRING)
			vm->ops->unsupported(vm, "the guest asked KVM for the host's clock");
		kvmft_vm_put(vm);
	}
	return kvmft_original(kvm_emulate_hypercall)(vcpu);
}

/* The machine is where it was when KVM asked the VMM. */
static void complete_rdmsr(struct kvmft_vm *vm)
{
	struct kvm_vcpu *vcpu = vm->vcpu;
	u64 value = READ_ONCE(vcpu->run->msr.data);

	vm->rdmsr = false;
	/* An MSR that it does not know never exists. */
	if (READ_ONCE(vcpu->run->msr.error))
		return;
	vm->ops->msr(vm, vcpu->arch.regs[VCPU_REGS_RCX], &value);
	WRITE_ONCE(vcpu->run->msr.data, value);
}

int kvmft_io_complete(struct kvmft_vm *vm)
{
	struct kvm_vcpu *vcpu = vm->vcpu;
	const struct kvm_mmio_fragment *frag;

	if (!vcpu->arch.complete_userspace_io)
		return 0;
	if (vcpu->arch.pio.count && vcpu->arch.pio.in) {
		if (vm->ops->ready(vm))
			return -EINTR;
		vm->ops->read(vm, KVMFT_SPACE_PORT, vcpu->arch.pio.port, vcpu->arch.pio_data,
			      vcpu->arch.pio.size * vcpu->arch.pio.count);
	} else if (vcpu->mmio_needed && !vcpu->mmio_is_write) {
		if (vm->ops->ready(vm))
			return -EINTR;
		frag = &vcpu->mmio_fragments[vcpu->mmio_cur_fragment];
		vm->ops->read(vm, KVMFT_SPACE_MEMORY, frag->gpa, vcpu->run->mmio.data,
			      min(8U, frag->len));
	} else if (vm->rdmsr) {
		if (vm->ops->ready(vm))
			return -EINTR;
		complete_rdmsr(vm);
	}
	return 0;
}

/**
 * struct mask - bits of a CPUID leaf that a protected guest does not see
 * @leaf: EAX
 * @subleaf: ECX; -1: any
 * @clear: in EAX, EBX, ECX, EDX
 */
struct mask {
	u32 leaf;
	s64 subleaf;
	u32 clear[4];
};

/*
 * AMD64 Architecture Programmer's Manual, volume 3, appendix E; for paravirtual features
 * Documentation/virt/kvm/x86/cpuid.rst.  Documentation/record-replay.rst gives the reasons.
 */
static const struct mask masks[] = {
	/* MONITOR, x2APIC, RDRAND */
	{ 0x1, -1, { 0, 0, BIT(3) | BIT(21) | BIT(30), 0 } },
	/* MPERF and APERF */
	{ 0x6, -1, { 0, 0, BIT(0), 0 } },
	/* HLE, RTM, RDSEED; WAITPKG */
	{ 0x7, 0, { 0, BIT(4) | BIT(11) | BIT(18), BIT(5), 0 } },
	/* performance counters of Intel */
	{ 0xa, -1, { ~0U, ~0U, ~0U, ~0U } },
	/* XSAVEOPT, XSAVEC, XGETBV(1), XSAVES */
	{ 0xd, 1, { BIT(0) | BIT(1) | BIT(2) | BIT(3), 0, 0, 0 } },
	/* kvmclock, steal time, PV EOI, asynchronous page faults, ... and hints */
	{ 0x40000001, -1, { ~0U, 0, 0, ~0U } },
	/* SVM, performance counters of the core, NB and L3, MWAITX */
	{ 0x80000001, -1, { 0, 0, BIT(2) | BIT(23) | BIT(24) | BIT(28) | BIT(29), 0 } },
	/* RDPRU */
	{ 0x80000008, -1, { 0, BIT(4), 0, 0 } },
	/* SVM; PerfMonV2 */
	{ 0x8000000a, -1, { ~0U, ~0U, ~0U, ~0U } },
	{ 0x80000022, -1, { ~0U, ~0U, ~0U, ~0U } },
};

static bool replace_kvm_cpuid(struct kvm_vcpu *vcpu, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx,
			      bool exact_only)
{
	struct kvmft_vm *vm = kvmft_vm_get(vcpu->kvm);
	const u32 leaf = *eax, subleaf = *ecx;
	bool exact;
	int i;

	exact = kvmft_original(kvm_cpuid)(vcpu, eax, ebx, ecx, edx, exact_only);
	if (!vm)
		return exact;
	for (i = 0; READ_ONCE(vm->deterministic) && i < ARRAY_SIZE(masks); i++) {
		const struct mask *mask = &masks[i];

		if (mask->leaf != leaf || (mask->subleaf >= 0 && mask->subleaf != subleaf))
			continue;
		*eax &= ~mask->clear[0];
		*ebx &= ~mask->clear[1];
		*ecx &= ~mask->clear[2];
		*edx &= ~mask->clear[3];
	}
	kvmft_vm_put(vm);
	return exact;
}

struct kvmft_hook *const kvmft_io_hooks[] = {
	&hook_kvm_io_bus_read,
	&hook_kvm_io_bus_write,
	&hook_ioeventfd_write,
	&hook_apic_mmio_read,
	&hook_kvm_emulate_rdmsr,
	&hook_kvm_emulate_hypercall,
	&hook_kvm_cpuid,
	NULL
};
