# SPDX-License-Identifier: GPL-2.0
"""Log files as Documentation/log-format.rst has them: reading, listing, counting."""

import collections
import os
import struct

from . import codec, uapi

VERSION = 1
FILE_HEADER = struct.Struct('<8sIIII')          # magic, version, size, CRC, reserved
FILE_MAGIC = b'kvmftlog'
BLOCK_HEADER = struct.Struct('<IIQII')          # magic, length, seq, number, CRC
BLOCK_MAGIC = 0x626b466b
BLOCK_MAX = 1 << 20

AT_NAMES = ('exit', 'halt', 'position')


class LogError(Exception):
    """This file is no log, or damaged; says where.

    seq: of the entry that can not be read, 0 if it is the file's header; offset: in
    the file.
    """

    def __init__(self, seq, offset, reason):
        where = f'entry {seq} at offset {offset}' if seq else f'offset {offset}'
        super().__init__(f'{where}: {reason}')
        self.seq = seq
        self.offset = offset


def _read_file_header(file):
    header = file.read(FILE_HEADER.size)
    if len(header) < FILE_HEADER.size or not header.startswith(FILE_MAGIC):
        raise LogError(0, 0, 'this is no log of kvmft')
    _magic, version, size, crc, reserved = FILE_HEADER.unpack(header)
    if crc != codec.crc32c(header[:16] + bytes(4) + header[20:]):
        raise LogError(0, 0, 'the header of the file is damaged')
    if version != VERSION:
        raise LogError(0, 0, f'a log of version {version}; this reads version {VERSION}')
    if size != FILE_HEADER.size or reserved:
        raise LogError(0, 0, 'the header of the file is malformed')


def _read_block(file, seq, offset):
    """The entries of the block at that offset and their number; None at the file's end."""
    header = file.read(BLOCK_HEADER.size)
    if not header:
        return None
    if len(header) < BLOCK_HEADER.size:
        raise LogError(seq, offset, 'the file ends in the header of a block')
    magic, size, first, count, crc = BLOCK_HEADER.unpack(header)
    if magic != BLOCK_MAGIC:
        raise LogError(seq, offset, 'no block begins here')
    if not 1 <= size <= BLOCK_MAX or not 1 <= count <= size:
        raise LogError(seq, offset, 'the header of a block is damaged')
    data = file.read(size)
    if len(data) < size:
        raise LogError(seq, offset, f'the file ends {size - len(data)} bytes before its block does')
    if crc != codec.crc32c(data, codec.crc32c(header[:20] + bytes(4))):
        raise LogError(seq, offset, 'a block is damaged: its checksum does not match')
    if first != seq:
        raise LogError(seq, offset, f'this block begins with entry {first}')
    return data, count


def _check_order(entry, last):
    """START is the first and nowhere else, and END the last."""
    if last and last.type == codec.END:
        raise LogError(entry.seq, entry.offset, 'it follows the end of the log')
    if (entry.type == codec.START) != (last is None):
        what = 'the log starts again' if last else 'the log begins with another than start'
        raise LogError(entry.seq, entry.offset, what)


def entries(path):
    """The entries of a log, in their order, until its end or a LogError."""
    with open(path, 'rb') as file:
        _read_file_header(file)
        decoder = codec.Decoder()
        last = None
        while True:
            offset = file.tell()
            block = _read_block(file, decoder.seq, offset)
            if not block:
                return
            data, count = block
            at = 0
            base = offset + BLOCK_HEADER.size
            for _ in range(count):
                try:
                    entry = decoder.decode(data, at, base)
                except codec.Malformed as error:
                    raise LogError(decoder.seq, base + at, str(error)) from None
                _check_order(entry, last)
                yield entry
                at += entry.size
                last = entry
            if at != len(data):
                raise LogError(decoder.seq, base + at,
                               f'{len(data) - at} bytes follow the entries of a block')


# Inputs that are nothing but themselves
_WORDS = {codec.TIMER: 'timer', codec.TIMER_KEPT: 'timer, set anew since', codec.NMI: 'nmi', codec.LINT0: 'lint0',
          codec.REINJECT: 'reinject'}


def _input(found):
    if found.type in _WORDS:
        return _WORDS[found.type]
    if found.type == codec.BYTES:
        return f'memory {found.addr:#x} {len(found.bytes)}: {found.bytes.hex(" ")}'
    if found.type == codec.MESSAGE:
        return f'message {found.addr:#x} {found.data:#x}'
    source = f' of source {found.source}' if found.source else ''
    return f'line {found.gsi}={found.level}{source}'


def _boundary(entry):
    if entry.at == codec.AT_POSITION:
        where = f'{entry.cond} {entry.taken} {entry.rip:#x}'
    else:
        where = f'{entry.exits}'
    inputs = ', '.join(_input(found) for found in entry.inputs)
    return (f'{AT_NAMES[entry.at]} {where}{": " if inputs else ""}{inputs}'
            f'{", more follow" if entry.more else ""}')


def end_name(value):
    """What a reason to end is called."""
    return uapi.NAMES[uapi.End].get(value, f'reason {value}')


def _fields(entry):
    """What there is to say of an entry behind its type."""
    kind = entry.type
    if kind == codec.START:
        return f'{len(entry.data)} bytes'
    if kind == codec.PAGE:
        return f'{entry.addr:#x} {entry.value:016x}'
    if kind == codec.TSC:
        return f'{entry.value:#x}'
    if kind in (codec.READ, codec.WRITE):
        space = 'memory' if entry.space == codec.MEMORY else 'port'
        return f'{space} {entry.addr:#x} {len(entry.data)}: {entry.data.hex(" ")}'
    if kind == codec.MSR:
        return f'{entry.addr:#x} {entry.value:#x}'
    if kind == codec.BOUNDARY:
        return _boundary(entry)
    if kind in (codec.DIGEST, codec.RESET):
        memory = f' memory {entry.memory:016x}' if entry.memory else ''
        return f'{entry.value:016x}{memory}'
    if kind == codec.END:
        return end_name(entry.value)
    return ''


def describe(entry):
    """An entry on one line."""
    return f'{entry.seq} {entry.name} {_fields(entry)}'.rstrip()


def dump(path, out, first=None, last=None):
    """List the entries from number first to number last.

    LogError when the log is damaged before the last; the entries before that are listed.
    """
    for entry in entries(path):
        if last is not None and entry.seq > last:
            return
        if first is None or entry.seq >= first:
            print(describe(entry), file=out)


def _interrupts(found):
    """Is this input an interrupt, and not the end of one, or bytes?"""
    return found.type != codec.BYTES and (found.type != codec.LINE or found.level)


class _Counts:
    """Sums over the entries of a log."""

    def __init__(self):
        self.number = collections.Counter()     # by type
        self.bytes = collections.Counter()
        self.boundaries = collections.Counter() # by kind
        self.interrupts = collections.Counter() # those of them that have an interrupt, by kind
        self.timers = self.timer_bytes = 0      # at boundaries without other inputs
        self.last = None

    def add(self, entry):
        """Count an entry."""
        self.number[entry.type] += 1
        self.bytes[entry.type] += entry.size
        self.last = entry
        if entry.type == codec.BOUNDARY:
            self.boundaries[entry.at] += 1
            self.interrupts[entry.at] += any(_interrupts(found) for found in entry.inputs)
            if entry.inputs and all(found.type in (codec.TIMER, codec.TIMER_KEPT)
                                    for found in entry.inputs):
                self.timers += len(entry.inputs)
                self.timer_bytes += entry.size


def _average(total, number):
    return f'{total / number:.2f}' if number else 'none'


def stat(path, out):
    """Say what a log consists of; LogError, and nothing said, when it is damaged."""
    counts = _Counts()
    for entry in entries(path):
        counts.add(entry)
    size = os.stat(path).st_size

    def at_position(kinds):
        total = kinds.total()
        share = f'{100 * kinds[codec.AT_POSITION] / total:.1f}%' if total else 'none'
        return f'at a position: {kinds[codec.AT_POSITION]} of {total} ({share})'

    def row(name, number, total):
        print(f'{name:<10}{number:>12}{total:>14}', file=out)

    row('type', 'entries', 'bytes')
    for kind, name in codec.TYPE_NAMES.items():
        if counts.number[kind]:
            row(name, counts.number[kind], counts.bytes[kind])
    row('all', counts.number.total(), counts.bytes.total())
    print(f'bytes of the file: {size}\n'
          f'bytes a tsc entry: {_average(counts.bytes[codec.TSC], counts.number[codec.TSC])}\n'
          f'bytes a timer input: {_average(counts.timer_bytes, counts.timers)}\n'
          f'boundaries {at_position(counts.boundaries)}\n'
          f'interrupts {at_position(counts.interrupts)}\n'
          f'last entry: {describe(counts.last) if counts.last else "none"}', file=out)
    if not counts.last or counts.last.type != codec.END:
        print('the log has no end: recording was cut off', file=out)
