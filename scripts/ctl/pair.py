# SPDX-License-Identifier: GPL-2.0
"""kvmftctl primary and backup: two hosts, each with a QEMU, one guest."""

import hashlib
import hmac
import os
import secrets
import select
import socket
import time

from . import arbiter, uapi
from .messages import USAGE, CtlError, say
from .run import Run

PORT = 7788
KEY_BYTES = 32              # the least
CONNECT_SECONDS = 60        # for a backup that is not there yet
GREET_SECONDS = 10          # for each step of the greeting
READY_SECONDS = 120         # for the other side's QEMU
RETRY_SECONDS = 0.5

# Exit statuses of a side that has lost the other
STOPPED = 3                 # ... which is live; this one never runs again
UNPROTECTED = 4             # ... and was live: the guest ended here

MAGIC = b'kvmftctl pair 1\n'
NONCE, IDENTITY = 32, 16
NAMES = uapi.NAMES[uapi.Role]


def address(text):
    """HOST, HOST:PORT or [HOST]:PORT as (host, port)."""
    host, colon, port = text.rpartition(':')
    if not colon or ':' in host and not host.endswith(']'):
        host, port = text, str(PORT)
    host = host.removeprefix('[').removesuffix(']')
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise CtlError(f'{text}: this is no address: name HOST or HOST:PORT', USAGE)
    return host, int(port)


def read_key(path):
    """The key that both sides have."""
    try:
        with open(path, 'rb') as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise CtlError(f'{path} can be read by others: chmod 600 {path}')
            key = file.read(4096)
    except OSError as error:
        raise CtlError(f'{path} can not be read: {error.strerror}') from None
    if len(key) < KEY_BYTES:
        raise CtlError(f'{path} has {len(key)} bytes, a key has {KEY_BYTES} or more: '
                       f'head -c {KEY_BYTES} /dev/urandom > {path}')
    return key


def _receive(sock, size):
    data = b''
    try:
        while len(data) < size:
            part = sock.recv(size - len(data))
            if not part:
                raise CtlError('the other side has closed the connection')
            data += part
    except TimeoutError:
        raise CtlError('the other side does not answer') from None
    except OSError as error:
        raise CtlError(f'the connection broke: {error.strerror}') from None
    return data


def _send(sock, data):
    try:
        sock.sendall(data)
    except OSError as error:
        raise CtlError(f'the connection broke: {error.strerror or "no answer"}') from None


def greet(sock, role, key, seconds=GREET_SECONDS):
    """Prove to the other side that we have the key, have it prove the same; returns the pair's identity.

    Each sends MAGIC, its role, a nonce and, the primary, the identity; then an HMAC over both, its own first.
    """
    sock.settimeout(seconds)
    mine = MAGIC + bytes([role]) + secrets.token_bytes(NONCE + IDENTITY)
    _send(sock, mine)
    theirs = _receive(sock, len(mine))
    if not theirs.startswith(MAGIC):
        raise CtlError('the other side is no kvmftctl, or one of another version')
    if theirs[len(MAGIC)] != 3 - role:
        raise CtlError(f'both sides are {NAMES[role]}')
    if theirs == mine:
        raise CtlError('the other side sends back what it gets')
    _send(sock, hmac.digest(key, mine + theirs, hashlib.sha256))
    if not hmac.compare_digest(_receive(sock, 32), hmac.digest(key, theirs + mine, hashlib.sha256)):
        raise CtlError('the other side has another key')
    return (mine if role == uapi.Role.PRIMARY else theirs)[-IDENTITY:]


class Paired(Run):
    """One side."""

    role = None

    def __init__(self, words, where, key, heartbeat_ms, timeout_ms, align_us=0, disk=None, hold_all=False,
                 **options):
        super().__init__(words, **options)
        self.where = where
        self.key = key
        self.config = {'heartbeat_ms': heartbeat_ms, 'timeout_ms': timeout_ms, 'align_us': align_us}
        self.disk = disk
        self.flags = uapi.PAIR_ARBITER | (uapi.PAIR_HOLD_ALL if hold_all else 0)
        self.arbiter = None
        self.socket = None
        self.identity = b''
        self.state = None

    def connect(self):
        """A connected socket."""
        raise NotImplementedError

    def prepare(self):
        """Meet the other side."""
        key = read_key(self.key)
        if self.disk:
            self.arbiter = arbiter.Arbiter(self.disk)
        self.socket = self.connect()
        self.identity = greet(self.socket, self.role, key)
        if self.arbiter:
            # The next pair of this session is to be known on the block of this one
            self.identity = arbiter.identity(key)
            self.config |= {'flags': self.flags, 'arbiter_fd': self.arbiter.descriptor,
                            'arbiter_block': self.arbiter.block,
                            'generation': self.arbiter.generation(self.identity)}
        say(f'connected to the {NAMES[3 - self.role]}')

    def attach(self):
        # The module's time-out is a short one, and the other side's QEMU may take its time
        self.socket.settimeout(READY_SECONDS)
        _send(self.socket, b'!')
        _receive(self.socket, 1)
        self.socket.setblocking(True)
        self.session.pair(self.socket.fileno(), self.role, self.identity, **self.config)

    def over(self):
        """A session that has ended: does its guest run on?"""
        self.qemu.look()
        if self.ended and self.state is None:
            self.state = self.session.state()
            self.tell_state()
        return self.qemu.ended or self.qemu.shut_down or self.watch.signals or self.state == uapi.State.STOPPED

    def tell_state(self):
        """Say what became of the guest when the session ended."""
        if self.state == uapi.State.LIVE:
            say(f'this side is LIVE, without protection: {self.session.reason()}')
        elif self.state == uapi.State.STOPPED:
            say(f'this side is STOPPED for good: {self.session.reason()}')
        if self.state in (uapi.State.LIVE, uapi.State.STOPPED):
            say(f'the arbiter says: {self.session.verdict()}')
        if self.state == uapi.State.LIVE and self.role == uapi.Role.BACKUP:
            say(f'{self.session.status().packets_resent:,} packets sent that the primary may not have sent')

    def judge(self, problem):
        """A pair that has lost a side; None: that is not how it ended."""
        state = self.state or self.status and self.status.state
        if state == uapi.State.STOPPED:
            say(f'up to there: {self.told()}')
            return STOPPED
        if state == uapi.State.LIVE and self.qemu.shut_down and not self.watch.signals:
            say(f'the guest ended on this side, without protection; protected: {self.told()}')
            return UNPROTECTED
        return None

    def end(self):
        super().end()
        for what in (self.socket, self.arbiter):
            if what:
                what.close()

    def told(self):
        """How far it came."""
        status = self.status
        if not status:
            return 'nothing'
        packets = f', {status.packets_sent:,} packets sent' if status.packets_sent else ''
        return f'{status.seq:,} entries, {status.log_bytes:,} bytes, {self.seconds:.2f} s{packets}'


class Primary(Paired):
    """kvmftctl primary"""

    doing = 'protecting'
    role = uapi.Role.PRIMARY

    def connect(self):
        """The backup, once it listens."""
        host, port = self.where
        limit = time.monotonic() + CONNECT_SECONDS
        waiting = False
        while True:
            try:
                return socket.create_connection((host, port), GREET_SECONDS)
            except OSError as error:
                if time.monotonic() > limit or self.watch.signals:
                    raise CtlError(f'{host}:{port} can not be reached: {error.strerror or error}') from None
            if not waiting:
                say(f'waiting for the backup at {host}:{port}')
                waiting = True
            self.watch.wait(RETRY_SECONDS)

    def tell_state(self):
        """Without an arbiter the guest runs on."""
        super().tell_state()
        gone = self.qemu.ended or self.qemu.shut_down
        end = self.session.status().end
        if self.state == uapi.State.ENDED and end not in (uapi.End.FINISHED, uapi.End.VM_DESTROYED) and not gone:
            say(f'the guest runs on without protection: {self.session.reason()}')

    def judge(self, problem):
        """Good only if the guest came to its end under protection."""
        lost = super().judge(problem)
        if lost is not None:
            return lost
        if self.status and self.status.end == uapi.End.FINISHED:
            say(f'the guest ended; its backup has all of the log: {self.told()}')
            return 0
        return self.fell_short(problem or self.cause, self.told())


class Backup(Paired):
    """kvmftctl backup"""

    doing = 'following'
    role = uapi.Role.BACKUP

    def connect(self):
        """The first who connects; whether it is the primary is seen later."""
        host, port = self.where
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            with socket.create_server((host, port), family=family, backlog=1) as server:
                say(f'waiting for the primary at {host}:{port}')
                while not select.select([server], [], [], RETRY_SECONDS)[0]:
                    self.watch.wait(0)
                    if self.watch.signals:
                        raise CtlError('interrupted before a primary came')
                return server.accept()[0]
        except OSError as error:
            raise CtlError(f'{host}:{port}: {error.strerror or error}') from None

    def over(self):
        """Without an arbiter a backup is over when its session is."""
        return super().over() or self.ended and self.state != uapi.State.LIVE

    def judge(self, problem):
        """Good only if the whole log was replayed."""
        lost = super().judge(problem)
        if lost is not None:
            return lost
        if self.status and self.status.end == uapi.End.FINISHED:
            say(f'the guest ended; replayed {self.told()}, {self.status.digests:,} digests, '
                f'{self.status.landings:,} landings')
            return 0
        return self.fell_short(self.cause and f'{self.cause} before the log did', self.told())
