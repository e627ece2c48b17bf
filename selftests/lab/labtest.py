# SPDX-License-Identifier: GPL-2.0
"""TAP, and running the lab such that what it leaves behind is seen."""

import os
import pathlib
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
LAB = TREE / 'scripts' / 'lab' / 'lab'
HERE = TREE / 'selftests' / 'lab'


class Tap:
    """Results in the format of KTAP."""

    def __init__(self):
        self.count = 0
        self.failed = 0
        print('TAP version 13', flush=True)

    def ok(self, good, name, detail=''):
        """Report one result, and before it, when it is bad, the detail."""
        self.count += 1
        self.failed += not good
        # First what is wrong: a reader of TAP takes it for what comes after it
        if not good:
            self.note(detail)
        print(f'{"ok" if good else "not ok"} {self.count} {name}', flush=True)
        return good

    def equal(self, found, wanted, name):
        """Report whether found is what was wanted."""
        return self.ok(found == wanted, name,
                       f'found  {found!r}\nwanted {wanted!r}')

    def matches(self, pattern, text, name):
        """Report whether the text has the pattern in it."""
        return self.ok(re.search(pattern, text, re.M) is not None, name,
                       f'no /{pattern}/ in:\n{text}')

    @staticmethod
    def note(text):
        """Print a remark."""
        for line in str(text).splitlines():
            print(f'# {line}', flush=True)

    def finish(self):
        """Print the plan; returns the exit status."""
        print(f'1..{self.count}', flush=True)
        return 1 if self.failed else 0


class Run:
    """A running lab command, marked so that its children can be found."""

    def __init__(self, arguments, directory, **options):
        self.mark = f'KVMFT_LABTEST={secrets.token_hex(8)}'
        self.runtime = pathlib.Path(tempfile.mkdtemp(dir=directory))
        name, value = self.mark.split('=')
        environment = os.environ | {
            name: value, 'XDG_RUNTIME_DIR': str(self.runtime)}
        self.started = time.monotonic()
        self.child = subprocess.Popen(
            [LAB, *map(str, arguments)], env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, **options)
        self.seconds = 0.0

    def finish(self):
        """Wait for the end; returns (status, output, error)."""
        output, error = self.child.communicate()
        self.seconds = time.monotonic() - self.started
        return (self.child.returncode, output.decode('utf-8', 'replace'),
                error.decode('utf-8', 'replace'))

    def signal(self, number):
        """Send the lab, and nothing else, a signal."""
        self.child.send_signal(number)

    def wait_line(self, text):
        """Read output up to a line that is text."""
        for line in self.child.stdout:
            if line.decode().strip() == text:
                return
        raise RuntimeError(f'the lab ended before it printed "{text}": '
                           + self.child.stderr.read().decode())

    def processes(self):
        """Living processes of this run, by what they are called."""
        found = {}
        for entry in pathlib.Path('/proc').glob('[0-9]*'):
            try:
                if self.mark.encode() in (entry / 'environ').read_bytes():
                    found[int(entry.name)] = \
                        (entry / 'comm').read_text().strip()
            except OSError:
                continue
        return found

    def leftovers(self, within=5):
        """What is left of processes and files, given a moment to go."""
        limit = time.monotonic() + within
        while True:
            left = [f'process {pid} {name}'
                    for pid, name in self.processes().items()]
            # Unlike rglob() it takes it that a directory goes meanwhile
            left += [f'file {os.path.join(directory, name)}'
                     for directory, below, files in os.walk(self.runtime)
                     for name in below + files]
            if not left or time.monotonic() > limit:
                return left
            time.sleep(0.05)


def run(arguments, directory, **options):
    """Run the lab to its end; returns (status, output, error, Run)."""
    started = Run(arguments, directory, **options)
    return *started.finish(), started


def main(test):
    """Call test(tap, scratch directory) and exit as it went."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tap = Tap()
    with tempfile.TemporaryDirectory(prefix='kvmft-labtest.') as directory:
        try:
            test(tap, pathlib.Path(directory))
        except Exception as error:  # pylint: disable=broad-except
            tap.ok(False, 'the test ran to its end',
                   f'{type(error).__name__}: {error}')
    sys.exit(tap.finish())
