# SPDX-License-Identifier: GPL-2.0
"""The arbiter's block, as kvmftctl looks at it: kvmft/claim.h has the record, the module writes it."""

import fcntl
import hashlib
import hmac
import mmap
import os
import struct

from .messages import USAGE, CtlError
from .uapi import NAMES, Role

MAGIC = b'kvmftarb'
RECORD = struct.Struct('<8sII16s16sQII')
BLKSSZGET = 0x1268          # <linux/fs.h>
IDENTITY = 16


def place(text):
    """DISK or DISK:BLOCK as (path, block)."""
    path, colon, block = text.rpartition(':')
    if not colon:
        path, block = text, '0'
    if not path or not block.isdigit():
        raise CtlError(f'{text}: this is no arbiter: name DISK or DISK:BLOCK', USAGE)
    return path, int(block)


def identity(key):
    """Of the session that those who have the key protect: the same each time."""
    return hmac.digest(key, b'kvmft session', hashlib.sha256)[:IDENTITY]


class Arbiter:
    """An open disk, and a block of it."""

    def __init__(self, where):
        self.path, self.block = where
        try:
            self.descriptor = os.open(self.path, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC)
        except OSError as error:
            raise CtlError(f'the arbiter\'s disk {self.path} can not be opened: {error.strerror}') from None

    def _read(self):
        try:
            size = struct.unpack('i', fcntl.ioctl(self.descriptor, BLKSSZGET, bytes(4)))[0]
            with mmap.mmap(-1, size) as page:
                if os.preadv(self.descriptor, [page], self.block * size) < RECORD.size:
                    raise CtlError(f'{self.path} has no block {self.block}')
                return page[:RECORD.size]
        except OSError as error:
            raise CtlError(f'block {self.block} of {self.path} can not be read: {error.strerror}') from None

    def contents(self):
        """What the block has, in words, and whether a pair may use it."""
        record = self._read()
        magic, version, _crc, _session, _instance, generation, winner, _reserved = RECORD.unpack(record)
        if not any(record):
            return True, 'blank'
        if magic != MAGIC:
            return False, 'not kvmft\'s'
        last = f', the {NAMES[Role][winner]} went live last' if winner in (Role.PRIMARY, Role.BACKUP) else ''
        return True, f'the record of a pair, version {version}, generation {generation}{last}'

    def generation(self, session):
        """Which one a pair of that session begins with: the block's; whether it may is for the module to say."""
        magic, _version, _crc, whose, _instance, generation, _winner, _reserved = RECORD.unpack(self._read())
        return generation if (magic, whose) == (MAGIC, session) else 0

    def close(self):
        """Close the disk; the module has a reference of its own."""
        os.close(self.descriptor)
