#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Check Python files: they compile, have docstrings, and import what they use.

    git ls-files -z | python.py ROOT
"""

import ast
import os
import sys

MAX_COLUMNS = 120
MAX_UNEXPLAINED = 12    # lines of a public function without a docstring


def is_python(root, path):
    """Is it Python, by name or by its first line?"""
    if path.endswith(".py"):
        return True
    if "." in os.path.basename(path):
        return False
    with open(os.path.join(root, path), "rb") as file:
        first = file.readline(64)
    return first.startswith(b"#!") and b"python" in first


def names_used(tree):
    """Every name that is read anywhere, and the names that __all__ gives."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            used |= {item.value for item in ast.walk(node.value) if isinstance(item, ast.Constant)}
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            used |= set(node.value.split()) if node.value.isidentifier() else set()
    return used


def imports(tree):
    """(bound name, module, line) of every import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name.split(".")[0], alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            for alias in node.names:
                module = "." if node.level else node.module
                yield alias.asname or alias.name, module, node.lineno


def local_modules(root):
    """Names of the modules and packages of this tree."""
    found = set()
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found |= {name[:-3] for name in files if name.endswith(".py")}
        if "__init__.py" in files:
            found.add(os.path.basename(folder))
    return found


def complaints(path, text, allowed):
    """Everything that is wrong with one file, as (line number, message)."""
    try:
        tree = ast.parse(text, path)
        compile(tree, path, "exec")
    except SyntaxError as error:
        yield error.lineno or 1, f"does not compile: {error.msg}"
        return
    if not ast.get_docstring(tree) and tree.body:
        yield 1, "the module has no docstring"
    used = names_used(tree)
    for name, module, line in imports(tree):
        if name not in used and os.path.basename(path) != "__init__.py":
            yield line, f"imports {name} and does not use it"
        if module != "." and module.split(".")[0] not in allowed:
            yield line, f"imports {module}, which is not in the standard library"
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield node.lineno, "a bare except also catches KeyboardInterrupt"
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_") \
                and node.name != "main" and not ast.get_docstring(node) \
                and node.end_lineno - node.lineno >= MAX_UNEXPLAINED:
            yield node.lineno, f"{node.name} has no docstring"
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > MAX_COLUMNS:
            yield number, f"{len(line)} columns: more than {MAX_COLUMNS}"


def main(root):
    """Check the Python among the files named on standard input."""
    paths = sorted(path for path in sys.stdin.read().split("\0") if path and is_python(root, path))
    allowed = set(sys.stdlib_module_names) | local_modules(root)
    bad = 0
    for path in paths:
        with open(os.path.join(root, path), encoding="utf-8") as file:
            text = file.read()
        for number, what in sorted(complaints(path, text, allowed)):
            print(f"{path}:{number}: {what}")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
