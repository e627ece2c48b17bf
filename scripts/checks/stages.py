# SPDX-License-Identifier: GPL-2.0
"""The stages of "make check" and what each runs.

A stage is a command that ends by itself or is ended after a time limit.  Its
results are the TAP it prints; a stage that prints none (a build) is itself a
test.
"""

import configparser
import dataclasses
import pathlib
import shlex

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / 'build'
LAB = ROOT / 'scripts' / 'lab' / 'lab'
SELFTESTS = BUILD / 'selftests'
DEBUG = BUILD / 'debug'         # the module for the debug kernel

# Left to a program in a host beyond its own time limits, in seconds
GRACE = 20

# How much longer the debug kernel may take
DEBUG_SLOWER = 5


@dataclasses.dataclass
class Stage:
    """One stage.

    after: names of stages that have to have passed; tap: prints TAP;
    passes: expression of a line that is a passed test, for one that does not;
    forbidden: expression of a line that is a failure even if the status is 0;
    alone: nothing runs beside it; live: its output is shown.
    """
    name: str
    command: list
    timeout: int
    after: tuple = ()
    tap: bool = True
    passes: str = ''
    forbidden: str = ''
    alone: bool = False
    live: bool = False


def _shell(text):
    return ['bash', '-euo', 'pipefail', '-c', text]


def _program(line):
    """A program of the plan as a shell command between two marks."""
    words = shlex.split(line)
    names = [word for word in words if '=' not in word.split('/')[0]]
    if not names:
        raise ValueError(f'selftests/plan: no program in "{line}"')
    at = words.index(names[0])
    script = ROOT / 'selftests' / names[0]
    built = SELFTESTS / names[0]
    words[at] = str(script if script.exists() else built)
    # The same program may be in one host twice: say with what
    label = '-'.join(word.replace('/', '_') for word in names)
    quoted = ' '.join(word if i < at else shlex.quote(word)
                      for i, word in enumerate(words))
    return (f'echo "# begin {label}"; status=0; {quoted} || status=$?; '
            f'echo "# end {label} $status"')


def read_plan():
    """Sections of selftests/plan: name -> settings."""
    plan = configparser.ConfigParser(
        interpolation=None, delimiters=('=',), comment_prefixes=('#',),
        strict=True)
    with open(ROOT / 'selftests' / 'plan', encoding='utf-8') as file:
        plan.read_file(file)
    known = {'options', 'run', 'timeout', 'debug'}
    for name in plan.sections():
        if unknown := set(plan[name]) - known:
            raise ValueError(f'selftests/plan: [{name}]: '
                             f'unknown {", ".join(sorted(unknown))}')
    return plan


def _host_stage(name, section, after, extra=(), prefix='', slower=1,
                last=()):
    timeout = section.getint('timeout') * slower
    programs = [line for line in section['run'].splitlines() if line.strip()]
    programs.extend(last)
    command = [str(LAB), 'run', '--name', f'{prefix}{name}',
               '--timeout', str(timeout), *shlex.split(section.get('options', '')),
               '--env', 'KVMFT_KO', *extra,
               '--', '; '.join(_program(line) for line in programs)]
    return Stage(f'{prefix}{name}', command, timeout + 2 * GRACE, after)


def _selftest_scripts(directory, after):
    """Scripts of a directory of tests that print TAP themselves."""
    found = []
    for path in sorted((ROOT / 'selftests' / directory).iterdir()):
        if not path.is_file() or not path.stat().st_mode & 0o100:
            continue
        with open(path, 'rb') as file:
            script = file.read(2) == b'#!'
        if script:
            found.append(Stage(f'{directory}-{path.name}', [str(path)], 1500,
                               after))
    return found


def _kvm_stages():
    """The kernel's own KVM selftests beside the module."""
    run = ROOT / 'scripts' / 'kvm-selftests' / 'run'
    load = 'modprobe kvm_amd && insmod ./kvmft.ko'
    armed = f'--with {shlex.quote(str(SELFTESTS / "arm"))}'

    def stage(name, timeout, arguments):
        # Some of them look at the TSC, which keeps time only where there is a PMU
        return Stage(name, _shell(
            f'dir=$(scripts/kvm-selftests/build); exec {LAB} run --name {name}'
            f' --timeout {timeout} --pmu --real-sleep -- '
            f'"{load} && {run} {arguments} $dir"'), timeout + 1500, ('setup',
                                                                     'build'))

    return [
        stage('kvm-loaded', 900, '--sample 2'),
        stage('kvm-armed', 1200, f'--sample 1 {armed}'),
    ]


def _build_stages():
    make = 'make KDIR="$(scripts/lab/lab kernel --headers)"'
    return [
        Stage('setup', [str(LAB), 'setup'], 7200, tap=False, alone=True,
              live=True),
        Stage('build', _shell(f'{make} W=1 KCFLAGS=-Werror modules'), 900,
              ('setup',), tap=False, forbidden=r'\bwarning:|^WARNING:'),
        # The guest, too: a host that finds it missing builds it each time, slowly
        Stage('programs', _shell('make -C selftests all; scripts/linux-guest/build'), 300,
              ('setup',), tap=False),
        Stage('runner', ['scripts/checks/selftest'], 120),
        Stage('kvmftctl', ['scripts/ctl/selftest-ctl'], 300),
        Stage('kvmftctl-verbs', ['scripts/ctl/selftest-verbs'], 120),
        Stage('campaign', ['scripts/campaign/selftest'], 120),
        Stage('package', ['scripts/package/selftest'], 120, ('setup',)),
        Stage('package-installed', ['scripts/package/selftest-install'], 900, ('setup',)),
        Stage('style', ['scripts/style/run'], 600, ('setup',), tap=False,
              passes=r'style: (\S+): ok'),
        Stage('kunit', ['scripts/kunit/run'], 3600, ('setup',)),
        Stage('fuzz-corpus', ['selftests/fuzz/run'], 300),
        Stage('ctl', ['scripts/ctl/selftest'], 120),
    ]


def check_stages():
    """Stages of "make check", in the order they are started."""
    ready = ('build', 'programs')
    plan = read_plan()
    hosts = [_host_stage(name, plan[name], ready)
             for name in plan.sections()]
    return [
        *_build_stages(),
        *_selftest_scripts('pmu', ('setup',)),
        *_selftest_scripts('lab', ('setup',)),
        *_selftest_scripts('hosts', ready),
        *_kvm_stages(),
        # What scripts/demo replay shows: it builds first, which others' hosts would not like
        Stage('demo-replay', [str(LAB), 'run', '--name', 'demo-replay', '--pmu', '--real-sleep', '--timeout', '900',
                              '--env', 'KVMFT_KO', '--', 'scripts/lab/guest/replay-show'], 960, ready, tap=False),
        # The plan ends with short ones, so that both processors stay busy
        *hosts,
    ]


def debug_stages():
    """Stages of "make check-debug": what the plan marks, on that kernel."""
    plan = read_plan()
    sources = 'Kbuild Makefile dkms.conf include kvmft scripts'
    build = (
        f'dir=$(scripts/debug-kernel/build); mkdir -p {DEBUG}; '
        f'ln -sfn "$dir" {DEBUG}/kernel; '
        # Beside the module for the distribution's kernel, not over it
        f'tar -c --exclude="*.o" --exclude="*.ko" --exclude=".*.cmd" {sources}'
        f' | tar -x -C {DEBUG} --keep-newer-files --warning=none; '
        f'make -C {DEBUG} KDIR="$dir/build" '
        'KMODS="$(echo "$dir"/lib/modules/*)" W=1 KCFLAGS=-Werror modules')
    module = str(DEBUG / 'kvmft.ko')
    extra = ['--kernel', str(DEBUG / 'kernel'),
             '--env', f'KVMFT_KO={module}']
    found = [
        *(stage for stage in _build_stages()
          if stage.name in ('setup', 'programs')),
        Stage('debug-build', _shell(build), 7200, ('setup',), tap=False,
              forbidden=r'\bwarning:|^WARNING:', live=True),
    ]
    for name in plan.sections():
        if plan[name].getboolean('debug', fallback=False):
            stage = _host_stage(name, plan[name], ('debug-build', 'programs'),
                                extra, 'debug-', DEBUG_SLOWER, ['kmemleak'])
            found.append(stage)
    found.append(Stage('debug-power-cut', _shell(
        f'KVMFT_KERNEL={DEBUG}/kernel KVMFT_KO={module} exec selftests/hosts/power-cut power'),
        5400, ('debug-build', 'programs')))
    return found
