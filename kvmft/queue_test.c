// SPDX-License-Identifier: GPL-2.0
#include <kunit/test.h>

#include "queue.h"

static int queue_init(struct kunit *test)
{
	test->priv = kunit_kzalloc(test, sizeof(struct kvmft_queue), GFP_KERNEL);
	return test->priv ? 0 : -ENOMEM;
}

/* Messages, numbered from @first on. */
static void add(struct kunit *test, u32 first, unsigned int nr)
{
	struct kvmft_queue *queue = test->priv;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct kvmft_input input = { .type = KVMFT_INPUT_MSI, .data = first + i };

		KUNIT_ASSERT_TRUE(test, kvmft_queue_add(queue, &input, 1));
	}
}

static void add_memory(struct kunit *test, u32 number)
{
	struct kvmft_input input = { .type = KVMFT_INPUT_MEMORY, .data = number };

	KUNIT_ASSERT_TRUE(test, kvmft_queue_add(test->priv, &input, 1));
}

/* The next entry has @nr inputs, numbered from @first on. */
static void expect(struct kunit *test, u32 first, unsigned int nr)
{
	struct kvmft_input inputs[KVMFT_BATCH_MAX];
	unsigned int i;

	KUNIT_ASSERT_EQ(test, kvmft_queue_take(test->priv, inputs), nr);
	for (i = 0; i < nr; i++)
		KUNIT_EXPECT_EQ(test, inputs[i].data, first + i);
}

static void in_order(struct kunit *test)
{
	expect(test, 0, 0);
	add(test, 0, 3);
	expect(test, 0, 3);
	expect(test, 0, 0);
	add(test, 0, KVMFT_BATCH_MAX);
	add(test, KVMFT_BATCH_MAX, 2);
	expect(test, 0, KVMFT_BATCH_MAX);
	add(test, KVMFT_BATCH_MAX + 2, 1);
	expect(test, KVMFT_BATCH_MAX, 3);
}

static void memory_is_alone(struct kunit *test)
{
	add_memory(test, 0);
	add(test, 1, 2);
	add_memory(test, 3);
	add_memory(test, 4);
	add(test, 5, KVMFT_BATCH_MAX - 1);
	add_memory(test, KVMFT_BATCH_MAX + 4);
	expect(test, 0, 1);
	expect(test, 1, 2);
	expect(test, 3, 1);
	expect(test, 4, 1);
	expect(test, 5, KVMFT_BATCH_MAX - 1);
	expect(test, KVMFT_BATCH_MAX + 4, 1);
	expect(test, 0, 0);
}

/* All of them, or none. */
static void full(struct kunit *test)
{
	static const struct kvmft_input two[2] = {
		{ .type = KVMFT_INPUT_MSI, .data = KVMFT_QUEUE_SIZE - 1 },
		{ .type = KVMFT_INPUT_MSI, .data = KVMFT_QUEUE_SIZE },
	};
	u32 i;

	add(test, 0, KVMFT_QUEUE_SIZE - 1);
	KUNIT_EXPECT_FALSE(test, kvmft_queue_add(test->priv, two, 2));
	KUNIT_EXPECT_TRUE(test, kvmft_queue_add(test->priv, two, 1));
	KUNIT_EXPECT_FALSE(test, kvmft_queue_add(test->priv, two + 1, 1));
	KUNIT_EXPECT_TRUE(test, kvmft_queue_add(test->priv, two, 0));
	expect(test, 0, KVMFT_BATCH_MAX);
	KUNIT_EXPECT_TRUE(test, kvmft_queue_add(test->priv, two + 1, 1));
	for (i = KVMFT_BATCH_MAX; i < KVMFT_QUEUE_SIZE; i += KVMFT_BATCH_MAX)
		expect(test, i, KVMFT_BATCH_MAX);
	expect(test, KVMFT_QUEUE_SIZE, 1);
}

/* Bytes for memory leave room for others, which can not wait. */
static void memory_leaves_room(struct kunit *test)
{
	struct kvmft_input memory = { .type = KVMFT_INPUT_MEMORY };
	int i;

	for (i = 0; i < KVMFT_QUEUE_SIZE - KVMFT_QUEUE_RESERVE; i++)
		add_memory(test, i);
	KUNIT_EXPECT_FALSE(test, kvmft_queue_add(test->priv, &memory, 1));
	add(test, i, KVMFT_QUEUE_RESERVE);
	for (i = 0; i < KVMFT_QUEUE_SIZE - KVMFT_QUEUE_RESERVE; i++)
		expect(test, i, 1);
	for (; i < KVMFT_QUEUE_SIZE; i += KVMFT_BATCH_MAX)
		expect(test, i, KVMFT_BATCH_MAX);
}

/* A third of a kind is left out, wherever, and nothing else. */
static void merge_messages(struct kunit *test)
{
	static const struct kvmft_input come[] = {
		{ .type = KVMFT_INPUT_TIMER },
		{ .type = KVMFT_INPUT_NMI },
		{ .type = KVMFT_INPUT_MSI, .addr = 0xfee00000, .data = 40 },
		{ .type = KVMFT_INPUT_MSI, .addr = 0xfee00000, .data = 41 },
		{ .type = KVMFT_INPUT_MSI, .addr = 0xfee01000, .data = 40 },
		{ .type = KVMFT_INPUT_MEMORY },
		{ .type = KVMFT_INPUT_REINJECT },
	};
	struct kvmft_queue *queue = test->priv;
	unsigned int i;

	for (i = 0; i < 2 * ARRAY_SIZE(come); i++)
		KUNIT_ASSERT_TRUE(test, kvmft_queue_add(queue, &come[i % ARRAY_SIZE(come)], 1));
	KUNIT_EXPECT_FALSE(test, kvmft_queue_merge(queue));
	for (i = 0; i < ARRAY_SIZE(come); i++)
		KUNIT_ASSERT_TRUE(test, kvmft_queue_add(queue, &come[i], 1));
	KUNIT_EXPECT_TRUE(test, kvmft_queue_merge(queue));
	/* The bytes for memory came three times */
	KUNIT_ASSERT_EQ(test, queue->nr, 2 * ARRAY_SIZE(come) + 1);
	for (i = 0; i < 2 * ARRAY_SIZE(come); i++)
		KUNIT_EXPECT_MEMEQ(test, &queue->inputs[i], &come[i % ARRAY_SIZE(come)],
				   sizeof(*come));
	KUNIT_EXPECT_EQ(test, queue->inputs[i].type, KVMFT_INPUT_MEMORY);
}

static struct kvmft_input line(u32 source, u32 gsi, u8 level)
{
	return (struct kvmft_input) {
		.type = KVMFT_INPUT_LINE, .source = source, .gsi = gsi, .level = level,
	};
}

/*
 * What the IOAPIC or PIC makes of the changes in the queue: lines that have had an edge, and
 * those that are up in the end.
 */
static void play(const struct kvmft_queue *queue, u32 *edges, u32 *up)
{
	u32 by_source[2] = {};
	unsigned int i;

	*edges = *up = 0;
	for (i = 0; i < queue->nr; i++) {
		const struct kvmft_input *input = &queue->inputs[i];
		u32 before = by_source[0] | by_source[1];

		if (input->level)
			by_source[input->source] |= 1u << input->gsi;
		else
			by_source[input->source] &= ~(1u << input->gsi);
		*edges |= ~before & (by_source[0] | by_source[1]);
	}
	*up = by_source[0] | by_source[1];
}

/*
 * Three lines, one of two sources, change more often than there is room for: edges and levels in
 * the end are those of a queue without an end, and there is always room.
 */
static void merge_lines(struct kunit *test)
{
	struct kvmft_queue *queue = test->priv;
	u32 levels[3][2] = {}, edges = 0, number = 1, edges_here, up_here, up, i;

	for (i = 0; i < 20 * KVMFT_QUEUE_SIZE; i++) {
		struct kvmft_input input;
		u32 gsi, source, before;

		number = number * 1664525 + 1013904223;
		gsi = (number >> 16) % 3;
		/* A second source is rare: nothing is merged across a change of its. */
		source = gsi == 2 && i % 1000 == 7;
		before = levels[gsi][0] | levels[gsi][1];
		levels[gsi][source] ^= 1;
		if (!before && (levels[gsi][0] | levels[gsi][1]))
			edges |= 1 << gsi;
		input = line(source, gsi, levels[gsi][source]);
		if (!kvmft_queue_add(queue, &input, 1)) {
			KUNIT_ASSERT_TRUE_MSG(test, kvmft_queue_merge(queue), "change %u", i);
			KUNIT_ASSERT_TRUE(test, kvmft_queue_add(queue, &input, 1));
		}
		play(queue, &edges_here, &up_here);
		for (gsi = 0, up = 0; gsi < 3; gsi++)
			up |= (levels[gsi][0] | levels[gsi][1]) << gsi;
		KUNIT_ASSERT_EQ_MSG(test, edges_here, edges, "change %u", i);
		KUNIT_ASSERT_EQ_MSG(test, up_here, up, "change %u", i);
	}
}

/* Changes of lines that all make a difference, and one more that makes two of them superfluous. */
static void merge_few_lines(struct kunit *test)
{
	const struct kvmft_input there[] = {
		line(0, 5, 1), line(0, 6, 0), line(0, 5, 0), line(1, 7, 1), line(0, 5, 1),
		line(0, 6, 1), line(0, 7, 0), line(1, 7, 0), line(0, 7, 1),
	};
	const struct kvmft_input last = line(0, 5, 0);
	struct kvmft_queue *queue = test->priv;

	KUNIT_ASSERT_TRUE(test, kvmft_queue_add(queue, there, ARRAY_SIZE(there)));
	KUNIT_EXPECT_FALSE(test, kvmft_queue_merge(queue));
	KUNIT_ASSERT_TRUE(test, kvmft_queue_add(queue, &last, 1));
	KUNIT_EXPECT_TRUE(test, kvmft_queue_merge(queue));
	KUNIT_ASSERT_EQ(test, queue->nr, ARRAY_SIZE(there) - 1);
	KUNIT_EXPECT_MEMEQ(test, &queue->inputs[0], &there[0], sizeof(*there));
	KUNIT_EXPECT_MEMEQ(test, &queue->inputs[1], &there[1], sizeof(*there));
	KUNIT_EXPECT_MEMEQ(test, &queue->inputs[2], &there[3], sizeof(*there));
	KUNIT_EXPECT_MEMEQ(test, &queue->inputs[3], &there[5], 4 * sizeof(*there));
	KUNIT_EXPECT_MEMEQ(test, &queue->inputs[7], &last, sizeof(last));
}

/* Bytes of every length around the cuts are all there, once, in order. */
static void cuts(struct kunit *test)
{
	static const u32 lens[] = { 1, 4095, 4096, 4097, 8191, 8192, 8193, 65536 };
	struct kvmft_input inputs[16];
	u8 *data = kunit_kmalloc(test, 65536, GFP_KERNEL);
	unsigned int i, j;
	u32 done;
	int nr;

	KUNIT_ASSERT_NOT_NULL(test, data);
	for (i = 0; i < 65536; i++)
		data[i] = i * 7 + i / 4096;
	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		nr = kvmft_inputs_cut(inputs, 16, 0x1234, data, lens[i]);
		KUNIT_ASSERT_EQ(test, nr, DIV_ROUND_UP(lens[i], KVMFT_DATA_MAX));
		KUNIT_EXPECT_EQ(test, kvmft_inputs_cut(inputs, nr - 1, 0, data, lens[i]), -E2BIG);
		for (done = 0, j = 0; j < nr; done += inputs[j++].len) {
			KUNIT_EXPECT_EQ(test, inputs[j].type, KVMFT_INPUT_MEMORY);
			KUNIT_EXPECT_EQ(test, inputs[j].addr, 0x1234 + done);
			KUNIT_EXPECT_MEMEQ(test, inputs[j].bytes, data + done, inputs[j].len);
		}
		KUNIT_EXPECT_EQ(test, done, lens[i]);
		kvmft_inputs_free(inputs, nr);
	}
}

static struct kunit_case queue_cases[] = {
	KUNIT_CASE(in_order),
	KUNIT_CASE(memory_is_alone),
	KUNIT_CASE(full),
	KUNIT_CASE(memory_leaves_room),
	KUNIT_CASE(merge_messages),
	KUNIT_CASE(merge_lines),
	KUNIT_CASE(merge_few_lines),
	KUNIT_CASE(cuts),
	{}
};

static struct kunit_suite queue_suite = {
	.name = "kvmft_queue",
	.init = queue_init,
	.test_cases = queue_cases,
};

kunit_test_suite(queue_suite);

MODULE_DESCRIPTION("KUnit suite of kvmft's queue of inputs");
MODULE_LICENSE("GPL");
