/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Why a guest stands still on its primary, for tracepoints.
 *
 * Pure.
 */
#ifndef _KVMFT_STALL_H
#define _KVMFT_STALL_H

/**
 * enum kvmft_stall - what the vCPU waits for
 * @KVMFT_STALL_LOG: space in the log's ring
 * @KVMFT_STALL_LAG: the backup is further behind than it may be
 * @KVMFT_STALL_OUTPUT: the guest has written to a port by which something leaves; the backup has
 *	not acknowledged it
 * @KVMFT_STALL_PACKETS: as many bytes of packets are held as may be
 * @KVMFT_STALL_ARBITER: this side is alone; the arbiter has not decided, or for the other
 */
enum kvmft_stall {
	KVMFT_STALL_LOG,
	KVMFT_STALL_LAG,
	KVMFT_STALL_OUTPUT,
	KVMFT_STALL_PACKETS,
	KVMFT_STALL_ARBITER,
};

#endif /* _KVMFT_STALL_H */
