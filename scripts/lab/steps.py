# SPDX-License-Identifier: GPL-2.0
"""What can be done to a running topology, in words.

    boot HOST...                        (again, if it ended)
    wait HOST REGEX [SECONDS]           a line of its output, 120 s
    write HOST TEXT                     a line to its command's input
    end HOST [STATUS [SECONDS]]         it ends with that status (0)
    kill HOST                           power failure
    stop HOST                           end it, which is no failure
    cut NETWORK [from|to HOST]
    restore NETWORK [from|to HOST]
    shape NETWORK [from HOST] [delay=MS] [jitter=MS] [loss=FRACTION]
    counters NETWORK                    print what became of the frames
    pause SECONDS

The same words stand in a topology file's "steps" and are taken by "lab
control" while the topology runs.
"""

import re
import shlex

from .messages import USAGE, LabError


class StepError(LabError):
    """A step that cannot be understood."""

    def __init__(self, step, what):
        super().__init__(f'"{step}": {what}', USAGE)


class Steps:
    """Parses steps for the hosts and networks there are."""

    def __init__(self, hosts, networks):
        """hosts: names; networks: names of its hosts by network's name."""
        self.hosts = hosts
        self.networks = networks

    def parse(self, step):
        """Function of a Topology that does the step, returning an answer."""
        try:
            verb, *words = shlex.split(step)
            parse = getattr(self, f'_parse_{verb}')
        except (ValueError, TypeError, AttributeError):
            raise StepError(step, 'no such step') from None
        try:
            return parse(*words)
        except (TypeError, ValueError, re.error) as error:
            raise StepError(step, f'bad words ({error})') from None

    def _host(self, name):
        if name not in self.hosts:
            raise ValueError(f'no host {name}')
        return name

    def _network(self, name):
        if name not in self.networks:
            raise ValueError(f'no network {name}')
        return name

    def _port(self, network, name):
        if name not in self.networks[network]:
            raise ValueError(f'{name} is not on {network}')
        return name

    def _parse_boot(self, first, *more):
        names = [self._host(name) for name in (first, *more)]
        return lambda topology: topology.boot(*names)

    def _parse_wait(self, host, regex, seconds='120'):
        self._host(host)
        re.compile(regex)
        limit = float(seconds)

        def step(topology):
            topology.wait(host, regex, limit)
        return step

    def _parse_write(self, host, text):
        self._host(host)
        return lambda topology: topology.write(host, text)

    def _parse_end(self, host, status='0', seconds=None):
        self._host(host)
        wanted = int(status)
        limit = None if seconds is None else float(seconds)

        def step(topology):
            found = topology.end(host, timeout=limit)
            if found != wanted:
                raise LabError(f'host {host} ended with status {found}, '
                               f'not {wanted}', found or 1)
            topology.accept(host)
        return step

    def _parse_kill(self, host):
        self._host(host)

        def step(topology):
            topology.kill(host)
            topology.accept(host)
        return step

    def _parse_stop(self, host):
        self._host(host)
        return lambda topology: topology.stop(host)

    def _parse_cut(self, network, *where, on=True):
        self._network(network)
        way = host = None
        if where:
            way, host = where
            if way not in ('from', 'to'):
                raise ValueError(f'{way} is neither from nor to')
            self._port(network, host)
        return lambda topology: topology.networks.cut(network, way, host, on)

    def _parse_restore(self, network, *where):
        return self._parse_cut(network, *where, on=False)

    def _parse_shape(self, network, *words):
        self._network(network)
        host = None
        if words and words[0] == 'from':
            host = self._port(network, words[1] if words[1:] else None)
            words = words[2:]
        if not words:
            raise ValueError('nothing to set')
        shape = {}
        for word in words:
            name, _, value = word.partition('=')
            if name not in ('delay', 'jitter', 'loss'):
                raise ValueError(f'{name} cannot be set')
            shape[name] = float(value) / (1 if name == 'loss' else 1000)
        return lambda topology: topology.networks.shape(network, host,
                                                        **shape)

    def _parse_counters(self, network):
        self._network(network)

        def step(topology):
            return '\n'.join(
                f'{network} {port} ' + ' '.join(
                    f'{name}={count}' for name, count in counters.items())
                for port, counters
                in topology.networks.counters(network).items())
        return step

    def _parse_pause(self, seconds):
        limit = float(seconds)
        return lambda topology: topology.pause(limit)
