# SPDX-License-Identifier: GPL-2.0
"""kvmftctl status: what the module shows in sysfs."""

import sys

from . import module
from .messages import CtlError

COUNTER = ('reason', 'windows', 'wrong', 'stops', 'lost', 'skid_max')


def _number(directory):
    digits = directory.name.removeprefix('session')
    return int(digits) if digits.isdigit() else 0


def lines():
    """The report, line by line."""
    root = module.SYSFS
    if not root.is_dir():
        raise CtlError('the module is not loaded ("modprobe kvmft")')
    read = module.read_attribute
    yield f'interface version  {read("api_version")}'
    yield f'counters           {read("counter", "verdict")}'
    for name in COUNTER:
        value = read('counter', name)
        if value:
            yield f'  {name:16} {value}'
    yield f'hooked functions   {read("hooks")}'
    yield f'sessions           {read("sessions")}'
    for session in sorted(root.glob('session[0-9]*'), key=_number):
        yield f'{session.name}'
        for attribute in sorted(session.iterdir()):
            value = read(session.name, attribute.name) if attribute.is_file() else None
            if value:
                yield f'  {attribute.name:16} {value}'


def show(out=None):
    """Print it; returns the exit status."""
    for line in lines():
        print(line, file=out or sys.stdout)
    return 0
