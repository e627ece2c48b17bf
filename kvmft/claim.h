/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The arbiter's record, on a block of a disk that both sides of a pair can reach, and what it
 * means for one of them.  It is written by COMPARE AND WRITE alone: of two claims of one
 * generation one finds the block as it expects it.
 *
 * Pure: bytes in, a judgement out.
 */
#ifndef _KVMFT_CLAIM_H
#define _KVMFT_CLAIM_H

#include <linux/types.h>

#include <uapi/linux/kvmft.h>

/**
 * struct kvmft_claim_record - the begin of the block; the rest is zero
 * @magic: KVMFT_CLAIM_MAGIC
 * @version: KVMFT_CLAIM_VERSION
 * @crc: CRC-32C of this structure with this field zero
 * @session: identity of the protected VM
 * @instance: random; another each time that a pair is set up
 * @generation: how many times a side went live
 * @winner: who did last in this instance, &enum kvmft_role; 0: nobody yet
 * @reserved: zero
 */
struct kvmft_claim_record {
	u8 magic[8];
	__le32 version;
	__le32 crc;
	u8 session[16];
	u8 instance[16];
	__le64 generation;
	__le32 winner;
	__le32 reserved;
};

#define KVMFT_CLAIM_MAGIC	"kvmftarb"
#define KVMFT_CLAIM_VERSION	1

/* SBC-4, 5.4: logical blocks have no more bytes on disks that Linux takes. */
#define KVMFT_CLAIM_BLOCK_MAX	4096

/**
 * struct kvmft_claim - what a side wants
 * @session: identity of the protected VM
 * @instance: of the pair
 * @generation: the one that the pair was set up with; the claim is for the next
 * @role: of this side
 */
struct kvmft_claim {
	u8 session[16];
	u8 instance[16];
	u64 generation;
	enum kvmft_role role;
};

/**
 * enum kvmft_claim_verdict - what the block says to a side
 * @KVMFT_CLAIM_OPEN: nobody has claimed the next generation
 * @KVMFT_CLAIM_WON: this side has: it is live, the other is not and never will be
 * @KVMFT_CLAIM_LOST: another has: this side must never run again
 * @KVMFT_CLAIM_BLANK: all zero
 * @KVMFT_CLAIM_FOREIGN: it is not the record of this pair; nothing is decided
 */
enum kvmft_claim_verdict {
	KVMFT_CLAIM_OPEN,
	KVMFT_CLAIM_WON,
	KVMFT_CLAIM_LOST,
	KVMFT_CLAIM_BLANK,
	KVMFT_CLAIM_FOREIGN,
};

/**
 * kvmft_claim_judge() - what the block says
 * @claim: what this side wants
 * @block: the block
 * @size: its bytes, at least a record's
 * @text: the same in words, for people
 * @len: bytes at @text
 *
 * Return: see &enum kvmft_claim_verdict.
 */
enum kvmft_claim_verdict kvmft_claim_judge(const struct kvmft_claim *claim, const void *block,
					   size_t size, char *text, size_t len);

/**
 * kvmft_claim_may_set_up() - may a primary set up its pair on this block?
 * @claim: what it will want
 * @block: the block
 * @size: its bytes
 * @text: if not, why, for people
 * @len: bytes at @text
 *
 * Return: true if the block is blank or has a record of the same session and generation, of
 * whatever instance: that pair is over, or will claim nothing any more.
 */
bool kvmft_claim_may_set_up(const struct kvmft_claim *claim, const void *block, size_t size,
			    char *text, size_t len);

/**
 * kvmft_claim_set_up() - the block of a new pair
 * @claim: what its primary will want
 * @block: is filled in
 * @size: its bytes
 */
void kvmft_claim_set_up(const struct kvmft_claim *claim, void *block, size_t size);

/**
 * kvmft_claim_make() - the block of one who has won
 * @claim: what he wanted
 * @block: is filled in
 * @size: its bytes
 */
void kvmft_claim_make(const struct kvmft_claim *claim, void *block, size_t size);

#endif /* _KVMFT_CLAIM_H */
