/* SPDX-License-Identifier: GPL-2.0 */
/* Accesses of the guest to devices that the VMM serves. */
#ifndef _KVMFT_IO_H
#define _KVMFT_IO_H

#include "vm.h"

/*
 * KVM_RUN is called: if a read was waiting for the VMM, its answer is there.  -EINTR: a signal came
 * before the module could take it; the next KVM_RUN tries again.
 */
int kvmft_io_complete(struct kvmft_vm *vm);

#endif /* _KVMFT_IO_H */
