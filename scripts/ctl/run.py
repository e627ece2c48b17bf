# SPDX-License-Identifier: GPL-2.0
"""kvmftctl record and replay: QEMU and its session from the start to the end."""

import errno
import os
import stat
import time

from . import command, uapi
from .messages import USAGE, CallError, CtlError, describe_end, say
from .module import Device, KernelLog
from .progress import Progress
from .qemu import Attached, Qemu
from .watch import Watch

# How long a session's own end may come after QEMU's or the guest's
SETTLE_SECONDS = 5
# How long nobody looks, when nothing happens
LOOK_SECONDS = 60
# How long the guest may take to a place where the log can end, and how often QEMU is looked after meanwhile
FINISH_SECONDS = 60
FINISH_LOOK = 1


class Run:
    """What recording and replaying have in common."""

    doing = ''
    look_seconds = LOOK_SECONDS

    def __init__(self, words, device=Device, monitor=None):
        """monitor: where that of a QEMU is that somebody else has started; there are no words then."""
        self.watch = Watch()
        self.kernel_log = KernelLog()
        self.words = words
        self.monitor = monitor
        self.device = device
        self.log = None
        self.qemu = None
        self.session = None
        self.ended = False
        self.status = None
        self.reason = ''
        self.cause = ''
        self.started = 0.0
        self.seconds = 0.0

    def run(self, quiet=False, every=0):
        """All of it, telling every so many seconds how far it is; returns the exit status."""
        try:
            if self.monitor:
                self.qemu = Attached(self.monitor, self.watch)
            for warning in command.check(self.qemu.words if self.qemu else self.words, own=not self.qemu):
                say(f'warning: {warning}')
            self.ask_module()
            self.prepare()
            self.begin()
            self.follow(None if quiet else Progress(self.doing, self.total(), every=every))
            problem = self.finish()
        except CtlError as error:
            self.explain(error)
            return 128 + self.watch.signals[0] if self.watch.signals else error.status
        finally:
            self.end()
        return self.judge(problem)

    def ask_module(self):
        """Before anybody is waited for: is it there, and does it take this machine?"""
        device = self.device()
        try:
            device.check()
        finally:
            device.close()

    def prepare(self):
        """Before QEMU is started."""

    def attach(self):
        """Give the session its log."""

    def finish(self):
        """After the guest's end, before QEMU's; returns what went wrong, or ''."""
        return ''

    def judge(self, problem):
        """Say how it went; returns the exit status."""
        raise NotImplementedError

    def total(self):
        """Size of the log in bytes, 0 when it is not known yet."""
        return 0

    def begin(self):
        """Up to the guest's first instruction."""
        device = self.device()
        try:
            self.qemu = self.qemu or Qemu(self.words, self.watch)
            self.qemu.connect()
            machine = self.qemu.machine()
            try:
                self.session = device.create_session(machine)
            finally:
                os.close(machine)
        finally:
            device.close()
        self.watch.add(self.session, self.session_ended)
        # Were kvmftctl killed, the session would end before QEMU does, and the VM be dead under it
        self.qemu.keep(self.session.fileno())
        self.attach()
        if self.watch.signals:
            raise CtlError('interrupted before the guest began')
        self.started = time.monotonic()
        self.qemu.go_on()

    def session_ended(self):
        """The session has hung up."""
        self.ended = True
        self.watch.remove(self.session)

    def over(self):
        """Has the session ended, or QEMU, or the guest, or shall they?"""
        self.qemu.look()
        return self.ended or self.qemu.ended or self.qemu.shut_down or self.watch.signals

    def follow(self, progress):
        """Wait for the end, showing how far it is."""
        while not self.over():
            self.watch.wait(min(progress.wait(), self.look_seconds) if progress else self.look_seconds)
            if progress and progress.wait() <= 0:
                progress.show(self.session.status())
        if not self.ended and (self.qemu.ended or self.qemu.shut_down):
            self.watch.until(lambda: self.ended, SETTLE_SECONDS)
        self.seconds = time.monotonic() - self.started
        self.cause = self.what_ended()
        if progress:
            progress.end()

    def explain(self, error):
        """Say what went wrong, and what the kernel log has on it."""
        say(str(error))
        if not isinstance(error, CallError):
            return
        for line in self.kernel_log.lines() or ['(nothing of kvmft\'s)'] * error.see_kernel_log:
            say(f'kernel log: {line}')

    def end(self):
        """Leave nothing behind."""
        if self.qemu:
            self.qemu.quit()
        if self.session:
            self.watch.until(lambda: self.ended, SETTLE_SECONDS)
            try:
                self.status = self.session.status()
                self.reason = self.session.reason()
            except CtlError as error:
                say(str(error))
            self.session.close()
        if self.qemu:
            self.qemu.close()
        self.kernel_log.close()
        self.watch.close()

    def failed(self, problem):
        """Say why the session did not come to a good end."""
        end = self.status.end if self.status else uapi.End.NONE
        if problem:
            say(f'{self.doing} failed: {problem}')
        # These two are only what came of the problem
        if not problem or end not in (uapi.End.NONE, uapi.End.VM_DESTROYED):
            say(f'{self.doing} failed: {describe_end(self.doing, end)}')
        if self.reason:
            say(f'the module says: {self.reason}')

    def fell_short(self, problem, done):
        """Say how far it came without its end; returns the exit status."""
        if self.watch.signals:
            say(f'interrupted after {done}')
            return 128 + self.watch.signals[0]
        self.failed(problem)
        say(f'up to there: {done}')
        return 1

    def what_ended(self):
        """Words for an end that was not the session's own doing."""
        if self.qemu.ended:
            return self.qemu.how_ended()
        if self.qemu.shut_down:
            return f'the guest ended ({self.qemu.shut_down})'
        return ''


class Recording(Run):
    """kvmftctl record"""

    doing = 'recording'

    def __init__(self, words, path, align_us=0, force=False, **options):
        super().__init__(words, **options)
        self.path = path
        self.align_us = align_us
        self.force = force
        self.made = ''
        self.begun = False
        self.unwritten = ''

    def prepare(self):
        if not os.path.lexists(self.path):
            return
        if not self.force:
            raise CtlError(f'{self.path} exists: name another file, or say --force', USAGE)
        if not os.path.isfile(self.path):
            raise CtlError(f'{self.path} is no regular file', USAGE)

    def attach(self):
        # Beside an earlier one: a recording that does not begin costs nothing
        made = f'{self.path}.part' if os.path.lexists(self.path) else self.path
        try:
            self.log = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_EXCL, 0o600)
        except OSError as error:
            raise CtlError(f'{made} can not be made: {error.strerror}') from None
        self.made = made
        self.session.record(self.log, self.align_us)
        self.begun = True

    def begin(self):
        super().begin()
        if self.made != self.path:
            try:
                os.rename(self.made, self.path)
            except OSError as error:
                raise CtlError(f'{self.made} can not be renamed: {error.strerror}') from None
            self.made = self.path

    def finish(self):
        """End the log while the guest runs, unless the session did it at the guest's end."""
        if self.ended or self.qemu.ended or self.qemu.shut_down:
            return '' if self.ended else self.cause
        limit = time.monotonic() + FINISH_SECONDS
        while True:
            try:
                with self.watch.bounded(FINISH_LOOK):
                    self.session.finish()
                problem = ''
            except CallError as error:
                problem = str(error)
                patient = error.errno == errno.EINTR and time.monotonic() < limit and len(self.watch.signals) < 2
                if patient and not self.qemu_is_through():
                    continue
                # The session's own end tells more
                if error.errno in (errno.ESTALE, errno.EIO):
                    problem = ''
            self.watch.until(lambda: self.ended, SETTLE_SECONDS)
            return '' if self.ended else problem or self.what_ended()

    def qemu_is_through(self):
        """Take note of what has happened: will the guest not run any more?"""
        self.watch.wait(0)
        self.qemu.look()
        return self.ended or self.qemu.ended or self.qemu.shut_down

    def end(self):
        super().end()
        if self.log is None:
            return
        if self.begun and self.made == self.path and self.status and self.status.seq:
            try:
                os.fsync(self.log)
            except OSError as error:
                self.unwritten = f'{self.path} is not all on the disk: {error.strerror}'
        else:
            os.unlink(self.made)
        os.close(self.log)

    def judge(self, problem):
        """Good only if the log has its end."""
        status = self.status
        if not (status and status.seq):
            self.failed(problem or self.cause)
            say(f'nothing was recorded: {self.made} is removed')
            return 1
        size = os.stat(self.path).st_size
        done = f'{status.seq:,} entries, {size:,} bytes, {self.seconds:.2f} s: {self.path}'
        if status.end != uapi.End.FINISHED or self.unwritten:
            self.failed(problem or self.unwritten or self.cause)
            say(f'incomplete: {done}')
            return 1
        say(f'recorded {done}')
        return 0


class Replaying(Run):
    """kvmftctl replay"""

    doing = 'replaying'

    def __init__(self, words, path, **options):
        super().__init__(words, **options)
        self.path = path
        self.bytes = 0

    def prepare(self):
        try:
            self.log = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise CtlError(f'{self.path} can not be read: {error.strerror}') from None
        found = os.fstat(self.log)
        if not stat.S_ISREG(found.st_mode):
            raise CtlError(f'{self.path} is no regular file')
        self.bytes = found.st_size

    def total(self):
        return self.bytes

    def attach(self):
        self.session.replay(self.log)

    def end(self):
        super().end()
        if self.log is not None:
            os.close(self.log)

    def judge(self, problem):
        """Good only if the whole log was replayed."""
        status = self.status
        done = ''
        if status:
            done = (f'{status.seq:,} entries, {status.digests:,} digests, {status.landings:,} landings, '
                    f'{self.seconds:.2f} s: {self.path}')
        if status and status.end == uapi.End.FINISHED:
            say(f'replayed {done}')
            return 0
        return self.fell_short(self.cause and f'{self.cause} before the log did', done)
