/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Names of the values in the public header, as sysfs and tracepoints show them.  Each list
 * initialises an array of { value, name } and serves as argument of __print_symbolic().
 */
#ifndef _KVMFT_NAMES_H
#define _KVMFT_NAMES_H

#include <uapi/linux/kvmft.h>

#define KVMFT_STATE_NAMES				\
	{ KVMFT_STATE_ARMED,	"armed" },		\
	{ KVMFT_STATE_COUNTING,	"counting" },		\
	{ KVMFT_STATE_ENDED,	"ended" },		\
	{ KVMFT_STATE_CLAIMING,	"claiming" },		\
	{ KVMFT_STATE_LIVE,	"live" },		\
	{ KVMFT_STATE_STOPPED,	"stopped" }

#define KVMFT_END_NAMES					\
	{ KVMFT_END_NONE,		"none" },		\
	{ KVMFT_END_CLOSED,		"closed" },		\
	{ KVMFT_END_VM_DESTROYED,	"vm-destroyed" },	\
	{ KVMFT_END_COUNTER_LOST,	"counter-lost" },	\
	{ KVMFT_END_VCPU_ADDED,		"vcpu-added" },		\
	{ KVMFT_END_NO_COUNTER,		"no-counter" },		\
	{ KVMFT_END_COUNTER_WRONG,	"counter-wrong" },	\
	{ KVMFT_END_FINISHED,		"finished" },		\
	{ KVMFT_END_DIVERGED,		"diverged" },		\
	{ KVMFT_END_LOG_ERROR,		"log-error" },		\
	{ KVMFT_END_UNSUPPORTED,	"unsupported" }

#define KVMFT_MODE_NAMES				\
	{ KVMFT_MODE_COUNT,	"count" },		\
	{ KVMFT_MODE_RECORD,	"record" },		\
	{ KVMFT_MODE_REPLAY,	"replay" }

#define KVMFT_ROLE_NAMES				\
	{ 0,			"none" },		\
	{ KVMFT_ROLE_PRIMARY,	"primary" },		\
	{ KVMFT_ROLE_BACKUP,	"backup" }

#define KVMFT_VERDICT_NAMES				\
	{ KVMFT_VERDICT_UNTESTED,	"untested" },	\
	{ KVMFT_VERDICT_EXACT,		"exact" },	\
	{ KVMFT_VERDICT_REFUSED,	"refused" }

#define KVMFT_FATE_NAMES				\
	{ KVMFT_FATE_HELD,	"held" },			\
	{ KVMFT_FATE_SENT,	"sent" },			\
	{ KVMFT_FATE_DROPPED,	"dropped" }

#define KVMFT_STALL_NAMES				\
	{ KVMFT_STALL_LOG,	"log-full" },		\
	{ KVMFT_STALL_LAG,	"lag" },		\
	{ KVMFT_STALL_OUTPUT,	"output" },		\
	{ KVMFT_STALL_PACKETS,	"packets-full" },	\
	{ KVMFT_STALL_ARBITER,	"arbiter" }

#define KVMFT_LANDING_NAMES				\
	{ KVMFT_LANDING_HERE,	"here" },		\
	{ KVMFT_LANDING_RUN,	"run" },		\
	{ KVMFT_LANDING_BREAK,	"break" },		\
	{ KVMFT_LANDING_PASSED,	"passed" }

struct kvmft_name {
	unsigned int value;
	const char *name;
};

#define kvmft_name(value, ...)								\
({											\
	static const struct kvmft_name names[] = { __VA_ARGS__ };			\
	kvmft_name_find(value, names, ARRAY_SIZE(names));				\
})

static inline const char *kvmft_name_find(unsigned int value, const struct kvmft_name *names,
					  size_t nr)
{
	for (; nr; names++, nr--)
		if (names->value == value)
			return names->name;
	return "unknown";
}

#endif /* _KVMFT_NAMES_H */
