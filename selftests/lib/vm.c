// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm.h"

#define MAX_CPUID	128

static void map_identity(struct vm *vm)
{
	u64 *pml4 = (u64 *)(vm->mem + GUEST_PML4);
	u64 *pdpt = (u64 *)(vm->mem + GUEST_PDPT);
	u64 *pd = (u64 *)(vm->mem + GUEST_PD);
	u64 i;

	pml4[0] = GUEST_PDPT | 3;
	for (i = 0; i < 4; i++)
		pdpt[i] = (GUEST_PD + i * 0x1000) | 3;
	for (i = 0; i < 4 * 512; i++)
		pd[i] = i << 21 | 0x83;
}

static void set_gate(struct vm *vm, unsigned int vector, u64 addr)
{
	u64 *gate = (u64 *)(vm->mem + GUEST_IDT + vector * 16);

	gate[0] = (addr & 0xffff) | (u64)GUEST_CS << 16 | 0x8e00ULL << 32 |
		  (addr >> 16 & 0xffff) << 48;
	gate[1] = addr >> 32;
}

void vm_set_gate(struct vm *vm, unsigned int vector, const void *handler)
{
	set_gate(vm, vector, guest_addr(handler));
}

static void set_tables(struct vm *vm)
{
	u64 *gdt = (u64 *)(vm->mem + GUEST_GDT);
	unsigned int i;

	gdt[GUEST_CS / 8] = 0x00af9b000000ffffULL;
	gdt[GUEST_DS / 8] = 0x00cf93000000ffffULL;
	for (i = 0; i < 32; i++)
		set_gate(vm, i, guest_addr(guest_exceptions) + 16 * i);
}

static void set_sregs(struct vm *vm)
{
	const struct kvm_segment code = {
		.limit = ~0u, .selector = GUEST_CS, .type = 11, .present = 1, .s = 1,
		.l = 1, .g = 1,
	};
	const struct kvm_segment data = {
		.limit = ~0u, .selector = GUEST_DS, .type = 3, .present = 1, .s = 1,
		.db = 1, .g = 1,
	};
	struct kvm_sregs sregs;

	CHECK(!ioctl(vm->vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS: %m");
	sregs.cr3 = GUEST_PML4;
	sregs.cr4 = 0x620;		/* PAE, OSFXSR, OSXMMEXCPT */
	sregs.cr0 = 0x80050033;		/* PG, AM, WP, NE, ET, MP, PE */
	sregs.efer = 0x500;		/* LMA, LME */
	sregs.cs = code;
	sregs.ds = data;
	sregs.es = data;
	sregs.ss = data;
	sregs.fs = data;
	sregs.gs = data;
	sregs.gdt.base = GUEST_GDT;
	sregs.gdt.limit = 23;
	sregs.idt.base = GUEST_IDT;
	sregs.idt.limit = 256 * 16 - 1;
	CHECK(!ioctl(vm->vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS: %m");
}

/* KVM reports the APIC's number of the CPU that it happens to run on */
static void set_apic_id(struct kvm_cpuid_entry2 *entry)
{
	switch (entry->function) {
	case 0x1:
		entry->ebx &= 0x00ffffff;
		break;
	case 0xb:
		entry->edx = 0;
		break;
	case 0x8000001e:
		entry->eax = 0;
		entry->ebx &= ~0xff;
		entry->ecx &= ~0xff;
		break;
	}
}

static void set_cpuid(struct vm *vm)
{
	struct kvm_cpuid2 *cpuid;
	unsigned int i;

	cpuid = calloc(1, sizeof(*cpuid) + MAX_CPUID * sizeof(cpuid->entries[0]));
	CHECK(cpuid, "out of memory");
	cpuid->nent = MAX_CPUID;
	CHECK(!ioctl(vm->kvm, KVM_GET_SUPPORTED_CPUID, cpuid), "KVM_GET_SUPPORTED_CPUID: %m");
	for (i = 0; i < cpuid->nent; i++)
		set_apic_id(&cpuid->entries[i]);
	CHECK(!ioctl(vm->vcpu, KVM_SET_CPUID2, cpuid), "KVM_SET_CPUID2: %m");
	free(cpuid);
}

/* Find "exits" among KVM's binary statistics of the vCPU */
static void open_stats(struct vm *vm)
{
	struct kvm_stats_header header;
	struct kvm_stats_desc *desc;
	size_t size;
	u32 i;

	vm->stats = ioctl(vm->vcpu, KVM_GET_STATS_FD, NULL);
	CHECK(vm->stats >= 0, "KVM_GET_STATS_FD: %m");
	CHECK(pread(vm->stats, &header, sizeof(header), 0) == sizeof(header), "vCPU stats: %m");
	size = sizeof(*desc) + header.name_size;
	desc = malloc(size);
	CHECK(desc, "out of memory");
	for (i = 0; i < header.num_desc; i++) {
		CHECK(pread(vm->stats, desc, size, header.desc_offset + i * size) ==
		      (ssize_t)size, "vCPU stats: %m");
		if (!strcmp(desc->name, "exits"))
			vm->exits_offset = header.data_offset + desc->offset;
	}
	free(desc);
	CHECK(vm->exits_offset, "KVM has no vCPU statistic called 'exits'");
}

u64 vm_exits(struct vm *vm)
{
	u64 exits;

	CHECK(pread(vm->stats, &exits, sizeof(exits), vm->exits_offset) == sizeof(exits),
	      "vCPU stats: %m");
	return exits;
}

void vm_create(struct vm *vm, unsigned int flags)
{
	struct kvm_userspace_memory_region region = { .memory_size = VM_MEM };
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

	memset(vm, 0, sizeof(*vm));
	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	CHECK(vm->kvm >= 0, "/dev/kvm: %m");
	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, 0);
	CHECK(vm->fd >= 0, "KVM_CREATE_VM: %m");
	if (flags & VM_IRQCHIP)
		CHECK(!ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP: %m");

	if (flags & VM_PIT)
		CHECK(!ioctl(vm->fd, KVM_CREATE_PIT2, &pit), "KVM_CREATE_PIT2: %m");

	vm->mem = mmap(NULL, VM_MEM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(vm->mem != MAP_FAILED, "mmap: %m");
	/* A touch of each page is to fault: see vm_discard() */
	madvise(vm->mem, VM_MEM, MADV_NOHUGEPAGE);
	region.userspace_addr = (uintptr_t)vm->mem;
	CHECK(!ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region),
	      "KVM_SET_USER_MEMORY_REGION: %m");
	CHECK(__stop_guest_text - __start_guest_text <= GUEST_DATA - GUEST_TEXT,
	      "guest_text is too large");
	memcpy(vm->mem + GUEST_TEXT, __start_guest_text,
	       __stop_guest_text - __start_guest_text);
	map_identity(vm);
	set_tables(vm);

	vm->vcpu = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	CHECK(vm->vcpu >= 0, "KVM_CREATE_VCPU: %m");
	vm->run_size = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);
	CHECK(vm->run != MAP_FAILED, "mmap of the vCPU: %m");
	set_cpuid(vm);
	set_sregs(vm);
	open_stats(vm);
}

void vm_destroy(struct vm *vm)
{
	munmap(vm->run, vm->run_size);
	close(vm->stats);
	close(vm->vcpu);
	close(vm->fd);
	close(vm->kvm);
	munmap(vm->mem, VM_MEM);
	memset(vm, 0xff, sizeof(*vm));
}

void vm_start(struct vm *vm, const void *entry, const struct kvm_regs *regs)
{
	struct kvm_regs start = {};

	if (regs)
		start = *regs;
	start.rip = guest_addr(entry);
	start.rsp = GUEST_STACK - 8;	/* as after a call */
	start.rflags = 2;
	CHECK(!ioctl(vm->vcpu, KVM_SET_REGS, &start), "KVM_SET_REGS: %m");
}

void vm_reset(struct vm *vm)
{
	struct kvm_vcpu_events events = {};

	CHECK(!ioctl(vm->vcpu, KVM_SET_VCPU_EVENTS, &events), "KVM_SET_VCPU_EVENTS: %m");
	set_sregs(vm);
}

void vm_get_regs(struct vm *vm, struct kvm_regs *regs)
{
	CHECK(!ioctl(vm->vcpu, KVM_GET_REGS, regs), "KVM_GET_REGS: %m");
}

void vm_enable_apic(struct vm *vm)
{
	struct kvm_lapic_state lapic;

	CHECK(!ioctl(vm->vcpu, KVM_GET_LAPIC, &lapic), "KVM_GET_LAPIC: %m");
	*(u32 *)&lapic.regs[0xf0] = 0x1ff;	/* software enable, spurious vector 255 */
	CHECK(!ioctl(vm->vcpu, KVM_SET_LAPIC, &lapic), "KVM_SET_LAPIC: %m");
}

void vm_discard(struct vm *vm, u64 addr, size_t size)
{
	CHECK(!madvise(vm->mem + addr, size, MADV_DONTNEED), "madvise: %m");
}

static void unexpected_exit(struct vm *vm)
{
	struct kvm_regs regs;

	vm_get_regs(vm, &regs);
	if (vm->run->exit_reason == KVM_EXIT_IO && vm->run->io.port == PORT_EXCEPTION)
		tap_fail("guest exception %llu, frame at %#llx: %#llx %#llx", regs.rax, regs.rsp,
			 *(unsigned long long *)(vm->mem + (regs.rsp % VM_MEM)),
			 *(unsigned long long *)(vm->mem + (regs.rsp + 8) % VM_MEM));
	if (vm->run->exit_reason == KVM_EXIT_IO && vm->run->io.port == PORT_ABORT)
		tap_fail("guest aborted with %#llx at rip %#llx", regs.rax, regs.rip);
	if (vm->run->exit_reason == KVM_EXIT_IO)
		tap_fail("guest used port %#x at rip %#llx", vm->run->io.port, regs.rip);
	tap_fail("KVM exit reason %u (suberror %u) at rip %#llx", vm->run->exit_reason,
		 vm->run->exit_reason == KVM_EXIT_INTERNAL_ERROR ?
		 vm->run->internal.suberror : 0, regs.rip);
}

int vm_run(struct vm *vm)
{
	for (;;) {
		if (ioctl(vm->vcpu, KVM_RUN, NULL) < 0) {
			if (errno == EINTR)
				return -EINTR;
			tap_fail("KVM_RUN: %m");
		}
		if (vm->run->exit_reason == KVM_EXIT_HLT)
			continue;
		if (vm->run->exit_reason != KVM_EXIT_IO)
			unexpected_exit(vm);
		switch (vm->run->io.port) {
		case PORT_NOP:
			continue;
		case PORT_SYNC:
		case PORT_DONE:
			return vm->run->io.port;
		default:
			unexpected_exit(vm);
		}
	}
}

int vm_run_to_port(struct vm *vm)
{
	int port;

	do {
		port = vm_run(vm);
	} while (port == -EINTR);
	return port;
}
