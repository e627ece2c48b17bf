/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A pair of micro guests on this host, with an arbiter: a block of scsi_debug's disk.  The case
 * fails when anything here does.
 */
#ifndef SELFTESTS_BOTH_H
#define SELFTESTS_BOTH_H

#include <pthread.h>
#include <stdbool.h>

#include "kvmft.h"
#include "microrun.h"

#define HEARTBEAT	50
#define TIMEOUT		1000
#define GENERATION	7
#define BLOCK		512	/* bytes of the disk's */

/* KVMFT_DEVICE; the disk; flags that every primary gets, and its time-out in milliseconds */
extern int dev, disk;
extern u32 primary_flags, primary_timeout;
extern char disk_path[64];

/* Before the first case: module, signals, loopback interface, and the disk, which is made */
void both_setup(void);
/* "running" or "offline" */
void set_disk(const char *state);
/* Its commands come to nothing */
void lose_commands(bool lose);
/* Its command fails with this sense key, for good; 0: no more */
void fail_command(unsigned int command, unsigned int sense);
void blank(unsigned int block);

/*
 * One side: a VM, a session and the thread that runs both.
 */
struct half {
	const struct micro *micro;
	struct kvmft_session_pair pair;
	struct vm vm;
	int session;
	void (*prepare)(struct half *half);
	int quit[2];		/* a pipe: closed when the VMM is to give up */
	pthread_t thread;
	int paired;		/* by KVMFT_SESSION_PAIR, once it has returned; 1: not yet */
	int done;		/* the guest came to its end; < 0: -errno of KVM_RUN; 1: not yet */
	bool gave_up;		/* the thread is no more */
	bool dead;		/* nor is the VM */
	struct micro_outcome outcome;
};

#define NOT_YET	1

/* Its thread greets the other side, then runs the guest.  @prepare: see start_both() */
void start_half(struct half *half, const struct micro *micro, const struct kvmft_session_pair *pair,
		void (*prepare)(struct half *half));
void end_half(struct half *half);
struct kvmft_session_pair pair_of(int socket, enum kvmft_role role, unsigned int block);
void status_of(struct half *half);
u64 interrupts_of(const struct half *half);
/* One for its guest, by KVM_SIGNAL_MSI */
void interrupt_half(const struct half *half);
/* Its VMM gives up: the thread leaves KVM_RUN; it is no more, and so is its VM; both */
void stop_thread(struct half *half);
void destroy_half(struct half *half);
void kill_half(struct half *half);
void close_session(struct half *half);
void wait_for_state(struct half *half, enum kvmft_state state, const char *what);
/* The reason why its session ended, or is alone, has @text in it */
void check_reason(struct half *half, const char *text);
/* It has won, and the guest comes to its end as if nothing had been */
void check_live(struct half *half);

/*
 * The link between both, which can be cut without either noticing.
 */
struct link {
	int near[2];	/* the primary's end, and ours */
	int far[2];	/* ours, and the backup's */
	pthread_t thread;
	bool cut;	/* for good, or until it is mended */
	bool stop;
};

void cut_link(struct link *link);
void mend_link(struct link *link);

/*
 * A pair that runs.
 */
struct both {
	struct micro micro;
	struct link link;
	struct half primary;
	struct half backup;
};

/*
 * Start both sides; @prepare, unless NULL, is called by each one's thread when they have greeted
 * each other, and before the guest runs.
 * Returns when the backup has replayed @interrupts, of a guest that goes on.
 */
void start_both(struct both *both, const char *name, unsigned int block, u64 interrupts,
		void (*prepare)(struct half *half));
void end_both(struct both *both);

#endif /* SELFTESTS_BOTH_H */
