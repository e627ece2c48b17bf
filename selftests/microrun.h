/* SPDX-License-Identifier: GPL-2.0 */
/* Recording and replaying a micro guest */
#ifndef SELFTESTS_MICRORUN_H
#define SELFTESTS_MICRORUN_H

#include "kvmft.h"
#include "micro.h"
#include "util.h"

/* How a run of a micro guest ended */
struct micro_outcome {
	struct kvm_regs regs;
	u64 memory;
	u64 interrupts;
	struct kvmft_session_status status;
};

/* An empty log */
int micro_open_log(void);

/* Record @micro; @dev is KVMFT_DEVICE.  The case fails if it does not come to its end */
void micro_record(int dev, const struct micro *micro, int log, u32 align_us, u64 seed,
		  struct micro_outcome *outcome);

/* Replay @log; returns false, and why in @reason, if the guest does not come to its end */
bool micro_replay(int dev, const struct micro *micro, int log, u64 seed,
		  struct micro_outcome *outcome, char *reason, size_t size);

/* Did both come to the same? */
void micro_check_same(const struct micro_outcome *a, const struct micro_outcome *b);

/* The same two, as sides of a pair; each has to be in a thread of its own */
void micro_primary(int dev, const struct micro *micro, struct kvmft_session_pair *pair, u64 seed,
		   struct micro_outcome *outcome);
bool micro_backup(int dev, const struct micro *micro, struct kvmft_session_pair *pair, u64 seed,
		  struct micro_outcome *outcome, char *reason, size_t size);

/*
 * Answer the guest until it is done; false: KVM_RUN fails with errno, or @session (-1: none) has
 * ended
 */
bool micro_run(struct vm *vm, const struct micro *micro, struct rng *rng, int session);

/* Why the session with this number is over */
void micro_reason(u64 id, char *text, size_t size);

#endif /* SELFTESTS_MICRORUN_H */
