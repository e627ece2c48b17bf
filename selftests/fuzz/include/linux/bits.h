/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FUZZ_LINUX_BITS_H
#define _FUZZ_LINUX_BITS_H

#define BIT(n)			(1UL << (n))
#define GENMASK(high, low)	((~0UL << (low)) & (~0UL >> (63 - (high))))

#endif /* _FUZZ_LINUX_BITS_H */
