# SPDX-License-Identifier: GPL-2.0
"""The event loop: descriptors, timers, and signals that end the lab."""

import heapq
import itertools
import os
import selectors
import signal
import time


class Interrupted(BaseException):
    """A signal asks the lab to end."""

    def __init__(self, number):
        super().__init__(number)
        self.number = number


class Loop:
    """Calls back what has something to do; no threads."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self._timers = []
        self._order = itertools.count()

    def watch(self, descriptor, callback):
        """Call callback() whenever descriptor can be read."""
        self.selector.register(descriptor, selectors.EVENT_READ, callback)

    def forget(self, descriptor):
        """Watch descriptor no longer."""
        self.selector.unregister(descriptor)

    def at(self, moment, callback):
        """Call callback() at that time.monotonic(); returns a handle."""
        timer = [moment, next(self._order), callback]
        heapq.heappush(self._timers, timer)
        return timer

    @staticmethod
    def cancel(timer):
        """Forget a timer."""
        timer[2] = None

    def step(self, until=None):
        """Wait for the next events, at most to the moment until."""
        moments = [m for m in (until, self._timers[0][0]
                               if self._timers else None) if m is not None]
        wait = max(0, min(moments) - time.monotonic()) if moments else None
        for key, _ in self.selector.select(wait):
            # A callback before this one may have forgotten the descriptor.
            if self.selector.get_map().get(key.fd) is not None:
                key.data()
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            callback = heapq.heappop(self._timers)[2]
            if callback:
                callback()

    def until(self, condition, timeout=None):
        """Run till condition() is true; False if timeout seconds passed."""
        limit = None if timeout is None else time.monotonic() + timeout
        while not condition():
            if limit is not None and time.monotonic() >= limit:
                return False
            self.step(limit)
        return True

    def child(self, child, timeout=None):
        """Run till a subprocess ended; False if timeout seconds passed."""
        ending = os.pidfd_open(child.pid)
        self.watch(ending, child.poll)
        try:
            return self.until(lambda: child.poll() is not None, timeout)
        finally:
            self.forget(ending)
            os.close(ending)


def catch_signals():
    """Have SIGINT, SIGTERM and SIGHUP raise Interrupted, once."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def handler(number, _frame):
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)
        raise Interrupted(number)

    for number in numbers:
        signal.signal(number, handler)


def die_by(number):
    """End this process by the signal that asked for it."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
