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

static struct kunit_case queue_cases[] = {
	KUNIT_CASE(in_order),
	KUNIT_CASE(memory_is_alone),
	KUNIT_CASE(full),
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
