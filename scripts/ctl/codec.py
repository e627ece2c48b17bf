# SPDX-License-Identifier: GPL-2.0
"""Log entries, from Documentation/log-format.rst alone.

The module's own decoder is kvmft/entry.c; selftests/fuzz/run compares the two.
"""

import dataclasses
import struct

MASK32 = (1 << 32) - 1
MASK64 = (1 << 64) - 1

DATA_MAX = 4096
BATCH_MAX = 16
SOURCES = 64                # KVMFT_SOURCES
MSI_BASE = 0xfee00000
CHECK_SIZE = 2

START, PAGE, TSC, READ, WRITE, MSR, BOUNDARY, DIGEST, RESET, END = range(1, 11)
TYPE_NAMES = {
    START: 'start', PAGE: 'page', TSC: 'tsc', READ: 'read', WRITE: 'write', MSR: 'msr',
    BOUNDARY: 'boundary', DIGEST: 'digest', RESET: 'reset', END: 'end'}

# Nothing of the machine's state is in the check of these
STATELESS = (START, PAGE, END)

PORT, MEMORY = range(2)
AT_EXIT, AT_HALT, AT_POSITION = range(3)
TIMER, LINE, MESSAGE, NMI, LINT0, BYTES, REINJECT, TIMER_KEPT = 0, 1, 2, 3, 4, 6, 7, 8


class Malformed(Exception):
    """These bytes are no entry; says why."""


def _crc_table():
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
        table.append(crc)
    return table


_CRC_TABLE = _crc_table()


def crc32c(data, crc=0):
    """CRC-32C of bytes that follow others whose CRC-32C is known."""
    crc ^= MASK32
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xff]
    return crc ^ MASK32


def check_of(payload, state=0):
    """The check of an entry whose bytes have that CRC-32C."""
    mixed = (payload + state * 0x9e3779b1) & MASK32
    mixed ^= mixed >> 16
    mixed = mixed * 0x85ebca6b & MASK32
    mixed ^= mixed >> 13
    mixed = mixed * 0xc2b2ae35 & MASK32
    return (mixed ^ mixed >> 16) & 0xffff


@dataclasses.dataclass
class Input:
    """One input of a boundary; fields that its type does not have are 0."""
    type: int
    level: int = 0
    source: int = 0
    gsi: int = 0
    data: int = 0
    addr: int = 0
    bytes: bytes = b''


@dataclasses.dataclass
class Entry:
    """One entry; fields that its type does not have are 0 or empty.

    offset: of its first byte, from the start of what it was read from; size: in
    bytes, its check included.
    """
    seq: int
    offset: int
    type: int = 0
    size: int = 0
    space: int = 0
    at: int = 0
    more: bool = False
    check: int = 0
    addr: int = 0
    value: int = 0
    memory: int = 0
    exits: int = 0
    cond: int = 0
    taken: int = 0
    rip: int = 0
    data: bytes = b''
    inputs: list = dataclasses.field(default_factory=list)

    @property
    def name(self):
        """What the type is called."""
        return TYPE_NAMES[self.type]


class _Bytes:
    """Bytes to take numbers from."""

    def __init__(self, data, at):
        self.data = data
        self.at = at

    def take(self, size):
        """The next bytes."""
        if len(self.data) - self.at < size:
            raise Malformed('it is cut off')
        self.at += size
        return self.data[self.at - size:self.at]

    def byte(self):
        """The next byte."""
        return self.take(1)[0]

    def le64(self):
        """The next 8 bytes."""
        return struct.unpack('<Q', self.take(8))[0]

    def number(self, limit, what):
        """A number in groups of 7 bits, from the low end."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7f) << shift
            if value > limit:
                raise Malformed(f'{what} is out of range')
            if not byte & 0x80:
                break
            shift += 7
            if shift > 63:
                raise Malformed(f'{what} is too long')
        if shift and not byte:
            raise Malformed(f'{what} is not in its shortest form')
        return value


class Decoder:
    """Entries in their order; remembers what the next ones are told by."""

    def __init__(self):
        self.seq = 1
        self._tsc = self._exits = self._cond = self._taken = self._rip = 0

    def decode(self, data, at=0, base=0):
        """The entry at data[at]; base is the offset of data in what it was read from."""
        source = _Bytes(data, at)
        entry = Entry(self.seq, base + at)
        first = source.byte()
        if first & 1:
            self._tsc_entry(entry, source, first)
        elif first & 3 == 2:
            self._boundary(entry, source, first)
        elif first & 7 == 4:
            self._access(entry, source, first)
        else:
            self._other(entry, source, first >> 3)
        payload = crc32c(data[at:source.at])
        entry.check = int.from_bytes(source.take(CHECK_SIZE), 'little')
        if entry.type in STATELESS and entry.check != check_of(payload):
            raise Malformed('its check does not match')
        entry.size = source.at - at
        self._remember(entry)
        return entry

    def _remember(self, entry):
        self.seq += 1
        if entry.type == TSC:
            self._tsc = entry.value
        elif entry.type == BOUNDARY and entry.at == AT_POSITION:
            self._cond, self._taken, self._rip = entry.cond, entry.taken, entry.rip
        elif entry.type == BOUNDARY:
            self._exits = entry.exits

    def _tsc_entry(self, entry, source, first):
        entry.type = TSC
        difference = first >> 1 & 0x3f
        if first & 0x80:
            rest = source.number(MASK64 >> 6, 'the TSC')
            if not rest:
                raise Malformed('the TSC is not in its shortest form')
            difference |= rest << 6
        entry.value = self._tsc + difference & MASK64

    def _boundary(self, entry, source, first):
        entry.type = BOUNDARY
        entry.at = first >> 2 & 3
        entry.more = bool(first & 0x10)
        if entry.at > AT_POSITION:
            raise Malformed('an unknown kind of boundary')
        count = first >> 5
        if count == 7:
            count += source.number(BATCH_MAX - 7, 'the number of inputs')
        if entry.at == AT_POSITION:
            entry.cond = self._cond + source.number(MASK64, 'the position') & MASK64
            entry.taken = self._taken + source.number(MASK64, 'the position') & MASK64
            rip = source.number(MASK64, 'RIP')
            entry.rip = self._rip + (rip >> 1 ^ -(rip & 1)) & MASK64
        else:
            entry.exits = self._exits + source.number(MASK64, 'the number of exits') & MASK64
        entry.inputs = [self._input(source, count) for _ in range(count)]

    @staticmethod
    def _input(source, count):
        first = source.byte()
        found = Input(LINE if first & 3 == LINE else first)
        if found.type not in (TIMER, LINE, MESSAGE, NMI, LINT0, BYTES, REINJECT, TIMER_KEPT):
            raise Malformed('an unknown kind of input')
        if found.type == BYTES and count > 1:
            raise Malformed('bytes for memory are not alone')
        if found.type == LINE:
            found.level = first >> 2 & 1
            found.gsi = first >> 3
            if found.gsi == 31:
                found.gsi += source.number(MASK32 - 31, 'the line')
            found.source = source.number(SOURCES - 1, 'the source of the line')
        elif found.type == MESSAGE:
            found.addr = source.number(MASK64, 'the address of the message') ^ MSI_BASE
            found.data = source.number(MASK32, 'the data of the message')
        elif found.type == BYTES:
            found.addr = source.number(MASK64, 'the address of the bytes')
            size = source.number(DATA_MAX, 'the number of bytes')
            if not size:
                raise Malformed('no bytes for memory')
            found.bytes = bytes(source.take(size))
        return found

    @staticmethod
    def _access(entry, source, first):
        entry.type = WRITE if first & 8 else READ
        entry.space = MEMORY if first & 0x10 else PORT
        code = first >> 5
        if code > 4:
            raise Malformed('an unknown length of data')
        size = 1 << code
        if code == 4:
            size = source.number(DATA_MAX, 'the length of the data')
            if size in (0, 1, 2, 4, 8):
                raise Malformed('the length of the data is not in its shortest form')
        entry.addr = source.number(MASK64 if entry.space else 0xffff, 'the address')
        entry.data = bytes(source.take(size))

    @staticmethod
    def _other(entry, source, kind):
        entry.type = kind
        if kind == START:
            entry.data = bytes(source.take(source.number(DATA_MAX, 'the length')))
        elif kind == PAGE:
            entry.addr = source.number(MASK64 >> 12, 'the address') << 12
            entry.value = source.le64()
        elif kind == MSR:
            entry.addr = source.number(MASK32, 'the number of the MSR')
            entry.value = source.number(MASK64, 'the value')
        elif kind in (DIGEST, RESET):
            flags = source.byte()
            if flags > 1:
                raise Malformed('an unknown flag')
            entry.value = source.le64()
            if flags:
                entry.memory = source.le64()
                if not entry.memory:
                    raise Malformed('the digest of memory is not in its shortest form')
        elif kind == END:
            entry.value = source.number(MASK32, 'the reason')
        else:
            raise Malformed(f'there is no type {kind}')
