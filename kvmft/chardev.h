/* SPDX-License-Identifier: GPL-2.0 */
/* /dev/kvmft */
#ifndef _KVMFT_CHARDEV_H
#define _KVMFT_CHARDEV_H

int kvmft_chardev_init(void);
void kvmft_chardev_exit(void);

#endif /* _KVMFT_CHARDEV_H */
