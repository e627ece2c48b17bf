/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Addresses of functions that the kernel does not export, and proof that the KVM
 * modules in memory are those this module was built for.
 */
#ifndef _KVMFT_SYMBOL_H
#define _KVMFT_SYMBOL_H

#include <linux/types.h>

/* To be called once, before any other function here. */
int kvmft_symbol_init(void);

/* Address of @symbol of @module ("kvm_amd"); 0 if there is none. */
unsigned long kvmft_symbol_lookup(const char *module, const char *symbol);

/* Where ftrace patches the entry of the function at @addr; 0 if it does not. */
unsigned long kvmft_symbol_fentry(unsigned long addr);

/*
 * 0 if the BTF of the loaded @module has the checksum @crc, else -ENOEXEC after saying so in
 * the kernel log.  May sleep.
 */
int kvmft_symbol_check_btf(const char *module, u32 crc);

#endif /* _KVMFT_SYMBOL_H */
