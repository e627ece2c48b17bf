# SPDX-License-Identifier: GPL-2.0
"""One emulated host: started, followed, ended, judged."""

import dataclasses
import os
import pathlib
import secrets
import shlex
import signal
import socket
import subprocess
import tempfile
import time

from . import emulator, initramfs, kernel, paths, process
from .console import Console
from .messages import COMPLAINED, DIED, TIMED_OUT, USAGE, LabError

# A slow machine must not raise alarms of its own, and what a host has no use
# for must not cost time; see Documentation/lab.rst.
BOOT = ('console=ttyS0 loglevel=5 panic=-1 oops=panic mitigations=off '
        'nmi_watchdog=0 nokaslr random.trust_cpu=on apparmor=0 audit=0 '
        'no_timer_check cryptomgr.notests=1 '
        'initcall_blacklist=jent_mod_init '
        'watchdog_thresh=30 rcupdate.rcu_cpu_stall_timeout=60')

# A host that skips the time it sleeps goes through 250 s and more of it in one
# second: this is a minute of waiting at most.
BOOT_SKIPPING = 'sysctl.kernel.hung_task_timeout_secs=20000'

# How long a host may go on after its kernel said that something hangs.
HANG_GRACE = 60


@dataclasses.dataclass
class Link:
    """A network card, and the socket its frames go through."""

    socket: socket.socket
    mac: str
    address: str = ''


@dataclasses.dataclass
class Spec:
    """What a host is to be."""

    command: list
    name: str = 'host'
    pmu: bool = False
    real_sleep: bool = False
    cpu: str = ''
    smp: int = 2
    memory: int = 2048
    timeout: float = 600
    append: str = ''
    kernel: str | None = None
    emulator: str | None = None
    shares: list = dataclasses.field(default_factory=list)
    allow: list = dataclasses.field(default_factory=list)
    environment: dict = dataclasses.field(default_factory=dict)
    directory: str = dataclasses.field(default_factory=os.getcwd)
    takes_input: bool = False
    networks: list = dataclasses.field(default_factory=list)
    arguments: list = dataclasses.field(default_factory=list)


class RunDirectory:
    """The directory of a run, removed at its end whatever happens."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(
            prefix='kvmft-lab.', dir=paths.temporary_root())).resolve()
        self.janitor = process.Janitor(self.path)

    def __enter__(self):
        return self.path

    def __exit__(self, *_):
        self.janitor.finish()


class Stream:
    """The command's output or error: bytes up to an end mark."""

    def __init__(self, mark, sink):
        self.mark = mark
        self.sink = sink
        self.ended = False
        self._held = b''

    def feed(self, data):
        """Take the next bytes and pass on what cannot be the mark."""
        if self.ended:
            return
        data = self._held + data
        place = data.find(self.mark)
        if place >= 0:
            self.ended = True
        else:
            place = len(data)
            for size in range(min(len(self.mark) - 1, len(data)), 0, -1):
                if data.endswith(self.mark[:size]):
                    place -= size
                    break
        self._held = b'' if self.ended else data[place:]
        if place:
            self.sink(data[:place])

    def finish(self):
        """No more bytes will come."""
        if self._held and not self.ended:
            self.sink(self._held)
        self._held = b''


class Host:
    """An emulated host, driven by a Loop."""

    def __init__(self, spec, loop, directory, output, error, listener=None):
        self.spec = spec
        self.loop = loop
        self.directory = directory
        self.nonce = secrets.token_hex(8)
        mark = f'\0end {self.nonce}\n'.encode()
        self.output = Stream(mark, output)
        self.error = Stream(mark, error)
        self.console = Console(spec.allow, listener)
        self.emulator_errors = b''
        self.status = None
        self.times = {}
        self.child = None
        self.running = False
        self.timed_out = False
        self.killed = False
        self.stopped = False
        self._status_text = b''
        self._open = {}
        self._input = None
        self._timers = []
        self._ending = False
        self._end_on_console = False
        self._started = 0

    # Starting

    def start(self):
        """Boot."""
        spec = self.spec
        chosen = kernel.find(spec.kernel)
        image = initramfs.find(chosen)
        self._write_orders()
        pipes = {name: os.pipe()
                 for name in ('console', 'out', 'err', 'status')}
        command = self._command(
            chosen, image, {name: ends[1] for name, ends in pipes.items()})
        stderr_reader, stderr_writer = os.pipe()
        passed = [ends[1] for ends in pipes.values()]
        passed += [link.socket.fileno() for link in spec.networks]
        if spec.takes_input:
            self._input, far = socket.socketpair()
            passed.append(far.detach())
            command += ['-chardev', f'socket,id=in,fd={passed[-1]}',
                        '-device', 'virtserialport,chardev=in,name=lab.in']
        self._started = time.monotonic()
        try:
            self.child = process.spawn(
                command, stdin=subprocess.DEVNULL, stdout=stderr_writer,
                stderr=stderr_writer, pass_fds=passed)
        finally:
            for descriptor in (stderr_writer, *passed):
                os.close(descriptor)
            for link in spec.networks:
                link.socket.detach()
        self.running = True
        takers = {'console': self._take_console, 'out': self.output.feed,
                  'err': self.error.feed, 'status': self._take_status}
        for name, taker in takers.items():
            self._follow(pipes[name][0], taker)
        self._follow(stderr_reader, self._take_emulator_errors)
        ending = os.pidfd_open(self.child.pid)
        self._open[ending] = None
        self.loop.watch(ending, self._emulator_ended)
        self._timer(spec.timeout, self._time_out)

    def _write_orders(self):
        """What the host reads from the run directory."""
        spec = self.spec
        words = spec.command
        if len(words) == 1:
            words = ['bash', '-c', words[0]]
        lines = [f'export {name}={shlex.quote(value)}'
                 for name, value in spec.environment.items()]
        lines.append(f'cd {shlex.quote(spec.directory)} || exit {DIED}')
        lines.append('exec ' + shlex.join(words))
        orders = {
            'command': '\n'.join(lines) + '\n',
            'options': ''.join(
                f'{name}={shlex.quote(value)}\n' for name, value in (
                    ('nonce', self.nonce), ('name', spec.name),
                    ('takes_input', 'yes' if spec.takes_input else ''),
                    ('shares', '\n'.join(spec.shares)),
                    ('addresses', '\n'.join(link.address or '-'
                                            for link in spec.networks)))),
        }
        if any(c.isspace() for c in f'{self.directory}{paths.cache_root()}'):
            raise LabError('the kernel\'s command line cannot name a place '
                           f'with a space in it: {self.directory}, '
                           f'{paths.cache_root()}')
        self.directory.mkdir(exist_ok=True)
        for name, text in orders.items():
            (self.directory / name).write_text(text, 'utf-8')

    def _command(self, chosen, image, descriptors):
        spec = self.spec
        skips = BOOT_SKIPPING if spec.pmu and not spec.real_sleep else ''
        append = (f'{BOOT} {skips} {emulator.clock(spec.pmu, chosen.tick_rate)} '
                  f'lab.run={self.directory} '
                  f'lab.version={chosen.version} '
                  f'lab.modules={chosen.modules} {spec.append}')
        command = [
            emulator.find(spec.pmu, spec.emulator),
            '-name', emulator.escape(f'kvmft-lab-{spec.name}'),
            '-nodefaults', '-no-user-config', '-display', 'none',
            '-no-reboot', '-machine', 'q35',
            # With a thread for each CPU it may crash: Documentation/lab.rst, "Limits"
            '-accel', 'tcg,thread=single',
            '-cpu', emulator.cpu(spec.pmu, spec.cpu),
            '-smp', str(spec.smp), '-m', str(spec.memory),
            '-kernel', str(chosen.image), '-initrd', str(image),
            '-append', append,
            '-virtfs', 'local,path=/,mount_tag=machine,security_model=none,'
                       'readonly=on,multidevs=remap',
            # Writes have to be on their way when the guest's call returns.
            '-device', 'virtio-serial-pci,ioeventfd=off',
        ]
        if spec.pmu:
            command += ['-icount', emulator.ICOUNT_REAL_SLEEP if spec.real_sleep
                        else emulator.ICOUNT_SKIP_SLEEP]
        for number, (name, descriptor) in enumerate(descriptors.items()):
            command += ['-add-fd', f'fd={descriptor},set={number}',
                        '-chardev', f'file,id={name},append=on,'
                                    f'path=/dev/fdset/{number}']
            command += (['-serial', 'chardev:console'] if name == 'console'
                        else ['-device', f'virtserialport,chardev={name},'
                                         f'name=lab.{name}'])
        for number, path in enumerate(spec.shares):
            command += ['-virtfs', f'local,path={emulator.escape(path)},'
                                   f'mount_tag=share{number},'
                                   'security_model=none,multidevs=remap']
        for number, link in enumerate(spec.networks):
            command += ['-netdev', f'dgram,id=net{number},local.type=fd,'
                                   f'local.str={link.socket.fileno()}',
                        '-device', f'virtio-net-pci,netdev=net{number},'
                                   f'mac={link.mac},romfile=']
        return command + spec.arguments

    def write(self, text):
        """Give the command's standard input some text."""
        if self._input is None or not self.running:
            raise LabError(f'host {self.spec.name} takes no input')
        self._input.sendall(text.encode())

    # Following

    def _follow(self, descriptor, taker):
        os.set_blocking(descriptor, False)
        self._open[descriptor] = taker
        self.loop.watch(descriptor, lambda: self._read(descriptor))

    def _read(self, descriptor):
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return False
        if data:
            self._open[descriptor](data)
            self._end_when_done()
            return True
        self._close(descriptor)
        return False

    def _close(self, descriptor):
        if descriptor in self._open:
            self.loop.forget(descriptor)
            del self._open[descriptor]
            os.close(descriptor)

    def _timer(self, seconds, callback):
        self._timers.append(
            self.loop.at(time.monotonic() + seconds, callback))

    def _elapsed(self):
        return time.monotonic() - self._started

    def _take_console(self, data):
        suspected = self.console.hang_suspected
        self.console.feed(data)
        if self.console.hang_suspected and not suspected:
            self._timer(HANG_GRACE, self._end_emulator)

    def _take_emulator_errors(self, data):
        self.emulator_errors += data

    def _take_status(self, data):
        *lines, self._status_text = (self._status_text + data).split(b'\n')
        for line in lines:
            word, *values = line.decode('ascii', 'replace').split()
            if word == 'up':
                self.times['up'] = self._elapsed(), float(values[0])
            elif word == 'exit':
                self.status = int(values[0])
                self.times['end'] = self._elapsed(), float(values[1])
                # What is still on its way comes at once, or never.
                self._timer(10, self._end_emulator)

    def _end_when_done(self):
        """End the emulator once all that the host had to say is here."""
        if self._ending or self.status is None:
            return
        if not (self.output.ended and self.error.ended):
            return
        if any(line.endswith(f'lab: end {self.nonce}')
               for line in self.console.last(50)):
            self._end_emulator()

    # Ending

    def _end_emulator(self):
        if not self._ending and self.running:
            self._ending = True
            self.child.terminate()
            self._timer(3, self._kill_emulator)

    def _kill_emulator(self):
        if self.running:
            self.child.kill()

    def _time_out(self):
        if self.running and not self._ending:
            self.timed_out = True
            self._end_emulator()

    def kill(self):
        """End the host as a power failure would."""
        if self.running:
            self.killed = True
            self._ending = True
            self.child.kill()

    def stop(self):
        """End the host, which is no failure."""
        if self.running:
            self.stopped = True
            self._end_emulator()

    def _emulator_ended(self):
        self.child.wait()
        for descriptor, taker in list(self._open.items()):
            if taker:
                while self._read(descriptor):
                    pass
            self._close(descriptor)
        for timer in self._timers:
            self.loop.cancel(timer)
        self.output.finish()
        self.error.finish()
        self.console.finish()
        if self._input:
            self._input.close()
        self.times['gone'] = self._elapsed(), None
        self.running = False

    def close(self):
        """Leave nothing behind."""
        if self.child:
            if self.running:
                process.end(self.child)
            for descriptor in list(self._open):
                self._close(descriptor)
            self.running = False

    # Judging

    def result(self):
        """Exit status of the run, and lines that explain a bad one."""
        if self.timed_out:
            return TIMED_OUT, [f'timed out after {self.spec.timeout:g} s, '
                               f'{self._progress()}', *self._evidence()]
        if self.console.complaints:
            return COMPLAINED, ['the kernel complained; '
                                f'{self._progress()}:',
                                *self.console.around_complaints()]
        if self.killed:
            return 128 + signal.SIGKILL, []
        if self.stopped:
            return self.status or 0, []
        if self.status is None:
            code = self.child.returncode
            how = (f'was killed by signal {-code}' if code < 0 else
                   f'ended with status {code}')
            return DIED, [f'the host died, {self._progress()}, the '
                          f'emulator {how}', *self._evidence()]
        return self.status, []

    def _progress(self):
        if 'up' not in self.times:
            return 'it had not come up'
        if self.status is None:
            return ('the command had been running since '
                    f'{self.times["up"][0]:.0f} s')
        return f'the command had ended with status {self.status}'

    def _evidence(self):
        lines = []
        if self.console.complaints:
            lines += ['the kernel complained:',
                      *self.console.around_complaints()]
        lines += ['last lines of the console:', *self.console.last()]
        errors = self.emulator_errors.decode('utf-8', 'replace')
        said = [line for line in errors.splitlines()
                if ': terminating on signal ' not in line]
        if said:
            lines += ['the emulator said:', *said[-10:]]
        return lines

    def timing(self):
        """One line about where the time went."""
        parts = []
        for name, (wall, inside) in self.times.items():
            clock = '' if inside is None else f' (its clock {inside:.1f} s)'
            parts.append(f'{name} at {wall:.1f} s{clock}')
        return ', '.join(parts)


def check_spec(spec):
    """Refuse what cannot work, before anything is started."""
    for index, path in enumerate(spec.shares):
        if not os.path.isdir(path):
            raise LabError(f'--share {path}: not a directory', USAGE)
        spec.shares[index] = os.path.realpath(path)
    if not spec.command:
        raise LabError('no command', USAGE)
