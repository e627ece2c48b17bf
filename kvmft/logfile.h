/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A log in a file: a thread moves entries between the ring and the file.
 */
#ifndef _KVMFT_LOGFILE_H
#define _KVMFT_LOGFILE_H

#include <linux/fs.h>

#include "transport.h"

/*
 * Write what the ring gets to @file, which is empty, or fill it from @file.  Both take a
 * reference to @file, and return an ERR_PTR() if they can not begin.  Writing: after an error the
 * ring is emptied all the same.  Reading: -EBADMSG, -EPROTO: see kvmft_file_header_check().
 */
struct kvmft_transport *kvmft_logfile_write(struct file *file);
struct kvmft_transport *kvmft_logfile_read(struct file *file);

#endif /* _KVMFT_LOGFILE_H */
