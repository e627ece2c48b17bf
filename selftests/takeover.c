// SPDX-License-Identifier: GPL-2.0
/*
 * One side of a pair is lost, and the arbiter, a block of scsi_debug's disk, says who runs on: both
 * sides are on this host.  The environment names seed (KVMFT_SEED) and rounds (KVMFT_ROUNDS).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <scsi/sg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "both.h"
#include "tcp.h"
#include "util.h"

/* SBC-4, 5.31; SPC-5, 4.5.8 */
#define SYNCHRONIZE_CACHE_16	0x91
#define HARDWARE_ERROR		4
#define ILLEGAL_REQUEST		5

/* Of the IOAPIC alone, and masked */
#define FIRST_LINE	20

static int run_once(struct vm *vm)
{
	return ioctl(vm->vcpu, KVM_RUN, NULL) ? -errno : 0;
}

/* In its state, in which the guest does not run */
static void check_held(struct half *half)
{
	struct kvm_regs regs, later;

	struct pollfd pfd = { .fd = half->session };

	CHECK_EQ(half->outcome.status.generation, GENERATION, "generation");
	CHECK_RET(half->done, NOT_YET, "KVM_RUN");
	wait_until(poll(&pfd, 1, 0) == 1 && pfd.revents & POLLHUP, "who looks after it is told");
	/* Its VMM can look at it, if it can not run it ... */
	stop_thread(half);
	CHECK_RET(half->done, -EINTR, "KVM_RUN");
	vm_get_regs(&half->vm, &regs);
	half->vm.run->immediate_exit = 1;
	CHECK_RET(run_once(&half->vm), -EINTR, "KVM_RUN, a second time");
	half->vm.run->immediate_exit = 0;
	vm_get_regs(&half->vm, &later);
	CHECK(!memcmp(&regs, &later, sizeof(regs)), "the guest has run on: rip %llx, %llx",
	      (unsigned long long)regs.rip, (unsigned long long)later.rip);
	/* ... and never will */
	close_session(half);
	CHECK_RET(run_once(&half->vm), -EIO, "KVM_RUN when its session is closed");
}

static void check_stopped(struct half *half)
{
	wait_for_state(half, KVMFT_STATE_STOPPED, "this side is stopped");
	check_held(half);
}

/* The VMM of the primary dies */
static void primary_dies(const char *name, unsigned int block, u64 interrupts)
{
	struct both both;
	u64 before;

	dev = kvmft_open_ok();
	start_both(&both, name, block, interrupts, NULL);
	kill_half(&both.primary);
	before = interrupts_of(&both.backup);
	check_live(&both.backup);
	CHECK(interrupts_of(&both.backup) > before + 5, "%llu interrupts, %llu before",
	      (unsigned long long)interrupts_of(&both.backup), (unsigned long long)before);
	end_both(&both);
}

/* Wherever the log stops, before an alarm or behind it: it rings once */
static void primary_dies_asleep(void)
{
	u64 rounds = env_u64("KVMFT_ROUNDS", 3), i;
	struct rng rng;

	rng_seed(&rng, env_u64("KVMFT_SEED", 1));
	for (i = 0; i < rounds; i++)
		primary_dies("alarm", 1, rng_between(&rng, 10, 200));
}

static void primary_dies_computing(void)
{
	primary_dies("timer", 2, 10);
}

/* Who polls a session's state in sysfs learns of each change */
static void watch_state(int fd, const char *last)
{
	struct pollfd pfd = { .fd = fd, .events = POLLPRI };
	char text[20] = "";

	while (strcmp(text, last)) {
		CHECK(poll(&pfd, 1, WAIT_TIMEOUT * 1000) == 1, "it stays '%s'", text);
		memset(text, 0, sizeof(text));
		CHECK(pread(fd, text, sizeof(text) - 1, 0) > 0, "state: %m");
	}
}

static void backup_dies(void)
{
	char path[100], text[20];
	struct both both;
	int fd;

	dev = kvmft_open_ok();
	start_both(&both, "alarm", 3, 10, NULL);
	status_of(&both.primary);
	snprintf(path, sizeof(path), "/sys/class/misc/kvmft/session%llu/state",
		 (unsigned long long)both.primary.outcome.status.id);
	fd = open(path, O_RDONLY);
	CHECK(fd >= 0 && read(fd, text, sizeof(text)) > 0, "%s: %m", path);
	kill_half(&both.backup);
	watch_state(fd, "live\n");
	check_live(&both.primary);
	end_both(&both);
	close(fd);
}

/* Who holds the primary's session lets go of it: its guest stops there, and the backup's runs on */
static void primary_is_closed(void)
{
	struct both both;

	dev = kvmft_open_ok();
	start_both(&both, "alarm", 4, 10, NULL);
	close_session(&both.primary);
	wait_until(both.primary.done != NOT_YET, "KVM_RUN returns");
	CHECK_RET(both.primary.done, -EIO, "the primary's KVM_RUN");
	check_live(&both.backup);
	end_both(&both);
}

/* One of them is live, the other is not, whichever it is */
static void check_one(struct both *both)
{
	wait_until((status_of(&both->primary), status_of(&both->backup),
		    both->primary.outcome.status.state >= KVMFT_STATE_LIVE &&
		    both->backup.outcome.status.state >= KVMFT_STATE_LIVE),
		   "the arbiter decides");
	if (both->primary.outcome.status.state == KVMFT_STATE_LIVE) {
		check_stopped(&both->backup);
		check_live(&both->primary);
	} else {
		check_stopped(&both->primary);
		check_live(&both->backup);
	}
	tap_diag("the %s is live",
		 both->primary.outcome.status.state == KVMFT_STATE_LIVE ? "primary" : "backup");
}

static void link_is_cut(void)
{
	u64 rounds = env_u64("KVMFT_ROUNDS", 3), i;
	struct both both;
	struct rng rng;

	dev = kvmft_open_ok();
	rng_seed(&rng, env_u64("KVMFT_SEED", 1));
	for (i = 0; i < rounds; i++) {
		start_both(&both, "alarm", 5 + i % 50, rng_between(&rng, 1, 40), NULL);
		cut_link(&both.link);
		check_one(&both);
		end_both(&both);
	}
}

static void check_counting(struct half *half)
{
	status_of(half);
	CHECK_EQ(half->outcome.status.state, KVMFT_STATE_COUNTING, "state of a side of a pair");
}

static int set_lag_max(struct half *half, const char *value)
{
	char path[100];

	status_of(half);
	snprintf(path, sizeof(path), "/sys/class/misc/kvmft/session%llu/lag_max",
		 (unsigned long long)half->outcome.status.id);
	return write_file(path, value);
}

static u64 seq_of(struct half *half)
{
	status_of(half);
	return half->outcome.status.seq;
}

/* Its VMM hangs; the module there lives, and has a word with the primary now and then */
static void backup_stands_still(void)
{
	struct both both;
	u64 seq;

	dev = kvmft_open_ok();
	start_both(&both, "alarm", 91, 10, NULL);
	stop_thread(&both.backup);
	/* As long as the guest does not wait for it, it does not matter */
	seq = seq_of(&both.backup);
	wait_until(seq_of(&both.primary) > seq + 100, "the primary goes on");
	check_counting(&both.primary);
	CHECK_RET(set_lag_max(&both.primary, "20\n"), 0, "lag_max");
	check_live(&both.primary);
	check_reason(&both.primary, "has stood still for 1000 ms");
	close_session(&both.backup);
	end_both(&both);
}

/* It is slower to notice than its backup is */
static void primary_loses(void)
{
	struct both both;

	dev = kvmft_open_ok();
	primary_timeout = 4 * TIMEOUT;
	/* Which can not come to its end alone */
	start_both(&both, "output", 7, 10, NULL);
	cut_link(&both.link);
	check_live(&both.backup);
	check_stopped(&both.primary);
	end_both(&both);
}

/* As long as the disk does not answer nobody is live, and nobody gives up */
static void disk_is_gone(void)
{
	u64 primary, backup;
	struct both both;

	dev = kvmft_open_ok();
	start_both(&both, "alarm", 60, 10, NULL);
	set_disk("offline");
	cut_link(&both.link);
	wait_for_state(&both.primary, KVMFT_STATE_CLAIMING, "the primary claims");
	wait_for_state(&both.backup, KVMFT_STATE_CLAIMING, "the backup claims");
	primary = interrupts_of(&both.primary);
	backup = interrupts_of(&both.backup);
	/* The VMM may ask: nothing comes of it */
	pthread_kill(both.primary.thread, SIGUSR1);
	pthread_kill(both.backup.thread, SIGUSR1);
	usleep(3000000);
	CHECK_EQ(interrupts_of(&both.primary), primary, "interrupts at the primary");
	CHECK_EQ(interrupts_of(&both.backup), backup, "interrupts at the backup");
	status_of(&both.primary);
	status_of(&both.backup);
	CHECK_EQ(both.primary.outcome.status.state, KVMFT_STATE_CLAIMING, "state of the primary");
	CHECK_EQ(both.backup.outcome.status.state, KVMFT_STATE_CLAIMING, "state of the backup");
	set_disk("running");
	check_one(&both);
	end_both(&both);
}

/* A disk that was reset says so first, to whoever comes next */
static void disk_was_reset(void)
{
	int what = SG_SCSI_RESET_DEVICE;
	struct both both;

	dev = kvmft_open_ok();
	start_both(&both, "alarm", 80, 10, NULL);
	CHECK(!ioctl(disk, SG_SCSI_RESET, &what), "SG_SCSI_RESET: %m");
	kill_half(&both.primary);
	check_live(&both.backup);
	end_both(&both);
}

/* Commands come to nothing, and time out: that decides nothing either */
static void commands_are_lost(void)
{
	struct both both;

	dev = kvmft_open_ok();
	start_both(&both, "alarm", 81, 10, NULL);
	lose_commands(true);
	kill_half(&both.primary);
	wait_for_state(&both.backup, KVMFT_STATE_CLAIMING, "the backup claims");
	/* Longer than a command may take: arbiter.c */
	usleep(12000000);
	status_of(&both.backup);
	CHECK_EQ(both.backup.outcome.status.state, KVMFT_STATE_CLAIMING, "state of the backup");
	lose_commands(false);
	check_live(&both.backup);
	end_both(&both);
}

/* Its cache can not be written: what it has may be forgotten, which decides nothing either */
static void cache_is_volatile(void)
{
	struct both both;

	dev = kvmft_open_ok();
	start_both(&both, "alarm", 83, 10, NULL);
	fail_command(SYNCHRONIZE_CACHE_16, HARDWARE_ERROR);
	kill_half(&both.primary);
	wait_for_state(&both.backup, KVMFT_STATE_CLAIMING, "the backup claims");
	usleep(3000000);
	status_of(&both.backup);
	CHECK_EQ(both.backup.outcome.status.state, KVMFT_STATE_CLAIMING, "state of the backup");
	fail_command(SYNCHRONIZE_CACHE_16, 0);
	check_live(&both.backup);
	end_both(&both);
}

/* A disk that does not know the command has none */
static void cache_is_not_there(void)
{
	struct both both;

	dev = kvmft_open_ok();
	fail_command(SYNCHRONIZE_CACHE_16, ILLEGAL_REQUEST);
	start_both(&both, "alarm", 84, 10, NULL);
	kill_half(&both.primary);
	check_live(&both.backup);
	fail_command(SYNCHRONIZE_CACHE_16, 0);
	end_both(&both);
}

/* Closed while nobody is live: the guest does not run on, and nothing waits for the disk */
static void closed_in_doubt(void)
{
	struct both both;

	dev = kvmft_open_ok();
	start_both(&both, "alarm", 61, 10, NULL);
	set_disk("offline");
	cut_link(&both.link);
	wait_for_state(&both.primary, KVMFT_STATE_CLAIMING, "the primary claims");
	wait_for_state(&both.backup, KVMFT_STATE_CLAIMING, "the backup claims");
	close_session(&both.primary);
	close_session(&both.backup);
	wait_until(both.primary.done != NOT_YET && both.backup.done != NOT_YET, "KVM_RUN returns");
	CHECK_RET(both.primary.done, -EIO, "the primary's KVM_RUN");
	CHECK_RET(both.backup.done, -EIO, "the backup's KVM_RUN");
	set_disk("running");
	end_both(&both);
}

/* A guest that switches itself off, or a log that ends, is no failure */
static void no_failure(void)
{
	struct both both;

	dev = kvmft_open_ok();
	start_both(&both, "alarm", 62, 10, NULL);
	CHECK_RET(kvmft_finish(both.primary.session), -EOPNOTSUPP, "KVMFT_SESSION_FINISH");
	wait_until(both.primary.done != NOT_YET, "the guest comes to its end");
	CHECK_RET(both.primary.done, 0, "the primary's KVM_RUN");
	status_of(&both.primary);
	status_of(&both.backup);
	CHECK_EQ(both.primary.outcome.status.state, KVMFT_STATE_COUNTING, "state of the primary");
	CHECK_EQ(both.backup.outcome.status.state, KVMFT_STATE_COUNTING, "state of the backup");
	end_both(&both);
}

static void check_off(struct half *half)
{
	wait_for_state(half, KVMFT_STATE_ENDED, "this side has ended");
	CHECK_EQ(half->outcome.status.end, KVMFT_END_FINISHED, "how it ended");
	check_held(half);
}

/* ... and that is the end on both sides, whatever their VMMs think: this one runs it again */
static void switched_off(void)
{
	struct both both;

	dev = kvmft_open_ok();
	start_both(&both, "off", 93, 10, NULL);
	check_off(&both.backup);
	check_off(&both.primary);
	end_both(&both);
}

/* Not far ahead of its backup */
static void stay_near(struct half *half)
{
	if (half->pair.role == KVMFT_ROLE_PRIMARY)
		CHECK_RET(set_lag_max(half, "100"), 0, "lag_max");
}

/* The backup does not learn of it, and goes on alone */
static void switched_off_alone(void)
{
	struct both both;

	dev = kvmft_open_ok();
	primary_timeout = 20 * TIMEOUT;
	start_both(&both, "off", 94, 10, stay_near);
	cut_link(&both.link);
	CHECK_RET(set_lag_max(&both.primary, "0"), 0, "lag_max");
	check_live(&both.backup);
	check_off(&both.primary);
	end_both(&both);
}

static u64 outputs_of(const struct half *half)
{
	return __atomic_load_n(&half->vm.outputs, __ATOMIC_ACQUIRE);
}

static u64 acked_of(struct half *half)
{
	status_of(half);
	return half->outcome.status.acked;
}

/* Cut the link for a while, five times: does what the guest writes get out meanwhile? */
static void check_writes(const char *name, unsigned int block, bool get_out)
{
	unsigned int i, kicks;
	u64 before, acked;
	struct both both;

	dev = kvmft_open_ok();
	start_both(&both, name, block, 10, NULL);
	for (i = 0; i < 5; i++) {
		cut_link(&both.link);
		/* What was under way arrives */
		usleep(50000);
		before = outputs_of(&both.primary);
		/* However often the VMM asks; or sooner or later, but before anyone notices */
		for (kicks = 0; kicks < (get_out ? 60 : 20); kicks++) {
			if (get_out && outputs_of(&both.primary) > before)
				break;
			pthread_kill(both.primary.thread, SIGUSR1);
			usleep(TIMEOUT * 1000 / 100);
		}
		/* Too short for either to notice: nobody is live */
		check_counting(&both.primary);
		check_counting(&both.backup);
		CHECK_EQ(outputs_of(&both.primary) > before, get_out,
			 "writes of a primary that is cut off get out:");
		CHECK_EQ(both.primary.done, NOT_YET, "the guest's end");
		acked = both.primary.outcome.status.acked;
		mend_link(&both.link);
		/* In both directions */
		wait_until(outputs_of(&both.primary) > before + 10 &&
			   outputs_of(&both.backup) > before + 10 &&
			   acked_of(&both.primary) > acked, "both get on again");
	}
	end_both(&both);
}

/* A primary that is alone does not even compute, until the arbiter has decided */
static void stands_still(void)
{
	struct both both;
	u64 before;

	dev = kvmft_open_ok();
	start_both(&both, "write", 82, 10, NULL);
	set_disk("offline");
	cut_link(&both.link);
	wait_for_state(&both.primary, KVMFT_STATE_CLAIMING, "the primary claims");
	/* Nothing was heard of the backup meanwhile */
	CHECK(both.primary.outcome.status.lag_us >= TIMEOUT * 1000 / 2 &&
	      both.primary.outcome.status.seq > both.primary.outcome.status.peer_seq,
	      "a lag of %llu us", (unsigned long long)both.primary.outcome.status.lag_us);
	/* What was on its way to the VMM gets there */
	usleep(50000);
	before = outputs_of(&both.primary);
	usleep(500000);
	CHECK_EQ(outputs_of(&both.primary), before, "writes of a primary that claims");
	set_disk("running");
	end_both(&both);
}

static void set_line(const struct half *half, unsigned int line, unsigned int level)
{
	struct kvm_irq_level change = { .irq = line, .level = level };

	CHECK(!ioctl(half->vm.fd, KVM_IRQ_LINE, &change), "KVM_IRQ_LINE: %m");
}

/* Has the IOAPIC had an edge of this line, which is masked, and is it up? */
static bool is_up(const struct half *half, unsigned int line)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };

	CHECK(!ioctl(half->vm.fd, KVM_GET_IRQCHIP, &chip), "KVM_GET_IRQCHIP: %m");
	return chip.chip.ioapic.irr & 1U << line;
}

/* Each message takes the kernel so long */
static void slow_messages(const char *ms)
{
	CHECK_RET(write_file("/proc/sys/kernel/printk_delay", ms), 0, "printk_delay");
}

/*
 * A device of a backup's that is live is heard from the first moment on.  The guest sleeps when its
 * primary is lost, or is about to; the NMI is another interrupt than any before.
 */
static void heard_when_live(void)
{
	static const struct kvm_msi nmi = { .address_lo = 0xfee00000, .data = 0x400 };
	struct both both;
	u64 i;

	dev = kvmft_open_ok();
	start_both(&both, "halt", 95, 0, NULL);
	for (i = 1; i <= 2; i++) {
		interrupt_half(&both.primary);
		wait_until(interrupts_of(&both.primary) == i, "the guest gets on");
	}
	wait_until(seq_of(&both.backup) == seq_of(&both.primary), "the backup gets on");
	slow_messages("500");
	kill_half(&both.primary);
	wait_for_state(&both.backup, KVMFT_STATE_LIVE, "the backup is live");
	CHECK(ioctl(both.backup.vm.fd, KVM_SIGNAL_MSI, &nmi) >= 0, "KVM_SIGNAL_MSI: %m");
	slow_messages("0");
	wait_until(interrupts_of(&both.backup) == 3, "the guest gets the NMI");
	end_both(&both);
}

/* The devices of a primary that stands still do not */
static void inputs_are_kept(void)
{
	struct both both;
	unsigned int i;

	dev = kvmft_open_ok();
	start_both(&both, "alarm", 92, 10, NULL);
	set_disk("offline");
	kill_half(&both.backup);
	wait_for_state(&both.primary, KVMFT_STATE_CLAIMING, "the primary claims");
	for (i = 0; i < 1000; i++) {
		set_line(&both.primary, FIRST_LINE, !(i % 2));
		set_line(&both.primary, FIRST_LINE + 1, i % 2);
	}
	/* Behind them all */
	set_line(&both.primary, FIRST_LINE + 2, 1);
	set_disk("running");
	check_live(&both.primary);
	CHECK(!is_up(&both.primary, FIRST_LINE), "the first line is up");
	CHECK(is_up(&both.primary, FIRST_LINE + 1), "the second line is not up");
	CHECK(is_up(&both.primary, FIRST_LINE + 2), "the third line is not up");
	end_both(&both);
}

static void output_waits(void)
{
	check_writes("output", 64, false);
}

static void writes_do_not_wait(void)
{
	check_writes("write", 69, true);
}

static void all_writes_wait(void)
{
	primary_flags = KVMFT_PAIR_HOLD_ALL;
	check_writes("write", 69, false);
}

/* What has left the primary before it was lost the backup knows of; the rest comes from there */
static void output_is_known(void)
{
	u64 rounds = env_u64("KVMFT_ROUNDS", 3), i, left;
	struct both both;
	struct rng rng;

	dev = kvmft_open_ok();
	rng_seed(&rng, env_u64("KVMFT_SEED", 1));
	for (i = 0; i < rounds; i++) {
		start_both(&both, "output", 65 + i % 4, 1, NULL);
		/* The backup is to be found where it stands, before it is live */
		usleep(rng_between(&rng, 1, 20000));
		set_disk("offline");
		if (i % 2)
			cut_link(&both.link);
		stop_thread(&both.primary);
		left = outputs_of(&both.primary);
		destroy_half(&both.primary);
		wait_for_state(&both.backup, KVMFT_STATE_CLAIMING, "the backup claims");
		CHECK(outputs_of(&both.backup) >= left, "%llu outputs left, %llu are known",
		      (unsigned long long)left, (unsigned long long)outputs_of(&both.backup));
		pthread_kill(both.backup.thread, SIGUSR1);
		set_disk("running");
		check_live(&both.backup);
		CHECK_EQ(outputs_of(&both.backup), both.micro.iterations, "outputs in the end");
		end_both(&both);
	}
}

/* A primary does not leave its backup further behind than it may */
static void lag(void)
{
	static const char *const bad[] = { "x\n", "-1\n", "99999999999999999999\n" };
	const u64 lag_max = 20;
	struct both both;
	u64 seq, before;
	unsigned int i;

	dev = kvmft_open_ok();
	/* It waits for a while, not for good */
	primary_timeout = 10 * TIMEOUT;
	start_both(&both, "write", 90, 10, NULL);
	CHECK_RET(set_lag_max(&both.backup, "20\n"), -EOPNOTSUPP, "lag_max of a backup");
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK(set_lag_max(&both.primary, bad[i]) < 0, "lag_max takes %s", bad[i]);
	CHECK_RET(set_lag_max(&both.primary, "20\n"), 0, "lag_max");
	wait_until((seq = seq_of(&both.primary)) - seq_of(&both.backup) < 2 * lag_max,
		   "the backup catches up");
	/* It replays no further, but lives, and acknowledges what comes */
	stop_thread(&both.backup);
	seq = seq_of(&both.primary);
	do {
		before = seq;
		usleep(4 * HEARTBEAT * 1000);
		seq = seq_of(&both.primary);
	} while (seq != before);
	CHECK(seq - seq_of(&both.backup) > 0, "it does not get ahead at all");
	CHECK(seq - seq_of(&both.backup) < 2 * lag_max, "%llu entries ahead",
	      (unsigned long long)(seq - seq_of(&both.backup)));
	CHECK_RET(set_lag_max(&both.primary, "0\n"), 0, "lag_max");
	wait_until(seq_of(&both.primary) > seq + 10 * lag_max, "it goes on");
	end_both(&both);
}

/*
 * What is refused when a pair is set up.
 */
struct attempt {
	struct kvmft_session_pair pair;
	int ret;
};

static void *attempt_thread(void *arg)
{
	struct attempt *attempt = arg;
	struct vm vm;
	int session;

	micro_vm(&vm, micro_of("tsc"));
	session = kvmft_create_ok(dev, vm.fd);
	attempt->ret = kvmft_pair(session, &attempt->pair);
	close(session);
	vm_destroy(&vm);
	return NULL;
}

static struct attempt attempt_of(int socket, enum kvmft_role role, unsigned int block)
{
	return (struct attempt) { .pair = pair_of(socket, role, block) };
}

/* Both sides try: @primary and @backup are what they get */
static void check_both(struct attempt *primary, struct attempt *backup, int primary_gets,
		       int backup_gets, const char *what)
{
	pthread_t threads[2];

	CHECK(!pthread_create(&threads[0], NULL, attempt_thread, primary) &&
	      !pthread_create(&threads[1], NULL, attempt_thread, backup), "pthread_create");
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	CHECK_RET(backup->ret, backup_gets, what);
	CHECK_RET(primary->ret, primary_gets, what);
}

static void set_up_refused(void)
{
	int file = open("/", O_TMPFILE | O_RDWR, 0600), reading = open(disk_path, O_RDONLY);
	struct attempt primary, backup;
	int ends[2], log = kernel_log();

	dev = kvmft_open_ok();
	CHECK(reading >= 0, "%s: %m", disk_path);
	tcp_connection(ends);
#define REFUSED(change, error, what)							\
	do {										\
		primary = attempt_of(ends[0], KVMFT_ROLE_PRIMARY, 70);			\
		change;									\
		attempt_thread(&primary);						\
		CHECK_RET(primary.ret, error, what);					\
	} while (0)
	REFUSED(primary.pair.arbiter_fd = -1, -EBADF, "no descriptor");
	REFUSED(primary.pair.arbiter_fd = reading, -EBADF, "a disk open for reading");
	if (file >= 0)
		REFUSED(primary.pair.arbiter_fd = file, -ENOTBLK, "a file");
	REFUSED(primary.pair.arbiter_block = 1ULL << 40, -ERANGE, "a block behind the end");
	CHECK(pwrite(disk, "data", 4, 70 * BLOCK) == 4 && !fsync(disk), "%s: %m", disk_path);
	REFUSED(, -EEXIST, "a block with data");
	blank(70);
	set_disk("offline");
	REFUSED(, -EIO, "a disk that does not answer");
	set_disk("running");
	fail_command(SYNCHRONIZE_CACHE_16, HARDWARE_ERROR);
	REFUSED(, -EIO, "a disk whose cache can not be written");
	fail_command(SYNCHRONIZE_CACHE_16, 0);
	blank(70);
#undef REFUSED
	/* The blank block is still blank, and the other side finds no pair there */
	primary = attempt_of(ends[0], KVMFT_ROLE_PRIMARY, 71);
	backup = attempt_of(ends[1], KVMFT_ROLE_BACKUP, 70);
	blank(71);
	check_both(&primary, &backup, -EPROTO, -EEXIST, "two blocks");
	CHECK_EQ(kernel_log_lines(log, "the backup gives up: no arbiter: the block is blank"), 1,
		 "the reason at the primary");
	close(log);
	close(ends[0]);
	close(ends[1]);

	tcp_connection(ends);
	primary = attempt_of(ends[0], KVMFT_ROLE_PRIMARY, 71);
	backup = attempt_of(ends[1], KVMFT_ROLE_BACKUP, 71);
	backup.pair.flags = 0;
	backup.pair.arbiter_fd = 0;
	backup.pair.arbiter_block = 0;
	check_both(&primary, &backup, -EPROTO, -EPROTO, "an arbiter on one side");
	close(ends[0]);
	close(ends[1]);
	close(reading);
	if (file >= 0)
		close(file);
}

/* A pair of an older generation finds that time has gone on */
static void old_generation(void)
{
	struct attempt primary;
	struct both both;
	int ends[2];

	dev = kvmft_open_ok();
	start_both(&both, "alarm", 63, 10, NULL);
	kill_half(&both.primary);
	check_live(&both.backup);
	end_both(&both);
	tcp_connection(ends);
	primary = attempt_of(ends[0], KVMFT_ROLE_PRIMARY, 63);
	attempt_thread(&primary);
	CHECK_RET(primary.ret, -EEXIST, "the generation before");
	close(ends[0]);
	close(ends[1]);
}

static const struct tap_case cases[] = {
	{ "primary_dies_asleep", primary_dies_asleep, 0 },
	{ "primary_dies_computing", primary_dies_computing, 0 },
	{ "backup_dies", backup_dies, 0 },
	{ "primary_is_closed", primary_is_closed, 0 },
	{ "link_is_cut", link_is_cut, 0 },
	{ "backup_stands_still", backup_stands_still, 0 },
	{ "primary_loses", primary_loses, 0 },
	{ "disk_is_gone", disk_is_gone, 0 },
	{ "disk_was_reset", disk_was_reset, 0 },
	{ "commands_are_lost", commands_are_lost, 0 },
	{ "cache_is_volatile", cache_is_volatile, 0 },
	{ "cache_is_not_there", cache_is_not_there, 0 },
	{ "closed_in_doubt", closed_in_doubt, 0 },
	{ "no_failure", no_failure, 0 },
	{ "switched_off", switched_off, 0 },
	{ "switched_off_alone", switched_off_alone, 0 },
	{ "output_waits", output_waits, 0 },
	{ "stands_still", stands_still, 0 },
	{ "heard_when_live", heard_when_live, 0 },
	{ "inputs_are_kept", inputs_are_kept, 0 },
	{ "writes_do_not_wait", writes_do_not_wait, 0 },
	{ "all_writes_wait", all_writes_wait, 0 },
	{ "output_is_known", output_is_known, 0 },
	{ "lag", lag, 0 },
	{ "set_up_refused", set_up_refused, 0 },
	{ "old_generation", old_generation, 0 },
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, &KVMFT_SUITE(cases, both_setup, kvmft_teardown));
}
