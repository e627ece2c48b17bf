/* SPDX-License-Identifier: GPL-2.0 */
/* A raw guest, perf counters of it, and TAP, for the tests of the emulated PMU */
#ifndef PMU_VM_H
#define PMU_VM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <linux/kvm.h>

#define BIT(n)	(1ull << (n))

typedef uint64_t u64;

struct guest {
	const char *name;
	char *entry;
	u64 insns, branches, taken, cond;	/* a round */
	u64 plus_insns, plus_taken;		/* once */
};

/* guest.S */
extern const struct guest guests[], guests_end[];
extern char guest_start[], guest_end[], g_exits[], g_loop[];
extern char h_iret[], h_skip_ud2[], h_mend_rsp[], h_syscall[];

#define GUEST_TEXT	0x100000ul
#define GUEST_ADDR(sym)	(GUEST_TEXT + (u64)((char *)(sym) - guest_start))

#define PORT_EXIT	0x10
#define PORT_INJECT	0x11
#define PORT_END	0xf4

enum { EV_CYCLES = 0x76, EV_INSNS = 0xc0, EV_BRANCHES = 0xc2, EV_TAKEN = 0xc4, EV_COND = 0xd1 };

extern int vcpu_fd;
extern struct kvm_run *vcpu_run;

void vm_create(void);
void vm_destroy(void);
/* Set the registers for a run of the program @entry, @rounds rounds, R14 = @arg */
void vm_start(const char *entry, u64 rounds, u64 arg);
struct kvm_regs vm_regs(void);
/* Run to the program's end: true, or until a signal: false */
bool vm_run(void);
/* The same, whatever signals come */
void vm_run_to_end(void);

/* A pinned counter of this thread.  @period of 0 only counts */
int perf_open(u64 event, u64 period, bool guest);
int perf_open_modes(u64 event, bool guest, bool user, bool kernel);
u64 perf_read(int fd);
/* Counts the VMRUNs of this thread: KVM's tracepoint at each */
int perf_open_entries(void);
/* SIGIO to this thread at each overflow; overflows is their number */
void perf_signal(int fd);
extern volatile int overflows;

/* The number in the row @name of /proc/interrupts, all CPUs */
u64 interrupts(const char *name);
void write_file(const char *path, const char *text);
void pin_to_cpu(int cpu);
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

void tap_result(bool ok, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Print the plan; the exit status */
int tap_end(void);

#endif
