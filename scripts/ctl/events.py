# SPDX-License-Identifier: GPL-2.0
"""kvmftctl events: what exists, and then each change, a line each."""

import os
import select
import sys

from . import module, view
from .dump import field

# What is told of a session; another value of any is a change
FIELDS = ('mode', 'role', 'state', 'end', 'arbiter', 'reason')

# The kernel wakes who polls a session's state. Nothing announces a new session, one that is gone, or that the first
# boundary was passed: those are looked for so often.
LOOK_SECONDS = 0.5

COUNTER = 'counter'
SESSION = 'session'


def _line(event, kind, number, values):
    """EVENT, KIND, ID and name:value, between tabs."""
    told = (f'{name}:{field(value)}' for name, value in values.items())
    return '\t'.join((event, kind, field(number), *told))


def look():
    """What is told of everything that exists: (kind, number) -> values."""
    if not view.loaded():
        return {}
    counter = view.counter()
    found = {(COUNTER, None): {name: counter[name] for name in ('verdict', 'reason')}}
    for session in view.sessions():
        found[SESSION, session['id']] = {name: session.get(name) for name in FIELDS}
    return found


def changes(before, now):
    """The lines between two looks: who is gone, who is other, who is new."""
    for key, values in before.items():
        if key not in now:
            yield _line('destroy', *key, values)
    for key, values in now.items():
        if key not in before:
            yield _line('create', *key, values)
        elif values != before[key]:
            yield _line('change', *key, values)


class States:
    """The state attributes of the sessions that are known, to be woken by them."""

    def __init__(self):
        self._poll = select.poll()
        self._open = {}

    def follow(self, sessions):
        """These, and no others. One that was not read yet wakes at once."""
        for number in self._open.keys() - sessions:
            self._forget(number)
        for number in sessions - self._open.keys():
            try:
                descriptor = os.open(module.SYSFS / f'session{number}' / 'state', os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                # It has just gone; the next look says so
                continue
            self._open[number] = descriptor
            self._poll.register(descriptor, select.POLLPRI)

    def watch_reader(self, out):
        """Be woken, too, when nobody reads out any more."""
        self._poll.register(out, 0)

    def read(self):
        """Only a change after this read wakes."""
        for descriptor in self._open.values():
            try:
                os.pread(descriptor, 64, 0)
            except OSError:
                # The session is gone
                continue

    def wait(self, seconds):
        """For a change, so long at most; the descriptors that woke us."""
        return [descriptor for descriptor, _ in self._poll.poll(seconds * 1000)]

    def _forget(self, number):
        descriptor = self._open.pop(number)
        self._poll.unregister(descriptor)
        os.close(descriptor)

    def close(self):
        """Follow none."""
        for number in list(self._open):
            self._forget(number)


def _print(lines, out):
    for line in lines:
        print(line, file=out)
    out.flush()


def _follow(known, out):
    """Tell changes until nobody reads them."""
    states = States()
    try:
        states.watch_reader(out.fileno())
        while True:
            # Read first, then look: what changes in between wakes us again
            states.read()
            now = look()
            _print(changes(known, now), out)
            known = now
            states.follow({number for kind, number in known if kind == SESSION})
            if out.fileno() in states.wait(LOOK_SECONDS):
                raise BrokenPipeError
    finally:
        states.close()


def show(only_now=False, out=None):
    """Print them; returns the exit status."""
    view.require_module()
    out = out or sys.stdout
    known = look()
    _print((_line('exists', *key, values) for key, values in known.items()), out)
    _print(['exists\t-'], out)
    if not only_now:
        _follow(known, out)
    return 0
