/* SPDX-License-Identifier: GPL-2.0 */
#if !defined(_KVMFT_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _KVMFT_TRACE_H

#include <linux/tracepoint.h>

#include "gate.h"
#include "landing.h"
#include "names.h"
#include "stall.h"
#include "vcpu.h"

#undef TRACE_SYSTEM
#define TRACE_SYSTEM kvmft

TRACE_DEFINE_ENUM(KVMFT_STATE_ARMED);
TRACE_DEFINE_ENUM(KVMFT_STATE_COUNTING);
TRACE_DEFINE_ENUM(KVMFT_STATE_ENDED);
TRACE_DEFINE_ENUM(KVMFT_STATE_CLAIMING);
TRACE_DEFINE_ENUM(KVMFT_STATE_LIVE);
TRACE_DEFINE_ENUM(KVMFT_STATE_STOPPED);
TRACE_DEFINE_ENUM(KVMFT_END_NONE);
TRACE_DEFINE_ENUM(KVMFT_END_CLOSED);
TRACE_DEFINE_ENUM(KVMFT_END_VM_DESTROYED);
TRACE_DEFINE_ENUM(KVMFT_END_COUNTER_LOST);
TRACE_DEFINE_ENUM(KVMFT_END_VCPU_ADDED);
TRACE_DEFINE_ENUM(KVMFT_END_NO_COUNTER);
TRACE_DEFINE_ENUM(KVMFT_END_COUNTER_WRONG);
TRACE_DEFINE_ENUM(KVMFT_END_FINISHED);
TRACE_DEFINE_ENUM(KVMFT_END_DIVERGED);
TRACE_DEFINE_ENUM(KVMFT_END_LOG_ERROR);
TRACE_DEFINE_ENUM(KVMFT_END_UNSUPPORTED);
TRACE_DEFINE_ENUM(KVMFT_FATE_HELD);
TRACE_DEFINE_ENUM(KVMFT_FATE_SENT);
TRACE_DEFINE_ENUM(KVMFT_FATE_DROPPED);
TRACE_DEFINE_ENUM(KVMFT_STALL_LOG);
TRACE_DEFINE_ENUM(KVMFT_STALL_LAG);
TRACE_DEFINE_ENUM(KVMFT_STALL_OUTPUT);
TRACE_DEFINE_ENUM(KVMFT_STALL_PACKETS);
TRACE_DEFINE_ENUM(KVMFT_STALL_ARBITER);
TRACE_DEFINE_ENUM(KVMFT_LANDING_HERE);
TRACE_DEFINE_ENUM(KVMFT_LANDING_RUN);
TRACE_DEFINE_ENUM(KVMFT_LANDING_BREAK);
TRACE_DEFINE_ENUM(KVMFT_LANDING_PASSED);
TRACE_DEFINE_ENUM(KVMFT_ROLE_PRIMARY);
TRACE_DEFINE_ENUM(KVMFT_ROLE_BACKUP);

/* A session changed its state. */
TRACE_EVENT(kvmft_session,
	TP_PROTO(u64 id, enum kvmft_state state, enum kvmft_end end),
	TP_ARGS(id, state, end),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(u32, state)
		__field(u32, end)
	),
	TP_fast_assign(
		__entry->id = id;
		__entry->state = state;
		__entry->end = end;
	),
	TP_printk("session %llu %s, end: %s", __entry->id,
		  __print_symbolic(__entry->state, KVMFT_STATE_NAMES),
		  __print_symbolic(__entry->end, KVMFT_END_NAMES))
);

/* The vCPU enters the guest, and will be counted. */
TRACE_EVENT(kvmft_enter,
	TP_PROTO(u64 id),
	TP_ARGS(id),
	TP_STRUCT__entry(
		__field(u64, id)
	),
	TP_fast_assign(
		__entry->id = id;
	),
	TP_printk("session %llu", __entry->id)
);

/* The vCPU left the guest and was counted. */
TRACE_EVENT(kvmft_exit,
	TP_PROTO(const struct kvmft_vcpu *vcpu, const struct kvmft_exit *exit),
	TP_ARGS(vcpu, exit),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(u64, exits)
		__field(u64, code)
		__field(u64, rip)
		__field(u64, cond)
		__field(u64, taken)
	),
	TP_fast_assign(
		__entry->id = vcpu->id;
		__entry->exits = vcpu->state.exits;
		__entry->code = exit->code;
		__entry->rip = exit->rip;
		__entry->cond = vcpu->state.pos.cond;
		__entry->taken = vcpu->state.pos.taken;
	),
	TP_printk("session %llu exit %llu code %#llx rip %#llx cond %llu taken %llu",
		  __entry->id, __entry->exits, __entry->code, __entry->rip,
		  __entry->cond, __entry->taken)
);

/* The stop requested at @at was reached, with its overflow interrupt or without. */
TRACE_EVENT(kvmft_stop,
	TP_PROTO(const struct kvmft_vcpu *vcpu, u64 at, bool interrupt),
	TP_ARGS(vcpu, at, interrupt),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(u64, at)
		__field(u64, stopped_at)
		__field(u64, rip)
		__field(bool, interrupt)
	),
	TP_fast_assign(
		__entry->id = vcpu->id;
		__entry->at = at;
		__entry->stopped_at = vcpu->state.stop.stopped_at;
		__entry->rip = vcpu->state.rip;
		__entry->interrupt = interrupt;
	),
	TP_printk("session %llu stopped at cond %llu, for %llu, rip %#llx%s", __entry->id,
		  __entry->stopped_at, __entry->at, __entry->rip,
		  __entry->interrupt ? "" : " without an interrupt")
);

/* A replay is about to go to a logged position, so many branches away; or it is there. */
TRACE_EVENT(kvmft_landing,
	TP_PROTO(const struct kvmft_vcpu *vcpu, const struct kvmft_target *target,
		 enum kvmft_landing_step step),
	TP_ARGS(vcpu, target, step),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(u32, step)
		__field(s64, cond)
		__field(s64, taken)
		__field(u64, exits)
	),
	TP_fast_assign(
		__entry->id = vcpu->id;
		__entry->step = step;
		__entry->cond = target->pos.cond - vcpu->state.pos.cond;
		__entry->taken = target->pos.taken - vcpu->state.pos.taken;
		__entry->exits = vcpu->state.exits;
	),
	TP_printk("session %llu %s, cond %lld taken %lld to go, exit %llu", __entry->id,
		  __print_symbolic(__entry->step, KVMFT_LANDING_NAMES), __entry->cond,
		  __entry->taken, __entry->exits)
);

/* A log entry was written, or consumed. */
TRACE_EVENT(kvmft_entry,
	TP_PROTO(const struct kvmft_vcpu *vcpu, const struct kvmft_entry *logged, u64 seq),
	TP_ARGS(vcpu, logged, seq),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(u64, seq)
		__field(u32, type)
		__field(u32, at)
		__field(u32, inputs)
		__field(u64, addr)
		__field(u64, value)
		__field(u64, exits)
		__field(u64, cond)
		__field(u64, taken)
		__field(u64, rip)
	),
	TP_fast_assign(
		__entry->id = vcpu->id;
		__entry->seq = seq;
		__entry->type = logged->type;
		__entry->at = logged->at;
		__entry->inputs = logged->nr_inputs;
		__entry->addr = logged->addr;
		__entry->value = logged->value;
		__entry->exits = vcpu->sync_exits;
		__entry->cond = vcpu->state.pos.cond;
		__entry->taken = vcpu->state.pos.taken;
		__entry->rip = vcpu->vm.vcpu->arch.regs[VCPU_REGS_RIP];
	),
	TP_printk("session %llu entry %llu type %u at %u inputs %u addr %#llx value %#llx exit %llu cond %llu taken %llu rip %#llx",
		  __entry->id, __entry->seq, __entry->type, __entry->at, __entry->inputs,
		  __entry->addr, __entry->value, __entry->exits, __entry->cond,
		  __entry->taken, __entry->rip)
);

/*
 * A packet of a network device's waits, leaves, or is not needed.  Session 0: the guest is not
 * protected; @acked: bytes of the log that the backup has acknowledged.  While it waits no other
 * has its address.
 */
TRACE_EVENT(kvmft_packet,
	TP_PROTO(u64 id, enum kvmft_fate fate, const struct kvmft_packet *packet, u64 acked),
	TP_ARGS(id, fate, packet, acked),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(const void *, packet)
		__field(u32, fate)
		__field(u32, len)
		__field(u64, at)
		__field(u64, acked)
	),
	TP_fast_assign(
		__entry->id = id;
		__entry->packet = packet;
		__entry->fate = fate;
		__entry->len = packet->len;
		__entry->at = packet->at;
		__entry->acked = acked;
	),
	TP_printk("session %llu %s, %u bytes, at %llu acked %llu", __entry->id,
		  __print_symbolic(__entry->fate, KVMFT_FATE_NAMES), __entry->len, __entry->at,
		  __entry->acked)
);

/* The guest stands still, @why. */
TRACE_EVENT(kvmft_stall_begin,
	TP_PROTO(u64 id, enum kvmft_stall why),
	TP_ARGS(id, why),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(u32, why)
	),
	TP_fast_assign(
		__entry->id = id;
		__entry->why = why;
	),
	TP_printk("session %llu %s", __entry->id,
		  __print_symbolic(__entry->why, KVMFT_STALL_NAMES))
);

/* It does no more; or a signal came, and it will again. */
TRACE_EVENT(kvmft_stall_end,
	TP_PROTO(u64 id, enum kvmft_stall why, bool interrupted),
	TP_ARGS(id, why, interrupted),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(u32, why)
		__field(bool, interrupted)
	),
	TP_fast_assign(
		__entry->id = id;
		__entry->why = why;
		__entry->interrupted = interrupted;
	),
	TP_printk("session %llu %s%s", __entry->id,
		  __print_symbolic(__entry->why, KVMFT_STALL_NAMES),
		  __entry->interrupted ? ", interrupted" : "")
);

/*
 * The peer of a @role has told how far it is: entries, and bytes of the log.  @seq: entries that
 * this side has written, or replayed.
 */
TRACE_EVENT(kvmft_mark,
	TP_PROTO(u64 id, u32 role, u64 seq, u64 peer_seq, u64 bytes),
	TP_ARGS(id, role, seq, peer_seq, bytes),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(u32, role)
		__field(u64, seq)
		__field(u64, peer_seq)
		__field(u64, bytes)
	),
	TP_fast_assign(
		__entry->id = id;
		__entry->role = role;
		__entry->seq = seq;
		__entry->peer_seq = peer_seq;
		__entry->bytes = bytes;
	),
	TP_printk("session %llu %s entry %llu, its peer %llu and byte %llu", __entry->id,
		  __print_symbolic(__entry->role, KVMFT_ROLE_NAMES), __entry->seq,
		  __entry->peer_seq, __entry->bytes)
);

#endif /* _KVMFT_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace

/* This part must be outside protection */
#include <trace/define_trace.h>
