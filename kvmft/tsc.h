/* SPDX-License-Identifier: GPL-2.0 */
/* Rates of time-stamp counters, as hosts have measured them. */
#ifndef _KVMFT_TSC_H
#define _KVMFT_TSC_H

#include <linux/math64.h>
#include <linux/types.h>

/*
 * Each boot of a host finds another value, by a few millionths; KVM takes rates for the same that
 * differ by less than this (tsc_tolerance_ppm in arch/x86/kvm/x86.c), and lets the guest run at
 * the host's.
 */
#define KVMFT_TSC_TOLERANCE_PPM	250

static inline bool kvmft_tsc_differs(u32 khz, u32 other)
{
	u64 difference = khz < other ? other - khz : khz - other;

	return difference * 1000000 > (u64)other * KVMFT_TSC_TOLERANCE_PPM;
}

#endif /* _KVMFT_TSC_H */
