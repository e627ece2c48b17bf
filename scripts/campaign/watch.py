# SPDX-License-Identifier: GPL-2.0
"""The output rule, seen from outside: what passed the networks, in which order.

The wire captures two things of the primary's host in one file: the frames that come out of it for the guest, and those
that bring it the backup's acknowledgements.  The kernel's trace says which packet of the guest's was explained by how
many bytes of the log.  Neither what the module thinks it was told nor any clock is believed:

* No frame of the guest's comes out before an acknowledgement of all that explains it has gone in.
* No frame comes out of the backup's host for a guest that was not live there, and none out of the primary's behind one
  that did.
"""

import dataclasses
import re
import struct

GUEST = bytes.fromhex('5254006b7660')       # of the first guest, as scripts/lab/guest/trio-side makes it
PORTS = ('lan from a', 'lan from b', 'ab to a')
CHANNEL = 7788                              # the backup's TCP port

# Documentation/wire-format.rst
WIRE = struct.Struct('<4sHHIIQ')
WIRE_MAGIC, HELLO, MARK, MESSAGE_MAX = b'kvmW', 1, 3, 1 << 21
# Before each packet: struct virtio_net_hdr_mrg_rxbuf of the virtio specification
VIRTIO_HEADER = 12
UNEXPLAINED = 1 << 64
# A packet that the host cuts up: the first frame is no shorter
CUT_MIN = 1000

IPV4, RARP, TCP, SYN = 0x0800, 0x8035, 6, 2
TRACE = re.compile(r'^trace: kvmft_(?:packet: session (?P<id>\d+) sent, (?P<len>\d+) bytes, at (?P<at>\d+) '
                   r'|session: session \d+ (?P<state>\w+))')


def read_frames(data, offset=0):
    """(Interface's name, frame) for each whole packet of a pcapng file behind offset, and where the last ends."""
    names, found, at = [], [], 0
    while at + 12 <= len(data):
        kind, length = struct.unpack_from('=II', data, at)
        if at + length > len(data):
            break
        if kind == 1:
            size = struct.unpack_from('=H', data, at + 18)[0]
            names.append(data[at + 20:at + 20 + size].decode())
        elif kind == 6 and at >= offset:
            interface, _, _, size = struct.unpack_from('=IIII', data, at + 8)
            found.append((names[interface], data[at + 28:at + 28 + size]))
        at += length
    return found, at


@dataclasses.dataclass
class Segment:
    """What of a frame TCP is interested in."""

    ports: tuple
    sequence: int
    syn: bool
    payload: bytes
    header: int         # bytes before the payload


def segment(frame):
    """The frame's TCP segment, or None."""
    if len(frame) < 54 or struct.unpack_from('!H', frame, 12)[0] != IPV4 or frame[23] != TCP:
        return None
    ip_header = 4 * (frame[14] & 15)
    total = struct.unpack_from('!H', frame, 16)[0]
    tcp = 14 + ip_header
    source, target, sequence = struct.unpack_from('!HHI', frame, tcp)
    header = tcp + 4 * (frame[tcp + 12] >> 4)
    return Segment((source, target), sequence, bool(frame[tcp + 13] & SYN), frame[header:14 + total], header)


class Stream:
    """What one end of a TCP connection has received in order, and the MARKs in that."""

    def __init__(self, sequence):
        self.next = sequence
        self.waiting = {}
        self.bytes = b''
        self.greeted = False
        self.acked = 0

    def take(self, part):
        """One more segment."""
        self.waiting[part.sequence] = max(part.payload, self.waiting.get(part.sequence, b''), key=len)
        while found := [number for number in self.waiting if (self.next - number) % (1 << 32) < 1 << 31]:
            for number in found:
                fresh = self.waiting.pop(number)[(self.next - number) % (1 << 32):]
                self.next = (self.next + len(fresh)) % (1 << 32)
                self.bytes += fresh
        self._parse()

    def _parse(self):
        if not self.greeted:
            # Before it are kvmftctl's words
            at = self.bytes.find(struct.pack('<4sH', WIRE_MAGIC, HELLO))
            if at < 0:
                return
            self.bytes, self.greeted = self.bytes[at:], True
        while len(self.bytes) >= WIRE.size:
            magic, kind, _, length, _, _ = WIRE.unpack_from(self.bytes)
            if magic != WIRE_MAGIC or length > MESSAGE_MAX:
                self.bytes = b''
                return
            if len(self.bytes) < WIRE.size + length:
                return
            if kind == MARK:
                self.acked = max(self.acked, struct.unpack_from('<Q', self.bytes, WIRE.size)[0])
            self.bytes = self.bytes[WIRE.size + length:]


@dataclasses.dataclass
class Packet:
    """As the trace has it; live: nobody had to acknowledge it any more."""

    at: int
    size: int
    live: bool


def packets(lines):
    """What the guest sent through this host, by its trace."""
    found, live = [], False
    for line in lines:
        match = TRACE.match(line)
        if match and match['state']:
            live = live or match['state'] == 'live'
        elif match:
            # Of no session: nobody protects that guest, so it has to be live
            at = int(match['at']) if match['id'] != '0' else UNEXPLAINED
            found.append(Packet(at, int(match['len']) - VIRTIO_HEADER, live))
    return found


class Watch:
    """A round's frames and traces, compared; problems is what does not agree."""

    def __init__(self, frames, lines, live=()):
        """frames: of read_frames(); lines: what host a has said; live: the sides that were, by what they said."""
        self.packets = packets(lines)
        self.live = live
        self.streams = {}
        self.acked = 0
        self.left = 0           # frames out of the primary's host
        self.left_live = 0      # when it was live
        self.unknown = 0        # behind the end of the trace
        self.skipped = 0        # packets that did not come out: the host itself has dropped them
        self.problems = []
        self.rest = 0           # of a packet that the host has cut up
        self.others = 0         # frames out of the backup's host
        for name, frame in frames:
            if name == 'ab to a':
                self._acknowledge(frame)
            elif frame[6:12] == GUEST:
                getattr(self, f'_out_of_{name[-1]}')(frame)

    def _acknowledge(self, frame):
        part = segment(frame)
        if not part or part.ports[0] != CHANNEL:
            return
        if part.syn:
            self.streams[part.ports] = Stream((part.sequence + 1) % (1 << 32))
        elif part.ports in self.streams:
            self.streams[part.ports].take(part)
            self.acked = max(self.acked, self.streams[part.ports].acked)

    def _out_of_b(self, _frame):
        self.others += 1
        if self.others == 1 and 'b' not in self.live:
            self.problems.append('the guest sends through b, which was never live')

    def _out_of_a(self, frame):
        if self.others:
            self.problems.append('THE GUEST SENDS THROUGH a AFTER IT DID THROUGH b')
        if struct.unpack_from('!H', frame, 12)[0] == RARP:
            return
        self.left += 1
        part = segment(frame)
        payload = len(part.payload) if part else 0
        if 0 < payload <= self.rest:
            self.rest -= payload
            return
        self.rest = 0
        # The first that can be it: of the bytes that explain them, the fewest
        for number, packet in enumerate(self.packets):
            if packet.size == len(frame) or payload and packet.size > len(frame) >= CUT_MIN:
                break
        else:
            self.unknown += 1
            return
        self.skipped += number
        self.packets = self.packets[number + 1:]
        self.rest = packet.size - len(frame)
        if packet.live:
            self.left_live += 1
        elif packet.at > self.acked:
            self.problems.append(f'a frame of {len(frame)} bytes left when {self.acked} bytes of the log were '
                                 f'acknowledged, and {packet.at} explain it')

    def check_complete(self):
        """Every frame was in the trace: so it is unless the host died."""
        if self.unknown:
            self.problems.append(f'{self.unknown} frames of the guest\'s are not in the trace')

    @property
    def words(self):
        """What was looked at."""
        return (f'{self.left} frames out of a, {self.left_live} of them when it was live, {self.others} out of b; '
                f'{self.acked} bytes acknowledged')
