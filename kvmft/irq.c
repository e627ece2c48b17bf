// SPDX-License-Identifier: GPL-2.0
/*
 * The inputs of KVM's interrupt chips: captured where they enter, applied at a boundary.
 *
 * The chips themselves (PIC, IOAPIC, LAPIC) are deterministic: what the guest does to them, and
 * what they do to each other, is not captured.
 */
#include <linux/kvm_host.h>

#include "arch.h"
#include "vm.h"

/* Every interrupt line: the VMM's KVM_IRQ_LINE, the PIT, irqfds that can not be handled below. */
KVMFT_HOOK(kvm_set_irq, "kvm", KVMFT_HOOK_VM);
/* Irqfds, with interrupts off: sent to kvm_set_irq() by way of their work item. */
KVMFT_HOOK(kvm_arch_set_irq_inatomic, "kvm", KVMFT_HOOK_VM_SECOND);
/* KVM_SIGNAL_MSI. */
KVMFT_HOOK(kvm_send_userspace_msi, "kvm", KVMFT_HOOK_VM);
/* Runs on the vCPU's thread after its LAPIC's timer has expired. */
KVMFT_HOOK(kvm_inject_pending_timer_irqs, "kvm", KVMFT_HOOK_VCPU);
/* The PIT's second way into the LAPIC, while some LVT0 is in NMI mode. */
KVMFT_HOOK(kvm_apic_nmi_wd_deliver, "kvm", KVMFT_HOOK_VCPU);
/*
 * A work item, 10 ms after the guest's 10,000th EOI in a row of a level-triggered line that is
 * still raised: KVM has held the interrupt back since, to slow a storm down.
 */
KVMFT_HOOK(kvm_ioapic_eoi_inject_work, "kvm", KVMFT_HOOK_IOAPIC_WORK);
KVMFT_CALLEE(kvm_inject_nmi, "kvm");
KVMFT_CALLEE(kvm_apic_local_deliver, "kvm");

/* True: it will reach its chip at a boundary, or never; false: it has to now. */
static bool captured(struct kvm *kvm, const struct kvmft_input *input)
{
	struct kvmft_vm *vm = kvmft_vm_get(kvm);
	bool taken;

	if (!vm)
		return false;
	taken = vm->applying != current && vm->ops->input(vm, input);
	kvmft_vm_put(vm);
	return taken;
}

static int replace_kvm_set_irq(struct kvm *kvm, int source, u32 gsi, int level,
			       bool line_status)
{
	const struct kvmft_input input = {
		.type = KVMFT_INPUT_LINE,
		.source = source,
		.gsi = gsi,
		.level = !!level,
	};

	if (captured(kvm, &input))
		return 1;	/* it reached one CPU */
	return kvmft_original(kvm_set_irq)(kvm, source, gsi, level, line_status);
}

static int replace_kvm_arch_set_irq_inatomic(struct kvm_kernel_irq_routing_entry *entry,
					     struct kvm *kvm, int source, int level,
					     bool line_status)
{
	struct kvmft_vm *vm = kvmft_vm_get(kvm);
	bool later = false;

	if (vm) {
		later = READ_ONCE(vm->deterministic);
		kvmft_vm_put(vm);
	}
	if (later)
		return -EWOULDBLOCK;
	return kvmft_original(kvm_arch_set_irq_inatomic)(entry, kvm, source, level, line_status);
}

static int replace_kvm_send_userspace_msi(struct kvm *kvm, struct kvm_msi *msi)
{
	const struct kvmft_input input = {
		.type = KVMFT_INPUT_MSI,
		.addr = (u64)msi->address_hi << 32 | msi->address_lo,
		.data = msi->data,
	};

	if (captured(kvm, &input))
		return 1;
	return kvmft_original(kvm_send_userspace_msi)(kvm, msi);
}

#define timer_member(vcpu, type, name)							\
	((type *)((char *)(vcpu)->arch.apic + KVMFT_OFFSET_kvm_lapic__lapic_timer__##name))

static atomic_t *lapic_timer_pending(struct kvm_vcpu *vcpu)
{
	return timer_member(vcpu, atomic_t, pending);
}

/* When it is to expire, in one way or the other: another value once the guest has set it anew. */
static u64 timer_setting(const struct kvm_vcpu *vcpu)
{
	return *timer_member(vcpu, u64, tscdeadline) ^
	       *timer_member(vcpu, ktime_t, target_expiration);
}

void kvmft_vm_look_at_timers(const struct kvmft_vm *vm, struct kvmft_input *inputs, unsigned int nr)
{
	u64 setting = timer_setting(vm->vcpu);
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (inputs[i].type == KVMFT_INPUT_TIMER && inputs[i].addr != setting)
			inputs[i].type = KVMFT_INPUT_TIMER_KEPT;
}

/*
 * As kvm_apic_inject_pending_timer_irqs(): the interrupt, and it is forgotten when it was to come,
 * unless that is another time already (@keep).  Whether the timer has expired again meanwhile is
 * left alone.
 */
static void deliver_timer(struct kvm_vcpu *vcpu, bool keep)
{
	u32 mode = *timer_member(vcpu, u32, timer_mode);

	kvmft_call(kvm_apic_local_deliver)(vcpu->arch.apic, APIC_LVTT);
	if (keep || mode == APIC_LVT_TIMER_PERIODIC)
		return;
	*timer_member(vcpu, u64, tscdeadline) = 0;
	if (mode == APIC_LVT_TIMER_ONESHOT)
		*timer_member(vcpu, ktime_t, target_expiration) = 0;
}

static void replace_kvm_inject_pending_timer_irqs(struct kvm_vcpu *vcpu)
{
	const struct kvmft_input input = {
		.type = KVMFT_INPUT_TIMER,
		.addr = timer_setting(vcpu),
	};

	/* However often it expired, KVM delivers one interrupt. */
	if (atomic_read(lapic_timer_pending(vcpu)) > 0 && captured(vcpu->kvm, &input))
		atomic_set(lapic_timer_pending(vcpu), 0);
	else
		kvmft_original(kvm_inject_pending_timer_irqs)(vcpu);
}

static void replace_kvm_apic_nmi_wd_deliver(struct kvm_vcpu *vcpu)
{
	static const struct kvmft_input input = { .type = KVMFT_INPUT_LINT0 };

	if (!captured(vcpu->kvm, &input))
		kvmft_original(kvm_apic_nmi_wd_deliver)(vcpu);
}

static void replace_kvm_ioapic_eoi_inject_work(struct work_struct *work)
{
	static const struct kvmft_input input = { .type = KVMFT_INPUT_REINJECT };

	if (!captured(kvmft_ioapic_work_vm(work), &input))
		kvmft_original(kvm_ioapic_eoi_inject_work)(work);
}

static struct work_struct *ioapic_work(struct kvm *kvm)
{
	return (struct work_struct *)((char *)kvm->arch.vioapic +
				      KVMFT_OFFSET_kvm_ioapic__eoi_inject__work);
}

bool kvmft_vm_interrupt(const struct kvmft_session_input *from, struct kvmft_input *input)
{
	switch (from->irq) {
	case KVMFT_IRQ_LINE:
		*input = (struct kvmft_input) {
			.type = KVMFT_INPUT_LINE,
			.source = KVM_USERSPACE_IRQ_SOURCE_ID,
			.gsi = from->gsi,
			.level = from->level,
		};
		return true;
	case KVMFT_IRQ_MSI:
		*input = (struct kvmft_input) {
			.type = KVMFT_INPUT_MSI,
			.addr = from->msi_addr,
			.data = from->msi_data,
		};
		return true;
	}
	return false;
}

void kvmft_vm_apply(struct kvmft_vm *vm, const struct kvmft_input *input)
{
	struct kvm_msi msi;

	WRITE_ONCE(vm->applying, current);
	switch (input->type) {
	case KVMFT_INPUT_TIMER:
	case KVMFT_INPUT_TIMER_KEPT:
		deliver_timer(vm->vcpu, input->type == KVMFT_INPUT_TIMER_KEPT);
		break;
	case KVMFT_INPUT_LINE:
		kvmft_original(kvm_set_irq)(vm->kvm, input->source, input->gsi, input->level,
					    false);
		break;
	case KVMFT_INPUT_MSI:
		msi = (struct kvm_msi) {
			.address_lo = lower_32_bits(input->addr),
			.address_hi = upper_32_bits(input->addr),
			.data = input->data,
		};
		kvmft_original(kvm_send_userspace_msi)(vm->kvm, &msi);
		break;
	case KVMFT_INPUT_NMI:
		kvmft_call(kvm_inject_nmi)(vm->vcpu);
		break;
	case KVMFT_INPUT_LINT0:
		kvmft_original(kvm_apic_nmi_wd_deliver)(vm->vcpu);
		break;
	case KVMFT_INPUT_REINJECT:
		kvmft_original(kvm_ioapic_eoi_inject_work)(ioapic_work(vm->kvm));
		break;
	case KVMFT_INPUT_MEMORY:
		/* A slot that is gone since is gone on both sides. */
		kvm_vcpu_write_guest(vm->vcpu, input->addr, input->bytes, input->len);
		break;
	}
	WRITE_ONCE(vm->applying, NULL);
}

/*
 * Not kvm_write_guest(), which wants to be called with the vCPU loaded, for the sake of KVM's dirty
 * ring.  QEMU's migration does not notice these bytes; it writes no memory this way either.
 */
static void flush_memory(struct kvmft_vm *vm, const struct kvmft_input *input)
{
	u32 done, size;
	int idx;

	/* The VMM is no more: user addresses mean somebody else's memory. */
	if (current->mm != vm->kvm->mm)
		return;
	idx = srcu_read_lock(&vm->kvm->srcu);
	for (done = 0; done < input->len; done += size) {
		u64 addr = input->addr + done;
		unsigned long hva = gfn_to_hva(vm->kvm, gpa_to_gfn(addr));
		void __user *to = (void __user *)(hva + offset_in_page(addr));

		size = min_t(u32, input->len - done, PAGE_SIZE - offset_in_page(addr));
		if (!kvm_is_error_hva(hva) && copy_to_user(to, input->bytes + done, size))
			break;
	}
	srcu_read_unlock(&vm->kvm->srcu, idx);
}

void kvmft_vm_flush(struct kvmft_vm *vm, const struct kvmft_input *input)
{
	switch (input->type) {
	case KVMFT_INPUT_TIMER:
		/* KVM looks at it on the vCPU's thread. */
		atomic_set(lapic_timer_pending(vm->vcpu), 1);
		kvm_make_request(KVM_REQ_UNBLOCK, vm->vcpu);
		kvm_vcpu_kick(vm->vcpu);
		break;
	case KVMFT_INPUT_MEMORY:
		flush_memory(vm, input);
		break;
	default:
		kvmft_vm_apply(vm, input);
	}
}

struct kvmft_hook *const kvmft_irq_hooks[] = {
	&hook_kvm_inject_pending_timer_irqs,
	&hook_kvm_set_irq,
	&hook_kvm_arch_set_irq_inatomic,
	&hook_kvm_send_userspace_msi,
	&hook_kvm_apic_nmi_wd_deliver,
	&hook_kvm_ioapic_eoi_inject_work,
	&callee_kvm_inject_nmi,
	&callee_kvm_apic_local_deliver,
	NULL
};
