// SPDX-License-Identifier: GPL-2.0
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/sprintf.h>

#include "transport.h"

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
	return 0;
}

int kvmft_transport_close(struct kvmft_transport *transport)
{
	/* Pairs with the threads: what was put before is seen. */
	smp_store_release(&transport->stop, true);
	wake_up_all(&transport->wait);
	return transport->ops->close(transport);
}

void kvmft_transport_free(struct kvmft_transport *transport)
{
	kvfree(transport->log.buf);
	kvfree(transport);
}

int kvmft_transport_fail(struct kvmft_transport *transport, int error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(transport->reason, sizeof(transport->reason), fmt, args);
	va_end(args);
	/* Pairs with kvmft_transport_error(): then the reason is complete. */
	smp_store_release(&transport->error, error);
	wake_up_all(&transport->wait);
	return error;
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
