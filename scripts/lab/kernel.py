# SPDX-License-Identifier: GPL-2.0
"""The kernels hosts boot: chosen, fetched from the archive, unpacked."""

import os
import pathlib
import re
import shutil
import subprocess

from . import paths, vmlinux
from .messages import USAGE, LabError, say

SERIES = '6.12'
PACKAGE = re.compile(r'linux-image-(' + re.escape(SERIES) +
                     r'\.\d+[0-9a-z.+~]*-amd64)')


class Kernel:
    """A directory holding vmlinux and lib/modules/VERSION."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory).resolve()
        self.image = self.directory / 'vmlinux'
        if not self.image.is_file():
            raise LabError(f'{self.directory}: no vmlinux in it', USAGE)
        versions = sorted(
            entry.name for entry in
            (self.directory / 'lib' / 'modules').glob('*') if entry.is_dir())
        if len(versions) != 1:
            raise LabError(f'{self.directory}: lib/modules must hold exactly '
                           f'one kernel version, found {versions or "none"}',
                           USAGE)
        self.version = versions[0]
        # Hosts follow this path below another root: no links in it.
        self.modules = (self.directory / 'lib' / 'modules'
                        / self.version).resolve()

    @property
    def headers(self):
        """Directory to build modules against, or None."""
        build = self.modules / 'build'
        return build.resolve() if build.exists() else None

    @property
    def tick_rate(self):
        """Timer ticks a second, as configured (or as Debian does)."""
        try:
            config = (self.directory / 'config').read_text('utf-8')
        except FileNotFoundError:
            config = ''
        match = re.search(r'^CONFIG_HZ=(\d+)$', config, re.M)
        return int(match[1]) if match else 250

    def module_files(self, names):
        """Files of the modules and what they need, in loading order.

        Modules that are built in are left out.
        """
        builtin = set()
        for line in self._lines('modules.builtin'):
            builtin.add(_module_name(line))
        needs = {}
        for line in self._lines('modules.dep'):
            path, _, rest = line.partition(':')
            needs[_module_name(path)] = (path, rest.split())
        ordered = []
        for name in names:
            if name in needs:
                path, first = needs[name]
                ordered += [p for p in [*reversed(first), path]
                            if p not in ordered]
            elif name not in builtin:
                raise LabError(f'kernel {self.version} has no module {name}, '
                               'which a host needs to boot')
        return [self.modules / path for path in ordered]

    def _lines(self, name):
        try:
            return (self.modules / name).read_text('utf-8').splitlines()
        except FileNotFoundError:
            raise LabError(f'{self.modules / name} is missing: run depmod -b '
                           f'{self.directory} {self.version}') from None


def _module_name(path):
    name = os.path.basename(path).split('.ko', 1)[0]
    return name.replace('-', '_')


def _version_key(version):
    return [int(part) if part.isdigit() else part
            for part in re.split(r'(\d+)', version)]


def _apt_cache(*arguments):
    done = subprocess.run(['apt-cache', *arguments], check=False, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return done.stdout


def available():
    """Versions in the archive with image and headers, oldest first."""
    images = set(_apt_cache('pkgnames', f'linux-image-{SERIES}').split())
    headers = set(_apt_cache('pkgnames', f'linux-headers-{SERIES}').split())
    found = []
    for name in images:
        match = PACKAGE.fullmatch(name)
        if match and f'linux-headers-{match[1]}' in headers:
            found.append(match[1])
    return sorted(found, key=_version_key)


def _package_fields(package):
    """First stanza of apt-cache show, {} if nothing can be downloaded."""
    text = _apt_cache('show', '--no-all-versions', package).split('\n\n')[0]
    fields = dict(re.findall(r'^([A-Za-z0-9-]+): (.*)$', text, re.M))
    return fields if 'Filename' in fields else {}


def choose(version=None):
    """Version and apt fields of the newest (or the named) kernel."""
    candidates = [version] if version else reversed(available())
    for candidate in candidates:
        fields = _package_fields(f'linux-image-{candidate}')
        if fields:
            return candidate, fields
    return None, {}


def update_lists():
    """Refresh apt's package lists."""
    say('updating the package lists')
    done = subprocess.run(['apt-get', '-qq', 'update'], check=False,
                          stdin=subprocess.DEVNULL)
    if done.returncode:
        raise LabError('apt-get update failed: is the Debian archive '
                       'reachable?')


def fetch(version=None):
    """Return the archive's newest (or the named) Kernel, cached."""
    if version and not PACKAGE.fullmatch(f'linux-image-{version}'):
        raise LabError(f'"{version}" is no version of a {SERIES} kernel of '
                       f'Debian\'s, such as {SERIES}.95+deb12-amd64', USAGE)
    chosen, fields = choose(version)
    if not chosen:
        update_lists()
        chosen, fields = choose(version)
    if not chosen:
        raise LabError(f'the archive has no linux-image-{version}; it has: '
                       + ' '.join(available()) if version else
                       f'the archive has no linux-image-{SERIES}.*-amd64 '
                       'with headers')
    key = f'{chosen}-{fields["SHA256"][:12]}'

    def build(work):
        try:
            _unpack(work, chosen, _download(work, chosen))
        except subprocess.CalledProcessError as error:
            raise LabError(f'kernel {chosen}: {error.cmd[0]} failed with '
                           f'status {error.returncode}') from None

    return Kernel(paths.build_entry('kernel', key, build))


def _download(work, version):
    package = f'linux-image-{version}'
    say(f'downloading {package} (about 100 MB)')
    command = ['apt-get', '-q', '-o', 'APT::Sandbox::User=root',
               '-o', 'Acquire::Retries=3', 'download', package]
    quiet = {'cwd': work, 'check': False, 'text': True,
             'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE,
             'stderr': subprocess.STDOUT}
    done = subprocess.run(command, **quiet)
    if done.returncode:
        update_lists()
        done = subprocess.run(command, **quiet)
    files = list(work.glob(f'{package}_*.deb'))
    if done.returncode or len(files) != 1:
        raise LabError(f'{package} could not be downloaded:\n'
                       f'{done.stdout.strip()}')
    return files[0]


def _unpack(work, version, package):
    say(f'unpacking kernel {version}')
    tree = work / 'tree'
    subprocess.run(['dpkg-deb', '-x', package, tree], check=True)
    package.unlink()
    image = (tree / 'boot' / f'vmlinuz-{version}').read_bytes()
    (work / 'vmlinux').write_bytes(vmlinux.extract(image))
    shutil.copy(tree / 'boot' / f'config-{version}', work / 'config')

    modules = work / 'lib' / 'modules' / version
    modules.parent.mkdir(parents=True)
    shutil.move(tree / 'lib' / 'modules' / version, modules)
    shutil.rmtree(tree)
    # Emulated hosts would spend seconds on unpacking them.
    packed = [str(path) for path in modules.rglob('*.ko.xz')]
    for start in range(0, len(packed), 500):
        subprocess.run(['xz', '-d', '-T1', *packed[start:start + 500]],
                       check=True)
    base = version.rsplit('-', 1)[0]
    for name, target in (('build', f'/usr/src/linux-headers-{version}'),
                         ('source', f'/usr/src/linux-headers-{base}-common')):
        link = modules / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    subprocess.run(['depmod', '-b', work, version], check=True)


def _record():
    return paths.cache_root() / 'kernel' / 'default'


def record_default(kernel):
    """Make kernel the one that hosts boot unless told otherwise."""
    fresh = _record().with_suffix(f'.{os.getpid()}')
    fresh.write_text(kernel.directory.name + '\n', 'utf-8')
    fresh.rename(_record())


def find(wanted=None):
    """The Kernel for --kernel's argument (VERSION, DIR or None)."""
    if wanted and '/' in wanted or wanted and os.path.isdir(wanted):
        return Kernel(wanted)
    if wanted:
        cached = sorted((paths.cache_root() / 'kernel').glob(
            f'{wanted}-' + '[0-9a-f]' * 12))
        return Kernel(cached[-1]) if cached else fetch(wanted)
    try:
        name = _record().read_text('utf-8').strip()
        return Kernel(_record().parent / name)
    except (FileNotFoundError, LabError):
        kernel = fetch()
        record_default(kernel)
        return kernel
