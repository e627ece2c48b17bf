/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Redirect a function of KVM by name, on an unmodified kernel.
 *
 *	KVMFT_HOOK(svm_vcpu_run, "kvm_amd", KVMFT_HOOK_VCPU);
 *
 *	static fastpath_t replace_svm_vcpu_run(struct kvm_vcpu *vcpu, u64 run_flags)
 *	{
 *		...
 *		return kvmft_original(svm_vcpu_run)(vcpu, run_flags);
 *	}
 *
 * The prototype comes from the target's BTF (layout.h): a replacement that does not
 * match it does not compile.  The replacement only ever runs for a VM that was
 * protected when the function was called; every other VM goes from ftrace's
 * trampoline straight into the original.
 */
#ifndef _KVMFT_HOOK_H
#define _KVMFT_HOOK_H

#include <linux/kvm_host.h>
#include <linux/module.h>
#include <linux/static_call.h>

#include "layout.h"

/**
 * enum kvmft_hook_key - what the first argument of a hooked function is
 * @KVMFT_HOOK_VCPU: struct kvm_vcpu *
 * @KVMFT_HOOK_VCPU_FILE: struct file *, opened by KVM_CREATE_VCPU
 * @KVMFT_HOOK_VM: struct kvm *
 * @KVMFT_HOOK_VM_SECOND: of no interest; the second is a struct kvm *
 * @KVMFT_HOOK_IOAPIC_WORK: struct work_struct *, of an IOAPIC
 */
enum kvmft_hook_key {
	KVMFT_HOOK_VCPU,
	KVMFT_HOOK_VCPU_FILE,
	KVMFT_HOOK_VM,
	KVMFT_HOOK_VM_SECOND,
	KVMFT_HOOK_IOAPIC_WORK,
};

/* The VM whose struct kvm_ioapic, which is in no header, has this work item. */
static inline struct kvm *kvmft_ioapic_work_vm(const struct work_struct *work)
{
	const char *ioapic = (const char *)work - KVMFT_OFFSET_kvm_ioapic__eoi_inject__work;

	return *(struct kvm **)(ioapic + KVMFT_OFFSET_kvm_ioapic__kvm);
}

/**
 * struct kvmft_hook - a function and its replacement
 * @module: the module that has it
 * @function: its name
 * @key: how to tell whose call it is
 * @replacement: called in its stead; NULL: it is only called, see KVMFT_CALLEE()
 * @set_original: tells the static call behind kvmft_original() its target
 * @fentry: where ftrace patches it, once installed
 */
struct kvmft_hook {
	const char *module;
	const char *function;
	enum kvmft_hook_key key;
	void *replacement;
	void (*set_original)(unsigned long addr);
	unsigned long fentry;
};

#define KVMFT_HOOK(fn, mod, how)						\
	static kvmft_proto_##fn replace_##fn;					\
	DEFINE_STATIC_CALL(kvmft_original_##fn, replace_##fn);			\
	static void set_original_##fn(unsigned long addr)			\
	{									\
		static_call_update(kvmft_original_##fn,				\
				   (kvmft_proto_##fn *)addr);			\
	}									\
	static struct kvmft_hook hook_##fn = {					\
		.module = mod,							\
		.function = #fn,						\
		.key = how,							\
		.replacement = replace_##fn,					\
		.set_original = set_original_##fn,				\
	}

#define kvmft_original(fn)	static_call(kvmft_original_##fn)

/*
 * Call a function of KVM that is not exported:
 *
 *	KVMFT_CALLEE(kvm_pmu_refresh, "kvm");
 *	kvmft_call(kvm_pmu_refresh)(vcpu);
 *
 * It is in a list of hooks as any hook, but is not redirected.
 */
#define KVMFT_CALLEE(fn, mod)							\
	DEFINE_STATIC_CALL_NULL(kvmft_callee_##fn, kvmft_proto_##fn);		\
	static void set_callee_##fn(unsigned long addr)				\
	{									\
		static_call_update(kvmft_callee_##fn,				\
				   (kvmft_proto_##fn *)addr);			\
	}									\
	static struct kvmft_hook callee_##fn = {				\
		.module = mod,							\
		.function = #fn,						\
		.set_original = set_callee_##fn,				\
	}

#define kvmft_call(fn)		static_call(kvmft_callee_##fn)

#define KVMFT_HOOKS_MAX		32

/*
 * Hooks are counted: the first user installs them, the last one removes them.
 * @lists are @nr NULL-terminated lists, the most frequently called first; @vendor is pinned
 * while they are installed.  A function that is missing, inlined or not traceable is named in
 * the kernel log and nothing is installed (-EOPNOTSUPP).
 * Both may sleep, for as long as other tasks are preempted inside a hook.
 */
int kvmft_hooks_get(struct kvmft_hook *const *const *lists, int nr, struct module *vendor);
void kvmft_hooks_put(void);

/* To be called once, when no user is left that could come back. */
void kvmft_hooks_exit(void);

/* Number of functions redirected now. */
unsigned int kvmft_hooks_installed(void);

#endif /* _KVMFT_HOOK_H */
