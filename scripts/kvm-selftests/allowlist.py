# SPDX-License-Identifier: GPL-2.0
"""The list of KVM's selftests that pass bare in the lab, with the seconds each took."""

import os

PATH = os.path.join(os.path.dirname(os.path.realpath(__file__)), "allow")


def read(path=PATH):
    """Return {name: seconds}."""
    tests = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            try:
                name, seconds = words[0], float(words[1])
            except (IndexError, ValueError):
                raise SystemExit(f"{path}:{number}: not \"NAME SECONDS\"") from None
            if len(words) > 2 or name in tests:
                raise SystemExit(f"{path}:{number}: {name} is there twice, or has words after it")
            tests[name] = seconds
    if not tests:
        raise SystemExit(f"{path}: no test in it: run scripts/kvm-selftests/calibrate")
    return tests


def write(tests, comment, path=PATH):
    """Replace the list."""
    width = max(map(len, tests))
    lines = ["# SPDX-License-Identifier: GPL-2.0"]
    lines += ["# " + line if line else "#" for line in comment]
    lines += [f"{name:{width}} {seconds:5.1f}" for name, seconds in sorted(tests.items())]
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    os.replace(path + ".new", path)


def programs(folder):
    """Names of all programs that the build left in a folder."""
    names = []
    for sub in ("", "x86_64"):
        with os.scandir(os.path.join(folder, sub)) as entries:
            names += [os.path.join(sub, entry.name) for entry in entries
                      if entry.is_file() and os.access(entry.path, os.X_OK)]
    return sorted(names)
