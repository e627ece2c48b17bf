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

#include "logfile.h"

/* Write whatever there is after this time. */
#define WRITE_INTERVAL	(HZ / 10)

#define HEADER_SIZE	sizeof(struct kvmft_block_header)

static __printf(3, 4) int fail(struct kvmft_logfile *lf, int error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(lf->reason, sizeof(lf->reason), fmt, args);
	va_end(args);
	/* Pairs with kvmft_logfile_error(): then the reason is complete. */
	smp_store_release(&lf->error, error);
	wake_up_all(&lf->wait);
	return error;
}

static int write_all(struct kvmft_logfile *lf, const void *buf, size_t len)
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

static int write_block(struct kvmft_logfile *lf)
{
	u8 *entries = lf->block + HEADER_SIZE;
	u64 seq = lf->codec.seq;
	size_t len, used;
	int nr, ret;

	len = kvmft_log_peek(lf->log, entries, KVMFT_BLOCK_MAX);
	nr = count_entries(&lf->codec, entries, len, &used);
	if (nr <= 0 || used < len)
		return fail(lf, nr < 0 ? nr : -EIO, "entry %llu can not be encoded (error %d)",
			    lf->codec.seq, nr < 0 ? nr : -EIO);
	kvmft_block_make((struct kvmft_block_header *)lf->block, seq, nr, entries, used);
	ret = write_all(lf, lf->block, HEADER_SIZE + used);
	if (ret)
		return ret;
	kvmft_log_consume(lf->log, used);
	wake_up_all(&lf->wait);
	return 0;
}

static int write_thread(void *data)
{
	struct kvmft_logfile *lf = data;
	bool stop = false;

	while (!stop) {
		wait_event_idle_timeout(lf->wait,
					kvmft_log_used(lf->log) >= KVMFT_WRITE_SIZE ||
					READ_ONCE(lf->stop), WRITE_INTERVAL);
		/* Pairs with kvmft_logfile_close(): what came before is seen below. */
		stop = smp_load_acquire(&lf->stop);
		while (!lf->error && kvmft_log_used(lf->log))
			write_block(lf);
		if (lf->error) {
			kvmft_log_consume(lf->log, kvmft_log_used(lf->log));
			wake_up_all(&lf->wait);
		}
	}
	return 0;
}

/* Returns the number of bytes, less than @len at the file's end. */
static ssize_t read_all(struct kvmft_logfile *lf, void *buf, size_t len)
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

static int fail_short(struct kvmft_logfile *lf)
{
	return fail(lf, -ENODATA, "the log is truncated at entry %llu", lf->codec.seq);
}

/* One block, from the file into the ring.  1: there is none any more. */
static int read_block(struct kvmft_logfile *lf)
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

	WRITE_ONCE(lf->wanted, used);
	wait_event_idle(lf->wait, READ_ONCE(lf->stop) || kvmft_log_space(lf->log) >= used);
	if (!READ_ONCE(lf->stop)) {
		kvmft_log_put(lf->log, entries, used);
		kvmft_log_publish(lf->log);
	}
	wake_up_all(&lf->wait);
	/* What comes before a malformed entry is replayed: the fault may be there already. */
	if (nr != le32_to_cpu(header->nr) || used != len)
		return fail(lf, -EBADMSG, "entry %llu of the log is malformed", lf->codec.seq);
	return 0;
}

static int read_thread(void *data)
{
	struct kvmft_logfile *lf = data;
	int ret = 0;

	while (!ret && !READ_ONCE(lf->stop))
		ret = read_block(lf);
	/* Pairs with the replay's fetch(): all of it is in the ring. */
	smp_store_release(&lf->ended, true);
	wake_up_all(&lf->wait);
	/* kthread_stop() waits for it in any case. */
	wait_event_idle(lf->wait, READ_ONCE(lf->stop));
	return 0;
}

static int start(struct kvmft_logfile *lf, struct file *file, struct kvmft_log *log)
{
	lf->file = get_file(file);
	lf->pos = 0;
	lf->log = log;
	kvmft_codec_init(&lf->codec);
	init_waitqueue_head(&lf->wait);
	lf->stop = false;
	lf->wanted = 0;
	lf->ended = false;
	lf->error = 0;
	lf->block = kvmalloc(HEADER_SIZE + KVMFT_BLOCK_MAX, GFP_KERNEL_ACCOUNT);
	return lf->block ? 0 : -ENOMEM;
}

static int run(struct kvmft_logfile *lf, int (*thread)(void *), const char *name)
{
	lf->thread = kthread_run(thread, lf, "%s", name);
	if (!IS_ERR(lf->thread)) {
		get_task_struct(lf->thread);
		return 0;
	}
	return PTR_ERR(lf->thread);
}

static void let_go(struct kvmft_logfile *lf)
{
	kvfree(lf->block);
	fput(lf->file);
}

int kvmft_logfile_write(struct kvmft_logfile *lf, struct file *file, struct kvmft_log *log)
{
	struct kvmft_file_header header;
	int ret;

	ret = start(lf, file, log);
	if (!ret) {
		kvmft_file_header_make(&header);
		ret = write_all(lf, &header, sizeof(header));
	}
	if (!ret)
		ret = run(lf, write_thread, "kvmft-log-write");
	if (ret)
		let_go(lf);
	return ret;
}

int kvmft_logfile_read(struct kvmft_logfile *lf, struct file *file, struct kvmft_log *log)
{
	struct kvmft_file_header header;
	u32 version;
	int ret;

	ret = start(lf, file, log);
	if (!ret) {
		ret = read_all(lf, &header, sizeof(header));
		if (ret >= 0)
			ret = ret < sizeof(header) ? -EBADMSG :
						     kvmft_file_header_check(&header, &version);
	}
	if (!ret)
		ret = run(lf, read_thread, "kvmft-log-read");
	if (ret)
		let_go(lf);
	return ret;
}

int kvmft_logfile_close(struct kvmft_logfile *lf)
{
	int error;

	/* Pairs with write_thread(). */
	smp_store_release(&lf->stop, true);
	wake_up_all(&lf->wait);
	kthread_stop(lf->thread);
	put_task_struct(lf->thread);
	error = lf->error;
	if (lf->file->f_mode & FMODE_WRITE && !error)
		error = vfs_fsync(lf->file, 0);
	let_go(lf);
	return error;
}

int kvmft_logfile_error(const struct kvmft_logfile *lf)
{
	/* Pairs with fail(). */
	return smp_load_acquire(&lf->error);
}

void kvmft_logfile_wake(struct kvmft_logfile *lf)
{
	wake_up_all(&lf->wait);
}
