// SPDX-License-Identifier: GPL-2.0
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitfield.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/unaligned.h>

#include "engine.h"
#include "machine.h"

#define PAGES_AT_FIRST		4096

void *kvmft_engine_alloc(size_t size, enum kvmft_mode mode, struct kvmft_vcpu *vcpu,
			 struct kvmft_transport *transport)
{
	struct kvmft_engine *engine = kvzalloc(size, GFP_KERNEL_ACCOUNT);

	if (!engine) {
		kvmft_transport_close(transport);
		kvmft_transport_free(transport);
		return NULL;
	}
	engine->mode = mode;
	engine->vcpu = vcpu;
	engine->transport = transport;
	engine->log = &transport->log;
	transport->id = vcpu->id;
	transport->seq = &engine->progress.seq;
	kvmft_codec_init(&engine->codec);
	return engine;
}

void kvmft_engine_free(struct kvmft_engine *engine)
{
	kvmft_transport_free(engine->transport);
	kvfree(engine);
}

void kvmft_engine_cancel(struct kvmft_engine *engine)
{
	WRITE_ONCE(engine->cancelled, true);
	kvmft_transport_wake(engine->transport);
}

void kvmft_engine_go_live(struct kvmft_engine *engine)
{
	WRITE_ONCE(engine->live, true);
	kvmft_transport_wake(engine->transport);
}

void kvmft_engine_end(struct kvmft_engine *engine, enum kvmft_end end, const char *fmt, ...)
{
	va_list args;

	if (engine->end)
		return;
	if (fmt) {
		va_start(args, fmt);
		vsnprintf(engine->reason, sizeof(engine->reason), fmt, args);
		va_end(args);
	}
	engine->end = end;
	engine->vcpu->owner->ended(engine->vcpu, end);
}

bool kvmft_engine_may_begin(struct kvmft_engine *engine)
{
	const char *reason = kvmft_machine_begin(&engine->vcpu->vm, engine->vcpu->arch);

	if (reason)
		kvmft_engine_end(engine, KVMFT_END_UNSUPPORTED, "%s", reason);
	return !reason;
}

bool kvmft_engine_may_go_on(const struct kvmft_engine *engine)
{
	u64 lag_max = READ_ONCE(engine->lag_max);

	return kvmft_log_space(engine->log) >= KVMFT_RING_RESERVE && (likely(!lag_max) ||
	       engine->progress.seq <= READ_ONCE(engine->transport->peer_seq) + lag_max);
}

enum kvmft_stall kvmft_engine_lacks(const struct kvmft_engine *engine)
{
	return kvmft_log_space(engine->log) < KVMFT_RING_RESERVE ? KVMFT_STALL_LOG :
								   KVMFT_STALL_LAG;
}

static int note_page(void *ctx, u64 addr, u64 hash)
{
	struct kvmft_pages *pages = ctx;

	if (pages->nr == pages->max) {
		void *more = kvrealloc(pages->page, 2 * pages->max * sizeof(*pages->page),
				       GFP_KERNEL_ACCOUNT);

		if (!more)
			return -ENOMEM;
		pages->page = more;
		pages->max *= 2;
	}
	pages->page[pages->nr++] = (struct kvmft_page) { .addr = addr, .hash = hash };
	return 0;
}

int kvmft_pages_collect(struct kvmft_pages *pages, struct kvmft_vm *vm)
{
	int ret;

	pages->nr = 0;
	pages->max = PAGES_AT_FIRST;
	pages->page = kvmalloc_array(pages->max, sizeof(*pages->page), GFP_KERNEL_ACCOUNT);
	if (!pages->page)
		return -ENOMEM;
	ret = kvmft_machine_pages(vm, note_page, pages);
	if (ret)
		kvmft_pages_free(pages);
	return ret;
}

void kvmft_pages_free(struct kvmft_pages *pages)
{
	kvfree(pages->page);
	memset(pages, 0, sizeof(*pages));
}

/* A write to PM1 control. */
static enum kvmft_sleep pm1_sleep(u16 pm1)
{
	if (!(pm1 & KVMFT_PM1_SLP_EN))
		return KVMFT_SLEEP_NONE;
	switch (FIELD_GET(KVMFT_PM1_SLP_TYP, pm1)) {
	case KVMFT_PM1_SLP_TYP_S5:
	case KVMFT_PM1_SLP_TYP_S4:
		return KVMFT_SLEEP_OFF;
	case KVMFT_PM1_SLP_TYP_S3:
		return KVMFT_SLEEP_RAM;
	default:
		return KVMFT_SLEEP_NONE;
	}
}

/* ... and to sleep control. */
static enum kvmft_sleep control_sleep(u8 control)
{
	return control & KVMFT_SLEEP_CTL_SLP_EN &&
	       FIELD_GET(KVMFT_SLEEP_CTL_SLP_TYP, control) == KVMFT_SLEEP_CTL_S5 ?
	       KVMFT_SLEEP_OFF : KVMFT_SLEEP_NONE;
}

enum kvmft_sleep kvmft_engine_sleep(enum kvmft_space space, u64 addr, const void *data, u32 len)
{
	if (space == KVMFT_SPACE_MEMORY && addr == KVMFT_ADDR_SLEEP_CTL && len == 1)
		return control_sleep(*(u8 *)data);
	if (space == KVMFT_SPACE_PORT && addr == KVMFT_PORT_PM1A_CNT && len == 2)
		return pm1_sleep(get_unaligned_le16(data));
	return KVMFT_SLEEP_NONE;
}
