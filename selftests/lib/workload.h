/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest whose result is known: hash laps with exits in between.  The page at
 * GUEST_DATA holds a struct workload; after each lap the guest puts the result there
 * and writes to PORT_SYNC.
 */
#ifndef SELFTESTS_WORKLOAD_H
#define SELFTESTS_WORKLOAD_H

#include "vm.h"

struct workload {
	u64 seed;
	u64 rounds;
	u64 result;
};

void workload_guest(void);

/* Set up the next lap */
void workload_start(struct vm *vm, u64 seed, u64 rounds);
void workload_next(struct vm *vm, u64 seed, u64 rounds);
/* Is the result of the lap that has just ended right? */
bool workload_right(struct vm *vm);

#endif /* SELFTESTS_WORKLOAD_H */
