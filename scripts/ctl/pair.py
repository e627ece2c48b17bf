# SPDX-License-Identifier: GPL-2.0
"""kvmftctl primary and backup: two hosts, each with a QEMU, one guest."""

import hashlib
import hmac
import os
import secrets
import select
import socket
import struct
import time

from . import arbiter, uapi
from .lock import Lock
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

MAGIC = b'kvmftctl pair 2\n'
NONCE, IDENTITY = 32, 16
TIMES = struct.Struct('!II')
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


def never():
    """Nobody interrupts."""
    return False


def _receive(sock, size, seconds, interrupted):
    data = b''
    limit = time.monotonic() + seconds
    sock.settimeout(RETRY_SECONDS)
    while len(data) < size:
        try:
            part = sock.recv(size - len(data))
        except TimeoutError:
            if interrupted():
                raise CtlError('interrupted before the guest began') from None
            if time.monotonic() > limit:
                raise CtlError('the other side does not answer') from None
            continue
        except OSError as error:
            raise CtlError(f'the connection broke: {error.strerror}') from None
        if not part:
            raise CtlError('the other side has closed the connection')
        data += part
    return data


def _send(sock, data):
    # Little enough for the socket to take at once
    try:
        sock.sendall(data)
    except OSError as error:
        raise CtlError(f'the connection broke: {error.strerror or "no answer"}') from None


def _times_differ(mine, theirs):
    """Words for times with which one side would think that the other has failed; each is (heartbeat, time-out)."""
    for name, (heartbeat, _), (_, timeout) in (('the other side', theirs, mine), ('this side', mine, theirs)):
        if 3 * heartbeat > timeout:
            return (f'{name} is to be heard every {heartbeat} ms, and to have failed after {timeout} ms: give both '
                    'sides the same --heartbeat-ms and --timeout-ms')
    return ''


def greet(sock, role, key, times, seconds=GREET_SECONDS, interrupted=never):
    """Prove to the other side that we have the key, have it prove the same; returns the pair's identity.

    Each sends MAGIC, its role, a nonce, the identity (the primary's counts) and its times, in milliseconds; then an
    HMAC over both, its own first.
    """
    mine = MAGIC + bytes([role]) + secrets.token_bytes(NONCE + IDENTITY) + TIMES.pack(*times)
    _send(sock, mine)
    theirs = _receive(sock, len(mine), seconds, interrupted)
    if not theirs.startswith(MAGIC):
        raise CtlError('the other side is no kvmftctl, or one of another version')
    if theirs[len(MAGIC)] != 3 - role:
        raise CtlError(f'both sides are {NAMES[role]}')
    if theirs == mine:
        raise CtlError('the other side sends back what it gets')
    _send(sock, hmac.digest(key, mine + theirs, hashlib.sha256))
    if not hmac.compare_digest(_receive(sock, 32, seconds, interrupted),
                               hmac.digest(key, theirs + mine, hashlib.sha256)):
        raise CtlError('the other side has another key')
    problem = _times_differ(times, TIMES.unpack(theirs[-TIMES.size:]))
    if problem:
        raise CtlError(problem)
    return (mine if role == uapi.Role.PRIMARY else theirs)[-TIMES.size - IDENTITY:-TIMES.size]


class Paired(Run):
    """One side."""

    role = None
    # The guest may have to stand still, and its session goes on
    look_seconds = 1

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
        self.lock = None
        self.identity = b''
        self.state = None
        self.verdict = None

    def meet(self, key):
        """Connect to the other side, which is to prove that it has the key: the socket and the identity."""
        raise NotImplementedError

    def interrupted(self):
        """Has somebody asked for the end?"""
        self.watch.wait(0)
        return self.watch.signals

    def greet(self, sock, key):
        """See greet()."""
        return greet(sock, self.role, key, (self.config['heartbeat_ms'], self.config['timeout_ms']),
                     interrupted=self.interrupted)

    def prepare(self):
        """Meet the other side."""
        key = read_key(self.key)
        self.lock = Lock(arbiter.identity(key), self.role)
        if self.disk:
            self.arbiter = arbiter.Arbiter(self.disk)
        else:
            say('there is no arbiter: nobody takes over when a side is lost')
        self.meet(key)
        if self.arbiter:
            # The next pair of this session is to be known on the block of this one
            self.identity = arbiter.identity(key)
            self.config |= {'flags': self.flags, 'arbiter_fd': self.arbiter.descriptor,
                            'arbiter_block': self.arbiter.block,
                            'generation': self.arbiter.generation(self.identity)}
        say(f'connected to the {NAMES[3 - self.role]}')

    def attach(self):
        # The module's time-out is a short one, and the other side's QEMU may take its time
        _send(self.socket, b'!')
        _receive(self.socket, 1, READY_SECONDS, self.interrupted)
        self.socket.setblocking(True)
        self.session.pair(self.socket.fileno(), self.role, self.identity, **self.config)

    def over(self):
        """A session that has ended: does its guest run on?"""
        self.qemu.look()
        if self.ended and self.state is None:
            self.state = self.session.state()
            self.tell_state()
        elif not self.ended and self.session.state() == uapi.State.CLAIMING:
            self.tell_claim()
        return self.qemu.ended or self.qemu.shut_down or self.watch.signals or self.state == uapi.State.STOPPED

    def tell_claim(self):
        """Say that the guest stands still, and each other thing that the arbiter says."""
        if self.verdict is None:
            say('this side is ALONE, and its guest stands still until the arbiter has decided: '
                f'{self.session.reason()}')
        verdict = self.session.verdict()
        if verdict and verdict != self.verdict:
            say(f'the arbiter says: {verdict}')
        self.verdict = verdict

    def tell_state(self):
        """Say what became of the guest when the session ended."""
        if self.state == uapi.State.LIVE:
            self.lock.live()
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
        for what in (self.socket, self.arbiter, self.lock):
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
                    raise CtlError(f'{host}:{port} can not be reached: {error.strerror or error}: see that "kvmftctl '
                                   'backup" waits there') from None
            if not waiting:
                say(f'waiting for the backup at {host}:{port}')
                waiting = True
            self.watch.wait(RETRY_SECONDS)

    def meet(self, key):
        self.socket = self.connect()
        self.identity = self.greet(self.socket, key)

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

    def accept(self, server):
        """The next who connects: its socket and address."""
        while not select.select([server], [], [], RETRY_SECONDS)[0]:
            if self.interrupted():
                raise CtlError('interrupted before a primary came')
        return server.accept()

    def meet(self, key):
        """The first who has the key: a stranger does not end the waiting."""
        host, port = self.where
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            with socket.create_server((host, port), family=family) as server:
                say(f'waiting for the primary at {host}:{port}')
                while not self.socket:
                    sock, peer = self.accept(server)
                    try:
                        self.identity = self.greet(sock, key)
                        self.socket = sock
                    except CtlError as error:
                        sock.close()
                        if self.watch.signals:
                            raise
                        say(f'{peer[0]}: {error}; still waiting for the primary')
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
