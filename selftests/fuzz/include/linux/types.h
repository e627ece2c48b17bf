/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FUZZ_LINUX_TYPES_H
#define _FUZZ_LINUX_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

typedef u32 __le32;
typedef u64 __le64;

#endif /* _FUZZ_LINUX_TYPES_H */
