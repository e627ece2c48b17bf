// SPDX-License-Identifier: GPL-2.0
/*
 * Recording.  Values that the guest reads become entries where it reads them.  Asynchronous
 * inputs are queued by whoever brings them, and become one entry, and are applied, at a
 * boundary on the vCPU's thread:
 *
 *   - after a synchronous exit, whose number tells the place.  An input waits up to
 *     align_ns for one;
 *   - else where the guest stands, if it could be stopped there again and has got on since
 *     the last time, however fast inputs come.  If not, it is sent on: out of the delivery of
 *     an event, or a few branches further.
 *
 * One batch a boundary: KVM may have moved an interrupt from IRR to ISR since, and a
 * second batch would not be what the union of both is.
 *
 * When recording ends, whatever is still queued goes to the chips at once: no input is lost.
 *
 * Locking: record->lock, a raw spinlock, innermost, protects the queue; inputs come with
 * interrupts off and under KVM's locks.  All else belongs to the vCPU's thread.
 */
#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "engine.h"
#include "machine.h"
#include "queue.h"
#include "trace.h"

/* Most that one KVMFT_SESSION_INPUT makes: bytes in pieces, and an interrupt. */
#define INPUTS_MAX	(KVMFT_INPUT_MAX / KVMFT_DATA_MAX + 1)
static_assert(INPUTS_MAX <= KVMFT_QUEUE_SIZE);

/* Register digests are this many entries apart. */
#define DIGEST_INTERVAL	1024

/* At least so many branches are between two places where inputs are applied but at an exit. */
#define PROGRESS_MIN	16

/**
 * enum nudge - how the vCPU gets to a place where its inputs can be applied
 * @NUDGE_NONE: they can, or may wait
 * @NUDGE_DELIVER: let the event in progress be delivered, and leave
 * @NUDGE_BRANCH: leave a few branches further
 */
enum nudge {
	NUDGE_NONE,
	NUDGE_DELIVER,
	NUDGE_BRANCH,
};

/**
 * struct kvmft_record - a recording
 * @engine: what it has in common with replay
 * @align_ns: how long an input waits for a synchronous exit
 * @lock: protects @queue, @since, @applying, @closing and @over
 * @queue: inputs not yet applied
 * @since: when the first of them came
 * @lost: an input found the queue full
 * @applying: the vCPU's thread has taken inputs out of the queue
 * @closing: it takes none any more
 * @over: nor does the queue
 * @timer: @align_ns have passed since @since
 * @overdue: so says @timer
 * @finish: end the log at the next boundary
 * @failed: end the recording at the next boundary; engine.reason says why
 * @nudge: see &enum nudge
 * @landed: where inputs were applied last other than at an exit
 * @changed: a register that the VMM has changed, which is not in the log yet
 * @started: the log has its beginning
 * @pages: what is left to log of the memory at the start
 * @next_page: first of those
 * @digest_seq: number of the last digest's entry
 * @gate: which writes wait for the backup before the VMM sees them
 * @output: the guest has made such a write
 * @seq: next entry's number when the guest was entered
 */
struct kvmft_record {
	struct kvmft_engine engine;
	u64 align_ns;
	raw_spinlock_t lock; /* see the top of the file */
	struct kvmft_queue queue;
	u64 since;
	bool lost;
	bool applying;
	bool closing;
	bool over;
	struct hrtimer timer;
	bool overdue;
	bool finish;
	enum kvmft_end failed;
	enum nudge nudge;
	struct kvmft_position landed;
	const char *changed;
	bool started;
	struct kvmft_pages pages;
	size_t next_page;
	u64 digest_seq;
	enum kvmft_gate gate;
	bool output;
	u64 seq;
};

static struct kvmft_record *of_engine(struct kvmft_engine *engine)
{
	return container_of(engine, struct kvmft_record, engine);
}

/* The log can not go on; the vCPU may be anywhere between two boundaries. */
static __printf(3, 4) void fail(struct kvmft_record *record, enum kvmft_end end,
				const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(record->engine.reason, sizeof(record->engine.reason), fmt, args);
	va_end(args);
	record->failed = end;
}

/* Write engine->entry.  There is space: the boundary has seen to that. */
static void put(struct kvmft_record *record, u32 state)
{
	struct kvmft_engine *engine = &record->engine;
	int len;

	if (engine->end || record->failed)
		return;
	len = kvmft_entry_encode(&engine->codec, &engine->entry, state, engine->bytes);
	if (len < 0) {
		fail(record, KVMFT_END_UNSUPPORTED,
		     "entry %llu of type %u can not be expressed (%d)", engine->codec.seq,
		     engine->entry.type, len);
		return;
	}
	if (!kvmft_log_put(engine->log, engine->bytes, len)) {
		fail(record, KVMFT_END_LOG_ERROR, "one exit filled the log's ring");
		return;
	}
	WRITE_ONCE(engine->progress.seq, engine->progress.seq + 1);
	WRITE_ONCE(engine->progress.bytes, engine->progress.bytes + len);
	trace_kvmft_entry(engine->vcpu, &engine->entry, engine->progress.seq);
}

/* The vCPU is between two instructions: what has been put is whole. */
static void publish(struct kvmft_record *record)
{
	kvmft_log_publish(record->engine.log);
	kvmft_transport_published(record->engine.transport);
}

static struct kvmft_entry *new_entry(struct kvmft_record *record, enum kvmft_entry_type type)
{
	struct kvmft_entry *entry = &record->engine.entry;

	memset(entry, 0, offsetof(struct kvmft_entry, inputs));
	entry->type = type;
	return entry;
}

static void put_checked(struct kvmft_record *record)
{
	put(record, kvmft_vcpu_hash(record->engine.vcpu));
}

/* @type: DIGEST or RESET. */
static void put_digest(struct kvmft_record *record, enum kvmft_entry_type type, bool memory)
{
	struct kvmft_engine *engine = &record->engine;
	struct kvmft_vcpu *vcpu = engine->vcpu;
	struct kvmft_entry *entry;
	struct kvmft_regs regs;
	u64 digest = 0;
	int ret;

	if (memory) {
		ret = kvmft_machine_memory(&vcpu->vm, &digest);
		if (ret)
			digest = 0;
		/* A VMM that is killed needs none. */
		if (ret && ret != -EINTR)
			fail(record, KVMFT_END_LOG_ERROR, "guest memory can not be read (%d)", ret);
	}
	kvmft_machine_regs(&vcpu->vm, vcpu->arch, &regs);
	entry = new_entry(record, type);
	entry->value = kvmft_regs_hash(&regs);
	entry->memory = digest;
	put_checked(record);
	record->digest_seq = engine->codec.seq;
	WRITE_ONCE(engine->progress.digests, engine->progress.digests + 1);
}

static void put_end(struct kvmft_record *record, enum kvmft_end why)
{
	new_entry(record, KVMFT_ENTRY_END)->value = why;
	put(record, 0);
}

/* The log's regular end. */
static void finish(struct kvmft_record *record, const char *why)
{
	put_digest(record, KVMFT_ENTRY_DIGEST, true);
	put_end(record, KVMFT_END_FINISHED);
	if (record->failed)
		kvmft_engine_end(&record->engine, record->failed, NULL);
	else
		kvmft_engine_end(&record->engine, KVMFT_END_FINISHED, "%s", why);
}

/* KVM's SRCU is held; it is let go of while waiting.  -EINTR: a signal came. */
static int wait_for_space(struct kvmft_record *record)
{
	struct kvmft_engine *engine = &record->engine;
	struct kvmft_vm *vm = &engine->vcpu->vm;
	int ret;

	publish(record);
	if (likely(kvmft_engine_may_go_on(engine)))
		return 0;
	kvmft_machine_sleep(vm);
	kvmft_transport_wake(engine->transport);
	ret = kvmft_transport_stall(engine->transport, kvmft_engine_lacks(engine),
				    kvmft_engine_may_go_on(engine) ||
				    kvmft_transport_error(engine->transport) ||
				    READ_ONCE(engine->cancelled) || READ_ONCE(engine->vcpu->live));
	kvmft_machine_wake(vm);
	return ret || READ_ONCE(engine->cancelled) || READ_ONCE(engine->vcpu->live) ? -EINTR : 0;
}

/* The machine as it is before the guest's first instruction. */
static int begin(struct kvmft_record *record)
{
	struct kvmft_engine *engine = &record->engine;
	struct kvmft_vcpu *vcpu = engine->vcpu;
	struct kvmft_entry *entry;
	struct kvmft_start *start;
	int ret;

	if (!record->pages.page) {
		if (!kvmft_engine_may_begin(engine))
			return -EINTR;
		ret = kvmft_pages_collect(&record->pages, &vcpu->vm);
		if (ret)
			return ret;
		start = kmalloc(sizeof(*start), GFP_KERNEL);
		if (!start) {
			kvmft_pages_free(&record->pages);
			return -ENOMEM;
		}
		kvmft_machine_describe(&vcpu->vm, vcpu->arch, start);
		entry = new_entry(record, KVMFT_ENTRY_START);
		entry->data = (u8 *)start;
		entry->len = sizeof(*start);
		put(record, 0);
		kfree(start);
	}
	for (; record->next_page < record->pages.nr; record->next_page++) {
		const struct kvmft_page *page = &record->pages.page[record->next_page];

		ret = wait_for_space(record);
		if (ret)
			return ret;
		entry = new_entry(record, KVMFT_ENTRY_PAGE);
		entry->addr = page->addr;
		entry->value = page->hash;
		put(record, 0);
	}
	kvmft_pages_free(&record->pages);
	record->started = true;
	return 0;
}

/* Move up to a batch of inputs from the queue into @entry. */
static void take_inputs(struct kvmft_record *record, struct kvmft_entry *entry)
{
	bool space = kvmft_log_space(record->engine.log) >=
		     KVMFT_RING_RESERVE + KVMFT_ENTRY_SIZE_MAX;
	unsigned long flags;

	raw_spin_lock_irqsave(&record->lock, flags);
	entry->nr_inputs = record->closing ? 0 : kvmft_queue_take(&record->queue, entry->inputs);
	entry->more = entry->nr_inputs && record->queue.nr && space;
	record->applying = entry->nr_inputs;
	raw_spin_unlock_irqrestore(&record->lock, flags);
}

/* The inputs taken last are with the chips. */
static void applied(struct kvmft_record *record)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&record->lock, flags);
	record->applying = false;
	raw_spin_unlock_irqrestore(&record->lock, flags);
	if (unlikely(READ_ONCE(record->closing)))
		wake_up_all(&record->engine.transport->wait);
}

static bool is_pending(const struct kvmft_record *record)
{
	return READ_ONCE(record->queue.nr) || READ_ONCE(record->finish);
}

/* Log and apply what is queued, here. */
static void apply(struct kvmft_record *record, enum kvmft_at at)
{
	struct kvmft_engine *engine = &record->engine;
	struct kvmft_vcpu *vcpu = engine->vcpu;
	struct kvmft_entry *entry;
	int i;

	hrtimer_cancel(&record->timer);
	WRITE_ONCE(record->overdue, false);
	do {
		entry = new_entry(record, KVMFT_ENTRY_BOUNDARY);
		entry->at = at;
		entry->exits = vcpu->sync_exits;
		entry->pos = vcpu->state.pos;
		entry->rip = vcpu->arch->linear_rip(vcpu->vm.vcpu);
		take_inputs(record, entry);
		kvmft_vm_look_at_timers(&vcpu->vm, entry->inputs, entry->nr_inputs);
		put_checked(record);
		for (i = 0; i < entry->nr_inputs; i++)
			kvmft_vm_apply(&vcpu->vm, &entry->inputs[i]);
		kvmft_inputs_free(entry->inputs, entry->nr_inputs);
		applied(record);
		WRITE_ONCE(engine->progress.inputs, engine->progress.inputs + i);
	} while (entry->more);
	/* What there was no space for has waited long enough. */
	if (is_pending(record))
		WRITE_ONCE(record->overdue, true);
	if (at == KVMFT_AT_POSITION) {
		record->landed = vcpu->state.pos;
		WRITE_ONCE(engine->progress.landings, engine->progress.landings + 1);
	}
	vcpu->moved = false;

	if (READ_ONCE(record->finish))
		finish(record, "finished on request");
}

static bool has_got_on(const struct kvmft_record *record)
{
	const struct kvmft_position *now = &record->engine.vcpu->state.pos, *then = &record->landed;

	/* The end comes once: it does not keep the guest from getting on. */
	return READ_ONCE(record->finish) || !record->engine.progress.landings ||
	       now->cond - then->cond + now->taken - then->taken >= PROGRESS_MIN;
}

/* What ends a recording.  True: it has ended. */
static bool has_ended(struct kvmft_record *record)
{
	struct kvmft_engine *engine = &record->engine;

	if (engine->end)
		return true;
	if (unlikely(kvmft_transport_error(engine->transport)))
		kvmft_engine_end(engine, KVMFT_END_LOG_ERROR, "%s", engine->transport->reason);
	else if (unlikely(record->failed))
		kvmft_engine_end(engine, record->failed, NULL);
	else if (unlikely(READ_ONCE(record->lost)))
		kvmft_engine_end(engine, KVMFT_END_UNSUPPORTED,
				 "more than %d interrupts came between two boundaries",
				 KVMFT_QUEUE_SIZE);
	else if (unlikely(READ_ONCE(engine->vcpu->unsupported)))
		kvmft_engine_end(engine, KVMFT_END_UNSUPPORTED, "%s", engine->vcpu->unsupported);
	return engine->end;
}

/*
 * The VMM has changed registers.  If it answers the guest's last instruction (which wrote to a
 * device, or shut down), the VMM of a replay does the same in the same place.
 */
static void put_reset(struct kvmft_record *record)
{
	struct kvmft_engine *engine = &record->engine;
	struct kvmft_vcpu *vcpu = engine->vcpu;

	if (vcpu->vm.answering)
		put_digest(record, KVMFT_ENTRY_RESET,
			   kvmft_machine_is_reset(&vcpu->vm, vcpu->arch));
	else
		kvmft_engine_end(engine, KVMFT_END_UNSUPPORTED,
				 "the VMM changed registers (%s), and the guest had not made it do so (system_reset, loadvm, ...)",
				 record->changed);
}

/* The guest may have told a network device that there are packets to send. */
static int transmit(struct kvmft_record *record)
{
	struct kvmft_engine *engine = &record->engine;
	int ret;

	if (likely(!READ_ONCE(engine->vcpu->vm.kicked)))
		return 0;
	publish(record);
	ret = engine->vcpu->owner->transmit(engine->vcpu);
	if (engine->gated)
		kvmft_transport_urge(engine->transport);
	return ret;
}

static int record_boundary(struct kvmft_vcpu *vcpu)
{
	struct kvmft_record *record = of_engine(vcpu->context);
	struct kvm_vcpu *kvm_vcpu = vcpu->vm.vcpu;
	u64 distance;
	int ret;

	record->nudge = NUDGE_NONE;
	/* A device in the kernel took it: the VMM does not get to see it. */
	record->output = false;
	record->changed = kvmft_vcpu_changed(vcpu) ?: record->changed;
	if (kvmft_machine_halted(&vcpu->vm) || has_ended(record))
		return 0;
	ret = transmit(record);
	if (!ret)
		ret = wait_for_space(record);
	if (!ret && has_ended(record))
		return 0;
	if (!ret && !record->started)
		ret = begin(record);
	else if (!ret && record->changed)
		put_reset(record);
	if (ret) {
		if (ret != -EINTR)
			kvmft_engine_end(&record->engine, KVMFT_END_LOG_ERROR,
					 "guest memory can not be read (%d)", ret);
		return -EINTR;
	}
	record->changed = NULL;
	if (vcpu->last.sync && vcpu->moved && record->engine.codec.seq > record->seq &&
	    record->engine.codec.seq - record->digest_seq >= DIGEST_INTERVAL)
		put_digest(record, KVMFT_ENTRY_DIGEST, false);

	if (!is_pending(record))
		return 0;
	if (!vcpu->moved || kvmft_machine_delivering(&vcpu->vm)) {
		record->nudge = NUDGE_DELIVER;
		return 0;
	}
	if (vcpu->last.sync) {
		apply(record, KVMFT_AT_EXIT);
	} else if (!READ_ONCE(record->overdue) && !READ_ONCE(record->finish) &&
		   ktime_get_ns() - READ_ONCE(record->since) < record->align_ns) {
		return 0;
	} else if (has_got_on(record) && kvmft_machine_stable(&vcpu->vm, vcpu->arch)) {
		apply(record, KVMFT_AT_POSITION);
	} else {
		distance = has_got_on(record) ? KVMFT_STOP_DISTANCE_MIN : PROGRESS_MIN;
		record->nudge = NUDGE_BRANCH;
		kvmft_vcpu_set_overflow(vcpu, distance, distance);
		return 0;
	}

	/* KVM is about to look at the chips anyway; an input that has just come needs another. */
	kvm_clear_request(KVM_REQ_EVENT, kvm_vcpu);
	if (is_pending(record))
		kvm_make_request(KVM_REQ_EVENT, kvm_vcpu);
	return 0;
}

static bool record_halt(struct kvmft_vcpu *vcpu)
{
	struct kvmft_record *record = of_engine(vcpu->context);
	bool applied = false;

	kvmft_machine_wake(&vcpu->vm);
	if (!has_ended(record) && is_pending(record)) {
		if (!wait_for_space(record))
			apply(record, KVMFT_AT_HALT);
		applied = true;
	}
	publish(record);
	kvmft_machine_sleep(&vcpu->vm);
	return applied;
}

static void record_enter(struct kvmft_vcpu *vcpu, struct kvmft_run *run)
{
	struct kvmft_record *record = of_engine(vcpu->context);

	run->intercept = true;
	run->immediate_exit = record->nudge == NUDGE_DELIVER;
	record->seq = record->engine.codec.seq;
}

/* May an output leave whose entry is in the log before @end?  It may, too, of one live or off. */
static bool gate_is_open(struct kvmft_record *record, u64 end)
{
	struct kvmft_engine *engine = &record->engine;

	return READ_ONCE(engine->transport->acked) >= end || READ_ONCE(engine->vcpu->live) ||
	       READ_ONCE(engine->cancelled) || engine->end == KVMFT_END_FINISHED;
}

static int record_gate(struct kvmft_vcpu *vcpu)
{
	struct kvmft_record *record = of_engine(vcpu->context);
	struct kvmft_engine *engine = &record->engine;
	u64 end;

	if (likely(!record->output))
		return 0;
	publish(record);
	end = kvmft_transport_urge(engine->transport);
	/* It may not be in the log. */
	if (has_ended(record))
		end = U64_MAX;
	if (!gate_is_open(record, end)) {
		if (!vcpu->vm.vcpu->wants_to_run ||
		    kvmft_transport_stall(engine->transport, KVMFT_STALL_OUTPUT,
					  gate_is_open(record, end)))
			return -EINTR;
	}
	record->output = false;
	return kvmft_machine_is_dead(&vcpu->vm) ? -EIO : 0;
}

/* The VMM acts on what the guest has written: that is in the log now. */
static void record_leave(struct kvmft_vcpu *vcpu)
{
	publish(of_engine(vcpu->context));
}

static void record_tsc(struct kvmft_vcpu *vcpu, u64 *value)
{
	struct kvmft_record *record = of_engine(vcpu->context);

	new_entry(record, KVMFT_ENTRY_TSC)->value = *value;
	put_checked(record);
}

/* Unless the next boundary has something to do. */
static int record_quick_tsc(struct kvmft_vcpu *vcpu, u64 *value)
{
	struct kvmft_record *record = of_engine(vcpu->context);
	struct kvmft_engine *engine = &record->engine;

	if (record->nudge != NUDGE_NONE || is_pending(record) ||
	    engine->codec.seq - record->digest_seq >= DIGEST_INTERVAL ||
	    kvmft_log_unpublished(engine->log) >= engine->transport->wake_at ||
	    !kvmft_engine_may_go_on(engine))
		return -EAGAIN;
	record_tsc(vcpu, value);
	return !engine->end && !record->failed;
}

static void record_msr(struct kvmft_vcpu *vcpu, u32 index, u64 *value)
{
	struct kvmft_record *record = of_engine(vcpu->context);
	struct kvmft_entry *entry = new_entry(record, KVMFT_ENTRY_MSR);

	entry->addr = index;
	entry->value = *value;
	put_checked(record);
}

static void put_access(struct kvmft_record *record, enum kvmft_entry_type type,
		       enum kvmft_space space, u64 addr, const void *data, u32 len)
{
	struct kvmft_entry *entry = new_entry(record, type);

	entry->space = space;
	entry->addr = addr;
	entry->data = data;
	entry->len = len;
	put_checked(record);
}

static void record_read(struct kvmft_vcpu *vcpu, enum kvmft_space space, u64 addr, void *data,
			u32 len)
{
	put_access(of_engine(vcpu->context), KVMFT_ENTRY_READ, space, addr, data, len);
}

static bool record_write(struct kvmft_vcpu *vcpu, enum kvmft_space space, u64 addr,
			 const void *data, u32 len)
{
	struct kvmft_record *record = of_engine(vcpu->context);

	put_access(record, KVMFT_ENTRY_WRITE, space, addr, data, len);
	record->output |= kvmft_gate_holds(record->gate, space, addr);
	switch (kvmft_engine_sleep(space, addr, data, len)) {
	case KVMFT_SLEEP_NONE:
		break;
	case KVMFT_SLEEP_RAM:
		kvmft_engine_end(&record->engine, KVMFT_END_UNSUPPORTED,
				 "the guest suspended its machine to RAM");
		break;
	case KVMFT_SLEEP_OFF:
		finish(record, "the guest switched its machine off");
		break;
	}
	return true;
}

/*
 * Queue all of @inputs, or none: -EAGAIN if there is no room, -ESTALE if recording is over.  The
 * queue owns their bytes then.
 */
static int queue_inputs(struct kvmft_record *record, const struct kvmft_input *inputs,
			unsigned int nr)
{
	struct kvmft_vm *vm = &record->engine.vcpu->vm;
	unsigned long flags;
	bool first, room;

	raw_spin_lock_irqsave(&record->lock, flags);
	if (record->over) {
		raw_spin_unlock_irqrestore(&record->lock, flags);
		return -ESTALE;
	}
	first = !record->queue.nr;
	if (first)
		WRITE_ONCE(record->since, ktime_get_ns());
	room = kvmft_queue_add(&record->queue, inputs, nr) ||
	       (kvmft_queue_merge(&record->queue) && kvmft_queue_add(&record->queue, inputs, nr));
	if (first && record->align_ns && !record->closing)
		hrtimer_start(&record->timer, ns_to_ktime(record->align_ns), HRTIMER_MODE_REL_HARD);
	raw_spin_unlock_irqrestore(&record->lock, flags);

	/* One call is enough for all that wait. */
	if (first && !record->align_ns)
		kvmft_machine_kick(vm);
	else if (first)
		kvmft_machine_unblock(vm);
	return room ? 0 : -EAGAIN;
}

static bool record_input(struct kvmft_vcpu *vcpu, const struct kvmft_input *input)
{
	struct kvmft_record *record = of_engine(vcpu->context);
	int ret = queue_inputs(record, input, 1);

	if (ret == -EAGAIN)
		WRITE_ONCE(record->lost, true);
	return ret != -ESTALE;
}

static enum hrtimer_restart overdue(struct hrtimer *timer)
{
	struct kvmft_record *record = container_of(timer, struct kvmft_record, timer);

	WRITE_ONCE(record->overdue, true);
	/* With a request: the boundary may just be behind the vCPU, and the guest before it. */
	kvmft_machine_kick(&record->engine.vcpu->vm);
	return HRTIMER_NORESTART;
}

static const struct kvmft_engine_ops record_ops = {
	.boundary = record_boundary,
	.halt = record_halt,
	.enter = record_enter,
	.gate = record_gate,
	.leave = record_leave,
	.quick_tsc = record_quick_tsc,
	.tsc = record_tsc,
	.msr = record_msr,
	.read = record_read,
	.write = record_write,
	.input = record_input,
};

struct kvmft_engine *kvmft_record_start(struct kvmft_vcpu *vcpu, struct kvmft_transport *transport,
					u32 align_us, enum kvmft_gate gate)
{
	struct kvmft_record *record;
	int ret;

	record = kvmft_engine_alloc(sizeof(*record), KVMFT_MODE_RECORD, vcpu, transport);
	if (!record)
		return ERR_PTR(-ENOMEM);
	record->align_ns = align_us * (u64)NSEC_PER_USEC;
	record->gate = gate;
	record->engine.gated = gate != KVMFT_GATE_NONE;
	raw_spin_lock_init(&record->lock);
	hrtimer_init(&record->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	record->timer.function = overdue;

	ret = kvmft_vcpu_set_engine(vcpu, &record_ops, &record->engine);
	if (!ret)
		return &record->engine;
	kvmft_transport_close(transport);
	kvmft_engine_free(&record->engine);
	return ERR_PTR(ret);
}

/* The next inputs for the chips; 0: there are none, and will be none. */
static unsigned int take_last(struct kvmft_record *record, struct kvmft_input *inputs)
{
	unsigned long flags;
	unsigned int nr;

	raw_spin_lock_irqsave(&record->lock, flags);
	nr = kvmft_queue_take(&record->queue, inputs);
	record->over = !nr;
	raw_spin_unlock_irqrestore(&record->lock, flags);
	return nr;
}

/**
 * struct flush - what is left in the queue goes to the chips
 * @work: by a kernel thread: the caller may be any process
 * @record: whose
 * @gone: nobody gets them: KVM destroys the VM, and has freed its table of interrupt lines
 */
struct flush {
	struct work_struct work;
	struct kvmft_record *record;
	bool gone;
};

static void flush_work_fn(struct work_struct *work)
{
	const struct flush *flush = container_of(work, struct flush, work);
	struct kvmft_record *record = flush->record;
	struct kvmft_vm *vm = &record->engine.vcpu->vm;
	struct mm_struct *mm = kvmft_machine_use_mm(vm);
	struct kvmft_input inputs[KVMFT_BATCH_MAX];
	unsigned int nr, i;
	bool timer = false;

	while ((nr = take_last(record, inputs))) {
		for (i = 0; i < nr && !flush->gone; i++) {
			if (inputs[i].type == KVMFT_INPUT_TIMER)
				timer = true;
			else
				kvmft_vm_flush(vm, &inputs[i]);
		}
		kvmft_inputs_free(inputs, nr);
	}
	/* Whose hook would queue it again. */
	if (timer)
		kvmft_vm_flush(vm, &(struct kvmft_input) { .type = KVMFT_INPUT_TIMER });
	kvmft_machine_unuse_mm(mm);
}

/* The VM may be gone as soon as this returns: its last hooked calls are elsewhere. */
void kvmft_record_cancel(struct kvmft_engine *engine, bool gone)
{
	struct kvmft_record *record = of_engine(engine);
	struct flush flush = { .record = record, .gone = gone };
	unsigned long flags;

	raw_spin_lock_irqsave(&record->lock, flags);
	record->closing = true;
	raw_spin_unlock_irqrestore(&record->lock, flags);
	hrtimer_cancel(&record->timer);
	kvmft_engine_cancel(engine);

	wait_event(engine->transport->wait, !READ_ONCE(record->applying));
	INIT_WORK_ONSTACK(&flush.work, flush_work_fn);
	queue_work(system_unbound_wq, &flush.work);
	flush_work(&flush.work);
	destroy_work_on_stack(&flush.work);
}

int kvmft_record_close(struct kvmft_engine *engine, enum kvmft_end why)
{
	struct kvmft_record *record = of_engine(engine);

	if (!engine->end && record->started && why)
		put_end(record, why);
	publish(record);
	kvmft_pages_free(&record->pages);
	return kvmft_transport_close(engine->transport);
}

int kvmft_record_input(struct kvmft_engine *engine, const struct kvmft_session_input *input,
		       const void *data)
{
	struct kvmft_input inputs[INPUTS_MAX];
	int nr, ret;

	if (!kvmft_machine_has_memory(&engine->vcpu->vm, input->addr, input->len))
		return -ERANGE;
	nr = kvmft_inputs_cut(inputs, INPUTS_MAX, input->addr, data, input->len);
	if (nr < 0)
		return nr;
	nr += kvmft_vm_interrupt(input, &inputs[nr]);
	ret = queue_inputs(of_engine(engine), inputs, nr);
	if (ret)
		kvmft_inputs_free(inputs, nr);
	return ret;
}

int kvmft_record_dma(struct kvmft_engine *engine, const struct kvmft_input *inputs, unsigned int nr)
{
	return queue_inputs(of_engine(engine), inputs, nr);
}

void kvmft_record_finish(struct kvmft_engine *engine)
{
	WRITE_ONCE(of_engine(engine)->finish, true);
	kvmft_machine_kick(&engine->vcpu->vm);
}
