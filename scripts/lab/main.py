# SPDX-License-Identifier: GPL-2.0
"""The lab's command line."""

import argparse
import os
import re
import sys

from . import commands, loop
from .messages import USAGE, LabError, say


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.print_usage(sys.stderr)
        say(message)
        sys.exit(USAGE)


def _positive(text):
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError('must be above zero')
    return value


def _count(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError('must be at least one')
    return value


def _pattern(text):
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f'bad expression: {error}') from None
    return text


def _add_host_options(parser):
    parser.add_argument('--pmu', action='store_true',
                        help='AMD core PMU; virtual time by instructions')
    parser.add_argument('--real-sleep', action='store_true',
                        help='with --pmu: time in which the host only waits '
                             'is not skipped')
    parser.add_argument('--cpu', default='', metavar='PROPS',
                        help='appended to the CPU string')
    parser.add_argument('--smp', type=_count, default=2, metavar='N')
    parser.add_argument('--mem', type=_count, default=2048, metavar='MIB',
                        dest='memory')
    parser.add_argument('--timeout', type=_positive, default=600,
                        metavar='SEC', help='wall time, boot included')
    parser.add_argument('--name', default='host')
    parser.add_argument('--append', default='', metavar='ARGS',
                        help='kernel command line')
    parser.add_argument('--kernel', metavar='VERSION|DIR')
    parser.add_argument('--emulator', metavar='PATH')
    parser.add_argument('--share', action='append', default=[],
                        dest='shares', metavar='DIR',
                        help='writable in the host at the same path')
    parser.add_argument('--allow', action='append', default=[],
                        type=_pattern, metavar='REGEX',
                        help='kernel complaint that is expected')
    parser.add_argument('--env', action='append', default=[],
                        metavar='NAME[=VALUE]')
    parser.add_argument('--console', metavar='FILE',
                        help='keep the console\'s log there')
    parser.add_argument('-v', '--verbose', action='store_true',
                        help='show the console and the timing')


def parser():
    """The command line's grammar."""
    top = _Parser(prog='lab', description='Emulated hosts for kvmft; see '
                  'Documentation/lab.rst.')
    commands_of = top.add_subparsers(dest='verb', required=True,
                                     parser_class=_Parser)

    setup = commands_of.add_parser(
        'setup', help='install, fetch and build what hosts need')
    setup.add_argument('--no-emulator', action='store_true',
                       help='do not build the patched emulator')
    setup.set_defaults(function=commands.setup)

    run = commands_of.add_parser('run', help='run a command in one host')
    _add_host_options(run)
    run.add_argument('command', nargs='+',
                     help='one argument: for the shell; several: words')
    run.set_defaults(function=commands.run)

    several = commands_of.add_parser(
        'topology', help='run several hosts, described in a TOML file')
    several.add_argument('-v', '--verbose', action='store_true')
    several.add_argument('--control', metavar='PATH',
                         help='socket to listen on for "lab control"')
    several.add_argument('file')
    several.add_argument('words', nargs='*',
                         help='"$1"... of the hosts\' commands')
    several.set_defaults(function=commands.topology)

    steer = commands_of.add_parser(
        'control', help='act on a running topology')
    steer.add_argument('path')
    steer.add_argument('step', nargs='+')
    steer.set_defaults(function=commands.control)

    about = commands_of.add_parser('kernel',
                                   help='print the kernel hosts boot')
    about.add_argument('kernel', metavar='VERSION|DIR', nargs='?')
    what = about.add_mutually_exclusive_group()
    for name in ('version', 'headers', 'modules', 'image', 'directory'):
        what.add_argument(f'--{name}', action='store_const', dest='what',
                          const=name)
    what.add_argument('--available', action='store_const', dest='what', const='available',
                      help='those in the archive, oldest first')
    about.set_defaults(function=commands.about_kernel)
    return top


def main():
    """Run the command line; returns the exit status."""
    arguments = parser().parse_args()
    loop.catch_signals()
    try:
        return arguments.function(arguments)
    except LabError as error:
        say(str(error))
        return error.status
    except BrokenPipeError:
        # Whoever read our output is gone; say nothing more to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except loop.Interrupted as interrupt:
        loop.die_by(interrupt.number)
        return 128 + interrupt.number
