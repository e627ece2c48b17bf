# SPDX-License-Identifier: GPL-2.0
#
#	make			build kvmft.ko for the running kernel
#	make KDIR=DIR		... for the kernel whose build directory is DIR
#	make modules_install	install it for that kernel
#	make check		set the lab up and run every test
#	make check-debug	the module's tests on a kernel with KASAN, lockdep, kmemleak
#	make check-kernels	by DKMS, on the oldest and the newest kernel that is supported
#	make stress N=200	insmod/rmmod rounds beside guests that are not ours
#	make soak-replay N=20	record Linux guests, replay each twice
#	make soak N=100		faults against protected guests, round after round
#	make claims N=500	pairs on two hosts claim blocks of a shared disk, faults included
#	make demo		a host dies, and a client does not notice: three hosts
#	make demo-replay	a guest is recorded, replayed, and replayed by an altered log
#	make bench		what exits, recording, a backup and a take-over cost
#	make fuzz N=10		any bytes for the readers of logs, minutes of CPU time
#	make install		kvmftctl, scripts, units, documents; DESTDIR=DIR for a package,
#				PREFIX=DIR for another place than /usr
#	make deb		a Debian package, with the module's source for DKMS
#	make style		checkpatch, sparse, warnings, layers
#	make clean
#
# KMODS=DIR is where the target kernel's modules are (/lib/modules/VERSION), for the
# types of KVM; it is needed when they are neither there nor in the lab's cache.

KDIR ?= /lib/modules/$(shell uname -r)/build
KVER := $(shell cat $(KDIR)/include/config/kernel.release 2>/dev/null)
KMODS ?= $(firstword $(wildcard /lib/modules/$(KVER)/kernel) \
		     $(wildcard $(KDIR)/arch/x86/kvm/kvm.ko) \
		     $(shell scripts/lab/lab kernel --modules $(KVER) 2>/dev/null))
VMLINUX ?= $(firstword $(wildcard $(KDIR)/vmlinux) /sys/kernel/btf/vmlinux)

# The series whose KVM the hooks are written for; ANY_KERNEL=1 tries another.
SERIES := $(shell sed -n 's/^BUILD_EXCLUSIVE_KERNEL="\(.*\)"/\1/p' dkms.conf)

all: modules

modules modules_install: kvmft/layout.h
	$(MAKE) -C $(KDIR) M=$(CURDIR) $@

kvmft/layout.h: FORCE
	@test -n "$(KVER)" || { \
		echo "$(KDIR): no build directory of a kernel." >&2; \
		echo "Install linux-headers for the running kernel, or say make KDIR=..." >&2; \
		exit 1; }
	@test -n "$(ANY_KERNEL)" || echo "$(KVER)" | grep -qE '$(SERIES)' || { \
		echo "kvmft is for kernels whose release matches $(SERIES), this is $(KVER)." >&2; \
		echo "Documentation/extending.rst says what another takes; make ANY_KERNEL=1 tries." >&2; \
		exit 1; }
	@scripts/layout/layout --kernel $(KVER) --vmlinux $(VMLINUX) --modules "$(KMODS)" --output $@

# What is not a shell script is Python: the smallest Debian has none.
python3:
	@command -v $@ >/dev/null || scripts/install-packages --package $@

check check-debug check-kernels stress soak-replay soak claims bench: python3
	scripts/$@ $(if $(N),--rounds $(N))

demo: python3
	scripts/demo

demo-replay: python3
	scripts/demo replay

fuzz: python3
	selftests/fuzz/run --minutes $(or $(N),10)

style: python3
	scripts/style/run

# All but the module: that is modules_install, or DKMS, which "make deb" leaves it to.
PREFIX ?= /usr

install: PLACE = $(DESTDIR)$(PREFIX)
install:
	install -d $(PLACE)/lib/kvmft/ctl $(PLACE)/lib/kvmft/bpftrace $(PLACE)/sbin \
		$(DESTDIR)/lib/systemd/system $(PLACE)/share/doc/kvmft/ABI/testing \
		$(PLACE)/share/man/man1 $(PLACE)/share/bash-completion/completions
	install -d -m 700 $(DESTDIR)/etc/kvmft
	install scripts/kvmftctl $(PLACE)/lib/kvmft
	install -m 644 $(filter-out %/paper.py, $(wildcard scripts/ctl/*.py)) $(PLACE)/lib/kvmft/ctl
	install scripts/bpftrace/*.bt $(PLACE)/lib/kvmft/bpftrace
	ln -sf ../lib/kvmft/kvmftctl $(PLACE)/sbin/kvmftctl
	install -m 644 scripts/systemd/*.service $(DESTDIR)/lib/systemd/system
	sed -i 's,/usr/\(sbin\|share\)/,$(PREFIX)/\1/,' \
		$(patsubst scripts/systemd/%,$(DESTDIR)/lib/systemd/system/%,$(wildcard scripts/systemd/*.service))
	install -m 644 README Documentation/*.rst $(PLACE)/share/doc/kvmft
	install -m 644 Documentation/ABI/testing/* $(PLACE)/share/doc/kvmft/ABI/testing
	install -m 644 Documentation/kvmftctl.1 $(PLACE)/share/man/man1
	install -m 644 scripts/completion/kvmftctl $(PLACE)/share/bash-completion/completions

deb:
	scripts/deb

clean:
	$(if $(KVER),$(MAKE) -C $(KDIR) M=$(CURDIR) $@)
	$(RM) -r kvmft/layout.h build

FORCE:
.PHONY: all python3 modules modules_install check check-debug check-kernels stress soak-replay soak claims bench demo demo-replay fuzz style install deb clean FORCE
