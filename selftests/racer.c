// SPDX-License-Identifier: GPL-2.0
/*
 * One side of pairs that lose each other, again and again, and race for blocks of a disk that both
 * hosts reach: see scripts/lab/race.py.
 *
 *	racer primary|backup DISK ADDRESS
 *
 * ADDRESS is the backup's.  Orders are lines of the standard input, a heat each, the same at both
 * sides but for the times:
 *
 *	NUMBER [wait] [reset=US] [BLOCK:GENERATION:US|left] [BLOCK:stale:US] ...
 *
 * A pair is set up for each BLOCK; then both sides are deaf to each other, and so many microseconds
 * later each finds the connection closed.  "left": this side does not, and stays as it is, until a
 * later heat has it as "stale".  wait: says "NUMBER deaf" and goes on at a line "go", "NUMBER off".
 * reset: the disk is reset then.  A line "end" is the last.
 *
 * Answers: "NUMBER a command timed out" when one has, "NUMBER decided" when all races are, for each
 * "NUMBER race|stale BLOCK GENERATION STATE what the arbiter says", and "NUMBER over ...".  What
 * was not as it has to be ends the program.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <poll.h>
#include <pthread.h>
#include <scsi/sg.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "both.h"
#include "util.h"

#define PORT		7100
#define RACES_MAX	32
/* Of the guest's, before the race */
#define INTERRUPTS	2
/* Long enough that neither is missed by mistake on a slow host, in milliseconds */
#define SILENCE		60000

enum what { RACE, LEFT, STALE };

struct race {
	enum what what;
	u64 block;
	u64 generation;
	u64 at;			/* when the connection is closed, in microseconds */
	int socket;
	struct half half;
	u64 interrupts;		/* when it was decided */
	struct race *next;	/* of those that are left */
};

struct heat {
	u64 number;
	bool wait;
	bool reset;
	u64 reset_at;
	unsigned int undecided;	/* when the disk was reset */
	u64 timeouts;		/* of the disk's commands, before */
	bool timed_out;
	struct race *races[RACES_MAX];
	unsigned int nr;
};

static enum kvmft_role role;
static struct sockaddr_in backup;
static int server, other;
static struct race *left;

/*
 * The other side.
 */
static void set_nodelay(int sock)
{
	int one = 1;

	CHECK(!setsockopt(sock, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof(one)),
	      "TCP_NODELAY: %m");
}

static int call(void)
{
	u64 deadline = now_ns() + WAIT_TIMEOUT * NSEC_PER_SEC;
	int sock;

	for (;;) {
		sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		CHECK(sock >= 0, "socket: %m");
		if (!connect(sock, (struct sockaddr *)&backup, sizeof(backup)))
			return sock;
		CHECK(now_ns() < deadline, "connect: %m");
		close(sock);
		usleep(10000);
	}
}

static int answer(void)
{
	int sock = accept4(server, NULL, NULL, SOCK_CLOEXEC);

	CHECK(sock >= 0, "accept: %m");
	return sock;
}

static int connection(void)
{
	return role == KVMFT_ROLE_PRIMARY ? call() : answer();
}

static void meet(void)
{
	int one = 1;

	backup.sin_family = AF_INET;
	backup.sin_port = htons(PORT);
	if (role == KVMFT_ROLE_BACKUP) {
		server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		CHECK(server >= 0 &&
		      !setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) &&
		      !bind(server, (struct sockaddr *)&backup, sizeof(backup)) &&
		      !listen(server, RACES_MAX), "a server: %m");
	}
	other = connection();
	set_nodelay(other);
}

/* Both sides have come this far */
static void both_at(char place)
{
	char theirs;

	CHECK(send(other, &place, 1, MSG_NOSIGNAL) == 1 && recv(other, &theirs, 1, 0) == 1,
	      "the other racer is gone");
	CHECK(theirs == place, "the other racer is at %c, this one at %c", theirs, place);
}

/*
 * Orders.
 */
static u64 number_of(const char *text)
{
	char *end;
	u64 value = strtoull(text, &end, 10);

	CHECK(*text && !*end, "'%s' is no number", text);
	return value;
}

static struct race *parse_race(char *word)
{
	struct race *race = calloc(1, sizeof(*race));
	const char *block = strsep(&word, ":"), *generation = strsep(&word, ":");

	CHECK(race && generation && word, "an order without a time");
	race->block = number_of(block);
	if (!strcmp(generation, "stale"))
		race->what = STALE;
	else
		race->generation = number_of(generation);
	if (!strcmp(word, "left"))
		race->what = LEFT;
	else
		race->at = number_of(word);
	return race;
}

/* One that was left is what it was, but for its time */
static struct race *find_left(const struct race *order)
{
	struct race **place, *race;

	for (place = &left; (race = *place); place = &race->next) {
		if (race->block == order->block) {
			*place = race->next;
			race->what = STALE;
			race->at = order->at;
			return race;
		}
	}
	tap_fail("nothing was left on block %llu", (unsigned long long)order->block);
}

static void parse_word(struct heat *heat, char *word)
{
	struct race *race;

	if (!strcmp(word, "wait")) {
		heat->wait = true;
		return;
	}
	if (!strncmp(word, "reset=", 6)) {
		heat->reset = true;
		heat->reset_at = number_of(word + 6);
		return;
	}
	CHECK(heat->nr < RACES_MAX, "too many races");
	race = parse_race(word);
	heat->races[heat->nr++] = race->what == STALE ? find_left(race) : race;
	if (race->what == STALE)
		free(race);
}

static void read_line(char *line, size_t size)
{
	CHECK(fgets(line, size, stdin), "no more orders");
	line[strcspn(line, "\n")] = '\0';
}

/* false: no more */
static bool read_heat(struct heat *heat)
{
	char line[4096], *rest = line, *word;

	memset(heat, 0, sizeof(*heat));
	read_line(line, sizeof(line));
	if (!strcmp(line, "end"))
		return false;
	heat->number = number_of(strsep(&rest, " "));
	while ((word = strsep(&rest, " ")))
		parse_word(heat, word);
	return true;
}

/*
 * A heat.
 */
static void set_up(struct race *race, const struct micro *micro)
{
	struct kvmft_session_pair pair;

	race->socket = connection();
	pair = pair_of(race->socket, role, race->block);
	pair.generation = race->generation;
	pair.timeout_ms = SILENCE;
	start_half(&race->half, micro, &pair, NULL);
	/* The next one's connection is not to overtake this one's */
	both_at('s');
}

static void wait_for_guest(struct race *race)
{
	struct half *half = &race->half;
	u64 i;

	wait_until(half->paired != NOT_YET, "both sides greet each other");
	CHECK_RET(half->paired, 0, "KVMFT_SESSION_PAIR");
	for (i = 1; i <= INTERRUPTS && role == KVMFT_ROLE_PRIMARY; i++) {
		interrupt_half(half);
		wait_until(interrupts_of(half) >= i, "the guest gets on");
	}
	/* A backup runs up to where the log proves it: not through the last one's handler */
	wait_until(interrupts_of(half) >= INTERRUPTS - 1, "the guest is replayed");
}

/* It hears nothing any more, not even that the connection is closed; as when the network is cut */
static void make_deaf(const struct race *race)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog filter = { .len = 1, .filter = &nothing };

	CHECK(!setsockopt(race->socket, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)),
	      "SO_ATTACH_FILTER: %m");
}

static bool is_decided(struct race *race)
{
	status_of(&race->half);
	return race->half.outcome.status.state >= KVMFT_STATE_LIVE;
}

static void *reset_thread(void *arg)
{
	struct heat *heat = arg;
	int what = SG_SCSI_RESET_DEVICE;
	unsigned int i;

	usleep(heat->reset_at);
	for (i = 0; i < heat->nr; i++)
		heat->undecided += heat->races[i]->what == RACE && !is_decided(heat->races[i]);
	CHECK(!ioctl(disk, SG_SCSI_RESET, &what), "SG_SCSI_RESET: %m");
	return NULL;
}

static int by_time(const void *a, const void *b)
{
	const struct race *x = *(struct race *const *)a, *y = *(struct race *const *)b;

	return x->at < y->at ? -1 : x->at > y->at;
}

/* Each connection at its time */
static void close_connections(struct heat *heat)
{
	u64 start = now_ns(), when;
	unsigned int i;

	qsort(heat->races, heat->nr, sizeof(heat->races[0]), by_time);
	for (i = 0; i < heat->nr; i++) {
		struct race *race = heat->races[i];

		if (race->what == LEFT)
			continue;
		when = start + race->at * 1000;
		if (when > now_ns())
			usleep((when - now_ns()) / 1000);
		shutdown(race->socket, SHUT_RDWR);
	}
}

static void arbiter_says(struct race *race, char *text, size_t size)
{
	char path[100];

	status_of(&race->half);
	snprintf(path, sizeof(path), "/sys/class/misc/kvmft/session%llu/arbiter",
		 (unsigned long long)race->half.outcome.status.id);
	CHECK(!read_file(path, text, size), "%s: %m", path);
}

/* A claim that is too late is answered, whether or not that is final */
static void wait_for_answer(struct race *race)
{
	char text[200] = "";

	wait_until((arbiter_says(race, text, sizeof(text)), *text), "a stale claim is answered");
}

/* Commands of the disk's that have timed out so far */
static u64 timed_out(void)
{
	char path[100], text[32];

	snprintf(path, sizeof(path), "/sys/block/%s/device/iotmo_cnt",
		 strrchr(disk_path, '/') + 1);
	CHECK(!read_file(path, text, sizeof(text)), "%s: %m", path);
	return strtoull(text, NULL, 0);
}

static void note_timeouts(struct heat *heat)
{
	if (heat->timed_out || timed_out() == heat->timeouts)
		return;
	heat->timed_out = true;
	printf("%llu a command timed out\n", (unsigned long long)heat->number);
}

static void wait_for_race(struct heat *heat, const struct race *race)
{
	u64 deadline = now_ns() + WAIT_TIMEOUT * NSEC_PER_SEC;
	struct pollfd pfd = { .fd = race->half.session };

	while (poll(&pfd, 1, 50) != 1) {
		CHECK(now_ns() < deadline, "the arbiter does not decide");
		note_timeouts(heat);
	}
}

static void wait_for_decisions(struct heat *heat)
{
	unsigned int i;

	for (i = 0; i < heat->nr; i++) {
		struct race *race = heat->races[i];

		if (race->what == LEFT)
			continue;
		if (race->what == STALE)
			wait_for_answer(race);
		else
			wait_for_race(heat, race);
		status_of(&race->half);
		race->interrupts = interrupts_of(&race->half);
	}
	printf("%llu decided\n", (unsigned long long)heat->number);
}

/* All guests, which sleep otherwise, are woken: who has won runs on; then, no other has */
static void check_guests(struct heat *heat)
{
	unsigned int i;

	for (i = 0; i < heat->nr; i++)
		if (heat->races[i]->what != LEFT)
			interrupt_half(&heat->races[i]->half);
	for (i = 0; i < heat->nr; i++) {
		struct race *race = heat->races[i];

		if (race->half.outcome.status.state == KVMFT_STATE_LIVE)
			wait_until(interrupts_of(&race->half) > race->interrupts,
				   "the guest of who has won runs on");
	}
	both_at('r');
	for (i = 0; i < heat->nr; i++) {
		struct race *race = heat->races[i];

		if (race->what == LEFT || race->half.outcome.status.state == KVMFT_STATE_LIVE)
			continue;
		CHECK_EQ(interrupts_of(&race->half), race->interrupts,
			 "interrupts of a guest that has not won");
		CHECK_RET(race->half.done, NOT_YET, "its KVM_RUN");
	}
}

static const char *name_of(u32 state)
{
	switch (state) {
	case KVMFT_STATE_CLAIMING:
		return "CLAIMING";
	case KVMFT_STATE_LIVE:
		return "LIVE";
	case KVMFT_STATE_STOPPED:
		return "STOPPED";
	}
	return "UNDECIDED";
}

/* Say what came of it; those that are left stay as they are */
static void end_race(const struct heat *heat, struct race *race)
{
	static const char *const kinds[] = { [RACE] = "race", [STALE] = "stale" };
	char text[200];

	if (race->what == LEFT) {
		CHECK(!is_decided(race), "a side that was left is not decided");
		race->next = left;
		left = race;
		return;
	}
	arbiter_says(race, text, sizeof(text));
	printf("%llu %s %llu %llu %s %s\n", (unsigned long long)heat->number, kinds[race->what],
	       (unsigned long long)race->block, (unsigned long long)race->generation,
	       name_of(race->half.outcome.status.state), text);
	end_half(&race->half);
	close(race->socket);
	free(race);
}

static void wait_for_go(const struct heat *heat)
{
	char line[100];

	printf("%llu deaf\n", (unsigned long long)heat->number);
	read_line(line, sizeof(line));
	CHECK(!strcmp(line, "go"), "no word to go, but '%s'", line);
}

static void run_heat(struct heat *heat, const struct micro *micro)
{
	u64 began = now_ns(), set, decided;
	pthread_t resetter;
	unsigned int i;

	heat->timeouts = timed_out();
	for (i = 0; i < heat->nr; i++)
		if (heat->races[i]->what != STALE)
			set_up(heat->races[i], micro);
	for (i = 0; i < heat->nr; i++)
		if (heat->races[i]->what != STALE)
			wait_for_guest(heat->races[i]);
	both_at('g');
	for (i = 0; i < heat->nr; i++)
		make_deaf(heat->races[i]);
	if (heat->wait)
		wait_for_go(heat);
	both_at('d');
	if (heat->wait)
		printf("%llu off\n", (unsigned long long)heat->number);
	set = now_ns();
	if (heat->reset)
		CHECK(!pthread_create(&resetter, NULL, reset_thread, heat), "pthread_create");
	close_connections(heat);
	wait_for_decisions(heat);
	decided = now_ns();
	if (heat->reset)
		pthread_join(resetter, NULL);
	check_guests(heat);
	for (i = 0; i < heat->nr; i++)
		end_race(heat, heat->races[i]);
	printf("%llu over: %u undecided at a reset, %llu timed out; ms: %llu, %llu, %llu\n",
	       (unsigned long long)heat->number, heat->undecided,
	       (unsigned long long)(timed_out() - heat->timeouts),
	       (unsigned long long)(set - began) / 1000000,
	       (unsigned long long)(decided - set) / 1000000,
	       (unsigned long long)(now_ns() - decided) / 1000000);
}

/* A session keeps the hooks where they are: they cost more time than anything else here */
static int keep_hooks(struct vm *vm)
{
	vm_create(vm, 0);
	return kvmft_create_ok(dev, vm->fd);
}

int main(int argc, char **argv)
{
	struct micro micro;
	struct vm idle;
	int keeper;
	struct heat heat;
	const char *why;

	tap_helper("racer");
	if (argc != 4 || !inet_aton(argv[3], &backup.sin_addr)) {
		fprintf(stderr, "usage: racer primary|backup DISK ADDRESS\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	role = strcmp(argv[1], "primary") ? KVMFT_ROLE_BACKUP : KVMFT_ROLE_PRIMARY;
	snprintf(disk_path, sizeof(disk_path), "%s", argv[2]);
	disk = open(disk_path, O_RDWR | O_CLOEXEC);
	CHECK(disk >= 0, "%s: %m", disk_path);
	kvmft_setup();
	catch_signal(SIGUSR1);
	dev = kvmft_open_ok();
	keeper = keep_hooks(&idle);
	micro = *micro_of("halt");
	/* It is ended before */
	micro.iterations = 1ULL << 40;
	meet();
	printf("ready\n");
	while (read_heat(&heat))
		run_heat(&heat, &micro);
	while (left) {
		end_half(&left->half);
		left = left->next;
	}
	close(keeper);
	vm_destroy(&idle);
	close(dev);
	why = kvmft_after();
	if (!why)
		why = kvmft_teardown();
	CHECK(!why, "%s", why);
	return 0;
}
