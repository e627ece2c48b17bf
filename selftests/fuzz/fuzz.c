// SPDX-License-Identifier: GPL-2.0
/*
 * The decoder of entries, the reader of blocks and the ring, with any bytes.  The sanitizers
 * find accesses out of bounds; the rest is stated here:
 *
 *   what the decoder takes, the encoder makes again, byte for byte;
 *   a part of an entry is -EAGAIN, and what is -EAGAIN is a part of some entry;
 *   an error leaves the codec as it was;
 *   what a block's header and checksum were made for passes, nothing else does;
 *   bytes leave the ring as they came.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "fuzz.h"
#include "log.h"

void broken(const char *file, int line, const char *condition)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
	abort();
}

void *allocate(size_t size)
{
	void *memory = calloc(1, size ? size : 1);

	require(memory);
	return memory;
}

u8 *duplicate(const u8 *bytes, size_t size)
{
	u8 *copy = malloc(size);

	require(copy || !size);
	if (size)
		memcpy(copy, bytes, size);
	return copy;
}

static bool same_codec(const struct kvmft_codec *a, const struct kvmft_codec *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* The bytes for memory, and no others, are in the @len bytes at @bytes. */
static void check_input(const struct kvmft_input *input, const u8 *bytes, int len)
{
	require(input->type <= KVMFT_INPUT_LINT0 || input->type == KVMFT_INPUT_MEMORY ||
		input->type == KVMFT_INPUT_REINJECT || input->type == KVMFT_INPUT_TIMER_KEPT);
	require(input->level <= 1 && input->len <= KVMFT_DATA_MAX);
	require(!input->len == (input->type != KVMFT_INPUT_MEMORY));
	require(!input->bytes == !input->len);
	if (input->len)
		require(input->bytes > bytes && input->bytes + input->len <= bytes + len - 2);
}

/* Each field is in its range, and @data in the @len bytes at @bytes. */
static void check_fields(const struct kvmft_entry *entry, const u8 *bytes, int len)
{
	int i;

	require(entry->type >= KVMFT_ENTRY_START && entry->type <= KVMFT_ENTRY_END);
	require(entry->space <= KVMFT_SPACE_MEMORY && entry->at <= KVMFT_AT_POSITION);
	require(entry->nr_inputs <= KVMFT_BATCH_MAX && entry->len <= KVMFT_DATA_MAX);
	if (entry->len)
		require(entry->data > bytes && entry->data + entry->len <= bytes + len - 2);
	if (entry->type == KVMFT_ENTRY_READ || entry->type == KVMFT_ENTRY_WRITE)
		require(entry->len && (entry->space || entry->addr <= 0xffff));
	if (entry->type == KVMFT_ENTRY_MSR)
		require(entry->addr <= 0xffffffff);
	for (i = 0; i < entry->nr_inputs; i++) {
		check_input(&entry->inputs[i], bytes, len);
		require(entry->inputs[i].type != KVMFT_INPUT_MEMORY || entry->nr_inputs == 1);
	}
}

static void check_same_bytes(struct kvmft_codec codec, const struct kvmft_codec *after,
			     const struct kvmft_entry *entry, const u8 *bytes, int len)
{
	static u8 buf[KVMFT_ENTRY_SIZE_MAX];
	struct kvmft_entry again = *entry;

	again.payload = 0;
	again.check = 0;
	require(kvmft_entry_encode(&codec, &again, 0, buf) == len);
	require(same_codec(&codec, after));
	require(again.payload == entry->payload);
	require(!memcmp(buf, bytes, len - 2));
	require(entry->check == (bytes[len - 2] | bytes[len - 1] << 8));
	if (!kvmft_entry_has_check(entry))
		require(again.check == entry->check);
}

/* Without its end it is asked for more. */
static void check_part(struct kvmft_codec codec, const u8 *bytes, int part)
{
	struct kvmft_codec before = codec;
	struct kvmft_entry entry;
	u8 *copy = duplicate(bytes, part);

	require(kvmft_entry_decode(&codec, &entry, copy, part) == -EAGAIN);
	require(same_codec(&codec, &before));
	free(copy);
}

/*
 * Can the @len bytes go on?  Numbers end with the smallest that may follow, which is 1, but the
 * length of data is not 1 in its long form.  Types whose check the decoder compares are
 * left out.
 */
static void check_completes(const struct kvmft_codec *before, const u8 *bytes, size_t len)
{
	static u8 whole[KVMFT_ENTRY_SIZE_MAX];
	struct kvmft_codec codec = *before;
	struct kvmft_entry entry;
	int got;

	require(len < KVMFT_ENTRY_SIZE_MAX);
	entry.type = bytes[0] & 7 ? KVMFT_ENTRY_TSC : bytes[0] >> 3;
	if (!kvmft_entry_has_check(&entry))
		return;
	memset(whole, 1, KVMFT_ENTRY_SIZE_MAX);
	memcpy(whole, bytes, len);
	got = kvmft_entry_decode(&codec, &entry, whole, KVMFT_ENTRY_SIZE_MAX);
	if (got < 0) {
		whole[len] = 3;
		got = kvmft_entry_decode(&codec, &entry, whole, KVMFT_ENTRY_SIZE_MAX);
	}
	require(got > 0 && (size_t)got > len);
}

/* Decode @nr entries, or as many as there are; returns how many bytes they have. */
static size_t check_entries(const u8 *bytes, size_t size, u32 nr)
{
	struct kvmft_codec codec, before;
	struct kvmft_entry entry;
	size_t at = 0;
	int len;

	kvmft_codec_init(&codec);
	for (; nr && at < size; nr--) {
		before = codec;
		len = kvmft_entry_decode(&codec, &entry, bytes + at, size - at);
		if (len < 0) {
			require(len == -EAGAIN || len == -EBADMSG);
			require(same_codec(&codec, &before));
			if (len == -EAGAIN)
				check_completes(&before, bytes + at, size - at);
			break;
		}
		require(len > 2 && (size_t)len <= size - at && len < KVMFT_ENTRY_SIZE_MAX);
		check_fields(&entry, bytes + at, len);
		check_same_bytes(before, &codec, &entry, bytes + at, len);
		check_part(before, bytes + at, len - 1);
		check_part(before, bytes + at, len / 2);
		at += len;
	}
	return at;
}

/* As the module reads a log: stops at the first thing that is wrong. */
static void check_file(const u8 *bytes, size_t size)
{
	struct kvmft_file_header file;
	struct kvmft_block_header block;
	size_t at = sizeof(file);
	u64 seq = 1;
	u32 version;
	int len;

	if (size < sizeof(file))
		return;
	memcpy(&file, bytes, sizeof(file));
	if (kvmft_file_header_check(&file, &version))
		return;
	require(version == KVMFT_LOG_VERSION);
	while (size - at >= sizeof(block)) {
		memcpy(&block, bytes + at, sizeof(block));
		at += sizeof(block);
		len = kvmft_block_check(&block, seq);
		if (len < 0)
			return;
		require(len > 0 && len <= KVMFT_BLOCK_MAX && block.nr <= (u32)len);
		if ((size_t)len > size - at ||
		    kvmft_block_check_entries(&block, bytes + at, len))
			return;
		check_entries(bytes + at, len, block.nr);
		at += len;
		seq += block.nr;
	}
}

/* A block around the input: passes as it was made, and with one bit wrong it does not. */
static void check_block(const u8 *bytes, size_t size)
{
	struct kvmft_block_header block;
	u32 len = size < KVMFT_BLOCK_MAX ? size : KVMFT_BLOCK_MAX;
	u64 seq = 1;
	u32 bit;
	int got;

	if (!len)
		return;
	memcpy(&seq, bytes, len < sizeof(seq) ? len : sizeof(seq));
	kvmft_block_make(&block, seq, 1, bytes, len);
	require(kvmft_block_check(&block, seq) == (int)len);
	require(!kvmft_block_check_entries(&block, bytes, len));
	require(kvmft_block_check(&block, seq + 1) == -EILSEQ);

	bit = bytes[len - 1] % (sizeof(block) * 8);
	((u8 *)&block)[bit / 8] ^= 1 << bit % 8;
	got = kvmft_block_check(&block, seq);
	require(got != (int)len || kvmft_block_check_entries(&block, bytes, len) == -EBADMSG);

	/* And a header that comes from outside. */
	if (size < sizeof(block))
		return;
	memcpy(&block, bytes, sizeof(block));
	got = kvmft_block_check(&block, block.seq);
	require(got == -EBADMSG || (got > 0 && got <= KVMFT_BLOCK_MAX));
}

/* The first byte is the ring's size, the second its place, each other a step. */
static void check_ring(const u8 *steps, size_t size)
{
	static u8 bytes[1024], got[1024];
	struct kvmft_log log;
	size_t capacity, i, len;
	u64 written = 0, read = 0;
	u8 *memory;

	if (size < 2)
		return;
	capacity = 1 << steps[0] % 9;
	memory = allocate(capacity);
	kvmft_log_init(&log, memory, capacity);
	log.put = (u64)steps[1] - 128;
	log.head = log.put;
	log.tail = log.put;
	for (i = 2; i < size && i < 512; i++) {
		size_t used = written - read;

		require(kvmft_log_used(&log) == used);
		require(kvmft_log_space(&log) == capacity - used);
		len = (steps[i] >> 1) * 3;
		if (steps[i] & 1) {
			size_t n;

			for (n = 0; n < len; n++)
				bytes[n] = (written + n) * 167;
			require(kvmft_log_put(&log, bytes, len) == (len <= capacity - used));
			kvmft_log_publish(&log);
			written += len <= capacity - used ? len : 0;
		} else {
			len = kvmft_log_peek(&log, got, len);
			require(len <= used);
			while (len--)
				require(got[len] == (u8)((read + len) * 167));
			len = steps[i] >> 2 < used ? steps[i] >> 2 : used;
			kvmft_log_consume(&log, len);
			read += len;
		}
	}
	free(memory);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	check_entries(data, size, ~0U);
	check_file(data, size);
	check_block(data, size);
	check_ring(data, size);
	return 0;
}
