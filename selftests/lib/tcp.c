// SPDX-License-Identifier: GPL-2.0
#include <arpa/inet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tap.h"
#include "tcp.h"

void tcp_loopback_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	CHECK(fd >= 0 && !ioctl(fd, SIOCGIFFLAGS, &ifr), "SIOCGIFFLAGS: %m");
	ifr.ifr_flags |= IFF_UP;
	CHECK(!ioctl(fd, SIOCSIFFLAGS, &ifr), "SIOCSIFFLAGS: %m");
	close(fd);
}

void tcp_connection(int *ends)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(addr);
	int server = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(server >= 0 && !bind(server, (struct sockaddr *)&addr, len) && !listen(server, 1) &&
	      !getsockname(server, (struct sockaddr *)&addr, &len), "a server on loopback: %m");
	ends[0] = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(ends[0] >= 0 && !connect(ends[0], (struct sockaddr *)&addr, len), "connect: %m");
	ends[1] = accept(server, NULL, NULL);
	CHECK(ends[1] >= 0, "accept: %m");
	close(server);
}
