/* SPDX-License-Identifier: GPL-2.0 */
/* Memory and ports of the self-test's guest. */
#ifndef _KVMFT_SELFTEST_GUEST_H
#define _KVMFT_SELFTEST_GUEST_H

#define GUEST_CODE	0x1000
#define GUEST_WORD	0x2000
#define GUEST_STACK	0x4000	/* grows down */
#define GUEST_SIZE	0x4000
#define GUEST_DONE_PORT	0xf4

#ifndef __ASSEMBLY__
extern const char kvmft_selftest_guest[], kvmft_selftest_guest_end[];
#endif

#endif /* _KVMFT_SELFTEST_GUEST_H */
