# SPDX-License-Identifier: GPL-2.0
"""Which fault a round has: a function of the campaign's seed and the round's number, and of nothing else."""

import dataclasses
import random

# Silence that is a failure, in the hosts' own time
TIMEOUT_MS = 10000
# No longer, in the wall's seconds: TCP sends again what was lost after twice the time at most, and the clocks of hosts
# that share processors differ
BRIEF_S = TIMEOUT_MS / 1000 / 5


@dataclasses.dataclass
class Fault:
    """kind is what happens, the parameters how, and after how much."""

    kind: str
    parameters: dict

    def __getattr__(self, name):
        if name in self.parameters:
            return self.parameters[name]
        raise AttributeError(name)

    @property
    def words(self):
        """For a line of progress."""
        return ' '.join([self.kind, *(f'{name}={value}' for name, value in self.parameters.items())])

    @property
    def hosts_lost(self):
        """Hosts that have to be booted again when the round is over."""
        if self.kind == 'power' or self.parameters.get('then') == 'power':
            return self.side
        return ''


def _seconds(chance, least, most):
    return round(chance.uniform(least, most), 2)


def _side(chance):
    return {'side': chance.choice('ab')}


def _ways(chance):
    """What of a cut link is lost: all, or what one of the hosts sends."""
    return {'lost': chance.choice(['all', 'all', 'from a', 'from b'])}


def _link(chance):
    return _ways(chance)


def _pause(chance):
    return _ways(chance) | {'seconds': _seconds(chance, 0.1, BRIEF_S)}


def _shape(chance):
    """Delay is a round trip for everything that the guest sends: it is slow, not lost."""
    delay = chance.choice([0, _seconds(chance, 0.001, 0.05)])
    return {'at': chance.choice(['a', 'b', 'both']), 'delay': delay,
            'jitter': chance.choice([0, round(delay * chance.random(), 3)]),
            'loss': chance.choice([0, 0.005, 0.01, 0.02]) if delay else chance.choice([0.01, 0.02, 0.03])}


def _arbiter(chance):
    return {'hosts': chance.choice(['a', 'b', 'ab', 'ab']), 'seconds': _seconds(chance, 0.5, 8)}


def _slow(chance):
    return _side(chance) | {'then': chance.choice(['power', 'kill', 'link', 'link']),
                            'delay': _seconds(chance, 0.1, 1)}


def _second(chance):
    """The link is cut, and when that side is alone, a moment later, the next thing happens."""
    return _side(chance) | {'then': chance.choice(['power', 'kill', 'mend', 'mend']),
                            'delay': _seconds(chance, 0, 0.8), 'seconds': _seconds(chance, 0, 3)}


def _handshake(chance):
    """seconds after both were started.  A killed QEMU has to be there: it is from when it is."""
    return _side(chance) | {'then': chance.choice(['power', 'kill', 'link']), 'seconds': _seconds(chance, 0, 8)}


# Kind: share, how its parameters come about
KINDS = {
    'none': (2, lambda chance: {}),
    'power': (3, _side),
    'kill': (3, _side),
    'link': (3, _link),
    'pause': (2, _pause),
    'shape': (2, _shape),
    'arbiter': (3, _arbiter),
    'slow': (2, _slow),
    'second': (3, _second),
    'handshake': (2, _handshake),
}
# After these nobody may take over
HARMLESS = ('none', 'pause', 'shape')


def derive(seed, number):
    """The fault of a round."""
    chance = random.Random(f'{seed}/{number}')
    kind = chance.choices(list(KINDS), [share for share, _ in KINDS.values()])[0]
    parameters = KINDS[kind][1](chance)
    if kind != 'handshake':
        # The client says how far it is once a second: the moment in that second is ours
        parameters |= {'replies': chance.randint(1, 40), 'moment': _seconds(chance, 0, 1)}
    return Fault(kind, parameters)


def without_boot(seed, kinds):
    """The first round with each of those kinds that leaves all hosts up, as numbers."""
    found = []
    for kind in kinds:
        number = 1
        while number in found or derive(seed, number).kind != kind or derive(seed, number).hosts_lost:
            number += 1
        found.append(number)
    return found
