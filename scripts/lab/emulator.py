# SPDX-License-Identifier: GPL-2.0
"""The emulator: which one, and the arguments that make it a host.

One rule chooses it: our patched QEMU when it has been built from the patch
series in the tree (it is built by "lab setup", or on demand when the PMU is
asked for), Debian's otherwise.
"""

import os
import pathlib
import re
import shutil
import subprocess

from . import paths
from .messages import USAGE, LabError, say

SERIES = paths.LAB / 'qemu'

# What EPYC-Milan-v2 has and TCG lacks: off, for TCG would warn of each.
# erms and fsrm work but make the kernel copy by "rep movsb", which TCG
# translates to a block a byte.
ABSENT = ('pcid', 'invpcid', 'vpclmulqdq', 'fxsr-opt', 'misalignsse', 'osvw',
          'topoext', 'clzero', 'ibpb', 'ibrs', 'amd-stibp',
          'stibp-always-on', 'amd-ssbd', 'amd-psfd', 'no-nested-data-bp',
          'lfence-always-serializing', 'null-sel-clr-base',
          'xsavec', 'xsaves', 'erms', 'fsrm')
MODEL = 'EPYC-Milan-v2,+svm,+npt,+vgif,+x2apic'

# Virtual time follows the instructions.  A host alone may skip the time in which
# all its CPUs sleep; several have to live at the same pace.
ICOUNT_SKIP_SLEEP = 'shift=0,sleep=off'
ICOUNT_REAL_SLEEP = 'shift=0,sleep=on'


def _series_key():
    files = [path for path in SERIES.rglob('*') if path.is_file()]
    return paths.digest_files(files) if files else None


def _record():
    return paths.cache_root() / 'emulator' / str(_series_key())


def built():
    """Path of the patched emulator if it is there, else None."""
    try:
        path = pathlib.Path(_record().read_text('utf-8').strip())
    except FileNotFoundError:
        return None
    return path if os.access(path, os.X_OK) else None


def build():
    """Path of the patched emulator, built when missing."""
    path = built()
    if path:
        return path
    script = SERIES / 'build'
    if not script.exists():
        raise LabError(f'{script} is missing: the patched emulator cannot be '
                       'built, and without it there is no PMU')
    say('building the patched emulator (some minutes, once)')
    done = subprocess.run([script], check=False, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines or not os.access(lines[-1], os.X_OK):
        raise LabError(f'{script} failed with status {done.returncode}')
    _record().parent.mkdir(parents=True, exist_ok=True)
    fresh = _record().with_suffix(f'.{os.getpid()}')
    fresh.write_text(lines[-1] + '\n', 'utf-8')
    fresh.rename(_record())
    return pathlib.Path(lines[-1])


def find(pmu, wanted=None):
    """Path of the emulator for a host."""
    if wanted:
        path = shutil.which(wanted)
        if not path:
            raise LabError(f'no emulator {wanted}', USAGE)
        return path
    path = build() if pmu else built() or shutil.which('qemu-system-x86_64')
    if not path:
        raise LabError('no qemu-system-x86_64: run "scripts/lab/lab setup"')
    return str(path)


def cpu(pmu, extra):
    """The argument of -cpu."""
    properties = [MODEL, *(f'-{name}' for name in ABSENT),
                  '+perfctr-core' if pmu else '-perfctr-core']
    if extra:
        properties.append(extra)
    return ','.join(properties)


def clock(pmu, tick_rate):
    """Kernel arguments: what keeps time, and how long a delay's loop is.

    By instructions the TSC runs at 1 GHz.  Otherwise it is the machine's,
    whose frequency need not be known well for delays.  It is no clock for a
    host: it need not be the same on all CPUs of the machine, it may go on
    while the machine stands, and QEMU makes a leap ahead of every step back.
    """
    if pmu:
        return f'tsc=reliable tsc_early_khz=1000000 lpj={10**9 // tick_rate}'
    try:
        text = pathlib.Path('/proc/cpuinfo').read_text('utf-8')
    except OSError:
        text = ''
    clocks = re.findall(r'^cpu MHz\s*: ([0-9.]+)', text, re.M)
    if not clocks:
        return 'tsc=unstable'
    return ('tsc=unstable '
            f'lpj={round(max(map(float, clocks)) * 10**6 / tick_rate)}')


def escape(value):
    """A value inside one of QEMU's comma-separated options."""
    return str(value).replace(',', ',,')
