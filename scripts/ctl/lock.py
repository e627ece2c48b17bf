# SPDX-License-Identifier: GPL-2.0
"""One kvmftctl of this host for each side of a pair, and no new pair beside a guest that is live here."""

import contextlib
import fcntl
import os
import pathlib

from . import uapi
from .messages import CtlError

DIRECTORY = pathlib.Path('/run')
LIVE = b'live\n'
NAMES = uapi.NAMES[uapi.Role]


class Lock:
    """A file for each side, locked while its kvmftctl runs; it says whether the guest is live there."""

    def __init__(self, identity, role):
        """identity: of those who have the key, as arbiter.identity() has it."""
        self._path = DIRECTORY / f'kvmft-{identity.hex()}-{NAMES[role]}'
        other = DIRECTORY / f'kvmft-{identity.hex()}-{NAMES[3 - role]}'
        with contextlib.suppress(FileNotFoundError):
            if other.read_bytes() == LIVE and self._is_locked(other):
                raise CtlError(f'this key\'s guest is live on this host, as the {NAMES[3 - role]}: power it off first, '
                               'from inside; else there are two')
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CtlError(f'{self._path} can not be made: {error.strerror}') from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise CtlError(f'another kvmftctl of this host is the {NAMES[role]} of this key: end it, or give this '
                           'pair a key of its own') from None
        os.ftruncate(self._descriptor, 0)

    @staticmethod
    def _is_locked(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def live(self):
        """The guest is live here."""
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, LIVE, 0)

    def close(self):
        """This side is over; the file stays, for who has it open may be about to lock it."""
        os.close(self._descriptor)
