# SPDX-License-Identifier: GPL-2.0
"""Topologies described in a TOML file, and the steps they go through."""

import pathlib
import tomllib

from . import paths
from .host import Spec
from .messages import USAGE, LabError, say
from .steps import Steps
from .topology import Topology, print_line

NUMBER = (int, float)

# Keys of a host that are fields of Spec, and those that are not.
HOST_KEYS = {'pmu': bool, 'real_sleep': bool, 'cpu': str,
             'smp': int, 'memory': int, 'timeout': NUMBER, 'append': str, 'kernel': str,
             'emulator': str, 'shares': list, 'allow': list}
OWN_KEYS = {'command': str, 'background': bool, 'start': bool,
            'networks': dict}
NETWORK_KEYS = {'delay_ms': NUMBER, 'jitter_ms': NUMBER, 'loss': NUMBER}
FILE_KEYS = {'defaults': dict, 'hosts': dict, 'networks': dict,
             'steps': list, 'seed': int}


def _check_keys(where, table, kinds):
    for key, value in table.items():
        if key not in kinds:
            raise LabError(f'{where}: unknown key "{key}" (known: '
                           f'{", ".join(kinds)})', USAGE)
        if not isinstance(value, kinds[key]):
            raise LabError(f'{where}: "{key}" cannot be {value!r}', USAGE)


def _read(path):
    try:
        return tomllib.loads(path.read_text('utf-8'))
    except OSError as error:
        raise LabError(f'{path}: {error.strerror}', USAGE) from None
    except ValueError as error:
        raise LabError(f'{path}: {error}', USAGE) from None


class Scenario:
    """A topology file, read and checked."""

    def __init__(self, path, words=()):
        self.path = pathlib.Path(path)
        text = _read(self.path)
        _check_keys(path, text, FILE_KEYS)
        defaults = text.get('defaults', {})
        _check_keys(f'{path}: defaults', defaults, HOST_KEYS)
        self.seed = text.get('seed', 0)
        self.hosts = {}
        self.addresses = {}
        self.background = set()
        self.later = set()
        for name, table in text.get('hosts', {}).items():
            self._add_host(name, table, defaults, words)
        if not self.hosts:
            raise LabError(f'{path}: no [hosts.NAME] in it', USAGE)
        self.shapes = {}
        for name, table in text.get('networks', {}).items():
            self._add_shape(name, table)
        steps = Steps(self.hosts, self.addresses)
        self.steps = [(step, steps.parse(step))
                      for step in text.get('steps', [])]

    def _add_host(self, name, table, defaults, words):
        where = f'{self.path}: hosts.{name}'
        _check_keys(where, table, HOST_KEYS | OWN_KEYS)
        if 'command' not in table:
            raise LabError(f'{where}: no command', USAGE)
        fields = {key: value for key, value in (defaults | table).items()
                  if key in HOST_KEYS}
        self.hosts[name] = Spec(
            command=['bash', '-c', table['command'], name, *words],
            environment={'LAB_GUEST': str(paths.LAB / 'guest'),
                         'TOPOLOGY': str(self.path.resolve().parent)},
            **fields)
        if table.get('background'):
            self.background.add(name)
        if not table.get('start', True):
            self.later.add(name)
        for network, address in table.get('networks', {}).items():
            self.addresses.setdefault(network, {})[name] = address

    def _add_shape(self, name, table):
        where = f'{self.path}: networks.{name}'
        if name not in self.addresses:
            raise LabError(f'{where}: no host is on it', USAGE)
        _check_keys(where, table, NETWORK_KEYS)
        self.shapes[name] = {
            key.removesuffix('_ms'): value / (1000 if key.endswith('_ms')
                                              else 1)
            for key, value in table.items()}

    def run(self, verbose=False, control=None, sink=print_line):
        """Boot, go through the steps, wait for the end; exit status."""
        with Topology(self.hosts, self.addresses, self.seed, sink,
                      verbose) as topology:
            if control:
                topology.listen(control)
            for name, shape in self.shapes.items():
                topology.networks.shape(name, **shape)
            topology.boot(*(name for name in self.hosts
                            if name not in self.later))
            for step, action in self.steps:
                if verbose:
                    say(f'step: {step}')
                try:
                    answer = action(topology)
                except LabError as error:
                    raise LabError(f'step "{step}": {error}',
                                   error.status) from None
                if answer:
                    print_line(answer)
            return self._finish(topology)

    def _finish(self, topology):
        """Wait for all that is not in the background; first bad status."""
        statuses = []
        front = [n for n in self.hosts if n not in self.background]
        for name in front:
            if name in topology.hosts and name not in topology.accepted:
                statuses.append(topology.end(name))
        for name in self.background:
            if name in topology.hosts and name not in topology.accepted:
                topology.stop(name)
                statuses.append(topology.judge(name))
        return next((status for status in statuses if status), 0)
