// SPDX-License-Identifier: GPL-2.0
#include <linux/build_bug.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "checksum.h"
#include "claim.h"

static_assert(sizeof(struct kvmft_claim_record) == 64);

static u32 crc_of(const struct kvmft_claim_record *record)
{
	struct kvmft_claim_record copy = *record;

	copy.crc = 0;
	return kvmft_crc32c(0, &copy, sizeof(copy));
}

/* The record in @block; NULL: there is none. */
static const struct kvmft_claim_record *record_in(const void *block, size_t size)
{
	const struct kvmft_claim_record *record = block;

	if (memcmp(record->magic, KVMFT_CLAIM_MAGIC, sizeof(record->magic)) ||
	    le32_to_cpu(record->version) != KVMFT_CLAIM_VERSION ||
	    le32_to_cpu(record->crc) != crc_of(record) || record->reserved ||
	    le32_to_cpu(record->winner) > KVMFT_ROLE_BACKUP ||
	    memchr_inv(record + 1, 0, size - sizeof(*record)))
		return NULL;
	return record;
}

/* The record, if the block has one of the session of @claim; else @text says what it has. */
static const struct kvmft_claim_record *find(const struct kvmft_claim *claim, const void *block,
					     size_t size, char *text, size_t len)
{
	const struct kvmft_claim_record *record = record_in(block, size);

	if (!record) {
		snprintf(text, len, "the block has other contents than a record of kvmft");
		return NULL;
	}
	if (memcmp(record->session, claim->session, sizeof(claim->session))) {
		snprintf(text, len, "the block belongs to session %*phN",
			 (int)sizeof(record->session), record->session);
		return NULL;
	}
	return record;
}

static enum kvmft_claim_verdict judge_winner(const struct kvmft_claim *claim, u64 generation,
					     u32 winner, char *text, size_t len)
{
	if (generation == claim->generation + 1 && winner == claim->role) {
		snprintf(text, len, "this side has won generation %llu", generation);
		return KVMFT_CLAIM_WON;
	}
	snprintf(text, len, "the %s has won generation %llu",
		 winner == KVMFT_ROLE_BACKUP ? "backup" : "primary", generation);
	return KVMFT_CLAIM_LOST;
}

enum kvmft_claim_verdict kvmft_claim_judge(const struct kvmft_claim *claim, const void *block,
					   size_t size, char *text, size_t len)
{
	const struct kvmft_claim_record *record;
	u64 generation;
	u32 winner;

	if (!memchr_inv(block, 0, size)) {
		snprintf(text, len, "the block is blank: no primary has set it up");
		return KVMFT_CLAIM_BLANK;
	}
	record = find(claim, block, size, text, len);
	if (!record)
		return KVMFT_CLAIM_FOREIGN;
	if (memcmp(record->instance, claim->instance, sizeof(claim->instance))) {
		snprintf(text, len, "the block was set up again, for another pair of this session");
		return KVMFT_CLAIM_FOREIGN;
	}
	generation = le64_to_cpu(record->generation);
	winner = le32_to_cpu(record->winner);
	if (generation == claim->generation) {
		snprintf(text, len, "generation %llu is not claimed", generation + 1);
		return KVMFT_CLAIM_OPEN;
	}
	if (generation > claim->generation && winner)
		return judge_winner(claim, generation, winner, text, len);
	snprintf(text, len, "the block has generation %llu, this pair %llu", generation,
		 claim->generation);
	return KVMFT_CLAIM_FOREIGN;
}

bool kvmft_claim_may_set_up(const struct kvmft_claim *claim, const void *block, size_t size,
			    char *text, size_t len)
{
	const struct kvmft_claim_record *record;

	if (!memchr_inv(block, 0, size))
		return true;
	record = find(claim, block, size, text, len);
	if (!record)
		return false;
	if (le64_to_cpu(record->generation) == claim->generation)
		return true;
	snprintf(text, len, "the block has generation %llu, this pair %llu",
		 le64_to_cpu(record->generation), claim->generation);
	return false;
}

static void fill(const struct kvmft_claim *claim, u64 generation, u32 winner, void *block,
		 size_t size)
{
	struct kvmft_claim_record *record = block;

	memset(block, 0, size);
	memcpy(record->magic, KVMFT_CLAIM_MAGIC, sizeof(record->magic));
	record->version = cpu_to_le32(KVMFT_CLAIM_VERSION);
	memcpy(record->session, claim->session, sizeof(record->session));
	memcpy(record->instance, claim->instance, sizeof(record->instance));
	record->generation = cpu_to_le64(generation);
	record->winner = cpu_to_le32(winner);
	record->crc = cpu_to_le32(crc_of(record));
}

void kvmft_claim_set_up(const struct kvmft_claim *claim, void *block, size_t size)
{
	fill(claim, claim->generation, 0, block, size);
}

void kvmft_claim_make(const struct kvmft_claim *claim, void *block, size_t size)
{
	fill(claim, claim->generation + 1, claim->role, block, size);
}
