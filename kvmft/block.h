/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What surrounds entries in a log file: a header, then blocks of whole entries.  All
 * integers are little-endian.  Documentation/log-format.rst describes both.
 *
 * Pure: bytes in, bytes out.
 */
#ifndef _KVMFT_BLOCK_H
#define _KVMFT_BLOCK_H

#include <linux/types.h>

/* Raised when an old reader would misread a new log. */
#define KVMFT_LOG_VERSION	1

/**
 * struct kvmft_file_header - the first bytes of a log file
 * @magic: KVMFT_FILE_MAGIC
 * @version: KVMFT_LOG_VERSION
 * @size: of this structure; the first block follows
 * @crc: CRC-32C of the structure with this field zero
 * @reserved: zero
 *
 * These bytes and their checksum are the same in every version, so that a log of another
 * version can be told from a damaged one.
 */
struct kvmft_file_header {
	u8 magic[8];
	__le32 version;
	__le32 size;
	__le32 crc;
	__le32 reserved;
};

#define KVMFT_FILE_MAGIC	"kvmftlog"

/**
 * struct kvmft_block_header - before the entries of a block
 * @magic: KVMFT_BLOCK_MAGIC
 * @len: bytes of the entries that follow, 1 to KVMFT_BLOCK_MAX
 * @seq: sequence number of the first
 * @nr: number of them, 1 to @len
 * @crc: CRC-32C of this header with this field zero, then of the entries
 */
struct kvmft_block_header {
	__le32 magic;
	__le32 len;
	__le64 seq;
	__le32 nr;
	__le32 crc;
};

#define KVMFT_BLOCK_MAGIC	0x626b466bU	/* "kFkb" */
#define KVMFT_BLOCK_MAX		1048576

void kvmft_file_header_make(struct kvmft_file_header *header);

/*
 * 0; -EBADMSG: not a log, or damaged; -EPROTO: a log of another version.  *@version is set
 * to its number unless this is not a log.
 */
int kvmft_file_header_check(const struct kvmft_file_header *header, u32 *version);

/* Make the header of a block of @nr entries, the first numbered @seq, in @len bytes. */
void kvmft_block_make(struct kvmft_block_header *header, u64 seq, u32 nr, const u8 *entries,
		      u32 len);

/*
 * Check a header before its entries are read: returns their length, or -EBADMSG (no
 * block here, length out of range) or -EILSEQ (its first entry is not number @seq).
 */
int kvmft_block_check(const struct kvmft_block_header *header, u64 seq);

/* Check the @len bytes of its entries: 0 or -EBADMSG. */
int kvmft_block_check_entries(const struct kvmft_block_header *header, const u8 *entries,
			      u32 len);

#endif /* _KVMFT_BLOCK_H */
