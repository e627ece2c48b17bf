# SPDX-License-Identifier: GPL-2.0
"""The initramfs of a host: busybox, a few modules and our init."""

import hashlib
import lzma
import pathlib

from . import paths
from .messages import LabError

BUSYBOX = pathlib.Path('/bin/busybox')
GUEST = paths.LAB / 'guest'
MODULES = ('9p', '9pnet_virtio', 'overlay')
APPLETS = ('sh', 'mount', 'umount', 'insmod', 'mkdir', 'cp', 'cat', 'echo',
           'reboot', 'switch_root')


class Archive:
    """A cpio archive in the "newc" format."""

    def __init__(self):
        self.data = bytearray()
        self.count = 0

    def add(self, name, mode, data=b''):
        """Append one file, directory or link."""
        self.count += 1
        encoded = name.encode() + b'\0'
        fields = (self.count, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0,
                  len(encoded), 0)
        header = b'070701' + b''.join(b'%08x' % field for field in fields)
        self._append(header + encoded)
        self._append(data)

    def _append(self, data):
        self.data += data
        self.data += bytes(-len(self.data) % 4)

    def directory(self, name):
        """Append a directory."""
        self.add(name, 0o040755)

    def file(self, name, data, mode=0o644):
        """Append a regular file."""
        self.add(name, 0o100000 | mode, data)

    def link(self, name, target):
        """Append a symbolic link."""
        self.add(name, 0o120777, target.encode())

    def finish(self):
        """Return the archive's bytes."""
        self.add('TRAILER!!!', 0)
        return bytes(self.data)


def _module_data(path):
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == '.xz' else data


def add_modules(archive, kernel, names):
    """Append modules and what they need, and modules/order, their names."""
    order = []
    for path in kernel.module_files(names):
        name = path.name.removesuffix('.xz')
        archive.file(f'modules/{name}', _module_data(path))
        order.append(name)
    archive.file('modules/order', ''.join(f'{n}\n' for n in order).encode())


def _assemble(kernel):
    archive = Archive()
    for name in ('bin', 'proc', 'sys', 'dev', 'root', 'machine', 'overlay',
                 'modules'):
        archive.directory(name)
    if not BUSYBOX.exists():
        raise LabError(f'{BUSYBOX} is missing: run "scripts/lab/lab setup"')
    archive.file('bin/busybox', BUSYBOX.read_bytes(), 0o755)
    for applet in APPLETS:
        archive.link(f'bin/{applet}', 'busybox')
    add_modules(archive, kernel, MODULES)
    archive.file('init', (GUEST / 'init').read_bytes(), 0o755)
    archive.file('host', (GUEST / 'host').read_bytes(), 0o755)
    return archive.finish()


def _key(kernel):
    """What goes into the archive, without reading the modules' bytes."""
    digest = hashlib.sha256()
    for path in (paths.LAB / 'initramfs.py', GUEST / 'init', GUEST / 'host'):
        digest.update(path.read_bytes())
    # A kernel built here can change under the same name.
    for path in (BUSYBOX, *kernel.module_files(MODULES)):
        status = path.stat()
        digest.update(f'{path} {status.st_size} '
                      f'{status.st_mtime_ns}\n'.encode())
    return digest.hexdigest()[:16]


def find(kernel):
    """Path of the initramfs for that kernel, built when missing."""
    if not BUSYBOX.exists():
        raise LabError(f'{BUSYBOX} is missing: run "scripts/lab/lab setup"')

    def build(work):
        (work / 'initramfs.cpio').write_bytes(_assemble(kernel))

    key = f'{kernel.version}-{_key(kernel)}'
    return paths.build_entry('initramfs', key, build) / 'initramfs.cpio'
