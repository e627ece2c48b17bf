// SPDX-License-Identifier: GPL-2.0
/*
 * Replaying.  At every boundary the next entry is known before the guest is entered.  If it
 * is a value, the guest runs until it asks for one.  If it is a batch of inputs, it is applied
 * in its place: after the synchronous exit of that number, or at a position that the guest is
 * made to land on (landing.c).  Inputs of this side's devices are dropped.
 *
 * Whatever does not agree ends the replay: the vCPU is held at the next boundary and never
 * goes on.  KVM_RUN is interrupted by signals while it is held, as always.
 */
#include <linux/slab.h>

#include "engine.h"
#include "landing.h"
#include "machine.h"
#include "trace.h"

/* Bytes to look at for the next entry; most are much shorter. */
#define PEEK_SIZE	64

/**
 * struct kvmft_replay - a replay
 * @engine: what it has in common with recording
 * @margin: how many conditional branches an overflow interrupt may be late
 * @have: engine.entry is the next entry, not consumed yet
 * @len: its length
 * @started: the machine here is the one of the log
 * @changed: a register that the VMM has changed, which has not been compared yet
 * @breakpoint: stop the guest at @target
 * @timed: position at which a timer was set last
 * @target: where to land
 * @clock: the guest's TSC less the host's, by what it was told last
 * @lines: levels of the lines that this side's devices drive; any thread
 * @pages: memory at the start
 * @next_page: first of those that has not been compared
 */
struct kvmft_replay {
	struct kvmft_engine engine;
	u64 margin;
	bool have;
	u32 len;
	bool started;
	const char *changed;
	bool breakpoint;
	struct kvmft_position timed;
	struct kvmft_target target;
	struct {
		u64 offset;
		bool known;
	} clock;
	unsigned long lines;
	struct kvmft_pages pages;
	size_t next_page;
};

static struct kvmft_replay *of_engine(struct kvmft_engine *engine)
{
	return container_of(engine, struct kvmft_replay, engine);
}

static const char *type_name(unsigned int type)
{
	static const char *const names[] = {
		[KVMFT_ENTRY_START] = "the log's start",
		[KVMFT_ENTRY_PAGE] = "a page of memory",
		[KVMFT_ENTRY_TSC] = "a read of the TSC",
		[KVMFT_ENTRY_READ] = "a read from a device",
		[KVMFT_ENTRY_WRITE] = "a write to a device",
		[KVMFT_ENTRY_MSR] = "a read of an MSR",
		[KVMFT_ENTRY_BOUNDARY] = "an interrupt",
		[KVMFT_ENTRY_DIGEST] = "a digest",
		[KVMFT_ENTRY_RESET] = "a reset",
		[KVMFT_ENTRY_END] = "the log's end",
	};

	return type < ARRAY_SIZE(names) && names[type] ? names[type] : "an unknown entry";
}

/* The guest is not where the log says. */
static __printf(2, 3) void diverge(struct kvmft_replay *replay, const char *fmt, ...)
{
	struct kvmft_engine *engine = &replay->engine;
	const struct kvmft_vcpu *vcpu = engine->vcpu;
	struct va_format vaf;
	va_list args;

	va_start(args, fmt);
	vaf.fmt = fmt;
	vaf.va = &args;
	kvmft_engine_end(engine, KVMFT_END_DIVERGED,
			 "entry %llu (%s): %pV; the guest is at exit %llu, branches %llu/%llu, rip %#lx",
			 engine->codec.seq - replay->have, type_name(engine->entry.type), &vaf,
			 vcpu->sync_exits, vcpu->state.pos.cond, vcpu->state.pos.taken,
			 vcpu->vm.vcpu->arch.regs[VCPU_REGS_RIP]);
	va_end(args);
}

/* Decode the next entry if the ring holds it.  0: it does not; < 0: it is malformed. */
static int decode_next(struct kvmft_replay *replay)
{
	struct kvmft_engine *engine = &replay->engine;
	size_t size = PEEK_SIZE, len;
	int n;

	for (;;) {
		len = kvmft_log_peek(engine->log, engine->bytes, size);
		n = kvmft_entry_decode(&engine->codec, &engine->entry, engine->bytes, len);
		if (n != -EAGAIN || len < size || size == sizeof(engine->bytes))
			break;
		size = sizeof(engine->bytes);
	}
	if (n < 0)
		return n == -EAGAIN ? 0 : n;
	replay->len = n;
	replay->have = true;
	kvmft_log_consume(engine->log, n);
	kvmft_transport_consumed(engine->transport);
	return 1;
}

/* The same; a malformed entry ends the replay. */
static int try_fetch(struct kvmft_replay *replay)
{
	struct kvmft_engine *engine = &replay->engine;
	int ret = decode_next(replay);

	if (ret < 0)
		kvmft_engine_end(engine, KVMFT_END_LOG_ERROR, "entry %llu of the log is malformed",
				 engine->codec.seq);
	return ret;
}

/*
 * Wait for the next entry; @sleep: KVM's SRCU is held, let go of it meanwhile.  -EINTR: a signal
 * came, or the session ends.  Another error: replay is over.
 */
static int fetch(struct kvmft_replay *replay, bool sleep)
{
	struct kvmft_engine *engine = &replay->engine;
	struct kvmft_transport *transport = engine->transport;
	bool ended;
	int ret, error;

	while (!replay->have) {
		/* In this order: what was in the ring before, perhaps acknowledged, is seen. */
		error = kvmft_transport_error(transport);
		ended = smp_load_acquire(&transport->ended); /* the same */
		ret = try_fetch(replay);
		if (ret)
			return ret < 0 ? ret : 0;
		engine->alone = error || ended;
		if (error) {
			kvmft_engine_end(engine, KVMFT_END_LOG_ERROR, "%s", transport->reason);
			return -EIO;
		}
		if (ended) {
			kvmft_engine_end(engine, KVMFT_END_LOG_ERROR,
					 "the log is truncated at entry %llu", engine->codec.seq);
			return -EIO;
		}
		if (sleep)
			kvmft_machine_sleep(&engine->vcpu->vm);
		ret = wait_event_interruptible(transport->wait, kvmft_log_used(engine->log) ||
					       READ_ONCE(transport->ended) ||
					       kvmft_transport_error(transport) ||
					       READ_ONCE(engine->cancelled));
		if (sleep)
			kvmft_machine_wake(&engine->vcpu->vm);
		if (ret || READ_ONCE(engine->cancelled))
			return -EINTR;
	}
	return 0;
}

/*
 * The same within an instruction: all that it needs was published with its first.  False:
 * replay is over.
 */
static bool fetch_published(struct kvmft_replay *replay)
{
	struct kvmft_engine *engine = &replay->engine;

	if (replay->have || try_fetch(replay) > 0)
		return true;
	kvmft_engine_end(engine, KVMFT_END_LOG_ERROR, "%s",
			 kvmft_transport_error(engine->transport) ? engine->transport->reason :
			 "the log ends in the middle of an instruction");
	return false;
}

static void consume(struct kvmft_replay *replay)
{
	struct kvmft_engine *engine = &replay->engine;

	replay->have = false;
	WRITE_ONCE(engine->progress.seq, engine->progress.seq + 1);
	WRITE_ONCE(engine->progress.bytes, engine->progress.bytes + replay->len);
	trace_kvmft_entry(engine->vcpu, &engine->entry, engine->progress.seq);
}

/* Is the machine as it was when the entry was written? */
static bool check(struct kvmft_replay *replay)
{
	const struct kvmft_entry *entry = &replay->engine.entry;

	if (kvmft_entry_check(entry, kvmft_vcpu_hash(replay->engine.vcpu)) == entry->check)
		return true;
	diverge(replay, "registers or position are not those of the log, or the entry is damaged");
	return false;
}

/* Is the next entry a position that the guest has left behind? */
static bool has_passed(const struct kvmft_replay *replay)
{
	const struct kvmft_entry *entry = &replay->engine.entry;
	const struct kvmft_position *pos = &replay->engine.vcpu->state.pos;

	return entry->type == KVMFT_ENTRY_BOUNDARY && entry->at == KVMFT_AT_POSITION &&
	       (pos->cond > entry->pos.cond || pos->taken > entry->pos.taken);
}

/*
 * The guest asks for what an entry of @type tells.  Consumes that entry, which stays in
 * engine.entry.  False: replay is over.
 */
static bool expect(struct kvmft_replay *replay, enum kvmft_entry_type type, const char *what)
{
	struct kvmft_engine *engine = &replay->engine;

	if (engine->end)
		return false;
	if (!fetch_published(replay))
		return false;
	if (engine->entry.type != type) {
		if (has_passed(replay))
			diverge(replay, "overshoot: the guest did %s before it was stopped", what);
		else
			diverge(replay, "the guest did %s instead", what);
		return false;
	}
	if (!check(replay))
		return false;
	consume(replay);
	return true;
}

/* Guest memory can not be read.  -EINTR: the VMM is killed; another error: replay is over. */
static int memory_error(struct kvmft_replay *replay, int error)
{
	if (error != -EINTR)
		kvmft_engine_end(&replay->engine, KVMFT_END_LOG_ERROR,
				 "guest memory can not be read (%d)", error);
	return error;
}

/*
 * Compare a DIGEST or a RESET with what is here, and consume it.  An error, as memory_error()'s:
 * there was nothing to compare with.
 */
static int compare_digest(struct kvmft_replay *replay)
{
	struct kvmft_engine *engine = &replay->engine;
	struct kvmft_vcpu *vcpu = engine->vcpu;
	const struct kvmft_entry *entry = &engine->entry;
	struct kvmft_regs regs;
	u64 digest;
	int ret;

	if (!check(replay))
		return 0;
	kvmft_machine_regs(&vcpu->vm, vcpu->arch, &regs);
	if (kvmft_regs_hash(&regs) != entry->value) {
		diverge(replay, "the registers' digest is %#llx in the log, %#llx here",
			entry->value, kvmft_regs_hash(&regs));
		return 0;
	}
	if (entry->memory) {
		ret = kvmft_machine_memory(&vcpu->vm, &digest);
		if (ret)
			return memory_error(replay, ret);
		if (digest != entry->memory) {
			diverge(replay, "the memory's digest is %#llx in the log, %#llx here",
				entry->memory, digest);
			return 0;
		}
	}
	consume(replay);
	WRITE_ONCE(engine->progress.digests, engine->progress.digests + 1);
	return 0;
}

static void reach_end(struct kvmft_replay *replay)
{
	struct kvmft_engine *engine = &replay->engine;
	u64 why = engine->entry.value;

	consume(replay);
	kvmft_engine_end(engine, KVMFT_END_FINISHED,
			 "all %llu entries were replayed, %llu digests were equal; the recording ended with %llu",
			 engine->progress.seq, engine->progress.digests, why);
}

/* The next entry is a page of memory at the start, or the first after those. */
static void compare_page(struct kvmft_replay *replay)
{
	const struct kvmft_entry *entry = &replay->engine.entry;
	const struct kvmft_page *page = NULL;

	if (replay->next_page < replay->pages.nr)
		page = &replay->pages.page[replay->next_page];
	if (entry->type != KVMFT_ENTRY_PAGE) {
		if (page)
			diverge(replay, "memory at %#llx is not zero here", page->addr);
		else
			replay->started = true;
		return;
	}
	if (!page || page->addr > entry->addr)
		diverge(replay, "memory at %#llx is zero here", entry->addr);
	else if (page->addr < entry->addr)
		diverge(replay, "memory at %#llx is not zero here", page->addr);
	else if (page->hash != entry->value)
		diverge(replay, "memory at %#llx has other contents here", entry->addr);
	else
		consume(replay);
	replay->next_page++;
}

static int compare_start(struct kvmft_replay *replay)
{
	struct kvmft_engine *engine = &replay->engine;
	const struct kvmft_entry *entry = &engine->entry;
	struct kvmft_start *start;
	char text[128];
	int ret;

	ret = kvmft_pages_collect(&replay->pages, &engine->vcpu->vm);
	if (ret)
		return ret;
	if (entry->type != KVMFT_ENTRY_START || entry->len != sizeof(*start)) {
		diverge(replay, "the log does not begin with a machine");
		return 0;
	}
	start = kmalloc(sizeof(*start), GFP_KERNEL);
	if (!start) {
		kvmft_pages_free(&replay->pages);
		return -ENOMEM;
	}
	kvmft_machine_describe(&engine->vcpu->vm, engine->vcpu->arch, start);
	if (kvmft_start_differ((const struct kvmft_start *)entry->data, start, text, sizeof(text)))
		diverge(replay, "%s", text);
	else
		consume(replay);
	kfree(start);
	return 0;
}

/* Is the machine the one that the log begins with? */
static int begin(struct kvmft_replay *replay)
{
	int ret;

	replay->changed = NULL;
	if (!kvmft_engine_may_begin(&replay->engine))
		return 0;
	while (!replay->started && !replay->engine.end) {
		ret = fetch(replay, true);
		if (ret)
			return ret;
		if (replay->pages.page) {
			compare_page(replay);
		} else {
			ret = compare_start(replay);
			if (ret)
				return memory_error(replay, ret);
		}
	}
	kvmft_pages_free(&replay->pages);
	return 0;
}

/* Apply the batch in engine.entry, here. */
static void apply(struct kvmft_replay *replay)
{
	struct kvmft_engine *engine = &replay->engine;
	const struct kvmft_entry *entry = &engine->entry;
	struct kvmft_vcpu *vcpu = engine->vcpu;
	int i;

	if (!check(replay))
		return;
	consume(replay);
	for (i = 0; i < entry->nr_inputs; i++)
		kvmft_vm_apply(&vcpu->vm, &entry->inputs[i]);
	WRITE_ONCE(engine->progress.inputs, engine->progress.inputs + i);
	if (entry->at == KVMFT_AT_POSITION && !entry->more) {
		WRITE_ONCE(engine->progress.landings, engine->progress.landings + 1);
		trace_kvmft_landing(vcpu, &replay->target, KVMFT_LANDING_HERE);
	}
	vcpu->moved = false;
}

/* A batch behind a synchronous exit.  True: it was applied. */
static bool at_exit(struct kvmft_replay *replay)
{
	const struct kvmft_entry *entry = &replay->engine.entry;
	const struct kvmft_vcpu *vcpu = replay->engine.vcpu;

	if (vcpu->sync_exits < entry->exits)
		return false;
	if (vcpu->sync_exits > entry->exits)
		diverge(replay, "exit %llu has passed", entry->exits);
	else if (entry->at == KVMFT_AT_HALT)
		diverge(replay, "the vCPU is not halted");
	else if (!vcpu->last.sync)
		diverge(replay, "the place behind exit %llu has passed", entry->exits);
	else
		apply(replay);
	return !replay->engine.end;
}

/* A batch at a position.  True: it was applied. */
static bool at_position(struct kvmft_replay *replay)
{
	const struct kvmft_entry *entry = &replay->engine.entry;
	struct kvmft_vcpu *vcpu = replay->engine.vcpu;
	struct kvmft_landing plan;

	replay->target = (struct kvmft_target) { .pos = entry->pos, .rip = entry->rip };
	plan = kvmft_landing_plan(&replay->target, &vcpu->state.pos,
				  vcpu->arch->linear_rip(vcpu->vm.vcpu), replay->margin);
	if (plan.step != KVMFT_LANDING_HERE)
		trace_kvmft_landing(vcpu, &replay->target, plan.step);
	switch (plan.step) {
	case KVMFT_LANDING_HERE:
		if (kvmft_machine_delivering(&vcpu->vm))
			break;
		kvmft_vcpu_set_overflow(vcpu, 0, 0);
		apply(replay);
		return !replay->engine.end;
	case KVMFT_LANDING_BREAK:
		replay->breakpoint = true;
		fallthrough;
	case KVMFT_LANDING_RUN:
		kvmft_vcpu_set_overflow(vcpu, plan.cond, plan.taken);
		break;
	case KVMFT_LANDING_PASSED:
		diverge(replay, "overshoot: branches %llu/%llu, rip %#llx, has passed",
			entry->pos.cond, entry->pos.taken, entry->rip);
		break;
	}
	return false;
}

/* Replay is over: go no further, unless the arbiter lets it.  KVM's SRCU is not held. */
static void hold(struct kvmft_engine *engine)
{
	wait_event_interruptible(engine->transport->wait, READ_ONCE(engine->cancelled) ||
				 READ_ONCE(engine->live));
}

/* The arbiter has: from here on the guest runs without a log.  False: it has not. */
static bool go_live(struct kvmft_replay *replay)
{
	struct kvmft_engine *engine = &replay->engine;
	struct kvmft_vcpu *vcpu = engine->vcpu;

	if (!READ_ONCE(engine->live))
		return false;
	kvmft_machine_go_live(&vcpu->vm, vcpu->arch,
			      replay->clock.known ? &replay->clock.offset : NULL, &replay->lines);
	vcpu->owner->live(vcpu);
	return true;
}

/* At a boundary of a replay that is over. */
static int stay(struct kvmft_replay *replay)
{
	struct kvmft_vm *vm = &replay->engine.vcpu->vm;

	kvmft_machine_sleep(vm);
	hold(&replay->engine);
	kvmft_machine_wake(vm);
	return go_live(replay) ? 0 : -EINTR;
}

/* Nobody knows where the guest is. */
static int replay_failed(struct kvmft_vcpu *vcpu)
{
	struct kvmft_replay *replay = of_engine(vcpu->context);

	kvmft_engine_end(&replay->engine, vcpu->failure, NULL);
	return stay(replay);
}

static int replay_boundary(struct kvmft_vcpu *vcpu)
{
	struct kvmft_replay *replay = of_engine(vcpu->context);
	struct kvmft_engine *engine = &replay->engine;
	bool more = true;
	int ret = 0;

	replay->breakpoint = false;
	replay->changed = kvmft_vcpu_changed(vcpu) ?: replay->changed;
	if (READ_ONCE(vcpu->unsupported))
		kvmft_engine_end(engine, KVMFT_END_UNSUPPORTED, "%s", vcpu->unsupported);
	if (kvmft_machine_halted(&vcpu->vm) && !engine->end)
		return 0;
	if (unlikely(READ_ONCE(vcpu->vm.kicked)) && !engine->end)
		vcpu->owner->transmit(vcpu);
	if (!replay->started && !engine->end)
		ret = begin(replay);
	while (more && !ret && !engine->end) {
		ret = fetch(replay, true);
		if (ret)
			break;
		if (replay->changed && engine->entry.type != KVMFT_ENTRY_RESET) {
			diverge(replay, "the VMM changed registers (%s)", replay->changed);
			break;
		}
		switch (engine->entry.type) {
		case KVMFT_ENTRY_BOUNDARY:
			more = engine->entry.at == KVMFT_AT_POSITION ? at_position(replay) :
								       at_exit(replay);
			/* KVM is about to look at the chips anyway. */
			if (more)
				kvm_clear_request(KVM_REQ_EVENT, vcpu->vm.vcpu);
			break;
		case KVMFT_ENTRY_DIGEST:
			ret = compare_digest(replay);
			break;
		case KVMFT_ENTRY_RESET:
			/* The VMM has changed registers if, and as, it did in the recording. */
			more = replay->changed;
			replay->changed = NULL;
			if (more)
				ret = compare_digest(replay);
			break;
		case KVMFT_ENTRY_END:
			reach_end(replay);
			break;
		default:
			more = false;
		}
	}
	return engine->end ? stay(replay) : ret;
}

/* The vCPU stays halted until an entry wakes it. */
static bool replay_halt(struct kvmft_vcpu *vcpu)
{
	struct kvmft_replay *replay = of_engine(vcpu->context);
	struct kvmft_engine *engine = &replay->engine;
	bool more = true;

	while (more && !engine->end && !fetch(replay, false)) {
		kvmft_machine_wake(&vcpu->vm);
		if (engine->entry.type == KVMFT_ENTRY_DIGEST) {
			more = !compare_digest(replay);
		} else if (engine->entry.type == KVMFT_ENTRY_END) {
			reach_end(replay);
		} else if (engine->entry.type != KVMFT_ENTRY_BOUNDARY ||
			   engine->entry.at != KVMFT_AT_HALT ||
			   engine->entry.exits != vcpu->sync_exits) {
			diverge(replay, "the vCPU is halted");
		} else {
			/* Several entries may be one batch; else see whether this one woke it. */
			more = engine->entry.more;
			apply(replay);
		}
		kvmft_machine_sleep(&vcpu->vm);
	}
	if (engine->end) {
		hold(engine);
		go_live(replay);
	}
	return true;
}

static void replay_enter(struct kvmft_vcpu *vcpu, struct kvmft_run *run)
{
	struct kvmft_replay *replay = of_engine(vcpu->context);
	const struct kvmft_position *pos = &vcpu->state.pos;

	run->intercept = true;
	run->breakpoint = replay->breakpoint;
	if (replay->breakpoint) {
		run->ticks = kvmft_landing_ticks(&replay->target, pos);
		/* From here it was over before the guest had executed an instruction. */
		if (pos->cond == replay->timed.cond && pos->taken == replay->timed.taken)
			run->ticks = 0;
		if (run->ticks) {
			run->breakpoint = false;
			replay->timed = *pos;
		}
	}
	run->address = replay->target.rip;
	/* It stands there, and it is another visit. */
	run->resume = true;
}

static bool replay_passing(const struct kvmft_vcpu *vcpu)
{
	const struct kvmft_replay *replay = of_engine(vcpu->context);
	const struct kvmft_position *pos = &vcpu->state.pos, *target = &replay->target.pos;

	/* The address is right. */
	return pos->cond <= target->cond && pos->taken <= target->taken &&
	       (pos->cond != target->cond || pos->taken != target->taken);
}

/* The guest has seen @tsc. */
static void note_clock(struct kvmft_replay *replay, u64 tsc)
{
	replay->clock.offset = kvmft_machine_tsc_offset(&replay->engine.vcpu->vm, tsc);
	replay->clock.known = true;
}

static void replay_tsc(struct kvmft_vcpu *vcpu, u64 *value)
{
	struct kvmft_replay *replay = of_engine(vcpu->context);

	if (!expect(replay, KVMFT_ENTRY_TSC, "a read of the TSC"))
		return;
	*value = replay->engine.entry.value;
	note_clock(replay, *value);
}

/* If that is what the log says: else replay_tsc() ends the replay, which may sleep. */
static int replay_quick_tsc(struct kvmft_vcpu *vcpu, u64 *value)
{
	struct kvmft_replay *replay = of_engine(vcpu->context);
	struct kvmft_engine *engine = &replay->engine;
	const struct kvmft_entry *entry = &engine->entry;

	if (engine->end || !replay->have || entry->type != KVMFT_ENTRY_TSC ||
	    kvmft_entry_check(entry, kvmft_vcpu_hash(vcpu)) != entry->check)
		return -EAGAIN;
	*value = entry->value;
	note_clock(replay, *value);
	consume(replay);
	/* Nothing comes before the guest's next read. */
	return decode_next(replay) > 0 &&
	       (entry->type == KVMFT_ENTRY_TSC || entry->type == KVMFT_ENTRY_READ ||
		entry->type == KVMFT_ENTRY_WRITE || entry->type == KVMFT_ENTRY_MSR);
}

static void replay_msr(struct kvmft_vcpu *vcpu, u32 index, u64 *value)
{
	struct kvmft_replay *replay = of_engine(vcpu->context);
	const struct kvmft_entry *entry = &replay->engine.entry;

	if (!expect(replay, KVMFT_ENTRY_MSR, "a read of an MSR"))
		return;
	if (entry->addr != index)
		diverge(replay, "the guest read MSR %#x, in the log it is %#llx", index,
			entry->addr);
	else
		*value = entry->value;
	if (index == MSR_IA32_TSC)
		note_clock(replay, *value);
}

static int replay_ready(struct kvmft_vcpu *vcpu)
{
	struct kvmft_replay *replay = of_engine(vcpu->context);
	struct kvmft_engine *engine = &replay->engine;

	/* immediate_exit: the VMM's signal came before KVM_RUN did. */
	if (!engine->end && !replay->have && !vcpu->vm.vcpu->wants_to_run && !try_fetch(replay))
		return -EINTR;
	if (!engine->end && fetch(replay, false) == -EINTR)
		return -EINTR;
	/* The instruction may go on without the log, with what the device here says. */
	if (engine->end && engine->alone) {
		hold(engine);
		return READ_ONCE(engine->live) ? 0 : -EINTR;
	}
	/* Another error ends the replay, and the next boundary holds the vCPU. */
	return 0;
}

static void replay_read(struct kvmft_vcpu *vcpu, enum kvmft_space space, u64 addr, void *data,
			u32 len)
{
	struct kvmft_replay *replay = of_engine(vcpu->context);
	const struct kvmft_entry *entry = &replay->engine.entry;

	if (!expect(replay, KVMFT_ENTRY_READ, "a read from a device"))
		return;
	if (entry->space != space || entry->addr != addr || entry->len != len)
		diverge(replay, "the guest read %u bytes at %#llx, in the log it is %u at %#llx",
			len, addr, entry->len, entry->addr);
	else
		memcpy(data, entry->data, len);
}

static bool replay_write(struct kvmft_vcpu *vcpu, enum kvmft_space space, u64 addr,
			 const void *data, u32 len)
{
	struct kvmft_replay *replay = of_engine(vcpu->context);
	struct kvmft_engine *engine = &replay->engine;
	const struct kvmft_entry *entry = &engine->entry;

	/* Of an instruction that was half done when the log ended: see replay_ready(). */
	if (engine->end && READ_ONCE(engine->live))
		return true;
	if (!expect(replay, KVMFT_ENTRY_WRITE, "a write to a device"))
		return false;
	if (entry->space != space || entry->addr != addr || entry->len != len ||
	    memcmp(data, entry->data, len)) {
		diverge(replay,
			"the guest wrote %u bytes to %#llx, in the log it is %u to %#llx, or another value",
			len, addr, entry->len, entry->addr);
		return false;
	}
	if (kvmft_engine_sleep(space, addr, data, len) != KVMFT_SLEEP_OFF)
		return true;
	if (fetch_published(replay) && entry->type == KVMFT_ENTRY_DIGEST)
		compare_digest(replay);
	if (!engine->end && fetch_published(replay) && entry->type == KVMFT_ENTRY_END)
		reach_end(replay);
	return engine->end == KVMFT_END_FINISHED;
}

/* This side's devices drive nothing; what they would is for the moment when they do. */
static bool replay_input(struct kvmft_vcpu *vcpu, const struct kvmft_input *input)
{
	struct kvmft_replay *replay = of_engine(vcpu->context);

	if (input->type == KVMFT_INPUT_LINE && input->source == KVM_USERSPACE_IRQ_SOURCE_ID &&
	    input->gsi < KVMFT_LINES) {
		if (input->level)
			set_bit(input->gsi, &replay->lines);
		else
			clear_bit(input->gsi, &replay->lines);
	}
	/* Pairs with kvmft_machine_go_live(): it finds the bit, or the chip gets it from here. */
	smp_mb();
	return !READ_ONCE(replay->engine.live);
}

static const struct kvmft_engine_ops replay_ops = {
	.boundary = replay_boundary,
	.failed = replay_failed,
	.halt = replay_halt,
	.enter = replay_enter,
	.passing = replay_passing,
	.quick_tsc = replay_quick_tsc,
	.tsc = replay_tsc,
	.msr = replay_msr,
	.ready = replay_ready,
	.read = replay_read,
	.write = replay_write,
	.input = replay_input,
};

struct kvmft_engine *kvmft_replay_start(struct kvmft_vcpu *vcpu, struct kvmft_transport *transport,
					u64 margin, bool gated)
{
	struct kvmft_replay *replay;
	int ret;

	replay = kvmft_engine_alloc(sizeof(*replay), KVMFT_MODE_REPLAY, vcpu, transport);
	if (!replay)
		return ERR_PTR(-ENOMEM);
	replay->margin = margin;
	replay->engine.gated = gated;
	ret = kvmft_vcpu_set_engine(vcpu, &replay_ops, &replay->engine);
	if (!ret)
		return &replay->engine;
	kvmft_transport_close(transport);
	kvmft_engine_free(&replay->engine);
	return ERR_PTR(ret);
}

int kvmft_replay_close(struct kvmft_engine *engine)
{
	kvmft_pages_free(&of_engine(engine)->pages);
	return kvmft_transport_close(engine->transport);
}
