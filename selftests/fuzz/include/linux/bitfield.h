/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FUZZ_LINUX_BITFIELD_H
#define _FUZZ_LINUX_BITFIELD_H

#define FIELD_SHIFT(mask)	__builtin_ctzl(mask)
#define FIELD_PREP(mask, value)	(((unsigned long)(value) << FIELD_SHIFT(mask)) & (mask))
#define FIELD_GET(mask, word)	(((word) & (mask)) >> FIELD_SHIFT(mask))

#endif /* _FUZZ_LINUX_BITFIELD_H */
