# SPDX-License-Identifier: GPL-2.0
"""What the lab's commands do."""

import os
import select
import shlex
import subprocess
import sys

from . import control as control_socket
from . import emulator, initramfs, kernel, paths
from .host import Host, RunDirectory, Spec, check_spec
from .loop import Loop
from .messages import USAGE, LabError, say
from .scenario import Scenario


def _install(*arguments):
    script = paths.SCRIPTS / 'install-packages'
    done = subprocess.run([script, *arguments], check=False,
                          stdin=subprocess.DEVNULL)
    if done.returncode:
        raise LabError('installing packages failed (see above)')


def setup(arguments):
    """lab setup"""
    say('packages')
    _install('build', 'lab', *([] if arguments.no_emulator else
                               ['qemu-build']))
    newest = kernel.fetch()
    _install('--package', f'linux-headers-{newest.version}')
    kernel.record_default(newest)
    say(f'kernel {newest.version}')
    say(f'initramfs {initramfs.find(newest)}')
    if not arguments.no_emulator:
        say(f'emulator {emulator.build()}')
    say('ready')
    return 0


def about_kernel(arguments):
    """lab kernel"""
    if arguments.what == 'available':
        print('\n'.join(kernel.available()))
        return 0
    found = kernel.find(arguments.kernel)
    if arguments.what:
        value = getattr(found, arguments.what)
        if value is None:
            raise LabError(f'no headers of {found.version} on this machine: '
                           'run "scripts/lab/lab setup"')
        print(value)
        return 0
    for name in ('version', 'image', 'modules', 'headers'):
        print(f'{name:8} {getattr(found, name) or "not installed"}')
    return 0


def _write_all(descriptor, data):
    while data:
        try:
            data = data[os.write(descriptor, data):]
        except BlockingIOError:
            # Whoever gave us the descriptor made it non-blocking.
            select.select([], [descriptor], [])


def _environment(words):
    chosen = {}
    for word in words:
        name, given, value = word.partition('=')
        if not name.isidentifier():
            raise LabError(f'--env {word}: not a variable\'s name', USAGE)
        if given:
            chosen[name] = value
        elif name in os.environ:
            chosen[name] = os.environ[name]
    return chosen


def spec_from(arguments):
    """Spec of the host that the options describe."""
    taken = {name: getattr(arguments, name) for name in (
        'command', 'name', 'pmu', 'real_sleep', 'cpu', 'smp', 'memory',
        'timeout', 'append', 'kernel', 'emulator', 'shares', 'allow')}
    spec = Spec(environment=_environment(arguments.env), **taken)
    check_spec(spec)
    return spec


def run(arguments):
    """lab run"""
    spec = spec_from(arguments)
    log = None
    if arguments.console:
        log = open(arguments.console, 'w', encoding='utf-8')

    def listen(line):
        if arguments.verbose:
            print(f'{spec.name}: {line}', file=sys.stderr, flush=True)
        if log:
            print(line, file=log, flush=True)

    loop = Loop()
    with RunDirectory() as directory:
        host = Host(spec, loop, directory,
                    lambda data: _write_all(1, data),
                    lambda data: _write_all(2, data), listen)
        try:
            host.start()
            loop.until(lambda: not host.running)
        finally:
            host.close()
    if arguments.verbose:
        say(f'{spec.name}: {host.timing()}')
    status, lines = host.result()
    for line in lines:
        say(f'{spec.name}: {line}')
    return status


def topology(arguments):
    """lab topology"""
    scenario = Scenario(arguments.file, arguments.words)
    return scenario.run(arguments.verbose, arguments.control)


def control(arguments):
    """lab control"""
    words = arguments.step
    step = words[0] if len(words) == 1 else shlex.join(words)
    answer = control_socket.ask(arguments.path, step)
    if answer:
        print(answer)
    return 0
