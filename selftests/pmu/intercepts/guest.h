/* SPDX-License-Identifier: GPL-2.0 */
/* The guest's programs (guest.S); offsets within them are what EIP is */
#ifndef PMU_INTERCEPTS_GUEST_H
#define PMU_INTERCEPTS_GUEST_H

#define GUEST_CS	0x08
#define GUEST_DS	0x10

#ifndef __ASSEMBLY__

extern const char guest_start[], guest_end[];
extern const char g_rdtsc[], g_rdtscp[], g_int3[], g_int_3[], g_int_80[];
extern const char g_into_set[], g_into_clear[];
extern const char after_rdtsc[], after_rdtscp[], after_into[];
extern const char handle_bp[], handle_of[], handle_int[];

#endif
#endif
