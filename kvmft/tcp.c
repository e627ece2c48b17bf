// SPDX-License-Identifier: GPL-2.0
#include <linux/tcp.h>
#include <net/sock.h>

#include "tcp.h"

bool kvmft_tcp_is_connected(const struct socket *sock)
{
	const struct sock *sk = sock->sk;

	return (sk->sk_family == AF_INET || sk->sk_family == AF_INET6) &&
	       sk->sk_type == SOCK_STREAM && sk->sk_protocol == IPPROTO_TCP &&
	       READ_ONCE(sk->sk_state) == TCP_ESTABLISHED;
}

void kvmft_tcp_set_up(struct socket *sock, long receive_timeout, long send_timeout)
{
	tcp_sock_set_nodelay(sock->sk);
	lock_sock(sock->sk);
	sock->sk->sk_rcvtimeo = receive_timeout;
	sock->sk->sk_sndtimeo = send_timeout;
	release_sock(sock->sk);
}

bool kvmft_tcp_gathers(const struct socket *sock)
{
	return READ_ONCE(sock->sk->sk_route_caps) & NETIF_F_SG;
}
