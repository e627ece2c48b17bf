// SPDX-License-Identifier: GPL-2.0
#include <kunit/test.h>
#include <linux/string.h>

#include "block.h"
#include "checksum.h"
#include "wire.h"

#define PRIMARY	KVMFT_ROLE_PRIMARY
#define BACKUP	KVMFT_ROLE_BACKUP

/* A message as it is on the wire, with room for the longest. */
struct message {
	struct kvmft_wire_header header;
	union {
		struct kvmft_wire_hello hello;
		struct kvmft_wire_entries entries;
		struct kvmft_wire_mark mark;
		struct kvmft_wire_bye bye;
		u8 bytes[8 + 1048576];
	};
};

static_assert(sizeof_field(struct message, bytes) == KVMFT_WIRE_LEN_MAX);

/* Lengths and places as in Documentation/wire-format.rst, not as in the code. */
static const struct kind {
	const char *name;
	enum kvmft_wire_type type;
	bool from_backup;
	u64 number;
	u32 min;
	u32 max;
} kinds[] = {
	{ "hello", KVMFT_WIRE_HELLO, true, 0, 72, 72 },
	{ "entries", KVMFT_WIRE_ENTRIES, false, 258, 9, 1048584 },
	{ "mark", KVMFT_WIRE_MARK, true, 5, 24, 24 },
	{ "bye", KVMFT_WIRE_BYE, true, 1ULL << 40, 8, 208 },
};

static const u8 entry_bytes[] = { 0x03, 0x11, 0x22, 0x05, 0x33, 0x44, 0x07, 0x55, 0x66 };

static struct message *new_message(struct kunit *test)
{
	struct message *msg = kunit_kzalloc(test, sizeof(*msg), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, msg);
	return msg;
}

/* Make the checksum right again. */
static void seal(struct message *msg)
{
	u32 len = le32_to_cpu(msg->header.len);

	kvmft_wire_end(&msg->header, kvmft_crc32c(kvmft_wire_crc(&msg->header), msg->bytes, len));
}

static void fill_hello(struct kvmft_wire_hello *hello, enum kvmft_role role)
{
	hello->version = cpu_to_le32(2);
	hello->log_version = cpu_to_le32(1);
	hello->role = cpu_to_le32(role);
	hello->cpu = cpu_to_le32(0xa00f11);
	hello->microcode = cpu_to_le32(0xa0011d1);
	hello->tsc_khz = cpu_to_le32(2445000);
	memcpy(hello->session, "0123456789abcdef", 16);
	hello->generation = cpu_to_le64(4);
}

/* A valid message of the kind from @from. */
static void make(struct message *msg, const struct kind *kind, enum kvmft_role from)
{
	u32 len = kind->min;

	memset(msg, 0, sizeof(*msg));
	switch (kind->type) {
	case KVMFT_WIRE_HELLO:
		fill_hello(&msg->hello, from);
		break;
	case KVMFT_WIRE_ENTRIES:
		msg->entries.at = cpu_to_le64(0x0807060504030201);
		memcpy(msg->bytes + 8, entry_bytes, sizeof(entry_bytes));
		len = 8 + sizeof(entry_bytes);
		break;
	case KVMFT_WIRE_MARK:
		msg->mark.bytes = cpu_to_le64(1000);
		msg->mark.seq = cpu_to_le64(90);
		msg->mark.released = cpu_to_le64(7);
		break;
	case KVMFT_WIRE_BYE:
		msg->bye.reason = cpu_to_le32(7);
		memcpy(msg->bytes + 8, "disk full", 9);
		len = 8 + 9;
		break;
	}
	kvmft_wire_begin(&msg->header, kind->type, kind->number, len);
	seal(msg);
}

static int receive(const struct message *msg, enum kvmft_role from, u64 number)
{
	int len = kvmft_wire_check(&msg->header, from, number);

	if (len < 0)
		return len;
	return kvmft_wire_check_payload(&msg->header, msg->bytes);
}

/* With nothing behind the payload: KASAN sees who reads on. */
static void expect_no_more_read(struct kunit *test, const struct message *msg)
{
	u32 len = le32_to_cpu(msg->header.len);
	u8 *payload = kunit_kmalloc(test, len, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, payload);
	memcpy(payload, msg->bytes, len);
	KUNIT_EXPECT_EQ(test, kvmft_wire_check_payload(&msg->header, payload), 0);
	kunit_kfree(test, payload);
}

static void round_trip(struct kunit *test)
{
	struct message *msg = new_message(test);
	int i, len;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		make(msg, &kinds[i], PRIMARY);
		len = kvmft_wire_check(&msg->header, PRIMARY, kinds[i].number);
		KUNIT_EXPECT_EQ_MSG(test, len, le32_to_cpu(msg->header.len), "%s", kinds[i].name);
		KUNIT_EXPECT_EQ_MSG(test, receive(msg, PRIMARY, kinds[i].number), 0, "%s",
				    kinds[i].name);
		expect_no_more_read(test, msg);
		if (!kinds[i].from_backup)
			continue;
		make(msg, &kinds[i], BACKUP);
		KUNIT_EXPECT_EQ_MSG(test, receive(msg, BACKUP, kinds[i].number), 0, "%s",
				    kinds[i].name);
	}
}

/* Version 2 for ever; written by another program. */
static void bytes_on_the_wire(struct kunit *test)
{
	static const u8 hello[] = {
		'k', 'v', 'm', 'W', 0x01, 0x00, 0x00, 0x00, 0x48, 0x00, 0x00, 0x00,
		0x53, 0xe8, 0xbc, 0xe8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x02, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
		0x11, 0x0f, 0xa0, 0x00, 0xd1, 0x11, 0x00, 0x0a, 0xc8, 0x4e, 0x25, 0x00,
		0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x61, 0x62,
		0x63, 0x64, 0x65, 0x66, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	};
	static const u8 entries[] = {
		'k', 'v', 'm', 'W', 0x02, 0x00, 0x00, 0x00, 0x11, 0x00, 0x00, 0x00,
		0x1c, 0x5f, 0xa6, 0xa6, 0x02, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x03, 0x11, 0x22, 0x05,
		0x33, 0x44, 0x07, 0x55, 0x66,
	};
	static const u8 mark[] = {
		'k', 'v', 'm', 'W', 0x03, 0x00, 0x00, 0x00, 0x18, 0x00, 0x00, 0x00,
		0x40, 0x4c, 0x5c, 0xa4, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0xe8, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x5a, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	};
	static const u8 bye[] = {
		'k', 'v', 'm', 'W', 0x04, 0x00, 0x00, 0x00, 0x11, 0x00, 0x00, 0x00,
		0xc2, 0xe6, 0x5c, 0x6c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00,
		0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x64, 0x69, 0x73, 0x6b,
		0x20, 0x66, 0x75, 0x6c, 0x6c,
	};
	struct message *msg = new_message(test);

	make(msg, &kinds[0], PRIMARY);
	KUNIT_EXPECT_MEMEQ(test, (u8 *)msg, hello, sizeof(hello));
	make(msg, &kinds[1], PRIMARY);
	KUNIT_EXPECT_MEMEQ(test, (u8 *)msg, entries, sizeof(entries));
	make(msg, &kinds[2], BACKUP);
	KUNIT_EXPECT_MEMEQ(test, (u8 *)msg, mark, sizeof(mark));
	make(msg, &kinds[3], PRIMARY);
	KUNIT_EXPECT_MEMEQ(test, (u8 *)msg, bye, sizeof(bye));
}

static void fields_of_hello(struct kunit *test)
{
	struct message *msg = new_message(test);
	int i;

	for (i = 0; i < 72; i++)
		msg->bytes[i] = i;
	KUNIT_EXPECT_EQ(test, le32_to_cpu(msg->hello.version), 0x03020100);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(msg->hello.log_version), 0x07060504);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(msg->hello.role), 0x0b0a0908);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(msg->hello.cpu), 0x0f0e0d0c);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(msg->hello.microcode), 0x13121110);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(msg->hello.tsc_khz), 0x17161514);
	KUNIT_EXPECT_EQ(test, msg->hello.session[0], 0x18);
	KUNIT_EXPECT_EQ(test, msg->hello.session[15], 0x27);
	KUNIT_EXPECT_EQ(test, le64_to_cpu(msg->hello.generation), 0x2f2e2d2c2b2a2928);
	KUNIT_EXPECT_EQ(test, le16_to_cpu(msg->hello.arbiter), 0x3130);
	KUNIT_EXPECT_EQ(test, le16_to_cpu(msg->hello.cpuid), 0x3332);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(msg->hello.slots), 0x37363534);
	KUNIT_EXPECT_EQ(test, msg->hello.instance[0], 0x38);
	KUNIT_EXPECT_EQ(test, msg->hello.instance[15], 0x47);
}

static void crc_in_pieces(struct kunit *test)
{
	struct message *msg = new_message(test);
	u32 crc;

	make(msg, &kinds[1], PRIMARY);
	crc = kvmft_wire_crc(&msg->header);
	crc = kvmft_crc32c(crc, &msg->entries, 8);
	crc = kvmft_crc32c(crc, msg->bytes + 8, 4);
	crc = kvmft_crc32c(crc, msg->bytes + 12, sizeof(entry_bytes) - 4);
	KUNIT_EXPECT_EQ(test, le32_to_cpu(msg->header.crc), crc);
}

static void flip(void *bytes, int bit)
{
	((u8 *)bytes)[bit / 8] ^= 1 << bit % 8;
}

/* What a wrong bit of the header's byte @byte has to be; 0: any error. */
static int header_error(int byte)
{
	if (byte < 4 || byte == 6 || byte == 7 || (byte >= 12 && byte < 16))
		return -EBADMSG;
	return byte >= 16 ? -EILSEQ : 0;
}

static void damage(struct kunit *test)
{
	struct message *msg = new_message(test);
	int i, bit, want, ret;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		make(msg, &kinds[i], PRIMARY);
		for (bit = 0; bit < sizeof(msg->header) * 8; bit++) {
			flip(&msg->header, bit);
			ret = receive(msg, PRIMARY, kinds[i].number);
			want = header_error(bit / 8);
			KUNIT_EXPECT_LT_MSG(test, ret, 0, "%s, bit %d", kinds[i].name, bit);
			if (want)
				KUNIT_EXPECT_EQ_MSG(test, ret, want, "%s, bit %d", kinds[i].name,
						    bit);
			flip(&msg->header, bit);
		}
		for (bit = 0; bit < le32_to_cpu(msg->header.len) * 8; bit++) {
			flip(msg->bytes, bit);
			ret = receive(msg, PRIMARY, kinds[i].number);
			KUNIT_EXPECT_EQ_MSG(test, ret, -EBADMSG, "%s, bit %d", kinds[i].name, bit);
			flip(msg->bytes, bit);
		}
		/* All is as it was. */
		KUNIT_EXPECT_EQ(test, receive(msg, PRIMARY, kinds[i].number), 0);
	}
}

/* The magic and the reserved field, with a checksum that matches. */
static void foreign(struct kunit *test)
{
	struct message *msg = new_message(test);

	make(msg, &kinds[2], PRIMARY);
	msg->header.magic = cpu_to_le32(KVMFT_BLOCK_MAGIC);
	seal(msg);
	KUNIT_EXPECT_EQ(test, receive(msg, PRIMARY, 5), -EBADMSG);

	make(msg, &kinds[2], PRIMARY);
	msg->header.reserved = cpu_to_le16(1);
	seal(msg);
	KUNIT_EXPECT_EQ(test, receive(msg, PRIMARY, 5), -EBADMSG);

	memset(msg, 0, sizeof(*msg));
	KUNIT_EXPECT_EQ(test, receive(msg, PRIMARY, 0), -EBADMSG);
}

static int check(u16 type, u64 number, u32 len, enum kvmft_role from, u64 want)
{
	struct kvmft_wire_header header;

	kvmft_wire_begin(&header, type, number, len);
	return kvmft_wire_check(&header, from, want);
}

/* Which types there are, and who sends them. */
static void types(struct kunit *test)
{
	static const u16 unknown[] = { 0, 5, 6, 0x101, 0x200, 0x8003, U16_MAX };
	int i;

	for (i = 0; i < ARRAY_SIZE(unknown); i++) {
		KUNIT_EXPECT_EQ_MSG(test, check(unknown[i], 0, 16, PRIMARY, 0), -EPROTO,
				    "type %u", unknown[i]);
		KUNIT_EXPECT_EQ_MSG(test, check(unknown[i], 1, 16, BACKUP, 1), -EPROTO,
				    "type %u", unknown[i]);
	}
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct kind *kind = &kinds[i];

		KUNIT_EXPECT_EQ_MSG(test, check(kind->type, kind->number, kind->min, PRIMARY,
						kind->number), kind->min, "%s", kind->name);
		KUNIT_EXPECT_EQ_MSG(test, check(kind->type, kind->number, kind->min, BACKUP,
						kind->number),
				    kind->from_backup ? kind->min : -EPROTO, "%s", kind->name);
	}
}

static void hello_first(struct kunit *test)
{
	int i;

	/* Again, as the next message and as the first once more. */
	KUNIT_EXPECT_EQ(test, check(KVMFT_WIRE_HELLO, 0, 72, PRIMARY, 0), 72);
	KUNIT_EXPECT_EQ(test, check(KVMFT_WIRE_HELLO, 1, 72, PRIMARY, 1), -EPROTO);
	KUNIT_EXPECT_EQ(test, check(KVMFT_WIRE_HELLO, 0, 72, PRIMARY, 1), -EPROTO);
	KUNIT_EXPECT_EQ(test, check(KVMFT_WIRE_HELLO, 9, 72, BACKUP, 9), -EPROTO);
	KUNIT_EXPECT_EQ(test, check(KVMFT_WIRE_HELLO, 1ULL << 32, 72, BACKUP, 1ULL << 32), -EPROTO);
	/* First, but not with the number of the first. */
	KUNIT_EXPECT_EQ(test, check(KVMFT_WIRE_HELLO, 1, 72, BACKUP, 0), -EILSEQ);
	/* Of a backup that refuses to greet; none but that. */
	KUNIT_EXPECT_EQ(test, check(KVMFT_WIRE_BYE, 0, 8, BACKUP, 0), 8);
	KUNIT_EXPECT_EQ(test, check(KVMFT_WIRE_BYE, 1, 8, BACKUP, 0), -EILSEQ);
	KUNIT_EXPECT_EQ(test, check(KVMFT_WIRE_MARK, 0, 24, BACKUP, 0), -EPROTO);
	for (i = 1; i < ARRAY_SIZE(kinds); i++) {
		KUNIT_EXPECT_EQ_MSG(test, check(kinds[i].type, 0, kinds[i].min, PRIMARY, 0),
				    -EPROTO, "%s", kinds[i].name);
		KUNIT_EXPECT_EQ_MSG(test, check(kinds[i].type, 1, kinds[i].min, PRIMARY, 0),
				    -EPROTO, "%s", kinds[i].name);
		KUNIT_EXPECT_EQ_MSG(test, check(kinds[i].type, 1, kinds[i].min, PRIMARY, 1),
				    kinds[i].min, "%s", kinds[i].name);
	}
}

static void lengths(struct kunit *test)
{
	static const u32 huge[] = {
		0x00200000, 0x01000000, 0x7fffffff, 0x80000000, 0x80000010, 0x80000030, 0xffffffff,
	};
	u32 len;
	int i, j;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct kind *kind = &kinds[i];

		/* The first that is wrong is enough: a million would not be read. */
		for (len = 0; len < 1048584 + 64; len++) {
			int want = len >= kind->min && len <= kind->max ? len : -EMSGSIZE;

			KUNIT_ASSERT_EQ_MSG(test, check(kind->type, kind->number, len, PRIMARY,
							kind->number), want,
					    "%s of %u bytes", kind->name, len);
		}
		for (j = 0; j < ARRAY_SIZE(huge); j++) {
			KUNIT_EXPECT_EQ_MSG(test, check(kind->type, kind->number, huge[j], PRIMARY,
							kind->number), -EMSGSIZE,
					    "%s of %u bytes", kind->name, huge[j]);
		}
	}
}

static void numbers(struct kunit *test)
{
	int i;

	for (i = 1; i < ARRAY_SIZE(kinds); i++) {
		const struct kind *kind = &kinds[i];
		u64 n = kind->number;

		/* Repeated, skipped, and the same in the low half only. */
		KUNIT_EXPECT_EQ_MSG(test, check(kind->type, n - 1, kind->min, PRIMARY, n),
				    -EILSEQ, "%s", kind->name);
		KUNIT_EXPECT_EQ_MSG(test, check(kind->type, n + 1, kind->min, PRIMARY, n),
				    -EILSEQ, "%s", kind->name);
		KUNIT_EXPECT_EQ_MSG(test, check(kind->type, n ^ 1ULL << 32, kind->min, PRIMARY, n),
				    -EILSEQ, "%s", kind->name);
		KUNIT_EXPECT_EQ_MSG(test, check(kind->type, 0, kind->min, PRIMARY, n),
				    -EILSEQ, "%s", kind->name);
	}
}

/* Of several errors the first is returned. */
static void order_of_errors(struct kunit *test)
{
	struct message *msg = new_message(test);

	/* Everything is wrong: magic, type, length, number, checksum, a field. */
	make(msg, &kinds[3], BACKUP);
	msg->bye.reason = 0;
	msg->header.number = cpu_to_le64(7);
	msg->header.len = cpu_to_le32(3);
	msg->header.type = 0;
	msg->header.magic = 0;
	KUNIT_EXPECT_EQ(test, receive(msg, BACKUP, 258), -EBADMSG);
	msg->header.magic = cpu_to_le32(KVMFT_WIRE_MAGIC);
	KUNIT_EXPECT_EQ(test, receive(msg, BACKUP, 258), -EPROTO);
	msg->header.type = cpu_to_le16(KVMFT_WIRE_ENTRIES);
	KUNIT_EXPECT_EQ(test, receive(msg, BACKUP, 258), -EPROTO);
	msg->header.type = cpu_to_le16(KVMFT_WIRE_BYE);
	KUNIT_EXPECT_EQ(test, receive(msg, BACKUP, 258), -EMSGSIZE);
	msg->header.len = cpu_to_le32(8 + 9);
	KUNIT_EXPECT_EQ(test, receive(msg, BACKUP, 258), -EILSEQ);
	msg->header.number = cpu_to_le64(258);
	KUNIT_EXPECT_EQ(test, receive(msg, BACKUP, 258), -EBADMSG);
	seal(msg);
	KUNIT_EXPECT_EQ(test, receive(msg, BACKUP, 258), -EINVAL);
	msg->bye.reason = cpu_to_le32(1);
	seal(msg);
	KUNIT_EXPECT_EQ(test, receive(msg, BACKUP, 258), 0);
}

/* Every one is in range; whether they go on is for the caller to check. */
static const u64 values[] = {
	0, 1, 0xff, 0x100, U32_MAX, 1ULL << 32, 1ULL << 63, U64_MAX,
};

static void fields_of_entries(struct kunit *test)
{
	static const u32 lens[] = { 1, 2, 65536, 65537, 1048575, 1048576 };
	struct message *msg = new_message(test);
	int i;

	for (i = 0; i < ARRAY_SIZE(values); i++) {
		make(msg, &kinds[1], PRIMARY);
		msg->entries.at = cpu_to_le64(values[i]);
		seal(msg);
		KUNIT_EXPECT_EQ_MSG(test, receive(msg, PRIMARY, 258), 0, "at %llu", values[i]);
	}
	/* The last bit of them is looked at, nothing behind it. */
	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		kvmft_wire_begin(&msg->header, KVMFT_WIRE_ENTRIES, 1, 8 + lens[i]);
		seal(msg);
		KUNIT_EXPECT_EQ_MSG(test, receive(msg, PRIMARY, 1), 0, "%u bytes", lens[i]);
		expect_no_more_read(test, msg);
		flip(msg->bytes, (8 + lens[i]) * 8 - 1);
		KUNIT_EXPECT_EQ_MSG(test, receive(msg, PRIMARY, 1), -EBADMSG, "%u bytes", lens[i]);
	}
}

static void fields_of_mark(struct kunit *test)
{
	struct message *msg = new_message(test);
	int i, j;

	for (i = 0; i < ARRAY_SIZE(values); i++) {
		for (j = 0; j < ARRAY_SIZE(values); j++) {
			make(msg, &kinds[2], BACKUP);
			msg->mark.bytes = cpu_to_le64(values[i]);
			msg->mark.seq = cpu_to_le64(values[j]);
			msg->mark.released = cpu_to_le64(values[i] ^ values[j]);
			seal(msg);
			KUNIT_EXPECT_EQ_MSG(test, receive(msg, PRIMARY, 5), 0, "%llu, %llu",
					    values[i], values[j]);
			KUNIT_EXPECT_EQ_MSG(test, receive(msg, BACKUP, 5), 0, "%llu, %llu",
					    values[i], values[j]);
		}
	}
}

static int receive_bye(struct message *msg, u32 reason, u32 reserved, u32 len)
{
	msg->bye.reason = cpu_to_le32(reason);
	msg->bye.reserved = cpu_to_le32(reserved);
	kvmft_wire_begin(&msg->header, KVMFT_WIRE_BYE, 1, 8 + len);
	seal(msg);
	return receive(msg, BACKUP, 1);
}

static void fields_of_bye(struct kunit *test)
{
	struct message *msg = new_message(test);
	int i;

	memset(msg->bytes, '.', 8 + 200);
	KUNIT_EXPECT_EQ(test, receive_bye(msg, 1, 0, 0), 0);
	expect_no_more_read(test, msg);
	KUNIT_EXPECT_EQ(test, receive_bye(msg, 255, 0, 200), 0);
	expect_no_more_read(test, msg);
	KUNIT_EXPECT_EQ(test, receive_bye(msg, 0, 0, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, receive_bye(msg, 256, 0, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, receive_bye(msg, 0x01000001, 0, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, receive_bye(msg, 1, 1, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, receive_bye(msg, 1, 0x80000000, 0), -EINVAL);

	/* Every byte as text; first, and last. */
	for (i = 0; i < 256; i++) {
		int want = i >= 0x20 && i <= 0x7e ? 0 : -EINVAL;

		msg->bytes[8] = i;
		KUNIT_EXPECT_EQ_MSG(test, receive_bye(msg, 1, 0, 200), want, "byte %#x", i);
		msg->bytes[8] = '.';
		msg->bytes[8 + 199] = i;
		KUNIT_EXPECT_EQ_MSG(test, receive_bye(msg, 1, 0, 200), want, "byte %#x", i);
		/* Not beyond its end. */
		KUNIT_EXPECT_EQ_MSG(test, receive_bye(msg, 1, 0, 199), 0, "byte %#x", i);
		msg->bytes[8 + 199] = '.';
	}
}

/* What it says is compared, not checked. */
static void hello_is_not_checked(struct kunit *test)
{
	struct message *msg = new_message(test);
	int i;

	for (i = 0; i < 256; i++) {
		memset(msg->bytes, i, 72);
		kvmft_wire_begin(&msg->header, KVMFT_WIRE_HELLO, 0, 72);
		seal(msg);
		KUNIT_EXPECT_EQ_MSG(test, receive(msg, PRIMARY, 0), 0, "bytes %#x", i);
		KUNIT_EXPECT_EQ_MSG(test, receive(msg, BACKUP, 0), 0, "bytes %#x", i);
	}
}

static struct kvmft_wire_hello *new_hello(struct kunit *test, enum kvmft_role role)
{
	struct kvmft_wire_hello *hello = kunit_kzalloc(test, sizeof(*hello), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, hello);
	fill_hello(hello, role);
	return hello;
}

/* What differs is said, in exactly these words. */
static void expect_differ(struct kunit *test, const struct kvmft_wire_hello *mine,
			  const struct kvmft_wire_hello *theirs, const char *words)
{
	char text[KVMFT_WIRE_TEXT_MAX + 1] = "";

	KUNIT_EXPECT_TRUE_MSG(test, kvmft_wire_hello_differ(mine, theirs, text, sizeof(text)),
			      "not said: %s", words);
	KUNIT_EXPECT_STREQ(test, text, words);
}

/* From the last to the first field that is compared: each goes before all so far. */
static void hello_differs(struct kunit *test)
{
	struct kvmft_wire_hello *mine = new_hello(test, PRIMARY);
	struct kvmft_wire_hello *theirs = new_hello(test, BACKUP);
	char text[KVMFT_WIRE_TEXT_MAX + 1];

	KUNIT_EXPECT_FALSE(test, kvmft_wire_hello_differ(mine, theirs, text, sizeof(text)));
	KUNIT_EXPECT_FALSE(test, kvmft_wire_hello_differ(theirs, mine, text, sizeof(text)));

	theirs->slots = cpu_to_le32(1);
	expect_differ(test, mine, theirs,
		      "the guest's memory is laid out differently at the peer: another -m, -machine or firmware");
	theirs->cpuid = cpu_to_le16(1);
	expect_differ(test, mine, theirs,
		      "the guest's CPUID is another at the peer: another -cpu, or other features of the host's");
	theirs->tsc_khz = cpu_to_le32(2000000);
	expect_differ(test, mine, theirs, "TSC of 2000000 kHz at the peer, 2445000 kHz here");
	theirs->microcode = cpu_to_le32(0xa0011d5);
	expect_differ(test, mine, theirs, "microcode 0xa0011d5 at the peer, 0xa0011d1 here");
	mine->cpu = cpu_to_le32(0xa10f11);
	expect_differ(test, mine, theirs,
		      "CPU 0xa00f11 at the peer, 0xa10f11 here (CPUID 1 EAX)");
	theirs->instance[0] = 0x80;
	expect_differ(test, mine, theirs,
		      "instance 80000000000000000000000000000000 at the peer, which has none");
	theirs->arbiter = cpu_to_le16(1);
	expect_differ(test, mine, theirs,
		      "arbiter: 1 at the peer, 0 here (1: one, 0: none)");
	theirs->generation = cpu_to_le64(3);
	expect_differ(test, mine, theirs, "generation 3 at the peer, 4 here");
	theirs->session[15] = 0xff;
	expect_differ(test, mine, theirs,
		      "session 303132333435363738396162636465ff at the peer, 30313233343536373839616263646566 here");
	theirs->role = mine->role;
	expect_differ(test, mine, theirs, "both sides are primary");
	theirs->log_version = cpu_to_le32(2);
	expect_differ(test, mine, theirs, "log version 2 at the peer, 1 here");
	theirs->version = cpu_to_le32(3);
	expect_differ(test, mine, theirs, "wire version 3 at the peer, 2 here");
}

/* The same, seen from the other side. */
static void hello_roles(struct kunit *test)
{
	struct kvmft_wire_hello *mine = new_hello(test, BACKUP);
	struct kvmft_wire_hello *theirs = new_hello(test, BACKUP);

	expect_differ(test, mine, theirs, "both sides are backup");
	theirs->role = 0;
	expect_differ(test, mine, theirs, "the peer is neither primary nor backup: role 0");
	theirs->role = cpu_to_le32(3);
	expect_differ(test, mine, theirs, "the peer is neither primary nor backup: role 3");
	theirs->role = cpu_to_le32(PRIMARY);
	theirs->session[0] = 0;
	expect_differ(test, mine, theirs,
		      "session 00313233343536373839616263646566 at the peer, 30313233343536373839616263646566 here");
}

/* A primary with an arbiter says which pair it has set up there. */
static void hello_instance(struct kunit *test)
{
	struct kvmft_wire_hello *primary = new_hello(test, PRIMARY);
	struct kvmft_wire_hello *backup = new_hello(test, BACKUP);
	char text[KVMFT_WIRE_TEXT_MAX + 1];

	primary->arbiter = cpu_to_le16(1);
	memset(primary->instance, 0xab, sizeof(primary->instance));
	expect_differ(test, backup, primary, "arbiter: 1 at the peer, 0 here (1: one, 0: none)");
	expect_differ(test, primary, backup, "arbiter: 0 at the peer, 1 here (1: one, 0: none)");
	backup->arbiter = cpu_to_le16(1);
	KUNIT_EXPECT_FALSE(test, kvmft_wire_hello_differ(backup, primary, text, sizeof(text)));
	KUNIT_EXPECT_FALSE(test, kvmft_wire_hello_differ(primary, backup, text, sizeof(text)));
	backup->instance[3] = 1;
	expect_differ(test, primary, backup,
		      "instance 00000001000000000000000000000000 at the peer, which has none");
}

/* Where its fields are, and how the reason begins if one differs. */
static const struct {
	const char *words;
	int at;
	int size;
} fields[] = {
	{ "wire version ", 0, 4 },
	{ "log version ", 4, 4 },
	{ "the peer is neither primary nor backup: ", 8, 4 },
	{ "CPU ", 12, 4 },
	{ "microcode ", 16, 4 },
	{ "TSC ", 20, 4 },
	{ "session ", 24, 16 },
	{ "generation ", 40, 8 },
	{ "arbiter: ", 48, 2 },
	{ "the guest's CPUID ", 50, 2 },
	{ "the guest's memory ", 52, 4 },
	{ "instance ", 56, 16 },
};

/* Every bit of it is compared; rates are the same within a few millionths. */
static void hello_differs_in_each_bit(struct kunit *test)
{
	struct kvmft_wire_hello *mine = new_hello(test, PRIMARY);
	struct kvmft_wire_hello *theirs = new_hello(test, BACKUP);
	int i, bit, bits = 0;
	bool differs;

	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		for (bit = 0; bit < fields[i].size * 8; bit++, bits++) {
			char text[KVMFT_WIRE_TEXT_MAX + 1] = "";

			flip(theirs, fields[i].at * 8 + bit);
			differs = kvmft_wire_hello_differ(mine, theirs, text, sizeof(text));
			/* Of 2,445,000 kHz 611 are nothing. */
			KUNIT_EXPECT_EQ_MSG(test, differs, fields[i].at != 20 || bit >= 10,
					    "%sbit %d", fields[i].words, bit);
			KUNIT_EXPECT_TRUE_MSG(test, !differs || strstarts(text, fields[i].words),
					      "%sbit %d: %s", fields[i].words, bit, text);
			flip(theirs, fields[i].at * 8 + bit);
		}
	}
	KUNIT_EXPECT_EQ(test, bits, sizeof(*theirs) * 8);
}

/* The longest reason of each field fits into a BYE; one that does not fit is cut. */
static void hello_reason_length(struct kunit *test)
{
	struct kvmft_wire_hello *mine = new_hello(test, PRIMARY);
	struct kvmft_wire_hello *theirs = new_hello(test, BACKUP);
	char text[KVMFT_WIRE_TEXT_MAX + 2];
	size_t size;
	int i;

	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		memset((u8 *)mine + fields[i].at, 0xfe, fields[i].size);
		memset((u8 *)theirs + fields[i].at, 0xff, fields[i].size);
		KUNIT_EXPECT_TRUE(test, kvmft_wire_hello_differ(mine, theirs, text, sizeof(text)));
		KUNIT_EXPECT_LE_MSG(test, strlen(text), KVMFT_WIRE_TEXT_MAX, "%s", text);
		for (size = 0; size < 32; size++) {
			memset(text, 'x', sizeof(text));
			KUNIT_EXPECT_TRUE(test, kvmft_wire_hello_differ(mine, theirs, text, size));
			KUNIT_EXPECT_EQ_MSG(test, text[size], 'x', "%s%zu bytes", fields[i].words,
					    size);
			if (size)
				KUNIT_EXPECT_EQ_MSG(test, strnlen(text, size), size - 1,
						    "%s%zu bytes", fields[i].words, size);
		}
		fill_hello(mine, PRIMARY);
		fill_hello(theirs, BACKUP);
	}
}

static void errors_have_words(struct kunit *test)
{
	KUNIT_EXPECT_STREQ(test, kvmft_wire_error(-EBADMSG),
			   "not a message of kvmft, or a damaged one");
	KUNIT_EXPECT_STREQ(test, kvmft_wire_error(-EPROTO),
			   "a message of unknown type, or out of place");
	KUNIT_EXPECT_STREQ(test, kvmft_wire_error(-EMSGSIZE), "a message of impossible length");
	KUNIT_EXPECT_STREQ(test, kvmft_wire_error(-EILSEQ),
			   "a message is missing, repeated or out of order");
	KUNIT_EXPECT_STREQ(test, kvmft_wire_error(-EINVAL),
			   "a field of a message is out of range");
	KUNIT_EXPECT_STREQ(test, kvmft_wire_error(-EIO), "another error");
}

static struct kunit_case wire_cases[] = {
	KUNIT_CASE(round_trip),
	KUNIT_CASE(bytes_on_the_wire),
	KUNIT_CASE(fields_of_hello),
	KUNIT_CASE(crc_in_pieces),
	KUNIT_CASE(damage),
	KUNIT_CASE(foreign),
	KUNIT_CASE(types),
	KUNIT_CASE(hello_first),
	KUNIT_CASE(lengths),
	KUNIT_CASE(numbers),
	KUNIT_CASE(order_of_errors),
	KUNIT_CASE(fields_of_entries),
	KUNIT_CASE(fields_of_mark),
	KUNIT_CASE(fields_of_bye),
	KUNIT_CASE(hello_is_not_checked),
	KUNIT_CASE(hello_differs),
	KUNIT_CASE(hello_roles),
	KUNIT_CASE(hello_instance),
	KUNIT_CASE(hello_differs_in_each_bit),
	KUNIT_CASE(hello_reason_length),
	KUNIT_CASE(errors_have_words),
	{}
};

static struct kunit_suite wire_suite = {
	.name = "kvmft_wire",
	.test_cases = wire_cases,
};

kunit_test_suite(wire_suite);

MODULE_DESCRIPTION("KUnit suite of kvmft's messages between primary and backup");
MODULE_LICENSE("GPL");
