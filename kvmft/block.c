// SPDX-License-Identifier: GPL-2.0
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/string.h>
#include <asm/byteorder.h>

#include "block.h"
#include "checksum.h"

static_assert(sizeof(struct kvmft_file_header) == 24);
static_assert(sizeof(struct kvmft_block_header) == 24);

static u32 file_crc(const struct kvmft_file_header *header)
{
	struct kvmft_file_header copy = *header;

	copy.crc = 0;
	return kvmft_crc32c(0, &copy, sizeof(copy));
}

static u32 block_crc(const struct kvmft_block_header *header, const u8 *entries, u32 len)
{
	struct kvmft_block_header copy = *header;

	copy.crc = 0;
	return kvmft_crc32c(kvmft_crc32c(0, &copy, sizeof(copy)), entries, len);
}

void kvmft_file_header_make(struct kvmft_file_header *header)
{
	*header = (struct kvmft_file_header){
		.version = cpu_to_le32(KVMFT_LOG_VERSION),
		.size = cpu_to_le32(sizeof(*header)),
	};
	memcpy(header->magic, KVMFT_FILE_MAGIC, sizeof(header->magic));
	header->crc = cpu_to_le32(file_crc(header));
}

int kvmft_file_header_check(const struct kvmft_file_header *header, u32 *version)
{
	if (memcmp(header->magic, KVMFT_FILE_MAGIC, sizeof(header->magic)) ||
	    le32_to_cpu(header->crc) != file_crc(header))
		return -EBADMSG;
	*version = le32_to_cpu(header->version);
	if (*version != KVMFT_LOG_VERSION)
		return -EPROTO;
	if (header->size != cpu_to_le32(sizeof(*header)) || header->reserved)
		return -EBADMSG;
	return 0;
}

void kvmft_block_make(struct kvmft_block_header *header, u64 seq, u32 nr, const u8 *entries,
		      u32 len)
{
	*header = (struct kvmft_block_header){
		.magic = cpu_to_le32(KVMFT_BLOCK_MAGIC),
		.len = cpu_to_le32(len),
		.seq = cpu_to_le64(seq),
		.nr = cpu_to_le32(nr),
	};
	header->crc = cpu_to_le32(block_crc(header, entries, len));
}

int kvmft_block_check(const struct kvmft_block_header *header, u64 seq)
{
	u32 len = le32_to_cpu(header->len);
	u32 nr = le32_to_cpu(header->nr);

	if (le32_to_cpu(header->magic) != KVMFT_BLOCK_MAGIC || !len || len > KVMFT_BLOCK_MAX)
		return -EBADMSG;
	/* No entry is empty. */
	if (!nr || nr > len)
		return -EBADMSG;
	if (le64_to_cpu(header->seq) != seq)
		return -EILSEQ;
	return len;
}

int kvmft_block_check_entries(const struct kvmft_block_header *header, const u8 *entries, u32 len)
{
	if (len != le32_to_cpu(header->len) ||
	    le32_to_cpu(header->crc) != block_crc(header, entries, len))
		return -EBADMSG;
	return 0;
}
