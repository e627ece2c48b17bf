# SPDX-License-Identifier: GPL-2.0
"""The arbiter's block, as kvmftctl looks at it: kvmft/claim.h has the record, the module writes it."""

import fcntl
import hashlib
import hmac
import mmap
import os
import struct

from . import codec
from .messages import USAGE, CtlError
from .uapi import NAMES, Role

MAGIC = b'kvmftarb'
RECORD = struct.Struct('<8sII16s16sQII')
CRC_AT = 12
BLKSSZGET = 0x1268          # <linux/fs.h>
IDENTITY = 16
VERSION = 1                 # KVMFT_CLAIM_VERSION
BLOCK_MAX = 2 ** 48         # Disks have fewer blocks


def place(text):
    """DISK or DISK:BLOCK as (path, block)."""
    path, colon, block = text.rpartition(':')
    # Names of iSCSI disks by their path have colons, too
    if not colon or not (block.isascii() and block.isdigit()):
        path, block = text, '0'
    if not path or path.endswith(':') or int(block) > BLOCK_MAX:
        raise CtlError(f'"{text}" is no arbiter: name DISK or DISK:BLOCK', USAGE)
    return path, int(block)


def identity(key):
    """Of the session that those who have the key protect: the same each time."""
    return hmac.digest(key, b'kvmft session', hashlib.sha256)[:IDENTITY]


def judge(block, session=None):
    """See Arbiter.contents(); session: an identity."""
    magic, version, crc, whose, _instance, generation, winner, _reserved = RECORD.unpack_from(block)
    if not any(block):
        return True, 'blank'
    if magic != MAGIC:
        return False, 'not kvmft\'s'
    if version != VERSION:
        return False, f'a record of version {version}: this kvmftctl knows version {VERSION}'
    whole = bytearray(block[:RECORD.size])
    struct.pack_into('<I', whole, CRC_AT, 0)
    if codec.crc32c(bytes(whole)) != crc or any(block[RECORD.size:]):
        return False, 'a damaged record'
    last = f', the {NAMES[Role][winner]} went live last' if winner in (Role.PRIMARY, Role.BACKUP) else ''
    if session is None:
        return None, f'the record of a pair, generation {generation}{last}'
    if whose != session:
        return False, f'the record of another key\'s pair, generation {generation}{last}'
    return True, f'the record of this key\'s pair, generation {generation}{last}'


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
                return page[:]
        except OSError as error:
            raise CtlError(f'block {self.block} of {self.path} can not be read: {error.strerror}') from None

    def contents(self, key=None):
        """(whether a pair may use the block, what it has in words); key: a pair with that.

        None: that depends on the key.
        """
        return judge(self._read(), key and identity(key))

    def generation(self, session):
        """Which one a pair of that session begins with: the block's; whether it may is for the module to say."""
        magic, _version, _crc, whose, _instance, generation, _winner, _reserved = \
            RECORD.unpack_from(self._read())
        return generation if (magic, whose) == (MAGIC, session) else 0

    def close(self):
        """Close the disk; the module has a reference of its own."""
        os.close(self.descriptor)
