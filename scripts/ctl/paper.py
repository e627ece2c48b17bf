# SPDX-License-Identifier: GPL-2.0
"""For kvmftctl's tests: results, a QEMU, a module and its sysfs made of paper, and who runs kvmftctl with them."""

import contextlib
import errno
import io
import os
import pathlib
import re
import shutil
import signal
import stat
import threading
import time
import types

from . import module, qemu, run, uapi
from .messages import CallError, CtlError

KVM = ['-accel', 'kvm', '-machine', 'pc,smm=off']

# A QEMU that does nothing but answer; what it is to do follows --fake, what it was told goes to $FAKE_LOG
FAKE_QEMU = r'''#!/usr/bin/python3
import contextlib, json, os, signal, socket, sys, threading, time
behave = sys.argv[sys.argv.index("--fake") + 1] if "--fake" in sys.argv else "run"
with open(os.environ["FAKE_LOG"] + ".pid", "w") as file:
    file.write(str(os.getpid()))
log = open(os.environ["FAKE_LOG"], "a", buffering=1)
if behave == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
elif behave == "lingers":
    signal.signal(signal.SIGTERM, lambda *_: log.write("SIGTERM\n"))
else:
    signal.signal(signal.SIGTERM, lambda *_: (log.write("SIGTERM\n"), os._exit(0)))
if behave == "broken":
    sys.exit(3)
if "-qmp" in sys.argv:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[sys.argv.index("-qmp") + 1][len("unix:"):].partition(",")[0])
    listener.listen()
    monitor = listener.accept()[0]
else:
    chardev = sys.argv[sys.argv.index("-chardev") + 1]
    monitor = socket.socket(fileno=int(chardev.rpartition("fd=")[2]))
status = "running" if behave == "runs" else "prelaunch"
def send(message):
    # Whoever listens may have been killed
    with contextlib.suppress(ConnectionError):
        monitor.sendall(json.dumps(message).encode() + b"\r\n")
def event(name, **data):
    send({"event": name, "data": data, "timestamp": {}})
kept = []
def lines():
    rest = b""
    while True:
        data = b""
        with contextlib.suppress(ConnectionError):
            data, descriptors, _, _ = socket.recv_fds(monitor, 65536, 8)
            kept.extend(descriptors)
        if not data:
            return
        *whole, rest = (rest + data).split(b"\n")
        yield from whole
send({"QMP": {"version": {}}})
for line in lines():
    order = json.loads(line)
    name = order["execute"]
    log.write(name + "\n")
    if name == "quit" and behave == "deaf":
        continue
    if name == "cont" and behave == "stubborn":
        send({"error": {"class": "GenericError", "desc": "no"}, "id": order["id"]})
        continue
    if name == "getfd" and (len(kept) != 1 or order.get("arguments") != {"fdname": "kvmftctl"}):
        send({"error": {"class": "GenericError", "desc": f"{len(kept)} descriptors"}, "id": order["id"]})
        continue
    if name == "stop":
        event("STOP")
    if name == "cont":
        status = "internal-error" if behave == "crash" else "running"
    send({"return": {"status": status} if name == "query-status" else {}, "id": order["id"]})
    if name == "quit":
        sys.exit(0)
    if name == "cont":
        event("RESUME")
        if behave == "shutdown":
            event("SHUTDOWN", guest=True, reason="guest-shutdown")
            event("STOP")
        elif behave == "crash":
            event("STOP")
        elif behave == "exit":
            os._exit(1)
# In steps: a signal may come just before a sleep begins
for _ in range(300):
    time.sleep(0.1)
'''

# What QEMU is told when all is well
TOLD = ['qmp_capabilities', 'getfd', 'cont', 'quit']


class Tap:
    """Results."""

    def __init__(self):
        self.count = self.failed = 0
        print('TAP version 13', flush=True)

    def ok(self, good, name, detail=''):
        """One result; the detail is shown when it is bad."""
        self.count += 1
        self.failed += not good
        print(f'{"ok" if good else "not ok"} {self.count} - {name}', flush=True)
        if not good:
            for line in str(detail).splitlines():
                print(f'# {line}', flush=True)

    def equal(self, found, wanted, name):
        """Whether found is what was wanted."""
        self.ok(found == wanted, name, f'found  {found!r}\nwanted {wanted!r}')

    def finds(self, pattern, text, name):
        """Whether the pattern is in the text."""
        self.ok(re.search(pattern, text, re.M), name, f'no /{pattern}/ in:\n{text}')

    def finish(self):
        """The plan; returns the exit status."""
        print(f'1..{self.count}', flush=True)
        return 1 if self.failed else 0


def refusal(function, *arguments):
    """(exit status, words) of what is refused; None if it is not."""
    error = io.StringIO()
    with contextlib.redirect_stderr(error):
        try:
            function(*arguments)
        except CtlError as refused:
            return refused.status, str(refused)
        except SystemExit as ended:
            return ended.code, error.getvalue()
    return None


class Sysfs:
    """The module's directory in sysfs; kvmftctl looks there while it is in use."""

    MODULE = {'api_version': uapi.API_VERSION, 'sessions': 0, 'hooks': 0, 'counter/verdict': 'exact',
              'counter/reason': '', 'counter/windows': 12, 'counter/wrong': 0, 'counter/stops': 64,
              'counter/lost': 0, 'counter/skid_max': 1812, 'counter/skid_histogram': '0 3\n1024 61'}
    SESSION = {'state': 'counting', 'end': 'none', 'mode': 'count', 'role': 'none', 'arbiter': '', 'reason': ''} | \
        dict.fromkeys('exits cond taken stop_at stopped_at overflows lost spurious seq log_bytes inputs landings '
                      'digests acked peer_seq copied packets_held bytes_held packets_sent packets_resent '
                      'packets_dropped generation lag_entries lag_us lag_max'.split(), 0)

    def __init__(self, root):
        self.root = root
        self.saved = module.SYSFS

    def __enter__(self):
        module.SYSFS = self.root
        return self

    def __exit__(self, *_):
        module.SYSFS = self.saved

    def write(self, attributes):
        """Some, by their paths."""
        for path, value in attributes.items():
            file = self.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            # At once, as the kernel changes them
            fresh = file.with_name('.fresh')
            fresh.write_text(f'{value}\n', 'utf-8')
            fresh.rename(file)

    def load(self, **counter):
        """The module is there; counter: of its verdict, what differs."""
        self.write(self.MODULE | {f'counter/{name}': value for name, value in counter.items()})
        return self

    def session(self, number, **attributes):
        """A session, all of it at once, with these attributes."""
        place = self.root / 'making'
        self.write({f'making/{name}': value for name, value in (self.SESSION | attributes).items()})
        place.rename(self.root / f'session{number}')
        return self

    def change(self, number, **attributes):
        """Some attributes of a session."""
        self.write({f'session{number}/{name}': value for name, value in attributes.items()})

    def close(self, number):
        """The session is gone."""
        shutil.rmtree(self.root / f'session{number}')


class Paper:
    """Device and session in one: ends as told, counts what was asked of it."""

    def __init__(self, **wanted):
        self.wanted = {'end': uapi.End.FINISHED, 'seq': 5, 'after': None, 'until': None, 'finish': [],
                       'fails': None, 'reason': '', 'verdict': uapi.Verdict.EXACT, 'bytes': b'log'} | wanted
        self.finishing = iter(self.wanted['finish'])
        self.calls = []
        self.value = uapi.End.NONE
        self.reader, self.writer = os.pipe()
        self.timer = None

    # As a device

    def __call__(self):
        return self

    def check(self):
        """The machine is good, or not."""
        if self.wanted['verdict'] == uapi.Verdict.REFUSED:
            raise CtlError('the module refuses this machine: no PMU')

    def create_session(self, _machine):
        """It is itself."""
        return self

    def close(self):
        """Of the device, then of the session."""
        self.calls.append('close')

    # As a session

    def fileno(self):
        """Hangs up when the writer is closed."""
        return self.reader

    def _begin(self, log):
        if self.wanted['fails']:
            raise CallError(*self.wanted['fails'])
        if stat.S_ISREG(os.fstat(log).st_mode) and self.calls[-1] == 'record':
            os.write(log, self.wanted['bytes'])
        if self.wanted['after'] is not None:
            self.timer = threading.Timer(self.wanted['after'], self.over)
            self.timer.start()
        elif self.wanted['until']:
            self.timer = threading.Thread(target=lambda: waits_for(self.wanted['until']) and self.over())
            self.timer.start()

    def record(self, log, align_us):
        """Recording ends by itself after a while, when something has happened, or never."""
        self.calls.append('record')
        self.align_us = align_us
        self._begin(log)

    def replay(self, log):
        """So does replaying."""
        self.calls.append('replay')
        self._begin(log)

    def finish(self):
        """Fails as often as told; with EIO the session has ended."""
        self.calls.append('finish')
        number = next(self.finishing, None)
        if number == errno.EIO:
            self.over()
        if number:
            raise CallError('finish', number)
        self.over(uapi.End.FINISHED)

    def over(self, end=None):
        """The session ends."""
        self.value = self.wanted['end'] if end is None else end
        if self.writer is not None:
            os.close(self.writer)
            self.writer = None

    def status(self):
        """Enough of the structure."""
        return types.SimpleNamespace(seq=self.wanted['seq'], log_bytes=3, inputs=1, landings=2, digests=4,
                                     end=self.value, id=1)

    def reason(self):
        """What the module says."""
        return self.wanted['reason']


def waits_for(condition, seconds=10):
    """Whether it comes true in time."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)
    return True


class Stage:
    """Runs kvmftctl with paper QEMUs and modules in a directory of its own."""

    def __init__(self, scratch):
        self.scratch = scratch
        self.path = scratch / 'log'
        self.orders = scratch / 'orders'
        self.fake = scratch / 'qemu'
        self.fake_pid = scratch / 'orders.pid'
        self.fake.write_text(FAKE_QEMU, 'utf-8')
        self.fake.chmod(0o755)
        os.environ['FAKE_LOG'] = str(self.orders)
        qemu.Qemu.machine = lambda _self: os.open('/dev/null', os.O_RDONLY)
        run.SETTLE_SECONDS = 0.5
        qemu.QUIT_SECONDS = qemu.TERMINATE_SECONDS = 1

    def told(self, order):
        """Whether QEMU was told so, or is in time."""
        return waits_for(lambda: order in self.orders.read_text('utf-8').split())

    def is_gone(self):
        """Has QEMU ended, and kvmftctl seen it?"""
        return not pathlib.Path('/proc', self.fake_pid.read_text('utf-8')).exists()

    def press(self):
        """Ctrl-C, once the guest runs; none if it does not come to that."""
        if self.told('cont'):
            os.kill(os.getpid(), signal.SIGINT)

    def play(self, kind, paper, behave='run', interrupt=False, **options):
        """(exit status, what was said, what QEMU was told); Ctrl-C comes when the guest runs"""
        self.orders.write_text('', 'utf-8')
        said = io.StringIO()
        pressing = None
        with contextlib.redirect_stderr(said):
            words = [str(self.fake), *KVM, '--fake', behave]
            running = kind(words, str(self.path), device=paper, **options)
            if interrupt:
                pressing = threading.Thread(target=self.press)
                pressing.start()
            code = running.run()
        for one in (pressing, paper.timer):
            if one:
                one.join()
        return code, said.getvalue(), self.orders.read_text('utf-8').split()
