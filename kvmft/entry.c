// SPDX-License-Identifier: GPL-2.0
/*
 * The first byte of an entry, bit 7 on the left:
 *
 *   mdddddd1  TSC: low bits of the difference; m: the others follow
 *   nnnmaa10  BOUNDARY: number of inputs (7: it follows), more, at
 *   lllsw100  READ or, with w, WRITE: length (4: it follows), space
 *   ttttt000  any other: its type
 *
 * What could be said in several ways is valid in the shortest only: an entry has one
 * encoding.
 */
#include <linux/bitfield.h>
#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/stddef.h>
#include <linux/string.h>
#include <linux/unaligned.h>

#include "checksum.h"
#include "entry.h"

#define TSC_MARK		BIT(0)
#define TSC_LOW			GENMASK(6, 1)
#define TSC_LOW_BITS		6
#define TSC_MORE		BIT(7)

#define BOUNDARY_MASK		GENMASK(1, 0)
#define BOUNDARY_MARK		2
#define BOUNDARY_AT		GENMASK(3, 2)
#define BOUNDARY_MORE		BIT(4)
#define BOUNDARY_NR		GENMASK(7, 5)
#define BOUNDARY_NR_FOLLOWS	7

#define ACCESS_MASK		GENMASK(2, 0)
#define ACCESS_MARK		4
#define ACCESS_WRITE		BIT(3)
#define ACCESS_SPACE		BIT(4)
#define ACCESS_LEN		GENMASK(7, 5)
#define ACCESS_LEN_FOLLOWS	4	/* less: the length's logarithm */
#define ACCESS_LEN_SHORT	8

#define OTHER_SHIFT		3

#define LINE_MASK		GENMASK(1, 0)
#define INPUT_LEVEL		BIT(2)
#define INPUT_GSI		GENMASK(7, 3)
#define INPUT_GSI_FOLLOWS	31

#define DIGEST_MEMORY		1

/* A message's address, but for a few bits that name the CPU. */
#define MSI_BASE		0xfee00000

#define PORT_MAX		U16_MAX
#define PAGE_BITS		12

/* No encoding is longer than the buffer that callers have for it. */
#define VARINT_SIZE		10
#define CHECK_SIZE		2
#define INPUT_SIZE		(1 + 2 * VARINT_SIZE)
static_assert(1 + 2 * VARINT_SIZE + KVMFT_DATA_MAX + CHECK_SIZE <= KVMFT_ENTRY_SIZE_MAX);
static_assert(1 + 3 * VARINT_SIZE + INPUT_SIZE + KVMFT_DATA_MAX + CHECK_SIZE <=
	      KVMFT_ENTRY_SIZE_MAX);
static_assert(2 + 3 * VARINT_SIZE + KVMFT_BATCH_MAX * INPUT_SIZE + CHECK_SIZE <=
	      KVMFT_ENTRY_SIZE_MAX);

/*
 * Bytes to decode.  The first error stays, and nothing is taken any more: callers look at
 * it once they need to know.
 */
struct reader {
	const u8 *p;
	const u8 *end;
	int error;
};

static void malformed(struct reader *in)
{
	if (!in->error)
		in->error = -EBADMSG;
}

/* @len bytes in place, or NULL. */
static const u8 *take_bytes(struct reader *in, size_t len)
{
	const u8 *bytes = in->p;

	if (in->error)
		return NULL;
	if (in->end - in->p < len) {
		in->error = -EAGAIN;
		return NULL;
	}
	in->p += len;
	return bytes;
}

static u8 take_byte(struct reader *in)
{
	const u8 *bytes = take_bytes(in, 1);

	return bytes ? *bytes : 0;
}

static u64 take_le64(struct reader *in)
{
	const u8 *bytes = take_bytes(in, sizeof(u64));

	return bytes ? get_unaligned_le64(bytes) : 0;
}

/*
 * A number of at most @max: 7 bits a byte, low ones first, bit 7 where another byte
 * follows.  The last byte is not zero, unless it is the only one.
 */
static u64 take_varint(struct reader *in, u64 max)
{
	u64 value = 0;
	unsigned int shift;

	for (shift = 0; shift < VARINT_SIZE * 7; shift += 7) {
		u8 byte = take_byte(in);

		if (in->error)
			return 0;
		/* One bit is left for the last byte. */
		if (shift == 63 && byte > 1)
			break;
		value |= (u64)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			if ((shift && !byte) || value > max)
				break;
			return value;
		}
		/* Is the least that can follow too much already? */
		if (value + (1ULL << (shift + 7)) > max)
			break;
	}
	malformed(in);
	return 0;
}

static u8 *put_varint(u8 *p, u64 value)
{
	while (value > 0x7f) {
		*p++ = 0x80 | (value & 0x7f);
		value >>= 7;
	}
	*p++ = value;
	return p;
}

static u8 *put_le64(u8 *p, u64 value)
{
	put_unaligned_le64(value, p);
	return p + sizeof(value);
}

static u8 *put_bytes(u8 *p, const u8 *bytes, size_t len)
{
	if (len)
		memcpy(p, bytes, len);
	return p + len;
}

/* Differences in both directions as numbers that are small when the difference is. */
static u64 zigzag(u64 difference)
{
	return difference << 1 ^ -(difference >> 63);
}

static u64 unzigzag(u64 number)
{
	return number >> 1 ^ -(number & 1);
}

/*
 * TSC.  The difference is modulo 2^64: the guest's TSC can be set back.
 */
static u8 *put_tsc(u8 *p, const struct kvmft_codec *codec, const struct kvmft_entry *entry)
{
	u64 difference = entry->value - codec->tsc;
	u64 rest = difference >> TSC_LOW_BITS;

	*p++ = TSC_MARK | FIELD_PREP(TSC_LOW, difference & (BIT(TSC_LOW_BITS) - 1)) |
	       (rest ? TSC_MORE : 0);
	return rest ? put_varint(p, rest) : p;
}

static void take_tsc(struct reader *in, const struct kvmft_codec *codec,
		     struct kvmft_entry *entry, u8 first)
{
	u64 difference = FIELD_GET(TSC_LOW, first);

	if (first & TSC_MORE) {
		u64 rest = take_varint(in, U64_MAX >> TSC_LOW_BITS);

		if (!rest)
			malformed(in);
		difference |= rest << TSC_LOW_BITS;
	}
	entry->type = KVMFT_ENTRY_TSC;
	entry->value = codec->tsc + difference;
}

/*
 * READ and WRITE.
 */
static bool short_len(unsigned int len)
{
	return len <= ACCESS_LEN_SHORT && is_power_of_2(len);
}

static bool access_valid(const struct kvmft_entry *entry)
{
	if (entry->space > KVMFT_SPACE_MEMORY || !entry->len || entry->len > KVMFT_DATA_MAX)
		return false;
	return entry->space == KVMFT_SPACE_MEMORY || entry->addr <= PORT_MAX;
}

static u8 *put_access(u8 *p, const struct kvmft_entry *entry)
{
	bool follows = !short_len(entry->len);

	*p++ = ACCESS_MARK | (entry->type == KVMFT_ENTRY_WRITE ? ACCESS_WRITE : 0) |
	       FIELD_PREP(ACCESS_SPACE, entry->space) |
	       FIELD_PREP(ACCESS_LEN, follows ? ACCESS_LEN_FOLLOWS : ilog2(entry->len));
	if (follows)
		p = put_varint(p, entry->len);
	p = put_varint(p, entry->addr);
	return put_bytes(p, entry->data, entry->len);
}

static void take_access(struct reader *in, struct kvmft_entry *entry, u8 first)
{
	unsigned int len = FIELD_GET(ACCESS_LEN, first);

	entry->type = first & ACCESS_WRITE ? KVMFT_ENTRY_WRITE : KVMFT_ENTRY_READ;
	entry->space = FIELD_GET(ACCESS_SPACE, first);
	if (len < ACCESS_LEN_FOLLOWS) {
		entry->len = 1 << len;
	} else if (len == ACCESS_LEN_FOLLOWS) {
		entry->len = take_varint(in, KVMFT_DATA_MAX);
		if (!entry->len || short_len(entry->len))
			malformed(in);
	} else {
		malformed(in);
	}
	entry->addr = take_varint(in, entry->space == KVMFT_SPACE_PORT ? PORT_MAX : U64_MAX);
	entry->data = take_bytes(in, entry->len);
}

/*
 * BOUNDARY and its inputs.
 */
static bool input_valid(const struct kvmft_input *input)
{
	switch (input->type) {
	case KVMFT_INPUT_LINE:
		return input->level <= 1 && input->source < KVMFT_SOURCES;
	case KVMFT_INPUT_MEMORY:
		return input->len && input->len <= KVMFT_DATA_MAX;
	case KVMFT_INPUT_TIMER:
	case KVMFT_INPUT_MSI:
	case KVMFT_INPUT_NMI:
	case KVMFT_INPUT_LINT0:
	case KVMFT_INPUT_REINJECT:
	case KVMFT_INPUT_TIMER_KEPT:
		return true;
	}
	return false;
}

/* Bytes for memory are alone in their entry: it would be too long otherwise. */
static bool too_many(u8 type, unsigned int nr)
{
	return type == KVMFT_INPUT_MEMORY && nr > 1;
}

static bool boundary_valid(const struct kvmft_entry *entry)
{
	int i;

	if (entry->at > KVMFT_AT_POSITION || entry->nr_inputs > KVMFT_BATCH_MAX)
		return false;
	for (i = 0; i < entry->nr_inputs; i++)
		if (!input_valid(&entry->inputs[i]) ||
		    too_many(entry->inputs[i].type, entry->nr_inputs))
			return false;
	return true;
}

static u8 *put_input(u8 *p, const struct kvmft_input *input)
{
	u8 first = input->type;
	u32 gsi;

	switch (input->type) {
	case KVMFT_INPUT_LINE:
		gsi = min_t(u32, input->gsi, INPUT_GSI_FOLLOWS);
		*p++ = first | FIELD_PREP(INPUT_LEVEL, input->level) | FIELD_PREP(INPUT_GSI, gsi);
		if (gsi == INPUT_GSI_FOLLOWS)
			p = put_varint(p, input->gsi - gsi);
		return put_varint(p, input->source);
	case KVMFT_INPUT_MSI:
		*p++ = first;
		p = put_varint(p, input->addr ^ MSI_BASE);
		return put_varint(p, input->data);
	case KVMFT_INPUT_MEMORY:
		*p++ = first;
		p = put_varint(p, input->addr);
		p = put_varint(p, input->len);
		return put_bytes(p, input->bytes, input->len);
	default:
		*p++ = first;
		return p;
	}
}

/* One of @nr inputs. */
static void take_input(struct reader *in, struct kvmft_input *input, unsigned int nr)
{
	u8 first = take_byte(in);

	memset(input, 0, sizeof(*input));
	input->type = (first & LINE_MASK) == KVMFT_INPUT_LINE ? KVMFT_INPUT_LINE : first;
	if (too_many(input->type, nr))
		malformed(in);

	switch (input->type) {
	case KVMFT_INPUT_LINE:
		input->level = FIELD_GET(INPUT_LEVEL, first);
		input->gsi = FIELD_GET(INPUT_GSI, first);
		if (input->gsi == INPUT_GSI_FOLLOWS)
			input->gsi += take_varint(in, U32_MAX - INPUT_GSI_FOLLOWS);
		input->source = take_varint(in, KVMFT_SOURCES - 1);
		break;
	case KVMFT_INPUT_MSI:
		input->addr = take_varint(in, U64_MAX) ^ MSI_BASE;
		input->data = take_varint(in, U32_MAX);
		break;
	case KVMFT_INPUT_MEMORY:
		input->addr = take_varint(in, U64_MAX);
		input->len = take_varint(in, KVMFT_DATA_MAX);
		if (!input->len)
			malformed(in);
		input->bytes = take_bytes(in, input->len);
		break;
	case KVMFT_INPUT_TIMER:
	case KVMFT_INPUT_NMI:
	case KVMFT_INPUT_LINT0:
	case KVMFT_INPUT_REINJECT:
	case KVMFT_INPUT_TIMER_KEPT:
		break;
	default:
		malformed(in);
	}
}

static u8 *put_boundary(u8 *p, const struct kvmft_codec *codec, const struct kvmft_entry *entry)
{
	unsigned int nr = min_t(unsigned int, entry->nr_inputs, BOUNDARY_NR_FOLLOWS);
	int i;

	*p++ = BOUNDARY_MARK | FIELD_PREP(BOUNDARY_AT, entry->at) |
	       (entry->more ? BOUNDARY_MORE : 0) | FIELD_PREP(BOUNDARY_NR, nr);
	if (nr == BOUNDARY_NR_FOLLOWS)
		p = put_varint(p, entry->nr_inputs - nr);
	if (entry->at == KVMFT_AT_POSITION) {
		p = put_varint(p, entry->pos.cond - codec->pos.cond);
		p = put_varint(p, entry->pos.taken - codec->pos.taken);
		p = put_varint(p, zigzag(entry->rip - codec->rip));
	} else {
		p = put_varint(p, entry->exits - codec->exits);
	}
	for (i = 0; i < entry->nr_inputs; i++)
		p = put_input(p, &entry->inputs[i]);
	return p;
}

static void take_boundary(struct reader *in, const struct kvmft_codec *codec,
			  struct kvmft_entry *entry, u8 first)
{
	int i;

	entry->type = KVMFT_ENTRY_BOUNDARY;
	entry->at = FIELD_GET(BOUNDARY_AT, first);
	if (entry->at > KVMFT_AT_POSITION)
		malformed(in);
	entry->more = first & BOUNDARY_MORE;
	entry->nr_inputs = FIELD_GET(BOUNDARY_NR, first);
	if (entry->nr_inputs == BOUNDARY_NR_FOLLOWS)
		entry->nr_inputs += take_varint(in, KVMFT_BATCH_MAX - BOUNDARY_NR_FOLLOWS);
	if (entry->at == KVMFT_AT_POSITION) {
		entry->pos.cond = codec->pos.cond + take_varint(in, U64_MAX);
		entry->pos.taken = codec->pos.taken + take_varint(in, U64_MAX);
		entry->rip = codec->rip + unzigzag(take_varint(in, U64_MAX));
	} else {
		entry->exits = codec->exits + take_varint(in, U64_MAX);
	}
	for (i = 0; i < entry->nr_inputs && !in->error; i++)
		take_input(in, &entry->inputs[i], entry->nr_inputs);
}

/*
 * The others are rare.  Hashes have all their bytes: no shorter form would be shorter.
 */
static bool other_valid(const struct kvmft_entry *entry)
{
	switch (entry->type) {
	case KVMFT_ENTRY_START:
		return entry->len <= KVMFT_DATA_MAX;
	case KVMFT_ENTRY_PAGE:
		return !(entry->addr & (BIT(PAGE_BITS) - 1));
	case KVMFT_ENTRY_MSR:
		return entry->addr <= U32_MAX;
	case KVMFT_ENTRY_END:
		return entry->value <= U32_MAX;
	case KVMFT_ENTRY_DIGEST:
	case KVMFT_ENTRY_RESET:
		return true;
	}
	return false;
}

static u8 *put_other(u8 *p, const struct kvmft_entry *entry)
{
	*p++ = entry->type << OTHER_SHIFT;
	switch (entry->type) {
	case KVMFT_ENTRY_START:
		p = put_varint(p, entry->len);
		return put_bytes(p, entry->data, entry->len);
	case KVMFT_ENTRY_PAGE:
		p = put_varint(p, entry->addr >> PAGE_BITS);
		return put_le64(p, entry->value);
	case KVMFT_ENTRY_MSR:
		p = put_varint(p, entry->addr);
		return put_varint(p, entry->value);
	case KVMFT_ENTRY_DIGEST:
	case KVMFT_ENTRY_RESET:
		*p++ = entry->memory ? DIGEST_MEMORY : 0;
		p = put_le64(p, entry->value);
		return entry->memory ? put_le64(p, entry->memory) : p;
	case KVMFT_ENTRY_END:
		return put_varint(p, entry->value);
	}
	return p;
}

static void take_digest(struct reader *in, struct kvmft_entry *entry)
{
	u8 flags = take_byte(in);

	if (flags & ~DIGEST_MEMORY)
		malformed(in);
	entry->value = take_le64(in);
	if (flags & DIGEST_MEMORY) {
		entry->memory = take_le64(in);
		if (!entry->memory)
			malformed(in);
	}
}

static void take_other(struct reader *in, struct kvmft_entry *entry, u8 first)
{
	entry->type = first >> OTHER_SHIFT;
	switch (entry->type) {
	case KVMFT_ENTRY_START:
		entry->len = take_varint(in, KVMFT_DATA_MAX);
		entry->data = take_bytes(in, entry->len);
		break;
	case KVMFT_ENTRY_PAGE:
		entry->addr = take_varint(in, U64_MAX >> PAGE_BITS) << PAGE_BITS;
		entry->value = take_le64(in);
		break;
	case KVMFT_ENTRY_MSR:
		entry->addr = take_varint(in, U32_MAX);
		entry->value = take_varint(in, U64_MAX);
		break;
	case KVMFT_ENTRY_DIGEST:
	case KVMFT_ENTRY_RESET:
		take_digest(in, entry);
		break;
	case KVMFT_ENTRY_END:
		entry->value = take_varint(in, U32_MAX);
		break;
	default:
		malformed(in);
	}
}

static void take_entry(struct reader *in, const struct kvmft_codec *codec,
		       struct kvmft_entry *entry)
{
	u8 first = take_byte(in);

	if (in->error)
		return;
	if (first & TSC_MARK)
		take_tsc(in, codec, entry, first);
	else if ((first & BOUNDARY_MASK) == BOUNDARY_MARK)
		take_boundary(in, codec, entry, first);
	else if ((first & ACCESS_MASK) == ACCESS_MARK)
		take_access(in, entry, first);
	else
		take_other(in, entry, first);
}

/* What later entries are told by their difference from. */
static void codec_advance(struct kvmft_codec *codec, const struct kvmft_entry *entry)
{
	codec->seq++;
	if (entry->type == KVMFT_ENTRY_TSC) {
		codec->tsc = entry->value;
	} else if (entry->type == KVMFT_ENTRY_BOUNDARY) {
		if (entry->at == KVMFT_AT_POSITION) {
			codec->pos = entry->pos;
			codec->rip = entry->rip;
		} else {
			codec->exits = entry->exits;
		}
	}
}

void kvmft_codec_init(struct kvmft_codec *codec)
{
	*codec = (struct kvmft_codec){ .seq = 1 };
}

bool kvmft_entry_has_check(const struct kvmft_entry *entry)
{
	switch (entry->type) {
	case KVMFT_ENTRY_TSC:
	case KVMFT_ENTRY_READ:
	case KVMFT_ENTRY_WRITE:
	case KVMFT_ENTRY_MSR:
	case KVMFT_ENTRY_BOUNDARY:
	case KVMFT_ENTRY_DIGEST:
	case KVMFT_ENTRY_RESET:
		return true;
	}
	return false;
}

/*
 * The last steps of MurmurHash3: each bit of either hash changes each bit of the result in
 * half of all cases.
 */
u16 kvmft_entry_check(const struct kvmft_entry *entry, u32 state)
{
	u32 hash = entry->payload;

	if (kvmft_entry_has_check(entry))
		hash += state * 0x9e3779b1;
	hash ^= hash >> 16;
	hash *= 0x85ebca6b;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35;
	return hash ^ hash >> 16;
}

int kvmft_entry_encode(struct kvmft_codec *codec, struct kvmft_entry *entry, u32 state, u8 *buf)
{
	u8 *p = buf;

	switch (entry->type) {
	case KVMFT_ENTRY_TSC:
		p = put_tsc(p, codec, entry);
		break;
	case KVMFT_ENTRY_READ:
	case KVMFT_ENTRY_WRITE:
		if (!access_valid(entry))
			return -EINVAL;
		p = put_access(p, entry);
		break;
	case KVMFT_ENTRY_BOUNDARY:
		if (!boundary_valid(entry))
			return -EINVAL;
		p = put_boundary(p, codec, entry);
		break;
	default:
		if (!other_valid(entry))
			return -EINVAL;
		p = put_other(p, entry);
	}
	entry->payload = kvmft_crc32c(0, buf, p - buf);
	entry->check = kvmft_entry_check(entry, state);
	put_unaligned_le16(entry->check, p);
	codec_advance(codec, entry);
	return p + CHECK_SIZE - buf;
}

int kvmft_entry_decode(struct kvmft_codec *codec, struct kvmft_entry *entry, const u8 *buf,
		       size_t len)
{
	struct reader in = { .p = buf, .end = buf + len };
	const u8 *check;

	memset(entry, 0, offsetof(struct kvmft_entry, inputs));
	take_entry(&in, codec, entry);
	check = take_bytes(&in, CHECK_SIZE);
	if (!check)
		return in.error;

	entry->payload = kvmft_crc32c(0, buf, check - buf);
	entry->check = get_unaligned_le16(check);
	/* One wrong bit can turn an entry into one of a type that nobody would check. */
	if (!kvmft_entry_has_check(entry) && entry->check != kvmft_entry_check(entry, 0))
		return -EBADMSG;
	codec_advance(codec, entry);
	return in.p - buf;
}
