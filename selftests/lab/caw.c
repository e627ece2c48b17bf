// SPDX-License-Identifier: GPL-2.0
/*
 * Claim blocks of a shared disk by COMPARE AND WRITE, racing another host.
 *
 *	caw DEVICE COUNT ID
 *
 * For each of the first COUNT blocks: if it is all zeroes, fill it with the
 * character ID, atomically.  Prints a line with W (won) or L (lost, the device
 * said MISCOMPARE) for each block.  Whoever wins a block pauses a moment, so
 * that neither of two racers gets far ahead of the other.
 */
#include <errno.h>
#include <fcntl.h>
#include <scsi/sg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BLOCK_SIZE		512
#define COMPARE_AND_WRITE	0x89
#define CHECK_CONDITION		0x02
#define UNIT_ATTENTION		0x06
#define MISCOMPARE		0x0e
#define ASC_MISCOMPARE		0x1d
#define WINNER_PAUSE_US		3000

enum outcome { WON, LOST, AGAIN, FAILED };

static enum outcome claim(int fd, unsigned int block, char id)
{
	unsigned char data[2 * BLOCK_SIZE] = { 0 };
	unsigned char sense[32] = { 0 };
	unsigned char cdb[16] = {
		COMPARE_AND_WRITE,
		[6] = block >> 24, [7] = block >> 16, [8] = block >> 8, [9] = block,
		[13] = 1,
	};
	struct sg_io_hdr io = {
		.interface_id = 'S',
		.dxfer_direction = SG_DXFER_TO_DEV,
		.cmd_len = sizeof(cdb),
		.cmdp = cdb,
		.mx_sb_len = sizeof(sense),
		.sbp = sense,
		.dxfer_len = sizeof(data),
		.dxferp = data,
		.timeout = 30000,
	};
	int key;

	memset(data + BLOCK_SIZE, id, BLOCK_SIZE);
	if (ioctl(fd, SG_IO, &io)) {
		fprintf(stderr, "caw: SG_IO: %s\n", strerror(errno));
		return FAILED;
	}
	if (!io.status && !io.host_status && !io.driver_status)
		return WON;

	key = sense[2] & 0x0f;
	if (io.status == CHECK_CONDITION && key == MISCOMPARE &&
	    sense[12] == ASC_MISCOMPARE && !sense[13])
		return LOST;
	if (io.status == CHECK_CONDITION && key == UNIT_ATTENTION)
		return AGAIN;
	fprintf(stderr,
		"caw: block %u: status %#x host %#x driver %#x sense %#x/%02x/%02x\n",
		block, io.status, io.host_status, io.driver_status, key,
		sense[12], sense[13]);
	return FAILED;
}

int main(int argc, char **argv)
{
	unsigned int block, count;
	enum outcome outcome;
	int fd;

	if (argc != 4 || strlen(argv[3]) != 1) {
		fprintf(stderr, "usage: caw DEVICE COUNT ID\n");
		return 2;
	}
	fd = open(argv[1], O_RDWR);
	if (fd < 0) {
		fprintf(stderr, "caw: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	count = strtoul(argv[2], NULL, 0);
	for (block = 0; block < count; block++) {
		do {
			outcome = claim(fd, block, argv[3][0]);
		} while (outcome == AGAIN);
		if (outcome == FAILED)
			return 1;
		putchar(outcome == WON ? 'W' : 'L');
		if (outcome == WON)
			usleep(WINNER_PAUSE_US);
	}
	putchar('\n');
	return 0;
}
