# SPDX-License-Identifier: GPL-2.0
"""QEMU, a child or somebody else's: stopped at first, spoken to, its VM's descriptor borrowed, ended."""

import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import struct
import subprocess

from . import messages
from .messages import CtlError
from .qmp import Monitor, MonitorError

PR_SET_PDEATHSIG = 1
SYS_PIDFD_GETFD = 438
VM_LINK = 'anon_inode:kvm-vm'

START_SECONDS = 120
QUIT_SECONDS = 20
TERMINATE_SECONDS = 5

# States of QEMU in which the guest will not go on by itself
DEAD_STATES = ('internal-error', 'guest-panicked', 'io-error')

_libc = ctypes.CDLL(None, use_errno=True)


def _pidfd_getfd(pidfd, number):
    descriptor = _libc.syscall(ctypes.c_long(SYS_PIDFD_GETFD), ctypes.c_int(pidfd), ctypes.c_int(number),
                               ctypes.c_uint(0))
    if descriptor < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    os.set_inheritable(descriptor, False)
    return descriptor


def _handed_down():
    """Descriptors that kvmftctl was started with, for QEMU: Python lets nobody inherit its own."""
    found = []
    for name in os.listdir('/proc/self/fd'):
        with contextlib.suppress(OSError):
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
    return found


class Qemu:
    """A running QEMU that kvmftctl has started."""

    NO_VM = 'the command has to become QEMU itself (a script has to exec it)'

    def __init__(self, words, watch):
        self.words = words
        near, far = socket.socketpair()
        try:
            self.child = self._spawn(words, far)
        except OSError as error:
            near.close()
            raise CtlError(f'{words[0]} can not be run: {error.strerror}') from None
        finally:
            far.close()
        self._begin(self.child.pid, near, watch)

    def _begin(self, pid, near, watch):
        self._watch = watch
        self.shut_down = ''
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)
        watch.add(self._pidfd, self._reap)
        self.monitor = Monitor(near, watch)

    @staticmethod
    def _spawn(words, far):
        """Start it; it gets SIGTERM when kvmftctl dies, and the terminal's Ctrl-C only through kvmftctl."""
        parent = os.getpid()

        def prepare():
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGHUP))
            if os.getppid() != parent:
                os._exit(1)

        number = far.fileno()
        more = ['-S', '-no-shutdown', '-chardev', f'socket,id=kvmftctl,fd={number}',
                '-mon', 'chardev=kvmftctl,mode=control']
        handed = _handed_down()
        child = subprocess.Popen([*words, *more], pass_fds=(number, *handed), preexec_fn=prepare)
        for descriptor in handed:
            os.close(descriptor)
        return child

    @property
    def ended(self):
        """Has it exited?"""
        return self.child.returncode is not None

    def _reap(self):
        if self.child.poll() is not None:
            self._watch.remove(self._pidfd)

    def how_ended(self):
        """Words for its exit status."""
        status = self.child.returncode
        if status < 0:
            return f'QEMU was ended by signal {-status}'
        return f'QEMU ended with status {status}'

    def connect(self):
        """Wait till it answers; its VM and vCPU are there then."""
        self._watch.until(lambda: self.monitor.greeted or self.ended or self._watch.signals, START_SECONDS)
        if self.ended:
            raise CtlError(f'{self.how_ended()} before the guest began')
        if self._watch.signals:
            raise CtlError('interrupted before the guest began', 128 + self._watch.signals[0])
        if not self.monitor.greeted:
            raise CtlError(f'QEMU has said nothing in {START_SECONDS} s')
        self.monitor.command('qmp_capabilities')

    def machine(self):
        """A descriptor of its VM, to be closed by the caller."""
        directory = f'/proc/{self.pid}/fd'
        found = []
        try:
            for name in os.listdir(directory):
                with contextlib.suppress(FileNotFoundError):
                    if os.readlink(f'{directory}/{name}') == VM_LINK:
                        found.append(int(name))
            if len(found) == 1:
                return _pidfd_getfd(self._pidfd, found[0])
        except PermissionError:
            raise CtlError('QEMU\'s descriptors can not be taken: run kvmftctl as root, and outside what confines '
                           'it (a container, SELinux, AppArmor)') from None
        except OSError as error:
            raise CtlError(f'QEMU\'s VM can not be taken: {error.strerror}') from None
        if found:
            raise CtlError(f'QEMU has {len(found)} VMs: it has to have one')
        raise CtlError(f'process {self.pid} has no VM of KVM: {self.NO_VM}, and QEMU must not have fallen back to '
                       'emulation')

    def keep(self, descriptor):
        """Have it hold a copy of a descriptor for as long as it lives."""
        self.monitor.command('getfd', descriptors=[descriptor], fdname='kvmftctl')

    def look(self):
        """Take note of what QEMU has told: has the guest ended?"""
        events = self.monitor.events
        while events:
            event = events.pop(0)
            name = event['event']
            if name == 'SHUTDOWN':
                self.shut_down = event.get('data', {}).get('reason', 'unknown')
            elif name == 'STOP' and not self.shut_down:
                with contextlib.suppress(MonitorError):
                    state = self.monitor.command('query-status')['status']
                    if state in DEAD_STATES:
                        self.shut_down = state

    def go_on(self):
        """Let the guest run."""
        self.monitor.command('cont')

    def quit(self):
        """End it: politely, then less so."""
        if not self.ended and self.monitor.greeted:
            # The answer is of no interest, nor is that it may be gone by now
            with contextlib.suppress(CtlError):
                self.monitor.command('quit', QUIT_SECONDS)
            self._watch.until(lambda: self.ended, QUIT_SECONDS)
        if not self.ended:
            self._send(signal.SIGTERM)
            self._watch.until(lambda: self.ended, TERMINATE_SECONDS)
        if not self.ended:
            messages.say('QEMU does not end: it is killed')
            self._send(signal.SIGKILL)
            self._watch.until(lambda: self.ended, QUIT_SECONDS)

    def _send(self, number):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def close(self):
        """Let go of what belongs to it."""
        self.monitor.close()
        if not self.ended:
            self._watch.remove(self._pidfd)
        os.close(self._pidfd)


class Attached(Qemu):
    """One that somebody else has started, stopped (-S), with a monitor at a socket."""

    NO_VM = 'QEMU itself has to make the monitor\'s socket (-qmp unix:PATH,server=on,wait=off)'

    # The credentials of who listens at a Unix socket: socket(7), SO_PEERCRED
    _CREDENTIALS = struct.Struct('iII')

    def __init__(self, path, watch):
        near = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            near.connect(path)
            credentials = near.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, self._CREDENTIALS.size)
            pid = self._CREDENTIALS.unpack(credentials)[0]
            command = pathlib.Path(f'/proc/{pid}/cmdline').read_bytes()
            self._begin(pid, near, watch)
        except OSError as error:
            near.close()
            raise CtlError(f'{path}: no monitor of QEMU\'s is to be had there: {error.strerror}') from None
        self.words = [os.fsdecode(word) for word in command.split(b'\0')[:-1]]
        self._gone = False
        self._taken = False

    @property
    def ended(self):
        return self._gone

    def _reap(self):
        self._gone = True
        self._watch.remove(self._pidfd)

    def how_ended(self):
        return 'QEMU has ended'

    def connect(self):
        super().connect()
        state = self.monitor.command('query-status')['status']
        if state != 'prelaunch':
            raise CtlError(f'the guest of that QEMU is to begin with kvmftctl, and is "{state}": start QEMU with -S')
        # As -no-shutdown: what becomes of the guest is told before QEMU ends
        self.monitor.command('set-action', shutdown='pause')

    def go_on(self):
        self._taken = True
        super().go_on()

    def quit(self):
        """One whose guest did not begin is left as it was."""
        if self._taken:
            super().quit()
            return
        with contextlib.suppress(CtlError):
            self.monitor.command('closefd', fdname='kvmftctl')
        with contextlib.suppress(CtlError):
            self.monitor.command('set-action', shutdown='poweroff')
