/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * kvmft: fault tolerance for KVM guests, user space interface.
 *
 * Two kinds of file descriptor:
 *
 *   /dev/kvmft   mode 0600; open() needs CAP_SYS_ADMIN.  Answers questions about
 *                the module and makes sessions.
 *   session      made by KVMFT_CREATE_SESSION, close-on-exec.  The session lives
 *                as long as the descriptor: the last close() ends it.
 *
 * Every structure starts with @size, which the caller sets to sizeof() of the
 * structure it was compiled with.  The kernel accepts a structure that is larger
 * than its own when the bytes it does not know are zero (else E2BIG), and refuses
 * one that is smaller than the first version of the structure (EINVAL).  @flags
 * bits without a meaning and @reserved fields have to be zero (EINVAL).
 */
#ifndef _UAPI_LINUX_KVMFT_H
#define _UAPI_LINUX_KVMFT_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * KVMFT_API_VERSION - what KVMFT_GET_API_VERSION returns
 *
 * Incremented when an existing call changes its meaning; additions do not.
 */
#define KVMFT_API_VERSION	1

/*
 * Ioctl type 0xDC, numbers 00-1F: free in
 * Documentation/userspace-api/ioctl/ioctl-number.rst as of Linux 6.12.
 */
#define KVMFT_IOCTL_TYPE	0xDC

/**
 * enum kvmft_verdict - may sessions rely on this machine's event counter?
 * @KVMFT_VERDICT_UNTESTED: the self-test has not run
 * @KVMFT_VERDICT_EXACT: every check of the self-test passed
 * @KVMFT_VERDICT_REFUSED: unknown CPU, counter missing or taken, or a check
 *	failed; the reason and the remedy are in sysfs (counter/reason) and in the
 *	kernel log
 */
enum kvmft_verdict {
	KVMFT_VERDICT_UNTESTED	= 0,
	KVMFT_VERDICT_EXACT	= 1,
	KVMFT_VERDICT_REFUSED	= 2,
};

/**
 * enum kvmft_state - life of a session
 * @KVMFT_STATE_ARMED: made; the vCPU has not passed a boundary since
 * @KVMFT_STATE_COUNTING: the vCPU's position is being counted
 * @KVMFT_STATE_ENDED: over, for the reason in &enum kvmft_end; the descriptor
 *	only answers KVMFT_SESSION_STATUS any more
 * @KVMFT_STATE_CLAIMING: a side of a pair that has lost the other, for the reason in &enum
 *	kvmft_end; its guest stands still until the arbiter has decided
 * @KVMFT_STATE_LIVE: it has won: its guest runs on, without protection
 * @KVMFT_STATE_STOPPED: the other has won: its guest never runs again
 *
 * ENDED, LIVE and STOPPED are final.
 */
enum kvmft_state {
	KVMFT_STATE_ARMED	= 1,
	KVMFT_STATE_COUNTING	= 2,
	KVMFT_STATE_ENDED	= 3,
	KVMFT_STATE_CLAIMING	= 4,
	KVMFT_STATE_LIVE	= 5,
	KVMFT_STATE_STOPPED	= 6,
};

/**
 * enum kvmft_end - why a session ended
 * @KVMFT_END_NONE: it has not
 * @KVMFT_END_CLOSED: its last descriptor was closed (seen in tracepoints only)
 * @KVMFT_END_VM_DESTROYED: the last reference to the VM was dropped
 * @KVMFT_END_COUNTER_LOST: a counter was lost while the vCPU was in the guest
 *	(the PMU was taken by a CPU-wide pinned event, or the kernel throttled it)
 * @KVMFT_END_VCPU_ADDED: a second vCPU was created
 * @KVMFT_END_NO_COUNTER: the counters could not be opened on the vCPU's thread
 * @KVMFT_END_COUNTER_WRONG: the counters contradict each other: fewer taken branches
 *	than entries of the guest
 * @KVMFT_END_FINISHED: the log is complete: KVMFT_SESSION_FINISH was called or the guest
 *	switched its machine off; or replay has reached the log's end
 * @KVMFT_END_DIVERGED: replay found the guest elsewhere than the log says; session<id>/reason
 *	in sysfs and the kernel log say where
 * @KVMFT_END_LOG_ERROR: the log can not be written (disk full, ...) or is damaged;
 *	session<id>/reason says which entry
 * @KVMFT_END_UNSUPPORTED: the VMM or the guest did what can not be replayed;
 *	session<id>/reason says what
 *
 * A KVM_RUN in progress may return EINTR when a session ends, as it does for a signal.
 */
enum kvmft_end {
	KVMFT_END_NONE		= 0,
	KVMFT_END_CLOSED	= 1,
	KVMFT_END_VM_DESTROYED	= 2,
	KVMFT_END_COUNTER_LOST	= 3,
	KVMFT_END_VCPU_ADDED	= 4,
	KVMFT_END_NO_COUNTER	= 5,
	KVMFT_END_COUNTER_WRONG	= 6,
	KVMFT_END_FINISHED	= 7,
	KVMFT_END_DIVERGED	= 8,
	KVMFT_END_LOG_ERROR	= 9,
	KVMFT_END_UNSUPPORTED	= 10,
};

/**
 * enum kvmft_mode - what a session does
 * @KVMFT_MODE_COUNT: count the guest's branches
 * @KVMFT_MODE_RECORD: and write a log of every non-deterministic event
 * @KVMFT_MODE_REPLAY: run the guest by such a log
 */
enum kvmft_mode {
	KVMFT_MODE_COUNT	= 0,
	KVMFT_MODE_RECORD	= 1,
	KVMFT_MODE_REPLAY	= 2,
};

/**
 * struct kvmft_info - the module and the machine (KVMFT_GET_INFO)
 * @size: sizeof(struct kvmft_info)
 * @flags: zero
 * @api_version: KVMFT_API_VERSION of the module
 * @verdict: &enum kvmft_verdict
 * @sessions: number of sessions that exist
 * @hooks: number of KVM functions that are redirected at this moment; zero
 *	whenever no session exists
 * @skid_max: largest distance, in conditional branches, between the requested and
 *	the observed place of an overflow during the self-test
 * @reserved: zero
 */
struct kvmft_info {
	__u32 size;
	__u32 flags;
	__u32 api_version;
	__u32 verdict;
	__u32 sessions;
	__u32 hooks;
	__u64 skid_max;
	__u64 reserved[4];
};

/**
 * struct kvmft_create_session - protect a VM (KVMFT_CREATE_SESSION)
 * @size: sizeof(struct kvmft_create_session)
 * @flags: zero
 * @vm_fd: descriptor of the VM, from KVM_CREATE_VM (or pidfd_getfd())
 * @pad: zero
 * @reserved: zero
 */
struct kvmft_create_session {
	__u32 size;
	__u32 flags;
	__s32 vm_fd;
	__u32 pad;
	__u64 reserved[4];
};

/**
 * struct kvmft_session_status - a session (KVMFT_SESSION_STATUS)
 * @size: sizeof(struct kvmft_session_status)
 * @flags: zero
 * @id: number of the session, as in /sys/class/misc/kvmft/session<id>/
 * @state: &enum kvmft_state
 * @end: &enum kvmft_end
 * @exits: returns from the guest since the session was made
 * @cond: conditional branches retired by the guest, as read after the last exit
 * @taken: taken branches retired by the guest, less one for each VMRUN, as read
 *	after the last exit
 * @rip: guest RIP after the last exit
 * @stop_at: requested stop, as an absolute value of @cond; 0: none pending
 * @stopped_at: value of @cond at which the last requested stop took the vCPU out
 *	of the guest; 0: none yet
 * @overflows: overflow interrupts that arrived and were asked for
 * @lost: stops that were passed without an overflow interrupt, noticed at a later
 *	exit
 * @spurious: non-maskable interrupts that took the vCPU out of the guest while a
 *	stop was pending, but were no overflow of the session's counter
 * @mode: &enum kvmft_mode
 * @pad: zero
 * @seq: number of log entries written (record) or consumed (replay)
 * @log_bytes: bytes of the log written or consumed
 * @inputs: asynchronous inputs applied: interrupts, timers
 * @landings: boundaries that were no synchronous exit: their inputs' place had to be
 *	logged (record), or landed on (replay)
 * @digests: digests logged (record), or compared and found equal (replay)
 * @acked: bytes of the log that the backup has acknowledged: they are in its memory
 * @peer_seq: log entries that the peer has written, or replayed, as it said last
 * @copied: bytes of the log that were copied on their way to the network card, which can not
 *	gather
 * @packets_held: packets that the guest has sent by its network devices (/dev/kvmft-net): of a
 *	primary, that wait until the backup has acknowledged; of a backup, of which it does not
 *	know yet whether the primary has sent them
 * @bytes_held: of those
 * @packets_sent: that left this host while the guest was protected
 * @packets_resent: that a backup sent when it went live; the primary may have sent them, too
 * @packets_dropped: lost, for want of memory, or because the tap did not take them
 * @generation: how many times a side of the pair has gone live, this time included
 * @lag_us: how far the backup is behind, in microseconds: how long it took to replay what the
 *	primary had written, when that was measured last, or has been taking, if that is more.
 *	Either side knows of the other what that said last, heartbeat_ms ago at most.  0: as far as
 *	this side knows the backup has replayed it all
 * @role: of a pair, &enum kvmft_role; 0: it is no side of one
 * @reserved: zero
 *
 * The counts belong together when the vCPU is not in KVM_RUN; otherwise they are
 * those of the most recent exit that had been accounted in full.
 */
struct kvmft_session_status {
	__u32 size;
	__u32 flags;
	__u64 id;
	__u32 state;
	__u32 end;
	__u64 exits;
	__u64 cond;
	__u64 taken;
	__u64 rip;
	__u64 stop_at;
	__u64 stopped_at;
	__u64 overflows;
	__u64 lost;
	__u64 spurious;
	__u32 mode;
	__u32 pad;
	__u64 seq;
	__u64 log_bytes;
	__u64 inputs;
	__u64 landings;
	__u64 digests;
	__u64 acked;
	__u64 peer_seq;
	__u64 copied;
	__u64 packets_held;
	__u64 bytes_held;
	__u64 packets_sent;
	__u64 packets_resent;
	__u64 packets_dropped;
	__u64 generation;
	__u64 lag_us;
	__u32 role;
	__u32 reserved;
};

/**
 * struct kvmft_session_stop - stop the vCPU at a count (KVMFT_SESSION_STOP)
 * @size: sizeof(struct kvmft_session_stop)
 * @flags: zero
 * @cond: conditional branches from the place where the vCPU is now; 0 withdraws a
 *	pending stop
 * @reserved: zero
 *
 * When the counter passes the requested count the vCPU leaves the guest, at that
 * branch plus the skid of the machine's overflow interrupt, and KVM_RUN returns
 * -1 with errno EINTR, as it does for a signal.  If the guest left by itself during the
 * skid, for something that the VMM has to handle, KVM_RUN returns that exit instead.
 * kvmft_session_status.stopped_at tells the place in both cases.  The request is for a
 * vCPU that is outside KVM_RUN: EBUSY if it is inside.
 */
struct kvmft_session_stop {
	__u32 size;
	__u32 flags;
	__u64 cond;
	__u64 reserved[4];
};

/**
 * struct kvmft_session_record - record the guest (KVMFT_SESSION_RECORD)
 * @size: sizeof(struct kvmft_session_record)
 * @flags: zero
 * @log_fd: descriptor of the log: a regular file, open for writing, empty
 * @align_us: how many microseconds an interrupt waits for the guest to exit by itself
 *	before the vCPU is taken out of the guest for it; at most 1,000,000
 * @reserved: zero
 */
struct kvmft_session_record {
	__u32 size;
	__u32 flags;
	__s32 log_fd;
	__u32 align_us;
	__u64 reserved[4];
};

/**
 * struct kvmft_session_replay - run the guest by a log (KVMFT_SESSION_REPLAY)
 * @size: sizeof(struct kvmft_session_replay)
 * @flags: zero
 * @log_fd: descriptor of the log: a regular file, open for reading
 * @pad: zero
 * @reserved: zero
 */
struct kvmft_session_replay {
	__u32 size;
	__u32 flags;
	__s32 log_fd;
	__u32 pad;
	__u64 reserved[4];
};

/**
 * enum kvmft_role - a side of a pair
 * @KVMFT_ROLE_PRIMARY: runs the guest and sends the log
 * @KVMFT_ROLE_BACKUP: replays it as it arrives
 */
enum kvmft_role {
	KVMFT_ROLE_PRIMARY	= 1,
	KVMFT_ROLE_BACKUP	= 2,
};

/**
 * struct kvmft_session_pair - one side of a pair (KVMFT_SESSION_PAIR)
 * @size: sizeof(struct kvmft_session_pair)
 * @flags: KVMFT_PAIR_ARBITER: an arbiter decides who goes live; KVMFT_PAIR_HOLD_ALL, of a primary
 *	with one: every write of the guest's that leaves KVM_RUN waits until the backup has
 *	acknowledged it, not only those that leave the host (serial and parallel ports)
 * @socket_fd: descriptor of a TCP socket that is connected to the peer.  The module is the only
 *	one to use it from now on
 * @role: &enum kvmft_role of this side
 * @id: identity of the pair, any value; that of the peer has to be the same
 * @generation: how many times a side of it went live before; the same
 * @heartbeat_ms: the peer hears from this side at least this often, in milliseconds: 1 to
 *	KVMFT_HEARTBEAT_MAX
 * @timeout_ms: a peer that has been silent for so long has failed: from 3 times @heartbeat_ms to
 *	KVMFT_TIMEOUT_MAX; 20 times or more are advisable.  So has, for a primary, a backup that the
 *	guest has waited for so long without its getting on: that of a VMM that hangs
 * @align_us: as in &struct kvmft_session_record; of a backup zero
 * @arbiter_fd: with KVMFT_PAIR_ARBITER: descriptor of the disk that decides who goes live: a
 *	SCSI disk, or a partition of one, that both sides reach, open for reading and writing; else
 *	zero
 * @arbiter_block: which block of it, of the disk's own size, counted from 0; else zero.  A primary
 *	writes it: it has to be blank, or that of a pair of the same @id and @generation
 * @reserved: zero
 */
struct kvmft_session_pair {
	__u32 size;
	__u32 flags;
	__s32 socket_fd;
	__u32 role;
	__u8 id[16];
	__u64 generation;
	__u32 heartbeat_ms;
	__u32 timeout_ms;
	__u32 align_us;
	__s32 arbiter_fd;
	__u64 arbiter_block;
	__u64 reserved[3];
};

/**
 * enum kvmft_irq - an interrupt of &struct kvmft_session_input
 * @KVMFT_IRQ_NONE: none
 * @KVMFT_IRQ_LINE: line @gsi changes to @level, as by KVM_IRQ_LINE
 * @KVMFT_IRQ_MSI: message @msi_data to @msi_addr, as by KVM_SIGNAL_MSI
 */
enum kvmft_irq {
	KVMFT_IRQ_NONE	= 0,
	KVMFT_IRQ_LINE	= 1,
	KVMFT_IRQ_MSI	= 2,
};

/**
 * struct kvmft_session_input - write to guest memory, and interrupt (KVMFT_SESSION_INPUT)
 * @size: sizeof(struct kvmft_session_input)
 * @flags: zero
 * @addr: guest physical address to write to
 * @data: address of the bytes to write
 * @len: number of the bytes, at most KVMFT_INPUT_MAX; 0: memory is not written
 * @irq: &enum kvmft_irq; it comes after the bytes
 * @gsi: KVMFT_IRQ_LINE: the line
 * @level: KVMFT_IRQ_LINE: 0 or 1
 * @msi_addr: KVMFT_IRQ_MSI: address
 * @msi_data: KVMFT_IRQ_MSI: data
 * @pad: zero
 * @reserved: zero
 *
 * A VMM with devices of its own must not write to guest memory itself while it is recorded:
 * where the guest was then would be unknown.
 */
struct kvmft_session_input {
	__u32 size;
	__u32 flags;
	__u64 addr;
	__u64 data;
	__u32 len;
	__u32 irq;
	__u32 gsi;
	__u32 level;
	__u64 msi_addr;
	__u32 msi_data;
	__u32 pad;
	__u64 reserved[4];
};

/**
 * DOC: calls on /dev/kvmft
 *
 * KVMFT_GET_API_VERSION
 *	Returns KVMFT_API_VERSION; takes no argument (EINVAL unless it is zero).
 *
 * KVMFT_GET_INFO
 *	Fills &struct kvmft_info.
 *	EFAULT, EINVAL, E2BIG: see the top of this file.
 *
 * KVMFT_SELF_TEST
 *	Runs the counter's self-test again, in a guest of its own; takes no
 *	argument.  Returns 0 when the verdict is KVMFT_VERDICT_EXACT.
 *	EBUSY: a session exists.  EOPNOTSUPP: the verdict is KVMFT_VERDICT_REFUSED.
 *	EINTR: a signal came.
 *
 * KVMFT_CREATE_SESSION
 *	Returns the descriptor of a new session, from &struct kvmft_create_session.
 *	EFAULT, EINVAL, E2BIG: see the top of this file.
 *	EBADF: @vm_fd is not open.  EINVAL: @vm_fd is not a VM.
 *	EBUSY: the VM has a session already, or is being destroyed.
 *	EOPNOTSUPP: the VM does not have exactly one vCPU, or the counter's verdict
 *	is not KVMFT_VERDICT_EXACT, or a KVM function can not be hooked on this
 *	kernel; the kernel log says which.
 *	ENOEXEC: KVM's modules are not those that kvmft was built for: rebuild it.
 *	EMFILE, ENFILE, ENOMEM: as for open().
 *
 * DOC: calls on a session
 *
 * KVMFT_SESSION_STATUS
 *	Fills &struct kvmft_session_status.
 *	EFAULT, EINVAL, E2BIG: see the top of this file.
 *
 * KVMFT_SESSION_STOP
 *	Takes &struct kvmft_session_stop.
 *	EFAULT, EINVAL, E2BIG: see the top of this file.
 *	ERANGE: @cond is neither 0 nor from KVMFT_STOP_MIN to KVMFT_STOP_MAX.
 *	EBUSY: the vCPU is inside KVM_RUN.  ESTALE: the session has ended.
 *
 * KVMFT_SESSION_RECORD
 *	Makes it a session that records, from &struct kvmft_session_record.  The log begins with
 *	the next KVM_RUN, which has to be the vCPU's first.
 *	EFAULT, EINVAL, E2BIG: see the top of this file.
 *	EBADF: @log_fd is not open, or not for writing.  EINVAL: not a regular file, or not
 *	empty.  ERANGE: @align_us.
 *	EBUSY: the session records or replays already, or the vCPU has run.  EOPNOTSUPP: the VM
 *	has what can not be replayed; the kernel log says what.  ESTALE: the session has ended.
 *
 * KVMFT_SESSION_REPLAY
 *	Makes it a session that replays, from &struct kvmft_session_replay.  The VM has to be as
 *	that of the log was at its start: it is compared at the next KVM_RUN.
 *	Errors as above; EPROTO: a log of another version.  EBADMSG: not a log.
 *
 * KVMFT_SESSION_PAIR
 *	Makes it one side of a pair, from &struct kvmft_session_pair: a primary is recorded, and
 *	its backup replays the log, which does not go to a file but to the peer.  Waits until both
 *	sides have greeted each other.
 *	Without an arbiter, when a side is lost the other's session ends (KVMFT_END_LOG_ERROR): the
 *	primary's guest runs on without protection, a backup that has replayed all it has got is
 *	held.
 *	With an arbiter a side that has lost the other, a backup when it has replayed all it has
 *	got, stands still (KVMFT_STATE_CLAIMING) until the arbiter says who has won.  The guest of
 *	the winner runs on (KVMFT_STATE_LIVE), that of the other never does (KVMFT_STATE_STOPPED):
 *	it is held in KVM_RUN (signals interrupt it, as ever), and once its session is closed its VM
 *	is dead: every call for it returns EIO.  As long as the arbiter can not be reached both
 *	stand still.  A primary's session that is closed stops its guest at once; a guest that has
 *	switched its machine off (KVMFT_END_FINISHED) is held like one that is stopped.  KVM_RUN of
 *	a primary returns a write that leaves the host only when the backup has acknowledged the log
 *	up to it, or when this side is live; EINTR meanwhile means that it comes with the next
 *	KVM_RUN.
 *	EFAULT, EINVAL, E2BIG: see the top of this file.
 *	EBADF, ENOTSOCK: @socket_fd.  EINVAL: not TCP, or not connected; @role.  ERANGE: a time.
 *	Of the arbiter, all told in the kernel log: EBADF: @arbiter_fd is not open, or not for
 *	both; ENOTBLK: not a block device; EOPNOTSUPP: not a SCSI disk, or without COMPARE AND
 *	WRITE; ERANGE: @arbiter_block; EEXIST: the block has other contents; EBUSY: another host is
 *	writing it; EIO, ENODEV: the disk does not answer.
 *	EPROTO: the peer does not match, or refuses, as a backup does that has another block; the
 *	kernel log says why.  ETIMEDOUT, ECONNRESET, EPIPE: it does not answer.  EINTR: a signal
 *	came meanwhile.
 *	EBUSY, EOPNOTSUPP, ESTALE: as for KVMFT_SESSION_RECORD.
 *
 * KVMFT_SESSION_FINISH
 *	Takes no argument (EINVAL unless it is zero).  Ends the log of a session that records,
 *	with a digest of registers and memory, at the next place where replay can stop, for which
 *	the vCPU has to be inside KVM_RUN; waits until the log is in its file.  The guest runs on
 *	unprotected.
 *	EINTR: a signal came; it may end later.  EOPNOTSUPP: the session does not record, or its
 *	pair has an arbiter.
 *	ESTALE: it has ended.  EIO: it ended for another reason.  An error of writing the log, such
 *	as ENOSPC.
 *
 * KVMFT_SESSION_INPUT
 *	Takes &struct kvmft_session_input, of a device of the VMM.  A session that records
 *	queues it behind all inputs that came before, lines and messages included; it is applied as
 *	a whole at a boundary of the vCPU.  kvmft_session_status.inputs tells how many were.  For a
 *	session that replays the call does nothing: the log has the input.
 *	EFAULT, EINVAL, E2BIG: see the top of this file; EFAULT: @data, too.
 *	EINVAL: neither bytes nor an interrupt, @irq, or @level.  ERANGE: @len; or there is no guest
 *	memory at @addr.
 *	EAGAIN: the queue is full: again, once the vCPU has run.  ENOMEM.
 *	EOPNOTSUPP: the session neither records nor replays: write to memory yourself.
 *	ESTALE: it has ended: the same.
 *
 * Any other number is ENOTTY.  poll() on a session reports EPOLLHUP once it has
 * ended.
 */
#define KVMFT_GET_API_VERSION	_IO(KVMFT_IOCTL_TYPE, 0x00)
#define KVMFT_GET_INFO		_IOWR(KVMFT_IOCTL_TYPE, 0x01, struct kvmft_info)
#define KVMFT_SELF_TEST		_IO(KVMFT_IOCTL_TYPE, 0x02)
#define KVMFT_CREATE_SESSION	_IOW(KVMFT_IOCTL_TYPE, 0x03, struct kvmft_create_session)

#define KVMFT_SESSION_STATUS	_IOWR(KVMFT_IOCTL_TYPE, 0x10, struct kvmft_session_status)
#define KVMFT_SESSION_STOP	_IOW(KVMFT_IOCTL_TYPE, 0x11, struct kvmft_session_stop)
#define KVMFT_SESSION_RECORD	_IOW(KVMFT_IOCTL_TYPE, 0x12, struct kvmft_session_record)
#define KVMFT_SESSION_REPLAY	_IOW(KVMFT_IOCTL_TYPE, 0x13, struct kvmft_session_replay)
#define KVMFT_SESSION_FINISH	_IO(KVMFT_IOCTL_TYPE, 0x14)
#define KVMFT_SESSION_INPUT	_IOW(KVMFT_IOCTL_TYPE, 0x15, struct kvmft_session_input)
#define KVMFT_SESSION_PAIR	_IOW(KVMFT_IOCTL_TYPE, 0x16, struct kvmft_session_pair)

/*
 * Range of kvmft_session_stop.cond.  Perf can not make a counter overflow after a single
 * event (x86_perf_event_set_period() in arch/x86/events/core.c); AMD's counters have 48
 * bits, of which perf uses 47 (APM volume 2, 13.2.1, and amd_core_pmu_init()).
 */
#define KVMFT_STOP_MIN		2
#define KVMFT_STOP_MAX		(1ULL << 46)

/* Range of kvmft_session_record.align_us. */
#define KVMFT_ALIGN_MAX		1000000

/* Of kvmft_session_pair.flags. */
#define KVMFT_PAIR_ARBITER	1
#define KVMFT_PAIR_HOLD_ALL	2

/* Limits of kvmft_session_pair.heartbeat_ms and timeout_ms. */
#define KVMFT_HEARTBEAT_MAX	10000
#define KVMFT_TIMEOUT_MAX	600000

/* Limit of kvmft_session_input.len. */
#define KVMFT_INPUT_MAX		65536

#endif /* _UAPI_LINUX_KVMFT_H */
