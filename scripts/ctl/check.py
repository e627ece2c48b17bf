# SPDX-License-Identifier: GPL-2.0
"""kvmftctl check: has this host what kvmft needs? Nothing is changed, no session is made."""

import contextlib
import dataclasses
import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import sys

from . import arbiter, disk, uapi, view
from .messages import CtlError

# The same as BUILD_EXCLUSIVE_KERNEL of dkms.conf and svm_events() of kvmft/svm.c
SERIES = '6.12'
VENDORS = ('AuthenticAMD', 'HygonGenuine')
FAMILIES = range(0x17, 0x1b)

QEMU = 'qemu-system-x86_64'
CAP_SYS_ADMIN = 21
KVM_CREATE_VM = 0xAE01      # <linux/kvm.h>
KVM_GET_TSC_KHZ = 0xAEA3
WATCHDOG_OFF = 'sysctl kernel.nmi_watchdog=0'

YES = 'yes'
NO = 'no'
UNKNOWN = 'unknown'         # needed, and not to be told now
MIND = 'mind'               # not needed by all, or not tried


@dataclasses.dataclass
class Result:
    """What was found of a requirement, and what to do about it."""
    answer: str
    what: str
    found: str
    remedy: str = ''

    def lines(self):
        """The line, and the remedy below it."""
        yield f'{self.answer:8} {self.what}: {self.found}'
        if self.remedy:
            yield f'{"":8} -> {self.remedy}'


class Host:
    """This host's files."""

    def __init__(self, root='/'):
        self.root = pathlib.Path(root)

    def tsc_khz(self):
        """Of a guest's TSC, to 10 kHz, for hosts refine theirs by less; None: KVM can not be asked."""
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            kvm = os.open(self.root / 'dev/kvm', os.O_RDWR | os.O_CLOEXEC)
            stack.callback(os.close, kvm)
            machine = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
            stack.callback(os.close, machine)
            return round(fcntl.ioctl(machine, KVM_GET_TSC_KHZ, 0), -1)
        return None

    def has(self, path):
        """Is there such a file?"""
        return (self.root / path).exists()

    def read(self, path):
        """Its text; None if there is none."""
        try:
            return (self.root / path).read_text('utf-8', 'replace').strip()
        except OSError:
            return None

    def is_allowed(self, path):
        """May it be opened for reading and writing?"""
        return os.access(self.root / path, os.R_OK | os.W_OK)

    def processor(self):
        """(name, value) of the first CPU."""
        first = (self.read('proc/cpuinfo') or '').split('\n\n')[0]
        return {name.strip(): value.strip() for name, _, value in (line.partition(':') for line in first.split('\n'))}

    def module_is_loaded(self, name):
        """As a module, not built in."""
        return self.read(f'sys/module/{name}/initstate') == 'live'


def _processor(host):
    cpu = host.processor()
    vendor, family = cpu.get('vendor_id', 'unknown'), cpu.get('cpu family', '')
    named = f'{vendor}, family {int(family):#x}' if family.isdigit() else vendor
    if vendor not in VENDORS or not family.isdigit() or int(family) not in FAMILIES:
        yield Result(NO, 'processor', f'{named}: no event is known to count exactly',
                     f'use a host with an AMD processor of family {FAMILIES[0]:#x} to {FAMILIES[-1]:#x} (Zen)')
        return
    yield Result(YES, 'processor', named)
    if 'svm' in cpu.get('flags', '').split():
        yield Result(YES, 'SVM', 'the processor has it')
    else:
        yield Result(NO, 'SVM', 'the processor does not show it',
                     'switch it on in the firmware; in a virtual machine, have its hypervisor pass it on')


def _pmu(host):
    if host.has('sys/bus/event_source/devices/cpu'):
        yield Result(YES, 'event counters', 'perf has those of the processor')
    else:
        yield Result(NO, 'event counters', 'perf has none of the processor',
                     'switch the PMU on in the firmware; in a virtual machine, have its hypervisor pass it on')


def _kernel(host):
    release = host.read('proc/sys/kernel/osrelease') or 'unknown'
    if release.startswith(f'{SERIES}.'):
        yield Result(YES, 'kernel', release)
    else:
        yield Result(NO, 'kernel', f'{release} is not of the series {SERIES}, whose KVM kvmft hooks',
                     'boot such a kernel; Documentation/extending.rst says what another one takes')
    if host.read('proc/sys/kernel/ftrace_enabled') == '1':
        yield Result(YES, 'ftrace', 'enabled')
    elif host.has('proc/sys/kernel/ftrace_enabled'):
        yield Result(NO, 'ftrace', 'disabled: KVM\'s functions can not be hooked', 'sysctl kernel.ftrace_enabled=1')
    else:
        yield Result(NO, 'ftrace', 'the kernel has none', 'boot a kernel with CONFIG_DYNAMIC_FTRACE')
    if host.has('sys/kernel/btf/vmlinux'):
        yield Result(YES, 'BTF', 'the kernel describes its types')
    else:
        yield Result(NO, 'BTF', 'the kernel does not describe its types',
                     'boot a kernel with CONFIG_DEBUG_INFO_BTF and CONFIG_DEBUG_INFO_BTF_MODULES')
    # Not shown by a kernel that can not be locked down
    if '[confidentiality]' in (host.read('sys/kernel/security/lockdown') or ''):
        yield Result(NO, 'lockdown', 'confidentiality: kprobes are forbidden', 'boot with lockdown=integrity, or none')


def _kvm(host):
    if host.module_is_loaded('kvm_amd'):
        yield Result(YES, 'KVM', 'kvm_amd is loaded')
    elif host.has('sys/module/kvm_amd'):
        yield Result(NO, 'KVM', 'kvm_amd is built into the kernel', 'boot a kernel that has it as a module')
    else:
        yield Result(NO, 'KVM', 'kvm_amd is not loaded', 'modprobe kvm_amd; if that fails see its line in "dmesg"')
        return
    if not host.has('dev/kvm'):
        yield Result(NO, '/dev/kvm', 'there is none',
                     'see why udev has not made it: "udevadm info /sys/class/misc/kvm"')
    paging = host.read('sys/module/kvm_amd/parameters/npt')
    if paging in ('Y', '1'):
        yield Result(YES, 'nested paging', 'on')
    else:
        yield Result(MIND, 'nested paging', 'off, which was not tried',
                     'leave npt=0 out of kvm_amd\'s parameters, or switch it on in the firmware')


def _tsc(host):
    """What a Linux guest is to be told, which may not ask KVM."""
    khz = host.tsc_khz()
    if khz:
        yield Result(YES, 'TSC', f'{khz} kHz: give a Linux guest "tsc=reliable tsc_early_khz={khz}", on both hosts the '
                     'same number')


def _verdict(counter):
    """What the module says of the counters; the kernel's words have the remedy."""
    verdict = uapi.named(uapi.Verdict, counter['verdict'])
    if verdict == uapi.Verdict.EXACT:
        return Result(YES, 'counters', f'{counter["verdict"]} in {counter["windows"] or 0:,} windows')
    if verdict == uapi.Verdict.REFUSED:
        return Result(NO, 'counters', counter['reason'] or 'the module refuses this machine',
                      'mend that, then "modprobe -r kvmft" and "modprobe kvmft" have it tested again')
    return Result(UNKNOWN, 'counters', 'not tested yet; the first session has it done',
                  'with kvm_amd loaded, "modprobe -r kvmft" and "modprobe kvmft" have it done now')


def _module(_host):
    if not view.loaded():
        yield Result(NO, 'kvmft', 'the module is not loaded',
                     'modprobe kvmft; if there is no such module build it for this kernel: README')
        yield Result(UNKNOWN, 'counters', 'only the loaded module can tell whether they count exactly')
        return
    version = view.about()['api_version']
    if version == uapi.API_VERSION:
        yield Result(YES, 'kvmft', f'loaded, interface version {version}')
    else:
        yield Result(NO, 'kvmft', f'loaded, interface version {version}, kvmftctl\'s is {uapi.API_VERSION}',
                     'build both from one tree')
    yield _verdict(view.counter())


def _watchdog(host):
    if host.read('proc/sys/kernel/nmi_watchdog') in (None, '0'):
        yield Result(YES, 'NMI watchdog', 'off')
    else:
        yield Result(MIND, 'NMI watchdog', 'on: it has a counter of each CPU, and may take one from a session',
                     WATCHDOG_OFF)


def _permission(host):
    found = re.search(r'^CapEff:\s*([0-9a-f]+)', host.read('proc/self/status') or '', re.M)
    if not found or not int(found[1], 16) >> CAP_SYS_ADMIN & 1:
        yield Result(NO, 'permission', 'this user may not open /dev/kvmft', 'run kvmftctl as root, with CAP_SYS_ADMIN')
    elif not view.loaded():
        yield Result(YES, 'permission', 'root, with CAP_SYS_ADMIN; /dev/kvmft comes with the module')
    elif not host.has('dev/kvmft'):
        yield Result(NO, 'permission', 'the module is loaded, and there is no /dev/kvmft',
                     'see why udev has not made it; a container has to be given it')
    elif not host.is_allowed('dev/kvmft'):
        yield Result(NO, 'permission', '/dev/kvmft may not be opened', 'see its mode and owner: 0600, root')
    else:
        yield Result(YES, 'permission', '/dev/kvmft may be opened')


def _network(host):
    for path, what, remedy in (
            ('dev/kvmft-net', 'packets of the guest', 'modprobe kvmft; see why udev has not made it'),
            ('dev/net/tun', 'taps', 'modprobe tun')):
        if host.has(path):
            yield Result(YES, what, f'/{path} is there')
        elif path == 'dev/kvmft-net' and not view.loaded():
            yield Result(UNKNOWN, what, f'/{path} comes with the module')
        else:
            yield Result(MIND, what, f'there is no /{path}: a guest with a network card needs it', remedy)


def _qemu(_host):
    path = shutil.which(QEMU)
    if not path:
        yield Result(NO, 'QEMU', f'no {QEMU} in $PATH', 'apt install qemu-system-x86')
        return
    try:
        said = subprocess.run([path, '--version'], capture_output=True, check=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError) as error:
        yield Result(NO, 'QEMU', f'{path} does not run: {error}', 'apt install --reinstall qemu-system-x86')
        return
    version = re.search(r'version (\S+)', said)
    yield Result(YES, 'QEMU', f'{path}, version {version[1] if version else "unknown"}')


def _commands(path, descriptor, device):
    """Is it a SCSI disk, with that command?"""
    scsi = disk.scsi_device(device)
    if not scsi:
        yield Result(NO, 'disk', f'{path} is no SCSI disk',
                     'name a LUN (iSCSI, Fibre Channel) that "lsblk -S" shows, not a path of device-mapper\'s')
        return
    yield Result(YES, 'disk', f'{path} is the SCSI disk {scsi.name}')
    knows = disk.knows_compare_and_write(scsi, descriptor)
    if knows:
        yield Result(YES, 'COMPARE AND WRITE', 'the disk says that it knows it')
    elif knows is None:
        yield Result(UNKNOWN, 'COMPARE AND WRITE', 'the disk does not say; a primary tries it when it is set up',
                     'see the target\'s manual')
    else:
        yield Result(NO, 'COMPARE AND WRITE', 'the disk says that it does not know it',
                     'switch it on at the target (LIO: emulate_caw), or use another target')


def look_at_disk(path, block, key=None):
    """The arbiter's disk, and the block."""
    device = disk.number(path)
    if not device:
        yield Result(NO, 'disk', f'{path} is no block device', '"lsblk -S" shows SCSI disks')
        return
    try:
        opened = arbiter.Arbiter((path, block))
    except CtlError as error:
        yield Result(NO, 'disk', str(error), 'run kvmftctl as root, and see that no other program has the disk')
        return
    try:
        yield from _commands(path, opened.descriptor, device)
        usable, contents = opened.contents(key)
        if usable:
            yield Result(YES, 'block', f'number {block} of the disk is {contents}')
        elif usable is None:
            yield Result(MIND, 'block', f'number {block} of the disk is {contents}',
                         'whether it is that of your key "--key FILE" tells')
        else:
            yield Result(NO, 'block', f'number {block} of the disk is {contents}',
                         'name another block; or, if nobody needs it: "blkdiscard -z -o OFFSET -l LENGTH DISK"')
    except CtlError as error:
        yield Result(NO, 'block', str(error), 'name a block of the disk; see "dmesg" for errors of the disk')
    finally:
        opened.close()


def results(host, where=None, key=None):
    """A Result for each requirement."""
    for look in (_processor, _pmu, _kernel, _kvm, _tsc, _module, _permission, _watchdog, _network, _qemu):
        yield from look(host)
    if where:
        yield from look_at_disk(*where, key)


def show(where=None, key=None, host=None, out=None):
    """Print them; returns the exit status: 0 if all that is needed is there."""
    out = out or sys.stdout
    missing = 0
    for result in results(host or Host(), where, key):
        for line in result.lines():
            print(line, file=out)
        missing += result.answer in (NO, UNKNOWN)
    return 1 if missing else 0
