# SPDX-License-Identifier: GPL-2.0
"""A host's console: its last lines and its kernel's complaints."""

import collections
import re

# As printed by the kernel, after the time stamp.
COMPLAINTS = re.compile(r'''
      BUG:\s | WARNING:\s | kernel\ BUG\ at\ | Kernel\ panic\ -\ not\ syncing
    | Oops: | general\ protection\ fault[:,] | double\ fault:
    | invalid\ opcode:\ | divide\ error:\ | int3:\ 0000
    | unable\ to\ handle\ | Bad\ page\ (?:state|map)
    | blocked\ for\ more\ than\ \d+ | hung\ task
    | soft\ lockup | hard\ LOCKUP
    | (?:rcu|srcu)\S*.*(?:detected.*stall|self-detected\ stall|kthread\ starved)
    | possible\ (?:circular|recursive|irq).*(?:dependency|locking).*detected
    | possible\ deadlock
    | (?:HARDIRQ|SOFTIRQ|IRQ)\S*-safe.*-unsafe.*detected
    | inconsistent\ lock\ state | bad\ unlock\ balance | held\ lock\ freed
    | (?:suspicious|invalid)\ \S*\ ?(?:usage|wait\ context)
    | lock\ held\ when\ returning\ to\ user\ space | nested\ lock\ was\ not
    | sleeping\ function\ called\ from\ invalid | scheduling\ while\ atomic
    | KASAN: | KFENCE: | KCSAN: | UBSAN:
    | kmemleak:\ \d+\ new\ suspected
    | refcount_t: | list_(?:add|del)\ corruption | workqueue\ lockup
    | ODEBUG:
''', re.X)

# Complaints after which a host may never come to an end.
HANGS = re.compile(r'blocked for more than|soft lockup|hard LOCKUP|stall|'
                   r'starved|workqueue lockup')

TIME_STAMP = re.compile(r'^\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ')


class Console:
    """Follows the console's bytes line by line."""

    def __init__(self, allowed=(), listener=None, keep=4000):
        self.allowed = [re.compile(pattern) for pattern in allowed]
        self.listener = listener
        self.lines = collections.deque(maxlen=keep)
        self.complaints = []
        self.hang_suspected = False
        self._partial = b''

    def feed(self, data):
        """Take the next bytes."""
        *lines, self._partial = (self._partial + data).split(b'\n')
        for line in lines:
            self._line(line.decode('utf-8', 'replace').rstrip('\r'))

    def finish(self):
        """No more bytes will come."""
        if self._partial:
            self.feed(b'\n')

    def _line(self, line):
        self.lines.append(line)
        if self.listener:
            self.listener(line)
        text = TIME_STAMP.sub('', line)
        if not COMPLAINTS.search(text):
            return
        if any(pattern.search(text) for pattern in self.allowed):
            return
        self.complaints.append(line)
        if HANGS.search(text):
            self.hang_suspected = True

    def last(self, count=20):
        """The last lines."""
        return list(self.lines)[-count:]

    def around_complaints(self, after=25):
        """The complaints with what the kernel printed after each."""
        wanted, remaining = [], 0
        pending = collections.deque(self.complaints)
        for line in self.lines:
            if pending and line == pending[0]:
                pending.popleft()
                remaining = after
            if remaining:
                wanted.append(line)
                remaining -= 1
        return wanted
