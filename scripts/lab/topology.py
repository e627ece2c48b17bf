# SPDX-License-Identifier: GPL-2.0
"""Several hosts and the networks between them, for scripts and tests.

    with Topology({'a': Spec(...), 'b': Spec(...)},
                  {'ab': {'a': '10.1.0.1/24', 'b': '10.1.0.2/24'}}) as lab:
        lab.boot()
        lab.wait('a', 'ready')
        lab.networks.cut('ab')
        lab.kill('b')
        lab.end('a')
"""

import contextlib
import re
import sys
import time

from . import control
from .host import Host, RunDirectory, check_spec
from .loop import Loop
from .messages import DIED, LabError, say
from .network import Networks
from .steps import Steps


class _Lines:
    """What a host's command printed, line by line, with a reading place."""

    def __init__(self, prefix, sink):
        self.prefix = prefix
        self.sink = sink
        self.lines = []
        self.place = 0
        self._partial = {}

    def taker(self, stream):
        """Function that takes the bytes of one of the host's streams."""
        def take(data):
            data = self._partial.get(stream, b'') + data
            *lines, self._partial[stream] = data.split(b'\n')
            for line in lines:
                self._add(line.decode('utf-8', 'replace'))
        return take

    def finish(self):
        """Count what was printed without a newline as lines."""
        for rest in self._partial.values():
            if rest:
                self._add(rest.decode('utf-8', 'replace'))
        self._partial = {}

    def _add(self, line):
        self.lines.append(line)
        if self.sink:
            self.sink(f'{self.prefix}| {line}')

    def find(self, pattern):
        """Match of the first line from the place on, which moves past it."""
        for index in range(self.place, len(self.lines)):
            match = pattern.search(self.lines[index])
            if match:
                self.place = index + 1
                return match
        return None

    def skip(self):
        """Move the place to the end; returns it."""
        self.place = len(self.lines)
        return self.place


def print_line(line):
    """The sink that prints."""
    print(line, flush=True)


class Topology:
    """Hosts and networks that live and end together."""

    def __init__(self, hosts, networks=None, seed=0, sink=print_line,
                 verbose=False):
        """hosts: Spec by name; networks: by name, address by host's name.

        A host's network cards are in the order of its networks here.
        """
        self.specs = hosts
        self.addresses = networks or {}
        self.verbose = verbose
        self.sink = sink
        self.loop = Loop()
        self.hosts = {}
        self.lines = {}
        self.results = {}
        self.accepted = set()
        self._stack = contextlib.ExitStack()
        self._seed = seed
        self.networks = None
        self._directory = None
        for network, addresses in self.addresses.items():
            for name in addresses:
                if name not in hosts:
                    raise LabError(f'network "{network}": no host "{name}"')
        for name, spec in hosts.items():
            spec.name = name
            spec.takes_input = True
            spec.real_sleep = spec.real_sleep or len(hosts) > 1
            check_spec(spec)

    def __enter__(self):
        with self._stack as stack:
            self._directory = stack.enter_context(RunDirectory())
            self.networks = Networks(
                {name: list(addresses) for name, addresses
                 in self.addresses.items()}, self._seed)
            stack.callback(self.networks.close)
            stack.callback(self._close_hosts)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _close_hosts(self):
        for host in self.hosts.values():
            host.close()

    def _host(self, name):
        if name not in self.hosts:
            raise LabError(f'host "{name}" has not been booted'
                           if name in self.specs else f'no host "{name}"')
        return self.hosts[name]

    # Commands

    def boot(self, *names):
        """Boot the hosts named, or all that are not running."""
        for name in names or self.specs:
            if name not in self.specs:
                raise LabError(f'no host "{name}"')
            old = self.hosts.get(name)
            if old and old.running:
                if names:
                    raise LabError(f'host "{name}" runs already')
                continue
            self._boot(name, self.specs[name])

    def _boot(self, name, spec):
        spec.networks = [
            self.networks.attach(network, name, addresses[name])
            for network, addresses in self.addresses.items()
            if name in addresses]
        self.lines[name] = _Lines(name, self.sink)
        self.results.pop(name, None)
        self.accepted.discard(name)
        listener = self._listener(name) if self.verbose else None
        host = Host(spec, self.loop, self._directory / name,
                    self.lines[name].taker('out'),
                    self.lines[name].taker('err'), listener)
        self.hosts[name] = host
        host.start()

    @staticmethod
    def _listener(name):
        return lambda line: print(f'{name}: {line}', file=sys.stderr,
                                  flush=True)

    def wait(self, name, regex, timeout=120):
        """Wait for a line from the host; returns the match.

        Each call looks at the lines after the one that the last call found.
        """
        host, lines = self._host(name), self.lines[name]
        pattern = re.compile(regex)
        found = []

        def settled():
            match = lines.find(pattern)
            if match is None and not host.running:
                lines.finish()
                match = lines.find(pattern)
            if match:
                found.append(match)
            return match or not host.running

        if not self.loop.until(settled, timeout):
            raise LabError(f'host {name} did not print "{regex}" within '
                           f'{timeout:g} s{self._last_lines()}', DIED)
        if not found:
            raise self._ended(name, f'before it printed "{regex}"')
        return found[0]

    def skip(self, name):
        """What the host has printed is not to be found by wait() any more.

        Returns how many lines that were.
        """
        self._host(name)
        return self.lines[name].skip()

    def running(self, name):
        """Is the host up, or coming up?"""
        return name in self.hosts and self.hosts[name].running

    def _last_lines(self):
        """What all hosts have said last: one may wait for another."""
        return ''.join(f'\nlast lines of host {name}, and of its console:\n'
                       + '\n'.join([*self.lines[name].lines[-10:], '--',
                                    *host.console.last()])
                       for name, host in self.hosts.items())

    def _ended(self, name, what):
        """The error that a host ended too early."""
        status, why = self._host(name).result()
        return LabError(f'host {name} ended with status {status} {what}'
                        + ''.join(f'\n{line}' for line in
                                  why or self.lines[name].lines[-10:]),
                        status or DIED)

    def end(self, *names, timeout=None):
        """Wait for hosts (or all) to end; returns the last one's status."""
        names = names or tuple(self.hosts)
        for name in names:
            host = self._host(name)
            if not self.loop.until(lambda h=host: not h.running, timeout):
                raise LabError(f'host {name} did not end within '
                               f'{timeout:g} s', DIED)
        return [self.judge(name) for name in names][-1]

    def judge(self, name):
        """Exit status of a host that ended; says why when it is the lab's."""
        if name not in self.results:
            self.lines[name].finish()
            status, why = self._host(name).result()
            for line in why:
                say(f'{name}: {line}')
            if self.verbose:
                say(f'{name}: {self.hosts[name].timing()}')
            self.results[name] = status
        return self.results[name]

    def accept(self, name):
        """The end of this host, whatever its status, was wanted."""
        self.accepted.add(name)

    def kill(self, name):
        """Power failure: the host is gone when this returns."""
        host = self._host(name)
        host.kill()
        self.loop.until(lambda: not host.running)

    def stop(self, name):
        """End a host whose command would not end by itself."""
        host = self._host(name)
        host.stop()
        self.loop.until(lambda: not host.running)

    def write(self, name, line):
        """Give the host's command a line of standard input."""
        host = self._host(name)
        if not host.running:
            raise self._ended(name, f'before it was told "{line}"')
        host.write(line + '\n')

    def listen(self, path):
        """Take steps from "lab control" at the socket path."""
        server = self._stack.enter_context(control.Server(
            path, self.loop, self.do))
        return server

    def do(self, step):
        """Do one step given in words; returns its answer or None."""
        return Steps(self.specs, self.addresses).parse(step)(self)

    def pause(self, seconds):
        """Let time pass."""
        limit = time.monotonic() + seconds
        self.loop.until(lambda: time.monotonic() >= limit, seconds)
