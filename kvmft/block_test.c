// SPDX-License-Identifier: GPL-2.0
#include <kunit/test.h>
#include <linux/string.h>

#include "block.h"
#include "checksum.h"

static void crc32c_is_the_usual(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, kvmft_crc32c(0, "123456789", 9), 0xe3069283);
	KUNIT_EXPECT_EQ(test, kvmft_crc32c(kvmft_crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
	KUNIT_EXPECT_EQ(test, kvmft_crc32c(0, NULL, 0), 0);
}

static void flip(void *bytes, int bit)
{
	((u8 *)bytes)[bit / 8] ^= 1 << bit % 8;
}

static void file_header(struct kunit *test)
{
	/* Version 1 for ever. */
	static const u8 bytes[] = {
		'k', 'v', 'm', 'f', 't', 'l', 'o', 'g', 1, 0, 0, 0, 24, 0, 0, 0,
		0x82, 0xe3, 0x87, 0x47, 0, 0, 0, 0,
	};
	struct kvmft_file_header header;
	u32 version = 0;
	int bit;

	kvmft_file_header_make(&header);
	KUNIT_EXPECT_MEMEQ(test, (u8 *)&header, bytes, sizeof(bytes));
	KUNIT_EXPECT_EQ(test, kvmft_file_header_check(&header, &version), 0);
	KUNIT_EXPECT_EQ(test, version, KVMFT_LOG_VERSION);
	for (bit = 0; bit < sizeof(header) * 8; bit++) {
		flip(&header, bit);
		KUNIT_EXPECT_EQ_MSG(test, kvmft_file_header_check(&header, &version), -EBADMSG,
				    "bit %d", bit);
		flip(&header, bit);
	}
}

/* Make the checksum right again. */
static void file_header_seal(struct kvmft_file_header *header)
{
	header->crc = 0;
	header->crc = cpu_to_le32(kvmft_crc32c(0, header, sizeof(*header)));
}

static void file_header_of_another_version(struct kunit *test)
{
	struct kvmft_file_header header;
	u32 version = 0;

	kvmft_file_header_make(&header);
	header.version = cpu_to_le32(77);
	header.size = cpu_to_le32(4096);
	header.reserved = cpu_to_le32(1);
	file_header_seal(&header);
	KUNIT_EXPECT_EQ(test, kvmft_file_header_check(&header, &version), -EPROTO);
	KUNIT_EXPECT_EQ(test, version, 77);

	kvmft_file_header_make(&header);
	header.size = cpu_to_le32(32);
	file_header_seal(&header);
	KUNIT_EXPECT_EQ(test, kvmft_file_header_check(&header, &version), -EBADMSG);
	kvmft_file_header_make(&header);
	header.reserved = cpu_to_le32(1);
	file_header_seal(&header);
	KUNIT_EXPECT_EQ(test, kvmft_file_header_check(&header, &version), -EBADMSG);

	memset(&header, 0, sizeof(header));
	KUNIT_EXPECT_EQ(test, kvmft_file_header_check(&header, &version), -EBADMSG);
}

static const u8 entries[] = { 0x03, 0x11, 0x22, 0x05, 0x33, 0x44, 0x07, 0x55, 0x66 };

static int check(const struct kvmft_block_header *header, const u8 *bytes, u64 seq)
{
	int len = kvmft_block_check(header, seq);

	if (len < 0)
		return len;
	/* As from a file that ends there. */
	if (len > sizeof(entries))
		return -EIO;
	return kvmft_block_check_entries(header, bytes, len);
}

static void block(struct kunit *test)
{
	struct kvmft_block_header header;
	u8 copy[sizeof(entries)];
	int bit;

	memcpy(copy, entries, sizeof(copy));
	kvmft_block_make(&header, 1ULL << 40, 3, entries, sizeof(entries));
	KUNIT_EXPECT_EQ(test, kvmft_block_check(&header, 1ULL << 40), sizeof(entries));
	KUNIT_EXPECT_EQ(test, check(&header, copy, 1ULL << 40), 0);
	for (bit = 0; bit < sizeof(header) * 8; bit++) {
		flip(&header, bit);
		KUNIT_EXPECT_LT_MSG(test, check(&header, copy, 1ULL << 40), 0, "bit %d", bit);
		flip(&header, bit);
	}
	for (bit = 0; bit < sizeof(copy) * 8; bit++) {
		flip(copy, bit);
		KUNIT_EXPECT_EQ(test, check(&header, copy, 1ULL << 40), -EBADMSG);
		flip(copy, bit);
	}
	KUNIT_EXPECT_EQ(test, kvmft_block_check_entries(&header, copy, sizeof(copy) - 1), -EBADMSG);
}

/* A block that was left out, or is there twice. */
static void block_out_of_order(struct kunit *test)
{
	struct kvmft_block_header header;

	kvmft_block_make(&header, 10, 3, entries, sizeof(entries));
	KUNIT_EXPECT_EQ(test, kvmft_block_check(&header, 9), -EILSEQ);
	KUNIT_EXPECT_EQ(test, kvmft_block_check(&header, 11), -EILSEQ);
	KUNIT_EXPECT_EQ(test, kvmft_block_check(&header, 10 + (1ULL << 32)), -EILSEQ);
	/* Damage goes first. */
	header.len = 0;
	KUNIT_EXPECT_EQ(test, kvmft_block_check(&header, 9), -EBADMSG);
}

static void block_ranges(struct kunit *test)
{
	static const struct {
		u32 nr;
		u32 len;
		int want;
	} cases[] = {
		{ 1, 1, 1 },
		{ 1, 0, -EBADMSG },
		{ 0, 1, -EBADMSG },
		{ 2, 1, -EBADMSG },
		{ 1, KVMFT_BLOCK_MAX, KVMFT_BLOCK_MAX },
		{ KVMFT_BLOCK_MAX, KVMFT_BLOCK_MAX, KVMFT_BLOCK_MAX },
		{ 1, KVMFT_BLOCK_MAX + 1, -EBADMSG },
		{ 1, U32_MAX, -EBADMSG },
		{ U32_MAX, KVMFT_BLOCK_MAX, -EBADMSG },
	};
	struct kvmft_block_header header;
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		kvmft_block_make(&header, 1, 1, entries, sizeof(entries));
		header.nr = cpu_to_le32(cases[i].nr);
		header.len = cpu_to_le32(cases[i].len);
		KUNIT_EXPECT_EQ_MSG(test, kvmft_block_check(&header, 1), cases[i].want,
				    "case %d", i);
	}
	memset(&header, 0, sizeof(header));
	KUNIT_EXPECT_EQ(test, kvmft_block_check(&header, 0), -EBADMSG);
}

static struct kunit_case block_cases[] = {
	KUNIT_CASE(crc32c_is_the_usual),
	KUNIT_CASE(file_header),
	KUNIT_CASE(file_header_of_another_version),
	KUNIT_CASE(block),
	KUNIT_CASE(block_out_of_order),
	KUNIT_CASE(block_ranges),
	{}
};

static struct kunit_suite block_suite = {
	.name = "kvmft_block",
	.test_cases = block_cases,
};

kunit_test_suite(block_suite);

MODULE_DESCRIPTION("KUnit suite of kvmft's log blocks");
MODULE_LICENSE("GPL");
