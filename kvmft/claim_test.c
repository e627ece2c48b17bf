// SPDX-License-Identifier: GPL-2.0
#include <kunit/test.h>

#include "checksum.h"
#include "claim.h"

#define BLOCK	512

static const struct kvmft_claim primary = {
	.session = "the session's id", .instance = "a random number.", .generation = 7,
	.role = KVMFT_ROLE_PRIMARY,
};

static struct kvmft_claim of_backup(void)
{
	struct kvmft_claim backup = primary;

	backup.role = KVMFT_ROLE_BACKUP;
	return backup;
}

static u8 *new_block(struct kunit *test)
{
	u8 *block = kunit_kzalloc(test, BLOCK, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, block);
	return block;
}

/* The verdict is @verdict, in words that contain @word. */
static void check(struct kunit *test, const struct kvmft_claim *claim, const u8 *block,
		  enum kvmft_claim_verdict verdict, const char *word)
{
	char text[128] = "";

	KUNIT_EXPECT_EQ(test, kvmft_claim_judge(claim, block, BLOCK, text, sizeof(text)), verdict);
	KUNIT_EXPECT_TRUE_MSG(test, strstr(text, word), "'%s' does not say %s", text, word);
}

static void blank(struct kunit *test)
{
	check(test, &primary, new_block(test), KVMFT_CLAIM_BLANK, "blank");
}

static void open_then_won(struct kunit *test)
{
	const struct kvmft_claim backup = of_backup();
	u8 *block = new_block(test);

	kvmft_claim_set_up(&primary, block, BLOCK);
	check(test, &primary, block, KVMFT_CLAIM_OPEN, "generation 8 is not claimed");
	check(test, &backup, block, KVMFT_CLAIM_OPEN, "generation 8");
	kvmft_claim_make(&backup, block, BLOCK);
	check(test, &backup, block, KVMFT_CLAIM_WON, "this side");
	check(test, &primary, block, KVMFT_CLAIM_LOST, "the backup has won generation 8");
	kvmft_claim_make(&primary, block, BLOCK);
	check(test, &primary, block, KVMFT_CLAIM_WON, "this side");
	check(test, &backup, block, KVMFT_CLAIM_LOST, "the primary has won");
}

/* Who has slept through several generations has lost, also if he won the last of them. */
static void far_behind(struct kunit *test)
{
	struct kvmft_claim later = primary;
	u8 *block = new_block(test);

	later.generation += 1;
	kvmft_claim_make(&later, block, BLOCK);
	check(test, &primary, block, KVMFT_CLAIM_LOST, "generation 9");
}

/* Nothing is decided by what is not the pair's. */
static void foreign(struct kunit *test)
{
	struct kvmft_claim other = primary;
	u8 *block = new_block(test);

	other.instance[15]++;
	kvmft_claim_make(&other, block, BLOCK);
	check(test, &primary, block, KVMFT_CLAIM_FOREIGN, "set up again");
	other = primary;
	other.session[0]++;
	kvmft_claim_make(&other, block, BLOCK);
	check(test, &primary, block, KVMFT_CLAIM_FOREIGN, "belongs to session 7568");
	other = primary;
	other.generation = 5;
	kvmft_claim_make(&other, block, BLOCK);
	check(test, &primary, block, KVMFT_CLAIM_FOREIGN, "generation 6, this pair 7");
	/* A later one that nobody has won: set up, not claimed. */
	other.generation = 8;
	kvmft_claim_set_up(&other, block, BLOCK);
	check(test, &primary, block, KVMFT_CLAIM_FOREIGN, "generation 8, this pair 7");
}

/* Every bit counts, behind the record, too. */
static void damaged(struct kunit *test)
{
	u8 *block = new_block(test);
	unsigned int bit;

	for (bit = 0; bit < 8 * BLOCK; bit++) {
		kvmft_claim_make(&primary, block, BLOCK);
		block[bit / 8] ^= 1 << bit % 8;
		check(test, &primary, block, KVMFT_CLAIM_FOREIGN, "other contents");
	}
}

/* Fields without a meaning, under a checksum that is right. */
static void unknown_values(struct kunit *test)
{
	u8 *block = new_block(test);
	struct kvmft_claim_record *record = (struct kvmft_claim_record *)block;

	kvmft_claim_make(&primary, block, BLOCK);
	record->winner = cpu_to_le32(3);
	record->crc = 0;
	record->crc = cpu_to_le32(kvmft_crc32c(0, record, sizeof(*record)));
	check(test, &primary, block, KVMFT_CLAIM_FOREIGN, "other contents");
	kvmft_claim_make(&primary, block, BLOCK);
	record->reserved = cpu_to_le32(1);
	record->crc = 0;
	record->crc = cpu_to_le32(kvmft_crc32c(0, record, sizeof(*record)));
	check(test, &primary, block, KVMFT_CLAIM_FOREIGN, "other contents");
}

static void set_up(struct kunit *test)
{
	struct kvmft_claim other = primary;
	u8 *block = new_block(test);
	char text[128] = "";

	KUNIT_EXPECT_TRUE(test, kvmft_claim_may_set_up(&primary, block, BLOCK, text, 128));
	/* The pair before, of the same generation. */
	other.instance[3]++;
	kvmft_claim_set_up(&other, block, BLOCK);
	KUNIT_EXPECT_TRUE(test, kvmft_claim_may_set_up(&primary, block, BLOCK, text, 128));
	/* This generation was won in another instance. */
	other.generation = 6;
	kvmft_claim_make(&other, block, BLOCK);
	KUNIT_EXPECT_TRUE(test, kvmft_claim_may_set_up(&primary, block, BLOCK, text, 128));

	other.generation = 7;
	kvmft_claim_make(&other, block, BLOCK);
	KUNIT_EXPECT_FALSE(test, kvmft_claim_may_set_up(&primary, block, BLOCK, text, 128));
	KUNIT_EXPECT_TRUE(test, strstr(text, "generation 8, this pair 7"));
	other = primary;
	other.session[15]++;
	kvmft_claim_set_up(&other, block, BLOCK);
	KUNIT_EXPECT_FALSE(test, kvmft_claim_may_set_up(&primary, block, BLOCK, text, 128));
	KUNIT_EXPECT_TRUE(test, strstr(text, "belongs to session"));
	memset(block, 'x', BLOCK);
	KUNIT_EXPECT_FALSE(test, kvmft_claim_may_set_up(&primary, block, BLOCK, text, 128));
	KUNIT_EXPECT_TRUE(test, strstr(text, "other contents"));
}

static struct kunit_case claim_cases[] = {
	KUNIT_CASE(blank),
	KUNIT_CASE(open_then_won),
	KUNIT_CASE(far_behind),
	KUNIT_CASE(foreign),
	KUNIT_CASE(damaged),
	KUNIT_CASE(unknown_values),
	KUNIT_CASE(set_up),
	{}
};

static struct kunit_suite claim_suite = {
	.name = "kvmft_claim",
	.test_cases = claim_cases,
};

kunit_test_suite(claim_suite);

MODULE_DESCRIPTION("KUnit suite of kvmft's claims");
MODULE_LICENSE("GPL");
