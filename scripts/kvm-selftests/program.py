# SPDX-License-Identifier: GPL-2.0
"""One of KVM's selftests, run under a time limit, and what the kernel said meanwhile."""

import errno
import os
import re
import signal
import subprocess
import time

PASS, SKIP = 0, 4               # exit statuses of kselftest programs
LAST_LINES = 15
ASSERTION = re.compile(r"==== Test Assertion Failure ====\n\s*(?P<place>.*)")
COMPLAINT = re.compile(r"BUG:|WARNING:|KASAN:|UBSAN:|Oops|general protection|kernel BUG|"
                       r"blocked for more than|soft lockup|self-detected stall|"
                       r"possible (circular|recursive|irq)|suspicious RCU|sleeping function|ODEBUG")


class KernelLog:
    """What the kernel prints from now on."""

    def __init__(self):
        self.fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self.fd, 0, os.SEEK_END)

    def complaints(self):
        """The complaints since the last call."""
        found = []
        while True:
            try:
                record = os.read(self.fd, 8192).decode("utf-8", "replace")
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.EPIPE:      # overwritten before it was read
                    raise
                continue
            text = record.partition(";")[2].partition("\n")[0]
            if COMPLAINT.search(text):
                found.append(text)


class Result:
    """How one run ended."""

    def __init__(self, seconds, reason, skipped, output):
        self.seconds = seconds
        self.reason = reason        # why it failed, or None
        self.skipped = skipped
        self.output = output

    def last_lines(self):
        """The end of what the program printed."""
        return self.output.splitlines()[-LAST_LINES:]


def kill_group(child):
    """Kill a child and its descendants; it leads a process group of its own."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def run(path, limit, log):
    """Run a program once, for at most limit seconds."""
    start = time.monotonic()
    reason = None
    child = subprocess.Popen([path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, cwd=os.path.dirname(path), start_new_session=True)
    try:
        output = child.communicate(timeout=limit)[0]
    except subprocess.TimeoutExpired:
        reason = f"not finished after {limit:.0f} s"
        kill_group(child)
        output = child.communicate()[0]
    except BaseException:
        kill_group(child)
        raise
    seconds = time.monotonic() - start
    text = output.decode("utf-8", "replace")
    skipped = child.returncode == SKIP
    if reason is None and child.returncode < 0:
        reason = f"killed by {signal.Signals(-child.returncode).name}"
    elif reason is None and child.returncode not in (PASS, SKIP):
        assertion = ASSERTION.search(text)
        reason = assertion["place"] if assertion else f"exit status {child.returncode}"
    complaints = log.complaints()
    if complaints:
        reason = "the kernel complained: " + complaints[0]
    return Result(seconds, reason, skipped, text)
