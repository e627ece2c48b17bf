#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Check what holds for every text file: licence line, length, marks, white space.

    git ls-files -z | files.py ROOT
"""

import os
import re
import sys

MAX_LINES = 800
# The licence line goes first, or second after #!; these have none of their own.
NO_LICENCE = re.compile(r"^Documentation/ABI/|(^|/)(README|COPYING|LICENSE|series)$|\.(patch|json)$")
LICENCE = re.compile(r"SPDX-License-Identifier: \S")
# Files that are not ours to shape, or that have to spell the marks.
NO_TEXT_RULES = re.compile(r"\.patch$|^scripts/style/files\.py$")
# Any bytes; some happen to be text.
NO_TEXT = re.compile(r"^selftests/fuzz/corpus/")
MARKS = [
    (re.compile(r"\b(TODO|FIXME|XXX|HACK)\b"), "a mark of unfinished work"),
    (re.compile(r"(?<![A-Z_])(BUG|BUG_ON|VM_BUG_ON)\("), "a check that kills the host: return an error"),
    (re.compile(r"(?<![\w.])/(work|home/\w+)/"), "a path of one machine"),
    (re.compile(r"[ \t]+$"), "white space at the end"),
    (re.compile(r"\r"), "a carriage return"),
]


def complaints(path, text):
    """Everything that is wrong with one file, as (line number, message)."""
    lines = text.split("\n")
    head = lines[1:2] if text.startswith("#!") else lines[:1]
    if not NO_LICENCE.search(path) and not any(map(LICENCE.search, head)):
        yield 1, "no SPDX-License-Identifier line at the top"
    if NO_TEXT_RULES.search(path):
        return
    if text and not text.endswith("\n"):
        yield len(lines), "no newline at the end of the file"
    count = text.count("\n")
    if count > MAX_LINES:
        yield count, f"{count} lines: no file may be longer than {MAX_LINES}"
    for number, line in enumerate(lines, 1):
        for pattern, what in MARKS:
            if pattern.search(line):
                yield number, what


def main(root):
    """Check the files named on standard input."""
    bad = 0
    for path in sorted(filter(None, sys.stdin.read().split("\0"))):
        with open(os.path.join(root, path), "rb") as file:
            data = file.read()
        if not data or b"\0" in data or NO_TEXT.search(path):
            continue
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            print(f"{path}: not UTF-8: {error}")
            bad += 1
            continue
        for number, what in complaints(path, text):
            print(f"{path}:{number}: {what}")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
