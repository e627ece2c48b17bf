#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Check that what the documents name exists: files, documents, make targets, sections, names of the code.

    git ls-files -z | links.py ROOT

In README and Documentation/ all of these; in any other text file the documents that it names.
"""

import fnmatch
import os
import re
import sys

# Paths below these are the tree's.  build/selftests has programs, by the name of their source.
FOLDERS = "Documentation|include|kvmft|scripts|selftests"
PATH = re.compile(rf"(?<![\w./~$<>-])(?:{FOLDERS})/[\w./*+@-]*")
PROGRAM = re.compile(r"(?<![\w./-])build/selftests/([\w-]+)")
DOCUMENT = re.compile(r"(?<![\w./-])Documentation/[\w./-]*\w")
# The kernel's own documents have a folder that this tree does not have
KERNEL_DOCUMENT = re.compile(r"Documentation/(process|userspace-api|virt|admin-guide|arch)/")
QUOTED = re.compile(r"``([^`]+)``")
FILE_NAME = re.compile(r"[\w*-]+\.(?:rst|[chSs]|py|pure|bt)$")
# In examples: a file that somebody writes
EXAMPLES = {"foo_test.c"}
# "make TARGET": quoted either way, in a row of a list, or in an example
MAKE = re.compile(r"(?:``|\"|^\s+(?:\S+ && )?)make((?: (?:-\S+|[A-Z_]+=\S*|selftests))*) ([a-z][a-z_-]*)"
                  r"(?=\s*$|  |\t| [A-Z_]+=| &&|``|\")", re.M)
# C names of the module's
IDENTIFIER = re.compile(r"(?<![\w./-])(?:kvmft|KVMFT)_\w+")
# *Option* in ``document``, and `Title`_
ITEM = re.compile(r"\*([^*\n]+)\* in ``([\w-]+\.rst)``")
TITLE = re.compile(r"(?<![`\w])`([^`<>]+)`_")
UNDERLINE = re.compile(r"^(\S[^\n]*)\n([=\-~^])\2+$", re.M)
# Names with which a document means whatever is there
PLACEHOLDER = re.compile(r"(?!ABI)[A-Z]{3,}|\.\.\.")


class Tree:
    """Which files there are, and what is in them."""

    def __init__(self, root, paths):
        self.root = root
        self.paths = {path for path in paths if os.path.isfile(os.path.join(root, path))}
        self.folders = {os.path.dirname(path) for path in self.paths}
        self.folders |= {parent for folder in self.folders for parent in parents(folder)}
        self.names = {os.path.basename(path) for path in self.paths}
        self.targets = {"": targets(self.text("Makefile")), "selftests": targets(self.text("selftests/Makefile"))}
        self.words = set()
        for path in self.paths:
            if not is_document(path):
                self.words |= set(re.findall(r"\b(?:kvmft|KVMFT)_\w+", self.text(path)))
        self.bad = 0

    def text(self, path):
        """Contents of a file; nothing of one that is not text."""
        with open(os.path.join(self.root, path), "rb") as file:
            data = file.read()
        text = "" if b"\0" in data else data.decode("utf-8", "replace")
        # A manual page's hyphens
        return text.replace("\\-", "-") if path.endswith(".1") else text

    def complain(self, path, text, at, what):
        """Something in the text of path, at that place, is wrong."""
        number = text.count("\n", 0, at) + 1
        print(f"{path}:{number}: {what}")
        self.bad += 1

    def has(self, name):
        """A file, a folder, files by pattern; made from one when the module is built."""
        name = name.rstrip("./") if name.endswith(("/", ".")) else name
        return (name in self.paths or name in self.folders or name == "kvmft/layout.h" or
                ("*" in name and bool(fnmatch.filter(self.paths, name))))

    def has_name(self, name):
        """A file of that name in any folder."""
        return name in self.names or name == "layout.h" or bool(fnmatch.filter(self.names, name))


def parents(folder):
    """All folders above it, and it."""
    while folder:
        yield folder
        folder = os.path.dirname(folder)


def is_document(path):
    """Is everything that it names looked at?"""
    return path == "README" or path.startswith("Documentation/")


def targets(makefile):
    """Targets of a makefile that can be asked for by name."""
    found = set()
    for line in re.findall(r"^([a-z][\w .-]*?)\s*::?(?!=)", makefile, re.M):
        found |= set(line.split())
    return found


def check_paths(tree, path, text):
    """Files, by path and by name alone."""
    for match in PATH.finditer(text):
        if not PLACEHOLDER.search(match[0]) and not tree.has(match[0]) and not KERNEL_DOCUMENT.match(match[0]):
            tree.complain(path, text, match.start(), f"there is no {match[0]}")
    for match in PROGRAM.finditer(text):
        if match[1] not in ("include", "fuzz") and not tree.has(f"selftests/{match[1]}.c"):
            tree.complain(path, text, match.start(), f"there is no program {match[0]}")
    for match in QUOTED.finditer(text):
        name = match[1]
        if FILE_NAME.match(name) and name not in EXAMPLES and not tree.has_name(name):
            tree.complain(path, text, match.start(), f"there is no file {name}")


def check_make(tree, path, text):
    """Targets of make."""
    for match in MAKE.finditer(text):
        words = match[1].split()
        where = "selftests" if "selftests" in words else ""
        if "-C" in words and not where:
            continue
        if match[2] not in tree.targets[where]:
            tree.complain(path, text, match.start(), f"make has no target {match[2]}")


def check_identifiers(tree, path, text):
    """Names of the module's: functions, structures, constants, variables of the environment."""
    for match in IDENTIFIER.finditer(text):
        name = match[0]
        # "KVMFT_..." and "kvmft_machine_*"
        if name.endswith("_") or text[match.end():match.end() + 1] == "*":
            known = any(word.startswith(name) for word in tree.words)
        else:
            known = name in tree.words or f"trace_{name}" in tree.words
        if not known:
            tree.complain(path, text, match.start(), f"there is no {name} in the code")


def check_sections(tree, path, text):
    """Sections, of this document and of others."""
    titles = {match[1] for match in UNDERLINE.finditer(text)}
    for match in TITLE.finditer(text):
        if match[1] not in titles:
            tree.complain(path, text, match.start(), f"there is no section \"{match[1]}\"")
    for match in ITEM.finditer(text):
        other = f"Documentation/{match[2]}"
        if other not in tree.paths or match[1] not in tree.text(other):
            tree.complain(path, text, match.start(), f"{other} says nothing of {match[1]}")


def check_documents(tree, path, text):
    """Documents that another file refers to."""
    for match in DOCUMENT.finditer(text):
        if not KERNEL_DOCUMENT.match(match[0]) and not tree.has(match[0]) and not PLACEHOLDER.search(match[0]):
            tree.complain(path, text, match.start(), f"there is no {match[0]}")


def check_list(tree):
    """README lists every document."""
    text = tree.text("README")
    for path in sorted(tree.paths):
        if path.endswith(".rst") and path not in text:
            tree.complain("README", text, len(text), f"{path} is not in the list")


def main(root):
    """Check the files named on standard input."""
    tree = Tree(root, filter(None, sys.stdin.read().split("\0")))
    for path in sorted(tree.paths):
        text = tree.text(path)
        if not is_document(path):
            if not path.startswith(("scripts/style/", "selftests/fuzz/corpus/", "scripts/lab/qemu/patches/")):
                check_documents(tree, path, text)
            continue
        check_paths(tree, path, text)
        check_make(tree, path, text)
        check_identifiers(tree, path, text)
        check_sections(tree, path, text)
    check_list(tree)
    return 1 if tree.bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
