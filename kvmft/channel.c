// SPDX-License-Identifier: GPL-2.0
/*
 * Two threads at each end.  The sender (sender.c) sends: entries (primary), marks, farewell.  The
 * receiver alone receives: it fills the ring (backup), or empties it as the backup acknowledges
 * (primary).  What a primary's output waits for is not the sender's, unless that would have others
 * wait: the vCPU's thread sends the entries, the backup's receiver a mark for what it has put
 * into the ring, and the primary's receiver lets packets leave.  Who hears of it is all that is
 * woken.
 *
 * Zero copy: TCP gets the ring's pages.  What has been sent stays in the ring until the backup
 * has acknowledged it; by then TCP here has seen that all of it arrived, and does not look at
 * the pages again for anything that a receiver would take.
 *
 * The backup acknowledges what is in its ring.  It takes a message only when there is room for
 * it; meanwhile TCP holds the rest back, and a primary whose ring is full waits.  All that is
 * published at once travels in one message: the backup's replay never sees half an instruction.
 *
 * A peer is silent when no valid message came from it for the time-out; while this side keeps
 * it from sending, it is not.  A backup stands still when for the time-out it neither took
 * anything nor replayed, and the guest waited for it: its threads may live, but its VMM does not.
 *
 * Locking: send_lock is around each message that is sent.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <net/sock.h>

#include "channel.h"
#include "checksum.h"
#include "entry.h"
#include "hello.h"
#include "sender.h"
#include "tcp.h"
#include "trace.h"

#define fail(ch, ...)	kvmft_transport_fail(&(ch)->transport, __VA_ARGS__)

/*
 * Receiving.
 */
static int receive_all(struct kvmft_channel *ch, void *buf, size_t len)
{
	int ret;

	while (len) {
		struct kvec vec = { .iov_base = buf, .iov_len = len };
		struct msghdr msg = { .msg_flags = MSG_WAITALL | MSG_NOSIGNAL };

		ret = kernel_recvmsg(ch->sock, &msg, &vec, 1, len, msg.msg_flags);
		if (READ_ONCE(ch->closing))
			return -ESHUTDOWN;
		if (ret > 0) {
			buf += ret;
			len -= ret;
		} else if (!ret) {
			return fail(ch, -ECONNRESET, "the %s has closed the connection",
				    kvmft_peer_name(ch));
		} else if (ret != -EAGAIN) {
			return fail(ch, ret, "the connection to the %s broke (error %d)",
				    kvmft_peer_name(ch), ret);
		}
		if (time_after(jiffies, ch->heard + ch->timeout))
			return fail(ch, -ETIMEDOUT, "the %s has been silent for %u ms",
				    kvmft_peer_name(ch), jiffies_to_msecs(ch->timeout));
	}
	return 0;
}

static int refuse(struct kvmft_channel *ch, int error)
{
	return fail(ch, error, "message %llu from the %s: %s", ch->in, kvmft_peer_name(ch),
		    kvmft_wire_error(error));
}

static int take_hello(struct kvmft_channel *ch)
{
	const struct kvmft_wire_hello *hello = (struct kvmft_wire_hello *)ch->payload;
	const char *why;
	char text[128];
	int ret;

	if (kvmft_wire_hello_differ(&ch->hello, hello, text, sizeof(text)))
		return fail(ch, -EPROTO, "%s", text);
	ret = ch->accept ? ch->accept(ch->accept_arg, hello->instance, &why) : 0;
	if (ret)
		return fail(ch, ret, "no arbiter: %s", why);
	WRITE_ONCE(ch->greeted, true);
	return 0;
}

static int take_entries(struct kvmft_channel *ch, u32 len)
{
	const struct kvmft_wire_entries *entries = (struct kvmft_wire_entries *)ch->payload;
	struct kvmft_transport *t = &ch->transport;

	len -= sizeof(*entries);
	if (le64_to_cpu(entries->at) != t->log.put)
		return refuse(ch, -EILSEQ);
	kvmft_transport_wait_for_space(t, len);
	if (!kvmft_log_put(&t->log, ch->payload + sizeof(*entries), len))
		return -ESHUTDOWN;
	kvmft_log_publish(&t->log);
	return 0;
}

/* Primary: the backup says that it has so many bytes, and replayed so many entries. */
static bool stands_still(struct kvmft_channel *ch, u64 bytes, u64 seq)
{
	const struct kvmft_transport *t = &ch->transport;
	bool advanced = bytes != t->acked || seq != t->peer_seq;

	if (advanced)
		WRITE_ONCE(ch->advanced, jiffies);
	if (advanced || !READ_ONCE(t->stalled))
		ch->moved = jiffies;
	return time_after(jiffies, ch->moved + ch->timeout);
}

/* How far both sides are, in entries: the primary, and the backup. */
static void places(const struct kvmft_channel *ch, u64 *ahead, u64 *behind)
{
	*ahead = READ_ONCE(*ch->transport.seq);
	*behind = READ_ONCE(ch->transport.peer_seq);
	if (!kvmft_is_primary(ch))
		swap(*ahead, *behind);
}

static int take_mark(struct kvmft_channel *ch)
{
	const struct kvmft_wire_mark *mark = (struct kvmft_wire_mark *)ch->payload;
	struct kvmft_log *log = &ch->transport.log;
	u64 bytes = le64_to_cpu(mark->bytes), seq = le64_to_cpu(mark->seq), ahead, behind;

	if (kvmft_is_primary(ch) && stands_still(ch, bytes, seq))
		return fail(ch, -ETIMEDOUT,
			    "the backup has stood still for %u ms, and kept the guest waiting",
			    jiffies_to_msecs(ch->timeout));
	WRITE_ONCE(ch->transport.peer_seq, seq);
	places(ch, &ahead, &behind);
	kvmft_lag_update(&ch->lag, ahead, behind, ktime_get_ns());
	trace_kvmft_mark(ch->transport.id,
			 kvmft_is_primary(ch) ? KVMFT_ROLE_PRIMARY : KVMFT_ROLE_BACKUP,
			 READ_ONCE(*ch->transport.seq), seq, bytes);
	if (!kvmft_is_primary(ch)) {
		WRITE_ONCE(ch->transport.released, le64_to_cpu(mark->released));
		return 0;
	}
	if (bytes < log->tail || bytes > READ_ONCE(ch->sent))
		return fail(ch, -EPROTO, "the backup acknowledges byte %llu of %llu", bytes,
			    READ_ONCE(ch->sent));
	kvmft_log_consume(log, bytes - log->tail);
	WRITE_ONCE(ch->transport.acked, bytes);
	return 0;
}

static int take_bye(struct kvmft_channel *ch, u32 len)
{
	const struct kvmft_wire_bye *bye = (struct kvmft_wire_bye *)ch->payload;
	u32 reason = le32_to_cpu(bye->reason);

	WRITE_ONCE(ch->left, true);
	/* A backup can not have finished a log that has no end. */
	if (reason == KVMFT_END_FINISHED && (!kvmft_is_primary(ch) || kvmft_has_end(ch)))
		return 1;
	/* It answers a farewell, and has all. */
	if (kvmft_is_primary(ch) && READ_ONCE(ch->gone) &&
	    ch->transport.acked == READ_ONCE(ch->sent))
		return 1;
	return fail(ch, ch->greeted ? -ESHUTDOWN : -EPROTO, "the %s gives up: %.*s",
		    kvmft_peer_name(ch), (int)(len - sizeof(*bye)), (const char *)(bye + 1));
}

/* One message.  1: it was the last. */
static int receive(struct kvmft_channel *ch)
{
	struct kvmft_wire_header header;
	int len, ret;

	ret = receive_all(ch, &header, sizeof(header));
	if (ret)
		return ret;
	len = kvmft_wire_check(&header, ch->peer, ch->in);
	if (len < 0)
		return refuse(ch, len);
	ret = receive_all(ch, ch->payload, len);
	if (ret)
		return ret;
	ret = kvmft_wire_check_payload(&header, ch->payload);
	if (ret)
		return refuse(ch, ret);
	switch (le16_to_cpu(header.type)) {
	case KVMFT_WIRE_HELLO:
		ret = take_hello(ch);
		break;
	case KVMFT_WIRE_ENTRIES:
		ret = take_entries(ch, len) ?: kvmft_acknowledge(ch);
		break;
	case KVMFT_WIRE_MARK:
		ret = take_mark(ch);
		break;
	case KVMFT_WIRE_BYE:
		ret = take_bye(ch, len);
		break;
	}
	ch->in++;
	ch->heard = jiffies;
	kvmft_transport_wake(&ch->transport);
	/* What has waited for that leaves here: nobody else has to be woken. */
	if (le16_to_cpu(header.type) == KVMFT_WIRE_MARK && ch->acked)
		ch->acked(&ch->transport);
	return ret;
}

static int receive_thread(void *data)
{
	struct kvmft_channel *ch = data;
	struct kvmft_transport *t = &ch->transport;

	while (!receive(ch))
		;
	/* Pairs with the replay's fetch(): all of it is in the ring. */
	smp_store_release(&t->ended, true);
	wake_up_all(&t->wait);
	wait_event_idle(t->wait, READ_ONCE(t->stop));
	return 0;
}

/*
 * Opening and closing.
 */
static struct kvmft_channel *of_transport(struct kvmft_transport *transport)
{
	return container_of(transport, struct kvmft_channel, transport);
}

static void stop_thread(struct task_struct *thread)
{
	if (IS_ERR_OR_NULL(thread))
		return;
	kthread_stop(thread);
	put_task_struct(thread);
}

static int close_channel(struct kvmft_transport *transport)
{
	struct kvmft_channel *ch = of_transport(transport);

	timer_shutdown_sync(&ch->flush);
	stop_thread(ch->sender);
	WRITE_ONCE(ch->closing, true);
	kernel_sock_shutdown(ch->sock, SHUT_RDWR);
	stop_thread(ch->receiver);
	sockfd_put(ch->sock);
	kvfree(ch->payload);
	return transport->error;
}

/* The session is over here: the peer has to know why. */
static void end(struct kvmft_transport *transport, u32 why, const char *text)
{
	struct kvmft_channel *ch = of_transport(transport);

	if (ch->end)
		return;
	strscpy(ch->text, text, sizeof(ch->text));
	/* Pairs with kvmft_has_end(). */
	smp_store_release(&ch->end, why);
	wake_up_all(&transport->wait);
}

static const struct kvmft_transport_ops channel_ops = {
	.close = close_channel,
	.end = end,
	.send_now = kvmft_send_now,
};

static struct task_struct *run(int (*thread)(void *), struct kvmft_channel *ch, const char *name)
{
	struct task_struct *task = kthread_run(thread, ch, "%s", name);

	if (!IS_ERR(task))
		get_task_struct(task);
	return task;
}

/* Takes over the reference to the socket's file. */
static struct kvmft_channel *make(struct socket *sock, const struct kvmft_channel_config *config)
{
	struct kvmft_channel *ch = kvzalloc(sizeof(*ch), GFP_KERNEL_ACCOUNT);

	if (!ch)
		return NULL;
	if (kvmft_transport_init(&ch->transport, &channel_ops, KVMFT_CHANNEL_RING))
		goto free;
	ch->payload = kvmalloc(KVMFT_WIRE_LEN_MAX, GFP_KERNEL_ACCOUNT);
	if (!ch->payload)
		goto free_transport;
	ch->transport.wake_at = KVMFT_SEND_SIZE;
	ch->sock = sock;
	ch->peer = config->role == KVMFT_ROLE_PRIMARY ? KVMFT_ROLE_BACKUP : KVMFT_ROLE_PRIMARY;
	ch->heartbeat = msecs_to_jiffies(config->heartbeat_ms);
	ch->timeout = msecs_to_jiffies(config->timeout_ms);
	init_completion(&ch->running);
	mutex_init(&ch->send_lock);
	ch->heard = jiffies;
	ch->advanced = jiffies;
	ch->moved = jiffies;
	ch->marked_at = jiffies;
	kvmft_hello(&ch->hello, config);
	ch->accept = config->accept;
	ch->accept_arg = config->accept_arg;
	ch->acked = config->acked;
	timer_setup(&ch->flush, kvmft_send_due, 0);
	if (kvmft_is_primary(ch)) {
		ch->transport.flush = &ch->flush;
		ch->transport.flush_delay = KVMFT_SEND_DELAY;
	}

	kvmft_tcp_set_up(sock, ch->heartbeat, ch->timeout);
	return ch;

free_transport:
	kvmft_transport_free(&ch->transport);
	return NULL;
free:
	kvfree(ch);
	return NULL;
}

struct kvmft_transport *kvmft_channel_open(struct socket *sock,
					   const struct kvmft_channel_config *config)
{
	struct kvmft_transport *t;
	struct kvmft_channel *ch;
	long ret;

	if (!kvmft_tcp_is_connected(sock))
		return ERR_PTR(-EINVAL);
	ch = make(sock, config);
	if (!ch)
		return ERR_PTR(-ENOMEM);
	get_file(sock->file);
	t = &ch->transport;
	ch->sender = run(kvmft_send_thread, ch, "kvmft-send");
	ret = PTR_ERR_OR_ZERO(ch->sender);
	if (ret)
		goto close;
	/* A thread that is stopped before it runs would not say why. */
	wait_for_completion(&ch->running);
	ch->receiver = run(receive_thread, ch, "kvmft-receive");
	ret = PTR_ERR_OR_ZERO(ch->receiver);
	if (ret)
		goto close;
	ret = wait_event_interruptible(t->wait, READ_ONCE(ch->greeted) || READ_ONCE(t->error));
	if (ret)
		ret = -EINTR;
	else if (kvmft_transport_error(t))
		ret = t->error;
	if (!ret)
		return t;
	if (ret != -EINTR)
		pr_warn("no channel to the %s: %s\n", kvmft_peer_name(ch), t->reason);
close:
	kvmft_transport_close(t);
	kvmft_transport_free(t);
	return ERR_PTR(ret);
}

void kvmft_channel_status(struct kvmft_transport *transport, struct kvmft_channel_status *status)
{
	struct kvmft_channel *ch;
	u64 ahead, behind;

	memset(status, 0, sizeof(*status));
	if (transport->ops != &channel_ops)
		return;
	ch = of_transport(transport);
	status->acked = READ_ONCE(ch->transport.acked);
	status->peer_seq = READ_ONCE(ch->transport.peer_seq);
	places(ch, &ahead, &behind);
	status->lag_us = kvmft_lag_us(&ch->lag, ahead, behind, ktime_get_ns());
	status->copied = READ_ONCE(ch->copied);
}
