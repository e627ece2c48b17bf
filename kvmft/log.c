// SPDX-License-Identifier: GPL-2.0
#include <linux/minmax.h>
#include <linux/string.h>
#include <asm/barrier.h>

#include "log.h"

void kvmft_log_init(struct kvmft_log *log, u8 *buf, size_t size)
{
	*log = (struct kvmft_log){ .buf = buf, .size = size };
}

/* How many of @len bytes come before the end of the memory, from byte @at of the log on. */
static size_t until_wrap(const struct kvmft_log *log, u64 at, size_t len)
{
	return min(len, log->size - (size_t)(at & (log->size - 1)));
}

static u8 *place(const struct kvmft_log *log, u64 at)
{
	return log->buf + (at & (log->size - 1));
}

size_t kvmft_log_space(const struct kvmft_log *log)
{
	/* Pairs with kvmft_log_consume(): what was in the space has been read. */
	return log->size - (size_t)(log->put - smp_load_acquire(&log->tail));
}

bool kvmft_log_put(struct kvmft_log *log, const u8 *bytes, size_t len)
{
	size_t first = until_wrap(log, log->put, len);

	if (len > kvmft_log_space(log))
		return false;
	memcpy(place(log, log->put), bytes, first);
	memcpy(log->buf, bytes + first, len - first);
	log->put += len;
	return true;
}

void kvmft_log_publish(struct kvmft_log *log)
{
	/* Pairs with kvmft_log_used(). */
	smp_store_release(&log->head, log->put);
}

size_t kvmft_log_unpublished(const struct kvmft_log *log)
{
	return log->put - log->head;
}

size_t kvmft_log_used(const struct kvmft_log *log)
{
	/* Pairs with kvmft_log_publish(): the bytes are there. */
	return smp_load_acquire(&log->head) - log->tail;
}

size_t kvmft_log_peek(const struct kvmft_log *log, u8 *bytes, size_t len)
{
	size_t first;

	len = min(len, kvmft_log_used(log));
	first = until_wrap(log, log->tail, len);
	memcpy(bytes, place(log, log->tail), first);
	memcpy(bytes + first, log->buf, len - first);
	return len;
}

void kvmft_log_consume(struct kvmft_log *log, size_t len)
{
	/* Pairs with kvmft_log_space(). */
	smp_store_release(&log->tail, log->tail + len);
}
