// SPDX-License-Identifier: GPL-2.0
/*
 * Two threads at each end.  The sender sends: entries (primary), marks, farewell.  The receiver
 * alone receives: it fills the ring (backup), or empties it as the backup acknowledges
 * (primary).  The backup's sends a mark for what it has put into the ring itself, unless that
 * would have it wait: the primary's guest waits for it.
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

#include <linux/bvec.h>
#include <linux/completion.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <net/sock.h>

#include <uapi/linux/kvmft.h>

#include "channel.h"
#include "checksum.h"
#include "entry.h"
#include "hello.h"
#include "lag.h"
#include "tcp.h"
#include "trace.h"

/* Memory of the ring; all that is published fits into one message. */
#define RING_SIZE	KVMFT_WIRE_ENTRIES_MAX
#define RING_PAGES	(RING_SIZE / PAGE_SIZE)

/* Sending begins with so many bytes in the ring, or so many jiffies after the first. */
#define SEND_SIZE	16384
#define SEND_DELAY	1

/**
 * struct channel - one end
 * @transport: the ring, and errors
 * @sock: the socket
 * @hello: what this side says of itself
 * @peer: role of the other
 * @heartbeat: jiffies between two marks, at most
 * @timeout: jiffies of silence that are a failure
 * @sender: sends
 * @receiver: receives
 * @running: completed by the sender
 * @accept: see &struct kvmft_channel_config
 * @accept_arg: see there
 * @greeted: the peer's hello has come, and is accepted; written by the receiver
 * @end: why the session ended, &enum kvmft_end; 0: it has not.  @text is valid then
 * @text: why, for people
 * @left: the peer has said farewell; written by the receiver
 * @closing: the sender has sent all, the receiver is to stop
 * @send_lock: protects @out, @marked, @marked_at and @gone
 * @gone: farewell has been said: nothing is sent any more
 * @out: messages sent
 * @in: messages received
 * @sent: primary: bytes of the log sent; written by the sender
 * @marked: bytes that the last mark told
 * @marked_at: when that was, in jiffies
 * @heard: when the last valid message came, in jiffies
 * @advanced: primary: when the backup got on last, in jiffies; written by the receiver
 * @moved: primary: when the backup got on last, or the guest did not wait for it, in jiffies
 * @lag: of the backup; written by the receiver
 * @copied: see there
 * @pages: of the ring, as TCP gets them
 * @payload: of the message being received
 */
struct channel {
	struct kvmft_transport transport;
	struct socket *sock;
	struct kvmft_wire_hello hello;
	enum kvmft_role peer;
	unsigned long heartbeat;
	unsigned long timeout;
	struct task_struct *sender;
	struct task_struct *receiver;
	struct completion running;
	int (*accept)(void *arg, const u8 *instance, const char **why);
	void *accept_arg;
	bool greeted;
	u32 end;
	char text[KVMFT_WIRE_TEXT_MAX + 1];
	bool left;
	bool closing;
	struct mutex send_lock; /* see above */
	bool gone;
	u64 out;
	u64 in;
	u64 sent;
	u64 marked;
	unsigned long marked_at;
	unsigned long heard;
	unsigned long advanced;
	unsigned long moved;
	struct kvmft_lag lag;
	u64 copied;
	struct bio_vec pages[RING_PAGES + 1];
	u8 *payload;
};

#define fail(ch, ...)	kvmft_transport_fail(&(ch)->transport, __VA_ARGS__)

static bool is_primary(const struct channel *ch)
{
	return ch->peer == KVMFT_ROLE_BACKUP;
}

static const char *peer_name(const struct channel *ch)
{
	return is_primary(ch) ? "backup" : "primary";
}

/*
 * Sending.
 */
/* A backup that takes no data, since its ring is full, but replays: it is slow, and that is all. */
static bool gets_on(struct channel *ch)
{
	return is_primary(ch) && !kvmft_transport_error(&ch->transport) &&
	       !READ_ONCE(ch->transport.stop) &&
	       time_before(jiffies, READ_ONCE(ch->advanced) + ch->timeout);
}

static int send_all(struct channel *ch, struct msghdr *msg)
{
	int ret;

	while (msg_data_left(msg)) {
		ret = sock_sendmsg(ch->sock, msg);
		if (ret > 0 || (ret == -EAGAIN && gets_on(ch)))
			continue;
		if (ret == -EAGAIN)
			return fail(ch, -ETIMEDOUT, "the %s takes no data for %u ms", peer_name(ch),
				    jiffies_to_msecs(ch->timeout));
		return fail(ch, ret ?: -EPIPE, "the %s can not be reached (error %d)",
			    peer_name(ch), ret ?: -EPIPE);
	}
	return 0;
}

static int send_bytes(struct channel *ch, struct kvec *vec, size_t nr, size_t len, int flags)
{
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL | flags };

	lockdep_assert_held(&ch->send_lock);
	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, vec, nr, len);
	return send_all(ch, &msg);
}

/* A message but for entries. */
static int send_message(struct channel *ch, enum kvmft_wire_type type, void *payload, u32 len)
{
	struct kvmft_wire_header header;
	struct kvec vec[] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = payload, .iov_len = len },
	};

	kvmft_wire_begin(&header, type, ch->out++, len);
	kvmft_wire_end(&header, kvmft_crc32c(kvmft_wire_crc(&header), payload, len));
	return send_bytes(ch, vec, ARRAY_SIZE(vec), sizeof(header) + len, 0);
}

/* The pages of @len bytes of the ring from byte @at of the log on. */
static unsigned int pages_of(struct channel *ch, u64 at, size_t len)
{
	const struct kvmft_log *log = &ch->transport.log;
	unsigned int nr = 0;

	while (len) {
		u8 *p = log->buf + (at & (log->size - 1));
		size_t part = min_t(size_t, len, PAGE_SIZE - offset_in_page(p));
		struct page *page = is_vmalloc_addr(p) ? vmalloc_to_page(p) : virt_to_page(p);

		bvec_set_page(&ch->pages[nr++], page, part, offset_in_page(p));
		at += part;
		len -= part;
	}
	return nr;
}

/* All that is published and not sent. */
static int send_entries(struct channel *ch)
{
	struct kvmft_log *log = &ch->transport.log;
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL | MSG_SPLICE_PAGES };
	struct kvmft_wire_entries entries = { .at = cpu_to_le64(ch->sent) };
	struct kvmft_wire_header header;
	struct kvec vec[] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = &entries, .iov_len = sizeof(entries) },
	};
	unsigned int nr, i;
	size_t len;
	u32 crc;
	int ret;

	/* Pairs with kvmft_log_publish(): the bytes are there. */
	len = smp_load_acquire(&log->head) - ch->sent;
	if (!len)
		return 0;
	nr = pages_of(ch, ch->sent, len);
	kvmft_wire_begin(&header, KVMFT_WIRE_ENTRIES, ch->out++, sizeof(entries) + len);
	crc = kvmft_crc32c(kvmft_wire_crc(&header), &entries, sizeof(entries));
	for (i = 0; i < nr; i++)
		crc = kvmft_crc32c(crc, bvec_virt(&ch->pages[i]), ch->pages[i].bv_len);
	kvmft_wire_end(&header, crc);

	/* Before it can be acknowledged. */
	WRITE_ONCE(ch->sent, ch->sent + len);
	ret = send_bytes(ch, vec, ARRAY_SIZE(vec), sizeof(header) + sizeof(entries), MSG_MORE);
	if (ret)
		return ret;
	if (!kvmft_tcp_gathers(ch->sock))
		WRITE_ONCE(ch->copied, ch->copied + len);
	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, ch->pages, nr, len);
	return send_all(ch, &msg);
}

/* How far this side is, in bytes: written, or in the ring. */
static u64 progress(struct channel *ch)
{
	/* Backup: pairs with kvmft_log_publish(). */
	return smp_load_acquire(&ch->transport.log.head);
}

/* If there is something to tell, or it is time to. */
static int send_mark(struct channel *ch)
{
	struct kvmft_wire_mark mark;
	u64 bytes = progress(ch);
	int ret;

	if ((is_primary(ch) || bytes == ch->marked) &&
	    time_before(jiffies, ch->marked_at + ch->heartbeat))
		return 0;
	mark.bytes = cpu_to_le64(bytes);
	mark.seq = cpu_to_le64(READ_ONCE(*ch->transport.seq));
	mark.released = is_primary(ch) ? cpu_to_le64(READ_ONCE(ch->transport.released)) : 0;
	ret = send_message(ch, KVMFT_WIRE_MARK, &mark, sizeof(mark));
	WRITE_ONCE(ch->marked, bytes);
	WRITE_ONCE(ch->marked_at, jiffies);
	if (!is_primary(ch))
		WRITE_ONCE(ch->transport.acked, bytes);
	return ret;
}

/* As a courtesy: a peer that does not hear it finds the connection closed. */
static void send_bye(struct channel *ch, u32 reason, const char *text)
{
	struct kvmft_wire_bye bye = { .reason = cpu_to_le32(reason) };
	size_t len = strnlen(text, KVMFT_WIRE_TEXT_MAX);
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL | MSG_DONTWAIT };
	struct kvmft_wire_header header;
	struct kvec vec[] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = &bye, .iov_len = sizeof(bye) },
		{ .iov_base = (char *)text, .iov_len = len },
	};
	u32 crc;

	mutex_lock(&ch->send_lock);
	WRITE_ONCE(ch->gone, true);
	kvmft_wire_begin(&header, KVMFT_WIRE_BYE, ch->out++, sizeof(bye) + len);
	crc = kvmft_crc32c(kvmft_wire_crc(&header), &bye, sizeof(bye));
	kvmft_wire_end(&header, kvmft_crc32c(crc, text, len));
	kernel_sendmsg(ch->sock, &msg, vec, ARRAY_SIZE(vec), sizeof(header) + sizeof(bye) + len);
	mutex_unlock(&ch->send_lock);
}

/* Has the session ended, and is it known why? */
static bool has_end(const struct channel *ch)
{
	/* Pairs with end(): the reason is complete. */
	return smp_load_acquire(&ch->end);
}

/* The last entries of a primary are put when its session has ended; then it closes. */
static bool is_over(const struct channel *ch)
{
	/* Pairs with kvmft_transport_close(): what was put before is seen. */
	return smp_load_acquire(&ch->transport.stop) || (!is_primary(ch) && has_end(ch));
}

static bool has_work(const struct channel *ch)
{
	const struct kvmft_transport *t = &ch->transport;

	if (is_over(ch) || READ_ONCE(t->error) || READ_ONCE(ch->left))
		return true;
	if (is_primary(ch))
		return READ_ONCE(t->log.head) - ch->sent >= SEND_SIZE ||
		       READ_ONCE(t->urgent) > ch->sent;
	return READ_ONCE(t->log.head) != READ_ONCE(ch->marked);
}

/* The primary's log is over: all of it has to arrive. */
static void send_rest(struct channel *ch)
{
	struct kvmft_transport *t = &ch->transport;
	int ret;

	if (!is_primary(ch))
		return;
	mutex_lock(&ch->send_lock);
	ret = send_entries(ch);
	mutex_unlock(&ch->send_lock);
	if (ret)
		return;
	if (!wait_event_idle_timeout(t->wait, READ_ONCE(ch->transport.acked) == ch->sent ||
				     READ_ONCE(t->error) || READ_ONCE(ch->left), ch->timeout))
		fail(ch, -ETIMEDOUT, "the backup has not acknowledged the log's end in %u ms",
		     jiffies_to_msecs(ch->timeout));
}

/**
 * struct nap - the sender sleeps
 * @entry: in transport.wait, where others are woken, too
 * @ch: whose
 * @first: the first byte to send ends it, too
 */
struct nap {
	wait_queue_entry_t entry;
	struct channel *ch;
	bool first;
};

static bool is_unsent(const struct channel *ch)
{
	return is_primary(ch) && READ_ONCE(ch->transport.log.head) != ch->sent;
}

static bool nap_is_over(const struct nap *nap)
{
	return has_work(nap->ch) || (nap->first && is_unsent(nap->ch));
}

static int sender_woken(wait_queue_entry_t *entry, unsigned int mode, int sync, void *key)
{
	const struct nap *nap = container_of(entry, struct nap, entry);

	return nap_is_over(nap) ? autoremove_wake_function(entry, mode, sync, key) : 0;
}

static void take_nap(struct channel *ch, bool first, long timeout)
{
	struct kvmft_transport *t = &ch->transport;
	struct nap nap = { .ch = ch, .first = first };

	if (timeout <= 0)
		return;
	init_wait(&nap.entry);
	nap.entry.func = sender_woken;
	prepare_to_wait(&t->wait, &nap.entry, TASK_IDLE);
	/* Pairs with kvmft_transport_published(): either side sees what the other did. */
	smp_store_mb(t->idle, first && is_primary(ch));
	if (!nap_is_over(&nap))
		schedule_timeout(timeout);
	WRITE_ONCE(t->idle, false);
	finish_wait(&t->wait, &nap.entry);
}

/* Until there is enough to send, or what there is has waited, or it is time for a mark. */
static void wait_for_work(struct channel *ch)
{
	if (!is_unsent(ch))
		take_nap(ch, true, READ_ONCE(ch->marked_at) + ch->heartbeat - jiffies);
	if (is_unsent(ch))
		take_nap(ch, false, SEND_DELAY);
}

static void send_log(struct channel *ch)
{
	struct kvmft_transport *t = &ch->transport;
	bool over;
	int ret;

	do {
		over = is_over(ch);
		mutex_lock(&ch->send_lock);
		ret = is_primary(ch) ? send_entries(ch) : 0;
		if (!ret)
			ret = send_mark(ch);
		mutex_unlock(&ch->send_lock);
		if (!ret && !over)
			wait_for_work(ch);
	} while (!ret && !over && !READ_ONCE(t->error) && !READ_ONCE(ch->left));
}

static bool is_greeted(struct channel *ch)
{
	struct kvmft_transport *t = &ch->transport;

	wait_event_idle(t->wait, READ_ONCE(ch->greeted) || READ_ONCE(t->error) ||
			READ_ONCE(t->stop));
	return READ_ONCE(ch->greeted);
}

/* A backup answers: what it answers, the primary's guest may run by.  True: both agree. */
static bool greet(struct channel *ch)
{
	int ret;

	if (!is_primary(ch) && !is_greeted(ch))
		return false;
	mutex_lock(&ch->send_lock);
	ret = send_message(ch, KVMFT_WIRE_HELLO, &ch->hello, sizeof(ch->hello));
	mutex_unlock(&ch->send_lock);
	return !ret && is_greeted(ch);
}

static int send_thread(void *data)
{
	struct channel *ch = data;
	struct kvmft_transport *t = &ch->transport;
	int error;

	complete(&ch->running);
	if (greet(ch))
		send_log(ch);
	if (READ_ONCE(ch->greeted) && !kvmft_transport_error(t))
		send_rest(ch);
	error = kvmft_transport_error(t);
	if (error)
		send_bye(ch, KVMFT_END_LOG_ERROR, t->reason);
	else if (has_end(ch))
		send_bye(ch, ch->end, ch->text);
	else
		send_bye(ch, KVMFT_END_CLOSED, "its session was closed");
	wait_event_idle(t->wait, READ_ONCE(t->stop));
	return 0;
}

/*
 * Receiving.
 */
static int receive_all(struct channel *ch, void *buf, size_t len)
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
				    peer_name(ch));
		} else if (ret != -EAGAIN) {
			return fail(ch, ret, "the connection to the %s broke (error %d)",
				    peer_name(ch), ret);
		}
		if (time_after(jiffies, ch->heard + ch->timeout))
			return fail(ch, -ETIMEDOUT, "the %s has been silent for %u ms",
				    peer_name(ch), jiffies_to_msecs(ch->timeout));
	}
	return 0;
}

static int refuse(struct channel *ch, int error)
{
	return fail(ch, error, "message %llu from the %s: %s", ch->in, peer_name(ch),
		    kvmft_wire_error(error));
}

static int take_hello(struct channel *ch)
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

static int take_entries(struct channel *ch, u32 len)
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

/* Backup: what has been put into the ring.  If that is not possible at once, the sender does it. */
static int acknowledge(struct channel *ch)
{
	int ret = 0;

	if (!mutex_trylock(&ch->send_lock))
		return 0;
	/* Its own hello comes first. */
	if (ch->out && !ch->gone && !is_over(ch) && !kvmft_transport_error(&ch->transport) &&
	    sk_stream_memory_free(ch->sock->sk))
		ret = send_mark(ch);
	mutex_unlock(&ch->send_lock);
	return ret;
}

/* Primary: the backup says that it has so many bytes, and replayed so many entries. */
static bool stands_still(struct channel *ch, u64 bytes, u64 seq)
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
static void places(const struct channel *ch, u64 *ahead, u64 *behind)
{
	*ahead = READ_ONCE(*ch->transport.seq);
	*behind = READ_ONCE(ch->transport.peer_seq);
	if (!is_primary(ch))
		swap(*ahead, *behind);
}

static int take_mark(struct channel *ch)
{
	const struct kvmft_wire_mark *mark = (struct kvmft_wire_mark *)ch->payload;
	struct kvmft_log *log = &ch->transport.log;
	u64 bytes = le64_to_cpu(mark->bytes), seq = le64_to_cpu(mark->seq), ahead, behind;

	if (is_primary(ch) && stands_still(ch, bytes, seq))
		return fail(ch, -ETIMEDOUT,
			    "the backup has stood still for %u ms, and kept the guest waiting",
			    jiffies_to_msecs(ch->timeout));
	WRITE_ONCE(ch->transport.peer_seq, seq);
	places(ch, &ahead, &behind);
	kvmft_lag_update(&ch->lag, ahead, behind, ktime_get_ns());
	trace_kvmft_mark(ch->transport.id, is_primary(ch) ? KVMFT_ROLE_PRIMARY : KVMFT_ROLE_BACKUP,
			 READ_ONCE(*ch->transport.seq), seq, bytes);
	if (!is_primary(ch)) {
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

static int take_bye(struct channel *ch, u32 len)
{
	const struct kvmft_wire_bye *bye = (struct kvmft_wire_bye *)ch->payload;
	u32 reason = le32_to_cpu(bye->reason);

	WRITE_ONCE(ch->left, true);
	/* A backup can not have finished a log that has no end. */
	if (reason == KVMFT_END_FINISHED && (!is_primary(ch) || has_end(ch)))
		return 1;
	/* It answers a farewell, and has all. */
	if (is_primary(ch) && READ_ONCE(ch->gone) && ch->transport.acked == READ_ONCE(ch->sent))
		return 1;
	return fail(ch, ch->greeted ? -ESHUTDOWN : -EPROTO, "the %s gives up: %.*s", peer_name(ch),
		    (int)(len - sizeof(*bye)), (const char *)(bye + 1));
}

/* One message.  1: it was the last. */
static int receive(struct channel *ch)
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
		ret = take_entries(ch, len) ?: acknowledge(ch);
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
	return ret;
}

static int receive_thread(void *data)
{
	struct channel *ch = data;
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
static struct channel *of_transport(struct kvmft_transport *transport)
{
	return container_of(transport, struct channel, transport);
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
	struct channel *ch = of_transport(transport);

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
	struct channel *ch = of_transport(transport);

	if (ch->end)
		return;
	strscpy(ch->text, text, sizeof(ch->text));
	/* Pairs with has_end(). */
	smp_store_release(&ch->end, why);
	wake_up_all(&transport->wait);
}

static const struct kvmft_transport_ops channel_ops = {
	.close = close_channel,
	.end = end,
};

static struct task_struct *run(int (*thread)(void *), struct channel *ch, const char *name)
{
	struct task_struct *task = kthread_run(thread, ch, "%s", name);

	if (!IS_ERR(task))
		get_task_struct(task);
	return task;
}

/* Takes over the reference to the socket's file. */
static struct channel *make(struct socket *sock, const struct kvmft_channel_config *config)
{
	struct channel *ch = kvzalloc(sizeof(*ch), GFP_KERNEL_ACCOUNT);

	if (!ch)
		return NULL;
	if (kvmft_transport_init(&ch->transport, &channel_ops, RING_SIZE))
		goto free;
	ch->payload = kvmalloc(KVMFT_WIRE_LEN_MAX, GFP_KERNEL_ACCOUNT);
	if (!ch->payload)
		goto free_transport;
	ch->transport.wake_at = SEND_SIZE;
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
	struct channel *ch;
	long ret;

	if (!kvmft_tcp_is_connected(sock))
		return ERR_PTR(-EINVAL);
	ch = make(sock, config);
	if (!ch)
		return ERR_PTR(-ENOMEM);
	get_file(sock->file);
	t = &ch->transport;
	ch->sender = run(send_thread, ch, "kvmft-send");
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
		pr_warn("no channel to the %s: %s\n", peer_name(ch), t->reason);
close:
	kvmft_transport_close(t);
	kvmft_transport_free(t);
	return ERR_PTR(ret);
}

void kvmft_channel_status(struct kvmft_transport *transport, struct kvmft_channel_status *status)
{
	struct channel *ch;
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
