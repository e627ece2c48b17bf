/* SPDX-License-Identifier: GPL-2.0 */
/*
 * CRC-32C, as iSCSI and ext4 have it: of the log's blocks and of its entries.
 *
 * Not crc32c() of <linux/crc32c.h>: that is in a module of its own, libcrc32c, which needs a
 * driver of the crypto API when it is loaded.  The function behind the tables is in the
 * kernel itself (CONFIG_CRC32=y).
 */
#ifndef _KVMFT_CHECKSUM_H
#define _KVMFT_CHECKSUM_H

#include <linux/crc32.h>
#include <linux/types.h>

/* Of @len bytes that follow bytes whose CRC-32C is @crc; 0 for the first. */
static inline u32 kvmft_crc32c(u32 crc, const void *bytes, size_t len)
{
	return ~__crc32c_le(~crc, bytes, len);
}

#endif /* _KVMFT_CHECKSUM_H */
