/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FUZZ_ASM_BYTEORDER_H
#define _FUZZ_ASM_BYTEORDER_H

#include <linux/types.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "these are for little-endian machines"
#endif

#define cpu_to_le32(value)	((u32)(value))
#define cpu_to_le64(value)	((u64)(value))
#define le32_to_cpu(value)	((u32)(value))
#define le64_to_cpu(value)	((u64)(value))

#endif /* _FUZZ_ASM_BYTEORDER_H */
