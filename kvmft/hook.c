// SPDX-License-Identifier: GPL-2.0
/*
 * One ftrace_ops with FTRACE_OPS_FL_IPMODIFY covers all hooked functions.  Its
 * callback runs at their entry, looks up whether the call is for a protected VM and
 * if so makes ftrace return into the replacement.  The replacement reaches the
 * original by a static call to the instruction behind the fentry site: a direct
 * CALL, so no ENDBR is needed there (IBT), nothing goes through a retpoline, and
 * ftrace is not entered a second time.
 *
 * Removing them: unregister_ftrace_function() waits until no task is left in
 * ftrace's trampoline; the hooked calls of a VM are over before its session lets go
 * of the hooks (vm->calls); synchronize_rcu_tasks() covers tasks that were preempted
 * between the callback and the replacement's first instructions, or between
 * its last reference and its return.
 *
 * Locking: hooks_lock serialises installing and removing; ftrace takes its own
 * locks inside.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ftrace.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/uaccess.h>
#include <asm/text-patching.h>

#include "hook.h"
#include "symbol.h"
#include "vm.h"

static DEFINE_MUTEX(hooks_lock);
static struct kvmft_hook *installed[KVMFT_HOOKS_MAX + 1];	/* ends with NULL */
static unsigned int nr_installed;
static unsigned int users;
static struct module *vendor_module;

static const struct kvm *hook_vm(const struct kvmft_hook *hook, struct ftrace_regs *fregs)
{
	unsigned long arg = ftrace_regs_get_argument(fregs, 0);

	switch (hook->key) {
	case KVMFT_HOOK_VCPU:
		return ((struct kvm_vcpu *)arg)->kvm;
	case KVMFT_HOOK_VCPU_FILE:
		return ((struct kvm_vcpu *)((struct file *)arg)->private_data)->kvm;
	case KVMFT_HOOK_VM:
		return (struct kvm *)arg;
	case KVMFT_HOOK_VM_SECOND:
		return (struct kvm *)ftrace_regs_get_argument(fregs, 1);
	case KVMFT_HOOK_IOAPIC_WORK:
		return kvmft_ioapic_work_vm((struct work_struct *)arg);
	}
	return NULL;
}

static void notrace hook_callback(unsigned long ip, unsigned long parent_ip,
				  struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	struct kvmft_hook *const *hook = installed;

	while (*hook && (*hook)->fentry != ip)
		hook++;
	if (*hook && kvmft_vm_protected(hook_vm(*hook, fregs)))
		ftrace_regs_set_instruction_pointer(fregs, (unsigned long)(*hook)->replacement);
}

static struct ftrace_ops hook_ops = {
	.func = hook_callback,
	.flags = FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_PERMANENT,
};

static int resolve(struct kvmft_hook *hook)
{
	unsigned long addr = kvmft_symbol_lookup(hook->module, hook->function);
	unsigned long fentry;

	if (!addr) {
		pr_err("%s: no such function in %s: inlined, renamed, or a kernel that kvmft does not know\n",
		       hook->function, hook->module);
		return -EOPNOTSUPP;
	}
	if (!hook->replacement) {
		hook->set_original(addr);
		return 0;
	}
	fentry = kvmft_symbol_fentry(addr);
	if (!fentry) {
		pr_err("%s: in %s, but not traceable\n", hook->function, hook->module);
		return -EOPNOTSUPP;
	}
	if (hook->fentry != fentry) {
		hook->set_original(fentry + MCOUNT_INSN_SIZE);
		hook->fentry = fentry;
	}
	return 0;
}

/* Resolve a list of hooks and append it to those to install. */
static int append(struct kvmft_hook *const *hooks, unsigned long *ips, unsigned int *nr)
{
	int ret;

	for (; *hooks; hooks++) {
		if (WARN_ON_ONCE(*nr == KVMFT_HOOKS_MAX))
			return -EOPNOTSUPP;
		ret = resolve(*hooks);
		if (ret)
			return ret;
		if (!(*hooks)->replacement)
			continue;
		installed[*nr] = *hooks;
		ips[*nr] = (*hooks)->fentry;
		++*nr;
	}
	installed[*nr] = NULL;
	return 0;
}

/* Returns when no task is in a replacement any more. */
static void remove(void)
{
	WARN_ON_ONCE(unregister_ftrace_function(&hook_ops));
	WRITE_ONCE(nr_installed, 0);
	synchronize_rcu_tasks();
}

/* Ftrace passes over functions that it has put aside, and does not say so. */
static int check_redirected(unsigned int nr)
{
	unsigned int i;
	u8 opcode;

	for (i = 0; i < nr; i++) {
		if (!get_kernel_nofault(opcode, (u8 *)installed[i]->fentry) &&
		    opcode == CALL_INSN_OPCODE)
			continue;
		pr_err("%s: ftrace does not redirect it\n", installed[i]->function);
		return -EOPNOTSUPP;
	}
	return 0;
}

static int install(struct kvmft_hook *const *const *lists, int nr_lists)
{
	unsigned long ips[KVMFT_HOOKS_MAX];
	unsigned int nr = 0;
	int i, ret;

	for (i = 0; i < nr_lists; i++) {
		ret = append(lists[i], ips, &nr);
		if (ret)
			return ret;
	}

	ret = ftrace_set_filter_ips(&hook_ops, ips, nr, 0, 1);
	if (!ret)
		ret = register_ftrace_function(&hook_ops);
	if (ret) {
		pr_err("ftrace refuses to redirect KVM's functions (%d): a live patch on the same function, or kernel.ftrace_enabled=0\n",
		       ret);
		return ret;
	}
	ret = check_redirected(nr);
	if (ret) {
		remove();
		return ret;
	}
	WRITE_ONCE(nr_installed, nr);
	return 0;
}

int kvmft_hooks_get(struct kvmft_hook *const *const *lists, int nr, struct module *vendor)
{
	int ret = 0;

	mutex_lock(&hooks_lock);
	if (!users) {
		if (!try_module_get(vendor)) {
			ret = -ENODEV;
			goto unlock;
		}
		ret = install(lists, nr);
		if (ret) {
			module_put(vendor);
			goto unlock;
		}
		vendor_module = vendor;
	}
	users++;
unlock:
	mutex_unlock(&hooks_lock);
	return ret;
}

void kvmft_hooks_put(void)
{
	mutex_lock(&hooks_lock);
	if (!WARN_ON_ONCE(!users) && !--users) {
		remove();
		module_put(vendor_module);
		vendor_module = NULL;
	}
	mutex_unlock(&hooks_lock);
}

/*
 * Not whenever they are removed: ftrace_free_filter() leaves its pointers to what it
 * freed, and setting the filter again would free that a second time.
 */
void kvmft_hooks_exit(void)
{
	ftrace_free_filter(&hook_ops);
}

unsigned int kvmft_hooks_installed(void)
{
	return READ_ONCE(nr_installed);
}
