// SPDX-License-Identifier: GPL-2.0
/*
 * Two sides of a pair, on one host: micro guests that run here and there at the same time, over
 * TCP on the loopback interface; and peers that do not match, lie, stall or go.  A peer of the
 * test's own speaks what Documentation/wire-format.rst says.  The environment names seed
 * (KVMFT_SEED) and align_us (KVMFT_ALIGN).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kvmft.h"
#include "microrun.h"
#include "tcp.h"
#include "util.h"

#define HEARTBEAT	50
#define TIMEOUT		5000	/* a slow host has to keep up */
#define SHORT		400	/* where a peer is silent for good */
#define AT_ONCE		3000	/* less than TIMEOUT */
#define MAX_CPUID	256	/* leaves */
#define SMALL		8192	/* bytes of TCP's buffers */

static int dev;

static struct kvmft_session_pair side(int socket, enum kvmft_role role)
{
	return (struct kvmft_session_pair) {
		.size = sizeof(struct kvmft_session_pair), .socket_fd = socket, .role = role,
		.id = "the pair's name", .generation = 7, .heartbeat_ms = HEARTBEAT,
		.timeout_ms = TIMEOUT,
		.align_us = role == KVMFT_ROLE_PRIMARY ? env_u64("KVMFT_ALIGN", 0) : 0,
	};
}

/*
 * Both sides with a module behind them.
 */
struct primary {
	const struct micro *micro;
	struct kvmft_session_pair pair;
	u64 seed;
	struct micro_outcome outcome;
};

static void *primary_thread(void *arg)
{
	struct primary *primary = arg;

	micro_primary(dev, primary->micro, &primary->pair, primary->seed, &primary->outcome);
	return NULL;
}

static void run_pair(const char *name)
{
	struct primary primary = { .micro = micro_of(name), .seed = env_u64("KVMFT_SEED", 1) };
	struct kvmft_session_pair backup;
	struct micro_outcome outcome;
	char reason[300] = "";
	pthread_t thread;
	int ends[2];
	bool done;

	dev = kvmft_open_ok();
	tcp_connection(ends);
	primary.pair = side(ends[0], KVMFT_ROLE_PRIMARY);
	backup = side(ends[1], KVMFT_ROLE_BACKUP);
	CHECK(!pthread_create(&thread, NULL, primary_thread, &primary), "pthread_create");
	done = micro_backup(dev, primary.micro, &backup, primary.seed, &outcome, reason,
			    sizeof(reason));
	pthread_join(thread, NULL);
	CHECK(done, "%s: the backup ended (%u): %s", name, outcome.status.end, reason);
	micro_check_same(&primary.outcome, &outcome);
	CHECK_EQ(outcome.status.copied, 0, "bytes copied");
	tap_diag("%s: %llu entries, %llu bytes, %llu inputs, %llu landings", name,
		 (unsigned long long)outcome.status.seq,
		 (unsigned long long)outcome.status.log_bytes,
		 (unsigned long long)outcome.status.inputs,
		 (unsigned long long)outcome.status.landings);
	close(ends[0]);
	close(ends[1]);
}

#define PAIR_CASE(name)		static void pair_##name(void) { run_pair(#name); }
PAIR_CASE(tsc)
PAIR_CASE(pio)
PAIR_CASE(string)
PAIR_CASE(mmio)
PAIR_CASE(branches)
PAIR_CASE(halt)
PAIR_CASE(timer)
PAIR_CASE(nmi)
PAIR_CASE(input)
PAIR_CASE(reset)

/* A VM with a session that is no side of a pair yet */
static int new_session(struct vm *vm, const struct micro *micro)
{
	micro_vm(vm, micro);
	return kvmft_create_ok(dev, vm->fd);
}

/*
 * What is refused.
 */
static int try(const struct kvmft_session_pair *pair, void (*change)(const struct vm *vm))
{
	struct vm vm;
	int session = new_session(&vm, micro_of("tsc"));
	int ret;

	if (change)
		change(&vm);
	ret = kvmft_pair(session, pair);
	close(session);
	vm_destroy(&vm);
	return ret;
}

static void arguments(void)
{
	struct kvmft_session_pair pair;
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int ends[2], udp = socket(AF_INET, SOCK_DGRAM, 0), tcp = socket(AF_INET, SOCK_STREAM, 0);

	dev = kvmft_open_ok();
	CHECK(udp >= 0 && tcp >= 0 && !connect(udp, (struct sockaddr *)&addr, sizeof(addr)),
	      "sockets: %m");
	tcp_connection(ends);
#define REFUSED(change, error, what)						\
	do {									\
		pair = side(ends[0], KVMFT_ROLE_BACKUP);			\
		change;								\
		CHECK_RET(try(&pair, NULL), error, what);				\
	} while (0)
	REFUSED(pair.socket_fd = -1, -EBADF, "no descriptor");
	REFUSED(pair.socket_fd = dev, -ENOTSOCK, "no socket");
	REFUSED(pair.socket_fd = udp, -EINVAL, "UDP");
	REFUSED(pair.socket_fd = tcp, -EINVAL, "not connected");
	REFUSED(pair.role = 0, -EINVAL, "no role");
	REFUSED(pair.role = 3, -EINVAL, "an unknown role");
	REFUSED(pair.align_us = 1, -EINVAL, "align_us of a backup");
	REFUSED(pair.flags = 2, -EINVAL, "flags");
	REFUSED(pair.arbiter_fd = 1, -EINVAL, "a disk without the flag");
	REFUSED(pair.arbiter_block = 1, -EINVAL, "a block without the flag");
	REFUSED(pair.reserved[2] = 1, -EINVAL, "reserved");
	REFUSED(pair.heartbeat_ms = 0, -ERANGE, "no heartbeat");
	REFUSED(pair.heartbeat_ms = KVMFT_HEARTBEAT_MAX + 1, -ERANGE, "a long heartbeat");
	REFUSED(pair.timeout_ms = 3 * HEARTBEAT - 1, -ERANGE, "a short time-out");
	REFUSED(pair.timeout_ms = KVMFT_TIMEOUT_MAX + 1, -ERANGE, "a long time-out");
	REFUSED(pair.timeout_ms = SHORT, -ETIMEDOUT, "nobody there");
#undef REFUSED
	close(ends[0]);
	close(ends[1]);
	close(tcp);
	close(udp);
}

static void as_primary(struct kvmft_session_pair *pair)
{
	pair->role = KVMFT_ROLE_PRIMARY;
}

static void as_stranger(struct kvmft_session_pair *pair)
{
	pair->id[15] = 1;
}

static void as_successor(struct kvmft_session_pair *pair)
{
	pair->generation++;
}

static void with_other_cpuid(const struct vm *vm)
{
	struct kvm_cpuid2 *cpuid;
	unsigned int i = 0;

	cpuid = calloc(1, sizeof(*cpuid) + MAX_CPUID * sizeof(cpuid->entries[0]));
	CHECK(cpuid, "out of memory");
	cpuid->nent = MAX_CPUID;
	CHECK(!ioctl(vm->vcpu, KVM_GET_CPUID2, cpuid), "KVM_GET_CPUID2: %m");
	while (i < cpuid->nent && cpuid->entries[i].function != 1)
		i++;
	CHECK(i < cpuid->nent, "no CPUID 1");
	/* The brand ID, which nobody uses */
	cpuid->entries[i].ebx ^= 1;
	CHECK(!ioctl(vm->vcpu, KVM_SET_CPUID2, cpuid), "KVM_SET_CPUID2: %m");
	free(cpuid);
}

static void with_more_memory(const struct vm *vm)
{
	struct kvm_userspace_memory_region region = {
		.slot = 7, .guest_phys_addr = 1ULL << 32, .memory_size = 4096,
	};
	void *mem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(mem != MAP_FAILED, "mmap: %m");
	region.userspace_addr = (uintptr_t)mem;
	CHECK(!ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region),
	      "KVM_SET_USER_MEMORY_REGION: %m");
}

/* Why two sides do not belong together, and what both say then */
static const struct mismatch {
	const char *says;
	void (*pair)(struct kvmft_session_pair *pair);	/* what the other asks for */
	void (*vm)(const struct vm *vm);		/* what its VM is like */
} reasons[] = {
	{ "both sides are primary", as_primary, NULL },
	{ ": session 7468652070616972", as_stranger, NULL },
	{ ": generation ", as_successor, NULL },
	{ "the guest's CPUID is another at the peer", NULL, with_other_cpuid },
	{ "the guest's memory is laid out differently at the peer", NULL, with_more_memory },
};

struct other {
	const struct mismatch *mismatch;
	int socket;
	int ret;
};

static void *other_thread(void *arg)
{
	struct other *other = arg;
	struct kvmft_session_pair pair = side(other->socket, KVMFT_ROLE_BACKUP);

	if (other->mismatch->pair)
		other->mismatch->pair(&pair);
	other->ret = try(&pair, other->mismatch->vm);
	return NULL;
}

/* Two sides that do not belong together are refused on both */
static void mismatches(void)
{
	struct kvmft_session_pair pair;
	struct other other;
	pthread_t thread;
	int ends[2], log;
	unsigned int i;

	dev = kvmft_open_ok();
	for (i = 0; i < ARRAY_SIZE(reasons); i++) {
		log = kernel_log();
		tcp_connection(ends);
		pair = side(ends[0], KVMFT_ROLE_PRIMARY);
		other = (struct other) { .mismatch = &reasons[i], .socket = ends[1] };
		CHECK(!pthread_create(&thread, NULL, other_thread, &other), "pthread_create");
		CHECK_RET(try(&pair, NULL), -EPROTO, reasons[i].says);
		pthread_join(thread, NULL);
		CHECK_RET(other.ret, -EPROTO, reasons[i].says);
		CHECK_EQ(kernel_log_lines(log, reasons[i].says), 2, reasons[i].says);
		close(log);
		close(ends[0]);
		close(ends[1]);
	}
}

/*
 * A peer of the test's own.
 */
struct header {
	u32 magic;
	u16 type;
	u16 reserved;
	u32 len;
	u32 crc;
	u64 number;
};

enum { HELLO = 1, ENTRIES, MARK, BYE };

#define MAGIC		0x576d766b	/* "kvmW" */

struct hello {
	u32 version;
	u32 log_version;
	u32 role;
	u32 cpu;
	u32 microcode;
	u32 tsc_khz;
	u8 id[16];
	u64 generation;
	u16 arbiter;
	u16 cpuid;
	u32 slots;
	u8 instance[16];
};

static u32 crc32c(u32 crc, const void *bytes, size_t len)
{
	const u8 *p = bytes;
	int bit;

	crc = ~crc;
	while (len--) {
		crc ^= *p++;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static void send_bytes(int socket, const void *bytes, size_t len)
{
	CHECK(send(socket, bytes, len, MSG_NOSIGNAL) == (ssize_t)len, "send: %m");
}

static void send_message(int socket, u16 type, u64 number, const void *payload, u32 len)
{
	struct header header = { .magic = MAGIC, .type = type, .len = len, .number = number };

	header.crc = crc32c(crc32c(0, &header, sizeof(header)), payload, len);
	send_bytes(socket, &header, sizeof(header));
	send_bytes(socket, payload, len);
}

/* The next message; false: the connection is closed */
static bool receive_message(int socket, struct header *header, void *payload, size_t size)
{
	if (recv(socket, header, sizeof(*header), MSG_WAITALL) != sizeof(*header))
		return false;
	CHECK(header->magic == MAGIC && header->len <= size, "message %llu: type %u, %u bytes",
	      (unsigned long long)header->number, header->type, header->len);
	return recv(socket, payload, header->len, MSG_WAITALL) == header->len;
}

/* A primary or backup of the module's, greeted, and its guest, which runs */
struct victim {
	const struct micro *micro;
	struct kvmft_session_pair pair;
	struct vm vm;
	int session;
	u64 id;
	int socket;		/* the test's end */
	struct hello hello;
	pthread_t greeter;
	pthread_t runner;
	bool done;
};

static u8 payload[2 << 20];

static void receive_hello(int socket, struct hello *hello, enum kvmft_role role)
{
	struct header header;

	CHECK(receive_message(socket, &header, hello, sizeof(*hello)) && header.type == HELLO &&
	      !header.number && header.len == sizeof(*hello), "no hello");
	CHECK_EQ(hello->role, role, "role");
	CHECK_EQ(hello->generation, 7, "generation");
}

/* A primary of the module's that says hello to us; what it gets is @answer's to say */
static int meet_primary(struct hello *hello, void (*answer)(int socket))
{
	static const struct mismatch primary = { .pair = as_primary };
	struct other other = { .mismatch = &primary };
	pthread_t thread;
	int ends[2];

	tcp_connection(ends);
	other.socket = ends[0];
	CHECK(!pthread_create(&thread, NULL, other_thread, &other), "pthread_create");
	receive_hello(ends[1], hello, KVMFT_ROLE_PRIMARY);
	answer(ends[1]);
	pthread_join(thread, NULL);
	close(ends[0]);
	close(ends[1]);
	return other.ret;
}

/* Say of ourselves what the module says, but for the role; a backup answers */
static void *greet_thread(void *arg)
{
	struct victim *victim = arg;
	struct hello hello;

	if (victim->pair.role == KVMFT_ROLE_BACKUP)
		send_message(victim->socket, HELLO, 0, &victim->hello, sizeof(hello));
	receive_hello(victim->socket, &hello, victim->pair.role);
	if (victim->pair.role == KVMFT_ROLE_BACKUP)
		return NULL;
	hello.role = KVMFT_ROLE_BACKUP;
	send_message(victim->socket, HELLO, 0, &hello, sizeof(hello));
	return NULL;
}

static void *run_thread(void *arg)
{
	struct victim *victim = arg;
	struct rng rng;

	rng_seed(&rng, 1);
	victim->done = micro_run(&victim->vm, victim->micro, &rng, -1);
	return NULL;
}

static void hang_up(int socket)
{
	shutdown(socket, SHUT_RDWR);
}

static void start_victim_of(struct victim *victim, const struct micro *micro, enum kvmft_role role,
			    u32 timeout_ms)
{
	struct kvmft_session_status status;
	int ends[2], size = SMALL;

	dev = kvmft_open_ok();
	*victim = (struct victim) { .micro = micro };
	if (role == KVMFT_ROLE_BACKUP)
		CHECK_RET(meet_primary(&victim->hello, hang_up), -ECONNRESET, "nobody there");
	tcp_connection(ends);
	CHECK(!setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) &&
	      !setsockopt(ends[1], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), "buffers: %m");
	victim->socket = ends[1];
	victim->pair = side(ends[0], role);
	victim->pair.timeout_ms = timeout_ms;
	victim->session = new_session(&victim->vm, micro);
	CHECK(!pthread_create(&victim->greeter, NULL, greet_thread, victim), "pthread_create");
	CHECK_RET(kvmft_pair(victim->session, &victim->pair), 0, "KVMFT_SESSION_PAIR");
	pthread_join(victim->greeter, NULL);
	close(ends[0]);
	kvmft_status_ok(victim->session, &status);
	victim->id = status.id;
	CHECK(!pthread_create(&victim->runner, NULL, run_thread, victim), "pthread_create");
}

static void start_victim(struct victim *victim, enum kvmft_role role, u32 timeout_ms)
{
	start_victim_of(victim, micro_of("tsc"), role, timeout_ms);
}

/* Its session ends, with @words in the reason, at once; a primary's guest does all of its work */
static void check_ended(struct victim *victim, const char *words)
{
	struct pollfd pfd = { .fd = victim->session };
	struct kvmft_session_status status;
	char reason[300];

	CHECK(poll(&pfd, 1, AT_ONCE + victim->pair.timeout_ms) == 1, "the session does not end");
	kvmft_status_ok(victim->session, &status);
	micro_reason(victim->id, reason, sizeof(reason));
	CHECK(status.end == KVMFT_END_LOG_ERROR && strstr(reason, words), "end %u: %s", status.end,
	      reason);
	if (victim->pair.role == KVMFT_ROLE_BACKUP) {
		/* It is held in KVM_RUN */
		close(victim->session);
		victim->session = -1;
	}
	pthread_join(victim->runner, NULL);
	CHECK(victim->done == (victim->pair.role == KVMFT_ROLE_PRIMARY), "the guest is %s",
	      victim->done ? "done" : "not done");
}

static void end_victim(struct victim *victim)
{
	if (victim->session >= 0)
		close(victim->session);
	close(victim->socket);
	vm_destroy(&victim->vm);
}

/* What a liar does, behind its hello */
static void lie_magic(int socket)
{
	static const u8 zeroes[sizeof(struct header)];

	send_bytes(socket, zeroes, sizeof(zeroes));
}

static void lie_type(int socket)
{
	send_message(socket, 5, 1, "what", 4);
}

static void lie_direction(int socket)
{
	send_message(socket, ENTRIES, 1, "0123456789", 10);
}

static void lie_again(int socket)
{
	struct hello hello = { .version = 2 };

	send_message(socket, HELLO, 1, &hello, sizeof(hello));
}

static void lie_length(int socket)
{
	send_message(socket, MARK, 1, "short", 5);
}

static void lie_huge(int socket)
{
	struct header header = { .magic = MAGIC, .type = BYE, .len = ~0U, .number = 1 };

	send_bytes(socket, &header, sizeof(header));
}

static void lie_repeated(int socket)
{
	u64 mark[3] = { 0 };

	send_message(socket, MARK, 1, mark, sizeof(mark));
	send_message(socket, MARK, 1, mark, sizeof(mark));
}

static void lie_skipped(int socket)
{
	u64 mark[3] = { 0 };

	send_message(socket, MARK, 2, mark, sizeof(mark));
}

static void lie_damaged(int socket)
{
	struct header header = { .magic = MAGIC, .type = MARK, .len = 24, .number = 1 };
	u64 mark[3] = { 0 };

	send_bytes(socket, &header, sizeof(header));
	send_bytes(socket, mark, sizeof(mark));
}

static void lie_acknowledgement(int socket)
{
	u64 mark[3] = { 1ULL << 40 };

	send_message(socket, MARK, 1, mark, sizeof(mark));
}

static void send_bye(int socket, u64 number, const char *text)
{
	struct {
		u32 reason;
		u32 reserved;
		char text[8];
	} bye = { .reason = 1 };

	memcpy(bye.text, text, sizeof(bye.text));
	send_message(socket, BYE, number, &bye, sizeof(bye));
}

static void lie_bye(int socket)
{
	send_bye(socket, 1, "\033[31mred");
}

static void leave(int socket)
{
	send_bye(socket, 1, "good-bye");
}

static void refuse(int socket)
{
	send_bye(socket, 0, "good-bye");
}

/* A primary whose backup lies: its session ends with the reason, its guest is not hurt */
static void lies(void)
{
	static const struct {
		void (*lie)(int socket);
		const char *words;
	} liars[] = {
		{ lie_magic, "not a message of kvmft" },
		{ lie_type, "unknown type" },
		{ lie_direction, "out of place" },
		{ lie_again, "out of place" },
		{ lie_length, "impossible length" },
		{ lie_huge, "impossible length" },
		{ lie_repeated, "missing, repeated or out of order" },
		{ lie_skipped, "missing, repeated or out of order" },
		{ lie_damaged, "damaged" },
		{ lie_acknowledgement, "acknowledges byte 1099511627776" },
		{ lie_bye, "out of range" },
		{ leave, "the backup gives up: good-bye" },
		{ hang_up, "closed the connection" },
	};
	struct victim victim;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(liars); i++) {
		start_victim(&victim, KVMFT_ROLE_PRIMARY, TIMEOUT);
		liars[i].lie(victim.socket);
		check_ended(&victim, liars[i].words);
		end_victim(&victim);
	}
}

/* A backup that refuses its primary answers with its reason alone */
static void refusal(void)
{
	struct hello hello;
	int log = kernel_log();

	dev = kvmft_open_ok();
	CHECK_RET(meet_primary(&hello, refuse), -EPROTO, "a backup that refuses");
	CHECK_EQ(kernel_log_lines(log, "the backup gives up: good-bye"), 1, "the reason");
	close(log);
}

/* When its engine can not be started the session is no side of a pair: it can become a recording */
static void not_started(void)
{
	struct kvm_ioeventfd event = {
		.addr = PORT_NOP, .fd = eventfd(0, EFD_CLOEXEC), .flags = KVM_IOEVENTFD_FLAG_PIO,
	};
	struct victim victim = { .micro = micro_of("tsc") };
	struct kvmft_session_status status;
	int ends[2], log = micro_open_log();

	dev = kvmft_open_ok();
	tcp_connection(ends);
	victim.socket = ends[1];
	victim.pair = side(ends[0], KVMFT_ROLE_PRIMARY);
	victim.session = new_session(&victim.vm, victim.micro);
	CHECK(event.fd >= 0 && !ioctl(victim.vm.fd, KVM_IOEVENTFD, &event), "KVM_IOEVENTFD: %m");
	CHECK(!pthread_create(&victim.greeter, NULL, greet_thread, &victim), "pthread_create");
	CHECK_RET(kvmft_pair(victim.session, &victim.pair), -EOPNOTSUPP, "KVMFT_SESSION_PAIR");
	pthread_join(victim.greeter, NULL);
	event.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
	CHECK(!ioctl(victim.vm.fd, KVM_IOEVENTFD, &event), "KVM_IOEVENTFD: %m");
	CHECK_RET(kvmft_record(victim.session, log, 0), 0, "KVMFT_SESSION_RECORD");
	kvmft_status_ok(victim.session, &status);
	CHECK_EQ(status.role, 0, "role of a recording");
	CHECK_EQ(status.generation, 0, "generation of a recording");
	end_victim(&victim);
	close(ends[0]);
	close(event.fd);
	close(log);
}

/* A backup that takes no data, its ring being full, but replays, is slow; then it stands still */
static void slow_backup(void)
{
	struct micro micro = *micro_of("string");
	struct kvmft_session_status status;
	u64 mark[3] = { 0 }, number;
	struct victim victim;

	micro.iterations = 1000;
	start_victim_of(&victim, &micro, KVMFT_ROLE_PRIMARY, SHORT);
	for (number = 1; number <= 4 * SHORT / HEARTBEAT; number++) {
		mark[1]++;
		send_message(victim.socket, MARK, number, mark, sizeof(mark));
		usleep(HEARTBEAT * 1000);
	}
	kvmft_status_ok(victim.session, &status);
	CHECK_EQ(status.end, 0, "how the session of a primary ended whose backup is slow");
	CHECK(status.log_bytes > 10 * SMALL, "%llu bytes of the log",
	      (unsigned long long)status.log_bytes);
	for (; !status.end; number++) {
		send_message(victim.socket, MARK, number, mark, sizeof(mark));
		usleep(HEARTBEAT * 1000);
		kvmft_status_ok(victim.session, &status);
	}
	check_ended(&victim, "takes no data for");
	end_victim(&victim);
}

/* A backup takes no part of a log but the next one */
static void wrong_place(void)
{
	u64 entries[2] = { 1, 0 };
	struct victim victim;

	start_victim(&victim, KVMFT_ROLE_BACKUP, TIMEOUT);
	send_message(victim.socket, ENTRIES, 1, entries, sizeof(entries));
	check_ended(&victim, "missing, repeated or out of order");
	end_victim(&victim);
}

/* Silence is a failure after the time-out, on either side */
static void silence(void)
{
	struct victim victim;

	start_victim(&victim, KVMFT_ROLE_PRIMARY, SHORT);
	check_ended(&victim, "silent for");
	end_victim(&victim);
	start_victim(&victim, KVMFT_ROLE_BACKUP, SHORT);
	check_ended(&victim, "silent for");
	end_victim(&victim);
}

/* A backup hears from its primary all the time, though the guest does nothing; and it answers */
static void heartbeats(void)
{
	struct victim victim;
	struct header header;
	u64 mark[3] = { 0 };
	unsigned int i;

	start_victim(&victim, KVMFT_ROLE_BACKUP, TIMEOUT);
	for (i = 1; i <= 20; i++) {
		send_message(victim.socket, MARK, i, mark, sizeof(mark));
		CHECK(receive_message(victim.socket, &header, payload, sizeof(payload)) &&
		      header.type == MARK && header.number == i,
		      "no heartbeat: type %u, number %llu", header.type,
		      (unsigned long long)header.number);
	}
	hang_up(victim.socket);
	check_ended(&victim, "closed the connection");
	end_victim(&victim);
}

static void *close_thread(void *arg)
{
	close(*(int *)arg);
	return NULL;
}

/* The primary's session is closed: its backup is told so at once, behind the whole log */
static void farewell(void)
{
	struct header header = { .type = 0 };
	struct victim victim;
	pthread_t closer;
	u64 at = 0, mark[3] = { 0 }, number = 1;
	bool left = false;

	start_victim(&victim, KVMFT_ROLE_PRIMARY, TIMEOUT);
	pthread_join(victim.runner, NULL);
	CHECK(!pthread_create(&closer, NULL, close_thread, &victim.session), "pthread_create");
	while (receive_message(victim.socket, &header, payload, sizeof(payload))) {
		CHECK(!left, "a message behind the last");
		if (header.type == ENTRIES) {
			CHECK_EQ(*(u64 *)payload, at, "place in the log");
			at += header.len - sizeof(u64);
			mark[0] = at;
			send_message(victim.socket, MARK, number++, mark, sizeof(mark));
		}
		left = header.type == BYE;
	}
	pthread_join(closer, NULL);
	victim.session = -1;
	CHECK(left, "no farewell");
	CHECK(at > 1000, "%llu bytes of the log", (unsigned long long)at);
	CHECK(payload[0] == KVMFT_END_CLOSED &&
	      strstr((char *)payload + 8, "descriptor was closed"),
	      "reason %u: %s", payload[0], payload + 8);
	end_victim(&victim);
}

static void setup(void)
{
	kvmft_setup();
	catch_signal(SIGUSR1);
	tcp_loopback_up();
}

static const struct tap_case cases[] = {
	{ "tsc", pair_tsc, 0 },
	{ "pio", pair_pio, 0 },
	{ "string", pair_string, 0 },
	{ "mmio", pair_mmio, 0 },
	{ "branches", pair_branches, 0 },
	{ "halt", pair_halt, 0 },
	{ "timer", pair_timer, 0 },
	{ "nmi", pair_nmi, 0 },
	{ "input", pair_input, 0 },
	{ "reset", pair_reset, 0 },
	{ "arguments", arguments, 0 },
	{ "mismatches", mismatches, 0 },
	{ "lies", lies, 0 },
	{ "refusal", refusal, 0 },
	{ "not_started", not_started, 0 },
	{ "slow_backup", slow_backup, 0 },
	{ "wrong_place", wrong_place, 0 },
	{ "silence", silence, 0 },
	{ "heartbeats", heartbeats, 0 },
	{ "farewell", farewell, 0 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, &KVMFT_SUITE(cases, setup, kvmft_teardown));
}
