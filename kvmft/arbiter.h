/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The arbiter: a block of a SCSI disk that both sides of a pair can reach.  COMPARE AND WRITE
 * decides which of them goes live when they lose each other; nothing else does.
 *
 * All calls sleep, for as long as the disk takes; one at a time.
 */
#ifndef _KVMFT_ARBITER_H
#define _KVMFT_ARBITER_H

#include <linux/fs.h>

#include "claim.h"

struct kvmft_arbiter;

/*
 * Use block @block (of the disk's own size, from the begin of @disk, which may be a partition) of
 * @disk.  A primary sets the pair up there: @claim is given a random instance.  A backup has to
 * call kvmft_arbiter_join().  Takes a reference to @disk, which has to be open for reading and
 * writing.
 *
 * Returns an ERR_PTR(), and the kernel log says why: -EBADF: not open for both; -ENOTBLK: not a
 * block device; -EOPNOTSUPP: not a SCSI disk, or one that does not know COMPARE AND WRITE;
 * -ERANGE: there is no such block; -EEXIST: the block has other contents; -EBUSY: somebody else
 * is writing it; -EIO, ...: the disk does not answer.
 */
struct kvmft_arbiter *kvmft_arbiter_open(struct file *disk, u64 block, struct kvmft_claim *claim);

/*
 * Backup: the primary's pair is @instance.  Errors as above; -EEXIST: it is not on this block.
 * *@why is the reason then, as long as there is the arbiter.
 */
int kvmft_arbiter_join(struct kvmft_arbiter *arbiter, const u8 *instance, const char **why);

/*
 * Try to win the next generation, or find out who has.  WON and LOST are final; with any other
 * verdict nothing is decided: ask again.  @text, of @len bytes, says how it stands.
 */
enum kvmft_claim_verdict kvmft_arbiter_claim(struct kvmft_arbiter *arbiter, char *text, size_t len);

void kvmft_arbiter_close(struct kvmft_arbiter *arbiter);

#endif /* _KVMFT_ARBITER_H */
