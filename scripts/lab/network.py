# SPDX-License-Identifier: GPL-2.0
"""The lab's side of the wire: networks between hosts."""

import array
import json
import socket
import sys
import zlib

from . import paths, process
from .host import Link
from .messages import LabError

# Room for frames on their way between an emulator and the wire.
SOCKET_BUFFER = 1 << 20


class Networks:
    """The networks of a topology, carried by one wire process."""

    def __init__(self, networks, seed=0):
        """networks: for each name the list of its hosts."""
        self.hosts = networks
        self.control, far = socket.socketpair(socket.AF_UNIX,
                                              socket.SOCK_SEQPACKET)
        self.control.settimeout(10)
        program = ('import sys; sys.path.insert(0, sys.argv.pop(1)); '
                   'from lab.wire import main; main()')
        with far:
            self.child = process.spawn(
                [sys.executable, '-c', program, str(paths.SCRIPTS),
                 str(far.fileno())], pass_fds=[far.fileno()])
        for name, ports in networks.items():
            self._ask(do='declare', network=name, ports=ports, seed=seed)

    def close(self):
        """End the wire."""
        self.control.close()
        process.end(self.child)

    def _ask(self, descriptor=None, **request):
        extra = []
        if descriptor is not None:
            extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                      array.array('i', [descriptor]))]
        try:
            self.control.sendmsg([json.dumps(request).encode()], extra)
            answer = self.control.recv(65536)
        except OSError as error:
            raise LabError(f'the wire does not answer: {error}') from None
        if not answer:
            raise LabError('the wire process died')
        return json.loads(answer)

    def attach(self, network, host, address):
        """Put host on network; returns the Link for its emulator."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        with ours:
            self._ask(ours.fileno(), do='attach', network=network, port=host)
        number = zlib.crc32(f'{network}/{host}'.encode())
        mac = '52:54:' + ':'.join(f'{byte:02x}' for byte
                                  in number.to_bytes(4, 'big'))
        return Link(theirs, mac, address)

    def _ports(self, network, host):
        if network not in self.hosts:
            raise LabError(f'no network "{network}"')
        if host is None:
            return self.hosts[network]
        if host not in self.hosts[network]:
            raise LabError(f'network "{network}" has no host "{host}"')
        return [host]

    def cut(self, network, direction=None, host=None, on=True):
        """Cut a network, or only what goes "from" or "to" one host."""
        for port in self._ports(network, host):
            for way in [direction] if direction else ['from', 'to']:
                self._ask(do='cut', network=network, port=port,
                          direction=way, on=on)

    def restore(self, network, direction=None, host=None):
        """Undo cut()."""
        self.cut(network, direction, host, on=False)

    def shape(self, network, host=None, **values):
        """Set delay and jitter in seconds and loss as a fraction.

        They befall the frames that each host, or the one named, sends.
        """
        for name, value in values.items():
            if name not in ('delay', 'jitter', 'loss'):
                raise LabError(f'a network has no "{name}" to set')
            if value < 0 or name == 'loss' and value > 1:
                raise LabError(f'{name} of {value:g} makes no sense')
        for port in self._ports(network, host):
            self._ask(do='shape', network=network, port=port, **values)

    def capture(self, path, *ports):
        """Keep frames in a pcapng file: ports are "NETWORK from|to HOST"."""
        self._ask(do='capture', path=str(path),
                  ports=[port.split() for port in ports])

    def counters(self, network):
        """Frames by host and fate."""
        self._ports(network, None)
        return self._ask(do='counters', network=network)
