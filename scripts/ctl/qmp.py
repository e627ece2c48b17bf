# SPDX-License-Identifier: GPL-2.0
"""QEMU's monitor: commands, answers and events, a JSON object a line."""

import json
import socket

from .messages import CtlError

# QEMU in an emulated host takes its time
SECONDS = 120


class MonitorError(CtlError):
    """QEMU refuses a command or does not answer."""


class Monitor:
    """The near end of a monitor's socket."""

    def __init__(self, near, watch):
        self.greeted = False
        self.closed = False
        self.events = []
        self._socket = near
        self._watch = watch
        self._buffer = b''
        self._answers = {}
        self._count = 0
        near.setblocking(False)
        watch.add(near, self._read)

    def close(self):
        """Hang up."""
        if not self.closed:
            self.closed = True
            self._watch.remove(self._socket)
        self._socket.close()

    def _read(self):
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b''
        if not data:
            self.closed = True
            self._watch.remove(self._socket)
            return
        *lines, self._buffer = (self._buffer + data).split(b'\n')
        for line in lines:
            self._take(line)

    def _take(self, line):
        try:
            message = json.loads(line)
        except ValueError:
            return
        if 'QMP' in message:
            self.greeted = True
        elif 'event' in message:
            self.events.append(message)
        elif 'id' in message:
            self._answers[message['id']] = message

    def command(self, name, seconds=SECONDS, descriptors=(), **arguments):
        """Execute a command, to which descriptors may belong, and return its answer."""
        self._count += 1
        order = {'execute': name, 'id': self._count}
        if arguments:
            order['arguments'] = arguments
        line = json.dumps(order).encode() + b'\n'
        try:
            if descriptors:
                line = line[socket.send_fds(self._socket, [line], descriptors):]
            self._socket.sendall(line)
        except OSError:
            raise MonitorError(f'QEMU is gone: it can not be told to "{name}"') from None
        self._watch.until(lambda: self._count in self._answers or self.closed, seconds)
        answer = self._answers.pop(self._count, None)
        if answer is None:
            why = 'is gone' if self.closed else f'has not answered in {seconds} s'
            raise MonitorError(f'QEMU {why}, having been told to "{name}"')
        if 'error' in answer:
            raise MonitorError(f'QEMU will not "{name}": {answer["error"].get("desc", answer["error"])}')
        return answer.get('return')
