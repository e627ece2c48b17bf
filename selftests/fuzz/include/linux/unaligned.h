/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FUZZ_LINUX_UNALIGNED_H
#define _FUZZ_LINUX_UNALIGNED_H

#include <linux/types.h>

static inline u16 get_unaligned_le16(const void *bytes)
{
	u16 value;

	__builtin_memcpy(&value, bytes, sizeof(value));
	return value;
}

static inline u64 get_unaligned_le64(const void *bytes)
{
	u64 value;

	__builtin_memcpy(&value, bytes, sizeof(value));
	return value;
}

static inline void put_unaligned_le16(u16 value, void *bytes)
{
	__builtin_memcpy(bytes, &value, sizeof(value));
}

static inline void put_unaligned_le64(u64 value, void *bytes)
{
	__builtin_memcpy(bytes, &value, sizeof(value));
}

#endif /* _FUZZ_LINUX_UNALIGNED_H */
