// SPDX-License-Identifier: GPL-2.0
/*
 * service ADDRESS: what the test guest serves at TCP port 7000 until a client says "end".
 *
 *   put N WORD      the reply is "N HASH"
 *   get BYTES       "BYTES HASH", and behind that line as many bytes of a text
 *   sum LEN         LEN bytes follow the line; "CRC HASH", their CRC-32 as zlib's
 *   state           "N HASH": how many requests there were, nothing changes
 *   end             the same, and the service ends
 *
 * HASH is a running value over all requests that were ever served, of all connections: one that is
 * lost, repeated or out of order, or a state that went back, shows in every reply from then on.
 * What is none of these gets a line that begins with "error: " and changes nothing.
 *
 * Nothing here reads a clock, and a client has no time limit.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define PORT		7000
#define MAX_BYTES	(16 << 20)	/* of a text, of a payload */
#define MODULUS		2147483647
#define LAST_WORDS_MS	5000		/* for the client to have the reply to "end" */

struct connection {
	int fd;				/* -1: unused */
	char in[4096];			/* received; from used to filled not looked at yet */
	size_t used, filled;
	char line[256];			/* a request, so far */
	size_t length;
	bool too_long;
	uint32_t payload;		/* bytes of it that have to come yet */
	uint32_t crc;			/* of those that came */
	char reply[256];		/* a line; those from sent to size have to go out */
	size_t sent, size;
	uint32_t text;			/* bytes that have to go out behind it, */
	uint32_t place;			/* the next one's place in the text */
};

static struct connection connections[16];
static struct connection *ender;	/* has said "end" */
static uint32_t crc_table[256];
/*
 * What "get" replies is this again and again, from a place that depends on HASH.  The length is
 * a prime: pieces of it that are interchanged do not match, whatever their size.
 */
static char text[4093];
static unsigned long served;
static uint64_t hash;

static void make_tables(void)
{
	uint64_t number = 1;
	unsigned int i, bit;

	for (i = 0; i < ARRAY_SIZE(crc_table); i++) {
		uint32_t crc = i;

		for (bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
		crc_table[i] = crc;
	}
	for (i = 0; i < sizeof(text); i++) {
		number = number * 16807 % MODULUS;
		text[i] = 'a' + number % 26;
	}
}

static uint32_t crc32(uint32_t crc, const char *data, size_t size)
{
	crc = ~crc;
	while (size--)
		crc = crc_table[(crc ^ (uint8_t)*data++) & 0xff] ^ crc >> 8;
	return ~crc;
}

static void hash_in(uint32_t crc)
{
	hash = (hash * 31 + crc) % MODULUS;
}

__attribute__((format(printf, 2, 3)))
static void reply(struct connection *c, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	c->sent = 0;
	c->size = vsnprintf(c->reply, sizeof(c->reply), format, arguments);
	va_end(arguments);
}

/* Digits only, up to the limit; what follows them is left in *at */
static bool number(const char **at, uint32_t limit, uint32_t *value)
{
	const char *digit = *at;
	uint64_t sum = 0;

	for (; *digit >= '0' && *digit <= '9' && sum <= limit; digit++)
		sum = sum * 10 + *digit - '0';
	if (digit == *at || sum > limit)
		return false;
	*at = digit;
	*value = sum;
	return true;
}

static void payload_complete(struct connection *c)
{
	served++;
	hash_in(crc32(0, c->line, c->length));
	hash_in(c->crc);
	c->length = 0;
	reply(c, "%u %llu\n", c->crc, (unsigned long long)hash);
}

/* A line is a request; the answer to "sum" comes when its payload has */
static void request(struct connection *c)
{
	const char *at = c->line + 4;
	uint32_t value;

	c->line[c->length] = 0;
	if (c->too_long) {
		reply(c, "error: the line is too long\n");
	} else if (strlen(c->line) != c->length) {
		reply(c, "error: the line has a zero byte in it\n");
	} else if (!strcmp(c->line, "state") || !strcmp(c->line, "end")) {
		reply(c, "%lu %llu\n", served, (unsigned long long)hash);
		if (c->line[0] == 'e')
			ender = c;
	} else if (!strncmp(c->line, "put ", 4)) {
		if (!number(&at, UINT32_MAX, &value) || at[0] != ' ' || !at[1] ||
		    strchr(at + 1, ' ')) {
			reply(c, "error: it is \"put N WORD\"\n");
			return;
		}
		served++;
		hash_in(crc32(0, c->line, c->length));
		reply(c, "%u %llu\n", value, (unsigned long long)hash);
	} else if (!strncmp(c->line, "get ", 4)) {
		if (!number(&at, MAX_BYTES, &value) || *at) {
			reply(c, "error: it is \"get BYTES\", up to %u\n", MAX_BYTES);
			return;
		}
		served++;
		hash_in(crc32(0, c->line, c->length));
		reply(c, "%u %llu\n", value, (unsigned long long)hash);
		c->text = value;
		c->place = hash % sizeof(text);
	} else if (!strncmp(c->line, "sum ", 4)) {
		if (!number(&at, MAX_BYTES, &value) || *at) {
			reply(c, "error: it is \"sum LEN\", up to %u, and a payload\n", MAX_BYTES);
			return;
		}
		c->crc = 0;
		c->payload = value;
		if (!value)
			payload_complete(c);
	} else {
		reply(c, "error: not one of put, get, sum, state, end\n");
	}
}

static void take_payload(struct connection *c)
{
	size_t size = c->filled - c->used;

	if (size > c->payload)
		size = c->payload;
	c->crc = crc32(c->crc, c->in + c->used, size);
	c->used += size;
	c->payload -= size;
	if (!c->payload)
		payload_complete(c);
}

static void take_line(struct connection *c)
{
	char *from = c->in + c->used;
	size_t size = c->filled - c->used;
	char *end = memchr(from, '\n', size);

	if (end)
		size = end - from;
	/* One byte is for the 0 behind it */
	if (size >= sizeof(c->line) - c->length) {
		c->too_long = true;
		c->length = 0;
	}
	if (!c->too_long) {
		memcpy(c->line + c->length, from, size);
		c->length += size;
	}
	c->used += size;
	if (!end)
		return;
	c->used++;
	request(c);
	c->too_long = false;
	/* A payload is yet to come, and then its line is needed */
	if (!c->payload)
		c->length = 0;
}

static void drop(struct connection *c)
{
	close(c->fd);
	c->fd = -1;
}

/* What is due, as far as it goes; false: the other side is gone */
static bool send_some(struct connection *c)
{
	while (c->sent < c->size || c->text) {
		bool line = c->sent < c->size;
		const char *from = line ? c->reply + c->sent : text + c->place;
		size_t size = line ? c->size - c->sent : sizeof(text) - c->place;
		ssize_t n;

		if (!line && size > c->text)
			size = c->text;
		/* Line and text in one packet, if they fit */
		n = send(c->fd, from, size, MSG_NOSIGNAL | (line && c->text ? MSG_MORE : 0));
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		if (line) {
			c->sent += n;
		} else {
			c->text -= n;
			c->place = (c->place + n) % sizeof(text);
		}
	}
	return true;
}

static bool to_send(const struct connection *c)
{
	return c->sent < c->size || c->text;
}

/* The next request is looked at when the reply to the last one is out */
static void serve(struct connection *c)
{
	ssize_t n;

	if (to_send(c)) {
		if (!send_some(c)) {
			drop(c);
			return;
		}
	} else {
		n = recv(c->fd, c->in, sizeof(c->in), 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			drop(c);
			return;
		}
		c->used = 0;
		c->filled = n;
	}
	while (c->used < c->filled && !to_send(c) && !ender) {
		if (c->payload)
			take_payload(c);
		else
			take_line(c);
		if (!send_some(c)) {
			drop(c);
			return;
		}
	}
}

static void welcome(int listener)
{
	struct connection *c = connections;
	int one = 1, fd;

	while (c->fd >= 0)
		c++;
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	memset(c, 0, sizeof(*c));
	c->fd = fd;
}

/* The reply to "end" is out when the client, which has got it, closes the connection */
static void last_words(struct connection *c)
{
	struct pollfd poll_fd = { .fd = c->fd };

	if (c->fd < 0)
		return;
	while (to_send(c)) {
		poll_fd.events = POLLOUT;
		if (poll(&poll_fd, 1, LAST_WORDS_MS) <= 0 || !send_some(c))
			return;
	}
	shutdown(c->fd, SHUT_WR);
	poll_fd.events = POLLIN;
	while (poll(&poll_fd, 1, LAST_WORDS_MS) > 0 && recv(c->fd, c->in, sizeof(c->in), 0) > 0)
		;
}

static int listen_at(int port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0)
		return -1;
	return fd;
}

static void serve_all(int listener)
{
	const size_t count = ARRAY_SIZE(connections);
	struct pollfd fds[ARRAY_SIZE(connections) + 1];
	size_t i;

	while (!ender) {
		/* New ones wait when there is no room for them */
		fds[count] = (struct pollfd){ .fd = -1, .events = POLLIN };
		for (i = 0; i < count; i++) {
			struct connection *c = &connections[i];

			if (c->fd < 0)
				fds[count].fd = listener;
			fds[i].fd = c->fd;
			fds[i].events = to_send(c) ? POLLOUT : POLLIN;
			fds[i].revents = 0;
		}
		if (poll(fds, count + 1, -1) < 0)
			continue;
		for (i = 0; i < count && !ender; i++) {
			if (fds[i].fd >= 0 && fds[i].revents)
				serve(&connections[i]);
		}
		if (fds[count].revents && !ender)
			welcome(listener);
	}
}

int main(int argc, char **argv)
{
	int listener;
	size_t i;

	if (argc != 2) {
		dprintf(STDOUT_FILENO, "usage: service ADDRESS\n");
		return 2;
	}
	make_tables();
	for (i = 0; i < ARRAY_SIZE(connections); i++)
		connections[i].fd = -1;
	listener = listen_at(PORT);
	if (listener < 0) {
		dprintf(STDOUT_FILENO, "guest: no service at port %d: %s\n", PORT, strerror(errno));
		return 1;
	}
	dprintf(STDOUT_FILENO, "guest: serving %s\n", argv[1]);
	serve_all(listener);
	last_words(ender);
	dprintf(STDOUT_FILENO, "guest: served %lu requests\n", served);
	return 0;
}
