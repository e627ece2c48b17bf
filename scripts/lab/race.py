# SPDX-License-Identifier: GPL-2.0
"""Raced claims, on the three hosts of sides.py.

	with Hosts(racer) as hosts:
	    hosts.boot()
	    hosts.order({'a': '1 5:9:100', 'b': '1 5:9:0'})
	    hosts.over(1)

The hosts stay for all races.  What runs in them is selftests/racer.c, by scripts/lab/guest/race-side, and race-target.
"""

import re
import struct

from . import paths
from .host import Spec
from .sides import BACKUP, NETWORKS, PORTALS, SIDES, Sides, environment
from .topology import Topology

# LIO of Linux 6.12, when a COMPARE AND WRITE meets a unit attention (the disk was reset): it gives back the semaphore
# that is to be held by one such command at a time, without having taken it.  Not ours to mend.
ALLOWED = r'WARNING: .* at drivers/target/target_core_sbc\.c:[0-9]+ compare_and_write_callback'

# struct kvmft_claim_record of kvmft/claim.h
RECORD = struct.Struct('<8sII16s16sQII')


class Hosts(Sides):
    """The hosts, while they run."""

    def __init__(self, racer, patience=300, lifetime=1500, seed=1, sink=None):
        """patience: seconds that anything may take; lifetime: that the hosts may run."""
        guest = str(paths.SCRIPTS / 'lab' / 'guest')
        hosts = {'c': Spec(command=[f'{guest}/race-target', *PORTALS.values()], smp=1, memory=512, timeout=lifetime,
                           allow=[ALLOWED])}
        for name in 'ba':
            hosts[name] = Spec(command=[f'{guest}/race-side', str(racer), SIDES[name], PORTALS[name], BACKUP],
                               environment=environment(), pmu=True, real_sleep=True, smp=1, memory=1024,
                               timeout=lifetime)
        super().__init__(Topology(hosts, NETWORKS, seed=seed, sink=sink), patience)

    def boot(self):
        """Boot all, and wait until they can be given orders."""
        self.lab.boot()
        for name in 'cba':
            self.wait(name, '^ready$')

    def order(self, lines):
        """Tell hosts something: a line by name."""
        for name, line in lines.items():
            self.lab.write(name, line)

    def over(self, number):
        """The lines of a heat, by side, when it is over."""
        found = {}
        for name in 'ab':
            first = self.lab.lines[name].place
            self.wait(name, f'^{number} over')
            found[name] = self.lab.lines[name].lines[first:self.lab.lines[name].place]
        return found

    def records(self, blocks):
        """What is in the first blocks: (generation, winner's role), or None in a blank one."""
        first = self.lab.skip('c')
        self.order({'c': f'show {blocks}'})
        self.wait('c', '^shown$')
        found = []
        for line in self.lab.lines['c'].lines[first:]:
            if match := re.match('record ([0-9a-f]*)$', line):
                fields = RECORD.unpack(bytes.fromhex(match[1]))
                found.append((fields[5], fields[6]) if fields[0] == b'kvmftarb' else None)
        return found

    def end(self):
        """No more orders; returns the exit statuses."""
        self.order(dict.fromkeys('abc', 'end'))
        return {name: self.lab.end(name, timeout=self.patience) for name in 'abc'}
