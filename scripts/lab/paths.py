# SPDX-License-Identifier: GPL-2.0
"""Places: the source tree, the cache, and entries built in the cache."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import tempfile

LAB = pathlib.Path(__file__).resolve().parent
SCRIPTS = LAB.parent


def cache_root():
    """Directory of everything the project downloads or builds."""
    base = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    return pathlib.Path(base) / 'kvmft'


def temporary_root():
    """Per-user directory for what lives only as long as a run."""
    base = os.environ.get('XDG_RUNTIME_DIR')
    if base and os.access(base, os.W_OK | os.X_OK):
        return base
    return tempfile.gettempdir()


def digest_files(files):
    """Hash of the names and contents of files."""
    digest = hashlib.sha256()
    for path in sorted(files):
        data = path.read_bytes()
        digest.update(f'{path.name} {len(data)}\n'.encode())
        digest.update(data)
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def locked(name):
    """Hold the cache's lock of that name against other processes."""
    directory = cache_root() / 'lock'
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / name, 'w', encoding='ascii') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_entry(kind, key, build):
    """Return the cache directory KIND/KEY, made by build(path) if missing.

    An entry appears under its name only when it is complete.
    """
    entry = cache_root() / kind / key
    if entry.is_dir():
        return entry
    with locked(kind):
        if entry.is_dir():
            return entry
        entry.parent.mkdir(parents=True, exist_ok=True)
        for stale in entry.parent.glob(f'.{key}.*'):
            shutil.rmtree(stale, ignore_errors=True)
        work = pathlib.Path(tempfile.mkdtemp(prefix=f'.{key}.',
                                             dir=entry.parent))
        try:
            build(work)
            work.chmod(0o755)
            work.rename(entry)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return entry
