// SPDX-License-Identifier: GPL-2.0
/*
 * Chance finds neither the check of an END nor a block's checksum: put a valid entry in
 * here and there, and wrap entries into a file.
 */
#include <string.h>

#include "block.h"
#include "fuzz.h"

/* Longer blocks make no difference */
#define BLOCK_SIZE 32768

#define HEADERS	(sizeof(struct kvmft_file_header) + sizeof(struct kvmft_block_header))

static u64 random_state;

static u64 random64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static u64 random_number(void)
{
	return random64() >> random64() % 64;
}

/* Fields at random; those that the encoder refuses are tried again. */
static int make_entry(u8 *buf)
{
	static const u8 data[64] = "data";
	struct kvmft_codec codec;
	struct kvmft_entry entry;
	int i, len;

	kvmft_codec_init(&codec);
	do {
		memset(&entry, 0, sizeof(entry));
		entry.type = 1 + random64() % KVMFT_ENTRY_END;
		entry.space = random64() % 2;
		entry.at = random64() % 3;
		entry.more = random64() % 2;
		entry.nr_inputs = random64() % 4 ? random64() % 3 : random64() % 17;
		entry.len = random64() % sizeof(data);
		entry.data = data;
		entry.addr = random_number();
		if (entry.type == KVMFT_ENTRY_PAGE)
			entry.addr <<= 12;
		entry.value = random_number();
		entry.memory = random64() % 2 * random64();
		entry.exits = random_number();
		entry.pos.cond = random_number();
		entry.pos.taken = random_number();
		entry.rip = random_number();
		for (i = 0; i < entry.nr_inputs; i++) {
			entry.inputs[i].type = random64() % (KVMFT_INPUT_TIMER_KEPT + 1);
			entry.inputs[i].len = random64() % (sizeof(data) + 1);
			entry.inputs[i].bytes = data;
			entry.inputs[i].level = random64() % 2;
			entry.inputs[i].source = random_number() % KVMFT_SOURCES;
			entry.inputs[i].gsi = random_number();
			entry.inputs[i].data = random_number();
			entry.inputs[i].addr = random_number();
		}
		len = kvmft_entry_encode(&codec, &entry, random64(), buf);
	} while (len < 0);
	return len;
}

static size_t insert_entry(u8 *data, size_t size, size_t max_size)
{
	u8 buf[KVMFT_ENTRY_SIZE_MAX];
	size_t at = random64() % 2 ? size : random64() % (size + 1);
	size_t len = make_entry(buf);

	if (len > max_size - size)
		return 0;
	memmove(data + at + len, data + at, size - at);
	memcpy(data + at, buf, len);
	return size + len;
}

/* How many entries are at the start of the bytes, and how long they are. */
static u32 count_entries(const u8 *bytes, size_t *size)
{
	struct kvmft_codec codec;
	struct kvmft_entry entry;
	size_t at = 0;
	int len;

	kvmft_codec_init(&codec);
	while (at < *size && at < BLOCK_SIZE) {
		len = kvmft_entry_decode(&codec, &entry, bytes + at, *size - at);
		if (len < 0)
			break;
		at += len;
	}
	*size = at;
	return codec.seq - 1;
}

static size_t make_file(u8 *data, size_t size, size_t max_size)
{
	struct kvmft_file_header file;
	struct kvmft_block_header block;
	size_t whole = size;
	u32 nr = count_entries(data, &size);

	if (!nr || HEADERS > max_size - whole)
		return 0;
	memmove(data + HEADERS, data, whole);
	kvmft_file_header_make(&file);
	memcpy(data, &file, sizeof(file));
	kvmft_block_make(&block, 1, nr, data + HEADERS, size);
	memcpy(data + sizeof(file), &block, sizeof(block));
	return HEADERS + whole;
}

size_t LLVMFuzzerCustomMutator(u8 *data, size_t size, size_t max_size, unsigned int seed)
{
	size_t made = 0;

	random_state = seed * 0x9e3779b97f4a7c15ULL + 1;
	random64();
	switch (random64() % 8) {
	case 0:
	case 1:
		made = insert_entry(data, size, max_size);
		break;
	case 2:
		made = make_file(data, size, max_size);
		break;
	}
	return made ? made : LLVMFuzzerMutate(data, size, max_size);
}
