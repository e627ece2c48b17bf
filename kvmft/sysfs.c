// SPDX-License-Identifier: GPL-2.0
#include <linux/err.h>
#include <linux/minmax.h>
#include <linux/slab.h>

#include "hook.h"
#include "names.h"
#include "selftest.h"
#include "sysfs.h"

/* The device. */

static ssize_t api_version_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", KVMFT_API_VERSION);
}
static DEVICE_ATTR_RO(api_version);

static ssize_t sessions_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", kvmft_sessions());
}
static DEVICE_ATTR_RO(sessions);

static ssize_t hooks_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", kvmft_hooks_installed());
}
static DEVICE_ATTR_RO(hooks);

static struct attribute *device_attrs[] = {
	&dev_attr_api_version.attr,
	&dev_attr_sessions.attr,
	&dev_attr_hooks.attr,
	NULL
};

static const struct attribute_group device_group = {
	.attrs = device_attrs,
};

/* The verdict on the counters. */

static ssize_t verdict_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct kvmft_verdict_report report;

	kvmft_selftest_report(&report);
	return sysfs_emit(buf, "%s\n", kvmft_name(report.verdict, KVMFT_VERDICT_NAMES));
}
static DEVICE_ATTR_RO(verdict);

static ssize_t reason_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct kvmft_verdict_report report;

	kvmft_selftest_report(&report);
	return sysfs_emit(buf, "%s\n", report.reason);
}
static DEVICE_ATTR_RO(reason);

#define REPORT_ATTR(name, format)							\
static ssize_t name##_show(struct device *dev, struct device_attribute *attr, char *buf)	\
{											\
	struct kvmft_verdict_report report;						\
											\
	kvmft_selftest_report(&report);							\
	return sysfs_emit(buf, format "\n", report.name);				\
}											\
static DEVICE_ATTR_RO(name)

REPORT_ATTR(windows, "%u");
REPORT_ATTR(wrong, "%u");
REPORT_ATTR(stops, "%u");
REPORT_ATTR(lost, "%u");
REPORT_ATTR(skid_max, "%llu");

static ssize_t skid_histogram_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct kvmft_verdict_report report;
	ssize_t len = 0;
	int i;

	kvmft_selftest_report(&report);
	for (i = 0; i < KVMFT_SKID_BUCKETS; i++)
		if (report.skid[i])
			len += sysfs_emit_at(buf, len, "%lu %u\n", i ? BIT(i - 1) : 0UL,
					     report.skid[i]);
	return len;
}
static DEVICE_ATTR_RO(skid_histogram);

static struct attribute *counter_attrs[] = {
	&dev_attr_verdict.attr,
	&dev_attr_reason.attr,
	&dev_attr_windows.attr,
	&dev_attr_wrong.attr,
	&dev_attr_stops.attr,
	&dev_attr_lost.attr,
	&dev_attr_skid_max.attr,
	&dev_attr_skid_histogram.attr,
	NULL
};

static const struct attribute_group counter_group = {
	.name = "counter",
	.attrs = counter_attrs,
};

const struct attribute_group *kvmft_sysfs_groups[] = {
	&device_group,
	&counter_group,
	NULL
};

/* A session. */

struct session_kobj {
	struct kobject kobj;
	struct kvmft_session *session;
	struct kernfs_node *state;
};

struct session_attr {
	struct attribute attr;
	ssize_t (*show)(struct kvmft_session *session, const struct kvmft_session_status *status,
			char *buf);
	int (*store)(struct kvmft_session *session, const char *buf);
};

#define SESSION_ATTR(_name, format, value)						\
static ssize_t session_##_name##_show(struct kvmft_session *session,			\
				      const struct kvmft_session_status *status, char *buf)	\
{											\
	return sysfs_emit(buf, format "\n", value);					\
}											\
static const struct session_attr session_attr_##_name = {				\
	.attr = { .name = #_name, .mode = 0444 },					\
	.show = session_##_name##_show,							\
}

/* How many entries the backup is behind, as this side knows. */
static u64 lag_of(const struct kvmft_session_status *status)
{
	u64 ahead = status->seq, behind = status->peer_seq;

	if (!status->role)
		return 0;
	if (status->role == KVMFT_ROLE_BACKUP)
		swap(ahead, behind);
	return ahead > behind ? ahead - behind : 0;
}

SESSION_ATTR(state, "%s", kvmft_name(status->state, KVMFT_STATE_NAMES));
SESSION_ATTR(end, "%s", kvmft_name(status->end, KVMFT_END_NAMES));
SESSION_ATTR(exits, "%llu", status->exits);
SESSION_ATTR(cond, "%llu", status->cond);
SESSION_ATTR(taken, "%llu", status->taken);
SESSION_ATTR(stop_at, "%llu", status->stop_at);
SESSION_ATTR(stopped_at, "%llu", status->stopped_at);
SESSION_ATTR(overflows, "%llu", status->overflows);
SESSION_ATTR(lost, "%llu", status->lost);
SESSION_ATTR(spurious, "%llu", status->spurious);
SESSION_ATTR(mode, "%s", kvmft_name(status->mode, KVMFT_MODE_NAMES));
SESSION_ATTR(seq, "%llu", status->seq);
SESSION_ATTR(log_bytes, "%llu", status->log_bytes);
SESSION_ATTR(inputs, "%llu", status->inputs);
SESSION_ATTR(landings, "%llu", status->landings);
SESSION_ATTR(digests, "%llu", status->digests);
SESSION_ATTR(acked, "%llu", status->acked);
SESSION_ATTR(peer_seq, "%llu", status->peer_seq);
SESSION_ATTR(copied, "%llu", status->copied);
SESSION_ATTR(packets_held, "%llu", status->packets_held);
SESSION_ATTR(bytes_held, "%llu", status->bytes_held);
SESSION_ATTR(packets_sent, "%llu", status->packets_sent);
SESSION_ATTR(packets_resent, "%llu", status->packets_resent);
SESSION_ATTR(packets_dropped, "%llu", status->packets_dropped);
SESSION_ATTR(role, "%s", kvmft_name(status->role, KVMFT_ROLE_NAMES));
SESSION_ATTR(generation, "%llu", status->generation);
SESSION_ATTR(lag_entries, "%llu", lag_of(status));
SESSION_ATTR(lag_us, "%llu", status->lag_us);
SESSION_ATTR(reason, "%s", kvmft_session_reason(session));

static ssize_t session_arbiter_show(struct kvmft_session *session,
				    const struct kvmft_session_status *status, char *buf)
{
	char text[128];

	kvmft_session_verdict(session, text, sizeof(text));
	return sysfs_emit(buf, "%s\n", text);
}

static const struct session_attr session_attr_arbiter = {
	.attr = { .name = "arbiter", .mode = 0444 },
	.show = session_arbiter_show,
};

static ssize_t session_lag_max_show(struct kvmft_session *session,
				    const struct kvmft_session_status *status, char *buf)
{
	return sysfs_emit(buf, "%llu\n", kvmft_session_lag_max(session));
}

static int session_lag_max_store(struct kvmft_session *session, const char *buf)
{
	u64 lag_max;
	int ret;

	ret = kstrtou64(buf, 10, &lag_max);
	return ret ?: kvmft_session_set_lag_max(session, lag_max);
}

static const struct session_attr session_attr_lag_max = {
	.attr = { .name = "lag_max", .mode = 0644 },
	.show = session_lag_max_show,
	.store = session_lag_max_store,
};

static const struct attribute *const session_attrs[] = {
	&session_attr_state.attr,
	&session_attr_end.attr,
	&session_attr_exits.attr,
	&session_attr_cond.attr,
	&session_attr_taken.attr,
	&session_attr_stop_at.attr,
	&session_attr_stopped_at.attr,
	&session_attr_overflows.attr,
	&session_attr_lost.attr,
	&session_attr_spurious.attr,
	&session_attr_mode.attr,
	&session_attr_seq.attr,
	&session_attr_log_bytes.attr,
	&session_attr_inputs.attr,
	&session_attr_landings.attr,
	&session_attr_digests.attr,
	&session_attr_acked.attr,
	&session_attr_peer_seq.attr,
	&session_attr_copied.attr,
	&session_attr_packets_held.attr,
	&session_attr_bytes_held.attr,
	&session_attr_packets_sent.attr,
	&session_attr_packets_resent.attr,
	&session_attr_packets_dropped.attr,
	&session_attr_generation.attr,
	&session_attr_lag_entries.attr,
	&session_attr_lag_us.attr,
	&session_attr_lag_max.attr,
	&session_attr_role.attr,
	&session_attr_arbiter.attr,
	&session_attr_reason.attr,
	NULL
};

static ssize_t session_show(struct kobject *kobj, struct attribute *attr, char *buf)
{
	struct session_kobj *sk = container_of(kobj, struct session_kobj, kobj);
	struct session_attr *sa = container_of(attr, struct session_attr, attr);
	struct kvmft_session_status status = {};

	kvmft_session_status(sk->session, &status);
	return sa->show(sk->session, &status, buf);
}

static ssize_t session_store(struct kobject *kobj, struct attribute *attr, const char *buf,
			     size_t len)
{
	struct session_kobj *sk = container_of(kobj, struct session_kobj, kobj);
	struct session_attr *sa = container_of(attr, struct session_attr, attr);
	int ret;

	if (!sa->store)
		return -EIO;
	ret = sa->store(sk->session, buf);
	return ret ?: len;
}

static void session_release(struct kobject *kobj)
{
	struct session_kobj *sk = container_of(kobj, struct session_kobj, kobj);

	kvmft_session_put(sk->session);
	kfree(sk);
}

static const struct sysfs_ops session_sysfs_ops = {
	.show = session_show,
	.store = session_store,
};

static const struct kobj_type session_ktype = {
	.release = session_release,
	.sysfs_ops = &session_sysfs_ops,
};

/* Who polls the attribute "state" is woken. */
static void state_changed(void *arg)
{
	const struct session_kobj *sk = arg;

	sysfs_notify_dirent(sk->state);
}

struct kobject *kvmft_sysfs_add_session(struct kobject *parent, struct kvmft_session *session)
{
	struct session_kobj *sk;
	int ret;

	sk = kzalloc(sizeof(*sk), GFP_KERNEL);
	if (!sk)
		return ERR_PTR(-ENOMEM);
	kvmft_session_get(session);
	sk->session = session;
	ret = kobject_init_and_add(&sk->kobj, &session_ktype, parent, "session%llu",
				   session->vcpu.id);
	if (!ret)
		ret = sysfs_create_files(&sk->kobj, session_attrs);
	if (ret) {
		kobject_put(&sk->kobj);
		return ERR_PTR(ret);
	}
	sk->state = sysfs_get_dirent(sk->kobj.sd, "state");
	kvmft_session_on_change(session, state_changed, sk);
	return &sk->kobj;
}

void kvmft_sysfs_remove_session(struct kobject *kobj)
{
	struct session_kobj *sk = container_of(kobj, struct session_kobj, kobj);

	kvmft_session_on_change(sk->session, NULL, NULL);
	sysfs_put(sk->state);
	kobject_del(kobj);
	kobject_put(kobj);
}
