# SPDX-License-Identifier: GPL-2.0
"""The wire: a process that carries frames between hosts, and harms them.

A network is a hub.  Each host has a port on it, a datagram socket that its
emulator sends and receives frames through.  What happens to frames is set
per port: "from" the host and "to" it can be cut, and frames from it can be
delayed, jittered (without changing their order) and lost.  Frames can be
captured: those "from" a host as they come from it, those "to" one when its
emulator has taken them, in the order in which that happens on all networks.

The lab commands it over a sequenced-packet socket: a packet is a JSON object,
with the port's descriptor beside it for "attach"; each is answered when it
has taken effect.
"""

import array
import collections
import dataclasses
import errno
import heapq
import itertools
import json
import random
import selectors
import socket
import struct
import sys
import time

FRAME_MAX = 65536 + 64
BACKLOG_MAX = 2000


@dataclasses.dataclass
class Shape:
    """What befalls the frames a host sends."""

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0


class Capture:
    """A pcapng file, with an interface for each port and direction.

    https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-02.html
    """

    SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
    ETHERNET, IF_NAME, BYTE_ORDER = 1, 2, 0x1A2B3C4D

    def __init__(self, path):
        self.file = open(path, 'wb')
        self.interfaces = {}
        self._block(self.SECTION, struct.pack('=IHHq', self.BYTE_ORDER,
                                              1, 0, -1))

    def _block(self, kind, body):
        length = 12 + len(body)
        self.file.write(struct.pack('=II', kind, length) + body
                        + struct.pack('=I', length))
        # A reader may follow
        self.file.flush()

    def add(self, name):
        """An interface for what is captured there."""
        text = name.encode()
        self.interfaces[name] = len(self.interfaces)
        self._block(self.INTERFACE,
                    struct.pack('=HHI', self.ETHERNET, 0, FRAME_MAX)
                    + struct.pack('=HH', self.IF_NAME, len(text))
                    + text + bytes(-len(text) % 4) + bytes(4))

    def put(self, name, frame):
        """A frame, now."""
        micros = time.time_ns() // 1000
        self._block(self.PACKET,
                    struct.pack('=IIIII', self.interfaces[name],
                                micros >> 32, micros & 0xFFFFFFFF,
                                len(frame), len(frame))
                    + frame + bytes(-len(frame) % 4))


class Port:
    """A host's end of a network."""

    def __init__(self, network, name, seed):
        self.network = network
        self.name = name
        self.socket = None
        self.cut = set()
        self.shape = Shape()
        self.random = random.Random(f'{seed}/{network.name}/{name}')
        self.latest = 0.0
        self.backlog = collections.deque()
        self.captured = set()
        self.counters = dict.fromkeys(
            ('received', 'cut', 'lost', 'sent', 'dropped'), 0)


class Network:
    """A hub and its ports."""

    def __init__(self, name):
        self.name = name
        self.ports = {}


class Wire:
    """All networks of a topology."""

    def __init__(self, control):
        self.control = control
        self.selector = selectors.DefaultSelector()
        self.networks = {}
        self.flying = []
        self.capture = None
        self.order = itertools.count()

    def run(self):
        """Carry frames until the lab is gone."""
        self.selector.register(self.control, selectors.EVENT_READ, None)
        while True:
            wait = None
            if self.flying:
                wait = max(0, self.flying[0][0] - time.monotonic())
            for key, events in self.selector.select(wait):
                if key.data is None:
                    if not self._command():
                        return
                elif key.data.socket is not None:
                    if events & selectors.EVENT_WRITE:
                        self._drain(key.data)
                    if events & selectors.EVENT_READ:
                        self._receive(key.data)
            now = time.monotonic()
            while self.flying and self.flying[0][0] <= now:
                _, _, port, frame = heapq.heappop(self.flying)
                self._deliver(port, frame)

    # Frames

    def _receive(self, port):
        for _ in range(64):
            try:
                frame = port.socket.recv(FRAME_MAX)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.ECONNRESET, errno.ECONNREFUSED):
                    self._detach(port)
                    return
                raise
            if not frame:
                # Datagram sockets say so when the emulator is gone.
                self._detach(port)
                return
            port.counters['received'] += 1
            self._keep(port, 'from', frame)
            self._accept(port, frame)

    def _keep(self, port, direction, frame):
        if direction in port.captured:
            self.capture.put(f'{port.network.name} {direction} {port.name}',
                             frame)

    def _accept(self, port, frame):
        if 'from' in port.cut:
            port.counters['cut'] += 1
            return
        shape = port.shape
        if shape.loss and port.random.random() < shape.loss:
            port.counters['lost'] += 1
            return
        if not shape.delay and not shape.jitter:
            if port.latest <= time.monotonic():
                self._deliver(port, frame)
                return
        late = shape.delay + shape.jitter * port.random.uniform(-1, 1)
        port.latest = max(port.latest, time.monotonic() + late)
        heapq.heappush(self.flying,
                       (port.latest, next(self.order), port, frame))

    def _deliver(self, source, frame):
        # A cut takes the frames along that are on their way.
        if 'from' in source.cut:
            source.counters['cut'] += 1
            return
        for port in source.network.ports.values():
            if port is source or port.socket is None:
                continue
            if 'to' in port.cut:
                port.counters['cut'] += 1
            elif port.backlog or not self._send(port, frame):
                self._queue(port, frame)

    def _send(self, port, frame):
        """False if the emulator does not take any more at the moment."""
        try:
            port.socket.send(frame)
            port.counters['sent'] += 1
            self._keep(port, 'to', frame)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return False
            self._detach(port)
        return True

    def _queue(self, port, frame):
        if port.socket is None:
            return
        if len(port.backlog) >= BACKLOG_MAX:
            port.counters['dropped'] += 1
            return
        port.backlog.append(frame)
        self.selector.modify(port.socket, selectors.EVENT_READ |
                             selectors.EVENT_WRITE, port)

    def _drain(self, port):
        while port.backlog and self._send(port, port.backlog[0]):
            if port.socket is None:
                return
            port.backlog.popleft()
        if not port.backlog:
            self.selector.modify(port.socket, selectors.EVENT_READ, port)

    def _detach(self, port):
        self.selector.unregister(port.socket)
        port.socket.close()
        port.socket = None
        port.backlog.clear()

    # Commands

    def _command(self):
        ancillary = socket.CMSG_SPACE(array.array('i').itemsize)
        packet, extra, _, _ = self.control.recvmsg(65536, ancillary)
        if not packet:
            return False
        descriptors = array.array('i')
        for level, kind, data in extra:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data)
        request = json.loads(packet)
        action = getattr(self, f'do_{request.pop("do")}')
        answer = action(*descriptors, **request)
        self.control.send(json.dumps(answer).encode())
        return True

    def do_declare(self, network, ports, seed):
        """Make a network."""
        hub = self.networks[network] = Network(network)
        hub.ports = {name: Port(hub, name, seed) for name in ports}
        return {}

    def do_attach(self, descriptor, network, port):
        """Give a host's port its socket; cuts and shape stay."""
        entry = self.networks[network].ports[port]
        if entry.socket is not None:
            self._detach(entry)
        entry.socket = socket.socket(fileno=descriptor)
        entry.socket.setblocking(False)
        self.selector.register(entry.socket, selectors.EVENT_READ, entry)
        return {}

    def do_cut(self, network, port, direction, on):
        """Cut or mend what goes "from" or "to" a port."""
        cut = self.networks[network].ports[port].cut
        if on:
            cut.add(direction)
        else:
            cut.discard(direction)
        return {}

    def do_shape(self, network, port, **values):
        """Set delay, jitter (seconds) and loss (0 to 1) from a port."""
        entry = self.networks[network].ports[port]
        entry.shape = dataclasses.replace(entry.shape, **values)
        return {}

    def do_capture(self, path, ports):
        """Keep frames in a new file: [network, "from" or "to", port]."""
        self.capture = Capture(path)
        for network, direction, port in ports:
            entry = self.networks[network].ports[port]
            entry.captured.add(direction)
            self.capture.add(f'{network} {direction} {port}')
        return {}

    def do_counters(self, network):
        """Frames by port and fate."""
        return {name: port.counters for name, port
                in self.networks[network].ports.items()}


def main():
    """Run on the control socket whose descriptor is the argument."""
    Wire(socket.socket(fileno=int(sys.argv[1]))).run()
