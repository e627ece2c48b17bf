# SPDX-License-Identifier: GPL-2.0
"""Waiting for several descriptors, and for signals that ask for the end."""

import contextlib
import os
import selectors
import signal
import time

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Watch:
    """Calls back for descriptors; collects the numbers of ENDING signals."""

    def __init__(self):
        self.signals = []
        self._selector = selectors.DefaultSelector()
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.add(self._reader, lambda: os.read(self._reader, 4096))
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, lambda number, _: self.signals.append(number))
                        for number in ENDING}
        self._alarm = signal.signal(signal.SIGALRM, lambda *_: None)

    def close(self):
        """Give the signals back."""
        signal.signal(signal.SIGALRM, self._alarm)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        self._selector.close()
        os.close(self._reader)
        os.close(self._writer)

    def add(self, file, callback):
        """Call back whenever the file can be read or is hung up."""
        self._selector.register(file, selectors.EVENT_READ, callback)

    def remove(self, file):
        """Forget the file."""
        self._selector.unregister(file)

    def wait(self, seconds):
        """Wait for something to happen, so long at most."""
        for key, _ in self._selector.select(max(0, seconds)):
            # A callback before this one may have removed it
            if key.fd in self._selector.get_map():
                key.data()

    def until(self, condition, seconds):
        """Wait for condition() to be true; False when it is not in time."""
        limit = time.monotonic() + seconds
        while not condition():
            left = limit - time.monotonic()
            if left <= 0:
                return False
            self.wait(min(left, 1))
        return True

    @staticmethod
    @contextlib.contextmanager
    def bounded(seconds):
        """Have a call that waits in the kernel fail with EINTR after so long."""
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
