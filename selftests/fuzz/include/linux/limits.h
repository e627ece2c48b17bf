/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FUZZ_LINUX_LIMITS_H
#define _FUZZ_LINUX_LIMITS_H

/* glibc's <limits.h> needs the other one, too. */
#include_next <linux/limits.h>

#define U16_MAX		((u16)~0U)
#define U32_MAX		((u32)~0U)
#define U64_MAX		((u64)~0ULL)

#endif /* _FUZZ_LINUX_LIMITS_H */
