# SPDX-License-Identifier: GPL-2.0
"""Run stages, some side by side, and tell what came of them."""

import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time

from . import tap
from .stages import ROOT

TAIL = 40                       # lines shown of a stage that failed without TAP
KILL_AFTER = 30                 # seconds from SIGTERM to SIGKILL


class Run:
    """One stage while it runs; its results afterwards."""

    def __init__(self, stage, log_directory, done):
        self.stage = stage
        self.log = log_directory / f'{stage.name}.log'
        self.results = tap.Results()
        self.seconds = 0.0
        self.ending = ''        # how the command ended, where no failure says it
        self._done = done
        self._parser = tap.Parser()
        self._lines = []        # the last ones
        self._named = 0
        self._forbidden = []
        self._timed_out = False
        self._stop = threading.Event()
        self.thread = threading.Thread(target=self._main, daemon=True)

    def start(self):
        """Begin, in a thread of its own."""
        self.thread.start()

    def stop(self):
        """End it early."""
        self._stop.set()

    def _main(self):
        began = time.monotonic()
        try:
            with open(self.log, 'w', encoding='utf-8') as log:
                status = self._execute(log)
            self._judge(status)
        except Exception as error:  # a stage must not take the others along
            self.results.fail(f'could not run: {error!r}', [])
        self.seconds = time.monotonic() - began
        self._done(self)

    def _execute(self, log):
        """Run the command to its end; returns its status."""
        log.write(f'$ {" ".join(self.stage.command)}\n')
        log.flush()
        process = subprocess.Popen(
            self.stage.command, cwd=ROOT, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True)
        try:
            self._read(process, log)
        finally:
            self._end(process)
        return process.returncode

    def _read(self, process, log):
        deadline = time.monotonic() + self.stage.timeout
        rest = b''
        os.set_blocking(process.stdout.fileno(), False)
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not self._stop.is_set():
                if time.monotonic() > deadline:
                    self._timed_out = True
                    return
                if not selector.select(0.2):
                    # A daemon may hold the pipe: the command's end counts
                    if process.poll() is None:
                        continue
                    break
                data = process.stdout.read()
                if data is None:
                    continue
                if not data:
                    break
                *lines, rest = (rest + data).split(b'\n')
                for line in lines:
                    self._line(line, log)
        if rest:
            self._line(rest, log)
        if self._stop.is_set():
            return
        left = max(deadline - time.monotonic(), 1)
        try:
            process.wait(left)
        except subprocess.TimeoutExpired:
            self._timed_out = True

    def _line(self, raw, log):
        line = raw.decode('utf-8', 'replace').rstrip('\r')
        log.write(line + '\n')
        log.flush()
        self._lines.append(line)
        del self._lines[:-TAIL]
        if self.stage.live:
            print(f'  {self.stage.name}: {line}', flush=True)
        if self.stage.tap:
            self._parser.feed(line)
        if self.stage.passes and re.match(self.stage.passes, line):
            self._named += 1
        if self.stage.forbidden and re.search(self.stage.forbidden, line):
            self._forbidden.append(line)

    def _end(self, process):
        """No process of the stage is left behind."""
        deadline = time.monotonic() + KILL_AFTER
        if process.poll() is None:
            _signal_group(process, signal.SIGTERM)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        _signal_group(process, signal.SIGKILL)
        process.wait()
        process.stdout.close()

    def _judge(self, status):
        stage = self.stage
        if stage.tap:
            self.results = self._parser.close()
        else:
            self.results.passed = self._named
        if self._timed_out:
            self.results.fail(f'still running after {stage.timeout} s',
                              self._lines)
        elif self._stop.is_set():
            self.results.fail('stopped', [])
        elif status and not self.results.failed:
            self.results.fail(_status_text(status), self._lines)
        else:
            # Most often what comes of the failures, which count already
            self.ending = _status_text(status) if status else ''
            self._judge_output()

    def _judge_output(self):
        """What is wrong though the status is no news."""
        stage = self.stage
        if self._forbidden:
            self.results.fail('warnings', self._forbidden)
        elif stage.tap and not self.results.total:
            self.results.fail('no test ran', self._lines)
        elif not self.results.total:
            self.results.passed = 1


def _signal_group(process, number):
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def _status_text(status):
    if status < 0:
        return f'died of {signal.Signals(-status).name}'
    return f'exit status {status}'


class Runner:
    """Runs stages in order, up to a number at a time."""

    def __init__(self, stages, log_directory, jobs):
        self.waiting = list(stages)
        self.names = {stage.name for stage in stages}
        self.log_directory = log_directory
        self.jobs = jobs
        self.running = []
        self.finished = []
        self.failed = set()
        self._changed = threading.Condition()
        self._interrupted = None

    def interrupt(self, number):
        """A signal came: end what runs, start no more."""
        self._interrupted = self._interrupted or number
        for run in list(self.running):
            run.stop()

    def _stage_done(self, run):
        with self._changed:
            self.running.remove(run)
            self.finished.append(run)
            if run.results.failed:
                self.failed.add(run.stage.name)
            self._changed.notify_all()

    def _blocked_by(self, stage):
        """The stage in this run that failed and that this one needs."""
        return next((name for name in stage.after if name in self.failed),
                    None)

    def _ready(self, stage):
        done = {run.stage.name for run in self.finished}
        pending = [name for name in stage.after
                   if name in self.names and name not in done]
        if pending:
            return False
        alone = stage.alone or any(run.stage.alone for run in self.running)
        return len(self.running) < (1 if alone else self.jobs)

    def _skip_blocked(self):
        for stage in list(self.waiting):
            if cause := self._blocked_by(stage):
                self.waiting.remove(stage)
                run = Run(stage, self.log_directory, lambda run: None)
                run.results.fail(f'not run: {cause} failed', [])
                self.failed.add(stage.name)
                self.finished.append(run)
                report(run)

    def _start_ready(self):
        for stage in list(self.waiting):
            if self._ready(stage):
                self.waiting.remove(stage)
                run = Run(stage, self.log_directory, self._stage_done)
                self.running.append(run)
                if stage.live:
                    print(f'... {stage.name}', flush=True)
                run.start()
            elif stage.alone:
                return          # keeps its place in the order

    def run(self):
        """All stages; returns the Runs, or the number of a signal."""
        reported = 0
        with self._changed:
            while (self.waiting or self.running) and not (
                    self._interrupted and not self.running):
                if not self._interrupted:
                    self._skip_blocked()
                    reported = self._report_from(reported)
                    self._start_ready()
                self._changed.wait(0.5)
                reported = self._report_from(reported)
        return self._interrupted or self.finished

    def _report_from(self, first):
        for run in self.finished[first:]:
            if run.seconds:
                report(run)
        return len(self.finished)


def report(run):
    """The line of a stage that has ended, and its failures."""
    results = run.results
    counts = f'{results.passed} passed'
    if results.failed:
        counts += f', {results.failed} failed'
    if results.skipped:
        counts += f', {results.skipped} skipped'
    word = 'FAIL' if results.failed else 'ok'
    print(f'{word:4} {run.stage.name:<18} {counts:<36} {run.seconds:6.0f} s',
          flush=True)
    for name, lines in results.failures:
        print(f'     {run.stage.name}: {name}')
        for line in lines:
            print(f'       | {line}')
    if run.ending:
        print(f'     {run.stage.name}: {run.ending}')
    if results.failed and run.seconds:
        print(f'     log: {os.path.relpath(run.log)}')
    sys.stdout.flush()
