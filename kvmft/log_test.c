// SPDX-License-Identifier: GPL-2.0
#include <kunit/test.h>
#include <linux/string.h>

#include "log.h"

#define SIZE	64

/* A ring, and room on both sides where nothing may be written. */
struct bench {
	struct kvmft_log log;
	u8 before[SIZE];
	u8 memory[SIZE];
	u8 behind[SIZE];
	u8 in[2 * SIZE];
	u8 out[2 * SIZE];
};

static int bench_init(struct kunit *test)
{
	struct bench *b = kunit_kzalloc(test, sizeof(*b), GFP_KERNEL);

	if (!b)
		return -ENOMEM;
	kvmft_log_init(&b->log, b->memory, SIZE);
	test->priv = b;
	return 0;
}

static void bench_exit(struct kunit *test)
{
	struct bench *b = test->priv;

	if (!b)
		return;
	KUNIT_EXPECT_NULL(test, memchr_inv(b->before, 0, SIZE));
	KUNIT_EXPECT_NULL(test, memchr_inv(b->behind, 0, SIZE));
}

/* @len bytes that tell where in the log they are. */
static u8 *bytes_at(struct bench *b, u64 at, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		b->in[i] = 1 + (at + i) % 251;
	return b->in;
}

static bool write_log(struct kvmft_log *log, const u8 *bytes, size_t len)
{
	bool done = kvmft_log_put(log, bytes, len);

	kvmft_log_publish(log);
	return done;
}

static void empty(struct kunit *test)
{
	struct bench *b = test->priv;

	KUNIT_EXPECT_EQ(test, kvmft_log_used(&b->log), 0);
	KUNIT_EXPECT_EQ(test, kvmft_log_space(&b->log), SIZE);
	KUNIT_EXPECT_EQ(test, kvmft_log_peek(&b->log, b->out, SIZE), 0);
	KUNIT_EXPECT_NULL(test, memchr_inv(b->out, 0, sizeof(b->out)));
	kvmft_log_consume(&b->log, 0);
	KUNIT_EXPECT_TRUE(test, write_log(&b->log, b->in, 0));
	KUNIT_EXPECT_EQ(test, kvmft_log_used(&b->log), 0);
}

static void full(struct kunit *test)
{
	struct bench *b = test->priv;

	KUNIT_EXPECT_FALSE(test, write_log(&b->log, bytes_at(b, 0, SIZE + 1), SIZE + 1));
	KUNIT_EXPECT_EQ(test, kvmft_log_used(&b->log), 0);
	KUNIT_EXPECT_NULL(test, memchr_inv(b->memory, 0, SIZE));

	KUNIT_EXPECT_TRUE(test, write_log(&b->log, bytes_at(b, 0, SIZE), SIZE));
	KUNIT_EXPECT_EQ(test, kvmft_log_space(&b->log), 0);
	KUNIT_EXPECT_EQ(test, kvmft_log_used(&b->log), SIZE);
	KUNIT_EXPECT_FALSE(test, write_log(&b->log, bytes_at(b, SIZE, 1), 1));
	KUNIT_EXPECT_TRUE(test, write_log(&b->log, b->in, 0));

	KUNIT_EXPECT_EQ(test, kvmft_log_peek(&b->log, b->out, 2 * SIZE), SIZE);
	KUNIT_EXPECT_MEMEQ(test, b->out, bytes_at(b, 0, SIZE), SIZE);
	kvmft_log_consume(&b->log, 1);
	KUNIT_EXPECT_EQ(test, kvmft_log_space(&b->log), 1);
	KUNIT_EXPECT_TRUE(test, write_log(&b->log, bytes_at(b, SIZE, 1), 1));
	KUNIT_EXPECT_EQ(test, kvmft_log_peek(&b->log, b->out, 2 * SIZE), SIZE);
	KUNIT_EXPECT_MEMEQ(test, b->out, bytes_at(b, 1, SIZE), SIZE);
}

static void peek_consumes_nothing(struct kunit *test)
{
	struct bench *b = test->priv;

	KUNIT_ASSERT_TRUE(test, write_log(&b->log, bytes_at(b, 0, 10), 10));
	KUNIT_EXPECT_EQ(test, kvmft_log_peek(&b->log, b->out, 4), 4);
	KUNIT_EXPECT_MEMEQ(test, b->out, b->in, 4);
	KUNIT_EXPECT_EQ(test, b->out[4], 0);
	KUNIT_EXPECT_EQ(test, kvmft_log_peek(&b->log, b->out, SIZE), 10);
	KUNIT_EXPECT_MEMEQ(test, b->out, b->in, 10);
	KUNIT_EXPECT_EQ(test, b->out[10], 0);
	kvmft_log_consume(&b->log, 4);
	KUNIT_EXPECT_EQ(test, kvmft_log_peek(&b->log, b->out, SIZE), 6);
	KUNIT_EXPECT_MEMEQ(test, b->out, b->in + 4, 6);
}

/* What is put takes space at once, and is seen, all of it, when it is published. */
static void publish(struct kunit *test)
{
	struct bench *b = test->priv;

	KUNIT_ASSERT_TRUE(test, write_log(&b->log, bytes_at(b, 0, 10), 10));
	KUNIT_ASSERT_TRUE(test, kvmft_log_put(&b->log, bytes_at(b, 10, 20), 20));
	KUNIT_ASSERT_TRUE(test, kvmft_log_put(&b->log, bytes_at(b, 30, 20), 20));
	KUNIT_EXPECT_EQ(test, kvmft_log_space(&b->log), SIZE - 50);
	KUNIT_EXPECT_EQ(test, kvmft_log_unpublished(&b->log), 40);
	KUNIT_EXPECT_EQ(test, kvmft_log_used(&b->log), 10);
	KUNIT_EXPECT_EQ(test, kvmft_log_peek(&b->log, b->out, SIZE), 10);
	kvmft_log_consume(&b->log, 10);
	KUNIT_EXPECT_EQ(test, kvmft_log_used(&b->log), 0);
	KUNIT_EXPECT_FALSE(test, kvmft_log_put(&b->log, bytes_at(b, 50, 25), 25));
	KUNIT_ASSERT_TRUE(test, kvmft_log_put(&b->log, bytes_at(b, 50, 24), 24));
	KUNIT_EXPECT_EQ(test, kvmft_log_space(&b->log), 0);
	KUNIT_EXPECT_EQ(test, kvmft_log_used(&b->log), 0);
	kvmft_log_publish(&b->log);
	KUNIT_EXPECT_EQ(test, kvmft_log_unpublished(&b->log), 0);
	KUNIT_EXPECT_EQ(test, kvmft_log_used(&b->log), SIZE);
	KUNIT_EXPECT_EQ(test, kvmft_log_peek(&b->log, b->out, SIZE), SIZE);
	KUNIT_EXPECT_MEMEQ(test, b->out, bytes_at(b, 10, SIZE), SIZE);
}

/* Each length at each place of the ring, so that each splits everywhere. */
static void wraps_anywhere(struct kunit *test)
{
	struct bench *b = test->priv;
	size_t at, len;

	for (at = 0; at < SIZE; at++) {
		for (len = 1; len <= SIZE; len++) {
			kvmft_log_init(&b->log, b->memory, SIZE);
			b->log.put = at;
			b->log.head = at;
			b->log.tail = at;
			KUNIT_ASSERT_TRUE(test,
					  write_log(&b->log, bytes_at(b, at, len), len));
			KUNIT_ASSERT_EQ(test, kvmft_log_used(&b->log), len);
			KUNIT_ASSERT_EQ(test, kvmft_log_space(&b->log), SIZE - len);
			memset(b->out, 0, sizeof(b->out));
			KUNIT_ASSERT_EQ(test, kvmft_log_peek(&b->log, b->out, SIZE), len);
			KUNIT_ASSERT_EQ(test, memcmp(b->out, b->in, len), 0);
			KUNIT_ASSERT_EQ(test, b->out[len], 0);
		}
	}
}

/* In and out in steps that do not divide the size, across 2^32 and to the end of u64. */
static void stream(struct kunit *test)
{
	static const u64 starts[] = { 0, (1ULL << 32) - 100, -1ULL - 1000 };
	struct bench *b = test->priv;
	u64 written, read, steps;
	int i;

	for (i = 0; i < ARRAY_SIZE(starts); i++) {
		b->log.put = starts[i];
		b->log.head = starts[i];
		b->log.tail = starts[i];
		written = 0;
		read = 0;
		for (steps = 0; read < 5000; steps++) {
			size_t len = 1 + steps * 7 % 23;

			while (write_log(&b->log, bytes_at(b, written, len), len))
				written += len;
			KUNIT_ASSERT_LT(test, kvmft_log_space(&b->log), len);
			len = kvmft_log_peek(&b->log, b->out, 1 + steps * 5 % 31);
			KUNIT_ASSERT_EQ(test, memcmp(b->out, bytes_at(b, read, len), len), 0);
			kvmft_log_consume(&b->log, len);
			read += len;
			KUNIT_ASSERT_EQ(test, kvmft_log_used(&b->log), written - read);
		}
	}
}

static struct kunit_case log_cases[] = {
	KUNIT_CASE(empty),
	KUNIT_CASE(full),
	KUNIT_CASE(peek_consumes_nothing),
	KUNIT_CASE(publish),
	KUNIT_CASE(wraps_anywhere),
	KUNIT_CASE(stream),
	{}
};

static struct kunit_suite log_suite = {
	.name = "kvmft_log",
	.init = bench_init,
	.exit = bench_exit,
	.test_cases = log_cases,
};

kunit_test_suite(log_suite);

MODULE_DESCRIPTION("KUnit suite of kvmft's log ring");
MODULE_LICENSE("GPL");
