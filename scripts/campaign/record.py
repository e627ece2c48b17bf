# SPDX-License-Identifier: GPL-2.0
"""A campaign's file: a JSON object a line, for each round that came to its end."""

import collections
import fcntl
import json

from .faults import HARMLESS


class RecordError(Exception):
    """The file is not a campaign's."""


def _parse(text, path, number):
    try:
        line = json.loads(text)
        if isinstance(line, dict) and {'seed', 'round', 'fault', 'verdict', 'seconds'} <= set(line):
            return line
    except ValueError:
        pass
    raise RecordError(f'{path}: line {number} is no round of a campaign')


class Record:
    """The rounds of one seed; the file may have others'.  alone: no other campaign may write it meanwhile."""

    def __init__(self, path, seed, alone=False):
        self.path = path
        self.seed = seed
        self.rounds = []
        self._locked = None
        if alone:
            self._lock()
        self._read()

    def _lock(self):
        """Before it is read: a line that another is writing looks like one that was cut short."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._locked = open(self.path, 'ab')
        try:
            fcntl.flock(self._locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RecordError(f'{self.path}: another campaign is writing it: wait, or use another file') from None

    def _read(self):
        """Take what is there; a line without its end was being written when the campaign ended, and does not count."""
        if not self.path.exists():
            return
        data = self.path.read_bytes()
        whole = data[:data.rfind(b'\n') + 1]
        for number, text in enumerate(whole.splitlines(), 1):
            line = _parse(text, self.path, number)
            if line['seed'] == self.seed:
                self.rounds.append(line)
        if len(whole) < len(data):
            with open(self.path, 'r+b') as file:
                file.truncate(len(whole))

    @property
    def next(self):
        """The number of the round that comes next."""
        return max((line['round'] for line in self.rounds), default=0) + 1

    def add(self, line):
        """One more round has ended."""
        self.rounds.append(line)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, 'a', encoding='utf-8') as file:
            file.write(json.dumps(line) + '\n')

    @property
    def failed(self):
        """Rounds that were not as they had to be."""
        return [line for line in self.rounds if line['verdict'] != 'ok']

    def totals(self):
        """Lines for the end of a campaign."""
        if not self.rounds:
            return ['no rounds']
        kinds = collections.Counter(line['fault']['kind'] for line in self.rounds)
        failed = collections.Counter(line['fault']['kind'] for line in self.failed)
        outcomes = collections.Counter(line.get('outcome') or 'unknown' for line in self.rounds)
        seconds = [line['seconds'] for line in self.rounds]
        found = [f'seed {self.seed}: {len(self.rounds)} rounds, {len(self.failed)} failed, '
                 f'{sum(seconds) / 3600:.1f} h, {sum(seconds) / len(seconds):.0f} s a round, the longest '
                 f'{max(seconds):.0f} s',
                 'ended: ' + ', '.join(f'{name} {outcomes[name]}' for name in sorted(outcomes)),
                 'replies: ' + f'{sum(line.get("replies", 0) for line in self.rounds):,}, each of them right'
                 if not self.failed else 'replies: see the rounds that failed']
        frames, live, unknown = (sum(line.get(name, 0) for line in self.rounds)
                                 for name in ('frames', 'frames_live', 'frames_unknown'))
        found.append(f'frames out of the primaries: {frames:,}, {frames - live - unknown:,} of them '
                     + ('none before its acknowledgement; ' if not self.failed else 'had to wait; ')
                     + f'{live:,} from a side that was live, {unknown:,} behind the end of a dead host\'s trace')
        wrong = [line for line in self.rounds if line['fault']['kind'] in HARMLESS and line.get('alone')]
        found.append(f'take-overs after {", ".join(HARMLESS)}: {len(wrong)}')
        found += [f'{kind:>10}  {kinds[kind]:4} rounds' + (f', {failed[kind]} failed' if failed[kind] else '')
                  for kind in sorted(kinds)]
        found += [f'failed: round {line["round"]}, {line["fault"]["kind"]}: {"; ".join(line.get("problems", []))} '
                  f'({line.get("output")})' for line in self.failed]
        return found
