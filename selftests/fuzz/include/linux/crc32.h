/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FUZZ_LINUX_CRC32_H
#define _FUZZ_LINUX_CRC32_H

#include <linux/types.h>

u32 __crc32c_le(u32 crc, const unsigned char *bytes, size_t len);

#endif /* _FUZZ_LINUX_CRC32_H */
