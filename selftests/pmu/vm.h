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
	u64 bits;				/* 64, or 32 or 16 without paging */
	const char *name;
	char *entry;
	u64 insns, branches, taken, cond;	/* a round */
	u64 plus_insns, plus_taken;		/* once */
};

/* The table of all programs; the linker finds its section's ends */
extern const struct guest __start_guests[], __stop_guests[];

/* guest.S */
extern char guest_start[], guest_end[], g_exits[], g_loop[], g_pause[], g_syscall[];
extern char h_iret[], h_skip_ud2[], h_mend_rsp[], h_syscall[];
/* modes.S */
extern char modes_start[], modes_end[];
extern char h16_iret[], h16_skip_ud2[], h32_iret[], h32_skip_ud2[];

#define GUEST_TEXT	0x100000ul
#define GUEST_ADDR(sym)	(GUEST_TEXT + (u64)((char *)(sym) - guest_start))

#define PORT_EXIT	0x10
#define PORT_INJECT	0x11
#define PORT_END	0xf4

enum { EV_CYCLES = 0x76, EV_INSNS = 0xc0, EV_BRANCHES = 0xc2, EV_TAKEN = 0xc4, EV_COND = 0xd1 };

extern int vcpu_fd;
extern struct kvm_run *vcpu_run;

/* A machine in 64-bit mode */
void vm_create(void);
void vm_destroy(void);
/* Change the mode: 16, 32 or 64 bits */
void vm_mode(unsigned int bits);
/* Set the registers for @rounds rounds of the program @entry, R14 = @arg in 64-bit mode */
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
