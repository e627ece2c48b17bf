/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Guests that look at their own state: what they come to is the same wherever interrupts hit.
 * r15 has the number of iterations.  rbx gets a hash of all that is seen, and transparent.h says
 * where more of it is.
 */
#include "guest_macros.S"
#include "micro.h"
#include "transparent.h"

/* Behind what transparent.h has at GUEST_DATA */
#define TSS		(GUEST_DATA + 0x800)
#define GDT		(GUEST_DATA + 0x900)
#define GDTR		(GUEST_DATA + 0x980)
#define USER_DS		0x1b
#define USER_CS		0x23
#define TSS_SELECTOR	0x28
#define KERNEL_STACK	(GUEST_DATA + 0x10000)

#define INT_VECTOR	0x50	/* a vector for INT */
#define APIC_EOI	0xb0
#define MSR_TSC		0x10
#define MSR_EFER	0xc0000080
#define MSR_STAR	0xc0000081
#define MSR_LSTAR	0xc0000082
#define MSR_SFMASK	0xc0000084

#define FLAG_TF		0x100
#define FLAG_IF		0x200
#define FLAG_DF		0x400
#define FLAG_RF		0x10000
#define PREFIX_REP	0xf3
#define FLAGS_ARITH	0x8d5	/* OF SF ZF AF PF CF */
#define BIT_TF		8
#define BIT_RF		16

/* DR0, DR2: execution; DR1: write of 8 bytes; DR3: access to 4 bytes */
#define DR7_THREE	0xf0900415
#define DR7_ALL		0xf0900455
#define DR6_CLEAR	0xffff0ff0
#define DR6_EXECUTION	0x5

	.section guest_text, "ax"

/* \hash = mix(\hash, rax); the arithmetic flags are a function of it */
	.macro MIX_INTO hash
	rol $7, \hash
	xor %rax, \hash
	imul $0x01000193, \hash, \hash
	add $1, \hash
	.endm

	.macro MIX
	MIX_INTO %rbx
	.endm

/* The same in memory, by way of rdx */
	.macro MIX_DATA hash
	mov DATA(\hash), %rdx
	MIX_INTO %rdx
	mov %rdx, DATA(\hash)
	.endm

/* Interrupt or exception \vector goes to \handler */
	.macro GATE vector, handler
	lea \handler(%rip), %rax
	mov $(GUEST_IDT + 16 * \vector), %edi
	mov %ax, (%rdi)
	movw $GUEST_CS, 2(%rdi)
	movw $0x8e00, 4(%rdi)
	shr $16, %rax
	mov %eax, 6(%rdi)
	movl $0, 8(%rdi)
	.endm

/* Conditional branches: a landing is the shorter the more there are of them */
	.macro BRANCHES nr
	.rept \nr
	jp 9f
9:
	.endr
	.endm

/* Interrupts may come, and find those of \ignore in RFLAGS */
	.macro BEGIN ignore=0
	movq $\ignore, DATA(IGNORE)
	movq $1, DATA(RUNS)
	.endm

/* A long time where no recording can stop, and then the next place where it can */
	.macro UNSTABLE
	mov $GUEST_HEAP, %edi
	mov $2000, %ecx
	rep stosb
	.endm

	.macro IRQ_BEGIN
	push %rax
	push %rdx
	incq DATA(INTERRUPTS)
	.endm

	.macro IRQ_END
	mov $GUEST_APIC, %eax
	movl $0, APIC_EOI(%rax)
	pop %rdx
	pop %rax
	iretq
	.endm

/* In the frame below rax and rdx */
#define IRQ_RIP		16
#define IRQ_CS		24
#define IRQ_FLAGS	32

/*
 * Every interrupt: the flags in its frame are what the program can have made of them, no more.
 * RF is there behind the handler of an execution breakpoint, and may be within a repeated string
 * instruction; elsewhere it is wrong.
 */
transparent_irq:
	IRQ_BEGIN
	mov IRQ_CS(%rsp), %eax
	and $3, %eax
	jz 1f
	incq DATA(RING_3)
	jmp 2f
1:	incq DATA(RING_0)
2:	mov IRQ_FLAGS(%rsp), %rdx
	and $~FLAGS_ARITH, %rdx
	mov IRQ_RIP(%rsp), %rax
	btr $BIT_RF, %rdx
	jc 3f
	cmp DATA(RESUMED), %rax
	jne 4f
	jmp 7f
3:	cmp DATA(RESUMED), %rax
	je 4f
	cmpb $PREFIX_REP, (%rax)
	jne 7f
4:	cmp DATA(STEP_BEGIN), %rax
	jb 6f
	cmp DATA(EITHER_END), %rax
	jae 6f
	btr $BIT_TF, %rdx
	jc 6f
	cmp DATA(STEP_END), %rax
	jb 7f
6:	mov DATA(IGNORE), %rax
	not %rax
	and %rax, %rdx
	cmp $(FLAG_IF | 2), %rdx
	je 8f
7:	incq DATA(BAD)
	mov IRQ_RIP(%rsp), %rax
	mov %rax, DATA(BAD_RIP)
	mov IRQ_FLAGS(%rsp), %rax
	mov %rax, DATA(BAD_FLAGS)
8:	IRQ_END

/* In the frame below rax */
#define EXC_RIP		8
#define EXC_FLAGS	24

/*
 * \good: TF and RF as they have to be in the frame; \skip: behind the instruction.  RF is
 * taken away, so that no interrupt finds it.
 */
	.macro EXCEPTION name, good, skip
\name:
	push %rax
	mov EXC_RIP(%rsp), %rax
	MIX
	mov EXC_FLAGS(%rsp), %rax
	MIX
	and $(FLAG_TF | FLAG_RF), %eax
	cmp $\good, %eax
	je 1f
	incq DATA(WRONG)
	mov EXC_FLAGS(%rsp), %rax
	mov %rax, DATA(WRONG_FLAGS)
1:	incq DATA(EXCEPTIONS)
	addq $\skip, EXC_RIP(%rsp)
	btrq $BIT_RF, EXC_FLAGS(%rsp)
	pop %rax
	iretq
	.endm

	EXCEPTION trap_handler, 0, 0
	EXCEPTION fault_handler, FLAG_RF, 2

/* PUSHF, and frames of exceptions of each kind: inside the guest, and by KVM */
GUEST transparent_flags
	GATE MICRO_VECTOR, transparent_irq
	GATE 0, fault_handler
	GATE 3, trap_handler
	GATE 6, fault_handler
	GATE INT_VECTOR, trap_handler
	BEGIN
	sti
1:	mov %r15, %rax
	MIX
	pushf
	pop %rax
	MIX
	BRANCHES 8
	pushf
	popf
	int3
	BRANCHES 8
	int $INT_VECTOR
	test $63, %r15d
	jnz 2f
	ud2
	xor %ecx, %ecx
	div %ecx			/* of two bytes, as UD2 */
2:	dec %r15
	jnz 1b
	DONE

	.macro SET_MSR msr, low, high
	mov $\msr, %ecx
	mov $\low, %eax
	mov $\high, %edx
	wrmsr
	.endm

	.macro SET_GDT offset, value
	movabs $\value, %rax
	mov %rax, GDT + \offset
	.endm

/* Ring 3 and SYSCALL: both see each other's flags and addresses */
GUEST transparent_syscall
	GATE MICRO_VECTOR, transparent_irq
	/* the first 2 MiB are the user's, too */
	orl $4, GUEST_PML4
	orl $4, GUEST_PDPT
	orl $4, GUEST_PD
	mov %cr3, %rax
	mov %rax, %cr3
	SET_GDT 0x08, 0x00af9b000000ffff
	SET_GDT 0x10, 0x00cf93000000ffff
	SET_GDT 0x18, 0x00cff3000000ffff
	SET_GDT 0x20, 0x00affb000000ffff
	SET_GDT 0x28, (0x0000890000000067 | TSS << 16)
	movw $0x37, GDTR
	movq $GDT, GDTR + 2
	lgdt GDTR
	movq $KERNEL_STACK, TSS + 4
	mov $TSS_SELECTOR, %eax
	ltr %ax
	SET_MSR MSR_EFER, 0x501, 0
	SET_MSR MSR_STAR, 0, (0x10 << 16 | GUEST_CS)
	SET_MSR MSR_SFMASK, 0x47701, 0
	lea system_call(%rip), %rax
	mov %rax, %rdx
	shr $32, %rdx
	mov $MSR_LSTAR, %ecx
	wrmsr
	xor %edi, %edi
	mov %rsp, %rdx
	push $USER_DS
	push %rdx
	push $(FLAG_IF | 2)
	push $USER_CS
	BEGIN FLAG_DF
	lea user_program(%rip), %rax
	push %rax
	iretq

user_program:
1:	mov %r15, %rax
	MIX
	BRANCHES 8
	std
	syscall
	cld
	mov %rcx, %rax
	MIX
	mov %r11, %rax
	MIX
	pushf
	pop %rax
	MIX
	cmp %r15, %rbx
	syscall
	mov %r11, %rax
	MIX
	BRANCHES 8
	dec %r15
	jnz 1b
	inc %edi
	syscall

system_call:
	mov %rsp, DATA(USER_RSP)
	mov $KERNEL_STACK, %esp
	push %rcx
	push %r11
	pushf
	pop %rax
	MIX
	mov %rcx, %rax
	MIX
	sti
	mov %r11, %rax
	MIX
	BRANCHES 4
	pushf
	pop %rax
	MIX
	test %edi, %edi
	jnz 1f
	cli
	pop %r11
	pop %rcx
	mov DATA(USER_RSP), %rsp
	sysretq
1:	DONE

/* In the frame below rax, rdx, rcx and rdi */
#define DEBUG_RIP	32
#define DEBUG_FLAGS	48

/* \execution: DR6 bits of breakpoints that need RF to get over */
	.macro DEBUG_HANDLER name, execution, slow=0
\name:
	push %rax
	push %rdx
	push %rcx
	push %rdi
	mov %db7, %rax
	MIX_DATA HASH_DR7
	mov %db6, %rax
	MIX_DATA HASH_DR6
	test $\execution, %al
	jz 1f
	btsq $BIT_RF, DEBUG_FLAGS(%rsp)
	mov DEBUG_RIP(%rsp), %rax
	mov %rax, DATA(RESUMED)
1:	test $1, %r15b			/* else its bits stay */
	jz 2f
	mov $DR6_CLEAR, %eax
	mov %rax, %db6
2:	mov DEBUG_RIP(%rsp), %rax
	MIX_DATA HASH_RIP
	mov DEBUG_FLAGS(%rsp), %rax
	MIX_DATA HASH_FLAGS
	incq DATA(EXCEPTIONS)
	.if \slow
	UNSTABLE
	.endif
	pop %rdi
	pop %rcx
	pop %rdx
	pop %rax
	jmp 9f				/* with IRETQ, two branches */
9:	iretq
	.endm

	DEBUG_HANDLER debug_handler, DR6_EXECUTION
	DEBUG_HANDLER step_handler, 0
	DEBUG_HANDLER watch_handler, 0, 1

/* Breakpoints that hit, in three or four debug registers at a time */
GUEST transparent_debug
	GATE MICRO_VECTOR, transparent_irq
	GATE 1, debug_handler
	lea 2f(%rip), %rax
	mov %rax, %db0
	mov $DATA(WATCHED), %eax
	mov %rax, %db1
	lea 4f(%rip), %rax
	mov %rax, %db2
	mov $DATA(WATCHED_TOO), %eax
	mov %rax, %db3
	BEGIN
	sti
1:	mov $DR7_ALL, %eax
	mov $DR7_THREE, %ecx
	test $3, %r15b
	cmovnz %ecx, %eax
	mov %rax, %db7
	BRANCHES 8
	add %r15, %rbx
2:	add $3, %rbx			/* DR0 */
	movq $0, DATA(RESUMED)
	mov %rbx, DATA(WATCHED)		/* DR1 */
	inc %rbx
	call 3f
	mov DATA(WATCHED_TOO), %eax	/* DR3 */
	MIX
	call 3f
	mov %db3, %rax
	MIX
	mov %db6, %rax
	MIX
	mov %db7, %rax
	MIX
	BRANCHES 8
	dec %r15
	jnz 1b
	xor %eax, %eax
	mov %rax, %db7
	DONE
3:	mov %r15, %rax
4:	add %rax, %rbx			/* DR2 */
	movq $0, DATA(RESUMED)
	ret

/*
 * An execution breakpoint where recordings stop.  Replay needs one there, too, and the guest sees
 * its own each time.
 */
GUEST transparent_break
	GATE MICRO_VECTOR, transparent_irq
	GATE 1, debug_handler
	lea 2f(%rip), %rax
	mov %rax, %db0
	mov $0x401, %eax
	mov %rax, %db7
	BEGIN
	sti
1:	UNSTABLE
	add %r15, %rbx
	BRANCHES 2
2:	add $3, %rbx			/* DR0 */
	movq $0, DATA(RESUMED)
	dec %r15
	jnz 1b
	xor %eax, %eax
	mov %rax, %db7
	DONE

/*
 * A data breakpoint, and recordings that stop at the instruction behind the access, where the
 * handler of the exception returns to.
 */
GUEST transparent_watch
	GATE MICRO_VECTOR, transparent_irq
	GATE 1, watch_handler
	mov $DATA(WATCHED), %eax
	mov %rax, %db1
	mov $0x00900404, %eax
	mov %rax, %db7
	BEGIN
	sti
1:	add %r15, %rbx
	mov %rbx, DATA(WATCHED)		/* DR1 */
	inc %rbx
	dec %r15
	jnz 1b
	xor %eax, %eax
	mov %rax, %db7
	DONE

/* It steps through itself */
GUEST transparent_step
	GATE MICRO_VECTOR, transparent_irq
	GATE 1, step_handler
	lea 2f(%rip), %rax
	mov %rax, DATA(STEP_BEGIN)
	lea 3f(%rip), %rax
	mov %rax, DATA(STEP_END)
	lea 5f(%rip), %rax
	mov %rax, DATA(EITHER_END)
	mov %ss, %r14d
	BEGIN
	sti
1:	pushf
	orl $FLAG_TF, (%rsp)
	popf
2:	add %r15, %rbx
	call 4f
	pushf
	pop %rax
	MIX
	mov %r14d, %ss
	inc %rbx
	mov %r14d, %ss
	pushf
	pop %rax
	MIX
	mov $GUEST_HEAP, %esi
	mov $(GUEST_HEAP + 0x1000), %edi
	mov $5, %ecx
	rep movsb
	mov %db0, %rax
	BRANCHES 2
	cli
	sti
	inc %rbx
	pushf
	andl $~FLAG_TF, (%rsp)
	popf
3:	jmp 6f
4:	mov %r15, %rax			/* with TF, and without */
	MIX
	BRANCHES 2
	pushf
	pop %rax
	and $~FLAG_TF, %eax
	MIX
	ret
5:
6:	call 4b
	BRANCHES 8
	call 4b
	mov %db6, %rax
	MIX
	dec %r15
	jnz 1b
	DONE

/* rax is not before what is at \last */
	.macro NOT_BEFORE last
	cmp DATA(\last), %rax
	jae 8f
	incq DATA(BACK)
8:
	.endm

	.macro TSC
	shl $32, %rdx
	or %rdx, %rax
	.endm

transparent_tsc_irq:
	IRQ_BEGIN
	rdtsc
	TSC
	NOT_BEFORE LAST_MAIN
	NOT_BEFORE LAST_IRQ
	mov %rax, DATA(LAST_IRQ)
	push %rcx
	rdtscp
	TSC
	NOT_BEFORE LAST_IRQ
	mov $MSR_TSC, %ecx
	mov %rax, DATA(LAST_IRQ)
	rdmsr
	TSC
	NOT_BEFORE LAST_IRQ
	mov %rax, DATA(LAST_IRQ)
	pop %rcx
	IRQ_END

	.macro CHECK_TSC read
	mov DATA(LAST_IRQ), %r8		/* another may come before the comparison */
	mov %r8, DATA(LAST_SEEN)
	\read
	TSC
	NOT_BEFORE LAST_SEEN
	NOT_BEFORE LAST_MAIN
	mov %rax, DATA(LAST_MAIN)
	BRANCHES 4
	.endm

/* Each way to read the time-stamp counter, and in interrupts, too */
GUEST transparent_tsc
	GATE MICRO_VECTOR, transparent_tsc_irq
	BEGIN
	sti
1:	CHECK_TSC rdtsc
	CHECK_TSC rdtscp
	mov $MSR_TSC, %ecx
	CHECK_TSC rdmsr
	dec %r15
	jnz 1b
	DONE

/* For waits.c: a string of 1 KiB that the test gives, in one access, again and again */
GUEST waits_strings
1:	mov $GUEST_HEAP, %edi
	mov $256, %ecx
	mov $MICRO_PORT_STRING, %edx
	rep insl
	dec %r15
	jnz 1b
	DONE

/* An instruction with two accesses */
GUEST waits_split
	mov $(MICRO_MMIO + 0xffd), %edi
1:	mov (%rdi), %rax
	MIX
	dec %r15
	jnz 1b
	DONE

GUEST waits_halted
1:	sti
	hlt
	dec %r15
	jnz 1b
	DONE

	.section .note.GNU-stack, "", @progbits
