/* SPDX-License-Identifier: GPL-2.0 */
/* Attributes below /sys/class/misc/kvmft/; see Documentation/ABI/testing/. */
#ifndef _KVMFT_SYSFS_H
#define _KVMFT_SYSFS_H

#include <linux/sysfs.h>

#include "session.h"

/* For the misc device. */
extern const struct attribute_group *kvmft_sysfs_groups[];

/* The directory session<id> below @parent; holds a reference to @session. */
struct kobject *kvmft_sysfs_add_session(struct kobject *parent, struct kvmft_session *session);
void kvmft_sysfs_remove_session(struct kobject *kobj);

#endif /* _KVMFT_SYSFS_H */
