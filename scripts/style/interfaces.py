#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Check that the documents list what the code has, no less and no more.

    interfaces.py ROOT

Attributes of sysfs, tracepoints and their fields, ioctls, and the names and numbers of values; and that the
scripts for bpftrace use those.
"""

import pathlib
import re
import sys

ABI = "Documentation/ABI/testing/sysfs-class-misc-kvmft"
IOCTLS = "Documentation/ioctls.rst"
TRACING = "Documentation/tracing.rst"
SCRIPTS = "scripts/bpftrace"
UAPI = "include/uapi/linux/kvmft.h"

# List of kvmft/names.h: where its enum is, what that is called, and the document's table of it: behind the line
# with these words
NAMES = {
    "STATE": (UAPI, "kvmft_state", ABI, "kvmft/session<id>/state"),
    "END": (UAPI, "kvmft_end", ABI, "kvmft/session<id>/end"),
    "MODE": (UAPI, "kvmft_mode", ABI, "kvmft/session<id>/mode"),
    "ROLE": (UAPI, "kvmft_role", ABI, "kvmft/session<id>/role"),
    "VERDICT": (UAPI, "kvmft_verdict", ABI, "kvmft/counter/verdict"),
    "FATE": ("kvmft/gate.h", "kvmft_fate", TRACING, "(fate):"),
    "STALL": ("kvmft/stall.h", "kvmft_stall", TRACING, "(why):"),
    "LANDING": ("kvmft/landing.h", "kvmft_landing_step", TRACING, "(step):"),
}
# Maps of the scripts that have names for numbers
MAPS = {"fate": "FATE", "why": "STALL", "role": "ROLE"}

RULE = re.compile(r"\s*=+(?:\s+=+)+\s*$")


class Tree:
    """The files, and what is wrong with them."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.bad = 0

    def text(self, path):
        """Contents of a file."""
        return (self.root / path).read_text("utf-8")

    def complain(self, what):
        """One more thing that is wrong."""
        print(what)
        self.bad += 1

    def compare(self, what, code, code_path, document, document_path):
        """Two sets that have to be equal."""
        if not code or not document:
            self.complain(f"{what}: none found in {document_path if code else code_path}: this check is out of date")
        for name in sorted(set(code) - set(document)):
            self.complain(f"{document_path}: {what} {name} of {code_path} is missing")
        for name in sorted(set(document) - set(code)):
            self.complain(f"{code_path}: has no {what} {name}, which {document_path} has")


def tables(text):
    """Simple tables of a document: (line before it that is not empty, rows of cells)."""
    found, lines, before, number = [], text.expandtabs(8).split("\n"), "", 0
    while number < len(lines):
        line = lines[number]
        if not RULE.match(line):
            before = line.strip() or before
            number += 1
            continue
        starts = [match.start() for match in re.finditer(r"=+", line)]
        ends = starts[1:] + [None]
        rows = []
        number += 1
        while number < len(lines) and lines[number].strip():
            line = lines[number]
            number += 1
            if RULE.match(line):
                continue
            cells = [line[start:end].strip() for start, end in zip(starts, ends)]
            if cells[0]:
                rows.append(cells)
            elif rows:
                rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells)]
        found.append((before, rows))
    return found


def first_table(tree, path, words):
    """Rows of the first table behind a line with these words."""
    text = tree.text(path)
    at = text.find(words + "\n")
    found = tables(text[at:]) if at >= 0 else []
    return found[0][1] if found else []


def enumerators(tree, path, name):
    """Enumerators of an enum -> their numbers."""
    body = re.search(rf"^enum {name} {{\n(.*?)^}};", tree.text(path), re.M | re.S)
    numbers, value = {}, -1
    for line in body[1].split("\n") if body else ():
        match = re.match(r"\t(\w+)(?:\s*=\s*(\w+))?,$", line)
        if match:
            value = int(match[2], 0) if match[2] else value + 1
            numbers[match[1]] = value
    return numbers


def names(tree):
    """List of names.h -> name -> number."""
    lists = re.split(r"^#define KVMFT_(\w+)_NAMES", tree.text("kvmft/names.h"), flags=re.M)[1:]
    found = {}
    for which, body in zip(lists[::2], lists[1::2]):
        if which not in NAMES:
            tree.complain(f"kvmft/names.h: where KVMFT_{which}_NAMES are documented is not known to this check")
            continue
        path, enum = NAMES[which][:2]
        numbers = enumerators(tree, path, enum)
        pairs = re.findall(r"\{ (\w+),\s*\"([\w-]+)\" \}", body)
        found[which] = {name: int(word) if word.isdigit() else numbers.get(word) for word, name in pairs}
        tree.compare("value", numbers, path, [word for word, _ in pairs if not word.isdigit()], "kvmft/names.h")
    return found


def check_names(tree, found):
    """Each list against its table; with the numbers, where that has them."""
    for which in NAMES:
        path, words = NAMES[which][2:]
        rows = first_table(tree, path, words)
        tree.compare(f"name ({which.lower()})", found.get(which, {}), "kvmft/names.h", [row[0] for row in rows], path)
        for row in rows:
            number = found.get(which, {}).get(row[0])
            if row[1].isdigit() and number is not None and int(row[1]) != number:
                tree.complain(f"{path}: {row[0]} is {row[1]} there, and {number} in {NAMES[which][0]}")


def attributes(tree):
    """Paths of the attributes, from the arrays in sysfs.c."""
    text = tree.text("kvmft/sysfs.c")
    folders = {"session_attrs": "session<id>/"}
    for name, attrs in re.findall(r"attribute_group \w+ = \{\n(?:\t\.name = \"(\w+)\",\n)?\t\.attrs = (\w+),", text):
        folders[attrs] = f"{name}/" if name else ""
    found = []
    for array, body in re.findall(r"(\w+)\[\] = \{\n((?:\t&\w+\.attr,\n)+)\tNULL", text):
        found += [folders[array] + name for name in re.findall(r"&(?:dev|session)_attr_(\w+)\.attr", body)]
    return found


def check_attributes(tree):
    """sysfs.c against the ABI document."""
    documented = re.findall(r"^What:\t+/sys/class/misc/kvmft/(\S+)$", tree.text(ABI), re.M)
    tree.compare("attribute", attributes(tree), "kvmft/sysfs.c", documented, ABI)


def tracepoints(tree):
    """Tracepoint -> its fields."""
    text = tree.text("kvmft/trace.h")
    if strange := re.search(r"^(?!TRACE_EVENT\()\w*EVENT\w*\(|\b__(?!field\()\w+\(\w+, \w+\)$", text, re.M):
        tree.complain(f"kvmft/trace.h: {strange[0]} is not understood by this check")
    events = re.split(r"^TRACE_EVENT\((\w+),$", text, flags=re.M)[1:]
    return {name: re.findall(r"__field\([^,]+, (\w+)\)", body) for name, body in zip(events[::2], events[1::2])}


def check_tracepoints(tree, found):
    """trace.h against the table; every field has an explanation."""
    rows = [row for before, table in tables(tree.text(TRACING)) for row in table if row[0].startswith("``kvmft_")]
    documented = {row[0].strip("`"): row[1].split() for row in rows}
    tree.compare("tracepoint", found, "kvmft/trace.h", documented, TRACING)
    for name in set(found) & set(documented):
        if found[name] != documented[name]:
            tree.complain(f"{TRACING}: {name} has {' '.join(documented[name])}, in kvmft/trace.h it is "
                          f"{' '.join(found[name])}")
    section = tree.text(TRACING).split("\nTracepoints\n", 1)[1]
    explained = {word for line in re.findall(r"^(\w+(?:, \w+)*)\n\t\S", section, re.M) for word in line.split(", ")}
    # Said of all at once
    explained.add("id")
    tree.compare("field", {field for fields in found.values() for field in fields}, "kvmft/trace.h", explained, TRACING)


def check_ioctls(tree):
    """kvmft.h against the tables: number and structure, too."""
    text = tree.text(UAPI)
    code = {name: (struct or "none", number.lower()) for name, number, struct in re.findall(
        r"^#define (\w+)\s+_IO(?:R|W|WR)?\(KVMFT_IOCTL_TYPE, (0x\w+)(?:, struct (\w+))?\)$", text, re.M)}
    if len(code) != len(re.findall(r"^#define .*\b_IO[RW]*\(", text, re.M)):
        tree.complain(f"{UAPI}: has a call that is not understood by this check")
    documented = {row[0].strip("`"): (row[1], row[2]) for _, table in tables(tree.text(IOCTLS)) for row in table
                  if row[0].startswith("``")}
    tree.compare("ioctl", code, UAPI, documented, IOCTLS)
    for name in set(code) & set(documented):
        if code[name] != documented[name]:
            tree.complain(f"{IOCTLS}: {name} is {' '.join(documented[name])}, in {UAPI} {' '.join(code[name])}")


def check_script(tree, path, events, lists):
    """A script of bpftrace's: tracepoints, their fields, and the names of numbers."""
    text = re.sub(r"/\*.*?\*/", "", tree.text(path), flags=re.S)
    used = 0
    for probe in re.split(r"^(?=\w[\w:]*$)", text, flags=re.M):
        name = re.match(r"tracepoint:kvmft:(\w+)$", probe, re.M)
        if not name:
            continue
        used += 1
        if name[1] not in events:
            tree.complain(f"{path}: there is no tracepoint {name[1]}")
            continue
        for field in sorted(set(re.findall(r"args->(\w+)", probe)) - set(events[name[1]])):
            tree.complain(f"{path}: {name[1]} has no field {field}")
    if not used:
        tree.complain(f"{path}: uses no tracepoint of the module's")
    for which, name in MAPS.items():
        given = {word: int(number) for number, word in re.findall(rf"@{which}\[(\w+)\] = \"([\w-]+)\";", text)}
        if given and given != {word: number for word, number in lists[name].items() if word != "none"}:
            tree.complain(f"{path}: @{which} is not KVMFT_{name}_NAMES")


def check_scripts(tree, events, lists):
    """The scripts, and the table of them."""
    files = {path.name for path in (tree.root / SCRIPTS).glob("*.bt")}
    rows = [row[0].strip("`") for _, table in tables(tree.text(TRACING)) for row in table if row[0].endswith(".bt``")]
    tree.compare("script", files, SCRIPTS, rows, TRACING)
    for name in sorted(files):
        check_script(tree, f"{SCRIPTS}/{name}", events, lists)


def main(root):
    """All of it."""
    tree = Tree(root)
    lists, events = names(tree), tracepoints(tree)
    check_names(tree, lists)
    check_attributes(tree)
    check_tracepoints(tree, events)
    check_ioctls(tree)
    check_scripts(tree, events, lists)
    return 1 if tree.bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
