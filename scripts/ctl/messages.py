# SPDX-License-Identifier: GPL-2.0
"""What kvmftctl tells its user: errors of the calls and ends of sessions, in plain words."""

import errno
import os
import re
import sys

from .uapi import ALIGN_US_MAX, End, State

FAILED = 1
USAGE = 2

_VERSIONS = ('the loaded module and this kvmftctl do not fit together: build both from one tree, and load '
             'that module')
_NO_ROOM = 'the log can not be written: {error}: make room, or record to another file system'
_NOT_WRITTEN = 'the log can not be written: {error}'
_NO_FILES = 'too many files are open: raise the limit (ulimit -n)'
_NO_MEMORY = 'the kernel is out of memory: free some and try again'
_LOG_SAYS = 'the kernel log says which:'
_DAMAGED = 'what came from the other side is damaged; ' + _LOG_SAYS

# (call, errno) -> sentence
_CALLS = {
    ('open', errno.ENOENT): 'there is no /dev/kvmft: load the module first ("modprobe kvmft")',
    ('open', errno.ENXIO): 'there is no module behind /dev/kvmft: load it first ("modprobe kvmft")',
    ('open', errno.EACCES): '/dev/kvmft may not be opened: run kvmftctl as root',
    ('open', errno.EPERM): '/dev/kvmft may not be opened: run kvmftctl as root, with CAP_SYS_ADMIN',

    ('create', errno.EBADF): 'QEMU closed its VM meanwhile: see what QEMU says',
    ('create', errno.EINVAL): _VERSIONS,
    ('create', errno.E2BIG): _VERSIONS,
    ('create', errno.EBUSY): 'the VM has a session already, or is ending: one kvmftctl works on a VM at a time',
    ('create', errno.EOPNOTSUPP): 'this VM can have no session: it has not exactly one vCPU, or the counters '
                                  'are not exact, or a function of KVM can not be hooked on this kernel; '
                                  + _LOG_SAYS,
    ('create', errno.ENOEXEC): 'the module was built for other KVM modules than those that are loaded: '
                               'build kvmft again for the running kernel and load it',
    ('create', errno.EINTR): 'the self-test of the counters was interrupted: try again',
    ('create', errno.EMFILE): _NO_FILES,
    ('create', errno.ENFILE): _NO_FILES,
    ('create', errno.ENOMEM): _NO_MEMORY,

    ('record', errno.EBADF): 'the log can not be written by the kernel: record to another file',
    ('record', errno.EINVAL): 'the log has to be an empty regular file: record to another file',
    ('record', errno.E2BIG): _VERSIONS,
    ('record', errno.ENOTTY): 'the loaded module can not record: build kvmft from this tree and load it',
    ('record', errno.ERANGE): f'--align-us is at most {ALIGN_US_MAX}',
    ('record', errno.EBUSY): 'the VM has run already, or is being recorded or replayed: leave it to kvmftctl '
                             'to start QEMU and its guest',
    ('record', errno.EOPNOTSUPP): 'the VM has what can not be recorded: change QEMU\'s command line; ' + _LOG_SAYS,
    ('record', errno.ESTALE): 'the session ended before the guest began',
    ('record', errno.ENOMEM): _NO_MEMORY,

    ('replay', errno.EBADF): 'the log can not be read by the kernel: copy it to another file system',
    ('replay', errno.EINVAL): 'the log has to be a regular file',
    ('replay', errno.E2BIG): _VERSIONS,
    ('replay', errno.ENOTTY): 'the loaded module can not replay: build kvmft from this tree and load it',
    ('replay', errno.EBUSY): 'the VM has run already, or is being recorded or replayed: leave it to kvmftctl '
                             'to start QEMU and its guest',
    ('replay', errno.EOPNOTSUPP): 'the VM has what can not be replayed: give QEMU the same command line as for '
                                  'the recording; ' + _LOG_SAYS,
    ('replay', errno.ESTALE): 'the session ended before the guest began',
    ('replay', errno.EPROTO): 'the log was written by another version of kvmft: replay it with that version',
    ('replay', errno.EBADMSG): 'the file is no log of kvmft, or its beginning is damaged',
    ('replay', errno.ENOMEM): _NO_MEMORY,

    ('pair', errno.EINVAL): 'the connection to the other side has broken',
    ('pair', errno.E2BIG): _VERSIONS,
    ('pair', errno.ENOTTY): 'the loaded module knows no pairs: build kvmft from this tree and load it',
    ('pair', errno.EBUSY): 'the VM has run already, or is being recorded or replayed: leave it to kvmftctl to '
                           'start QEMU and its guest; or another host writes the arbiter\'s block; ' + _LOG_SAYS,
    ('pair', errno.EAGAIN): 'the arbiter\'s disk does not answer; ' + _LOG_SAYS,
    ('pair', errno.ESHUTDOWN): 'the other side has given up: see what its kvmftctl says',
    ('pair', errno.EMSGSIZE): _DAMAGED,
    ('pair', errno.EBADMSG): _DAMAGED,
    ('pair', errno.EILSEQ): _DAMAGED,
    ('pair', errno.EOPNOTSUPP): 'the VM has what can not be replayed: change QEMU\'s command line on both sides; or '
                                'the arbiter is no SCSI disk with COMPARE AND WRITE; ' + _LOG_SAYS,
    ('pair', errno.EEXIST): 'the arbiter\'s block is not this pair\'s; ' + _LOG_SAYS,
    ('pair', errno.ENOTBLK): 'the arbiter is no block device',
    ('pair', errno.ENODEV): 'the arbiter\'s disk does not answer; ' + _LOG_SAYS,
    ('pair', errno.EIO): 'the arbiter\'s disk does not answer; ' + _LOG_SAYS,
    ('pair', errno.ERANGE): 'the arbiter\'s disk has no such block, or the time-out is no such time',
    ('pair', errno.ESTALE): 'the session ended before the guest began',
    ('pair', errno.EPROTO): 'the two hosts do not match; ' + _LOG_SAYS,
    ('pair', errno.ETIMEDOUT): 'the other side does not answer: see what its kvmftctl says, or give --timeout-ms a '
                               'higher value',
    ('pair', errno.ECONNRESET): 'the other side has closed the connection: see what its kvmftctl says',
    ('pair', errno.EPIPE): 'the other side has closed the connection: see what its kvmftctl says',
    ('pair', errno.EINTR): 'interrupted before the guest began',
    ('pair', errno.ENOMEM): _NO_MEMORY,

    ('finish', errno.EINTR): 'the log has no end: the guest did not come to a place where a replay can stop',
    ('finish', errno.EOPNOTSUPP): 'the session does not record',
    ('finish', errno.EINVAL): _VERSIONS,
    ('finish', errno.ENOTTY): _VERSIONS,
    ('finish', errno.ESTALE): 'the session had ended',
    ('finish', errno.EIO): 'the session ended before its log could',

    ('status', errno.EINVAL): _VERSIONS,
    ('status', errno.E2BIG): _VERSIONS,
    ('status', errno.ENOTTY): _VERSIONS,
    ('info', errno.EINVAL): _VERSIONS,
    ('info', errno.E2BIG): _VERSIONS,
    ('info', errno.ENOTTY): _VERSIONS,
}
for _call in ('record', 'finish'):
    for _number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        _CALLS[_call, _number] = _NO_ROOM
    for _number in (errno.EROFS, errno.EPIPE):
        _CALLS[_call, _number] = _NOT_WRITTEN

_WHAT = {
    'open': 'opening /dev/kvmft',
    'create': 'making a session',
    'record': 'starting to record',
    'replay': 'starting to replay',
    'pair': 'starting the pair',
    'finish': 'ending the log',
    'status': 'asking for the session\'s state',
    'info': 'asking for the module\'s state',
}

# Why a session ended, where the guest did not end it; {doing} is what kvmftctl does
_ENDS = {
    End.NONE: '{doing} was not brought to its end',
    End.CLOSED: 'the session was closed',
    End.VM_DESTROYED: 'QEMU gave its VM up before the end',
    End.COUNTER_LOST: 'a counter was lost to another user of the PMU: end what counts CPU-wide (perf, the NMI '
                      'watchdog) and try again',
    End.VCPU_ADDED: 'QEMU added a second vCPU: a guest may have one',
    End.NO_COUNTER: 'no counter was free on the vCPU\'s thread: end what uses the PMU (perf, the NMI watchdog) '
                    'and try again',
    End.COUNTER_WRONG: 'the counters contradict each other: this machine can not be trusted to count; load the '
                       'module again to have it tested',
    End.DIVERGED: 'the guest did not do what the log says',
    End.LOG_ERROR: {
        'recording': 'the log could not be written: see that there is room, and record again',
        'replaying': 'the log is damaged or ends early',
        'protecting': 'the backup is lost',
        'following': 'the primary is lost',
    },
    End.UNSUPPORTED: 'QEMU or the guest did what can not be replayed',
}


_STATES = {
    State.ARMED: 'set up; the guest has not begun',
    State.COUNTING: {
        'counting': 'the guest\'s branches are counted',
        'recording': 'the guest is recorded',
        'replaying': 'the guest runs by its log',
        'protecting': 'the guest runs here, and is protected',
        'following': 'the primary\'s guest is replayed as it runs',
    },
    State.ENDED: 'it is over',
    State.CLAIMING: 'this side is alone: its guest stands still until the arbiter has decided',
    State.LIVE: 'this side is alone: its guest runs on, without protection',
    State.STOPPED: 'the other side is live: the guest never runs again here',
}

_ANEW = 'start the guest anew as a pair'

_NEXT_IN = {
    State.CLAIMING: 'see that this host reaches the arbiter\'s disk; it is asked every second',
    State.LIVE: f'{_ANEW} to have it protected again, and see what became of the other host',
    State.STOPPED: 'end kvmftctl and QEMU of this side',
}

_NEXT_AFTER = {
    End.VM_DESTROYED: 'see what QEMU said',
    End.VCPU_ADDED: 'leave "-smp" out of QEMU\'s command line',
    End.DIVERGED: {
        'replaying': 'give QEMU the command line of the recording; if it was that, keep the log and the kernel log',
        'following': 'compare QEMU\'s command lines; if they are the same, keep the kernel logs of both hosts; '
                     f'the primary\'s guest goes on without protection: {_ANEW}',
    },
    End.LOG_ERROR: {
        'replaying': '"kvmftctl log stat FILE" shows how far the log goes',
        'protecting': f'the guest runs on without protection: see what became of the backup\'s host, and {_ANEW}',
        'following': f'nobody has taken over: see what became of the primary\'s host, and {_ANEW}',
    },
    End.UNSUPPORTED: 'change QEMU\'s command line: Documentation/kvmftctl.rst has what it needs',
}


class CtlError(Exception):
    """Something the user has to know of; carries the exit status."""

    def __init__(self, message, status=FAILED):
        super().__init__(message)
        self.status = status


class CallError(CtlError):
    """A call of the module's that failed."""

    def __init__(self, call, number):
        super().__init__(describe_call(call, number))
        self.see_kernel_log = str(self).endswith(_LOG_SAYS)
        self.call = call
        self.errno = number


def describe_call(call, number):
    """The sentence for an errno of a call."""
    error = os.strerror(number)
    known = _CALLS.get((call, number))
    if known:
        return known.format(error=error)
    return f'{_WHAT[call]} failed: {error}'


def describe_end(doing, value):
    """The sentence for a session that ended so."""
    if value == End.FINISHED:
        return f'{doing} is complete'
    try:
        known = _ENDS[End(value)]
    except (ValueError, KeyError):
        return f'the session ended for a reason that this kvmftctl does not know ({value})'
    if isinstance(known, dict):
        known = known.get(doing, 'its log failed')
    return known.format(doing=doing)


def describe_state(state, doing):
    """What a session's state means to its guest."""
    known = _STATES.get(state, 'a state that this kvmftctl does not know')
    return known.get(doing, '') if isinstance(known, dict) else known


def next_step(state, doing, end):
    """What to do about a session in that state; "" for nothing, or where describe_end() says it."""
    if state != State.ENDED:
        return _NEXT_IN.get(state, '')
    known = _NEXT_AFTER.get(end, '')
    return known.get(doing, '') if isinstance(known, dict) else known


def with_errors(text):
    """The module's words, its "error -28" with a name."""
    return re.sub(r'\berror -(\d+)\b', lambda found: f'{found[0]}: {os.strerror(int(found[1]))}', text)


def say(message):
    """Print a line of kvmftctl's own to standard error."""
    try:
        print(f'kvmftctl: {message}', file=sys.stderr, flush=True)
    except OSError:
        # Nobody listens, or a disk is full; what is being done goes on
        pass
