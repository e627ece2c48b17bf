/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Registers, set by the host:
 *	r15	iterations
 * Results go to rbx, and to memory from GUEST_HEAP on.
 */
#include "guest_macros.S"
#include "micro.h"

#define APIC_EOI	0xb0
#define APIC_LVTT	0x320
#define APIC_LVT0	0x350
#define APIC_TMICT	0x380
#define APIC_TMCCT	0x390
#define APIC_TDCR	0x3e0
#define MSR_TSC		0x10
#define IOAPIC_REDIRECTION(pin)	(0x10 + 2 * (pin))
#define IOAPIC_WINDOW	0x10
#define IOAPIC_LEVEL	(1 << 15)

	.section guest_text, "ax"

/* rbx = mix(rbx, rax) */
	.macro MIX
	rol $7, %rbx
	xor %rax, %rbx
	imul $0x01000193, %rbx, %rbx
	.endm

/* Where an interrupt came, with what in the registers; two words are on the stack since */
	.macro NOTE
	mov DATA(MICRO_HASH), %rdx
	imul $31, %rdx, %rdx
	add 16(%rsp), %rdx		/* RIP */
	imul $31, %rdx, %rdx
	add 32(%rsp), %rdx		/* RFLAGS */
	imul $31, %rdx, %rdx
	add %r15, %rdx
	imul $31, %rdx, %rdx
	add %rcx, %rdx
	imul $31, %rdx, %rdx
	add %rbx, %rdx
	mov %rdx, DATA(MICRO_HASH)
	incq DATA(MICRO_COUNT)
	.endm

/* The last one masks LINT0, from where others may come */
GUEST micro_nmi_irq
	push %rax
	push %rdx
	NOTE
	mov DATA(MICRO_LIMIT), %rax
	dec %rax			/* no limit: the largest number */
	cmp DATA(MICRO_COUNT), %rax
	jae 1f
	mov $GUEST_APIC, %eax
	movl $0x10400, APIC_LVT0(%rax)
1:	pop %rdx
	pop %rax
	iretq

GUEST micro_irq
	push %rax
	push %rdx
	NOTE
	mov DATA(MICRO_EXIT), %rax
	test %rax, %rax
	jz 1f
	mov DATA(MICRO_COUNT), %rdx
	cmp DATA(MICRO_LIMIT), %rdx
	jb 1f
	mov %rax, 16(%rsp)
	andl $~0x200, 32(%rsp)		/* IF: the next one may be there already */
1:	mov $GUEST_APIC, %eax
	movl $0, APIC_EOI(%rax)
	pop %rdx
	pop %rax
	iretq

/* The same, and start the LAPIC's timer again unless this is the last one */
GUEST micro_timer_irq
	push %rax
	mov DATA(MICRO_LIMIT), %rax
	dec %rax
	cmp DATA(MICRO_COUNT), %rax
	jbe 1f
	mov $GUEST_APIC, %eax
	movl $400000, APIC_TMICT(%rax)
1:	pop %rax
	jmp micro_irq

GUEST micro_tsc
1:	rdtsc
	shl $32, %rdx
	or %rdx, %rax
	MIX
	rdtscp
	MIX
	mov %rcx, %rax
	MIX
	mov $MSR_TSC, %ecx
	rdmsr
	MIX
	mov $MICRO_MSR_ASKED, %ecx
	rdmsr
	MIX
	dec %r15
	jnz 1b
	DONE

GUEST micro_pio
1:	in $MICRO_PORT_VALUE, %al
	MIX
	in $MICRO_PORT_VALUE, %ax
	MIX
	in $MICRO_PORT_VALUE, %eax
	MIX
	out %al, $PORT_NOP
	dec %r15
	jnz 1b
	DONE

/* One write to the register that puts a PC to sleep */
GUEST micro_sleep
	mov %r15d, %eax
	mov $MICRO_PORT_SLEEP, %edx
	out %ax, %dx
	DONE

/*
 * The LAPIC's timer expires, which waits for an exit that always comes; before that it is set anew,
 * and has to run.  Nobody takes the interrupt.
 */
GUEST micro_rearm
	cli
	mov $GUEST_APIC, %edi
	movl $0x0b, APIC_TDCR(%rdi)
	movl $MICRO_TIMER_VECTOR, APIC_LVTT(%rdi)
1:	movl $1000, APIC_TMICT(%rdi)
	mov $300000, %ecx
2:	dec %ecx
	jnz 2b
	movl $4000000000, APIC_TMICT(%rdi)
	rdtsc
	MIX
	mov APIC_TMCCT(%rdi), %eax
	test %eax, %eax
	jz 3f
	MIX
	dec %r15
	jnz 1b
	DONE
3:	out %al, $MICRO_PORT_WRONG

/* Writes there that QEMU does not act on; then one that switches it off, and on if that can be */
GUEST micro_off
	mov $MICRO_PORT_SLEEP, %edx
1:	mov $0x3c00, %eax		/* SLP_EN, SLP_TYP 7 */
	out %ax, %dx
	mov $1000, %ecx
2:	dec %ecx
	jnz 2b
	incq DATA(MICRO_COUNT)
	dec %r15
	jnz 1b
	mov $0x2000, %eax		/* SLP_EN, SLP_TYP 0 */
	out %ax, %dx
	DONE

/* Many accesses to a device in the kernel, by one instruction */
GUEST micro_pit
1:	mov $GUEST_HEAP, %edi
	mov $MICRO_PIT_READS, %ecx
	mov $0x40, %edx
	rep insb
	mov -8(%rdi), %rax
	MIX
	dec %r15
	jnz 1b
	DONE

GUEST micro_string
1:	mov $GUEST_HEAP, %edi
	mov $100, %ecx
	mov $MICRO_PORT_STRING, %edx
	rep insl
	mov %rdi, %rax
	MIX
	mov $GUEST_HEAP, %esi
	mov $10, %ecx
	mov $PORT_NOP, %edx
	rep outsb
	dec %r15
	jnz 1b
	DONE

GUEST micro_mmio
1:	mov $MICRO_MMIO, %edi
	mov (%rdi), %rax
	MIX
	mov 4(%rdi), %eax
	MIX
	movzbl 3(%rdi), %eax
	MIX
	mov %rbx, 8(%rdi)
	mov 0xffd(%rdi), %rax		/* two pages */
	MIX
	/* the timer's current count, and a register of the LAPIC that stands still */
	mov $GUEST_APIC, %edi
	movl $0x0b, APIC_TDCR(%rdi)
	movl $0x10041, APIC_LVTT(%rdi)	/* masked */
	movl $100000000, APIC_TMICT(%rdi)
	mov APIC_TMCCT(%rdi), %eax
	MIX
	mov APIC_LVTT(%rdi), %eax
	MIX
	dec %r15
	jnz 1b
	DONE

/* In the kernel: PIT, PIC, IOAPIC */
GUEST micro_chips
	mov $0x34, %al
	out %al, $0x43
	mov $0xff, %al
	out %al, $0x40
	out %al, $0x40
1:	xor %eax, %eax
	out %al, $0x43			/* latch */
	in $0x40, %al
	MIX
	in $0x40, %al
	MIX
	in $0x61, %al
	MIX
	in $0x21, %al
	MIX
	mov $GUEST_IOAPIC, %edi
	movl $1, (%rdi)
	mov 0x10(%rdi), %eax
	MIX
	dec %r15
	jnz 1b
	DONE

/* Conditional branches, everywhere */
GUEST micro_branches
	sti
1:	mov %r15, %rax
	MIX
	test $1, %bl
	jz 2f
	inc %rbx
2:	test $6, %bl
	jnz 3f
	add %r15, %rbx
3:	dec %r15
	jnz 1b
	DONE

/* One RIP several times at one count of conditional branches */
GUEST micro_calls
	sti
1:	call 2f
	call 2f
	call 2f
	dec %r15
	jnz 1b
	DONE
2:	mov %r15, %rax
	MIX
	ret

/* An interpreter: one indirect jump, many times, with no conditional branch between */
GUEST micro_indirect
	sti
1:	xor %ecx, %ecx
2:	lea 3f(%rip), %rax
	mov %rcx, %rdx
	shr $4, %rdx			/* 0 for 16 rounds, then 1 */
	shl $6, %rdx
	add %rdx, %rax
	inc %rcx
	jmp *%rax
	.balign 64
3:	inc %rbx
	jmp 2b
	.balign 64
4:	mov %rbx, %rax
	MIX
	dec %r15
	jnz 1b
	DONE

/* No conditional branch at all: only an interrupt ends it */
GUEST micro_endless
	sti
1:	inc %rbx
	jmp 1b
	.globl micro_endless_out
micro_endless_out:
	DONE

/* Repeated string instructions, short and long */
GUEST micro_rep
	sti
	cld
1:	mov $GUEST_HEAP, %edi
	mov $5000, %ecx
	mov %r15, %rax
	rep stosb
	mov $GUEST_HEAP, %esi
	mov $GUEST_HEAP + 0x10000, %edi
	mov $3, %ecx
	rep movsq
	mov $GUEST_HEAP, %edi
	mov $5000, %ecx
	repe scasb
	mov %rcx, %rax
	MIX
	dec %r15
	jnz 1b
	DONE

/* Interrupts off most of the time, and shadows: STI, MOV SS */
GUEST micro_shadow
	mov %ss, %edx
1:	sti
	nop
	cli
	mov %r15, %rax
	MIX
	mov %edx, %ss
	inc %rbx
	sti
	mov %edx, %ss
	inc %rbx
	cli
	pushf
	pop %rax
	MIX
	dec %r15
	jnz 1b
	DONE

/*
 * Flags as the guest sees them: no trap flag, ever, and those that a bit test leaves
 * undefined are not changed by an exit between the shift and it.
 */
GUEST micro_flags
	sti
1:	pushf
	pop %rax
	MIX
	mov %rbx, %rax
	shl $9, %rax
	.rept 8
	mov %rax, %rcx
	.endr
	btr $58, %rax
	pushf
	pop %rax
	MIX
	pushf
	popf
	cmp %rax, %rbx
	pushf
	pop %rax
	MIX
	dec %r15
	jnz 1b
	DONE

/* Debug registers of the guest's own: breakpoints that never hit, and reads of them */
GUEST micro_debug
	lea 2f(%rip), %rax
	mov %rax, %db0
	mov %rax, %db1
	mov $0x402, %eax		/* DR0 enabled */
	mov %rax, %db7
	sti
1:	mov %db0, %rax
	MIX
	mov %db6, %rax
	MIX
	mov %db7, %rax
	MIX
	mov %rbx, %db3
	mov %db3, %rax
	MIX
	.rept 20
	inc %rbx
	.endr
	dec %r15
	jnz 1b
	xor %eax, %eax
	mov %rax, %db7
	DONE
2:	ud2

GUEST micro_halt
1:	sti
	hlt
	cli
	mov %r15, %rax
	MIX
	dec %r15
	jnz 1b
	DONE

/* It sleeps until the LAPIC's timer wakes it; rbx counts how often the TSC steps back meanwhile */
GUEST micro_alarm
	xor %ebx, %ebx
	mov $GUEST_APIC, %edi
	movl $0x0b, APIC_TDCR(%rdi)
	movl $MICRO_VECTOR, APIC_LVTT(%rdi)
1:	movl $1000000, APIC_TMICT(%rdi)
	sti
	hlt
	cli
	rdtsc
	shl $32, %rdx
	or %rdx, %rax
	cmp DATA(MICRO_CLOCK), %rax
	jae 2f
	inc %rbx
2:	mov %rax, DATA(MICRO_CLOCK)
	dec %r15
	jnz 1b
	DONE

/* What goes to a device, with some work before each; r8: the port */
GUEST micro_write
	mov $MICRO_PORT_WRITE, %r8d
	jmp 1f

/* The same, and it leaves the host */
GUEST micro_output
	mov $MICRO_PORT_OUTPUT, %r8d
1:	xor %ebx, %ebx
1:	mov $2000, %ecx
2:	dec %ecx
	jnz 2b
	inc %rbx
	mov %ebx, %eax
	mov %r8d, %edx
	out %al, %dx
	incq DATA(MICRO_COUNT)
	dec %r15
	jnz 1b
	DONE

/*
 * Packets by a network device: nic.h; each is made available, the device is told, and has to have
 * used it before the next
 */
GUEST micro_nic
	mov $1, %r8d
	xor %r9d, %r9d
	jmp 1f

/* The same, and it switches itself off in the end */
GUEST micro_nic_off
	mov $1, %r8d
	xor %r9d, %r9d
	mov $1, %r10d
	jmp 1f

/* The same as the first, and before each it reads a lot, which fills the log */
GUEST micro_nic_flood
	mov $1, %r8d
	mov $1000, %r9d
	jmp 1f

/* The same, without a look at what the device does */
GUEST micro_nic_blind
	xor %r8d, %r8d
	xor %r9d, %r9d
1:	xor %ebx, %ebx
1:	mov $2000, %ecx
2:	dec %ecx
	jnz 2b
	mov $GUEST_HEAP, %edi
	mov %r9d, %ecx
	mov $MICRO_PORT_STRING, %edx
	rep insl
	inc %ebx
	mov %bx, MICRO_NIC_INDEX
	mov $MICRO_PORT_KICK, %edx
	out %al, %dx
	test %r8d, %r8d
	jz 4f
3:	cmp %bx, MICRO_NIC_USED
	jne 3b
4:	incq DATA(MICRO_COUNT)
	dec %r15
	jnz 1b
	test %r10d, %r10d
	jz 5f
	mov $0x2000, %eax		/* SLP_EN, SLP_TYP 0 */
	mov $MICRO_PORT_SLEEP, %edx
	out %ax, %dx
5:	DONE

/* The LAPIC's timer, one shot after another, while it computes */
GUEST micro_timer
	mov $GUEST_APIC, %edi
	movl $0x0b, APIC_TDCR(%rdi)
	movl $MICRO_TIMER_VECTOR, APIC_LVTT(%rdi)
	movl $400000, APIC_TMICT(%rdi)
	jmp micro_branches

/* Page faults of the host between the guest's instructions */
GUEST micro_touch
	sti
	mov $GUEST_HEAP, %edi
1:	mov %rbx, (%rdi)
	mov 8(%rdi), %rax
	MIX
	add $1024, %rdi
	and $0x7fffff, %rdi
	or $GUEST_HEAP, %rdi
	dec %r15
	jnz 1b
	DONE

/* The PIT pulses LINT0, which is in NMI mode */
GUEST micro_lint0
	mov $GUEST_APIC, %edi
	movl $0x400, APIC_LVT0(%rdi)
	mov $0x34, %al
	out %al, $0x43
	mov $0xa9, %al			/* 1193: a millisecond */
	out %al, $0x40
	mov $0x04, %al
	out %al, $0x40
	jmp micro_branches

/* A line of the IOAPIC that is never lowered: each EOI brings the next interrupt */
GUEST micro_level
	mov $GUEST_IOAPIC, %edi
	movl $IOAPIC_REDIRECTION(MICRO_GSI), (%rdi)
	movl $MICRO_VECTOR | IOAPIC_LEVEL, IOAPIC_WINDOW(%rdi)
	sti
1:	inc %rbx
	jmp 1b
	.globl micro_level_out
micro_level_out:
	DONE

/* Memory that changes under its eyes */
GUEST micro_input
	sti
	mov $GUEST_HEAP, %edi
1:	mov (%rdi), %rax
	MIX
	mov 4088(%rdi), %rax
	MIX
	dec %r15
	jnz 1b
	DONE

/* The machine is reset by a device, then by a triple fault */
GUEST micro_reset
	incq DATA(MICRO_RUNS)
	sti
1:	mov %r15, %rax
	MIX
	dec %r15
	jnz 1b
	cli
	mov %rbx, %rax
	add %rax, DATA(MICRO_HASH)
	mov DATA(MICRO_RUNS), %rax
	cmp $1, %rax
	jne 2f
	out %al, $MICRO_PORT_RESET
	ud2
2:	cmp $2, %rax
	jne 3f
	lidt DATA(MICRO_NO_IDT)
	ud2
3:	DONE

	.section .note.GNU-stack, "", @progbits
