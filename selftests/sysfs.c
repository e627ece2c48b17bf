// SPDX-License-Identifier: GPL-2.0
/* What /sys/class/misc/kvmft says agrees with what the calls say */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvmft.h"
#include "programs.h"
#include "util.h"

#define ROOT	"/sys/class/misc/kvmft/"

static const char *const device_attrs[] = {
	"api_version", "sessions", "hooks", "counter/verdict", "counter/reason",
	"counter/windows", "counter/wrong", "counter/stops", "counter/lost",
	"counter/skid_max", "counter/skid_histogram",
};

static const char *const session_attrs[] = {
	"state", "end", "exits", "cond", "taken", "stop_at", "stopped_at", "overflows",
	"lost", "spurious", "mode", "seq", "log_bytes", "inputs", "landings", "digests", "acked",
	"peer_seq", "copied", "packets_held", "bytes_held", "packets_sent",
	"packets_resent", "packets_dropped", "generation", "lag_entries", "lag_us", "lag_max",
	"role", "arbiter", "reason",
};

/* Text of an attribute: the session's, or the device's for id 0 */
static const char *attr(u64 id, const char *name)
{
	static char text[4096];
	char path[200];
	int ret;

	if (id)
		snprintf(path, sizeof(path), ROOT "session%llu/%s", (unsigned long long)id, name);
	else
		snprintf(path, sizeof(path), ROOT "%s", name);
	ret = read_file(path, text, sizeof(text));
	CHECK(!ret, "%s: %s", path, tap_ret(ret));
	return text;
}

static u64 number(u64 id, const char *name)
{
	const char *text = attr(id, name);
	char *end;
	u64 value = strtoull(text, &end, 10);

	CHECK(end != text && !*end, "%s is '%s', no number", name, text);
	return value;
}

static void check_text(u64 id, const char *name, const char *want)
{
	const char *got = attr(id, name);

	CHECK(!strcmp(got, want), "%s is '%s', not '%s'", name, got, want);
}

/* Read-only for all, and closed to writing by root too */
static void check_mode(u64 id, const char *name)
{
	struct stat st;
	char path[200];

	if (id)
		snprintf(path, sizeof(path), ROOT "session%llu/%s", (unsigned long long)id, name);
	else
		snprintf(path, sizeof(path), ROOT "%s", name);
	CHECK(!stat(path, &st), "%s: %m", path);
	CHECK((st.st_mode & 0777) == (strcmp(name, "lag_max") ? 0444 : 0644), "%s has mode %o",
	      path, st.st_mode & 0777);
	CHECK(write_file(path, "1") < 0, "%s can be written", path);
}

static bool session_dir(u64 id)
{
	char path[100];

	snprintf(path, sizeof(path), ROOT "session%llu", (unsigned long long)id);
	return !access(path, F_OK);
}

static void device(void)
{
	struct kvmft_info info;
	int dev = kvmft_open_ok();
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(device_attrs); i++)
		check_mode(0, device_attrs[i]);
	kvmft_info_ok(dev, &info);
	CHECK_EQ(number(0, "api_version"), KVMFT_API_VERSION, "api_version");
	CHECK_EQ(number(0, "sessions"), 0, "sessions");
	CHECK_EQ(number(0, "hooks"), 0, "hooks");
	check_text(0, "counter/verdict", "exact");
	check_text(0, "counter/reason", "");
	CHECK(number(0, "counter/windows") >= 10, "only %llu windows in the self-test",
	      (unsigned long long)number(0, "counter/windows"));
	CHECK_EQ(number(0, "counter/wrong"), 0, "counter/wrong");
	CHECK(number(0, "counter/stops") >= 10, "only %llu stops in the self-test",
	      (unsigned long long)number(0, "counter/stops"));
	CHECK_EQ(number(0, "counter/skid_max"), info.skid_max, "counter/skid_max");
}

/* "DISTANCE STOPS" a line: powers of two, rising, all stops but the lost ones */
static void histogram(void)
{
	const char *p = attr(0, "counter/skid_histogram");
	u64 sum = 0, last = 0, from, n;
	char text[4096], *end;
	unsigned int lines = 0;

	snprintf(text, sizeof(text), "%s", p);
	for (p = text; *p; p = end) {
		from = strtoull(p, &end, 10);
		n = strtoull(end, &end, 10);
		CHECK(*end == '\n' || !*end, "'%s' is no histogram", text);
		CHECK(!(from & (from - 1)), "%llu is no power of two", (unsigned long long)from);
		CHECK(!lines || from > last, "%llu follows %llu", (unsigned long long)from,
		      (unsigned long long)last);
		CHECK(n, "an empty line");
		CHECK(from <= number(0, "counter/skid_max"), "%llu is more than skid_max",
		      (unsigned long long)from);
		last = from;
		sum += n;
		lines++;
		while (*end == '\n')
			end++;
	}
	CHECK_EQ(sum, number(0, "counter/stops") - number(0, "counter/lost"),
		 "stops in the histogram");
}

static void compare_session(int session, u64 id)
{
	struct kvmft_session_status status;

	kvmft_status_ok(session, &status);
	CHECK_EQ(number(id, "exits"), status.exits, "exits");
	CHECK_EQ(number(id, "cond"), status.cond, "cond");
	CHECK_EQ(number(id, "taken"), status.taken, "taken");
	CHECK_EQ(number(id, "stop_at"), status.stop_at, "stop_at");
	CHECK_EQ(number(id, "stopped_at"), status.stopped_at, "stopped_at");
	CHECK_EQ(number(id, "overflows"), status.overflows, "overflows");
	CHECK_EQ(number(id, "lost"), status.lost, "lost");
	CHECK_EQ(number(id, "spurious"), status.spurious, "spurious");
	CHECK_EQ(number(id, "seq"), status.seq, "seq");
	CHECK_EQ(number(id, "log_bytes"), status.log_bytes, "log_bytes");
	CHECK_EQ(number(id, "inputs"), status.inputs, "inputs");
	CHECK_EQ(number(id, "landings"), status.landings, "landings");
	CHECK_EQ(number(id, "digests"), status.digests, "digests");
	CHECK_EQ(number(id, "acked"), status.acked, "acked");
	CHECK_EQ(number(id, "peer_seq"), status.peer_seq, "peer_seq");
	CHECK_EQ(number(id, "copied"), status.copied, "copied");
	CHECK_EQ(number(id, "packets_held"), status.packets_held, "packets_held");
	CHECK_EQ(number(id, "bytes_held"), status.bytes_held, "bytes_held");
	CHECK_EQ(number(id, "packets_sent"), status.packets_sent, "packets_sent");
	CHECK_EQ(number(id, "packets_resent"), status.packets_resent, "packets_resent");
	CHECK_EQ(number(id, "packets_dropped"), status.packets_dropped, "packets_dropped");
	CHECK_EQ(number(id, "generation"), status.generation, "generation");
}

static void session(void)
{
	const struct kvm_regs regs = { .r15 = 100000 };
	struct kvmft_session_status status;
	int dev = kvmft_open_ok(), fd, kept, ret;
	struct kvmft_info info;
	char path[100], byte;
	unsigned int i;
	struct vm vm;

	program_vm(&vm, 0);
	fd = kvmft_create_ok(dev, vm.fd);
	kvmft_status_ok(fd, &status);
	kvmft_info_ok(dev, &info);
	CHECK_EQ(number(0, "sessions"), 1, "sessions");
	CHECK_EQ(number(0, "hooks"), info.hooks, "hooks");
	CHECK(info.hooks, "nothing is hooked");
	for (i = 0; i < ARRAY_SIZE(session_attrs); i++)
		check_mode(status.id, session_attrs[i]);
	check_text(status.id, "state", "armed");
	check_text(status.id, "end", "none");
	compare_session(fd, status.id);

	vm_start(&vm, spin, &regs);
	kvmft_stop_ok(fd, 1000);
	CHECK_EQ(number(status.id, "stop_at"), 1000, "stop_at");
	CHECK_RET(vm_run(&vm), -EINTR, "a run with a stop");
	check_text(status.id, "state", "counting");
	compare_session(fd, status.id);
	CHECK(number(status.id, "stopped_at") >= 1000, "stopped_at is too small");
	CHECK_EQ(vm_run(&vm), PORT_DONE, "port");
	CHECK_EQ(number(status.id, "cond"), 100000, "cond");
	compare_session(fd, status.id);

	snprintf(path, sizeof(path), ROOT "session%llu/cond", (unsigned long long)status.id);
	kept = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(kept >= 0, "%s: %m", path);

	vm_destroy(&vm);
	wait_until(!strcmp(attr(status.id, "state"), "ended"), "state to be 'ended'");
	check_text(status.id, "end", "vm-destroyed");
	CHECK_EQ(number(status.id, "cond"), 100000, "cond of an ended session");
	CHECK(session_dir(status.id), "the directory of an ended session is gone");
	close(fd);
	CHECK(!session_dir(status.id), "the directory of a closed session is there");
	CHECK_EQ(number(0, "sessions"), 0, "sessions");
	ret = read(kept, &byte, 1) < 0 ? -errno : 0;
	CHECK_RET(ret, -ENODEV, "reading an attribute of a closed session");
	close(kept);
}

static bool stop_reading;

static void *read_all(void *arg)
{
	char path[300], text[256];
	u64 id = 0, max_id, *reads = arg;
	unsigned int i;
	int ret;

	while (!__atomic_load_n(&stop_reading, __ATOMIC_ACQUIRE)) {
		max_id = __atomic_load_n(&reads[1], __ATOMIC_ACQUIRE);
		for (id = max_id > 3 ? max_id - 3 : 1; id <= max_id + 1; id++) {
			for (i = 0; i < ARRAY_SIZE(session_attrs); i++) {
				snprintf(path, sizeof(path), ROOT "session%llu/%s",
					 (unsigned long long)id, session_attrs[i]);
				ret = read_file(path, text, sizeof(text));
				CHECK(!ret || ret == -ENOENT || ret == -ENODEV, "%s: %s", path,
				      tap_ret(ret));
				reads[0] += !ret;
			}
		}
	}
	return NULL;
}

/* Attributes are read while their sessions come and go */
static void read_while_sessions_end(void)
{
	struct kvmft_session_status status;
	int dev = kvmft_open_ok(), fd, i;
	u64 reads[2] = { 0, 1 };
	pthread_t thread;
	struct vm vm, keeper;

	/* Its session keeps the hooks in place: the loop is quick */
	program_vm(&keeper, 0);
	kvmft_create_ok(dev, keeper.fd);
	program_vm(&vm, 0);
	CHECK(!pthread_create(&thread, NULL, read_all, reads), "pthread_create");
	for (i = 0; i < 100 || (i < 5000 && !__atomic_load_n(&reads[0], __ATOMIC_RELAXED)); i++) {
		fd = kvmft_create_ok(dev, vm.fd);
		kvmft_status_ok(fd, &status);
		__atomic_store_n(&reads[1], status.id, __ATOMIC_RELEASE);
		usleep(i % 7 * 200);
		close(fd);
	}
	__atomic_store_n(&stop_reading, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	tap_diag("%llu attributes read of %d sessions", (unsigned long long)reads[0], i);
	CHECK(reads[0], "no attribute was read while its session lived");
}

static const struct tap_case cases[] = {
	{ "device", device, 0 },
	{ "histogram", histogram, 0 },
	{ "session", session, 0 },
	{ "read_while_sessions_end", read_while_sessions_end, 0 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, &KVMFT_SUITE(cases, kvmft_setup, kvmft_teardown));
}
