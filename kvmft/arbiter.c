// SPDX-License-Identifier: GPL-2.0
/*
 * A claim is one command, COMPARE AND WRITE of the block as it was just read.  Whatever becomes of
 * it (it may have timed out and be executed later), the block says: a record that names a
 * winner is final.  As long as it names nobody the claim can be made again: it is the same.  A disk
 * may have it in a cache, and forget it with its power: nothing is won before that is written, and
 * the block read once more.
 *
 * Distributions have the SCSI layer as a module, scsi_mod, which a host without arbiter need not
 * have loaded: its functions are looked up.  An open disk of its keeps it loaded.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/blkdev.h>
#include <linux/err.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/unaligned.h>
#include <scsi/scsi.h>
#include <scsi/scsi_device.h>

#include "arbiter.h"
#include "symbol.h"

/* SBC-4, 5.4, 5.19 and 5.31; all commands have 16 bytes. */
#define COMPARE_AND_WRITE	0x89
#define CDB_SIZE		16
#define CDB_LBA			2
#define CDB_CAW_BLOCKS		13
#define CDB_BLOCKS		10

#define COMMAND_TIMEOUT		(10 * HZ)
/* A disk that was reset says so first, to each initiator, perhaps about several things. */
#define ATTENTIONS_MAX		5

typedef int execute_fn(struct scsi_device *scsi, const unsigned char *cdb, blk_opf_t opf,
		       void *data, unsigned int len, int timeout, int retries,
		       const struct scsi_exec_args *args);

static_assert(__same_type(scsi_execute_cmd, execute_fn));

/**
 * struct kvmft_arbiter - see the top of the header
 * @disk: the block device
 * @scsi: the disk
 * @execute: scsi_execute_cmd()
 * @lba: the block
 * @size: its bytes
 * @claim: what this side wants
 * @why: it was refused, for people
 * @seen: the block as it was read last; @next follows at once, for one command
 * @next: as it is to be
 */
struct kvmft_arbiter {
	struct file *disk;
	struct scsi_device *scsi;
	execute_fn *execute;
	u64 lba;
	u32 size;
	struct kvmft_claim claim;
	char why[128];
	u8 *seen;
	u8 *next;
};

/* 0; -EILSEQ: the contents differ; -EOPNOTSUPP: the disk does not know the command; -EIO, ... */
static int execute_once(struct kvmft_arbiter *arbiter, const u8 *cdb, blk_opf_t opf, void *data,
			u32 len)
{
	struct scsi_sense_hdr sense = {};
	const struct scsi_exec_args args = { .sshdr = &sense };
	int ret;

	ret = arbiter->execute(arbiter->scsi, cdb, opf | REQ_FAILFAST_TRANSPORT, data, len,
			       COMMAND_TIMEOUT, 0, &args);
	if (ret <= 0)
		return ret;
	if (!scsi_status_is_check_condition(ret) || !scsi_sense_valid(&sense))
		return -EIO;
	switch (sense.sense_key) {
	case MISCOMPARE:
		return -EILSEQ;
	case UNIT_ATTENTION:
		return -EAGAIN;
	case ILLEGAL_REQUEST:
		return -EOPNOTSUPP;
	case NOT_READY:
		return -ENODEV;
	default:
		return -EIO;
	}
}

static int execute(struct kvmft_arbiter *arbiter, const u8 *cdb, blk_opf_t opf, void *data, u32 len)
{
	unsigned int attentions = 0;
	int ret;

	do {
		ret = execute_once(arbiter, cdb, opf, data, len);
	} while (ret == -EAGAIN && attentions++ < ATTENTIONS_MAX);
	return ret;
}

/* Into @seen. */
static int read_block(struct kvmft_arbiter *arbiter)
{
	u8 cdb[CDB_SIZE] = { READ_16 };

	put_unaligned_be64(arbiter->lba, cdb + CDB_LBA);
	put_unaligned_be32(1, cdb + CDB_BLOCKS);
	return execute(arbiter, cdb, REQ_OP_DRV_IN, arbiter->seen, arbiter->size);
}

/* From @seen to @next. */
static int compare_and_write(struct kvmft_arbiter *arbiter)
{
	u8 cdb[CDB_SIZE] = { COMPARE_AND_WRITE, [CDB_CAW_BLOCKS] = 1 };

	put_unaligned_be64(arbiter->lba, cdb + CDB_LBA);
	return execute(arbiter, cdb, REQ_OP_DRV_OUT, arbiter->seen, 2 * arbiter->size);
}

/* What was written stays.  A disk that does not know the command has no cache. */
static int synchronize(struct kvmft_arbiter *arbiter)
{
	u8 cdb[CDB_SIZE] = { SYNCHRONIZE_CACHE_16 };
	int ret;

	put_unaligned_be64(arbiter->lba, cdb + CDB_LBA);
	put_unaligned_be32(1, cdb + CDB_BLOCKS);
	ret = execute(arbiter, cdb, REQ_OP_DRV_IN, NULL, 0);
	return ret == -EOPNOTSUPP ? 0 : ret;
}

static int refuse(struct kvmft_arbiter *arbiter, int error, const char *why)
{
	strscpy(arbiter->why, why, sizeof(arbiter->why));
	pr_warn("no arbiter: %s (error %d)\n", why, error);
	return error;
}

/* From @seen to @next, while a pair is set up. */
static int write_first(struct kvmft_arbiter *arbiter)
{
	int ret = compare_and_write(arbiter);

	if (ret == -EILSEQ)
		return refuse(arbiter, -EBUSY, "another host is writing the block");
	if (ret == -EOPNOTSUPP)
		return refuse(arbiter, ret, "the disk does not know COMPARE AND WRITE");
	if (ret)
		return refuse(arbiter, ret, "the block can not be written");
	ret = synchronize(arbiter);
	return ret ? refuse(arbiter, ret, "the disk's cache can not be written") : 0;
}

static int set_up(struct kvmft_arbiter *arbiter)
{
	struct kvmft_claim *claim = &arbiter->claim;
	char text[128];
	int ret = read_block(arbiter);

	if (ret)
		return refuse(arbiter, ret, "the block can not be read");
	if (!kvmft_claim_may_set_up(claim, arbiter->seen, arbiter->size, text, sizeof(text)))
		return refuse(arbiter, -EEXIST, text);
	get_random_bytes(claim->instance, sizeof(claim->instance));
	kvmft_claim_set_up(claim, arbiter->next, arbiter->size);
	return write_first(arbiter);
}

int kvmft_arbiter_join(struct kvmft_arbiter *arbiter, const u8 *instance, const char **why)
{
	struct kvmft_claim *claim = &arbiter->claim;
	char text[128];
	int ret = read_block(arbiter);

	*why = arbiter->why;
	if (ret)
		return refuse(arbiter, ret, "the block can not be read");
	memcpy(claim->instance, instance, sizeof(claim->instance));
	if (kvmft_claim_judge(claim, arbiter->seen, arbiter->size, text, sizeof(text)) !=
	    KVMFT_CLAIM_OPEN)
		return refuse(arbiter, -EEXIST, text);
	/* As it is: whether this host can is to be known now, not when the other is gone. */
	memcpy(arbiter->next, arbiter->seen, arbiter->size);
	return write_first(arbiter);
}

/* What the block says, as far as it can be read. */
static enum kvmft_claim_verdict judge(struct kvmft_arbiter *arbiter, char *text, size_t len)
{
	int ret = read_block(arbiter);

	if (!ret)
		return kvmft_claim_judge(&arbiter->claim, arbiter->seen, arbiter->size, text, len);
	snprintf(text, len, "the arbiter's disk can not be read (error %d)", ret);
	return KVMFT_CLAIM_FOREIGN;
}

/* Unless somebody has; whatever it came to, the block says. */
static enum kvmft_claim_verdict claim(struct kvmft_arbiter *arbiter, char *text, size_t len)
{
	enum kvmft_claim_verdict verdict = judge(arbiter, text, len);

	if (verdict != KVMFT_CLAIM_OPEN)
		return verdict;
	kvmft_claim_make(&arbiter->claim, arbiter->next, arbiter->size);
	compare_and_write(arbiter);
	return judge(arbiter, text, len);
}

enum kvmft_claim_verdict kvmft_arbiter_claim(struct kvmft_arbiter *arbiter, char *text, size_t len)
{
	enum kvmft_claim_verdict verdict = claim(arbiter, text, len);
	int ret;

	if (verdict != KVMFT_CLAIM_WON)
		return verdict;
	ret = synchronize(arbiter);
	if (!ret)
		return judge(arbiter, text, len);
	snprintf(text, len, "the arbiter's disk does not say that it keeps the claim (error %d)",
		 ret);
	return KVMFT_CLAIM_OPEN;
}

#if IS_MODULE(CONFIG_SCSI)
#define scsi_symbol(type, name)	((type *)kvmft_symbol_lookup("scsi_mod", #name))
#else
#define scsi_symbol(type, name)	(&(name))
#endif

/*
 * The SCSI disk that @bdev is on; NULL: none.  No function of scsi_mod is called for it: a disk of
 * another kind does not keep that loaded.
 */
static struct scsi_device *scsi_of(const struct block_device *bdev)
{
	const struct bus_type *bus = scsi_symbol(const struct bus_type, scsi_bus_type);
	struct device *parent = disk_to_dev(bdev->bd_disk)->parent;

	/* Of the devices on this bus disks have the kind that is for them: sd_probe() in sd.c. */
	return bus && parent && parent->bus == bus ? to_scsi_device(parent) : NULL;
}

/* The SCSI disk below @disk, and where on it @block is. */
static int find_block(struct kvmft_arbiter *arbiter, struct file *disk, u64 block)
{
	struct inode *inode = disk->f_mapping->host;
	struct block_device *bdev;

	if ((disk->f_mode & (FMODE_READ | FMODE_WRITE)) != (FMODE_READ | FMODE_WRITE))
		return refuse(arbiter, -EBADF, "the disk is not open for reading and writing");
	if (!S_ISBLK(inode->i_mode))
		return refuse(arbiter, -ENOTBLK, "not a block device");
	bdev = I_BDEV(inode);
	arbiter->scsi = scsi_of(bdev);
	arbiter->execute = scsi_symbol(execute_fn, scsi_execute_cmd);
	if (!arbiter->scsi || !arbiter->execute)
		return refuse(arbiter, -EOPNOTSUPP, "not a SCSI disk");
	arbiter->size = bdev_logical_block_size(bdev);
	if (arbiter->size > KVMFT_CLAIM_BLOCK_MAX)
		return refuse(arbiter, -EOPNOTSUPP, "the disk has blocks of another size");
	if (block >= bdev_nr_sectors(bdev) / (arbiter->size >> SECTOR_SHIFT))
		return refuse(arbiter, -ERANGE, "the disk has no such block");
	arbiter->lba = bdev->bd_start_sect / (arbiter->size >> SECTOR_SHIFT) + block;
	return 0;
}

struct kvmft_arbiter *kvmft_arbiter_open(struct file *disk, u64 block, struct kvmft_claim *claim)
{
	struct kvmft_arbiter *arbiter = kzalloc(sizeof(*arbiter), GFP_KERNEL_ACCOUNT);
	int ret;

	if (!arbiter)
		return ERR_PTR(-ENOMEM);
	ret = find_block(arbiter, disk, block);
	if (ret)
		goto free;
	ret = -ENOMEM;
	arbiter->seen = kzalloc(2 * arbiter->size, GFP_KERNEL_ACCOUNT);
	if (!arbiter->seen)
		goto free;
	arbiter->next = arbiter->seen + arbiter->size;
	arbiter->claim = *claim;
	if (claim->role == KVMFT_ROLE_PRIMARY) {
		ret = set_up(arbiter);
		if (ret)
			goto free;
		*claim = arbiter->claim;
	}
	arbiter->disk = get_file(disk);
	return arbiter;

free:
	kfree(arbiter->seen);
	kfree(arbiter);
	return ERR_PTR(ret);
}

void kvmft_arbiter_close(struct kvmft_arbiter *arbiter)
{
	if (!arbiter)
		return;
	fput(arbiter->disk);
	kfree(arbiter->seen);
	kfree(arbiter);
}
