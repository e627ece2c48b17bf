// SPDX-License-Identifier: GPL-2.0
/*
 * The thread makes blocks of what is published in the ring, or checks each block and publishes
 * its entries in the ring; for both it decodes them once.  All of one instruction is published
 * together, here and there: a replay that has begun one needs to wait for nothing.
 *
 * It runs in no one's context: what the file's owner may write was settled when the file was
 * opened.
 */
#include <linux/err.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/slab.h>

#include "block.h"
#include "entry.h"
#include "logfile.h"

/* Write whatever there is after this time. */
#define WRITE_INTERVAL	(HZ / 10)

#define HEADER_SIZE	sizeof(struct kvmft_block_header)

/* Memory of the ring: all that is published fits into one block. */
#define RING_SIZE	KVMFT_BLOCK_MAX

/* Writing begins with so many bytes in the ring. */
#define WRITE_SIZE	32768

/**
 * struct logfile - the file at one end of a ring
 * @transport: the ring, and errors
 * @file: the file
 * @pos: where in it
 * @codec: of the entries that passed
 * @thread: moves them
 * @block: a block's header and entries
 */
struct logfile {
	struct kvmft_transport transport;
	struct file *file;
	loff_t pos;
	struct kvmft_codec codec;
	struct task_struct *thread;
	u8 *block;
};

#define fail(lf, ...)	kvmft_transport_fail(&(lf)->transport, __VA_ARGS__)

static int write_all(struct logfile *lf, const void *buf, size_t len)
{
	ssize_t done;

	while (len) {
		done = kernel_write(lf->file, buf, len, &lf->pos);
		if (done <= 0)
			return fail(lf, done ?: -EIO,
				    "the log can not be written (error %zd) at entry %llu",
				    done ?: -EIO, lf->codec.seq);
		buf += done;
		len -= done;
	}
	return 0;
}

/* Number of whole entries in the @len bytes at @bytes; *@used: their length. */
static int count_entries(struct kvmft_codec *codec, const u8 *bytes, size_t len, size_t *used)
{
	struct kvmft_entry *entry;
	int nr = 0, n = 0;

	*used = 0;
	entry = kmalloc(sizeof(*entry), GFP_KERNEL);
	if (!entry)
		return -ENOMEM;
	while (*used < len) {
		n = kvmft_entry_decode(codec, entry, bytes + *used, len - *used);
		if (n < 0)
			break;
		*used += n;
		nr++;
		n = 0;
	}
	kfree(entry);
	return n && n != -EAGAIN ? n : nr;
}

static int write_block(struct logfile *lf)
{
	u8 *entries = lf->block + HEADER_SIZE;
	u64 seq = lf->codec.seq;
	size_t len, used;
	int nr, ret;

	len = kvmft_log_peek(&lf->transport.log, entries, KVMFT_BLOCK_MAX);
	nr = count_entries(&lf->codec, entries, len, &used);
	if (nr <= 0 || used < len)
		return fail(lf, nr < 0 ? nr : -EIO, "entry %llu can not be encoded (error %d)",
			    lf->codec.seq, nr < 0 ? nr : -EIO);
	kvmft_block_make((struct kvmft_block_header *)lf->block, seq, nr, entries, used);
	ret = write_all(lf, lf->block, HEADER_SIZE + used);
	if (ret)
		return ret;
	kvmft_log_consume(&lf->transport.log, used);
	wake_up_all(&lf->transport.wait);
	return 0;
}

static int write_thread(void *data)
{
	struct logfile *lf = data;
	bool stop = false;

	while (!stop) {
		wait_event_idle_timeout(lf->transport.wait,
					kvmft_log_used(&lf->transport.log) >= WRITE_SIZE ||
					READ_ONCE(lf->transport.stop), WRITE_INTERVAL);
		/* Pairs with kvmft_transport_close(): what came before is seen below. */
		stop = smp_load_acquire(&lf->transport.stop);
		while (!lf->transport.error && kvmft_log_used(&lf->transport.log))
			write_block(lf);
		if (lf->transport.error) {
			kvmft_log_consume(&lf->transport.log, kvmft_log_used(&lf->transport.log));
			wake_up_all(&lf->transport.wait);
		}
	}
	return 0;
}

/* Returns the number of bytes, less than @len at the file's end. */
static ssize_t read_all(struct logfile *lf, void *buf, size_t len)
{
	size_t have = 0;
	ssize_t done;

	while (have < len) {
		done = kernel_read(lf->file, buf + have, len - have, &lf->pos);
		if (done < 0)
			return fail(lf, done, "the log can not be read (error %zd) at entry %llu",
				    done, lf->codec.seq);
		if (!done)
			break;
		have += done;
	}
	return have;
}

static int fail_short(struct logfile *lf)
{
	return fail(lf, -ENODATA, "the log is truncated at entry %llu", lf->codec.seq);
}

/* One block, from the file into the ring.  1: there is none any more. */
static int read_block(struct logfile *lf)
{
	const struct kvmft_block_header *header = (struct kvmft_block_header *)lf->block;
	u8 *entries = lf->block + HEADER_SIZE;
	u64 seq = lf->codec.seq;
	ssize_t have;
	size_t used;
	int len, nr;

	have = read_all(lf, lf->block, HEADER_SIZE);
	if (have <= 0)
		return have ?: 1;
	if (have < HEADER_SIZE)
		return fail_short(lf);
	len = kvmft_block_check(header, seq);
	if (len < 0)
		return fail(lf, len,
			    "the log is damaged at entry %llu: no block of entries begins there",
			    seq);
	have = read_all(lf, entries, len);
	if (have < 0)
		return have;
	if (have < len)
		return fail_short(lf);
	if (kvmft_block_check_entries(header, entries, len))
		return fail(lf, -EBADMSG,
			    "the log is damaged between entries %llu and %llu (checksum)", seq,
			    seq + le32_to_cpu(header->nr) - 1);
	nr = count_entries(&lf->codec, entries, len, &used);
	if (nr == -ENOMEM)
		return fail(lf, nr, "out of memory at entry %llu of the log", seq);

	kvmft_transport_wait_for_space(&lf->transport, used);
	if (!READ_ONCE(lf->transport.stop)) {
		kvmft_log_put(&lf->transport.log, entries, used);
		kvmft_log_publish(&lf->transport.log);
	}
	wake_up_all(&lf->transport.wait);
	/* What comes before a malformed entry is replayed: the fault may be there already. */
	if (nr != le32_to_cpu(header->nr) || used != len)
		return fail(lf, -EBADMSG, "entry %llu of the log is malformed", lf->codec.seq);
	return 0;
}

static int read_thread(void *data)
{
	struct logfile *lf = data;
	int ret = 0;

	while (!ret && !READ_ONCE(lf->transport.stop))
		ret = read_block(lf);
	/* Pairs with the replay's fetch(): all of it is in the ring. */
	smp_store_release(&lf->transport.ended, true);
	wake_up_all(&lf->transport.wait);
	/* kthread_stop() waits for it in any case. */
	wait_event_idle(lf->transport.wait, READ_ONCE(lf->transport.stop));
	return 0;
}

static int close_file(struct kvmft_transport *transport)
{
	struct logfile *lf = container_of(transport, struct logfile, transport);
	int error;

	kthread_stop(lf->thread);
	put_task_struct(lf->thread);
	error = transport->error;
	if (lf->file->f_mode & FMODE_WRITE && !error)
		error = vfs_fsync(lf->file, 0);
	kvfree(lf->block);
	fput(lf->file);
	return error;
}

static const struct kvmft_transport_ops logfile_ops = {
	.close = close_file,
};

/* The file's header is written or checked, @begin does that, before the thread starts. */
static struct kvmft_transport *start(struct file *file, int (*begin)(struct logfile *lf),
				     int (*thread)(void *), const char *name)
{
	struct logfile *lf;
	int ret;

	lf = kvzalloc(sizeof(*lf), GFP_KERNEL_ACCOUNT);
	if (!lf)
		return ERR_PTR(-ENOMEM);
	ret = kvmft_transport_init(&lf->transport, &logfile_ops, RING_SIZE);
	if (ret) {
		kvfree(lf);
		return ERR_PTR(ret);
	}
	lf->transport.wake_at = WRITE_SIZE;
	lf->file = get_file(file);
	kvmft_codec_init(&lf->codec);
	lf->block = kvmalloc(HEADER_SIZE + KVMFT_BLOCK_MAX, GFP_KERNEL_ACCOUNT);
	ret = lf->block ? begin(lf) : -ENOMEM;
	if (ret)
		goto let_go;
	lf->thread = kthread_run(thread, lf, "%s", name);
	if (IS_ERR(lf->thread)) {
		ret = PTR_ERR(lf->thread);
		goto let_go;
	}
	get_task_struct(lf->thread);
	return &lf->transport;

let_go:
	kvfree(lf->block);
	fput(lf->file);
	kvmft_transport_free(&lf->transport);
	return ERR_PTR(ret);
}

static int write_header(struct logfile *lf)
{
	struct kvmft_file_header header;

	kvmft_file_header_make(&header);
	return write_all(lf, &header, sizeof(header));
}

static int read_header(struct logfile *lf)
{
	struct kvmft_file_header header;
	ssize_t have;
	u32 version;

	have = read_all(lf, &header, sizeof(header));
	if (have < 0)
		return have;
	return have < sizeof(header) ? -EBADMSG : kvmft_file_header_check(&header, &version);
}

struct kvmft_transport *kvmft_logfile_write(struct file *file)
{
	return start(file, write_header, write_thread, "kvmft-log-write");
}

struct kvmft_transport *kvmft_logfile_read(struct file *file)
{
	return start(file, read_header, read_thread, "kvmft-log-read");
}
