// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "programs.h"
#include "util.h"
#include "vmm.h"
#include "workload.h"

#define ROUNDS		40000	/* of a lap: half a millisecond */
#define VMM_SOCK	3

struct vmm_self {
	enum vmm_guest guest;
	u64 seed;
	int sock;
	struct vmm_shared *shared;
	struct vm vm;
	pthread_t vcpu;
};

static void run_workload(struct vmm_self *self)
{
	u64 seed = self->seed;

	workload_start(&self->vm, seed, ROUNDS);
	__atomic_store_n(&self->shared->running, 1, __ATOMIC_RELEASE);
	for (;;) {
		CHECK_EQ(vm_run_to_port(&self->vm), PORT_SYNC, "port");
		if (!workload_right(&self->vm))
			self->shared->wrong++;
		__atomic_fetch_add(&self->shared->laps, 1, __ATOMIC_RELEASE);
		workload_next(&self->vm, ++seed, ROUNDS);
	}
}

static void *run_vcpu(void *arg)
{
	const struct kvm_regs regs = { .r8 = GUEST_APIC };
	struct vmm_self *self = arg;

	if (self->guest == VMM_WORKLOAD)
		run_workload(self);
	vm_start(&self->vm, self->guest == VMM_SPIN ? spin_forever : halt_forever, &regs);
	__atomic_store_n(&self->shared->running, 1, __ATOMIC_RELEASE);
	for (;;) {
		CHECK_EQ(vm_run_to_port(&self->vm), PORT_SYNC, "port");
		__atomic_fetch_add(&self->shared->wakes, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void interrupt(struct vmm_self *self)
{
	struct kvm_msi msi = { .address_lo = GUEST_APIC, .data = IRQ_VECTOR };

	CHECK(ioctl(self->vm.fd, KVM_SIGNAL_MSI, &msi) == 1, "KVM_SIGNAL_MSI: %m");
}

static void obey(struct vmm_self *self, char command)
{
	switch (command) {
	case VMM_RUN:
		CHECK(!pthread_create(&self->vcpu, NULL, run_vcpu, self), "pthread_create");
		break;
	case VMM_INTERRUPT:
		interrupt(self);
		break;
	case VMM_ADD_VCPU:
		CHECK(ioctl(self->vm.fd, KVM_CREATE_VCPU, 1) >= 0, "KVM_CREATE_VCPU: %m");
		break;
	case VMM_EXEC:
		execl("/bin/true", "true", NULL);
		tap_fail("exec: %m");
	default:
		tap_fail("unknown command %d", command);
	}
}

static void vmm_main(void *arg)
{
	struct vmm_self *self = arg;
	char command;

	/* Nothing of the test's is kept open here: neither module nor sessions */
	CHECK(dup2(self->sock, VMM_SOCK) == VMM_SOCK, "dup2: %m");
	self->sock = VMM_SOCK;
	CHECK(!close_range(VMM_SOCK + 1, ~0U, 0), "close_range: %m");
	program_vm(&self->vm, self->guest == VMM_HALT ? VM_IRQCHIP : 0);
	send_fd(self->sock, self->vm.fd);
	while (read(self->sock, &command, 1) == 1) {
		obey(self, command);
		CHECK(write(self->sock, &command, 1) == 1, "write: %m");
	}
	/* The test is gone, or wants this to end */
}

void vmm_start(struct vmm *vmm, enum vmm_guest guest, u64 seed)
{
	struct vmm_self self = { .guest = guest, .seed = seed };
	int socks[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks), "socketpair: %m");
	vmm->shared = mmap(NULL, sizeof(*vmm->shared), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(vmm->shared != MAP_FAILED, "mmap: %m");
	self.shared = vmm->shared;
	self.sock = socks[1];
	vmm->sock = socks[0];
	vmm->pid = spawn(vmm_main, &self);
	close(socks[1]);
	vmm->vm_fd = recv_fd(vmm->sock);
	CHECK(vmm->vm_fd >= 0, "the VMM ended before it had a VM");
}

void vmm_command(struct vmm *vmm, enum vmm_command command)
{
	char byte = command;

	CHECK(write(vmm->sock, &byte, 1) == 1, "the VMM is gone: %m");
	if (command == VMM_EXEC)
		return;
	CHECK(read(vmm->sock, &byte, 1) == 1, "the VMM died of command '%c'", command);
	if (command == VMM_RUN)
		wait_until(__atomic_load_n(&vmm->shared->running, __ATOMIC_ACQUIRE),
			   "the guest to start");
}

static void vmm_forget(struct vmm *vmm)
{
	close(vmm->sock);
	if (vmm->vm_fd >= 0)
		close(vmm->vm_fd);
	munmap(vmm->shared, sizeof(*vmm->shared));
}

void vmm_kill(struct vmm *vmm)
{
	CHECK(!kill(vmm->pid, SIGKILL), "kill: %m");
	join(vmm->pid, SIGKILL, "a killed VMM");
	vmm_forget(vmm);
}

void vmm_join(struct vmm *vmm)
{
	join(vmm->pid, 0, "a VMM");
	vmm_forget(vmm);
}

void vmm_check(struct vmm *vmm)
{
	CHECK_EQ(__atomic_load_n(&vmm->shared->wrong, __ATOMIC_ACQUIRE), 0,
		 "number of wrong results of the guest");
}

void vmm_wait_laps(struct vmm *vmm, u64 laps)
{
	u64 goal = __atomic_load_n(&vmm->shared->laps, __ATOMIC_ACQUIRE) + laps;

	wait_until(__atomic_load_n(&vmm->shared->laps, __ATOMIC_ACQUIRE) >= goal,
		   "laps of the guest");
	vmm_check(vmm);
}
