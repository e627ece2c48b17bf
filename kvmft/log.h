/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The log ring: bytes of whole entries on their way between one producer and one
 * consumer, two threads that may run at the same time.  The consumer sees what the producer
 * has published: what belongs together it publishes together.
 *
 * Pure: no waiting here.  Who finds too little space, or too few bytes, sleeps on a wait
 * queue of its own and is woken by the other side.
 *
 * Memory ordering: the producer puts bytes, then publishes @head with release; the
 * consumer reads @head with acquire, then the bytes; it gives them back by
 * publishing @tail with release, which the producer reads with acquire before it writes over
 * them.  Each index has one writer.
 */
#ifndef _KVMFT_LOG_H
#define _KVMFT_LOG_H

#include <linux/types.h>

/**
 * struct kvmft_log - a ring
 * @buf: its memory
 * @size: bytes of it, a power of two
 * @put: bytes ever put; the producer's own
 * @head: bytes ever published
 * @tail: bytes ever consumed
 */
struct kvmft_log {
	u8 *buf;
	size_t size;
	u64 put;
	u64 head;
	u64 tail;
};

void kvmft_log_init(struct kvmft_log *log, u8 *buf, size_t size);

/* Producer. */
size_t kvmft_log_space(const struct kvmft_log *log);
/* False, and nothing is put, when there is less space than @len. */
bool kvmft_log_put(struct kvmft_log *log, const u8 *bytes, size_t len);
void kvmft_log_publish(struct kvmft_log *log);

/* Bytes that wait to be published. */
size_t kvmft_log_unpublished(const struct kvmft_log *log);

/* Consumer. */
size_t kvmft_log_used(const struct kvmft_log *log);
/* Copy up to @len bytes without consuming them; returns how many. */
size_t kvmft_log_peek(const struct kvmft_log *log, u8 *bytes, size_t len);
/* @len must not be more than kvmft_log_used(). */
void kvmft_log_consume(struct kvmft_log *log, size_t len);

#endif /* _KVMFT_LOG_H */
