# SPDX-License-Identifier: GPL-2.0
"""The user's QEMU command: the little that has to be so is looked at, the rest is the user's."""

import math

from .messages import USAGE, CtlError


# Options with which QEMU adds no card of its own
CARDS = ('nodefaults', 'nic', 'net', 'netdev')


def _options(words):
    """(name, value) of each option; the value is the next word, whether the option takes one or not."""
    for index, word in enumerate(words[1:], 1):
        if word.startswith('-') and len(word) > 1:
            yield word.lstrip('-'), words[index + 1] if index + 1 < len(words) else ''


def _properties(value):
    """A value such as "q35,smm=off": the first word's name is ""."""
    found = {}
    for number, part in enumerate(value.replace(',,', '\0').split(',')):
        name, given, text = part.partition('=')
        if given:
            found[name] = text
        elif number == 0:
            found[''] = name
    return found


def _accelerated(options, machine):
    for name, value in options:
        if name == 'enable-kvm' or name == 'accel' and _properties(value).get('', '') == 'kvm':
            return True
        if name == 'accel' and _properties(value).get('accel') == 'kvm':
            return True
    return machine.get('accel', '').split(':')[0] == 'kvm'


def _vcpus(options):
    """The number of vCPUs at the start, None where it is not to be understood."""
    count = 1
    for name, value in options:
        if name != 'smp':
            continue
        properties = _properties(value)
        try:
            given = properties.get('cpus', properties.get(''))
            if given is not None:
                count = int(given)
            else:
                count = math.prod(int(number) for topology, number in properties.items()
                                  if topology != 'maxcpus')
        except ValueError:
            return None
    return count


def check(words, own=True):
    """Refuse a command that can not work; returns a warning for each thing that may not.

    own: it is kvmftctl's to start.
    """
    if not words:
        raise CtlError('there is no QEMU command: give it after "--"', USAGE)
    options = list(_options(words))
    machine = {}
    for name, value in options:
        if name in ('machine', 'M'):
            machine.update(_properties(value))
    if not _accelerated(options, machine):
        raise CtlError('QEMU has to use KVM: add "-accel kvm"', USAGE)
    if own and any(name == 'daemonize' for name, _ in options):
        raise CtlError('QEMU has to stay a child of kvmftctl: leave "-daemonize" out', USAGE)
    vcpus = _vcpus(options)
    if vcpus is not None and vcpus > 1:
        raise CtlError(f'the guest may have one vCPU, not {vcpus}: leave "-smp" out', USAGE)
    warnings = []
    if machine.get('smm') != 'off':
        warnings.append('the machine has SMM, which was not tried: add "smm=off" to "-machine"')
    if not any(name in CARDS for name, _ in options) and machine.get('', machine.get('type')) != 'microvm':
        warnings.append('QEMU gives the guest a network card of its own, which can not be replayed: add "-nic none", '
                        'or a card of /dev/kvmft-net')
    return warnings
