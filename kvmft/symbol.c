// SPDX-License-Identifier: GPL-2.0
/*
 * kallsyms_lookup_name() and ftrace_location() are not exported.  A kprobe tells
 * the address of the first, which then knows the second.  Both are called through
 * static calls: a direct CALL needs no ENDBR at its target, so neither retpolines
 * nor a sealed ENDBR (IBT) matter.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/crc32.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/kprobes.h>
#include <linux/slab.h>
#include <linux/static_call.h>
#include <asm/ibt.h>

#include "symbol.h"

typedef unsigned long lookup_name_fn(const char *name);
typedef unsigned long ftrace_location_fn(unsigned long addr);

DEFINE_STATIC_CALL_NULL(kvmft_lookup_name, lookup_name_fn);
DEFINE_STATIC_CALL_NULL(kvmft_ftrace_location, ftrace_location_fn);

#define BTF_CHUNK	PAGE_SIZE

/* Kprobes place themselves behind an ENDBR; the function begins before it. */
static unsigned long function_start(unsigned long addr)
{
	static const u8 endbr[][4] = {
		{ 0xf3, 0x0f, 0x1e, 0xfa },	/* ENDBR64 */
		{ 0x66, 0x0f, 0x1f, 0x00 },	/* sealed: the kernel's gen_endbr_poison() */
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(endbr); i++)
		if (!memcmp((void *)(addr - 4), endbr[i], 4))
			return addr - 4;
	return addr;
}

int kvmft_symbol_init(void)
{
	struct kprobe probe = { .symbol_name = "kallsyms_lookup_name" };
	unsigned long addr;
	int ret;

	ret = register_kprobe(&probe);
	if (ret) {
		pr_err("kallsyms_lookup_name: no kprobe (%d); kernel lockdown in confidentiality mode forbids them\n",
		       ret);
		return ret;
	}
	addr = function_start((unsigned long)probe.addr);
	unregister_kprobe(&probe);
	static_call_update(kvmft_lookup_name, (lookup_name_fn *)addr);

	addr = static_call(kvmft_lookup_name)("ftrace_location");
	if (!addr) {
		pr_err("ftrace_location: not found; the kernel needs CONFIG_DYNAMIC_FTRACE and CONFIG_KALLSYMS_ALL\n");
		return -ENOENT;
	}
	static_call_update(kvmft_ftrace_location, (ftrace_location_fn *)addr);
	return 0;
}

unsigned long kvmft_symbol_lookup(const char *module, const char *symbol)
{
	char name[MODULE_NAME_LEN + KSYM_NAME_LEN];

	if (snprintf(name, sizeof(name), "%s:%s", module, symbol) >= sizeof(name))
		return 0;
	return static_call(kvmft_lookup_name)(name);
}

/*
 * Asked about the start of a function ftrace_location() names any place that it knows between there
 * and the next symbol: weak functions that lost, whose symbols are gone, are often behind it.
 */
unsigned long kvmft_symbol_fentry(unsigned long addr)
{
	const unsigned long behind_endbr = addr + ENDBR_INSN_SIZE;

	if (static_call(kvmft_ftrace_location)(addr) == addr)
		return addr;
	if (static_call(kvmft_ftrace_location)(behind_endbr) == behind_endbr)
		return behind_endbr;
	return 0;
}

/*
 * Checksum of the BTF of a loaded module.  Not by kernel_read_file(): security modules
 * take that for code or policy being loaded.
 */
static int btf_checksum(const char *path, u32 *crc)
{
	struct file *file;
	loff_t pos = 0;
	ssize_t len;
	void *buf;

	buf = kmalloc(BTF_CHUNK, GFP_KERNEL);
	if (!buf)
		return -ENOMEM;
	file = filp_open(path, O_RDONLY, 0);
	if (IS_ERR(file)) {
		kfree(buf);
		return PTR_ERR(file);
	}
	*crc = ~0;
	while ((len = kernel_read(file, buf, BTF_CHUNK, &pos)) > 0)
		*crc = crc32_le(*crc, buf, len);
	*crc = ~*crc;
	filp_close(file, NULL);
	kfree(buf);
	return len;
}

int kvmft_symbol_check_btf(const char *module, u32 crc)
{
	char path[sizeof("/sys/kernel/btf/") + MODULE_NAME_LEN];
	u32 found;
	int ret;

	snprintf(path, sizeof(path), "/sys/kernel/btf/%s", module);
	ret = btf_checksum(path, &found);
	if (ret) {
		pr_err("%s: not readable (%d); the kernel needs CONFIG_DEBUG_INFO_BTF_MODULES\n",
		       path, ret);
		return -ENOEXEC;
	}
	if (found != crc) {
		pr_err("%s is not the module kvmft was built for (BTF checksum %#x, not %#x): rebuild kvmft\n",
		       module, found, crc);
		return -ENOEXEC;
	}
	return 0;
}
