// SPDX-License-Identifier: GPL-2.0
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <net/sock.h>

#include "checksum.h"
#include "sender.h"
#include "tcp.h"

#define fail(ch, ...)	kvmft_transport_fail(&(ch)->transport, __VA_ARGS__)

/* A backup that takes no data, since its ring is full, but replays: it is slow, and that is all. */
static bool gets_on(struct kvmft_channel *ch)
{
	return kvmft_is_primary(ch) && !kvmft_transport_error(&ch->transport) &&
	       !READ_ONCE(ch->transport.stop) &&
	       time_before(jiffies, READ_ONCE(ch->advanced) + ch->timeout);
}

static int send_all(struct kvmft_channel *ch, struct msghdr *msg)
{
	int ret;

	while (msg_data_left(msg)) {
		ret = sock_sendmsg(ch->sock, msg);
		/* A session that ends interrupts who is in KVM_RUN, whatever that blocks. */
		if (ret > 0 || ((ret == -EAGAIN || ret == -EINTR) && gets_on(ch)))
			continue;
		if (ret == -EAGAIN)
			return fail(ch, -ETIMEDOUT, "the %s takes no data for %u ms",
				    kvmft_peer_name(ch), jiffies_to_msecs(ch->timeout));
		return fail(ch, ret ?: -EPIPE, "the %s can not be reached (error %d)",
			    kvmft_peer_name(ch), ret ?: -EPIPE);
	}
	return 0;
}

static int send_bytes(struct kvmft_channel *ch, struct kvec *vec, size_t nr, size_t len, int flags)
{
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL | flags };

	lockdep_assert_held(&ch->send_lock);
	iov_iter_kvec(&msg.msg_iter, ITER_SOURCE, vec, nr, len);
	return send_all(ch, &msg);
}

/* A message but for entries. */
static int send_message(struct kvmft_channel *ch, enum kvmft_wire_type type, void *payload, u32 len)
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
static unsigned int pages_of(struct kvmft_channel *ch, u64 at, size_t len)
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
static int send_entries(struct kvmft_channel *ch)
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
static u64 progress(struct kvmft_channel *ch)
{
	/* Backup: pairs with kvmft_log_publish(). */
	return smp_load_acquire(&ch->transport.log.head);
}

/* If there is something to tell, or it is time to. */
static int send_mark(struct kvmft_channel *ch)
{
	struct kvmft_wire_mark mark;
	u64 bytes = progress(ch);
	int ret;

	if ((kvmft_is_primary(ch) || bytes == ch->marked) &&
	    time_before(jiffies, ch->marked_at + ch->heartbeat))
		return 0;
	mark.bytes = cpu_to_le64(bytes);
	mark.seq = cpu_to_le64(READ_ONCE(*ch->transport.seq));
	mark.released = kvmft_is_primary(ch) ? cpu_to_le64(READ_ONCE(ch->transport.released)) : 0;
	ret = send_message(ch, KVMFT_WIRE_MARK, &mark, sizeof(mark));
	WRITE_ONCE(ch->marked, bytes);
	WRITE_ONCE(ch->marked_at, jiffies);
	if (!kvmft_is_primary(ch))
		WRITE_ONCE(ch->transport.acked, bytes);
	return ret;
}

int kvmft_acknowledge(struct kvmft_channel *ch)
{
	int ret = 0;

	if (!mutex_trylock(&ch->send_lock))
		return 0;
	/* Its own hello comes first. */
	if (ch->out && !ch->gone && !kvmft_is_over(ch) && !kvmft_transport_error(&ch->transport) &&
	    sk_stream_memory_free(ch->sock->sk))
		ret = send_mark(ch);
	mutex_unlock(&ch->send_lock);
	return ret;
}

/* Would all that is unsent go to TCP at once? */
static bool may_send_now(const struct kvmft_channel *ch)
{
	const struct kvmft_transport *t = &ch->transport;
	const struct sock *sk = ch->sock->sk;

	/* Its own hello comes first; and what is over is the sender's. */
	return ch->out && READ_ONCE(ch->greeted) && !ch->gone && !READ_ONCE(ch->left) &&
	       !kvmft_is_over(ch) && !kvmft_transport_error(t) && sk_stream_memory_free(sk) &&
	       sk_stream_wspace(sk) > READ_ONCE(t->log.head) - ch->sent + PAGE_SIZE;
}

bool kvmft_send_now(struct kvmft_transport *transport)
{
	struct kvmft_channel *ch = container_of(transport, struct kvmft_channel, transport);
	sigset_t all, old;
	bool may;

	if (!mutex_trylock(&ch->send_lock))
		return false;
	may = may_send_now(ch);
	if (may) {
		/* Half a message is none: should TCP wait after all, no signal ends that. */
		sigfillset(&all);
		sigprocmask(SIG_SETMASK, &all, &old);
		send_entries(ch);
		sigprocmask(SIG_SETMASK, &old, NULL);
	}
	mutex_unlock(&ch->send_lock);
	return may;
}

/* As a courtesy: a peer that does not hear it finds the connection closed. */
static void send_bye(struct kvmft_channel *ch, u32 reason, const char *text)
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

static bool is_unsent(const struct kvmft_channel *ch)
{
	return kvmft_is_primary(ch) &&
	       READ_ONCE(ch->transport.log.head) != READ_ONCE(ch->sent);
}

static bool has_work(const struct kvmft_channel *ch)
{
	const struct kvmft_transport *t = &ch->transport;

	if (kvmft_is_over(ch) || READ_ONCE(t->error) || READ_ONCE(ch->left))
		return true;
	if (kvmft_is_primary(ch))
		return READ_ONCE(t->log.head) - READ_ONCE(ch->sent) >= KVMFT_SEND_SIZE ||
		       READ_ONCE(t->urgent) > READ_ONCE(ch->sent) ||
		       (READ_ONCE(ch->due) && is_unsent(ch));
	return READ_ONCE(t->log.head) != READ_ONCE(ch->marked);
}

/* The primary's log is over: all of it has to arrive. */
static void send_rest(struct kvmft_channel *ch)
{
	struct kvmft_transport *t = &ch->transport;
	int ret;

	if (!kvmft_is_primary(ch))
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
 */
struct nap {
	wait_queue_entry_t entry;
	struct kvmft_channel *ch;
};

static int sender_woken(wait_queue_entry_t *entry, unsigned int mode, int sync, void *key)
{
	const struct nap *nap = container_of(entry, struct nap, entry);

	return has_work(nap->ch) ? autoremove_wake_function(entry, mode, sync, key) : 0;
}

/* What was published has waited. */
void kvmft_send_due(struct timer_list *timer)
{
	struct kvmft_channel *ch = from_timer(ch, timer, flush);

	/* Pairs with kvmft_transport_published(): it starts this again, or its bytes are seen. */
	smp_mb();
	if (!is_unsent(ch))
		return;
	WRITE_ONCE(ch->due, true);
	wake_up_all(&ch->transport.wait);
}

/* Until there is enough to send, or what there is has waited, or it is time for a mark. */
static void wait_for_work(struct kvmft_channel *ch)
{
	long timeout = READ_ONCE(ch->marked_at) + ch->heartbeat - jiffies;
	struct nap nap = { .ch = ch };

	if (timeout <= 0)
		return;
	init_wait(&nap.entry);
	nap.entry.func = sender_woken;
	prepare_to_wait(&ch->transport.wait, &nap.entry, TASK_IDLE);
	if (!has_work(ch))
		schedule_timeout(timeout);
	finish_wait(&ch->transport.wait, &nap.entry);
}

static void send_log(struct kvmft_channel *ch)
{
	struct kvmft_transport *t = &ch->transport;
	bool over;
	int ret;

	do {
		over = kvmft_is_over(ch);
		mutex_lock(&ch->send_lock);
		/* What is published from here on is due again. */
		smp_store_mb(ch->due, false);
		ret = kvmft_is_primary(ch) ? send_entries(ch) : 0;
		if (!ret)
			ret = send_mark(ch);
		mutex_unlock(&ch->send_lock);
		if (!ret && !over)
			wait_for_work(ch);
	} while (!ret && !over && !READ_ONCE(t->error) && !READ_ONCE(ch->left));
}

static bool is_greeted(struct kvmft_channel *ch)
{
	struct kvmft_transport *t = &ch->transport;

	wait_event_idle(t->wait, READ_ONCE(ch->greeted) || READ_ONCE(t->error) ||
			READ_ONCE(t->stop));
	return READ_ONCE(ch->greeted);
}

/* A backup answers: what it answers, the primary's guest may run by.  True: both agree. */
static bool greet(struct kvmft_channel *ch)
{
	int ret;

	if (!kvmft_is_primary(ch) && !is_greeted(ch))
		return false;
	mutex_lock(&ch->send_lock);
	ret = send_message(ch, KVMFT_WIRE_HELLO, &ch->hello, sizeof(ch->hello));
	mutex_unlock(&ch->send_lock);
	return !ret && is_greeted(ch);
}

int kvmft_send_thread(void *data)
{
	struct kvmft_channel *ch = data;
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
	else if (kvmft_has_end(ch))
		send_bye(ch, ch->end, ch->text);
	else
		send_bye(ch, KVMFT_END_CLOSED, "its session was closed");
	wait_event_idle(t->wait, READ_ONCE(t->stop));
	return 0;
}
