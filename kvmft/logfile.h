/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A log in a file: a thread of its own moves entries between the ring and the file.
 */
#ifndef _KVMFT_LOGFILE_H
#define _KVMFT_LOGFILE_H

#include <linux/fs.h>
#include <linux/sched.h>
#include <linux/wait.h>

#include "block.h"
#include "entry.h"
#include "log.h"

/* Writing begins with so many bytes in the ring. */
#define KVMFT_WRITE_SIZE	32768

/**
 * struct kvmft_logfile - the file at one end of a ring
 * @file: the file
 * @pos: where in it
 * @log: the ring
 * @codec: of the entries that passed
 * @thread: moves them
 * @wait: both sides sleep here
 * @stop: no more entries will be put into the ring, or are wanted of it
 * @wanted: reading: space in the ring that the next block needs
 * @ended: reading: the file is at its end, and all of it is in the ring
 * @error: what went wrong, negative; @reason is valid then
 * @reason: for people
 * @block: a block's header and entries
 */
struct kvmft_logfile {
	struct file *file;
	loff_t pos;
	struct kvmft_log *log;
	struct kvmft_codec codec;
	struct task_struct *thread;
	wait_queue_head_t wait;
	bool stop;
	size_t wanted;
	bool ended;
	int error;
	char reason[160];
	u8 *block;
};

/*
 * Write what the ring gets to @file, which is empty, or fill it from @file.  Both take a
 * reference to @file.  Writing: an error shows in @error, and the ring is emptied all the
 * same.  Reading: -EBADMSG, -EPROTO: see kvmft_file_header_check().
 */
int kvmft_logfile_write(struct kvmft_logfile *lf, struct file *file, struct kvmft_log *log);
int kvmft_logfile_read(struct kvmft_logfile *lf, struct file *file, struct kvmft_log *log);

/* Writing: wait until everything is in the file.  Returns @error.  Sleeps. */
int kvmft_logfile_close(struct kvmft_logfile *lf);

/* Its error, or 0. */
int kvmft_logfile_error(const struct kvmft_logfile *lf);

/* There is something to write, or space to read into. */
void kvmft_logfile_wake(struct kvmft_logfile *lf);

#endif /* _KVMFT_LOGFILE_H */
