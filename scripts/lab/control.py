# SPDX-License-Identifier: GPL-2.0
"""The socket through which a running topology takes steps.

A request is one line, a step; the answer is "ok" or "error STATUS", a
newline, and text up to the end of the stream.
"""

import os
import socket

from .messages import DIED, LabError

REQUEST_MAX = 65536


class Server:
    """Listens on a path while it is entered."""

    def __init__(self, path, loop, do):
        """do(step) does a step and returns its answer or None."""
        self.path = path
        self.loop = loop
        self.do = do
        self.listener = None
        self.clients = {}

    def __enter__(self):
        self.listener = socket.socket(socket.AF_UNIX)
        try:
            self.listener.bind(self.path)
        except OSError as error:
            self.listener.close()
            raise LabError(f'--control {self.path}: {error.strerror}') \
                from None
        os.chmod(self.path, 0o600)
        self.listener.listen()
        self.loop.watch(self.listener.fileno(), self._accept)
        return self

    def __exit__(self, *_):
        for client in list(self.clients):
            self._drop(client)
        self.loop.forget(self.listener.fileno())
        self.listener.close()
        os.unlink(self.path)

    def _accept(self):
        client, _ = self.listener.accept()
        client.setblocking(False)
        self.clients[client] = b''
        self.loop.watch(client.fileno(), lambda: self._take(client))

    def _drop(self, client):
        self.loop.forget(client.fileno())
        del self.clients[client]
        client.close()

    def _take(self, client):
        try:
            data = client.recv(REQUEST_MAX)
        except OSError:
            data = b''
        text = self.clients[client] + data
        if not data or len(text) > REQUEST_MAX:
            self._drop(client)
        elif b'\n' not in text:
            self.clients[client] = text
        else:
            self._answer(client, text.split(b'\n')[0].decode('utf-8',
                                                             'replace'))

    def _answer(self, client, step):
        # A step may wait, and then others come in while it does.
        self.loop.forget(client.fileno())
        del self.clients[client]
        try:
            text = f'ok\n{self.do(step) or ""}'
        except LabError as error:
            text = f'error {error.status}\n{error}'
        with client:
            try:
                client.setblocking(True)
                client.settimeout(5)
                client.sendall(text.encode())
            except OSError:
                pass


def ask(path, step):
    """Have the topology that listens on path do a step."""
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(path)
            server.sendall(step.encode() + b'\n')
            text = b''
            while data := server.recv(65536):
                text += data
    except OSError as error:
        raise LabError(f'{path}: no running topology answers '
                       f'({error.strerror})', DIED) from None
    verdict, _, answer = text.decode('utf-8', 'replace').partition('\n')
    if verdict == 'ok':
        return answer
    if not verdict:
        raise LabError('the topology ended', DIED)
    raise LabError(answer, int(verdict.split()[1]))
