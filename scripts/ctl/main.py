# SPDX-License-Identifier: GPL-2.0
"""kvmftctl's command line."""

import argparse
import os
import sys

from . import arbiter, check, dump, events, logfile, metrics, pair, status
from .messages import USAGE, CtlError, say
from .run import Recording, Replaying
from .uapi import ALIGN_US_MAX, HEARTBEAT_MS_MAX, TIMEOUT_MS_MAX


def _number(least, most=None, what=''):
    """What turns a word into a number in these bounds."""
    bounds = f'from {least:,} to {most:,}' if most is not None else f'of at least {least:,}'

    def parse_number(text):
        if not text.isascii() or not text.isdigit() or int(text) < least or most is not None and int(text) > most:
            raise argparse.ArgumentTypeError(f'{text}: must be a number {bounds}{what}')
        return int(text)
    return parse_number


def _record(arguments):
    recording = Recording(arguments.command, arguments.output, arguments.align_us, arguments.force,
                          monitor=arguments.attach)
    return recording.run(arguments.quiet, arguments.every)


def _replay(arguments):
    return Replaying(arguments.command, arguments.file, monitor=arguments.attach).run(arguments.quiet, arguments.every)


def _pair(kind, where, arguments, **more):
    if not 3 * arguments.heartbeat_ms <= arguments.timeout_ms <= TIMEOUT_MS_MAX:
        raise CtlError(f'--timeout-ms must be from 3 times --heartbeat-ms to {TIMEOUT_MS_MAX}', USAGE)
    # An empty one is a mistake, and no pair without any
    disk = None if arguments.arbiter is None else arbiter.place(arguments.arbiter)
    side = kind(arguments.command, pair.address(where), arguments.key, arguments.heartbeat_ms, arguments.timeout_ms,
                disk=disk, monitor=arguments.attach, **more)
    return side.run(arguments.quiet, arguments.every)


def _primary(arguments):
    if arguments.hold_all and arguments.arbiter is None:
        raise CtlError('--hold-all needs an --arbiter: without one nobody carries on', USAGE)
    return _pair(pair.Primary, arguments.connect, arguments, align_us=arguments.align_us,
                 hold_all=arguments.hold_all)


def _backup(arguments):
    return _pair(pair.Backup, arguments.listen, arguments)


def _status(arguments):
    return status.show(arguments.json)


def _dump(_arguments):
    return dump.show()


def _events(arguments):
    return events.show(arguments.now)


def _metrics(_arguments):
    return metrics.show()


def _check(arguments):
    if arguments.key is not None and arguments.disk is None:
        raise CtlError('--key needs a --disk: it is the block there that it is compared with', USAGE)
    disk = None if arguments.disk is None else arbiter.place(arguments.disk)
    return check.show(disk, None if arguments.key is None else pair.read_key(arguments.key))


def _read_log(read, path, *more):
    """Have logfile.py dump or stat a log."""
    try:
        read(path, sys.stdout, *more)
        sys.stdout.flush()
    except logfile.LogError as error:
        raise CtlError(f'{path}: {error}') from None
    return 0


def _log_dump(arguments):
    return _read_log(logfile.dump, arguments.file, arguments.first, arguments.last)


def _log_stat(arguments):
    return _read_log(logfile.stat, arguments.file)


def parser():
    """The command line's grammar, the QEMU command apart."""
    top = argparse.ArgumentParser(prog='kvmftctl', usage='kvmftctl [-h] [COMMAND ...]',
                                  description='Protect, record and replay KVM guests; see '
                                  'Documentation/kvmftctl.rst. Without a COMMAND: status.')
    top.set_defaults(function=_status, takes_command=False, json=False)
    verbs = top.add_subparsers(dest='verb', metavar='COMMAND', prog='kvmftctl')

    record = verbs.add_parser('record', help='run a guest in QEMU and record it',
                              usage='kvmftctl record [options] -o FILE -- qemu-system-x86_64 ...')
    record.add_argument('-o', '--output', required=True, metavar='FILE', help='the log')
    record.add_argument('--align-us', type=_number(0, ALIGN_US_MAX), default=0, metavar='N',
                        help='how long an interrupt waits for the guest to exit by itself (0)')
    record.add_argument('--force', action='store_true', help='overwrite FILE')
    record.set_defaults(function=_record, takes_command=True)

    replay = verbs.add_parser('replay', help='run the guest in QEMU again, by its log',
                              usage='kvmftctl replay [options] FILE -- qemu-system-x86_64 ...')
    replay.add_argument('file', metavar='FILE', help='the log')
    replay.set_defaults(function=_replay, takes_command=True)
    primary = verbs.add_parser('primary', help='run a guest in QEMU, with a backup on another host',
                               usage='kvmftctl primary [options] --connect HOST[:PORT] --key FILE '
                               '-- qemu-system-x86_64 ...')
    primary.add_argument('--connect', required=True, metavar='HOST[:PORT]', help='the backup')
    primary.add_argument('--align-us', type=_number(0, ALIGN_US_MAX), default=0, metavar='N',
                         help='how long an interrupt waits for the guest to exit by itself (0)')
    primary.add_argument('--hold-all', action='store_true',
                         help='every write to a device of QEMU\'s waits for the backup, not only what leaves the host')
    primary.set_defaults(function=_primary, takes_command=True)

    backup = verbs.add_parser('backup', help='replay a primary\'s guest in QEMU while it runs',
                              usage='kvmftctl backup [options] --listen HOST[:PORT] --key FILE '
                              '-- qemu-system-x86_64 ...')
    backup.add_argument('--listen', required=True, metavar='HOST[:PORT]', help='where the primary connects to')
    backup.set_defaults(function=_backup, takes_command=True)
    for verb in (primary, backup):
        verb.add_argument('--key', required=True, metavar='FILE', help='what both sides know, and nobody else')
        verb.add_argument('--arbiter', metavar='DISK[:BLOCK]',
                          help='the block of a shared SCSI disk that decides who goes live (block 0)')
        verb.add_argument('--heartbeat-ms', type=_number(1, HEARTBEAT_MS_MAX), default=50, metavar='N',
                          help='the other side hears from this one at least this often (50)')
        verb.add_argument('--timeout-ms', type=_number(1, TIMEOUT_MS_MAX), default=1000, metavar='N',
                          help='a side that is silent for so long has failed (1000)')

    for verb in (record, replay, primary, backup):
        verb.add_argument('--attach', metavar='SOCKET',
                          help='instead of a command: the QMP socket of a QEMU that was started with -S')
        verb.add_argument('-q', '--quiet', action='store_true', help='show no progress')
        verb.add_argument('--every', type=_number(1), default=0, metavar='S',
                          help='show it every S seconds (1 on a terminal, else 10)')

    state = verbs.add_parser('status', help='show the module, its counters and its sessions, as without a COMMAND')
    state.add_argument('--json', action='store_true', help='with every attribute, for programs')
    state.set_defaults(function=_status)

    verbs.add_parser('dump', help='print a line for each session, for programs').set_defaults(function=_dump)

    changes = verbs.add_parser('events', help='print what exists, then each change as it comes')
    changes.add_argument('--now', action='store_true', help='end after what exists')
    changes.set_defaults(function=_events)

    verbs.add_parser('metrics', help='print figures for Prometheus').set_defaults(function=_metrics)

    needs = verbs.add_parser('check', help='tell what this host lacks')
    needs.add_argument('--disk', metavar='DISK[:BLOCK]', help='and whether this can be an arbiter')
    needs.add_argument('--key', metavar='FILE', help='and whether the block is of the pairs with this key')
    needs.set_defaults(function=_check)

    log = verbs.add_parser('log', help='read a log')
    log_verbs = log.add_subparsers(dest='log_verb', required=True, metavar='COMMAND')
    entries = log_verbs.add_parser('dump', help='print its entries')
    entries.add_argument('--first', type=_number(1, what=', the first entry'), metavar='N', help='from entry N on')
    entries.add_argument('--last', type=_number(1, what=', the first entry'), metavar='N', help='up to entry N')
    entries.set_defaults(function=_log_dump)
    figures = log_verbs.add_parser('stat', help='print how much of what is in it')
    figures.set_defaults(function=_log_stat)
    for verb in (entries, figures):
        verb.add_argument('file', metavar='FILE')
    return top


def parse(words):
    """The arguments; the QEMU command is what follows the first "--"."""
    grammar = parser()
    own, command = words, None
    if '--' in words:
        place = words.index('--')
        own, command = words[:place], words[place + 1:]
    arguments = grammar.parse_args(own)
    if arguments.takes_command:
        arguments.command = command or []
        if arguments.attach and command is not None:
            grammar.error('there is either a QEMU command or --attach')
    elif command is not None:
        grammar.error(f'{arguments.verb or "status"} takes no QEMU command')
    return arguments


def main(words=None):
    """Run the command line; returns the exit status."""
    try:
        arguments = parse(sys.argv[1:] if words is None else words)
        return arguments.function(arguments)
    except CtlError as error:
        say(str(error))
        return error.status
    except BrokenPipeError:
        # Whoever read our output is gone; say nothing more to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except KeyboardInterrupt:
        return 128 + 2
    except OSError as error:
        say(f'{error.filename or "standard output"}: {error.strerror}')
        return 1

