// SPDX-License-Identifier: GPL-2.0
#include <kunit/test.h>
#include <linux/string.h>

#include "entry.h"

#define ROUNDS	20000
#define STATE	0x600dbeef

/* What a test needs and the stack is too small for. */
struct bench {
	struct kvmft_codec encoder;
	struct kvmft_codec decoder;
	struct kvmft_entry entry;
	struct kvmft_entry decoded;
	u64 random;
	u8 data[KVMFT_DATA_MAX];
	u8 buf[2 * KVMFT_ENTRY_SIZE_MAX];
};

static int bench_init(struct kunit *test)
{
	struct bench *b = kunit_kzalloc(test, sizeof(*b), GFP_KERNEL);
	int i;

	if (!b)
		return -ENOMEM;
	kvmft_codec_init(&b->encoder);
	kvmft_codec_init(&b->decoder);
	b->random = 88172645463325252ULL;
	for (i = 0; i < KVMFT_DATA_MAX; i++)
		b->data[i] = i * 7 + (i >> 8);
	test->priv = b;
	return 0;
}

/* xorshift64: the same numbers in each run. */
static u64 random64(struct bench *b)
{
	b->random ^= b->random << 13;
	b->random ^= b->random >> 7;
	b->random ^= b->random << 17;
	return b->random;
}

static u32 below(struct bench *b, u32 limit)
{
	return (random64(b) >> 16) % limit;
}

/* All lengths alike, and the ends of the range often. */
static u64 random_number(struct bench *b, unsigned int bits)
{
	u64 max = U64_MAX >> (64 - bits);

	switch (below(b, 8)) {
	case 0:
		return 0;
	case 1:
		return max;
	default:
		return random64(b) & (max >> below(b, bits));
	}
}

static void random_input(struct bench *b, struct kvmft_input *input)
{
	static const u8 types[] = { KVMFT_INPUT_TIMER, KVMFT_INPUT_LINE, KVMFT_INPUT_MSI,
				    KVMFT_INPUT_NMI, KVMFT_INPUT_LINT0, KVMFT_INPUT_REINJECT,
				    KVMFT_INPUT_TIMER_KEPT };

	*input = (struct kvmft_input){ .type = types[below(b, ARRAY_SIZE(types))] };
	if (input->type == KVMFT_INPUT_LINE) {
		input->level = below(b, 2);
		input->source = below(b, KVMFT_SOURCES);
		input->gsi = random_number(b, 32);
	} else if (input->type == KVMFT_INPUT_MSI) {
		input->addr = below(b, 2) ? 0xfee00000 : random_number(b, 64);
		input->data = random_number(b, 32);
	}
}

static void random_entry(struct bench *b, struct kvmft_entry *entry)
{
	int i;

	memset(entry, 0, sizeof(*entry));
	entry->type = 1 + below(b, KVMFT_ENTRY_END);
	switch (entry->type) {
	case KVMFT_ENTRY_START:
		entry->data = b->data;
		entry->len = min_t(u64, random_number(b, 13), KVMFT_DATA_MAX);
		break;
	case KVMFT_ENTRY_PAGE:
		entry->addr = random_number(b, 52) << 12;
		entry->value = random64(b);
		break;
	case KVMFT_ENTRY_TSC:
		entry->value = random_number(b, 64);
		break;
	case KVMFT_ENTRY_READ:
	case KVMFT_ENTRY_WRITE:
		entry->data = b->data;
		entry->space = below(b, 2);
		entry->addr = random_number(b, entry->space == KVMFT_SPACE_PORT ? 16 : 64);
		entry->len = clamp_t(u64, random_number(b, 13), 1, KVMFT_DATA_MAX);
		break;
	case KVMFT_ENTRY_MSR:
		entry->addr = random_number(b, 32);
		entry->value = random_number(b, 64);
		break;
	case KVMFT_ENTRY_BOUNDARY:
		entry->at = below(b, 3);
		entry->more = below(b, 2);
		entry->nr_inputs = below(b, KVMFT_BATCH_MAX + 1);
		if (entry->at == KVMFT_AT_POSITION) {
			entry->pos.cond = random_number(b, 64);
			entry->pos.taken = random_number(b, 64);
			entry->rip = random_number(b, 64);
		} else {
			entry->exits = random_number(b, 64);
		}
		for (i = 0; i < entry->nr_inputs; i++)
			random_input(b, &entry->inputs[i]);
		if (entry->nr_inputs == 1 && below(b, 2))
			entry->inputs[0] = (struct kvmft_input){
				.type = KVMFT_INPUT_MEMORY, .addr = random_number(b, 64),
				.len = clamp_t(u64, random_number(b, 13), 1, KVMFT_DATA_MAX),
				.bytes = b->data,
			};
		break;
	case KVMFT_ENTRY_DIGEST:
	case KVMFT_ENTRY_RESET:
		entry->value = random64(b);
		entry->memory = random_number(b, 64);
		break;
	case KVMFT_ENTRY_END:
		entry->value = random_number(b, 32);
		break;
	}
}

static void expect_same_input(struct kunit *test, const struct kvmft_input *a,
			      const struct kvmft_input *b)
{
	KUNIT_ASSERT_EQ(test, a->type, b->type);
	KUNIT_ASSERT_EQ(test, a->level, b->level);
	KUNIT_ASSERT_EQ(test, a->source, b->source);
	KUNIT_ASSERT_EQ(test, a->gsi, b->gsi);
	KUNIT_ASSERT_EQ(test, a->data, b->data);
	KUNIT_ASSERT_EQ(test, a->addr, b->addr);
	KUNIT_ASSERT_EQ(test, a->len, b->len);
	if (a->len)
		KUNIT_ASSERT_EQ(test, memcmp(a->bytes, b->bytes, a->len), 0);
}

static void expect_same(struct kunit *test, const struct kvmft_entry *a,
			const struct kvmft_entry *b)
{
	int i;

	KUNIT_ASSERT_EQ(test, a->type, b->type);
	KUNIT_ASSERT_EQ(test, a->space, b->space);
	KUNIT_ASSERT_EQ(test, a->at, b->at);
	KUNIT_ASSERT_EQ(test, a->more, b->more);
	KUNIT_ASSERT_EQ(test, a->nr_inputs, b->nr_inputs);
	KUNIT_ASSERT_EQ(test, a->len, b->len);
	KUNIT_ASSERT_EQ(test, a->check, b->check);
	KUNIT_ASSERT_EQ(test, a->payload, b->payload);
	KUNIT_ASSERT_EQ(test, a->addr, b->addr);
	KUNIT_ASSERT_EQ(test, a->value, b->value);
	KUNIT_ASSERT_EQ(test, a->memory, b->memory);
	KUNIT_ASSERT_EQ(test, a->exits, b->exits);
	KUNIT_ASSERT_EQ(test, a->pos.cond, b->pos.cond);
	KUNIT_ASSERT_EQ(test, a->pos.taken, b->pos.taken);
	KUNIT_ASSERT_EQ(test, a->rip, b->rip);
	for (i = 0; i < a->nr_inputs; i++)
		expect_same_input(test, &a->inputs[i], &b->inputs[i]);
	if (a->len)
		KUNIT_ASSERT_EQ(test, memcmp(a->data, b->data, a->len), 0);
}

/* Encode @b->entry, decode it, compare; returns its length. */
static int round_trip(struct kunit *test, struct bench *b)
{
	u32 state = random64(b);
	int len = kvmft_entry_encode(&b->encoder, &b->entry, state, b->buf);

	KUNIT_ASSERT_GT(test, len, 0);
	KUNIT_ASSERT_LE(test, len, KVMFT_ENTRY_SIZE_MAX);
	KUNIT_ASSERT_EQ(test, kvmft_entry_decode(&b->decoder, &b->decoded, b->buf, len), len);
	expect_same(test, &b->entry, &b->decoded);
	KUNIT_ASSERT_EQ(test, kvmft_entry_check(&b->decoded, state), b->decoded.check);
	KUNIT_ASSERT_EQ(test, memcmp(&b->encoder, &b->decoder, sizeof(b->encoder)), 0);
	return len;
}

static const u8 four[4] = { 1, 2, 3, 4 };

#define INPUT_LINE(n, l)	{ .type = KVMFT_INPUT_LINE, .gsi = (n), .level = (l) }
#define INPUT_MSI(a, d)		{ .type = KVMFT_INPUT_MSI, .addr = (a), .data = (d) }
#define INPUT_MEMORY(a, l, b)	\
	{ .type = KVMFT_INPUT_MEMORY, .addr = (a), .len = (l), .bytes = (b) }

/* What each kind of entry costs, in a log without an entry before it. */
static const struct {
	const char *what;
	int size;
	struct kvmft_entry entry;
} sizes[] = {
	{ "TSC, no difference", 3, { .type = KVMFT_ENTRY_TSC } },
	{ "TSC, 6 bits", 3, { .type = KVMFT_ENTRY_TSC, .value = (1 << 6) - 1 } },
	{ "TSC, 7 bits", 4, { .type = KVMFT_ENTRY_TSC, .value = 1 << 6 } },
	{ "TSC, 13 bits", 4, { .type = KVMFT_ENTRY_TSC, .value = (1 << 13) - 1 } },
	{ "TSC, 14 bits", 5, { .type = KVMFT_ENTRY_TSC, .value = 1 << 13 } },
	{ "TSC, 20 bits", 5, { .type = KVMFT_ENTRY_TSC, .value = (1 << 20) - 1 } },
	{ "TSC, 21 bits", 6, { .type = KVMFT_ENTRY_TSC, .value = 1 << 20 } },
	{ "TSC, backwards", 12, { .type = KVMFT_ENTRY_TSC, .value = -1ULL } },
	{ "port", 5, { .type = KVMFT_ENTRY_READ, .addr = 0x7f, .len = 1, .data = four } },
	{ "port, 16 bits", 7, {
		.type = KVMFT_ENTRY_WRITE, .addr = 0x3fd, .len = 2, .data = four } },
	{ "memory", 12, {
		.type = KVMFT_ENTRY_READ, .space = KVMFT_SPACE_MEMORY, .addr = 0xfebf0000,
		.len = 4, .data = four } },
	{ "odd length", 9, {
		.type = KVMFT_ENTRY_READ, .addr = 0x1f0, .len = 3, .data = four } },
	{ "MSR", 6, { .type = KVMFT_ENTRY_MSR, .addr = 0x1b, .value = 0x800 } },
	{ "boundary", 4, { .type = KVMFT_ENTRY_BOUNDARY, .exits = 127 } },
	{ "boundary, timer", 5, {
		.type = KVMFT_ENTRY_BOUNDARY, .exits = 127, .nr_inputs = 1 } },
	{ "boundary, halted, timer", 5, {
		.type = KVMFT_ENTRY_BOUNDARY, .at = KVMFT_AT_HALT, .exits = 127,
		.nr_inputs = 1 } },
	{ "boundary, timer, far", 6, {
		.type = KVMFT_ENTRY_BOUNDARY, .exits = 128, .nr_inputs = 1 } },
	{ "boundary, line", 6, {
		.type = KVMFT_ENTRY_BOUNDARY, .exits = 1, .nr_inputs = 1,
		.inputs = { INPUT_LINE(30, 1) } } },
	{ "boundary, high line", 7, {
		.type = KVMFT_ENTRY_BOUNDARY, .exits = 1, .nr_inputs = 1,
		.inputs = { INPUT_LINE(31, 1) } } },
	{ "boundary, message", 7, {
		.type = KVMFT_ENTRY_BOUNDARY, .exits = 1, .nr_inputs = 1,
		.inputs = { INPUT_MSI(0xfee00000, 0x31) } } },
	{ "boundary, NMI", 5, {
		.type = KVMFT_ENTRY_BOUNDARY, .exits = 1, .nr_inputs = 1,
		.inputs = { { .type = KVMFT_INPUT_NMI } } } },
	{ "boundary, LINT0", 5, {
		.type = KVMFT_ENTRY_BOUNDARY, .exits = 1, .nr_inputs = 1,
		.inputs = { { .type = KVMFT_INPUT_LINT0 } } } },
	{ "boundary, reinject", 5, {
		.type = KVMFT_ENTRY_BOUNDARY, .exits = 1, .nr_inputs = 1,
		.inputs = { { .type = KVMFT_INPUT_REINJECT } } } },
	{ "boundary, timer kept", 5, {
		.type = KVMFT_ENTRY_BOUNDARY, .exits = 1, .nr_inputs = 1,
		.inputs = { { .type = KVMFT_INPUT_TIMER_KEPT } } } },
	{ "boundary, bytes", 12, {
		.type = KVMFT_ENTRY_BOUNDARY, .exits = 1, .nr_inputs = 1,
		.inputs = { INPUT_MEMORY(0x1000, 4, four) } } },
	{ "boundary, position", 14, {
		.type = KVMFT_ENTRY_BOUNDARY, .at = KVMFT_AT_POSITION, .nr_inputs = 1,
		.pos = { 100000, 100000 }, .rip = 0xfff000 } },
	{ "digest", 12, { .type = KVMFT_ENTRY_DIGEST, .value = 1 } },
	{ "digest of memory", 20, { .type = KVMFT_ENTRY_DIGEST, .value = 1, .memory = 1 } },
	{ "page", 12, { .type = KVMFT_ENTRY_PAGE, .addr = 0x7f000, .value = 1 } },
	{ "start", 8, { .type = KVMFT_ENTRY_START, .len = 4, .data = four } },
	{ "reset", 12, { .type = KVMFT_ENTRY_RESET, .value = 1 } },
	{ "reset, with memory", 20, { .type = KVMFT_ENTRY_RESET, .value = 1, .memory = 1 } },
	{ "end", 4, { .type = KVMFT_ENTRY_END, .value = 7 } },
};

static void known_sizes(struct kunit *test)
{
	struct bench *b = test->priv;
	int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		kvmft_codec_init(&b->encoder);
		kvmft_codec_init(&b->decoder);
		b->entry = sizes[i].entry;
		KUNIT_EXPECT_EQ_MSG(test, round_trip(test, b), sizes[i].size, "%s", sizes[i].what);
	}
}

/* A log that another version could not read has to be noticed. */
static void known_bytes(struct kunit *test)
{
	static const u8 tsc[] = { 0x81, 0x01, 0x82, 0xca };
	static const u8 timer[] = { 0x22, 0x03, 0x00, 0x35, 0xcf };
	static const u8 lint0[] = { 0x22, 0x00, 0x04 };
	static const u8 reinject[] = { 0x22, 0x00, 0x07 };
	static const u8 kept[] = { 0x22, 0x00, 0x08 };
	static const u8 memory[] = {
		0x22, 0x00, 0x06, 0x80, 0x20, 0x04, 0x01, 0x02, 0x03, 0x04 };
	static const u8 reset[] = {
		0x48, 0x01, 0x02, 0, 0, 0, 0, 0, 0, 0, 0x03, 0, 0, 0, 0, 0, 0, 0 };
	static const u8 end[] = { 0x50, 0x07, 0x9e, 0x81 };
	struct bench *b = test->priv;

	b->entry = (struct kvmft_entry){ .type = KVMFT_ENTRY_TSC, .value = 64 };
	KUNIT_EXPECT_EQ(test, kvmft_entry_encode(&b->encoder, &b->entry, STATE, b->buf), 4);
	KUNIT_EXPECT_MEMEQ(test, b->buf, tsc, sizeof(tsc));
	b->entry = (struct kvmft_entry){
		.type = KVMFT_ENTRY_BOUNDARY, .exits = 3, .nr_inputs = 1 };
	KUNIT_EXPECT_EQ(test, kvmft_entry_encode(&b->encoder, &b->entry, STATE, b->buf), 5);
	KUNIT_EXPECT_MEMEQ(test, b->buf, timer, sizeof(timer));
	b->entry.inputs[0].type = KVMFT_INPUT_LINT0;
	KUNIT_EXPECT_EQ(test, kvmft_entry_encode(&b->encoder, &b->entry, STATE, b->buf), 5);
	KUNIT_EXPECT_MEMEQ(test, b->buf, lint0, sizeof(lint0));
	b->entry.inputs[0].type = KVMFT_INPUT_REINJECT;
	KUNIT_EXPECT_EQ(test, kvmft_entry_encode(&b->encoder, &b->entry, STATE, b->buf), 5);
	KUNIT_EXPECT_MEMEQ(test, b->buf, reinject, sizeof(reinject));
	b->entry.inputs[0].type = KVMFT_INPUT_TIMER_KEPT;
	KUNIT_EXPECT_EQ(test, kvmft_entry_encode(&b->encoder, &b->entry, STATE, b->buf), 5);
	KUNIT_EXPECT_MEMEQ(test, b->buf, kept, sizeof(kept));
	b->entry.inputs[0] = (struct kvmft_input)INPUT_MEMORY(0x1000, 4, four);
	KUNIT_EXPECT_EQ(test, kvmft_entry_encode(&b->encoder, &b->entry, STATE, b->buf), 12);
	KUNIT_EXPECT_MEMEQ(test, b->buf, memory, sizeof(memory));
	b->entry = (struct kvmft_entry){ .type = KVMFT_ENTRY_RESET, .value = 2, .memory = 3 };
	KUNIT_EXPECT_EQ(test, kvmft_entry_encode(&b->encoder, &b->entry, STATE, b->buf), 20);
	KUNIT_EXPECT_MEMEQ(test, b->buf, reset, sizeof(reset));
	b->entry = (struct kvmft_entry){ .type = KVMFT_ENTRY_END, .value = 7 };
	KUNIT_EXPECT_EQ(test, kvmft_entry_encode(&b->encoder, &b->entry, STATE, b->buf), 4);
	KUNIT_EXPECT_MEMEQ(test, b->buf, end, sizeof(end));
}

static void differences(struct kunit *test)
{
	struct bench *b = test->priv;
	struct kvmft_entry *entry = &b->entry;

	KUNIT_EXPECT_EQ(test, b->encoder.seq, 1);
	*entry = (struct kvmft_entry){ .type = KVMFT_ENTRY_TSC, .value = 1ULL << 60 };
	KUNIT_EXPECT_EQ(test, round_trip(test, b), 11);
	entry->value += 8191;
	KUNIT_EXPECT_EQ(test, round_trip(test, b), 4);
	entry->value -= 1;
	KUNIT_EXPECT_EQ(test, round_trip(test, b), 12);

	*entry = (struct kvmft_entry){
		.type = KVMFT_ENTRY_BOUNDARY, .at = KVMFT_AT_POSITION,
		.pos = { 1ULL << 40, 1ULL << 41 }, .rip = 0xffffffff81000000 };
	round_trip(test, b);
	entry->pos.cond += 127;
	entry->pos.taken += 127;
	entry->rip -= 64;
	KUNIT_EXPECT_EQ(test, round_trip(test, b), 6);
	entry->rip += 63;
	KUNIT_EXPECT_EQ(test, round_trip(test, b), 6);

	/* Exits and positions do not disturb each other. */
	*entry = (struct kvmft_entry){ .type = KVMFT_ENTRY_BOUNDARY, .exits = 1000 };
	KUNIT_EXPECT_EQ(test, round_trip(test, b), 5);
	KUNIT_EXPECT_EQ(test, b->encoder.pos.cond, (1ULL << 40) + 127);
	entry->at = KVMFT_AT_HALT;
	entry->exits = 1127;
	KUNIT_EXPECT_EQ(test, round_trip(test, b), 4);
	KUNIT_EXPECT_EQ(test, b->encoder.seq, 9);
}

static void random_round_trips(struct kunit *test)
{
	struct bench *b = test->priv;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		random_entry(b, &b->entry);
		round_trip(test, b);
	}
	KUNIT_EXPECT_EQ(test, b->decoder.seq, ROUNDS + 1);
}

/* Nothing but the whole entry is one, and the rest is asked for. */
static void truncated(struct kunit *test)
{
	struct bench *b = test->priv;
	struct kvmft_codec before;
	int i, len, part;

	for (i = 0; i < ROUNDS / 20; i++) {
		random_entry(b, &b->entry);
		before = b->encoder;
		len = kvmft_entry_encode(&b->encoder, &b->entry, STATE, b->buf);
		KUNIT_ASSERT_GT(test, len, 0);
		for (part = 0; part < len; part += part < 40 || part > len - 10 ? 1 : 17) {
			struct kvmft_codec codec = before;
			/* Let KASAN see a read beyond the end. */
			u8 *exact = kmemdup(b->buf, part, GFP_KERNEL);

			KUNIT_ASSERT_NOT_NULL(test, exact);
			KUNIT_EXPECT_EQ_MSG(test,
					    kvmft_entry_decode(&codec, &b->decoded, exact, part),
					    -EAGAIN, "type %d, %d of %d bytes", b->entry.type,
					    part, len);
			KUNIT_EXPECT_EQ(test, memcmp(&codec, &before, sizeof(codec)), 0);
			kfree(exact);
		}
	}
}

/* Is the entry at @b->buf taken for the one it was, with the state it had? */
static bool unnoticed(struct bench *b, const struct kvmft_codec *before, int len)
{
	struct kvmft_codec codec = *before;

	return kvmft_entry_decode(&codec, &b->decoded, b->buf, len) > 0 &&
	       kvmft_entry_check(&b->decoded, STATE) == b->decoded.check;
}

static void flip(u8 *bytes, int bit)
{
	bytes[bit / 8] ^= 1 << bit % 8;
}

/* Number of bits of the entry that may be wrong without being noticed. */
static int flip_all(struct kunit *test, struct bench *b, int *tried)
{
	struct kvmft_codec before = b->encoder;
	int len, bit, bad = 0;

	len = kvmft_entry_encode(&b->encoder, &b->entry, STATE, b->buf);
	KUNIT_ASSERT_GT(test, len, 0);
	/* Something follows, that a longer entry may take for its end. */
	memset(b->buf + len, 0x5a, 32);
	KUNIT_ASSERT_TRUE(test, unnoticed(b, &before, len));
	for (bit = 0; bit < len * 8; bit++) {
		flip(b->buf, bit);
		bad += unnoticed(b, &before, len);
		bad += unnoticed(b, &before, len + 32);
		flip(b->buf, bit);
	}
	*tried += len * 8;
	return bad;
}

static void flipped_bits_are_noticed(struct kunit *test)
{
	struct bench *b = test->priv;
	int i, tried = 0;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		kvmft_codec_init(&b->encoder);
		b->entry = sizes[i].entry;
		KUNIT_EXPECT_EQ_MSG(test, flip_all(test, b, &tried), 0, "%s", sizes[i].what);
	}
}

/* A check has 16 bits: of so many flips some get through, but not more than that. */
static void flipped_bits_at_random(struct kunit *test)
{
	struct bench *b = test->priv;
	int i, bad = 0, tried = 0;

	for (i = 0; i < ROUNDS / 4; i++) {
		do
			random_entry(b, &b->entry);
		while (b->entry.len > 64 || b->entry.inputs[0].len > 64);
		bad += flip_all(test, b, &tried);
	}
	kunit_info(test, "%d of %d flips unnoticed", bad, tried);
	KUNIT_EXPECT_GT(test, tried, 500000);
	KUNIT_EXPECT_LT(test, bad, tried / 65536 * 4);
}

static void check_depends_on_state(struct kunit *test)
{
	struct bench *b = test->priv;
	int i, bit, same = 0;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		b->entry = sizes[i].entry;
		KUNIT_ASSERT_GT(test, kvmft_entry_encode(&b->encoder, &b->entry, STATE, b->buf), 0);
		for (bit = 0; bit < 32; bit++)
			same += kvmft_entry_has_check(&b->entry) &&
				kvmft_entry_check(&b->entry, STATE ^ BIT(bit)) == b->entry.check;
		if (!kvmft_entry_has_check(&b->entry))
			KUNIT_EXPECT_EQ(test, kvmft_entry_check(&b->entry, 0), b->entry.check);
	}
	KUNIT_EXPECT_EQ(test, same, 0);
}

/* Bytes, and what the decoder says of them whatever follows. */
static const struct {
	const char *what;
	int error;
	int len;
	u8 bytes[16];
} refused[] = {
	{ "type 0", -EBADMSG, 1, { 0x00 } },
	{ "TSC in the long form", -EBADMSG, 1, { 0x18 } },
	{ "READ in the long form", -EBADMSG, 1, { 0x20 } },
	{ "BOUNDARY in the long form", -EBADMSG, 1, { 0x38 } },
	{ "type 11", -EBADMSG, 1, { 0x58 } },
	{ "type 31", -EBADMSG, 1, { 0xf8 } },
	{ "TSC: nothing follows", -EBADMSG, 2, { 0x81, 0x00 } },
	{ "TSC: overlong", -EBADMSG, 3, { 0x81, 0x81, 0x00 } },
	{ "TSC: 58 bits follow", -EAGAIN, 10, {
		0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03 } },
	{ "TSC: 59 bits follow", -EBADMSG, 10, {
		0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x04 } },
	{ "TSC: a tenth byte follows", -EBADMSG, 10, {
		0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80 } },
	{ "access: port 65535", -EAGAIN, 4, { 0x04, 0xff, 0xff, 0x03 } },
	{ "access: port 65536", -EBADMSG, 4, { 0x04, 0x80, 0x80, 0x04 } },
	{ "access: port has a fourth byte", -EBADMSG, 4, { 0x04, 0x80, 0x80, 0x80 } },
	{ "access: the same address in memory", -EAGAIN, 4, { 0x14, 0x80, 0x80, 0x80 } },
	{ "access: unknown length", -EBADMSG, 1, { 0xa4 } },
	{ "access: unknown length", -EBADMSG, 1, { 0xec } },
	{ "access: length 0", -EBADMSG, 2, { 0x84, 0x00 } },
	{ "access: length 1 in the long form", -EBADMSG, 2, { 0x84, 0x01 } },
	{ "access: length 8 in the long form", -EBADMSG, 2, { 0x84, 0x08 } },
	{ "access: length 3 overlong", -EBADMSG, 3, { 0x84, 0x83, 0x00 } },
	{ "access: length 4096", -EAGAIN, 3, { 0x84, 0x80, 0x20 } },
	{ "access: length 4097", -EBADMSG, 3, { 0x84, 0x81, 0x20 } },
	{ "access: length has a third byte", -EBADMSG, 3, { 0x84, 0x80, 0x80 } },
	{ "boundary: at 3", -EBADMSG, 1, { 0x0e } },
	{ "boundary: 16 inputs", -EAGAIN, 2, { 0xe2, 0x09 } },
	{ "boundary: 17 inputs", -EBADMSG, 2, { 0xe2, 0x0a } },
	{ "boundary: 135 inputs", -EBADMSG, 2, { 0xe2, 0x80 } },
	{ "boundary: exits overlong", -EBADMSG, 3, { 0x22, 0x80, 0x00 } },
	{ "boundary: exits have 64 bits", -EAGAIN, 11, {
		0x22, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01 } },
	{ "boundary: exits have 65 bits", -EBADMSG, 11, {
		0x22, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02 } },
	{ "boundary: exits have an eleventh byte", -EBADMSG, 11, {
		0x22, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81 } },
	{ "input 11", -EBADMSG, 3, { 0x22, 0x00, 0x0b } },
	{ "input 10", -EBADMSG, 3, { 0x22, 0x00, 0x0a } },
	{ "input 130", -EBADMSG, 3, { 0x22, 0x00, 0x82 } },
	{ "input 255", -EBADMSG, 3, { 0x22, 0x00, 0xff } },
	{ "bytes: one", -EAGAIN, 5, { 0x22, 0x00, 0x06, 0x00, 0x01 } },
	{ "bytes: none", -EBADMSG, 5, { 0x22, 0x00, 0x06, 0x00, 0x00 } },
	{ "bytes: 4096", -EAGAIN, 6, { 0x22, 0x00, 0x06, 0x00, 0x80, 0x20 } },
	{ "bytes: length overlong", -EBADMSG, 6, { 0x22, 0x00, 0x06, 0x00, 0x81, 0x00 } },
	{ "bytes: 4097", -EBADMSG, 6, { 0x22, 0x00, 0x06, 0x00, 0x81, 0x20 } },
	{ "bytes: then a timer", -EBADMSG, 3, { 0x42, 0x00, 0x06 } },
	{ "bytes: behind a timer", -EBADMSG, 4, { 0x42, 0x00, 0x00, 0x06 } },
	{ "line: largest gsi", -EAGAIN, 8, { 0x22, 0x00, 0xf9, 0xe0, 0xff, 0xff, 0xff, 0x0f } },
	{ "line: gsi too large", -EBADMSG, 8, { 0x22, 0x00, 0xf9, 0xe1, 0xff, 0xff, 0xff, 0x0f } },
	{ "line: largest source", -EAGAIN, 4, { 0x22, 0x00, 0x01, 0x3f } },
	{ "line: source too large", -EBADMSG, 4, { 0x22, 0x00, 0x01, 0x40 } },
	{ "message: data too large", -EBADMSG, 9, {
		0x22, 0x00, 0x02, 0x00, 0x80, 0x80, 0x80, 0x80, 0x10 } },
	{ "MSR: number too large", -EBADMSG, 6, { 0x30, 0x80, 0x80, 0x80, 0x80, 0x10 } },
	{ "start: length 4097", -EBADMSG, 3, { 0x08, 0x81, 0x20 } },
	{ "page: beyond 64 bits", -EBADMSG, 9, {
		0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10 } },
	{ "digest: unknown flag", -EBADMSG, 2, { 0x40, 0x02 } },
	{ "digest: of memory, not taken", -EBADMSG, 16, { 0x40, 0x01 } },
	{ "end: reason too large", -EBADMSG, 6, { 0x50, 0x80, 0x80, 0x80, 0x80, 0x10 } },
	{ "end: wrong check", -EBADMSG, 4, { 0x50, 0x07, 0x01, 0x01 } },
	{ "reset: unknown flag", -EBADMSG, 2, { 0x48, 0x02 } },
	{ "reset: of memory, not taken", -EBADMSG, 16, { 0x48, 0x01 } },
	{ "start: wrong check", -EBADMSG, 4, { 0x08, 0x00, 0x01, 0x01 } },
};

static void refused_bytes(struct kunit *test)
{
	struct bench *b = test->priv;
	struct kvmft_codec before;
	int i, len;

	for (i = 0; i < ARRAY_SIZE(refused); i++) {
		before = b->decoder;
		memset(b->buf, 0, 32);
		memcpy(b->buf, refused[i].bytes, refused[i].len);
		/* The zeros of an empty digest go on beyond the table's bytes. */
		len = refused[i].len == 16 ? 18 : refused[i].len;
		KUNIT_EXPECT_EQ_MSG(test, kvmft_entry_decode(&b->decoder, &b->decoded, b->buf, len),
				    refused[i].error, "%s", refused[i].what);
		KUNIT_EXPECT_EQ(test, memcmp(&before, &b->decoder, sizeof(before)), 0);
	}
}

/* What the format can not say, the encoder does not. */
static void refused_entries(struct kunit *test)
{
	static const struct kvmft_entry entries[] = {
		{ .type = 0 },
		{ .type = KVMFT_ENTRY_END + 1 },
		{ .type = 255 },
		{ .type = KVMFT_ENTRY_READ, .len = 0, .data = four },
		{ .type = KVMFT_ENTRY_WRITE, .len = KVMFT_DATA_MAX + 1, .data = four },
		{ .type = KVMFT_ENTRY_READ, .len = 1, .data = four, .addr = 0x10000 },
		{ .type = KVMFT_ENTRY_READ, .len = 1, .data = four, .space = 2 },
		{ .type = KVMFT_ENTRY_START, .len = KVMFT_DATA_MAX + 1, .data = four },
		{ .type = KVMFT_ENTRY_PAGE, .addr = 0x1001 },
		{ .type = KVMFT_ENTRY_MSR, .addr = 1ULL << 32 },
		{ .type = KVMFT_ENTRY_END, .value = 1ULL << 32 },
		{ .type = KVMFT_ENTRY_BOUNDARY, .at = 3 },
		{ .type = KVMFT_ENTRY_BOUNDARY, .nr_inputs = KVMFT_BATCH_MAX + 1 },
		{ .type = KVMFT_ENTRY_BOUNDARY, .nr_inputs = 1, .inputs = { { .type = 5 } } },
		{ .type = KVMFT_ENTRY_BOUNDARY, .nr_inputs = 1, .inputs = { { .type = 11 } } },
		{ .type = KVMFT_ENTRY_BOUNDARY, .nr_inputs = 1, .inputs = { { .type = 10 } } },
		{ .type = KVMFT_ENTRY_BOUNDARY, .nr_inputs = 1,
		  .inputs = { INPUT_MEMORY(0, 0, four) } },
		{ .type = KVMFT_ENTRY_BOUNDARY, .nr_inputs = 1,
		  .inputs = { INPUT_MEMORY(0, KVMFT_DATA_MAX + 1, four) } },
		{ .type = KVMFT_ENTRY_BOUNDARY, .nr_inputs = 2,
		  .inputs = { INPUT_MEMORY(0, 4, four) } },
		{ .type = KVMFT_ENTRY_BOUNDARY, .nr_inputs = 2,
		  .inputs = { { .type = KVMFT_INPUT_TIMER }, INPUT_MEMORY(0, 4, four) } },
		{ .type = KVMFT_ENTRY_BOUNDARY, .nr_inputs = 1, .inputs = { INPUT_LINE(1, 2) } },
		{ .type = KVMFT_ENTRY_BOUNDARY, .nr_inputs = 1, .inputs = {
			{ .type = KVMFT_INPUT_LINE, .source = KVMFT_SOURCES } } },
	};
	struct bench *b = test->priv;
	struct kvmft_codec before = b->encoder;
	int i;

	for (i = 0; i < ARRAY_SIZE(entries); i++) {
		b->entry = entries[i];
		KUNIT_EXPECT_EQ_MSG(test, kvmft_entry_encode(&b->encoder, &b->entry, 0, b->buf),
				    -EINVAL, "entry %d", i);
		KUNIT_EXPECT_EQ(test, memcmp(&before, &b->encoder, sizeof(before)), 0);
	}
}

/* The largest of each type fit the buffer that callers have. */
static void longest(struct kunit *test)
{
	struct bench *b = test->priv;
	struct kvmft_entry *entry = &b->entry;
	int i;

	*entry = (struct kvmft_entry){
		.type = KVMFT_ENTRY_READ, .space = KVMFT_SPACE_MEMORY, .addr = U64_MAX,
		.len = KVMFT_DATA_MAX, .data = b->data };
	KUNIT_EXPECT_EQ(test, round_trip(test, b), 1 + 2 + 10 + KVMFT_DATA_MAX + 2);
	*entry = (struct kvmft_entry){
		.type = KVMFT_ENTRY_BOUNDARY, .at = KVMFT_AT_POSITION, .more = true,
		.nr_inputs = KVMFT_BATCH_MAX, .pos = { U64_MAX, U64_MAX }, .rip = 1ULL << 63 };
	for (i = 0; i < KVMFT_BATCH_MAX; i++)
		entry->inputs[i] = (struct kvmft_input)INPUT_MSI(U64_MAX, U32_MAX);
	KUNIT_EXPECT_EQ(test, round_trip(test, b), 2 + 30 + KVMFT_BATCH_MAX * 16 + 2);
	entry->nr_inputs = 1;
	entry->pos = (struct kvmft_position){ U64_MAX - 1, U64_MAX - 1 };
	entry->rip = 0;
	entry->inputs[0] = (struct kvmft_input)INPUT_MEMORY(U64_MAX, KVMFT_DATA_MAX, b->data);
	KUNIT_EXPECT_EQ(test, round_trip(test, b), 1 + 30 + 1 + 10 + 2 + KVMFT_DATA_MAX + 2);
}

static struct kunit_case entry_cases[] = {
	KUNIT_CASE(known_sizes),
	KUNIT_CASE(known_bytes),
	KUNIT_CASE(differences),
	KUNIT_CASE(random_round_trips),
	KUNIT_CASE(truncated),
	KUNIT_CASE(flipped_bits_are_noticed),
	KUNIT_CASE_SLOW(flipped_bits_at_random),
	KUNIT_CASE(check_depends_on_state),
	KUNIT_CASE(refused_bytes),
	KUNIT_CASE(refused_entries),
	KUNIT_CASE(longest),
	{}
};

static struct kunit_suite entry_suite = {
	.name = "kvmft_entry",
	.init = bench_init,
	.test_cases = entry_cases,
};

kunit_test_suite(entry_suite);

MODULE_DESCRIPTION("KUnit suite of kvmft's log entries");
MODULE_LICENSE("GPL");
