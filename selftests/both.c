// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "both.h"
#include "tcp.h"
#include "util.h"

int dev, disk;
u32 primary_flags, primary_timeout = TIMEOUT;
char disk_path[64];

/* "running" or "offline" */
void set_disk(const char *state)
{
	char path[100], line[20];

	snprintf(path, sizeof(path), "/sys/block/%s/device/state", strrchr(disk_path, '/') + 1);
	snprintf(line, sizeof(line), "%s\n", state);
	CHECK(!write_file(path, line), "%s: %m", path);
}

void lose_commands(bool lose)
{
	CHECK(!write_file("/sys/bus/pseudo/drivers/scsi_debug/every_nth", lose ? "1\n" : "0\n") &&
	      !write_file("/sys/bus/pseudo/drivers/scsi_debug/opts", lose ? "4\n" : "0\n"),
	      "scsi_debug's options: %m");
}

void fail_command(unsigned int command, unsigned int sense)
{
	char rule[60];
	glob_t found;
	int ret;

	CHECK(!glob("/sys/kernel/debug/scsi_debug/*:*/error", 0, NULL, &found),
	      "scsi_debug injects no errors");
	/* Type 2: status, then sense key */
	if (sense)
		snprintf(rule, sizeof(rule), "2 1 %x 0 0 2 %x 0 0\n", command, sense);
	else
		snprintf(rule, sizeof(rule), "- 2 %x\n", command);
	ret = write_file(found.gl_pathv[0], rule);
	CHECK(!ret || !sense, "%s: %m", found.gl_pathv[0]);
	globfree(&found);
}

/* The disk of scsi_debug, which is made here */
static void find_disk(void)
{
	glob_t found;

	modprobe("sd_mod");
	modprobe("scsi_debug");
	wait_until(!glob("/sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block/*",
			 0, NULL, &found), "scsi_debug has a disk");
	snprintf(disk_path, sizeof(disk_path), "/dev/%s", strrchr(found.gl_pathv[0], '/') + 1);
	globfree(&found);
	wait_until(!access(disk_path, R_OK | W_OK), "the disk has a node in /dev");
	/* A case that failed may have left it so */
	set_disk("running");
	lose_commands(false);
	disk = open(disk_path, O_RDWR | O_CLOEXEC);
	CHECK(disk >= 0, "%s: %m", disk_path);
}

void both_setup(void)
{
	kvmft_setup();
	catch_signal(SIGUSR1);
	tcp_loopback_up();
	find_disk();
}

void blank(unsigned int block)
{
	char zeroes[BLOCK] = "";

	CHECK(pwrite(disk, zeroes, BLOCK, (off_t)block * BLOCK) == BLOCK && !fsync(disk),
	      "%s: %m", disk_path);
}

static void *half_thread(void *arg)
{
	struct half *half = arg;
	struct rng rng;
	int ret;

	rng_seed(&rng, half->pair.role);
	ret = kvmft_pair(half->session, &half->pair);
	__atomic_store_n(&half->paired, ret, __ATOMIC_RELEASE);
	if (ret)
		return NULL;
	if (half->prepare)
		half->prepare(half);
	ret = micro_run(&half->vm, half->micro, &rng, half->quit[0]) ? 0 : -errno;
	__atomic_store_n(&half->done, ret, __ATOMIC_RELEASE);
	return NULL;
}

struct kvmft_session_pair pair_of(int socket, enum kvmft_role role, unsigned int block)
{
	return (struct kvmft_session_pair) {
		.size = sizeof(struct kvmft_session_pair),
		.flags = KVMFT_PAIR_ARBITER | (role == KVMFT_ROLE_PRIMARY ? primary_flags : 0),
		.socket_fd = socket, .role = role, .id = "an arbiter's one",
		.generation = GENERATION, .heartbeat_ms = HEARTBEAT,
		.timeout_ms = role == KVMFT_ROLE_PRIMARY ? primary_timeout : TIMEOUT,
		.arbiter_fd = disk, .arbiter_block = block,
	};
}

void start_half(struct half *half, const struct micro *micro, const struct kvmft_session_pair *pair,
		void (*prepare)(struct half *half))
{
	*half = (struct half) {
		.micro = micro, .pair = *pair, .prepare = prepare,
		.paired = NOT_YET, .done = NOT_YET,
	};
	CHECK(!pipe2(half->quit, O_CLOEXEC), "pipe: %m");
	micro_vm(&half->vm, micro);
	half->session = kvmft_create_ok(dev, half->vm.fd);
	CHECK(!pthread_create(&half->thread, NULL, half_thread, half), "pthread_create");
}

void status_of(struct half *half)
{
	kvmft_status_ok(half->session, &half->outcome.status);
}

u64 interrupts_of(const struct half *half)
{
	return *(volatile u64 *)(half->vm.mem + GUEST_DATA + MICRO_COUNT);
}

void interrupt_half(const struct half *half)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = MICRO_VECTOR };

	CHECK(ioctl(half->vm.fd, KVM_SIGNAL_MSI, &msi) >= 0, "KVM_SIGNAL_MSI: %m");
}

/* Its VMM gives up: the thread leaves KVM_RUN */
void stop_thread(struct half *half)
{
	if (half->gave_up)
		return;
	half->gave_up = true;
	close(half->quit[1]);
	while (pthread_tryjoin_np(half->thread, NULL)) {
		pthread_kill(half->thread, SIGUSR1);
		usleep(1000);
	}
}

/* ... and is no more: so is its VM */
void destroy_half(struct half *half)
{
	vm_destroy(&half->vm);
	half->dead = true;
}

void kill_half(struct half *half)
{
	stop_thread(half);
	destroy_half(half);
}

void close_session(struct half *half)
{
	close(half->session);
	half->session = -1;
}

void end_half(struct half *half)
{
	if (!half->dead)
		kill_half(half);
	if (half->session >= 0)
		close_session(half);
	close(half->quit[0]);
}

static void *link_thread(void *arg)
{
	struct link *link = arg;
	static char buf[65536];
	struct pollfd pfd[2] = {
		{ .fd = link->near[1], .events = POLLIN },
		{ .fd = link->far[0], .events = POLLIN },
	};
	ssize_t len;
	int i;

	while (!__atomic_load_n(&link->stop, __ATOMIC_ACQUIRE)) {
		if (poll(pfd, 2, 10) <= 0 || __atomic_load_n(&link->cut, __ATOMIC_ACQUIRE)) {
			usleep(1000);
			continue;
		}
		for (i = 0; i < 2; i++) {
			if (!pfd[i].revents)
				continue;
			len = recv(pfd[i].fd, buf, sizeof(buf), MSG_DONTWAIT);
			if (len > 0)
				send(pfd[!i].fd, buf, len, MSG_NOSIGNAL);
			else if (!len)
				shutdown(pfd[!i].fd, SHUT_WR);
			if (!len)
				pfd[i].fd = ~pfd[i].fd;
		}
	}
	return NULL;
}

static void open_link(struct link *link)
{
	memset(link, 0, sizeof(*link));
	tcp_connection(link->near);
	tcp_connection(link->far);
	CHECK(!pthread_create(&link->thread, NULL, link_thread, link), "pthread_create");
}

void cut_link(struct link *link)
{
	__atomic_store_n(&link->cut, true, __ATOMIC_RELEASE);
}

void mend_link(struct link *link)
{
	__atomic_store_n(&link->cut, false, __ATOMIC_RELEASE);
}

static void close_link(struct link *link)
{
	__atomic_store_n(&link->stop, true, __ATOMIC_RELEASE);
	pthread_join(link->thread, NULL);
	close(link->near[0]);
	close(link->near[1]);
	close(link->far[0]);
	close(link->far[1]);
}

/* The backup has replayed @interrupts, of a guest that goes on */
void start_both(struct both *both, const char *name, unsigned int block, u64 interrupts,
		void (*prepare)(struct half *half))
{
	struct kvmft_session_pair primary, backup;
	struct micro *micro = &both->micro;

	*micro = *micro_of(name);
	/* Long enough for what comes to it */
	micro->iterations *= micro->halts ? 10 : 30;
	blank(block);
	open_link(&both->link);
	primary = pair_of(both->link.near[0], KVMFT_ROLE_PRIMARY, block);
	backup = pair_of(both->link.far[1], KVMFT_ROLE_BACKUP, block);
	start_half(&both->primary, micro, &primary, prepare);
	start_half(&both->backup, micro, &backup, prepare);
	wait_until(both->primary.paired != NOT_YET && both->backup.paired != NOT_YET,
		   "both sides greet each other");
	CHECK_RET(both->primary.paired, 0, "the primary's KVMFT_SESSION_PAIR");
	CHECK_RET(both->backup.paired, 0, "the backup's KVMFT_SESSION_PAIR");
	wait_until(interrupts_of(&both->backup) >= interrupts, "the backup gets on");
	CHECK(both->primary.done == NOT_YET && both->backup.done == NOT_YET,
	      "the guest is too short for this test");
}

void end_both(struct both *both)
{
	end_half(&both->primary);
	end_half(&both->backup);
	close_link(&both->link);
}

void wait_for_state(struct half *half, enum kvmft_state state, const char *what)
{
	wait_until((status_of(half), half->outcome.status.state == state), what);
}

/* It has won, and the guest comes to its end as if nothing had been */
void check_live(struct half *half)
{
	wait_for_state(half, KVMFT_STATE_LIVE, "this side is live");
	CHECK_EQ(half->outcome.status.generation, GENERATION + 1, "generation");
	wait_until(half->done != NOT_YET, "the guest comes to its end");
	CHECK_RET(half->done, 0, "KVM_RUN");
	vm_get_regs(&half->vm, &half->outcome.regs);
	if (!strcmp(half->micro->name, "alarm")) {
		CHECK_EQ(half->outcome.regs.rbx, 0, "steps back of the TSC");
		CHECK_EQ(interrupts_of(half), half->micro->iterations, "alarms");
	}
}

void check_reason(struct half *half, const char *text)
{
	char path[100], reason[300] = "";

	status_of(half);
	snprintf(path, sizeof(path), "/sys/class/misc/kvmft/session%llu/reason",
		 (unsigned long long)half->outcome.status.id);
	CHECK_RET(read_file(path, reason, sizeof(reason)), 0, path);
	CHECK(strstr(reason, text), "the reason is \"%s\"", reason);
}
