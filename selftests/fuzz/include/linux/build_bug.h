/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _FUZZ_LINUX_BUILD_BUG_H
#define _FUZZ_LINUX_BUILD_BUG_H

#define static_assert(condition)	_Static_assert(condition, #condition)

#endif /* _FUZZ_LINUX_BUILD_BUG_H */
