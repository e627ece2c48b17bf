// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "modes.h"
#include "vm.h"

#define MEMORY		(64ul << 20)
#define PML4		0x1000
#define PDPT		0x2000
#define PD		0x3000
#define GDT		0x6000
#define IDT		0x7000
#define TSS		0x8000
#define IDT32		0x9000
#define MODES_IDT16	0		/* where a real processor starts with it */
#define IST1		0xa0000
#define STACK		0x90000

#define KERNEL_CS	0x08
#define KERNEL_DS	0x10
#define SYSRET_BASE	0x18	/* +8 is user data, +16 user code */
#define TSS_SELECTOR	0x30

#define MSR_STAR	0xc0000081
#define MSR_LSTAR	0xc0000082
#define MSR_SFMASK	0xc0000084

int vcpu_fd;
struct kvm_run *vcpu_run;
volatile int overflows;

static int kvm_fd = -1, vm_fd, run_size;
static char *memory;
static int tests, failures;
static unsigned int mode;

void die(const char *format, ...)
{
	int error = errno;
	va_list args;

	va_start(args, format);
	printf("Bail out! ");
	vprintf(format, args);
	printf(" (errno %d: %s)\n", error, strerror(error));
	va_end(args);
	exit(1);
}

void tap_result(bool ok, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("%sok %d - ", ok ? "" : "not ", ++tests);
	vprintf(format, args);
	printf("\n");
	fflush(stdout);
	va_end(args);
	failures += !ok;
}

int tap_end(void)
{
	printf("1..%d\n", tests);
	return !tests || failures;
}

static u64 *at(u64 address)
{
	return (u64 *)(memory + address);
}

static void set_gate(int vector, u64 handler, int ist)
{
	u64 *gate = at(IDT + 16 * vector);

	gate[0] = (handler & 0xffff) | (u64)KERNEL_CS << 16 | (u64)ist << 32 |
		  0x8e00ull << 32 | (handler >> 16 & 0xffff) << 48;
	gate[1] = handler >> 32;
}

/* The interrupt tables of the other modes; handlers lie in the modes' segment */
static void set_modes_gate(int vector, char *handler16, char *handler32)
{
	uint32_t *gate16 = (uint32_t *)(memory + MODES_IDT16 + 4 * vector);
	uint32_t *gate32 = (uint32_t *)(memory + IDT32 + 8 * vector);

	*gate16 = (handler16 - modes_start) | MODES_CS16 << 16;
	gate32[0] = (handler32 - modes_start) | MODES_CS32 << 16;
	gate32[1] = 0x8e00;
}

static void set_tables(void)
{
	static const int vectors[] = { 3, 4, 0x20, 0x80 };
	u64 *gdt = at(GDT);

	*at(PML4) = PDPT | 7;
	*at(PDPT) = PD | 7;
	for (int i = 0; i < 512; i++)
		at(PD)[i] = (u64)i << 21 | 0x87;
	gdt[1] = 0x00af9b000000ffff;
	gdt[2] = 0x00cf93000000ffff;
	gdt[4] = 0x00cff3000000ffff;
	gdt[5] = 0x00affb000000ffff;
	gdt[MODES_CS32 / 8] = 0x00cf9b000000ffff | (u64)MODES_TEXT << 16;
	memcpy(memory + TSS + 0x24, &(u64){ IST1 }, 8);
	set_gate(1, GUEST_ADDR(h_iret), 0);
	set_gate(3, GUEST_ADDR(h_iret), 0);
	set_gate(6, GUEST_ADDR(h_skip_ud2), 0);
	set_gate(14, GUEST_ADDR(h_mend_rsp), 1);
	set_gate(0x20, GUEST_ADDR(h_iret), 0);
	set_gate(0x80, GUEST_ADDR(h_iret), 0);
	for (int i = 0; i < 4; i++)
		set_modes_gate(vectors[i], h16_iret, h32_iret);
	set_modes_gate(6, h16_skip_ud2, h32_skip_ud2);
}

static void set_cpuid(void)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[100];
	} cpuid;

	cpuid.head.nent = 100;
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, &cpuid) ||
	    ioctl(vcpu_fd, KVM_SET_CPUID2, &cpuid))
		die("CPUID of the guest");
}

/* 64-bit mode with flat segments */
static void set_long_mode(struct kvm_sregs *s, struct kvm_segment *data)
{
	s->cr3 = PML4;
	s->cr4 = 0x620;
	s->cr0 = 0x80050033;
	s->efer = 0x501;
	s->cs = (struct kvm_segment){
		.limit = ~0u, .selector = KERNEL_CS, .type = 11, .present = 1, .s = 1, .l = 1,
		.g = 1,
	};
	*data = (struct kvm_segment){
		.limit = ~0u, .selector = KERNEL_DS, .type = 3, .present = 1, .s = 1, .db = 1,
		.g = 1,
	};
	s->idt.base = IDT;
	s->idt.limit = 0xfff;
}

/* Real mode or protected mode without paging; one segment holds everything */
static void set_other_mode(struct kvm_sregs *s, struct kvm_segment *data, bool real)
{
	s->cr4 = 0x600;
	s->cr0 = real ? 0x30 : 0x31;
	s->efer = 0;
	*data = (struct kvm_segment){
		.base = MODES_TEXT, .limit = real ? 0xffff : ~0u,
		.selector = real ? MODES_CS16 : KERNEL_DS, .type = 3, .present = 1, .s = 1,
		.db = !real, .g = !real,
	};
	s->cs = *data;
	s->cs.selector = real ? MODES_CS16 : MODES_CS32;
	s->cs.type = 11;
	s->idt.base = real ? MODES_IDT16 : IDT32;
	s->idt.limit = real ? 0x3ff : 0x7ff;
}

void vm_mode(unsigned int bits)
{
	struct kvm_segment data;
	struct kvm_sregs s;

	mode = bits;
	if (ioctl(vcpu_fd, KVM_GET_SREGS, &s))
		die("KVM_GET_SREGS");
	if (bits == 64)
		set_long_mode(&s, &data);
	else
		set_other_mode(&s, &data, bits == 16);
	s.ds = data;
	s.es = data;
	s.ss = data;
	s.fs = data;
	s.gs = data;
	s.tr = (struct kvm_segment){
		.base = TSS, .limit = 0x67, .selector = TSS_SELECTOR, .type = 11, .present = 1,
	};
	s.gdt.base = GDT;
	s.gdt.limit = MODES_CS32 + 7;
	if (ioctl(vcpu_fd, KVM_SET_SREGS, &s))
		die("KVM_SET_SREGS");
}

static void set_msrs(void)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[3];
	} msrs = {
		.head.nmsrs = 3,
		.entries = {
			{
				.index = MSR_STAR,
				.data = (u64)SYSRET_BASE << 48 | (u64)KERNEL_CS << 32,
			},
			{ .index = MSR_LSTAR, .data = GUEST_ADDR(h_syscall) },
			{ .index = MSR_SFMASK, .data = 0 },
		},
	};

	if (ioctl(vcpu_fd, KVM_SET_MSRS, &msrs) != 3)
		die("KVM_SET_MSRS");
}

void vm_create(void)
{
	struct kvm_userspace_memory_region region = { .memory_size = MEMORY };

	if (kvm_fd < 0) {
		kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
		if (kvm_fd < 0)
			die("/dev/kvm (is kvm_amd loaded?)");
		run_size = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	}
	vm_fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
	if (vm_fd < 0)
		die("KVM_CREATE_VM");
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		die("guest memory");
	/* A huge page would hide the nested page faults of its small ones */
	if (madvise(memory, MEMORY, MADV_NOHUGEPAGE))
		die("MADV_NOHUGEPAGE");
	region.userspace_addr = (u64)memory;
	if (ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &region))
		die("KVM_SET_USER_MEMORY_REGION");
	vcpu_fd = ioctl(vm_fd, KVM_CREATE_VCPU, 0);
	if (vcpu_fd < 0)
		die("KVM_CREATE_VCPU");
	vcpu_run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd, 0);
	if (vcpu_run == MAP_FAILED)
		die("struct kvm_run");
	memcpy(memory + GUEST_TEXT, guest_start, guest_end - guest_start);
	memcpy(memory + MODES_TEXT, modes_start, modes_end - modes_start);
	set_tables();
	set_cpuid();
	vm_mode(64);
	set_msrs();
}

void vm_destroy(void)
{
	munmap(vcpu_run, run_size);
	close(vcpu_fd);
	close(vm_fd);
	munmap(memory, MEMORY);
}

void vm_start(const char *entry, u64 rounds, u64 arg)
{
	struct kvm_regs regs = {
		.rip = GUEST_ADDR(entry), .rsp = STACK, .rflags = 2, .r15 = rounds, .r14 = arg
	};

	if (mode != 64) {
		regs.rip = entry - modes_start;
		regs.rsp = MODES_STACK;
		regs.rbp = rounds;
	}
	if (ioctl(vcpu_fd, KVM_SET_REGS, &regs))
		die("KVM_SET_REGS");
}

struct kvm_regs vm_regs(void)
{
	struct kvm_regs regs;

	if (ioctl(vcpu_fd, KVM_GET_REGS, &regs))
		die("KVM_GET_REGS");
	return regs;
}

bool vm_run(void)
{
	struct kvm_interrupt interrupt = { .irq = 0x20 };

	for (;;) {
		if (ioctl(vcpu_fd, KVM_RUN, 0) < 0) {
			if (errno == EINTR)
				return false;
			die("KVM_RUN");
		}
		switch (vcpu_run->exit_reason) {
		case KVM_EXIT_IO:
			if (vcpu_run->io.port == PORT_END)
				return true;
			if (vcpu_run->io.port == PORT_INJECT &&
			    ioctl(vcpu_fd, KVM_INTERRUPT, &interrupt))
				die("KVM_INTERRUPT");
			break;
		case KVM_EXIT_HLT:
		case KVM_EXIT_MMIO:
			break;
		default:
			die("exit %d of the guest at RIP %llx", vcpu_run->exit_reason,
			    vm_regs().rip);
		}
	}
}

void vm_run_to_end(void)
{
	while (!vm_run())
		;
}

static int perf_event(struct perf_event_attr *attr, const char *what)
{
	int fd;

	attr->size = sizeof(*attr);
	fd = syscall(SYS_perf_event_open, attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		die("perf_event_open of %s", what);
	return fd;
}

int perf_open(u64 event, u64 period, bool guest)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_RAW, .config = event, .sample_period = period, .wakeup_events = 1,
		.exclude_host = guest, .exclude_guest = !guest, .pinned = 1,
	};

	return perf_event(&attr, "a raw event");
}

int perf_open_modes(u64 event, bool guest, bool user, bool kernel)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_RAW, .config = event, .exclude_host = guest,
		.exclude_guest = !guest, .exclude_user = !user, .exclude_kernel = !kernel,
		.pinned = 1,
	};

	return perf_event(&attr, "a raw event");
}

int perf_open_entries(void)
{
	const char *path = "/sys/kernel/tracing/events/kvm/kvm_entry/id";
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT };
	unsigned long id;
	FILE *file;

	file = fopen(path, "r");
	if (!file) {
		mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
		file = fopen(path, "r");
	}
	if (!file || fscanf(file, "%lu", &id) != 1)
		die("%s", path);
	fclose(file);
	attr.config = id;
	return perf_event(&attr, "kvm:kvm_entry");
}

u64 perf_read(int fd)
{
	u64 count;

	if (read(fd, &count, sizeof(count)) != sizeof(count))
		die("read of a counter: it was not scheduled");
	return count;
}

static void on_overflow(int signal)
{
	(void)signal;
	overflows++;
}

void perf_signal(int fd)
{
	struct sigaction action = { .sa_handler = on_overflow };
	struct f_owner_ex owner = { F_OWNER_TID, syscall(SYS_gettid) };

	if (sigaction(SIGIO, &action, NULL) || fcntl(fd, F_SETSIG, SIGIO) ||
	    fcntl(fd, F_SETOWN_EX, &owner) || fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK))
		die("signal of a counter");
}

u64 interrupts(const char *name)
{
	char line[1024], *end, *p;
	FILE *file = fopen("/proc/interrupts", "r");
	u64 sum = 0, one;
	bool found = false;

	if (!file)
		die("/proc/interrupts");
	while (fgets(line, sizeof(line), file)) {
		p = line + strspn(line, " ");
		if (strncmp(p, name, strlen(name)) || p[strlen(name)] != ':')
			continue;
		found = true;
		for (p += strlen(name) + 1; one = strtoull(p, &end, 10), end != p; p = end)
			sum += one;
	}
	fclose(file);
	if (!found)
		die("no row %s in /proc/interrupts", name);
	return sum;
}

void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		die("writing %s to %s", text, path);
	close(fd);
}

void pin_to_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("CPU %d", cpu);
}
