// SPDX-License-Identifier: GPL-2.0
#include <kunit/test.h>

#include "ring.h"

#define NUM	8
#define DESC	0x1000
#define AVAIL	0x2000
#define USED	0x3000
#define END	0x4000

struct desc {
	__le64 addr;
	__le32 len;
	__le16 flags;
	__le16 next;
};

#define MORE		1
#define WRITABLE		2
#define OTHER	4

/**
 * struct fixture - a driver's side
 * @memory: reads @bytes; addresses begin at DESC
 * @ring: the device's side
 * @bytes: all three parts
 * @chain: popped last
 */
struct fixture {
	struct kvmft_ring_memory memory;
	struct kvmft_ring ring;
	u8 bytes[END - DESC];
	struct kvmft_chain chain;
};

static int read(const struct kvmft_ring_memory *memory, u64 addr, void *buf, u32 len)
{
	const struct fixture *f = container_of(memory, struct fixture, memory);

	if (addr < DESC || addr + len > END)
		return -EFAULT;
	memcpy(buf, f->bytes + (addr - DESC), len);
	return 0;
}

static int ring_init(struct kunit *test)
{
	struct fixture *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);

	if (!f)
		return -ENOMEM;
	f->memory.read = read;
	f->ring = (struct kvmft_ring) {
		.num = NUM, .desc = DESC, .avail = AVAIL, .used = USED,
	};
	test->priv = f;
	return 0;
}

static void set16(struct fixture *f, u64 addr, u16 value)
{
	*(__le16 *)(f->bytes + (addr - DESC)) = cpu_to_le16(value);
}

static void set_desc(struct fixture *f, u16 index, u64 addr, u32 len, u16 flags, u16 next)
{
	((struct desc *)f->bytes)[index] = (struct desc) {
		cpu_to_le64(addr), cpu_to_le32(len), cpu_to_le16(flags), cpu_to_le16(next)
	};
}

/* The @nr-th buffer that is made available, from 0, begins with @head. */
static void offer(struct fixture *f, u16 nr, u16 head)
{
	set16(f, AVAIL + 4 + 2 * (nr % NUM), head);
	set16(f, AVAIL + 2, nr + 1);
}

static int pop(struct fixture *f)
{
	return kvmft_ring_pop(&f->ring, &f->memory, &f->chain);
}

static void validity(struct kunit *test)
{
	const struct kvmft_ring good = { .num = 256, .desc = 16, .avail = 2, .used = 4 };
	static const u32 nums[] = { 0, 3, 255, 32769, 65536, ~0U };
	struct kvmft_ring ring = good;
	int i;

	KUNIT_EXPECT_TRUE(test, kvmft_ring_valid(&good));
	for (i = 0; i < ARRAY_SIZE(nums); i++) {
		ring.num = nums[i];
		KUNIT_EXPECT_FALSE_MSG(test, kvmft_ring_valid(&ring), "%u", nums[i]);
	}
	for (ring = good, i = 0; i < 16; i++) {
		ring.num = 1 << i;
		KUNIT_EXPECT_TRUE_MSG(test, kvmft_ring_valid(&ring), "%u", ring.num);
	}
	for (ring = good; ring.desc < 32; ring.desc++)
		KUNIT_EXPECT_EQ(test, kvmft_ring_valid(&ring), ring.desc == 16);
	for (ring = good; ring.avail < 4; ring.avail++)
		KUNIT_EXPECT_EQ(test, kvmft_ring_valid(&ring), ring.avail == 2);
	for (ring = good; ring.used < 8; ring.used++)
		KUNIT_EXPECT_EQ(test, kvmft_ring_valid(&ring), ring.used == 4);
}

static void chains(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, pop(f), 0);
	set_desc(f, 5, 0x10000, 12, MORE, 2);
	set_desc(f, 2, 0x20000, 100, MORE, 7);
	set_desc(f, 7, 0x30000, 0xfffffff0, MORE | WRITABLE, 0);
	set_desc(f, 0, 0x40000, 0x20, WRITABLE, 3);
	offer(f, 0, 5);
	KUNIT_ASSERT_EQ(test, pop(f), 1);
	KUNIT_EXPECT_EQ(test, f->chain.head, 5);
	KUNIT_EXPECT_EQ(test, f->chain.nr_out, 2);
	KUNIT_EXPECT_EQ(test, f->chain.nr_in, 2);
	KUNIT_EXPECT_EQ(test, f->chain.len_out, 112);
	KUNIT_EXPECT_EQ(test, f->chain.len_in, 0x100000010ULL);
	KUNIT_EXPECT_EQ(test, f->chain.pieces[0].addr, 0x10000);
	KUNIT_EXPECT_EQ(test, f->chain.pieces[1].len, 100);
	KUNIT_EXPECT_EQ(test, f->chain.pieces[3].addr, 0x40000);
	KUNIT_EXPECT_EQ(test, pop(f), 0);
	offer(f, 1, 0);
	KUNIT_ASSERT_EQ(test, pop(f), 1);
	KUNIT_EXPECT_EQ(test, f->chain.nr_out, 0);
	KUNIT_EXPECT_EQ(test, f->chain.nr_in, 1);
}

/* All the way round, 65,536 buffers and more. */
static void wraps(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct kvmft_ring_report report;
	struct kvmft_ring_used used;
	u32 i;

	for (i = 0; i < NUM; i++)
		set_desc(f, i, i, 1, WRITABLE, 0);
	for (i = 0; i < 70000; i++) {
		offer(f, i, i % NUM);
		KUNIT_ASSERT_EQ(test, pop(f), 1);
		KUNIT_ASSERT_EQ(test, f->chain.head, i % NUM);
		kvmft_ring_report(&f->ring, &used, 1, &report);
		KUNIT_ASSERT_EQ(test, report.nr, 2);
		KUNIT_ASSERT_EQ(test, report.writes[0].addr, USED + 4 + 8 * (i % NUM));
		KUNIT_ASSERT_EQ(test, report.writes[0].len, 8);
		KUNIT_ASSERT_EQ(test, report.writes[1].addr, USED + 2);
		KUNIT_ASSERT_EQ(test, le16_to_cpu(report.index), (u16)(i + 1));
	}
}

/* Several at once, over the end of the ring. */
static void reports(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct kvmft_ring_used used[NUM];
	struct kvmft_ring_report report;

	f->ring.next = 3;
	kvmft_ring_report(&f->ring, used, 5, &report);
	KUNIT_ASSERT_EQ(test, report.nr, 3);
	KUNIT_EXPECT_EQ(test, report.writes[0].addr, USED + 4 + 8 * 6);
	KUNIT_EXPECT_EQ(test, report.writes[0].len, 16);
	KUNIT_EXPECT_PTR_EQ(test, report.writes[0].data, (const void *)used);
	KUNIT_EXPECT_EQ(test, report.writes[1].addr, USED + 4);
	KUNIT_EXPECT_EQ(test, report.writes[1].len, 24);
	KUNIT_EXPECT_PTR_EQ(test, report.writes[1].data, (const void *)(used + 2));
	KUNIT_EXPECT_PTR_EQ(test, report.writes[2].data, (const void *)&report.index);
	f->ring.next = 0;
	kvmft_ring_report(&f->ring, used, NUM, &report);
	KUNIT_ASSERT_EQ(test, report.nr, 2);
	KUNIT_EXPECT_EQ(test, report.writes[0].addr, USED + 4);
	KUNIT_EXPECT_EQ(test, report.writes[0].len, 8 * NUM);
}

static void expect_bad(struct kunit *test, const char *what, int error)
{
	struct fixture *f = test->priv;
	u16 next = f->ring.next;

	KUNIT_EXPECT_EQ_MSG(test, pop(f), error, "%s", what);
	KUNIT_EXPECT_EQ_MSG(test, f->ring.next, next, "%s", what);
}

static void hostile(struct kunit *test)
{
	struct fixture *f = test->priv;
	u32 i;

	set16(f, AVAIL + 2, NUM + 1);
	expect_bad(test, "more than there is room for", -EINVAL);
	set16(f, AVAIL + 2, 0xffff);
	expect_bad(test, "an index that went back", -EINVAL);
	for (i = NUM; i < 0x10000; i += 97) {
		offer(f, 0, i);
		expect_bad(test, "a head out of range", -EINVAL);
		set_desc(f, 1, 0, 1, MORE, i);
		offer(f, 0, 1);
		expect_bad(test, "a next out of range", -EINVAL);
	}
	set_desc(f, 1, 0, 1, MORE, 1);
	expect_bad(test, "a loop of one", -EINVAL);
	set_desc(f, 1, 0, 1, MORE, 2);
	set_desc(f, 2, 0, 1, MORE, 1);
	expect_bad(test, "a loop of two", -EINVAL);
	set_desc(f, 1, 0, 1, MORE | WRITABLE, 2);
	set_desc(f, 2, 0, 1, 0, 0);
	expect_bad(test, "a piece to read behind one to write", -EINVAL);
	for (i = OTHER; i < 0x10000; i <<= 1) {
		set_desc(f, 1, 0, 16, i, 0);
		expect_bad(test, "an unknown flag", -EINVAL);
	}
	f->ring.desc = END;
	expect_bad(test, "descriptors that can not be read", -EFAULT);
	f->ring.desc = DESC;
	f->ring.avail = END - 4;
	set16(f, END - 2, 1);
	expect_bad(test, "a ring that can not be read", -EFAULT);
	f->ring.avail = END;
	expect_bad(test, "an index that can not be read", -EFAULT);
}

/* A chain of as many pieces as are allowed, and one more. */
static void longest(struct kunit *test)
{
	struct fixture *f = test->priv;
	u16 i;

	f->ring.num = 128;
	for (i = 0; i < 128; i++)
		set_desc(f, i, i, 1, i == KVMFT_CHAIN_MAX - 1 ? 0 : MORE, i + 1);
	offer(f, 0, 0);
	KUNIT_ASSERT_EQ(test, pop(f), 1);
	KUNIT_EXPECT_EQ(test, f->chain.nr_out, KVMFT_CHAIN_MAX);
	set_desc(f, KVMFT_CHAIN_MAX - 1, 0, 1, MORE, KVMFT_CHAIN_MAX);
	set_desc(f, KVMFT_CHAIN_MAX, 0, 1, 0, 0);
	f->ring.next = 0;
	expect_bad(test, "one piece too many", -EINVAL);
}

static void interrupts(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_TRUE(test, kvmft_ring_wants_interrupt(&f->ring, &f->memory));
	set16(f, AVAIL, 1);
	KUNIT_EXPECT_FALSE(test, kvmft_ring_wants_interrupt(&f->ring, &f->memory));
	set16(f, AVAIL, 0xfffe);
	KUNIT_EXPECT_TRUE(test, kvmft_ring_wants_interrupt(&f->ring, &f->memory));
	f->ring.avail = END;
	KUNIT_EXPECT_TRUE(test, kvmft_ring_wants_interrupt(&f->ring, &f->memory));
}

static struct kunit_case ring_cases[] = {
	KUNIT_CASE(validity),
	KUNIT_CASE(chains),
	KUNIT_CASE(wraps),
	KUNIT_CASE(reports),
	KUNIT_CASE(hostile),
	KUNIT_CASE(longest),
	KUNIT_CASE(interrupts),
	{}
};

static struct kunit_suite ring_suite = {
	.name = "kvmft_ring",
	.init = ring_init,
	.test_cases = ring_cases,
};

kunit_test_suite(ring_suite);

MODULE_DESCRIPTION("KUnit suite of kvmft's virtqueues");
MODULE_LICENSE("GPL");
