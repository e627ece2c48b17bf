// SPDX-License-Identifier: GPL-2.0
#include <kunit/test.h>

#include "gate.h"

static void nothing(struct kunit *test)
{
	KUNIT_EXPECT_FALSE(test, kvmft_gate_holds(KVMFT_GATE_NONE, KVMFT_SPACE_PORT, 0x3f8));
	KUNIT_EXPECT_FALSE(test, kvmft_gate_holds(KVMFT_GATE_NONE, KVMFT_SPACE_MEMORY, 0x3f8));
}

/* The whole table, and nothing beside it. */
static void outputs(struct kunit *test)
{
	static const u16 held[] = {
		0x0e9, 0x278, 0x279, 0x27a, 0x2e8, 0x2f8, 0x378, 0x379, 0x37a, 0x3bc, 0x3bd,
		0x3be, 0x3e8, 0x3f8, 0x402,
	};
	unsigned int port, i = 0;

	for (port = 0; port <= U16_MAX; port++) {
		bool want = i < ARRAY_SIZE(held) && held[i] == port;

		KUNIT_EXPECT_EQ_MSG(test, kvmft_gate_holds(KVMFT_GATE_OUTPUT, KVMFT_SPACE_PORT,
							   port), want, "port %#x", port);
		i += want;
	}
	KUNIT_EXPECT_EQ(test, i, ARRAY_SIZE(held));
	/* The same numbers as addresses of memory are others. */
	KUNIT_EXPECT_FALSE(test, kvmft_gate_holds(KVMFT_GATE_OUTPUT, KVMFT_SPACE_MEMORY, 0x3f8));
}

static void all(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, kvmft_gate_holds(KVMFT_GATE_ALL, KVMFT_SPACE_PORT, 0x70));
	KUNIT_EXPECT_TRUE(test, kvmft_gate_holds(KVMFT_GATE_ALL, KVMFT_SPACE_MEMORY, 0xfe000000));
}

static struct kvmft_packet *packet_at(struct kunit *test, u64 at, u32 len)
{
	struct kvmft_packet *packet;

	packet = kunit_kzalloc(test, struct_size(packet, data, len), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, packet);
	packet->at = at;
	packet->len = len;
	return packet;
}

/* In order, and none before its time. */
static void packets_wait(struct kunit *test)
{
	static const u64 ats[] = { 10, 10, 10, 25, 26 };
	struct kvmft_packet *packet[ARRAY_SIZE(ats)], *first;
	struct kvmft_held held;
	unsigned int i, nr = 0;
	u64 bytes = 0, acked;

	kvmft_held_init(&held);
	KUNIT_EXPECT_NULL(test, kvmft_held_first(&held, U64_MAX));
	KUNIT_EXPECT_EQ(test, kvmft_held_released(&held, 7), 7);
	for (i = 0; i < ARRAY_SIZE(ats); i++) {
		packet[i] = packet_at(test, ats[i], 60 + i);
		kvmft_held_add(&held, packet[i]);
		bytes += 60 + i;
	}
	for (acked = 0; acked < 30; acked++) {
		while ((first = kvmft_held_first(&held, acked))) {
			KUNIT_EXPECT_PTR_EQ(test, first, packet[nr]);
			KUNIT_EXPECT_LE(test, ats[nr], acked);
			/* Some of a batch have left, but not all. */
			KUNIT_EXPECT_EQ(test, kvmft_held_released(&held, acked), ats[nr] - 1);
			kvmft_held_remove(&held, first);
			bytes -= 60 + nr++;
			KUNIT_EXPECT_EQ(test, held.nr, ARRAY_SIZE(ats) - nr);
			KUNIT_EXPECT_EQ(test, held.bytes, bytes);
		}
		KUNIT_EXPECT_EQ(test, kvmft_held_released(&held, acked), acked);
		KUNIT_EXPECT_TRUE(test, nr == ARRAY_SIZE(ats) || ats[nr] > acked);
	}
	KUNIT_EXPECT_EQ(test, nr, ARRAY_SIZE(ats));
	KUNIT_EXPECT_EQ(test, held.bytes, 0);
}

static void before_all(struct kunit *test)
{
	struct kvmft_packet *one = packet_at(test, 5, 60), *two = packet_at(test, 0, 70);
	struct kvmft_held held;

	kvmft_held_init(&held);
	kvmft_held_add(&held, one);
	kvmft_held_add_first(&held, two);
	KUNIT_EXPECT_EQ(test, held.nr, 2);
	KUNIT_EXPECT_EQ(test, held.bytes, 130);
	KUNIT_EXPECT_PTR_EQ(test, kvmft_held_first(&held, 0), two);
	kvmft_held_remove(&held, two);
	KUNIT_EXPECT_NULL(test, kvmft_held_first(&held, 4));
	KUNIT_EXPECT_PTR_EQ(test, kvmft_held_first(&held, 5), one);
}

static struct kunit_case gate_cases[] = {
	KUNIT_CASE(nothing),
	KUNIT_CASE(outputs),
	KUNIT_CASE(all),
	KUNIT_CASE(packets_wait),
	KUNIT_CASE(before_all),
	{}
};

static struct kunit_suite gate_suite = {
	.name = "kvmft_gate",
	.test_cases = gate_cases,
};

kunit_test_suite(gate_suite);

MODULE_DESCRIPTION("KUnit suite of kvmft's output gate");
MODULE_LICENSE("GPL");
