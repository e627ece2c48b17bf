/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A VMM in a process of its own, for what happens to a session when its VM's owner
 * is busy, killed or gone.
 *
 *	test                       VMM
 *	  |<------- vm fd -----------|	over a socket, then
 *	  |-------- commands ------->|	one byte each, to a thread beside the vCPU's
 *	  |<==== struct vmm_shared ==|	progress
 */
#ifndef SELFTESTS_VMM_H
#define SELFTESTS_VMM_H

#include <sys/types.h>

#include "tap.h"

enum vmm_guest {
	VMM_WORKLOAD,		/* laps with results, see workload.h */
	VMM_SPIN,		/* never exits by itself */
	VMM_HALT,		/* sleeps in the kernel; VMM_INTERRUPT wakes it */
};

enum vmm_command {
	VMM_RUN = 'r',		/* start the guest */
	VMM_INTERRUPT = 'i',
	VMM_ADD_VCPU = 'v',
	VMM_EXEC = 'x',		/* become another program: the VM's descriptors close */
};

struct vmm_shared {
	u64 laps;
	u64 wrong;
	u64 wakes;
	int running;
};

struct vmm {
	pid_t pid;
	int sock;
	int vm_fd;		/* of the VM; the test may close it, and set it to -1 */
	struct vmm_shared *shared;
};

void vmm_start(struct vmm *vmm, enum vmm_guest guest, u64 seed);
void vmm_command(struct vmm *vmm, enum vmm_command command);
/* Kill it, and wait until it is gone */
void vmm_kill(struct vmm *vmm);
/* It has ended by itself, or will */
void vmm_join(struct vmm *vmm);
/* Wait until the workload has done @laps more, all of them right */
void vmm_wait_laps(struct vmm *vmm, u64 laps);
void vmm_check(struct vmm *vmm);

#endif /* SELFTESTS_VMM_H */
