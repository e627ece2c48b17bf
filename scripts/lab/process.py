# SPDX-License-Identifier: GPL-2.0
"""Child processes and files that do not outlive the lab."""

import ctypes
import os
import shutil
import signal
import subprocess

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def spawn(command, **options):
    """Start a child that is killed by the kernel when the lab dies.

    To be called from the main thread: the signal comes when the thread that
    forked ends.  Children get a session of their own, so that the terminal's
    Ctrl-C reaches the lab alone, which then ends them in order.
    """
    parent = os.getpid()

    def tie():
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return subprocess.Popen(command, preexec_fn=tie, start_new_session=True,
                            **options)


def end(child, grace=3):
    """End a child: politely, then for certain."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(grace)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


class Janitor:
    """Removes a directory when the lab is gone, however it went.

    A forked process that waits for the end of a pipe whose other end only
    the lab has.
    """

    def __init__(self, directory):
        self.directory = directory
        reader, self.writer = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(reader)
            return
        try:
            os.setsid()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in range(3):
                os.dup2(null, descriptor)
            os.dup2(reader, 3)
            os.closerange(4, 1024)
            os.chdir('/')
            os.read(3, 1)
            shutil.rmtree(directory, ignore_errors=True)
        finally:
            os._exit(0)

    def finish(self):
        """Have the directory removed now and wait for it."""
        if self.writer is not None:
            os.close(self.writer)
            self.writer = None
            os.waitpid(self.pid, 0)
