# SPDX-License-Identifier: GPL-2.0
"""A protected guest, on the three hosts of sides.py; they are on the guest's network, lan, as well.

	with Trio() as trio:
	    for _ in range(3):
	        trio.start()
	        trio.until_asked(100)
	        trio.power('a')
	        trio.until_decided('b')
	        trio.until_asked(200)
	        trio.finish('b')

c exports the disk that the arbiter's blocks are on, LIO over iSCSI, and runs the client: one connection to the guest,
each reply checked.  The guest's service is scripts/linux-guest/service.c.

The hosts stay from round to round; what differs is the pair: QEMUs, console, key, the arbiter's block, the client.  A
host whose power was cut is booted again for the next.  What runs in the hosts is scripts/lab/guest/trio-side and
trio-client.  KVMFT_KERNEL in the environment is another kernel for the sides.
"""

import os
import re
import time

from . import paths
from .host import Spec
from .messages import LabError
from .sides import BACKUP, PORTALS, SIDES, Sides, environment
from .sides import NETWORKS as BETWEEN
from .topology import Topology

ADDRESS = '10.9.0.2'
NETWORKS = BETWEEN | {'lan': {'a': '10.9.0.11/24', 'b': '10.9.0.12/24', 'c': '10.9.0.1/24'}}
WHERE = {'a': ['--connect', BACKUP, '--align-us', '200'], 'b': ['--listen', BACKUP]}

# Exit statuses of kvmftctl: the other side is live; the guest ended on this side, without protection
STOPPED, UNPROTECTED = 3, 4
# The last line of a side's round comes through the kernel log, behind all that the module has said
STATUS = r'kvmft-trio: round {} ended with status ([0-9]+)'


class Trio(Sides):
    """The hosts, while they run."""

    def __init__(self, timeout_ms=20000, patience=900, seed=1, sink=None, lifetime=None, trace=False):
        """patience: seconds that anything may take, three busy emulators on two cores are slow.

        timeout_ms is in the hosts' own time: that of an idle one runs with the wall's, that of a busy one many times
        slower.  lifetime: seconds of the wall's that hosts may run.  trace: the sides tell their module's trace.
        """
        self.trace = trace
        guest = str(paths.SCRIPTS / 'lab' / 'guest')
        lifetime = lifetime or 3 * patience
        hosts = {'c': Spec(command=[f'{guest}/trio-client', ADDRESS, str(patience), *PORTALS.values()],
                           smp=1, memory=512, timeout=lifetime)}
        for name in 'ba':
            hosts[name] = Spec(command=[
                f'{guest}/trio-side', SIDES[name], PORTALS[name], NETWORKS['lan'][name].split('/')[0], ADDRESS,
                '--heartbeat-ms', '50', '--timeout-ms', str(timeout_ms), *WHERE[name]],
                environment=environment(), pmu=True, real_sleep=True, smp=1, memory=1536, timeout=lifetime,
                kernel=os.environ.get('KVMFT_KERNEL'))
        super().__init__(Topology(hosts, NETWORKS, seed=seed, sink=sink), patience)
        self.round = 0
        self.asked = 0
        self._first = {}
        self._asked_at = 0

    # A round

    def boot(self):
        """Boot the hosts that are not up, on networks that nothing befalls, and wait until they take orders."""
        fresh = [name for name in self.lab.specs if not self.lab.running(name)]
        # A side's disk is behind one
        for network in NETWORKS:
            self.lab.networks.restore(network)
            self.lab.networks.shape(network, delay=0, jitter=0, loss=0)
        self.lab.boot()
        for name in fresh:
            self.wait(name, '^ready$')
            if self.trace and name != 'c':
                self.lab.write(name, 'trace')
                self.wait(name, '^trace on$')

    def begin(self, number=None):
        """Start a round's two sides."""
        self.boot()
        self.round = number or self.round + 1
        self.asked = 0
        self._first = {name: self.lab.skip(name) for name in self.lab.specs}
        for name in 'ba':
            self.lab.write(name, f'start {self.round}')

    def start(self, number=None):
        """A round, up to a guest that is protected and serves the client."""
        self.begin(number)
        for name in 'ab':
            self.wait(name, 'connected to the')
        # The backup has the log up to there, or it would not have come out
        self.wait('a', 'console: guest: serving')
        self.ask()

    def ask(self):
        """Start the round's client."""
        self._asked_at = time.monotonic()
        self.lab.write('c', f'start {self.round}')

    def power(self, name):
        """Cut a host's power."""
        self.lab.kill(name)

    def dead(self):
        """The hosts that were up once and are not."""
        return {name for name in list(self.lab.hosts) if not self.lab.running(name)}

    def kill(self, name):
        """SIGKILL for a side's QEMU."""
        self.lab.write(name, 'kill')

    def until_asked(self, requests):
        """The client has made so many more requests, and the replies were right."""
        goal = self.asked + requests
        while self.asked < goal:
            found = self.wait('c', r'^client: (?!connected)(?:([0-9]+) requests, .* right,|(.*))')
            if found[2]:
                raise LabError(f'the client: {found[2]}; {self.elapsed():.0f} s after it was started')
            self.asked = int(found[1])

    def elapsed(self):
        """Seconds since the round's client was started."""
        return time.monotonic() - self._asked_at

    def until_decided(self, *names):
        """Those sides know whether they run on; returns what each says: LIVE or STOPPED."""
        return {name: self.wait(name, r'this side is (LIVE|STOPPED)')[1] for name in names}

    def client_status(self):
        """The client's exit status, when it has one."""
        return int(self.wait('c', f'^client status {self.round} ([0-9]+)')[1])

    def status(self, name):
        """A side's exit status, when it has one."""
        return int(self.wait(name, STATUS.format(self.round))[1])

    def finish(self, *names):
        """End client and guest; returns the exit statuses of client and sides, by host."""
        self.lab.write('c', 'stop')
        statuses = {'c': self.client_status()}
        for name in names:
            statuses[name] = self.status(name)
        return statuses

    # What was said

    def lines(self, name):
        """What the host has printed in this round."""
        return self.lab.lines[name].lines[self._first[name]:]

    def stamp(self, name, words):
        """When the host's kernel log says that, in its own seconds, or None."""
        for line in self.lines(name):
            found = re.match(r'\[ *([0-9.]+)\] kvmft: ' + words, line)
            if found:
                return float(found[1])
        return None

    def said(self, name, regex):
        """The last line of the host's with that: the match, or None."""
        found = [match for line in self.lines(name) if (match := re.search(regex, line))]
        return found[-1] if found else None
