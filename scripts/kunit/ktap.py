#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Judge the KTAP of KUnit suites.

Reads a kernel's output, passes the KTAP in it through, and ends with counts.
Exit status 0 only if every expected suite ran, none failed, each ran at least
one test that was not skipped, every plan was met and the kernel complained of
nothing meanwhile.

    ktap.py --sources FILE...   the suites to expect, as `struct kunit_suite` in FILEs
    ktap.py SUITE...            the suites to expect, by name
"""

import re
import sys

RESULT = re.compile(r"^(?P<indent>(?:    )*)(?P<not>not )?ok (?P<number>\d+)\b(?: -)? ?"
                    r"(?P<name>[^#]*?)\s*(?:# (?P<directive>.*))?$")
PLAN = re.compile(r"^(?P<indent>(?:    )*)1\.\.(?P<count>\d+)$")
VERSION = re.compile(r"^\s*K?TAP version \d+$")
COMPLAINT = re.compile(r"\b(BUG:|WARNING:|KASAN:|UBSAN:|Kernel panic|Oops\b|general protection|"
                       r"possible (circular|recursive) locking|Segfault with no mm)")
STAMP = re.compile(r"^(?:<\d+>)?\[ *\d+\.\d+\](?:\[[^\]]*\])? ")
SUITE = re.compile(r"struct\s+kunit_suite\s+\w+\s*=\s*\{(?P<body>.*?)\}\s*;", re.S)
SUITE_NAME = re.compile(r'\.name\s*=\s*"(?P<name>[^"]+)"')


class Level:
    """One level of nesting: what its plan says and which results came."""

    def __init__(self):
        self.plan = None
        self.seen = 0
        self.ran = 0
        self.failed = 0
        self.skipped = 0

    def add(self, failed, skipped):
        """Count one result."""
        self.seen += 1
        if failed:
            self.failed += 1
        elif skipped:
            self.skipped += 1
        if not skipped:
            self.ran += 1


class Judge:
    """Follows KTAP line by line and remembers every reason to fail."""

    def __init__(self, expected):
        self.expected = expected
        self.levels = {}
        self.started = False
        self.suites = {}
        self.tests = Level()
        self.reasons = []

    def line(self, text):
        """Take one line; return True if it belongs to the KTAP."""
        if COMPLAINT.search(text) and not text.lstrip().startswith(("ok ", "not ok ")):
            self.reasons.append("the kernel complained: " + text.strip())
        if VERSION.match(text):
            self.started = True
            return True
        plan = PLAN.match(text)
        if plan and self.started:
            self.levels[len(plan["indent"]) // 4] = level = Level()
            level.plan = int(plan["count"])
            return True
        result = RESULT.match(text)
        if result and self.started:
            self.result(result)
            return True
        return self.started and not self.finished()

    def finished(self):
        """Did every planned suite end? What follows is the kernel shutting down."""
        top = self.levels.get(0)
        return bool(top and top.plan is not None and top.seen >= top.plan)

    def result(self, match):
        """Take one result line."""
        depth = len(match["indent"]) // 4
        failed = bool(match["not"])
        skipped = (match["directive"] or "").upper().startswith("SKIP")
        level = self.levels.setdefault(depth, Level())
        level.add(failed, skipped)
        if int(match["number"]) != level.seen:
            self.reasons.append(f"result {match['number']} ({match['name']}) came as number {level.seen}")
        below = self.levels.pop(depth + 1, None)
        if below:
            self.close(below, match["name"])
        if depth == 0:
            self.suites[match["name"]] = below or Level()
            if failed:
                self.reasons.append(f"suite {match['name']} failed")
        elif depth == 1:
            self.tests.add(failed, skipped)

    def close(self, level, name):
        """Check that a finished level kept its plan."""
        if level.plan is not None and level.plan != level.seen:
            self.reasons.append(f"{name}: {level.plan} results planned, {level.seen} came")

    def verdict(self):
        """Print the counts and the reasons; return the exit status."""
        top = self.levels.get(0)
        if not self.started:
            self.reasons.append("no KTAP in the output")
        elif top:
            self.close(top, "the run")
        if not self.expected:
            self.reasons.append("there is no suite to run")
        for name in self.expected:
            if name not in self.suites:
                self.reasons.append(f"suite {name} did not run")
        for name, level in self.suites.items():
            if level.ran == 0:
                self.reasons.append(f"suite {name} ran no test")
        tests = self.tests
        print(f"# kunit: {len(self.suites)} suites, {tests.ran - tests.failed} tests passed, "
              f"{tests.failed} failed, {tests.skipped} skipped")
        for reason in self.reasons:
            print(f"# kunit: FAIL: {reason}")
        return 1 if self.reasons or tests.failed else 0


def suites_in(paths):
    """Names of the suites that C files define; a file without one is an error."""
    names = []
    for path in paths:
        with open(path, encoding="utf-8") as source:
            bodies = SUITE.findall(source.read())
        found = [match["name"] for match in map(SUITE_NAME.search, bodies) if match]
        if not found:
            sys.exit(f"ktap: {path} defines no struct kunit_suite with a .name")
        names += found
    return names


def main(args):
    """Judge standard input."""
    expected = suites_in(args[1:]) if args[:1] == ["--sources"] else args
    judge = Judge(expected)
    before = []
    for raw in sys.stdin.buffer:
        text = STAMP.sub("", raw.decode("utf-8", "replace").rstrip("\r\n"))
        if judge.line(text):
            print(text, flush=True)
        else:
            before.append(text)
    if not judge.started:
        print("\n".join(before[-40:]), file=sys.stderr)
    return judge.verdict()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
