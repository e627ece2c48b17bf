// SPDX-License-Identifier: GPL-2.0
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <asm/apicdef.h>
#include <asm/fpu/api.h>
#include <asm/fpu/types.h>
#include <linux/highmem.h>
#include <linux/kthread.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/xxhash.h>

#include "machine.h"

#define PAGES_AT_ONCE		64

KVMFT_CALLEE(kvm_pmu_refresh, "kvm");
KVMFT_CALLEE(kvm_set_lapic_tscdeadline_msr, "kvm");
KVMFT_CALLEE(kvm_pit_load_count, "kvm");

struct kvmft_hook *const kvmft_vm_callees[] = {
	&callee_kvm_pmu_refresh,
	&callee_kvm_set_lapic_tscdeadline_msr,
	&callee_kvm_pit_load_count,
	NULL
};

/* What the VMM or the guest uses already and no log explains; NULL: nothing. */
static const char *refusal(const struct kvm_vcpu *vcpu, const struct kvmft_arch_ops *arch)
{
	const struct kvm *kvm = vcpu->kvm;

	if (kvm->arch.vm_type != KVM_X86_DEFAULT_VM || vcpu->arch.guest_state_protected ||
	    arch->encrypted(vcpu))
		return "its memory or registers are encrypted";
	if (kvm->arch.hlt_in_guest || kvm->arch.mwait_in_guest || kvm->arch.cstate_in_guest)
		return "it sleeps without leaving the guest (QEMU's -overcommit cpu-pm=on)";
	if (kvm->arch.xen_hvm_config.flags || kvm->arch.xen_hvm_config.msr)
		return "KVM is to be a Xen for it";
	if (kvm->arch.irqchip_mode != KVM_IRQCHIP_KERNEL)
		return "its interrupt chips are not in the kernel (-machine kernel-irqchip=on)";
	if (vcpu->arch.apic_base & X2APIC_ENABLE)
		return "the guest uses the x2APIC";
	if (vcpu->arch.pv_time.active || vcpu->arch.st.msr_val || vcpu->arch.apf.msr_en_val ||
	    vcpu->arch.pv_eoi.msr_val)
		return "the guest uses a paravirtual clock or feature of KVM";
	if (vcpu->arch.hyperv_enabled)
		return "the guest has Hyper-V enlightenments: QEMU needs -cpu without hv-*";
	if (vcpu->guest_debug)
		return KVMFT_NO_DEBUGGER;
	return NULL;
}

static void hide_paravirtual(struct kvm_vcpu *vcpu)
{
	vcpu->arch.pv_cpuid.enforce = true;
	vcpu->arch.pv_cpuid.features = 0;
}

const char *kvmft_machine_begin(const struct kvmft_vm *vm, const struct kvmft_arch_ops *arch)
{
	/* KVM_SET_CPUID2 has them as the VMM wants it; once the vCPU has run it changes nothing. */
	hide_paravirtual(vm->vcpu);
	return refusal(vm->vcpu, arch);
}

int kvmft_machine_arm(struct kvmft_vm *vm, const struct kvmft_arch_ops *arch)
{
	struct kvm_vcpu *vcpu = vm->vcpu;
	struct kvm *kvm = vm->kvm;
	const char *reason;

	/* KVM's own test, kvm_vcpu_has_run() in arch/x86/kvm/x86.h. */
	if (vcpu->arch.last_vmentry_cpu != -1)
		return -EBUSY;
	/* One that is made later ends the session when the guest first uses it. */
	reason = list_empty(&kvm->ioeventfds) ? refusal(vcpu, arch) : KVMFT_NO_IOEVENTFD;
	if (reason) {
		pr_warn("this VM can not be recorded or replayed: %s\n", reason);
		return -EOPNOTSUPP;
	}

	kvm_set_or_clear_apicv_inhibit(kvm, APICV_INHIBIT_REASON_DISABLED, true);
	hide_paravirtual(vcpu);
	kvm->arch.enable_pmu = false;
	kvmft_call(kvm_pmu_refresh)(vcpu);
	WRITE_ONCE(vm->deterministic, true);
	return 0;
}

void kvmft_machine_kill(struct kvmft_vm *vm)
{
	kvm_vm_dead(vm->kvm);
}

bool kvmft_machine_is_dead(const struct kvmft_vm *vm)
{
	return vm->kvm->vm_dead;
}

bool kvmft_machine_has_memory(const struct kvmft_vm *vm, u64 addr, u64 len)
{
	bool has = addr + len >= addr;
	u64 end = addr + len;
	int idx;

	idx = srcu_read_lock(&vm->kvm->srcu);
	for (addr &= PAGE_MASK; has && addr < end; addr += PAGE_SIZE)
		has = kvm_is_visible_gfn(vm->kvm, gpa_to_gfn(addr));
	srcu_read_unlock(&vm->kvm->srcu, idx);
	return has;
}

bool kvmft_machine_is_at(const struct kvmft_vm *vm, const struct mm_struct *mm, u64 addr, u64 user)
{
	unsigned long hva;
	int idx;

	if (vm->kvm->mm != mm)
		return false;
	idx = srcu_read_lock(&vm->kvm->srcu);
	hva = gfn_to_hva(vm->kvm, gpa_to_gfn(addr));
	srcu_read_unlock(&vm->kvm->srcu, idx);
	return !kvm_is_error_hva(hva) && hva + offset_in_page(addr) == user;
}

struct mm_struct *kvmft_machine_use_mm(const struct kvmft_vm *vm)
{
	struct mm_struct *mm = vm->kvm->mm;

	if (!mmget_not_zero(mm))
		return NULL;
	kthread_use_mm(mm);
	return mm;
}

void kvmft_machine_unuse_mm(struct mm_struct *mm)
{
	if (!mm)
		return;
	kthread_unuse_mm(mm);
	mmput(mm);
}

static u64 cpuid_hash(const struct kvm_vcpu *vcpu)
{
	struct xxh64_state state;
	int i;

	xxh64_reset(&state, 0);
	for (i = 0; i < vcpu->arch.cpuid_nent; i++)
		xxh64_update(&state, &vcpu->arch.cpuid_entries[i],
			     offsetof(struct kvm_cpuid_entry2, padding));
	return xxh64_digest(&state);
}

/* APM volume 2, 14.1.3. */
#define RESET_VECTOR	0xfffffff0

bool kvmft_machine_is_reset(const struct kvmft_vm *vm, const struct kvmft_arch_ops *arch)
{
	return arch->linear_rip(vm->vcpu) == RESET_VECTOR;
}

static struct kvm_memory_slot *slot_of(struct rb_node *node, const struct kvm_memslots *slots)
{
	return container_of(node, struct kvm_memory_slot, gfn_node[slots->node_idx]);
}

/* KVM's own slots (APIC access page, ...) have no contents of the guest's. */
static bool is_guest_memory(const struct kvm_memory_slot *slot)
{
	return slot->id < KVM_USER_MEM_SLOTS && !(slot->flags & KVM_MEMSLOT_INVALID);
}

static struct kvmft_slot description(const struct kvm_memory_slot *slot)
{
	return (struct kvmft_slot) {
		.addr = cpu_to_le64(gfn_to_gpa(slot->base_gfn)),
		.size = cpu_to_le64(gfn_to_gpa(slot->npages)),
		.flags = cpu_to_le64(slot->flags),
	};
}

void kvmft_machine_shape(const struct kvmft_vm *vm, u64 *cpuid, u64 *slots)
{
	const struct kvm_memslots *memslots;
	struct xxh64_state state;
	struct kvmft_slot slot;
	struct rb_node *node;
	int idx;

	*cpuid = cpuid_hash(vm->vcpu);
	xxh64_reset(&state, 0);
	idx = srcu_read_lock(&vm->kvm->srcu);
	memslots = kvm_memslots(vm->kvm);
	for (node = rb_first(&memslots->gfn_tree); node; node = rb_next(node)) {
		if (!is_guest_memory(slot_of(node, memslots)))
			continue;
		slot = description(slot_of(node, memslots));
		xxh64_update(&state, &slot, sizeof(slot));
	}
	srcu_read_unlock(&vm->kvm->srcu, idx);
	*slots = xxh64_digest(&state);
}

void kvmft_machine_describe(struct kvmft_vm *vm, const struct kvmft_arch_ops *arch,
			    struct kvmft_start *start)
{
	struct kvm_memslots *slots = kvm_memslots(vm->kvm);
	struct rb_node *node;
	u64 nr = 0;

	memset(start, 0, sizeof(*start));
	start->cpu = cpu_to_le32(cpuid_eax(1));
	start->vendor = cpu_to_le32(boot_cpu_data.x86_vendor);
	start->tsc_khz = cpu_to_le32(vm->vcpu->arch.virtual_tsc_khz);
	start->cpuid = cpu_to_le64(cpuid_hash(vm->vcpu));
	for (node = rb_first(&slots->gfn_tree); node; node = rb_next(node)) {
		struct kvm_memory_slot *slot = slot_of(node, slots);

		if (!is_guest_memory(slot))
			continue;
		if (nr < KVMFT_SLOTS_MAX)
			start->slots[nr] = description(slot);
		nr++;
	}
	start->nr_slots = cpu_to_le64(nr);
	kvmft_machine_regs(vm, arch, &start->regs);
}

/*
 * XSAVE's canonical form: components in their initial state are written out, so that it does
 * not matter which of them the processor thinks are in use.
 */
static u64 fpu_hash(struct kvm_vcpu *vcpu)
{
	struct kvm_xsave *xsave;
	u64 hash;

	xsave = kzalloc(sizeof(*xsave), GFP_KERNEL);
	if (!xsave)
		return 0;
	/* Write what the processor holds of the guest's state to memory. */
	kernel_fpu_begin();
	kernel_fpu_end();
	fpu_copy_guest_fpstate_to_uabi(&vcpu->arch.guest_fpu, xsave, sizeof(*xsave),
				       vcpu->arch.guest_fpu.fpstate->user_xfeatures,
				       vcpu->arch.pkru);
	/* The header's first word says which are in use. */
	memset((u8 *)xsave + sizeof(struct fxregs_state), 0, sizeof(u64));
	hash = xxh64(xsave, sizeof(*xsave), 0);
	kfree(xsave);
	return hash;
}

static u64 apic_hash(const struct kvm_vcpu *vcpu)
{
	const char *regs = *(char **)((char *)vcpu->arch.apic + KVMFT_OFFSET_kvm_lapic__regs);
	struct xxh64_state state;

	xxh64_reset(&state, 0);
	xxh64_update(&state, regs, APIC_TMCCT);
	xxh64_update(&state, regs + APIC_TDCR, 0x400 - APIC_TDCR);
	return xxh64_digest(&state);
}

static u64 events(struct kvm_vcpu_arch *arch)
{
	u64 interrupt = arch->interrupt.injected ? BIT(8) | arch->interrupt.nr : 0;
	u64 nmis = arch->nmi_pending + atomic_read(&arch->nmi_queued);

	return interrupt | (u64)arch->nmi_injected << 9 | (u64)arch->smi_pending << 10 |
	       (u64)arch->exception.pending << 11 | (u64)arch->exception.injected << 12 |
	       nmis << 16;
}

void kvmft_machine_regs(const struct kvmft_vm *vm, const struct kvmft_arch_ops *arch,
			struct kvmft_regs *regs)
{
	struct kvm_vcpu *vcpu = vm->vcpu;
	int i;

	memset(regs, 0, sizeof(*regs));
	for (i = 0; i < ARRAY_SIZE(regs->gpr); i++)
		regs->gpr[i] = cpu_to_le64(vcpu->arch.regs[i]);
	regs->rip = cpu_to_le64(vcpu->arch.regs[VCPU_REGS_RIP]);
	for (i = 0; i < KVM_NR_DB_REGS; i++)
		regs->dr[i] = cpu_to_le64(vcpu->arch.db[i]);
	regs->dr[4] = cpu_to_le64(vcpu->arch.dr6);
	regs->dr[5] = cpu_to_le64(vcpu->arch.dr7);
	regs->msr[8] = cpu_to_le64(vcpu->arch.pat);
	regs->msr[9] = cpu_to_le64(vcpu->arch.apic_base);
	regs->msr[11] = cpu_to_le64(vcpu->arch.xcr0);
	regs->apic = cpu_to_le64(apic_hash(vcpu));
	regs->fpu = cpu_to_le64(fpu_hash(vcpu));
	regs->activity = cpu_to_le64(vcpu->arch.mp_state);
	regs->events = cpu_to_le64(events(&vcpu->arch));
	arch->regs(vcpu, regs);
}

u32 kvmft_machine_state(const struct kvmft_vm *vm, u64 rip, u64 flags,
			const struct kvmft_position *pos, u64 exits)
{
	const u64 more[] = {
		rip, flags & ~(u64)X86_EFLAGS_RF, pos->cond, pos->taken, exits,
	};
	u64 hash;

	BUILD_BUG_ON(VCPU_REGS_R15 != 15);
	hash = xxh64(vm->vcpu->arch.regs, 16 * sizeof(u64), 0);
	hash = xxh64(more, sizeof(more), hash);
	return hash ^ hash >> 32;
}

/* A string instruction with a repeat prefix: it can be interrupted in its middle. */
static bool is_repeated(struct kvm_vcpu *vcpu, u64 linear)
{
	u8 code[15];	/* no instruction is longer */
	bool rep = false;
	gpa_t addr;
	int i, len;

	len = min_t(u64, sizeof(code), PAGE_SIZE - offset_in_page(linear));
	addr = kvm_mmu_gva_to_gpa_read(vcpu, linear, NULL);
	if (addr == INVALID_GPA || kvm_vcpu_read_guest(vcpu, addr, code, len))
		return true;
	for (i = 0; i < len; i++) {
		switch (code[i]) {
		case 0xf2:
		case 0xf3:
			rep = true;
			break;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0x64 ... 0x67:
		case 0x40 ... 0x4f:	/* REX; no prefix, and no matter, outside 64-bit mode */
			break;
		case 0x6c ... 0x6f:
		case 0xa4 ... 0xa7:
		case 0xaa ... 0xaf:
			return rep;
		default:
			return false;
		}
	}
	/* Prefixes up to the end of the page: the rest is not worth a second look. */
	return true;
}

bool kvmft_machine_stable(struct kvmft_vm *vm, const struct kvmft_arch_ops *arch)
{
	return arch->stable(vm->vcpu) &&
	       !is_repeated(vm->vcpu, arch->linear_rip(vm->vcpu));
}

bool kvmft_machine_delivering(const struct kvmft_vm *vm)
{
	const struct kvm_vcpu_arch *arch = &vm->vcpu->arch;

	return arch->exception.pending || arch->exception.injected || arch->nmi_injected ||
	       arch->interrupt.injected;
}

bool kvmft_machine_halted(const struct kvmft_vm *vm)
{
	return vm->vcpu->arch.mp_state != KVM_MP_STATE_RUNNABLE;
}

/* Most of a young guest's memory is zero, and this is cheaper than its hash. */
static bool page_is_zero(const u64 *word)
{
	const u64 *end = word + PAGE_SIZE / sizeof(*word);

	for (; word < end; word += 8)
		if (word[0] | word[1] | word[2] | word[3] | word[4] | word[5] | word[6] | word[7])
			return false;
	return true;
}

/* Hash the page at @addr of the VMM's, its content in @page if it was there; 0: it is zero. */
static int hash_page(unsigned long addr, struct page *page, void *bounce, u64 *hash)
{
	const void *bytes = bounce;

	if (page)
		bytes = kmap_local_page(page);
	else if (copy_from_user(bounce, (void __user *)addr, PAGE_SIZE))
		return -EFAULT;
	*hash = page_is_zero(bytes) ? 0 : xxh64(bytes, PAGE_SIZE, 0) ?: 1;
	if (page)
		kunmap_local(bytes);
	return 0;
}

/* A slot's pages, several at a time: finding one costs as much as seeing that it is zero. */
static int slot_pages(struct kvm_memory_slot *slot, void *bounce,
		      int (*fn)(void *ctx, u64 addr, u64 hash), void *ctx)
{
	struct page *pages[PAGES_AT_ONCE];
	unsigned long at, addr;
	int i, nr, ret = 0;
	u64 hash;

	for (at = 0; at < slot->npages && !ret; at += max(nr, 1)) {
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		addr = __gfn_to_hva_memslot(slot, slot->base_gfn + at);
		/* Those that are there, up to the first that is not. */
		nr = get_user_pages_fast_only(addr, min_t(unsigned long, slot->npages - at,
							  PAGES_AT_ONCE), 0, pages);
		for (i = 0; i < max(nr, 1) && !ret; i++) {
			ret = hash_page(addr + i * PAGE_SIZE, nr > 0 ? pages[i] : NULL, bounce,
					&hash);
			if (!ret && hash)
				ret = fn(ctx, gfn_to_gpa(slot->base_gfn + at + i), hash);
		}
		for (i = 0; i < nr; i++)
			put_page(pages[i]);
	}
	return ret;
}

int kvmft_machine_pages(struct kvmft_vm *vm, int (*fn)(void *ctx, u64 addr, u64 hash), void *ctx)
{
	struct kvm_memslots *slots = kvm_memslots(vm->kvm);
	struct rb_node *node;
	void *bounce;
	int ret = 0;

	bounce = (void *)__get_free_page(GFP_KERNEL);
	if (!bounce)
		return -ENOMEM;
	for (node = rb_first(&slots->gfn_tree); node && !ret; node = rb_next(node)) {
		struct kvm_memory_slot *slot = slot_of(node, slots);

		if (is_guest_memory(slot))
			ret = slot_pages(slot, bounce, fn, ctx);
	}
	free_page((unsigned long)bounce);
	/* Its memory may have gone before. */
	return ret && fatal_signal_pending(current) ? -EINTR : ret;
}

static int digest_page(void *ctx, u64 addr, u64 hash)
{
	const u64 both[] = { addr, hash };
	u64 *digest = ctx;

	*digest = xxh64(both, sizeof(both), *digest);
	return 0;
}

int kvmft_machine_memory(struct kvmft_vm *vm, u64 *digest)
{
	int ret;

	*digest = 0;
	ret = kvmft_machine_pages(vm, digest_page, digest);
	if (!*digest)
		*digest = 1;
	return ret;
}

void kvmft_machine_kick(struct kvmft_vm *vm)
{
	kvm_make_request(KVM_REQ_EVENT, vm->vcpu);
	kvm_make_request(KVM_REQ_UNBLOCK, vm->vcpu);
	kvm_vcpu_kick(vm->vcpu);
}

void kvmft_machine_unblock(struct kvmft_vm *vm)
{
	kvm_make_request(KVM_REQ_EVENT, vm->vcpu);
	kvm_make_request(KVM_REQ_UNBLOCK, vm->vcpu);
	kvm_vcpu_wake_up(vm->vcpu);
}

void kvmft_machine_sleep(struct kvmft_vm *vm)
	__releases(&vm->kvm->srcu)
{
	kvm_vcpu_srcu_read_unlock(vm->vcpu);
}

void kvmft_machine_wake(struct kvmft_vm *vm)
	__acquires(&vm->kvm->srcu)
{
	kvm_vcpu_srcu_read_lock(vm->vcpu);
}

u64 kvmft_machine_tsc_offset(const struct kvmft_vm *vm, u64 tsc)
{
	struct kvm_vcpu *vcpu = vm->vcpu;

	/* The rate may be scaled. */
	return vcpu->arch.l1_tsc_offset + tsc - kvm_read_l1_tsc(vcpu, rdtsc());
}

#define member(type, base, path)	((type *)((char *)(base) + KVMFT_OFFSET_##path))

/*
 * On this side it was started when the guest wrote its registers, as ever; its expiries were
 * dropped.  KVM forgets when it is to expire once the expiry has been delivered: that of the log.
 * One that comes here after it would be another.  A deadline is a value of the guest's TSC.
 */
static void restart_lapic_timer(struct kvm_vcpu *vcpu)
{
	void *apic = vcpu->arch.apic;
	struct hrtimer *timer = member(struct hrtimer, apic, kvm_lapic__lapic_timer__timer);
	atomic_t *pending = member(atomic_t, apic, kvm_lapic__lapic_timer__pending);
	u64 deadline = *member(u64, apic, kvm_lapic__lapic_timer__tscdeadline);
	ktime_t expires = *member(ktime_t, apic, kvm_lapic__lapic_timer__target_expiration);
	u32 mode = *member(u32, apic, kvm_lapic__lapic_timer__timer_mode);

	if (mode == APIC_LVT_TIMER_PERIODIC) {
		atomic_set(pending, 0);
	} else if (mode == APIC_LVT_TIMER_TSCDEADLINE && deadline) {
		kvmft_call(kvm_set_lapic_tscdeadline_msr)(vcpu, deadline);
	} else {
		hrtimer_cancel(timer);
		atomic_set(pending, 0);
		if (mode == APIC_LVT_TIMER_ONESHOT && expires)
			hrtimer_start(timer, expires, HRTIMER_MODE_ABS_HARD);
	}
}

/* i8254: rate generator, square wave. */
#define PIT_MODE_RATE	2
#define PIT_MODE_SQUARE	3

/*
 * It may wait until the guest has taken an interrupt that was dropped.  One that fires once is
 * left alone: it might fire twice.
 */
static void restart_pit(struct kvm *kvm)
{
	struct kvm_pit *pit = kvm->arch.vpit;
	char *channel;
	u8 mode;

	if (!pit)
		return;
	channel = member(char, pit, kvm_pit__pit_state__channels);
	mutex_lock(member(struct mutex, pit, kvm_pit__pit_state__lock));
	mode = *member(u8, channel, kvm_kpit_channel_state__mode);
	if (mode == PIT_MODE_RATE || mode == PIT_MODE_SQUARE)
		kvmft_call(kvm_pit_load_count)(pit, 0, *member(u32, channel,
							       kvm_kpit_channel_state__count), 0);
	mutex_unlock(member(struct mutex, pit, kvm_pit__pit_state__lock));
}

static void sample_lines(struct kvmft_vm *vm, const unsigned long *lines)
{
	struct kvmft_input input = {
		.type = KVMFT_INPUT_LINE,
		.source = KVM_USERSPACE_IRQ_SOURCE_ID,
	};
	unsigned long now;

	/* Again if a device has changed one meanwhile, and perhaps been overtaken by this. */
	do {
		/* Pairs with replay_input(). */
		smp_mb();
		now = READ_ONCE(*lines);
		for (input.gsi = 0; input.gsi < KVMFT_LINES; input.gsi++) {
			input.level = test_bit(input.gsi, &now);
			kvmft_vm_apply(vm, &input);
		}
		/* The same. */
		smp_mb();
	} while (READ_ONCE(*lines) != now);
}

void kvmft_machine_go_live(struct kvmft_vm *vm, const struct kvmft_arch_ops *arch,
			   const u64 *tsc_offset, const unsigned long *lines)
{
	struct kvm_vcpu *vcpu = vm->vcpu;

	if (tsc_offset)
		arch->set_tsc_offset(vcpu, *tsc_offset);
	restart_lapic_timer(vcpu);
	restart_pit(vm->kvm);
	sample_lines(vm, lines);
	kvm_make_request(KVM_REQ_EVENT, vcpu);
}
