# SPDX-License-Identifier: GPL-2.0
"""The line on standard error that tells how far a session is."""

import contextlib
import sys
import time

from . import uapi

ON_TERMINAL = 1
ELSEWHERE = 10


# What is done in states of a pair that is none any more
_ALONE = {
    uapi.State.CLAIMING: 'STANDING STILL until the arbiter has decided',
    uapi.State.LIVE: 'LIVE without protection',
    uapi.State.STOPPED: 'STOPPED for good',
    uapi.State.ENDED: 'running without protection',
}


def _peer(status):
    """How far a backup is behind its primary."""
    if not status.role or status.state in _ALONE:
        return ''
    lag = status.seq - status.peer_seq if status.role == uapi.Role.PRIMARY else status.peer_seq - status.seq
    return f', the backup {max(lag, 0):,} behind'


def _packets(status):
    """What became of the packets of the guest's network devices."""
    if not status.packets_sent + status.packets_held:
        return ''
    return f', {status.packets_sent:,} packets sent, {status.packets_held:,} held'


class Progress:
    """Rewritten each second on a terminal, a new line every ten seconds elsewhere."""

    def __init__(self, doing, total=0, out=None, every=0):
        self._doing = doing
        self._total = total
        self._out = out or sys.stderr
        self._terminal = self._out.isatty()
        self._every = every or (ON_TERMINAL if self._terminal else ELSEWHERE)
        self._start = self._last = time.monotonic()
        self._bytes = 0
        self._shown = False

    def wait(self):
        """Seconds to the next line."""
        return self._last + self._every - time.monotonic()

    def text(self, status, now):
        """The line."""
        rate = (status.log_bytes - self._bytes) / max(now - self._last, 0.001)
        share = f' of {self._total / 1e6:.1f}' if self._total else ''
        doing = _ALONE.get(status.state, self._doing) if status.role else self._doing
        return (f'{doing} {now - self._start:.0f} s: {status.seq:,} entries, '
                f'{status.log_bytes / 1e6:.1f}{share} MB, {rate / 1e6:.2f} MB/s, '
                f'{status.inputs:,} inputs, {status.landings:,} landings{_peer(status)}{_packets(status)}')

    def show(self, status):
        """Write it."""
        now = time.monotonic()
        text = self.text(status, now)
        self._last = now
        self._bytes = status.log_bytes
        self._write(f'\r{text}\033[K' if self._terminal else f'{text}\n')
        self._shown = self._terminal

    def end(self):
        """Nothing more is rewritten."""
        if self._shown:
            self._shown = False
            self._write('\n')

    def _write(self, text):
        with contextlib.suppress(OSError):
            self._out.write(text)
            self._out.flush()
