# SPDX-License-Identifier: GPL-2.0
"""What the module shows in sysfs, as plain values for those who print it."""

from . import module, uapi
from .messages import CtlError

# Attributes that are words; all others are numbers
WORDS = frozenset(('verdict', 'reason', 'state', 'end', 'mode', 'role', 'arbiter'))

# Those that mean nothing for what is no side of a pair
OF_A_PAIR = ('generation', 'lag_entries', 'lag_us')

MODULE = ('api_version', 'sessions', 'hooks')
COUNTER = ('verdict', 'reason', 'windows', 'wrong', 'stops', 'lost', 'skid_max')

NOT_LOADED = ('the module is not loaded: "modprobe -a kvm_amd kvmft" loads it; "kvmftctl check" tells what this host '
              'lacks')

# What kvmftctl does to have such a session, as messages.py has it: by role, or else by mode
_DOING = {'primary': 'protecting', 'backup': 'following',
          'count': 'counting', 'record': 'recording', 'replay': 'replaying'}


def loaded():
    """Is the module there?"""
    return module.SYSFS.is_dir()


def require_module():
    """Say what to do when it is not."""
    if not loaded():
        raise CtlError(NOT_LOADED)


def _value(name, text):
    """An attribute's text as what it is; None for one that is not there."""
    if name in WORDS or text is None:
        return text
    return int(text) if text.isdigit() else text


def _histogram(text):
    """skid_histogram: (lower end in branches, how many) of each bucket."""
    return [tuple(map(int, line.split())) for line in (text or '').splitlines()]


def _number(directory):
    digits = directory.name.removeprefix('session')
    return int(digits) if digits.isdigit() else 0


def _session(directory):
    """Its id, and its attributes by name; None for one that is being made, or has gone."""
    found = {'id': _number(directory)}
    try:
        names = sorted(attribute.name for attribute in directory.iterdir() if attribute.is_file())
    except OSError:
        return None
    for name in names:
        found[name] = _value(name, module.read_attribute(directory.name, name))
    if found.get('role') not in ('primary', 'backup'):
        found |= dict.fromkeys(OF_A_PAIR)
    # Attributes come and go one by one: these are the first and the last
    return found if found.get('state') and found.get('reason') is not None else None


def sessions():
    """All that there are, by their numbers."""
    directories = sorted(module.SYSFS.glob('session[0-9]*'), key=_number)
    return [session for session in map(_session, directories) if session]


def about():
    """The module's own attributes."""
    return {name: _value(name, module.read_attribute(name)) for name in MODULE}


def counter():
    """The verdict on this machine's counters, and its figures."""
    found = {name: _value(name, module.read_attribute('counter', name)) for name in COUNTER}
    found['skid_histogram'] = _histogram(module.read_attribute('counter', 'skid_histogram'))
    return found


def doing(session):
    """What is done with its guest: recording, following, ..."""
    return _DOING.get(session.get('role')) or _DOING.get(session.get('mode')) or 'counting'


def state_of(session):
    """Its State, None for one that only a later module has."""
    return uapi.named(uapi.State, session['state'])


def end_of(session):
    """Its End, None for one that only a later module has."""
    return uapi.named(uapi.End, session.get('end'))
