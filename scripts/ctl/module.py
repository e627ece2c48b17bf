# SPDX-License-Identifier: GPL-2.0
"""The module: its device, its sessions, what it shows in sysfs and says in the kernel log."""

import contextlib
import fcntl
import os
import pathlib

from . import uapi
from .messages import CallError, CtlError, with_errors

DEVICE = '/dev/kvmft'
SYSFS = pathlib.Path('/sys/class/misc/kvmft')
KMSG = '/dev/kmsg'


def read_attribute(*path):
    """An attribute in sysfs, None when there is none."""
    try:
        return SYSFS.joinpath(*path).read_text('utf-8').strip()
    except OSError:
        return None


def _call(name, descriptor, number, argument=0):
    try:
        return fcntl.ioctl(descriptor, number, argument)
    except OSError as error:
        raise CallError(name, error.errno) from None


class Session:
    """A session's descriptor."""

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.id = self.status().id

    def fileno(self):
        """The descriptor, which polls as hung up once the session has ended."""
        return self.descriptor

    def status(self):
        """struct kvmft_session_status"""
        data = uapi.SESSION_STATUS.pack()
        _call('status', self.descriptor, uapi.STATUS, data)
        return uapi.SESSION_STATUS.unpack(data)

    def state(self):
        """As everybody else sees it, too."""
        return uapi.named(uapi.State, read_attribute(f'session{self.id}', 'state') or 'ended')

    def reason(self):
        """What the module says of the session's end, "" when nothing."""
        return with_errors(read_attribute(f'session{self.id}', 'reason') or '')

    def verdict(self):
        """What the arbiter said last, "" when it was not asked."""
        return with_errors(read_attribute(f'session{self.id}', 'arbiter') or '')

    def record(self, log, align_us):
        """Record to the file whose descriptor is log, from the guest's first instruction on."""
        _call('record', self.descriptor, uapi.RECORD, uapi.SESSION_RECORD.pack(log_fd=log, align_us=align_us))

    def replay(self, log):
        """Replay the file whose descriptor is log."""
        _call('replay', self.descriptor, uapi.REPLAY, uapi.SESSION_REPLAY.pack(log_fd=log))

    def pair(self, sock, role, identity, **more):
        """Be one side of a pair, over the connected socket whose descriptor is sock."""
        _call('pair', self.descriptor, uapi.PAIR,
              uapi.SESSION_PAIR.pack(socket_fd=sock, role=role, id=identity, **more))

    def finish(self):
        """End the log of a guest that is stopped."""
        _call('finish', self.descriptor, uapi.FINISH)

    def close(self):
        """End the session."""
        os.close(self.descriptor)


class Device:
    """/dev/kvmft"""

    def __init__(self):
        try:
            self.descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise CallError('open', error.errno) from None

    def info(self):
        """struct kvmft_info"""
        data = uapi.INFO.pack()
        _call('info', self.descriptor, uapi.GET_INFO, data)
        return uapi.INFO.unpack(data)

    def check(self):
        """Refuse a module that speaks another language, or that refuses this machine."""
        info = self.info()
        if info.api_version != uapi.API_VERSION:
            raise CtlError(f'the loaded module speaks version {info.api_version} of the interface, kvmftctl '
                           f'version {uapi.API_VERSION}: build both from one tree')
        if info.verdict == uapi.Verdict.REFUSED:
            reason = read_attribute('counter', 'reason')
            raise CtlError('the module refuses this machine: ' + (reason or 'see the kernel log'))

    def create_session(self, machine):
        """The Session of the VM with that descriptor."""
        descriptor = _call('create', self.descriptor, uapi.CREATE, uapi.CREATE_SESSION.pack(vm_fd=machine))
        return Session(descriptor)

    def close(self):
        """Close the device."""
        os.close(self.descriptor)


class KernelLog:
    """What the module writes to the kernel log from now on."""

    def __init__(self):
        self._descriptor = None
        with contextlib.suppress(OSError):
            self._descriptor = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.lseek(self._descriptor, 0, os.SEEK_END)

    def lines(self):
        """The module's lines since the last call."""
        found = []
        while self._descriptor is not None:
            try:
                record = os.read(self._descriptor, 8192)
            except BrokenPipeError:
                # Lines were overwritten before they were read
                continue
            except OSError:
                break
            text = record.decode('utf-8', 'replace').partition(';')[2].split('\n')[0]
            if 'kvmft: ' in text:
                found.append(text)
        return found

    def close(self):
        """Listen no longer."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
