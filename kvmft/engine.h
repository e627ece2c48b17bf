/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What recording and replaying have in common: the log, and the place where a vCPU is held.
 */
#ifndef _KVMFT_ENGINE_H
#define _KVMFT_ENGINE_H

#include "entry.h"
#include "gate.h"
#include "transport.h"
#include "vcpu.h"

/* What a boundary finds free of the ring before the guest runs on. */
#define KVMFT_RING_RESERVE	(4 * KVMFT_ENTRY_SIZE_MAX)

/**
 * struct kvmft_progress - how far an engine is
 * @seq: entries written, or consumed
 * @bytes: of them
 * @inputs: inputs applied
 * @landings: boundaries with a position of their own
 * @digests: digests written, or compared
 */
struct kvmft_progress {
	u64 seq;
	u64 bytes;
	u64 inputs;
	u64 landings;
	u64 digests;
};

/**
 * struct kvmft_outputs - packets of the guest's network devices
 * @held: waiting now
 * @held_bytes: of those
 * @sent: by this side while the guest was protected
 * @resent: by this side when it went live, perhaps for the second time
 * @dropped: that could not be sent, or kept
 */
struct kvmft_outputs {
	u64 held;
	u64 held_bytes;
	u64 sent;
	u64 resent;
	u64 dropped;
};

/**
 * struct kvmft_engine - an engine
 * @mode: recording or replaying
 * @vcpu: whose
 * @transport: where its log goes to, or comes from
 * @log: the ring: that of @transport
 * @codec: of @log
 * @progress: written by the vCPU's thread alone, each value at once
 * @cancelled: it has to let go of the vCPU's thread; set by kvmft_engine_cancel()
 * @end: replay is over, the vCPU goes no further; @reason says why
 * @alone: it has replayed all of a log that has no end, and no more will come
 * @live: ... and may go on without; set by kvmft_engine_go_live()
 * @gated: recording: packets wait until the log has been acknowledged up to them; replaying: they
 *	are kept, until the primary has sent them, for the moment when this side goes live.  Else
 *	they are sent at once, or dropped
 * @lag_max: recording: entries that the backup may be behind before the guest waits; 0: any number
 * @outputs: see there
 * @reason: for people; valid once the session has ended
 * @entry: of the vCPU's thread
 * @bytes: encoded
 */
struct kvmft_engine {
	enum kvmft_mode mode;
	struct kvmft_vcpu *vcpu;
	struct kvmft_transport *transport;
	struct kvmft_log *log;
	struct kvmft_codec codec;
	struct kvmft_progress progress;
	bool cancelled;
	enum kvmft_end end;
	bool alone;
	bool live;
	bool gated;
	u64 lag_max;
	struct kvmft_outputs outputs;
	char reason[256];
	struct kvmft_entry entry;
	u8 bytes[KVMFT_ENTRY_SIZE_MAX];
};

/*
 * Memory of an engine that is the first member of a structure of @size bytes; NULL, and
 * @transport is closed and freed, without it.
 */
void *kvmft_engine_alloc(size_t size, enum kvmft_mode mode, struct kvmft_vcpu *vcpu,
			 struct kvmft_transport *transport);
/* With its transport. */
void kvmft_engine_free(struct kvmft_engine *engine);

/*
 * Say why, for the session's reason and the kernel log, and end the session.  @fmt NULL: the reason
 * is there.
 */
__printf(3, 4) void kvmft_engine_end(struct kvmft_engine *engine, enum kvmft_end end,
				     const char *fmt, ...);

/* See kvmft_machine_begin(); false: the session has ended. */
bool kvmft_engine_may_begin(struct kvmft_engine *engine);

/*
 * Recording, at a boundary: is there room in the log, and is the backup no further behind than it
 * may be?  And what the guest waits for if not.
 */
bool kvmft_engine_may_go_on(const struct kvmft_engine *engine);
enum kvmft_stall kvmft_engine_lacks(const struct kvmft_engine *engine);

/**
 * struct kvmft_page - a page of guest memory that is not zero
 * @addr: guest physical address
 * @hash: of its contents
 */
struct kvmft_page {
	u64 addr;
	u64 hash;
};

/**
 * struct kvmft_pages - such pages, in the order of addresses
 * @page: the list; NULL: not collected
 * @nr: their number
 * @max: room for so many
 */
struct kvmft_pages {
	struct kvmft_page *page;
	size_t nr;
	size_t max;
};

/* On the vCPU's thread, KVM's SRCU held.  Errors of kvmft_machine_pages(), -ENOMEM. */
int kvmft_pages_collect(struct kvmft_pages *pages, struct kvmft_vm *vm);
void kvmft_pages_free(struct kvmft_pages *pages);

/*
 * ACPI 6.5, 4.8.3.2: PM1 control registers; QEMU's q35 and pc have their block at 0x600 once the
 * firmware has run.  QEMU acts on the sleep types that its _S5_, _S3_ and _S4_ name, of which only
 * S3's leaves the machine on, and on no other (hw/acpi/core.c).  4.8.3.7: sleep control register;
 * where QEMU's microvm has it (include/hw/i386/microvm.h), which knows S5 alone
 * (hw/acpi/generic_event_device.c).
 */
#define KVMFT_PORT_PM1A_CNT	0x604
#define KVMFT_PM1_SLP_EN	BIT(13)
#define KVMFT_PM1_SLP_TYP	GENMASK(12, 10)
#define KVMFT_PM1_SLP_TYP_S5	0
#define KVMFT_PM1_SLP_TYP_S3	1
#define KVMFT_PM1_SLP_TYP_S4	2
#define KVMFT_ADDR_SLEEP_CTL	0xfea00200
#define KVMFT_SLEEP_CTL_SLP_EN	BIT(5)
#define KVMFT_SLEEP_CTL_SLP_TYP	GENMASK(4, 2)
#define KVMFT_SLEEP_CTL_S5	5

/**
 * enum kvmft_sleep - what a write of the guest does to its machine
 * @KVMFT_SLEEP_NONE: nothing of this kind
 * @KVMFT_SLEEP_RAM: suspends it; the VMM resumes it when it likes, which is in no log
 * @KVMFT_SLEEP_OFF: switches it off: the log ends behind the write
 */
enum kvmft_sleep {
	KVMFT_SLEEP_NONE,
	KVMFT_SLEEP_RAM,
	KVMFT_SLEEP_OFF,
};

enum kvmft_sleep kvmft_engine_sleep(enum kvmft_space space, u64 addr, const void *data, u32 len);

/*
 * Both own @transport from now on, and close and free it when they fail.
 *
 * kvmft_session_record: write a log of @vcpu to @transport.  Outputs, by @gate, wait until it has
 * been acknowledged up to them.
 */
struct kvmft_engine *kvmft_record_start(struct kvmft_vcpu *vcpu, struct kvmft_transport *transport,
					u32 align_us, enum kvmft_gate gate);
/*
 * kvmft_session_replay: run @vcpu by the log from @transport.  Overflow interrupts come up to
 * @margin conditional branches late.  @gated: it may go live.
 */
struct kvmft_engine *kvmft_replay_start(struct kvmft_vcpu *vcpu, struct kvmft_transport *transport,
					u64 margin, bool gated);

/*
 * Wake the vCPU's thread where it waits for the log: it will not wait again.  The VM may go
 * once this has returned; @gone: it is going already.  Any thread, may sleep.
 */
void kvmft_record_cancel(struct kvmft_engine *engine, bool gone);
void kvmft_engine_cancel(struct kvmft_engine *engine);

/* A replay that is alone may go on without its log.  Any thread. */
void kvmft_engine_go_live(struct kvmft_engine *engine);

/*
 * No hooked call uses it any more.  A recording's log ends here, with @why as reason, and is
 * written out; KVMFT_END_NONE: it stops without an end.  Returns the log's error.
 */
int kvmft_record_close(struct kvmft_engine *engine, enum kvmft_end why);
int kvmft_replay_close(struct kvmft_engine *engine);

/*
 * KVMFT_SESSION_INPUT, with the bytes at @data: queue it, to be applied at a boundary.  -EAGAIN:
 * there is no room.
 */
int kvmft_record_input(struct kvmft_engine *engine, const struct kvmft_session_input *input,
		       const void *data);

/* The same for what a device in the kernel writes: all of @inputs, or none, -EAGAIN or -ESTALE. */
int kvmft_record_dma(struct kvmft_engine *engine, const struct kvmft_input *inputs,
		     unsigned int nr);

/* KVMFT_SESSION_FINISH: end the log at the next boundary.  Does not wait. */
void kvmft_record_finish(struct kvmft_engine *engine);

#endif /* _KVMFT_ENGINE_H */
