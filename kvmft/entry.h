/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Log entries: what they are, and their bytes.  Documentation/log-format.rst describes
 * the encoding.
 *
 * Pure: plain values in, plain values out; nothing of KVM.
 */
#ifndef _KVMFT_ENTRY_H
#define _KVMFT_ENTRY_H

#include <linux/types.h>

#include "position.h"

/**
 * enum kvmft_entry_type - what an entry says
 * @KVMFT_ENTRY_START: the log begins; @data is a &struct kvmft_start (start.h)
 * @KVMFT_ENTRY_PAGE: a page of guest memory that was not zero at the start: @addr is its
 *	guest physical address, a multiple of 4,096, @value the hash of its contents
 * @KVMFT_ENTRY_TSC: RDTSC or RDTSCP returned @value
 * @KVMFT_ENTRY_READ: a read of a port or of memory-mapped I/O at @addr returned @data
 * @KVMFT_ENTRY_WRITE: @data was written to a port or to memory-mapped I/O at @addr
 * @KVMFT_ENTRY_MSR: RDMSR of @addr returned @value
 * @KVMFT_ENTRY_BOUNDARY: @nr_inputs inputs were applied at a boundary: @at tells which.
 *	None: a place to stop at
 * @KVMFT_ENTRY_DIGEST: @value is the digest of the registers, @memory of guest memory
 * @KVMFT_ENTRY_RESET: the VMM has set registers, for the guest's last instruction made it do so: it
 *	resets the machine, mostly; @value is the digest of the registers then, @memory of guest
 *	memory
 * @KVMFT_ENTRY_END: the log ends, for the reason @value (&enum kvmft_end)
 */
enum kvmft_entry_type {
	KVMFT_ENTRY_START	= 1,
	KVMFT_ENTRY_PAGE	= 2,
	KVMFT_ENTRY_TSC		= 3,
	KVMFT_ENTRY_READ	= 4,
	KVMFT_ENTRY_WRITE	= 5,
	KVMFT_ENTRY_MSR		= 6,
	KVMFT_ENTRY_BOUNDARY	= 7,
	KVMFT_ENTRY_DIGEST	= 8,
	KVMFT_ENTRY_RESET	= 9,
	KVMFT_ENTRY_END		= 10,
};

/**
 * enum kvmft_space - what @addr of a read or write is an address of
 * @KVMFT_SPACE_PORT: I/O ports
 * @KVMFT_SPACE_MEMORY: guest physical memory
 */
enum kvmft_space {
	KVMFT_SPACE_PORT	= 0,
	KVMFT_SPACE_MEMORY	= 1,
};

/**
 * enum kvmft_at - how to find the boundary of a batch of inputs
 * @KVMFT_AT_EXIT: after a synchronous exit, @exits further on than the last boundary
 *	entry; the vCPU is about to enter the guest
 * @KVMFT_AT_HALT: the same, and the vCPU is halted
 * @KVMFT_AT_POSITION: at the position @pos and @rip; no synchronous exit tells the place
 */
enum kvmft_at {
	KVMFT_AT_EXIT		= 0,
	KVMFT_AT_HALT		= 1,
	KVMFT_AT_POSITION	= 2,
};

/**
 * enum kvmft_input_type - an asynchronous input of the machine
 * @KVMFT_INPUT_TIMER: the LAPIC's timer expired
 * @KVMFT_INPUT_LINE: interrupt line @gsi of source @source changed to @level
 * @KVMFT_INPUT_MSI: message @data to @addr
 * @KVMFT_INPUT_NMI: a non-maskable interrupt
 * @KVMFT_INPUT_LINT0: the PIT pulses LINT0 of the LAPIC, which is in NMI mode
 * @KVMFT_INPUT_REINJECT: the IOAPIC's raised level-triggered lines, held back by KVM after a storm
 * @KVMFT_INPUT_TIMER_KEPT: as KVMFT_INPUT_TIMER, but the guest has set the timer anew since
 * @KVMFT_INPUT_MEMORY: @len bytes @bytes are written to guest memory at @addr
 */
enum kvmft_input_type {
	KVMFT_INPUT_TIMER	= 0,
	KVMFT_INPUT_LINE	= 1,
	KVMFT_INPUT_MSI		= 2,
	KVMFT_INPUT_NMI		= 3,
	/* 5 is free: in a log it would be a line's. */
	KVMFT_INPUT_LINT0	= 4,
	KVMFT_INPUT_MEMORY	= 6,
	KVMFT_INPUT_REINJECT	= 7,
	KVMFT_INPUT_TIMER_KEPT	= 8,
};

/**
 * struct kvmft_input - one input
 * @type: &enum kvmft_input_type
 * @level: of the line: 0 or 1
 * @source: who drives the line: KVM's irq_source_id, less than KVMFT_SOURCES
 * @gsi: the line
 * @data: of the message
 * @addr: of the message; guest physical address of the memory; of the timer, while it is queued,
 *	how it was set when it expired, which is not logged
 * @len: of the memory, 1 to KVMFT_DATA_MAX
 * @bytes: for the memory; the decoder points into its input
 *
 * Fields that the type does not have: as in &struct kvmft_entry.
 */
struct kvmft_input {
	u8 type;
	u8 level;
	u32 source;
	u32 gsi;
	u32 data;
	u64 addr;
	u16 len;
	const u8 *bytes;
};

/*
 * KVM has one word for the sources of a line, and sets the bit that it is told
 * (__kvm_irq_line_state(), include/linux/kvm_host.h).
 */
#define KVMFT_SOURCES		64

/* More inputs at one boundary become further entries: kvmft_entry.more. */
#define KVMFT_BATCH_MAX		16

/* Longest @data of an entry: string I/O moves up to a page at a time. */
#define KVMFT_DATA_MAX		4096

/**
 * struct kvmft_entry - one entry
 * @type: &enum kvmft_entry_type
 * @space: READ, WRITE: &enum kvmft_space
 * @at: BOUNDARY: &enum kvmft_at
 * @more: BOUNDARY: the next entry belongs to the same batch
 * @nr_inputs: BOUNDARY: number of @inputs, 0 to KVMFT_BATCH_MAX; 1 if it is KVMFT_INPUT_MEMORY
 * @len: bytes at @data; READ and WRITE: at least 1
 * @check: see kvmft_entry_check(); set by encoder and decoder
 * @payload: hash of the encoded entry, its check apart; set by encoder and decoder
 * @addr: address, or number of an MSR
 * @value: see the types
 * @memory: DIGEST, RESET: of guest memory; 0: not taken
 * @exits: BOUNDARY at KVMFT_AT_EXIT or KVMFT_AT_HALT: number of synchronous exits of the
 *	vCPU since the log's start
 * @pos: BOUNDARY at KVMFT_AT_POSITION: counted part of the position
 * @rip: BOUNDARY at KVMFT_AT_POSITION: linear address of the next instruction
 * @data: bytes; the decoder points into its input
 * @inputs: BOUNDARY: in the order in which they are applied
 *
 * The encoder does not look at fields that the type does not have; the decoder makes them
 * zero, but for @inputs from @nr_inputs on.
 */
struct kvmft_entry {
	u8 type;
	u8 space;
	u8 at;
	bool more;
	u8 nr_inputs;
	u16 len;
	u16 check;
	u32 payload;
	u64 addr;
	u64 value;
	u64 memory;
	u64 exits;
	struct kvmft_position pos;
	u64 rip;
	const u8 *data;
	struct kvmft_input inputs[KVMFT_BATCH_MAX];
};

/**
 * struct kvmft_codec - what one side of a log remembers of the entries before
 * @seq: sequence number of the next entry; the first is 1
 * @tsc: value of the last TSC entry
 * @exits: of the last BOUNDARY entry that has it
 * @pos: of the last BOUNDARY entry that has it
 * @rip: of the last BOUNDARY entry that has it
 *
 * All zero but @seq at the start of a log.  Encoder and decoder keep one each.
 */
struct kvmft_codec {
	u64 seq;
	u64 tsc;
	u64 exits;
	struct kvmft_position pos;
	u64 rip;
};

void kvmft_codec_init(struct kvmft_codec *codec);

/* No entry is longer. */
#define KVMFT_ENTRY_SIZE_MAX	(KVMFT_DATA_MAX + 256)

/*
 * Encode @entry into @buf, which has KVMFT_ENTRY_SIZE_MAX bytes.  @state is a hash of the
 * machine's state at the entry; see kvmft_entry_has_check().  Sets @entry->check and
 * @entry->payload.  Returns the number of bytes, or -EINVAL for an entry that the format can
 * not express; @codec is as before then.
 */
int kvmft_entry_encode(struct kvmft_codec *codec, struct kvmft_entry *entry, u32 state,
		       u8 *buf);

/*
 * Decode one entry from the @len bytes at @buf.  Returns the number of bytes it has;
 * -EAGAIN if @buf ends before it does, but can be the beginning of an entry; -EBADMSG if it
 * is malformed (unknown type, a field out of range, longer than allowed, not in its
 * shortest form; or its check, if that is not of the machine's state, does not match).
 * @codec is as before on error, and @entry undefined.
 */
int kvmft_entry_decode(struct kvmft_codec *codec, struct kvmft_entry *entry, const u8 *buf,
		       size_t len);

/*
 * What @entry->check has to be when the machine's state at the entry has the hash @state.
 * One in 65,536 differences of state or entry goes unnoticed.
 */
u16 kvmft_entry_check(const struct kvmft_entry *entry, u32 state);

/*
 * Is this type's check one of the machine's state, for the caller to compare?  START, PAGE and
 * END have one of their bytes only, which the decoder has compared.
 */
bool kvmft_entry_has_check(const struct kvmft_entry *entry);

#endif /* _KVMFT_ENTRY_H */
