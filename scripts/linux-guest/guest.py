# SPDX-License-Identifier: GPL-2.0
"""What the test guest consists of, whoever runs it: qemu or domain, here."""

import pathlib
import subprocess
import sys

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent))

from ctl.check import Host  # noqa: E402 (the path comes first)

MEMORY = 256    # MiB
MAC = '52:54:00:6b:76:6d'

# Beside KVM's paravirtual clocks and calls and the PMU: random numbers of the CPU's, and instructions whose writes to
# memory depend on state that no register shows.
CPU_OFF = 'perfctr-core svm x2apic rdrand rdseed xsaveopt xsavec xsaves xgetbv1'.split()

# The network card is not set up again at run time: no control queue, so nothing that needs one.
CARD_OFF = 'mq guest_announce ctrl_vq ctrl_rx ctrl_vlan ctrl_rx_extra ctrl_mac_addr ctrl_guest_offloads'.split()

# A guest without KVM's clock distrusts the TSC unless it is told its rate.  The second line spares time: self-tests,
# hardening, and random numbers made of a million clock readings.
_KERNEL = ('console=ttyS0 quiet panic=-1 nowatchdog tsc=reliable tsc_early_khz={khz} no-kvmclock '
           'mitigations=off nokaslr apparmor=0 cryptomgr.notests=1 initcall_blacklist=jent_mod_init')


def kernel_line(tsc_khz=None, more=''):
    """What its kernel is told; tsc_khz: the rate of its TSC, if KVM is not to be asked."""
    khz = tsc_khz or Host().tsc_khz()
    if not khz:
        raise OSError('/dev/kvm does not tell the rate of the TSC')
    return _KERNEL.format(khz=khz) + (f' {more}' if more else '')


def files():
    """Its kernel and its initrd, built if they are not there."""
    built = subprocess.run([here / 'build'], check=True, text=True, stdout=subprocess.PIPE)
    directory = pathlib.Path(built.stdout.strip())
    return directory / 'vmlinux', directory / 'initrd'
