// SPDX-License-Identifier: GPL-2.0
/* What the module takes from the kernel. */
#include <linux/crc32.h>

static u32 table[256];

__attribute__((constructor)) static void make_table(void)
{
	u32 byte, bit, crc;

	for (byte = 0; byte < 256; byte++) {
		crc = byte;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
		table[byte] = crc;
	}
}

u32 __crc32c_le(u32 crc, const unsigned char *bytes, size_t len)
{
	while (len--)
		crc = crc >> 8 ^ table[(u8)crc ^ *bytes++];
	return crc;
}
