/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _KVMFT_VHOST_H
#define _KVMFT_VHOST_H

/* /dev/kvmft-net; the errno of misc_register() */
int kvmft_vhost_init(void);
void kvmft_vhost_exit(void);

#endif /* _KVMFT_VHOST_H */
