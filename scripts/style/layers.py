#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Check that each file of the module includes only what its layer may.

    layers.py TABLE DIR
"""

import configparser
import fnmatch
import os
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*(?P<open>[<"])(?P<name>[^>"]+)[>"]')
TEST = "_test"


class Table:
    """The layers, and who belongs to which."""

    def __init__(self, path):
        parser = configparser.ConfigParser()
        if not parser.read(path):
            sys.exit(f"layers: cannot read {path}")
        self.headers = {name: words.split() for name, words in parser.items("headers")}
        self.layer_of = {}
        self.uses = {}
        self.granted = {}
        for layer in parser.sections():
            if layer == "headers":
                continue
            section = parser[layer]
            self.uses[layer] = set(section["uses"].split()) | {layer}
            self.granted[layer] = set(section.get("kernel", "").split())
            for name in section["files"].split():
                if name in self.layer_of:
                    sys.exit(f"layers: {name} is in the layers {self.layer_of[name]} and {layer}")
                self.layer_of[name] = layer
        self.check()

    def check(self):
        """Refuse a table that names what it does not define."""
        for layer, used in self.uses.items():
            for name in used - set(self.uses):
                sys.exit(f"layers: layer {layer} uses {name}, which is no layer")
            for name in self.granted[layer] - set(self.headers):
                sys.exit(f"layers: layer {layer} is granted {name}, which is no class of headers")

    def class_of(self, header):
        """The class that restricts a kernel header, or None."""
        for name, patterns in self.headers.items():
            if name != "pure" and any(fnmatch.fnmatchcase(header, pattern) for pattern in patterns):
                return name
        return None

    def is_pure_header(self, header):
        """May pure code include this kernel header?"""
        return any(fnmatch.fnmatchcase(header, pattern) for pattern in self.headers["pure"])


def stem(name):
    """The name by which the table knows a file."""
    base = os.path.splitext(name)[0]
    return base[:-len(TEST)] if base.endswith(TEST) else base


def complaint(table, layer, quoted, header):
    """What is wrong with one #include, or None."""
    if quoted:
        target = table.layer_of.get(stem(header))
        if target is None:
            return f'"{header}" belongs to no layer'
        if target not in table.uses[layer]:
            return f'layer {layer} may not include "{header}" of layer {target}'
        return None
    restricted = table.class_of(header)
    if restricted and restricted not in table.granted[layer]:
        return f"layer {layer} may not include <{header}>: only layers granted '{restricted}' may"
    if layer == "pure" and not table.is_pure_header(header):
        return f"<{header}> is not among the headers that pure code may include"
    return None


def main(table_path, folder):
    """Check every C file, header and assembly file of the folder."""
    table = Table(table_path)
    bad = 0
    names = sorted(name for name in os.listdir(folder)
                   if name.endswith((".c", ".h", ".S")) and not name.endswith(".mod.c"))
    for name in names:
        path = os.path.join(folder, name)
        layer = table.layer_of.get(stem(name))
        if layer is None:
            print(f"{path}: belongs to no layer: add it to {table_path}")
            bad += 1
            continue
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                match = INCLUDE.match(line)
                wrong = match and complaint(table, layer, match["open"] == '"', match["name"])
                if wrong:
                    print(f"{path}:{number}: {wrong}")
                    bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
