# SPDX-License-Identifier: GPL-2.0
"""Results out of TAP and KTAP, several documents in one output.

A test program that ends without keeping its plan, or without a plan, is a
failure; so is "Bail out!".  Output that is neither is passed over.
"""

import re

_RESULT = re.compile(r'(?P<indent>\s*)(?P<not>not )?ok\b\s*(?P<number>\d+)?'
                     r'\s*(?:-\s*)?(?P<name>[^#]*?)\s*'
                     r'(?:#\s*(?P<directive>.*))?$')
_PLAN = re.compile(r'(?P<indent>\s*)1\.\.(?P<count>\d+)\s*'
                   r'(?:#\s*(?P<directive>.*))?$')
_VERSION = re.compile(r'\s*K?TAP version \d+')
_BAIL = re.compile(r'\s*Bail out!\s*(.*)')
# What scripts/checks wraps around each program of a host: see hosts.py
_BEGIN = re.compile(r'# begin (\S+)$')
_END = re.compile(r'# end (\S+) (\d+)$')

CONTEXT = 40                    # lines of explanation kept for a failure


class Results:
    """Counts and failures of an output."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []      # (name, [lines])

    @property
    def total(self):
        """How many tests there were."""
        return self.passed + self.failed + self.skipped

    def fail(self, name, lines):
        """Count a failure."""
        self.failed += 1
        self.failures.append((name, list(lines)[-CONTEXT:]))


class _Level:
    """A document, or a subtest in one."""

    def __init__(self, indent):
        self.indent = indent
        self.planned = None
        self.seen = 0


class Parser:
    """Feed it lines; close() when there are no more."""

    def __init__(self):
        self.results = Results()
        self._program = ''
        self._levels = []       # open documents, outermost first
        self._context = []
        # How things stood at the last outer result, and where the program began
        self._failed_before = self._failed_at_begin = self._total_at_begin = 0

    def _name(self, name):
        return f'{self._program}: {name}' if self._program else name

    def _finish(self, indent=0):
        """Close the levels at @indent or deeper."""
        while self._levels and self._levels[-1].indent >= indent:
            level = self._levels.pop()
            if level.planned is None:
                self.results.fail(self._name('no plan'), self._context)
            elif level.seen != level.planned:
                self.results.fail(
                    self._name(f'{level.seen} of {level.planned} tests ran'),
                    self._context)

    def _level(self, indent):
        """The innermost open level for a line with that indent."""
        while len(self._levels) > 1 and self._levels[-1].indent > indent:
            self._finish(self._levels[-1].indent)
        if not self._levels or self._levels[-1].indent < indent:
            self._levels.append(_Level(indent))
        return self._levels[-1]

    def _result(self, match):
        indent = len(match['indent'])
        has_subtests = bool(self._levels) and self._levels[-1].indent > indent
        level = self._level(indent)
        level.seen += 1
        name = self._name(match['name'] or f'test {match["number"]}')
        directive = (match['directive'] or '').upper()
        if has_subtests:
            # The sum of what has been counted already, unless it says more
            if match['not'] and self.results.failed == self._failed_before:
                self.results.fail(name, self._context)
        elif directive.startswith('SKIP'):
            self.results.skipped += 1
        elif match['not']:
            self.results.fail(name, self._context + [match.string.strip()])
        else:
            self.results.passed += 1
        if indent == 0:
            self._failed_before = self.results.failed
        self._context.clear()

    def _end(self, program, status):
        before = self.results.failed
        spoke = bool(self._levels) or self._total_at_begin != self.results.total
        self._finish()
        if not spoke:
            self.results.fail(f'{program}: no TAP, exit status {status}',
                              self._context)
        elif status and self.results.failed == self._failed_at_begin:
            self.results.fail(f'{program}: exit status {status}',
                              self._context)
        elif not status and before != self._failed_at_begin:
            self.results.fail(f'{program}: exit status 0 despite failures', [])
        self._program = ''
        self._context.clear()

    def feed(self, line):
        """Take one line."""
        line = line.rstrip('\r\n')
        if match := _BEGIN.match(line):
            self._finish()
            self._program = match[1]
            self._total_at_begin = self.results.total
            self._failed_at_begin = self.results.failed
            self._context.clear()
        elif (match := _END.match(line)) and self._program == match[1]:
            self._end(match[1], int(match[2]))
        elif _VERSION.match(line):
            indent = len(line) - len(line.lstrip())
            if not indent:
                self._finish()
            self._levels.append(_Level(indent))
        elif match := _PLAN.match(line):
            level = self._level(len(match['indent']))
            level.planned = int(match['count'])
            if not level.planned and match['directive'] and \
                    match['directive'].upper().startswith('SKIP'):
                self.results.skipped += 1
        elif match := _BAIL.match(line):
            self.results.fail(self._name(f'bailed out: {match[1]}'),
                              self._context)
            self._levels.clear()
        elif match := _RESULT.match(line):
            self._result(match)
        else:
            self._context.append(line)
            del self._context[:-CONTEXT]

    def close(self):
        """No more lines; returns the Results."""
        if self._program:
            self.results.fail(f'{self._program}: did not end', self._context)
        else:
            self._finish()
        return self.results


def parse(text):
    """Results of a whole output."""
    parser = Parser()
    for line in text.splitlines():
        parser.feed(line)
    return parser.close()
