/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The messages between primary and backup: a header, then a payload.  All integers are
 * little-endian.  Documentation/wire-format.rst describes both.
 *
 * Pure: bytes in, bytes out.  Who receives reads a header, checks it, reads as many bytes as it
 * says and checks them.
 */
#ifndef _KVMFT_WIRE_H
#define _KVMFT_WIRE_H

#include <linux/types.h>

#include <uapi/linux/kvmft.h>

/* Raised when an old receiver would misread a new sender. */
#define KVMFT_WIRE_VERSION	5

/**
 * struct kvmft_wire_header - before each payload
 * @magic: KVMFT_WIRE_MAGIC
 * @type: &enum kvmft_wire_type
 * @reserved: zero
 * @len: bytes of the payload that follows
 * @crc: CRC-32C of this header with this field zero, then of the payload
 * @number: of the message in its direction, from 0: none is lost, repeated or overtaken
 */
struct kvmft_wire_header {
	__le32 magic;
	__le16 type;
	__le16 reserved;
	__le32 len;
	__le32 crc;
	__le64 number;
};

#define KVMFT_WIRE_MAGIC	0x576d766bU	/* "kvmW" */

/**
 * enum kvmft_wire_type - what a message says
 * @KVMFT_WIRE_HELLO: who sends: &struct kvmft_wire_hello.  The first message in both
 *	directions, and no other; the backup's answers the primary's
 * @KVMFT_WIRE_ENTRIES: a part of the log: &struct kvmft_wire_entries.  From the primary only
 * @KVMFT_WIRE_MARK: how far the sender is, and that it lives: &struct kvmft_wire_mark
 * @KVMFT_WIRE_BYE: why nothing follows: &struct kvmft_wire_bye.  From a backup that refuses the
 *	primary's HELLO the only message
 */
enum kvmft_wire_type {
	KVMFT_WIRE_HELLO	= 1,
	KVMFT_WIRE_ENTRIES	= 2,
	KVMFT_WIRE_MARK		= 3,
	KVMFT_WIRE_BYE		= 4,
};

/**
 * struct kvmft_wire_hello - who sends, for the peer to compare
 * @version: KVMFT_WIRE_VERSION
 * @log_version: KVMFT_LOG_VERSION
 * @role: &enum kvmft_role of the sender
 * @cpu: CPUID 1 EAX of the host: family, model, stepping
 * @microcode: revision of the host's, which may change what an instruction does
 * @tsc_khz: rate of the host's TSC
 * @session: identity of the protected VM
 * @generation: the one the sender knows
 * @arbiter: 1: an arbiter decides who goes live; 0: the sender has none
 * @cpuid: hash of the guest's CPUID
 * @slots: hash of the VM's memory slots
 * @instance: from a primary with an arbiter: of the pair, as on the arbiter's disk; else zero
 *
 * The length of this structure is the same in every version from 2 on, so that another version
 * can be told from a damaged message.  The hashes tell most VMs that differ before the guest
 * runs; the first entries of the log tell all of them, and what it is that differs.
 */
struct kvmft_wire_hello {
	__le32 version;
	__le32 log_version;
	__le32 role;
	__le32 cpu;
	__le32 microcode;
	__le32 tsc_khz;
	u8 session[16];
	__le64 generation;
	__le16 arbiter;
	__le16 cpuid;
	__le32 slots;
	u8 instance[16];
};

/**
 * struct kvmft_wire_entries - before 1 to KVMFT_WIRE_ENTRIES_MAX bytes of whole log entries
 * @at: bytes of the log before these
 */
struct kvmft_wire_entries {
	__le64 at;
};

/* What one instruction of the guest logs is never cut: the receiver has it at once. */
#define KVMFT_WIRE_ENTRIES_MAX	1048576

/**
 * struct kvmft_wire_mark - heartbeat, and how far the sender is
 * @bytes: from the primary: bytes of the log that it has written.  From the backup: bytes that
 *	it has received; they are acknowledged
 * @seq: number of the entries written, or replayed
 * @released: from the primary: bytes of the log all of whose outputs have left its host; else zero
 */
struct kvmft_wire_mark {
	__le64 bytes;
	__le64 seq;
	__le64 released;
};

/**
 * struct kvmft_wire_bye - before 0 to KVMFT_WIRE_TEXT_MAX bytes of text for people
 * @reason: 1 to KVMFT_WIRE_REASON_MAX
 * @reserved: zero
 *
 * The text is printable ASCII without a zero at its end: it goes into the peer's kernel log.
 */
struct kvmft_wire_bye {
	__le32 reason;
	__le32 reserved;
};

#define KVMFT_WIRE_REASON_MAX	255
#define KVMFT_WIRE_TEXT_MAX	200

/* No payload is longer. */
#define KVMFT_WIRE_LEN_MAX	(sizeof(struct kvmft_wire_entries) + KVMFT_WIRE_ENTRIES_MAX)

/**
 * kvmft_wire_begin() - begin a message
 * @header: its header, ready but for the checksum
 * @type: what it says
 * @number: messages sent before in this direction
 * @len: bytes of the payload
 */
void kvmft_wire_begin(struct kvmft_wire_header *header, enum kvmft_wire_type type, u64 number,
		      u32 len);

/**
 * kvmft_wire_crc() - checksum of a header
 * @header: whatever its checksum is now
 *
 * Return: CRC-32C, to be continued over the pieces of the payload with kvmft_crc32c().
 */
u32 kvmft_wire_crc(const struct kvmft_wire_header *header);

/**
 * kvmft_wire_end() - complete a header
 * @header: from kvmft_wire_begin()
 * @crc: from kvmft_wire_crc(), continued over the payload
 */
void kvmft_wire_end(struct kvmft_wire_header *header, u32 crc);

/**
 * kvmft_wire_check() - check a header before its payload is read
 * @header: as received
 * @from: role of the sender
 * @number: messages received before in this direction
 *
 * In the order of the errors below, the first that applies.  Nothing here is certain before the
 * checksum is compared: damage may look like any of them.  That nothing follows a BYE is for the
 * caller to check.
 *
 * Return: bytes of the payload, more than 0 and at most KVMFT_WIRE_LEN_MAX;
 * -EBADMSG: the magic or a reserved field is wrong, this is no message of kvmft;
 * -EPROTO: of unknown type, or one that @from does not send, or a HELLO that is not the first
 * message, or another message that is, but for a backup's BYE;
 * -EMSGSIZE: no message of its type has this length;
 * -EILSEQ: it is not number @number.
 */
int kvmft_wire_check(const struct kvmft_wire_header *header, enum kvmft_role from, u64 number);

/**
 * kvmft_wire_check_payload() - check the payload of a message
 * @header: one that kvmft_wire_check() has accepted
 * @payload: so many bytes as it says
 *
 * Whether @at, @bytes and @seq go on from those before is not checked here; nor what a HELLO
 * says, for which there is kvmft_wire_hello_differ(); nor the entries, which the log's decoder
 * checks.
 *
 * Return: 0; -EBADMSG: the checksum does not match, compared first; -EINVAL: a field is out of
 * range.
 */
int kvmft_wire_check_payload(const struct kvmft_wire_header *header, const void *payload);

/**
 * kvmft_wire_hello_differ() - do two sides not belong together?
 * @mine: what this side sends
 * @theirs: what the peer has sent
 * @text: for the reason, in words that fit into a BYE; undefined if there is none
 * @size: bytes at @text
 *
 * Compares, in this order: wire version, log version, role, session, generation, arbiter, CPU,
 * microcode, TSC (tsc.h), the guest's CPUID and memory slots; the peer's instance has to be zero
 * where it means nothing.  Later fields mean nothing when an earlier one differs.
 *
 * Return: true if they do not, and @text names the first reason.
 */
bool kvmft_wire_hello_differ(const struct kvmft_wire_hello *mine,
			     const struct kvmft_wire_hello *theirs, char *text, size_t size);

/**
 * kvmft_wire_error() - words for people
 * @error: that one of the checks above returned
 *
 * Return: what is wrong.
 */
const char *kvmft_wire_error(int error);

#endif /* _KVMFT_WIRE_H */
