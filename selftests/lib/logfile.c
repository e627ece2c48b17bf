// SPDX-License-Identifier: GPL-2.0
/* Built with the kernel headers of the fuzz target: see its include directory */
#include <linux/types.h>
#include <linux/build_bug.h>
#include <asm/byteorder.h>

#include "block.h"
#include "checksum.h"
#include "entry.h"
#include "logfile.h"

#define HEADER	sizeof(struct kvmft_block_header)

static_assert(sizeof(struct kvmft_file_header) == LOGFILE_HEADER);

void logfile_newer_header(unsigned char *bytes)
{
	struct kvmft_file_header *header = (struct kvmft_file_header *)bytes;

	kvmft_file_header_make(header);
	header->version = cpu_to_le32(KVMFT_LOG_VERSION + 1);
	header->crc = 0;
	header->crc = cpu_to_le32(kvmft_crc32c(0, header, sizeof(*header)));
}

int logfile_entries(const unsigned char *bytes, size_t size, size_t *offsets, int max)
{
	size_t at = sizeof(struct kvmft_file_header), end;
	static struct kvmft_entry entry;
	struct kvmft_codec codec;
	int nr = 0, len;

	kvmft_codec_init(&codec);
	while (at + HEADER < size) {
		len = kvmft_block_check((const struct kvmft_block_header *)(bytes + at), codec.seq);
		if (len < 0 || at + HEADER + len > size)
			return -1;
		at += HEADER;
		for (end = at + len; at < end; at += len) {
			len = kvmft_entry_decode(&codec, &entry, bytes + at, end - at);
			if (len < 0)
				return -1;
			if (nr < max)
				offsets[nr] = at;
			nr++;
		}
	}
	return nr < max ? nr : max;
}

int logfile_blocks(const unsigned char *bytes, size_t size, size_t *ends, int max)
{
	size_t at = sizeof(struct kvmft_file_header);
	int nr = 0;

	while (at + HEADER < size && nr < max) {
		at += HEADER + le32_to_cpu(((struct kvmft_block_header *)(bytes + at))->len);
		ends[nr++] = at;
	}
	return nr;
}

bool logfile_is_port_read(const unsigned char *entry)
{
	/* "First byte" in Documentation/log-format.rst */
	return *entry == 0x04;
}

void logfile_repair(unsigned char *bytes, size_t size)
{
	size_t at = sizeof(struct kvmft_file_header);
	struct kvmft_block_header header;
	u32 len;

	while (at + HEADER < size) {
		header = *(struct kvmft_block_header *)(bytes + at);
		len = le32_to_cpu(header.len);
		kvmft_block_make((struct kvmft_block_header *)(bytes + at), le64_to_cpu(header.seq),
				 le32_to_cpu(header.nr), bytes + at + HEADER, len);
		at += HEADER + len;
	}
}
