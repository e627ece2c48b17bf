# SPDX-License-Identifier: GPL-2.0
"""A pair and its client on a terminal: one picture that is drawn again as they speak.

View knows what to show, of the lines that hosts a, b and c of trio.py print; Screen has the terminal.  Both have two
methods for it: line() for what a host printed, tell() for what the story's teller says.
"""

import contextlib
import curses
import locale
import re
import threading
import time

BARS = ' ▁▂▃▄▅▆▇█'
TITLE = 'kvmft: a host dies, and a client does not notice'
NAMES = {'a': 'primary', 'b': 'backup', 'c': 'client'}
# A figure is shown for so long when no other comes: hosts tell theirs every two seconds of their own time
STALE_S = 5
NARROW = 60

_PROGRESS = re.compile(r'^(\S.*?) [\d,]+ s: ([\d,]+) entries, .* MB, ([\d.]+) MB/s'
                       r'(?:.*, the backup ([\d,]+) behind)?(?:.*, ([\d,]+) packets sent, ([\d,]+) held)?')
_REQUESTS = re.compile(r'^client: (\d+) requests, \d+ replies right, round trip ([\d.]+) ms')
_KERNEL = re.compile(r'kvmft: session \d+ is (alone|live|stopped)')
_DOING = {'alone': 'STANDS STILL until the arbiter has decided', 'live': 'LIVE: the guest runs here',
          'stopped': 'STOPPED for good'}
# A host's line that has one of these says what it does from now on
_STEPS = (
    (re.compile('^ready$'), 'up'),
    (re.compile('^kvmftctl: waiting for the'), 'waits for the other side'),
    (re.compile('^kvmftctl: connected to the'), 'connected: the guest boots'),
    (re.compile('^client: connected'), 'connected to the guest'),
    (re.compile('^client: .* all replies right'), 'ended: all replies were right'),
    (re.compile('^client: (WRONG.*)'), None),
)


class Trace:
    """A figure over time, by seconds."""

    def __init__(self, began):
        self._began = began
        self._values = {}

    def add(self, now, value):
        """So much, or so much more, in that second."""
        second = int(now - self._began)
        self._values[second] = self._values.get(second, 0) + value

    def bars(self, now, width, hold=0):
        """The last seconds as bars; hold: how many a value lasts when no other follows."""
        last = int(now - self._began)
        shown = []
        for second in range(max(0, last - width + 1), last + 1):
            shown.append(next((self._values[at] for at in range(second, second - hold - 1, -1)
                               if at in self._values), 0))
        top = max(self._values.values(), default=0) or 1
        return ''.join(BARS[-int(-8 * min(value, top) / top // 1)] for value in shown)


class View:
    """What there is to see."""

    def __init__(self, now):
        self._began = now
        self._doing = {name: 'boots' for name in NAMES}
        self._gone = set()
        self._log = Trace(now)
        self._asked = Trace(now)
        self._replies = 0
        self._trip = None
        self._figures = None
        self.story = []

    def tell(self, text):
        """The next line of the story."""
        self.story.append(text)

    def line(self, name, text, now):
        """A host has printed this."""
        if found := _KERNEL.search(text):
            self._doing[name] = _DOING[found[1]]
        elif found := _REQUESTS.match(text):
            self._doing[name] = f'{int(found[1]):,} requests over one connection, all replies right'
            self._asked.add(now, int(found[1]) - self._replies)
            self._replies = int(found[1])
            self._trip = (now, found[2])
        elif found := _PROGRESS.match(text):
            self._progress(name, found, now)
        else:
            for pattern, doing in _STEPS:
                if found := pattern.search(text):
                    self._doing[name] = doing or found[1]

    def _progress(self, name, found, now):
        doing, entries, rate, lag, sent, held = found.groups()
        if not self._doing[name].startswith(('LIVE', 'STOPPED')):
            self._doing[name] = f'{doing}, {entries} log entries'
        if name == 'a':
            self._log.add(now, float(rate))
            self._figures = (now, rate, lag or '0', sent or '0', held or '0')

    def gone(self, names):
        """These hosts are not there any more."""
        for name in names - self._gone:
            self._doing[name] = 'NO POWER'
        self._gone = names

    def lines(self, width, height, now):
        """The picture, no line longer and no more lines than that."""
        passed = f'{int(now - self._began) // 60}:{int(now - self._began) % 60:02}'
        shown = [f'{TITLE}{passed:>{max(width - len(TITLE), len(passed) + 1)}}', '']
        for name, what in NAMES.items():
            shown.append(f'{what:>9}  {self._doing[name]}')
        bars = max(width - NARROW, 10)
        shown.append('')
        shown.append(f'{"log":>9}  {self._log.bars(now, bars, STALE_S):<{bars}}  {self._log_words(now)}')
        shown.append(f'{"requests":>9}  {self._asked.bars(now, bars):<{bars}}  {self._client_words(now)}')
        shown.append('')
        rest = max(height - len(shown), 0)
        shown.extend(self.story[len(self.story) - min(rest, len(self.story)):])
        return [line[:width] for line in shown[:height]]

    def _log_words(self, now):
        if not self._figures or now - self._figures[0] > STALE_S:
            return ''
        _, rate, lag, sent, held = self._figures
        return f'{rate} MB/s, {lag} behind, {sent} packets sent, {held} held'

    def _client_words(self, now):
        if not self._trip:
            return ''
        when, trip = self._trip
        if now - when > STALE_S:
            return f'no reply for {now - when:.0f} s'
        return f'round trip {trip} ms'


class Screen:
    """A View on the terminal, until it ends; then the story stays there as lines."""

    def __init__(self, gone):
        """gone: says which hosts are not there any more, as a set."""
        locale.setlocale(locale.LC_ALL, '')
        self._gone = gone
        self._view = View(time.monotonic())
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._window = None
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self):
        self._window = curses.initscr()
        curses.noecho()
        # A terminal that can not hide its cursor shows it
        with contextlib.suppress(curses.error):
            curses.curs_set(0)
        self._clock.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._clock.join()
        curses.endwin()
        for line in self._view.story:
            print(line, flush=True)

    def tell(self, text):
        """A line of the story."""
        with self._lock:
            self._view.tell(f'{time.strftime("%H:%M:%S")}  {text}')
            self._draw()

    def line(self, name, text):
        """What a host has printed."""
        with self._lock:
            self._view.line(name, text, time.monotonic())

    def _tick(self):
        while not self._ended.wait(0.5):
            with self._lock:
                self._draw()

    def _draw(self):
        curses.update_lines_cols()
        curses.resizeterm(curses.LINES, curses.COLS)
        self._view.gone(self._gone())
        self._window.erase()
        # Not into the last column: the cursor has to go somewhere
        for row, line in enumerate(self._view.lines(curses.COLS - 1, curses.LINES, time.monotonic())):
            # A terminal without such letters
            with contextlib.suppress(curses.error, UnicodeEncodeError):
                self._window.addstr(row, 0, line)
        self._window.refresh()


def usable(out):
    """Can a Screen be had there?"""
    if not out.isatty():
        return False
    try:
        curses.setupterm(fd=out.fileno())
    except curses.error:
        return False
    return curses.tigetstr('cup') is not None
