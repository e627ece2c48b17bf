// SPDX-License-Identifier: GPL-2.0
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/sprintf.h>

#include "trace.h"
#include "transport.h"

static const u64 no_entries;

int kvmft_transport_init(struct kvmft_transport *transport, const struct kvmft_transport_ops *ops,
			 size_t size)
{
	u8 *ring = kvmalloc(size, GFP_KERNEL_ACCOUNT);

	if (!ring)
		return -ENOMEM;
	memset(transport, 0, sizeof(*transport));
	transport->ops = ops;
	kvmft_log_init(&transport->log, ring, size);
	init_waitqueue_head(&transport->wait);
	spin_lock_init(&transport->lock);
	transport->seq = &no_entries;
	return 0;
}

int kvmft_transport_close(struct kvmft_transport *transport)
{
	/* Pairs with the threads: what was put before is seen. */
	smp_store_release(&transport->stop, true);
	wake_up_all(&transport->wait);
	return transport->ops->close(transport);
}

void kvmft_transport_end(struct kvmft_transport *transport, u32 why, const char *text)
{
	if (transport->ops->end)
		transport->ops->end(transport, why, text);
}

void kvmft_transport_free(struct kvmft_transport *transport)
{
	kvfree(transport->log.buf);
	kvfree(transport);
}

int kvmft_transport_fail(struct kvmft_transport *transport, int error, const char *fmt, ...)
{
	va_list args;

	spin_lock(&transport->lock);
	if (!transport->error) {
		va_start(args, fmt);
		vsnprintf(transport->reason, sizeof(transport->reason), fmt, args);
		va_end(args);
		/* Pairs with kvmft_transport_error(): then the reason is complete. */
		smp_store_release(&transport->error, error);
		if (transport->notify)
			queue_work(system_unbound_wq, transport->notify);
	}
	spin_unlock(&transport->lock);
	wake_up_all(&transport->wait);
	return error;
}

void kvmft_transport_wait_for_space(struct kvmft_transport *transport, size_t len)
{
	WRITE_ONCE(transport->wanted, len);
	/* Its barrier pairs with kvmft_transport_consumed(). */
	wait_event_idle(transport->wait, READ_ONCE(transport->stop) ||
			kvmft_log_space(&transport->log) >= len);
	WRITE_ONCE(transport->wanted, 0);
}

void kvmft_transport_consumed(struct kvmft_transport *transport)
{
	size_t wanted;

	/* Pairs with kvmft_transport_wait_for_space(): either side sees what the other did. */
	smp_mb();
	wanted = READ_ONCE(transport->wanted);
	if (wanted && kvmft_log_space(&transport->log) >= wanted)
		wake_up_all(&transport->wait);
}

void kvmft_transport_published(struct kvmft_transport *transport)
{
	/* Pairs with who sets @idle, and with @flush: either side sees what the other did. */
	smp_mb();
	if (READ_ONCE(transport->idle) || kvmft_log_used(&transport->log) >= transport->wake_at)
		wake_up_all(&transport->wait);
	if (transport->flush && !timer_pending(transport->flush))
		mod_timer(transport->flush, jiffies + transport->flush_delay);
}

u64 kvmft_transport_urge(struct kvmft_transport *transport)
{
	u64 head = transport->log.head;

	WRITE_ONCE(transport->urgent, head);
	if (!transport->ops->send_now || !transport->ops->send_now(transport))
		wake_up_all(&transport->wait);
	return head;
}

void kvmft_transport_stall_begin(const struct kvmft_transport *transport, enum kvmft_stall why)
{
	trace_kvmft_stall_begin(transport->id, why);
}

void kvmft_transport_stall_end(const struct kvmft_transport *transport, enum kvmft_stall why,
			       int ret)
{
	trace_kvmft_stall_end(transport->id, why, ret);
}

void kvmft_transport_notify(struct kvmft_transport *transport, struct work_struct *work)
{
	spin_lock(&transport->lock);
	transport->notify = work;
	if (transport->error)
		queue_work(system_unbound_wq, work);
	spin_unlock(&transport->lock);
}

int kvmft_transport_error(const struct kvmft_transport *transport)
{
	/* Pairs with kvmft_transport_fail(). */
	return smp_load_acquire(&transport->error);
}

void kvmft_transport_wake(struct kvmft_transport *transport)
{
	wake_up_all(&transport->wait);
}
