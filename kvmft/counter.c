// SPDX-License-Identifier: GPL-2.0
/*
 * Perf owns the counters; this file reads and re-arms them between two entries
 * of the guest with interrupts off, calling the PMU's own methods as perf does.
 *
 * An overflow is a non-maskable interrupt.  On SVM it is taken at STGI inside
 * svm_vcpu_run(), so its handler has run when the counters are read after an exit; with
 * skid it can also arrive later, in the host.
 */
#include <linux/bits.h>
#include <linux/err.h>
#include <linux/sched.h>

#include "counter.h"

/* Never reached; inside the range of a 48 bit counter that perf uses (47 bits). */
#define PERIOD_IDLE	BIT_ULL(46)

static void overflow(struct perf_event *event, struct perf_sample_data *data,
		     struct pt_regs *regs)
{
	struct kvmft_counter *counter = event->overflow_handler_context;

	atomic_inc(&counter->interrupts);
}

static struct perf_event *open_event(u64 event, u64 period, struct kvmft_counter *counter)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_RAW,
		.size = sizeof(attr),
		.config = event,
		.sample_period = period,
		.pinned = 1,
		.exclude_host = 1,
	};

	return perf_event_create_kernel_counter(&attr, -1, current, counter ? overflow : NULL,
						counter);
}

/* Is @event on the PMU of this CPU, so that its count can be read and set? */
static bool is_active(const struct perf_event *event)
{
	return READ_ONCE(event->state) == PERF_EVENT_STATE_ACTIVE &&
	       READ_ONCE(event->oncpu) == smp_processor_id();
}

struct perf_event *kvmft_counter_open_event(u64 event)
{
	struct perf_event *ev = open_event(event, 0, NULL);
	bool active;

	if (IS_ERR(ev))
		return ev;
	preempt_disable();
	active = is_active(ev);
	preempt_enable();
	if (!active) {
		perf_event_release_kernel(ev);
		return ERR_PTR(-EBUSY);
	}
	return ev;
}

int kvmft_counter_open(struct kvmft_counter *counter, u64 cond, u64 taken)
{
	struct perf_event *ev;
	bool active;

	atomic_set(&counter->interrupts, 0);

	ev = open_event(cond, PERIOD_IDLE, counter);
	if (IS_ERR(ev))
		return PTR_ERR(ev);
	counter->cond = ev;

	ev = open_event(taken, PERIOD_IDLE, counter);
	if (IS_ERR(ev)) {
		perf_event_release_kernel(counter->cond);
		return PTR_ERR(ev);
	}
	counter->taken = ev;
	counter->thread = current;

	preempt_disable();
	active = kvmft_counter_active(counter);
	preempt_enable();
	if (!active) {
		kvmft_counter_close(counter);
		return -EBUSY;
	}
	return 0;
}

void kvmft_counter_close(struct kvmft_counter *counter)
{
	if (!counter->thread)
		return;
	counter->thread = NULL;
	perf_event_release_kernel(counter->taken);
	perf_event_release_kernel(counter->cond);
}

bool kvmft_counter_active(const struct kvmft_counter *counter)
{
	return counter->thread == current && is_active(counter->cond) && is_active(counter->taken);
}

static u64 read_event(struct perf_event *event)
{
	event->pmu->read(event);
	return local64_read(&event->count);
}

void kvmft_counter_read(struct kvmft_counter *counter, struct kvmft_position_raw *raw)
{
	raw->cond = read_event(counter->cond);
	raw->taken = read_event(counter->taken);
}

/* @left events until the next overflow. */
static void restart(struct perf_event *event, u64 left)
{
	struct hw_perf_event *hw = &event->hw;

	event->pmu->stop(event, PERF_EF_UPDATE);
	local64_set(&hw->period_left, left);
	/* What perf's rate limit looks at. */
	hw->interrupts = 0;
	event->pmu->start(event, PERF_EF_RELOAD);
}

void kvmft_counter_arm(struct perf_event *event, u64 distance)
{
	restart(event, min_t(u64, distance, PERIOD_IDLE));
}

static void unthrottle(struct perf_event *event)
{
	struct hw_perf_event *hw = &event->hw;

	if (unlikely(hw->state & PERF_HES_STOPPED))
		restart(event, local64_read(&hw->period_left));
	hw->interrupts = 0;
}

void kvmft_counter_unthrottle(struct kvmft_counter *counter)
{
	unthrottle(counter->cond);
	unthrottle(counter->taken);
}

unsigned int kvmft_counter_interrupts(struct kvmft_counter *counter)
{
	return atomic_xchg(&counter->interrupts, 0);
}
