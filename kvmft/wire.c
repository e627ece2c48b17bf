// SPDX-License-Identifier: GPL-2.0
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <asm/byteorder.h>

#include "block.h"
#include "checksum.h"
#include "tsc.h"
#include "wire.h"

static_assert(sizeof(struct kvmft_wire_header) == 24);
static_assert(sizeof(struct kvmft_wire_hello) == 72);
static_assert(sizeof(struct kvmft_wire_entries) == 8);
static_assert(sizeof(struct kvmft_wire_mark) == 24);
static_assert(sizeof(struct kvmft_wire_bye) == 8);

void kvmft_wire_begin(struct kvmft_wire_header *header, enum kvmft_wire_type type, u64 number,
		      u32 len)
{
	*header = (struct kvmft_wire_header){
		.magic = cpu_to_le32(KVMFT_WIRE_MAGIC),
		.type = cpu_to_le16(type),
		.len = cpu_to_le32(len),
		.number = cpu_to_le64(number),
	};
}

u32 kvmft_wire_crc(const struct kvmft_wire_header *header)
{
	struct kvmft_wire_header copy = *header;

	copy.crc = 0;
	return kvmft_crc32c(0, &copy, sizeof(copy));
}

void kvmft_wire_end(struct kvmft_wire_header *header, u32 crc)
{
	header->crc = cpu_to_le32(crc);
}

static bool is_sent_by(u16 type, enum kvmft_role from)
{
	switch (type) {
	case KVMFT_WIRE_ENTRIES:
		return from == KVMFT_ROLE_PRIMARY;
	case KVMFT_WIRE_HELLO:
	case KVMFT_WIRE_MARK:
	case KVMFT_WIRE_BYE:
		return true;
	default:
		return false;
	}
}

/* Its first message is a HELLO, and no other is; a backup may refuse to greet. */
static bool is_in_place(u16 type, enum kvmft_role from, u64 number)
{
	if (type == KVMFT_WIRE_HELLO)
		return !number;
	return number || (type == KVMFT_WIRE_BYE && from == KVMFT_ROLE_BACKUP);
}

static bool has_length(u16 type, u32 len)
{
	switch (type) {
	case KVMFT_WIRE_HELLO:
		return len == sizeof(struct kvmft_wire_hello);
	case KVMFT_WIRE_ENTRIES:
		/* No message is without entries. */
		return len > sizeof(struct kvmft_wire_entries) && len <= KVMFT_WIRE_LEN_MAX;
	case KVMFT_WIRE_MARK:
		return len == sizeof(struct kvmft_wire_mark);
	case KVMFT_WIRE_BYE:
		return len >= sizeof(struct kvmft_wire_bye) &&
		       len <= sizeof(struct kvmft_wire_bye) + KVMFT_WIRE_TEXT_MAX;
	default:
		return false;
	}
}

int kvmft_wire_check(const struct kvmft_wire_header *header, enum kvmft_role from, u64 number)
{
	u16 type = le16_to_cpu(header->type);
	u32 len = le32_to_cpu(header->len);

	if (le32_to_cpu(header->magic) != KVMFT_WIRE_MAGIC || header->reserved)
		return -EBADMSG;
	/* Where the message is counts here, not which number it claims. */
	if (!is_sent_by(type, from) || !is_in_place(type, from, number))
		return -EPROTO;
	if (!has_length(type, len))
		return -EMSGSIZE;
	if (le64_to_cpu(header->number) != number)
		return -EILSEQ;
	return len;
}

static bool bye_is_valid(const struct kvmft_wire_bye *bye, u32 len)
{
	const u8 *text = (const u8 *)(bye + 1);
	u32 reason = le32_to_cpu(bye->reason);
	u32 i;

	if (!reason || reason > KVMFT_WIRE_REASON_MAX || bye->reserved)
		return false;
	/* Not isprint(), which takes Latin-1, too. */
	for (i = 0; i < len - sizeof(*bye); i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	return true;
}

int kvmft_wire_check_payload(const struct kvmft_wire_header *header, const void *payload)
{
	u32 len = le32_to_cpu(header->len);

	if (le32_to_cpu(header->crc) != kvmft_crc32c(kvmft_wire_crc(header), payload, len))
		return -EBADMSG;
	if (le16_to_cpu(header->type) == KVMFT_WIRE_BYE && !bye_is_valid(payload, len))
		return -EINVAL;
	return 0;
}

static const char *role_name(u32 role)
{
	switch (role) {
	case KVMFT_ROLE_PRIMARY:
		return "primary";
	case KVMFT_ROLE_BACKUP:
		return "backup";
	default:
		return NULL;
	}
}

static bool role_differs(u32 mine, u32 theirs, char *text, size_t size)
{
	const char *name = role_name(theirs);

	if (!name)
		snprintf(text, size, "the peer is neither primary nor backup: role %u", theirs);
	else if (mine == theirs)
		snprintf(text, size, "both sides are %s", name);
	else
		return false;
	return true;
}

static bool arbiter_differs(const struct kvmft_wire_hello *mine,
			    const struct kvmft_wire_hello *theirs, char *text, size_t size)
{
	bool has = theirs->arbiter == cpu_to_le16(1) &&
		   le32_to_cpu(theirs->role) == KVMFT_ROLE_PRIMARY;

	if (mine->arbiter != theirs->arbiter)
		snprintf(text, size, "arbiter: %u at the peer, %u here (1: one, 0: none)",
			 le16_to_cpu(theirs->arbiter), le16_to_cpu(mine->arbiter));
	else if (!has && memchr_inv(theirs->instance, 0, sizeof(theirs->instance)))
		snprintf(text, size, "instance %*phN at the peer, which has none",
			 (int)sizeof(theirs->instance), theirs->instance);
	else
		return false;
	return true;
}

bool kvmft_wire_hello_differ(const struct kvmft_wire_hello *mine,
			     const struct kvmft_wire_hello *theirs, char *text, size_t size)
{
	if (mine->version != theirs->version) {
		snprintf(text, size, "wire version %u at the peer, %u here",
			 le32_to_cpu(theirs->version), le32_to_cpu(mine->version));
		return true;
	}
	if (mine->log_version != theirs->log_version) {
		snprintf(text, size, "log version %u at the peer, %u here",
			 le32_to_cpu(theirs->log_version), le32_to_cpu(mine->log_version));
		return true;
	}
	if (role_differs(le32_to_cpu(mine->role), le32_to_cpu(theirs->role), text, size))
		return true;
	if (memcmp(mine->session, theirs->session, sizeof(mine->session))) {
		snprintf(text, size, "session %*phN at the peer, %*phN here",
			 (int)sizeof(theirs->session), theirs->session,
			 (int)sizeof(mine->session), mine->session);
		return true;
	}
	if (mine->generation != theirs->generation) {
		snprintf(text, size, "generation %llu at the peer, %llu here",
			 le64_to_cpu(theirs->generation), le64_to_cpu(mine->generation));
		return true;
	}
	if (arbiter_differs(mine, theirs, text, size))
		return true;
	if (mine->cpu != theirs->cpu) {
		snprintf(text, size, "CPU %#x at the peer, %#x here (CPUID 1 EAX)",
			 le32_to_cpu(theirs->cpu), le32_to_cpu(mine->cpu));
		return true;
	}
	if (mine->microcode != theirs->microcode) {
		snprintf(text, size, "microcode %#x at the peer, %#x here",
			 le32_to_cpu(theirs->microcode), le32_to_cpu(mine->microcode));
		return true;
	}
	if (kvmft_tsc_differs(le32_to_cpu(theirs->tsc_khz), le32_to_cpu(mine->tsc_khz))) {
		snprintf(text, size, "TSC of %u kHz at the peer, %u kHz here",
			 le32_to_cpu(theirs->tsc_khz), le32_to_cpu(mine->tsc_khz));
		return true;
	}
	if (mine->cpuid != theirs->cpuid) {
		snprintf(text, size,
			 "the guest's CPUID is another at the peer: another -cpu, or other features of the host's");
		return true;
	}
	if (mine->slots != theirs->slots) {
		snprintf(text, size,
			 "the guest's memory is laid out differently at the peer: another -m, -machine or firmware");
		return true;
	}
	return false;
}

const char *kvmft_wire_error(int error)
{
	switch (error) {
	case -EBADMSG:
		return "not a message of kvmft, or a damaged one";
	case -EPROTO:
		return "a message of unknown type, or out of place";
	case -EMSGSIZE:
		return "a message of impossible length";
	case -EILSEQ:
		return "a message is missing, repeated or out of order";
	case -EINVAL:
		return "a field of a message is out of range";
	default:
		return "another error";
	}
}
