# SPDX-License-Identifier: GPL-2.0
"""A round: a pair, a fault, and what may be seen of it."""

import re
import time

from lab.messages import LabError
from lab.trio import STATUS, STOPPED, UNPROTECTED

from . import watch
from .faults import HARMLESS

REQUESTS = 5            # of the client's, right ones, before a round is over
POLL_S = 0.05
TRACE_S = 30            # the end of the trace, from a busy host
# kvmftctl of a side whose pair did not come about waits so long for the other's QEMU, which may be gone
FIRST_S = 200
# What kvmftctl says of a pair that comes about; anything else it says is a reason why not
BEGINNINGS = ('kvmftctl: waiting for', 'kvmftctl: connected to', 'kvmftctl: warning:')
OTHER = {'a': 'b', 'b': 'a'}
WAYS = {'all': {}, 'from a': {'direction': 'from', 'host': 'a'}, 'from b': {'direction': 'from', 'host': 'b'}}


class Side:
    """What a side has said in this round, however it ended."""

    def __init__(self, trio, name):
        self.lines = trio.lines(name)
        self.alone = self._has(r'^\[.*\] kvmft: session [0-9]+ is alone')
        self.live = self._has(r'^\[.*\] kvmft: session [0-9]+ is live')
        self.stopped = self._has(r'^\[.*\] kvmft: session [0-9]+ is stopped')
        self.says = [match[1] for line in self.lines
                     if (match := re.match('kvmftctl: this side is (LIVE|STOPPED)', line))]
        found = [match for line in self.lines if (match := re.search(STATUS.format(trio.round), line))]
        self.status = int(found[-1][1]) if found else None
        self.serves = self._has('^console: guest: serving')
        self.ends = len([line for line in self.lines if line.startswith('console: guest: end: ')])
        self.clean = 'trio-side: a session is left' not in self.lines

    def _has(self, regex):
        return any(re.search(regex, line) for line in self.lines)

    @property
    def reasons(self):
        """What kvmftctl says but of how a pair begins."""
        return [line for line in self.lines
                if line.startswith('kvmftctl: ') and not line.startswith(BEGINNINGS)]

    @property
    def complaints(self):
        """QEMU's, which has no reason to."""
        return [line for line in self.lines if line.startswith(('qemu', 'error:', 'KVM'))]


class Round:
    """One pair and its fault; problems is what was not as it had to be."""

    def __init__(self, trio, number, fault, capture):
        """capture: the file with what watch.PORTS have seen, up to now in earlier rounds."""
        self.trio = trio
        self.capture = capture
        self.captured = capture.stat().st_size
        self.watched = None
        self.number = number
        self.fault = fault
        self.moments = []
        self.problems = []
        self.winner = None
        self.outcome = 'not finished'
        self.off = ''           # hosts without power
        self.killed = ''        # sides whose QEMU got SIGKILL
        self.client = False     # whether there is one
        self.told = False       # a backup without a primary, to end
        self.replies = 0
        self.alone = ''         # sides that have lost the other
        self.began = time.monotonic()

    # Looking

    def note(self, what):
        """A moment worth telling."""
        self.moments.append([round(time.monotonic() - self.began, 1), what])

    def problem(self, what):
        """Something is not as it has to be."""
        self.problems.append(what)

    def check(self, good, what):
        """A problem unless it is good."""
        if not good:
            self.problem(what)

    def equal(self, found, wanted, what):
        """A problem unless they are."""
        self.check(found == wanted, f'{what}: {found!r}, not {wanted!r}')

    def side(self, name):
        """What is known of it by now."""
        return Side(self.trio, name)

    @property
    def up(self):
        """The sides whose hosts have power."""
        return [name for name in 'ab' if name not in self.off]

    def until(self, condition, what, seconds=None):
        """Wait for that."""
        if not self.trio.lab.loop.until(lambda: self._look(condition), seconds or self.trio.patience):
            raise LabError(f'this does not happen: {what}')

    def _look(self, condition):
        for name in self.trio.lab.specs:
            if name not in self.off and not self.trio.lab.running(name):
                raise LabError(f'host {name} has ended')
        return condition()

    def pause(self, seconds):
        """Let time pass."""
        self.trio.lab.pause(seconds)

    # Doing

    def cut(self, network, lost='all'):
        """Cut a network for good, or what one host sends."""
        self.trio.lab.networks.cut(network, **WAYS[lost])
        self.note(f'{network} cut, {lost}')

    def mend(self, network):
        """As it was."""
        self.trio.lab.networks.restore(network)
        self.note(f'{network} mended')

    def power(self, name):
        """Cut a host's power."""
        self.trio.power(name)
        self.off += name
        self.note(f'power of {name}')

    def kill(self, name):
        """SIGKILL for a side's QEMU, as soon as it has one; not if its kvmftctl ends before."""
        sent = 'trio-side: KILL sent'

        def told():
            return len([line for line in self.side(name).lines if line.startswith('trio-side: ')])

        while not any(line.startswith(sent) for line in self.side(name).lines):
            if self.side(name).status is not None:
                return
            before = told()
            self.trio.kill(name)
            self.until(lambda number=before: told() > number, f'{name} takes an order')
            self.pause(POLL_S)
        self.killed += name
        self.note(f'QEMU of {name} killed')

    def until_alone(self, *names):
        """Those sides have lost the other, and stand still."""
        self.until(lambda: all(self.side(name).alone for name in names), f'alone: {", ".join(names)}')
        self.note(f'alone: {", ".join(names)}')

    # The whole

    def play(self):
        """Do it; problems has what was wrong."""
        if self.fault.kind == 'handshake':
            self.trio.begin(self.number)
            self.began = time.monotonic()
            self.handshake()
        else:
            self.trio.boot()
            self.began = time.monotonic()
            self.trio.start(self.number)
            self.client = True
            self.note('serving')
            self.trio.until_asked(self.fault.replies)
            self.pause(self.fault.moment)
            getattr(self, f'do_{self.fault.kind}')()
        self.judge()

    def do_none(self):
        """Nothing happens."""
        self.protected()

    def do_power(self):
        """A host's power is cut."""
        self.power(self.fault.side)
        self.one_lives()

    def do_kill(self):
        """A side's QEMU is killed."""
        self.kill(self.fault.side)
        self.one_lives()

    def do_link(self):
        """The link is cut for good."""
        self.cut('ab', self.fault.lost)
        self.one_lives()

    def do_pause(self):
        """The link is cut for less than the time-out."""
        self.cut('ab', self.fault.lost)
        self.pause(self.fault.seconds)
        self.mend('ab')
        self.protected()

    def do_shape(self):
        """The link is a bad one."""
        hosts = 'ab' if self.fault.at == 'both' else self.fault.at
        for name in hosts:
            self.trio.lab.networks.shape('ab', name, delay=self.fault.delay, jitter=self.fault.jitter,
                                         loss=self.fault.loss)
        self.note('ab is a bad link')
        self.protected()

    def do_arbiter(self):
        """The link is cut, and with it who is to decide is out of reach for a while."""
        gone = self.fault.hosts
        for name in gone:
            self.cut(f'{name}c')
        self.cut('ab')
        self.until_alone(*gone)
        self.pause(self.fault.seconds)
        for name in gone:
            side = self.side(name)
            self.check(not side.live and not side.stopped and not side.says,
                       f'{name} can not reach the arbiter, and yet is decided')
        if len(gone) == 1:
            self.until(lambda: self.side(OTHER[gone]).live, f'{OTHER[gone]} is live alone')
        for name in gone:
            self.mend(f'{name}c')
        self.one_lives()

    def do_slow(self):
        """The arbiter takes its time."""
        for network in ('ac', 'bc'):
            self.trio.lab.networks.shape(network, delay=self.fault.delay)
        if self.fault.then == 'link':
            self.cut('ab')
        else:
            getattr(self, self.fault.then)(self.fault.side)
        self.one_lives()

    def do_second(self):
        """The link is cut, and while a side claims, something else happens."""
        for network in ('ac', 'bc'):
            self.trio.lab.networks.shape(network, delay=self.fault.delay)
        self.cut('ab')
        self.until_alone(self.fault.side)
        self.pause(self.fault.seconds)
        if self.fault.then == 'mend':
            self.mend('ab')
            self.one_lives()
            return
        getattr(self, self.fault.then)(self.fault.side)
        other = OTHER[self.fault.side]
        self.until(lambda: self.side(other).says, f'{other} is decided')
        # It may have lost to the one that is no more
        if self.side(other).says == ['LIVE']:
            self.one_lives()
        else:
            self.note(f'{other} has lost to one that is no more')
            self.nobody_lives()

    def handshake(self):
        """The fault comes while the pair comes about, or just after; it may come about or not."""
        self.pause(self.fault.seconds)
        if self.fault.then == 'link':
            self.cut('ab')
        else:
            getattr(self, self.fault.then)(self.fault.side)
        self.until(self._settled, 'every side has ended, or is live', FIRST_S + self.trio.patience)
        if any(self.side(name).live for name in self.up):
            self.one_lives()
        else:
            self.note('nobody is live')
            self.nobody_lives()

    def _settled(self):
        """Has each side an end, or is it live?  One that waits for what can not come is told to end."""
        sides = {name: self.side(name) for name in self.up}
        for name, side in sides.items():
            others = [other for other in sides if other != name]
            waits = side.lines and not side.reasons and 'waiting for the primary' in ' '.join(side.lines[-2:])
            if name == 'b' and waits and all(sides[other].status is not None for other in others):
                # Without a pause: what came in it would wake nobody any more
                if not self.told:
                    self.told = True
                    self.trio.lab.write(name, 'end')
                return False
        return all(side.status is not None or side.live for side in sides.values())

    # How a round ends

    def protected(self):
        """The guest goes on under protection, and ends at both sides."""
        self.outcome = 'protected'
        self.trio.until_asked(REQUESTS)
        for name, status in self.trio.finish('a', 'b').items():
            self.equal(status, 0, f'exit status at {name}')
        for name in 'ab':
            side = self.side(name)
            self.check(not side.alone and not side.live and not side.says, f'{name} has taken over')
            self.equal(side.ends, 1, f'{name}: times that the guest ended')

    def one_lives(self):
        """One side goes on with the guest; the other, if its host is up, ends as it has to."""
        self.until(lambda: [name for name in self.up if 'LIVE' in self.side(name).says], 'a side is live')
        self.winner = next(name for name in self.up if 'LIVE' in self.side(name).says)
        self.outcome = f'{self.winner} live'
        self.note(self.outcome)
        loser = OTHER[self.winner]
        if loser not in self.off:
            status = self.trio.status(loser)
            if loser in self.killed:
                self.check(status in (1, STOPPED), f'exit status at {loser}, whose QEMU was killed: {status}')
            elif self.fault.kind == 'handshake' and not self.side(loser).alone:
                self.check(status not in (0, UNPROTECTED), f'exit status at {loser}: {status}')
            else:
                self.equal(status, STOPPED, f'exit status at {loser}, which lost')
                self.equal(self.side(loser).says, ['STOPPED'], f'what {loser} says')
                self.check(self.side(loser).stopped, f'the kernel log of {loser} does not say that it is stopped')
        if not self.client:
            self.until(lambda: self.side(self.winner).serves, f'the guest serves at {self.winner}')
            self.trio.ask()
            self.client = True
        self.trio.until_asked(REQUESTS)
        statuses = self.trio.finish(self.winner)
        self.equal(statuses['c'], 0, 'exit status of the client')
        self.equal(statuses[self.winner], UNPROTECTED, f'exit status at {self.winner}, which was live')
        self.equal(self.side(self.winner).ends, 1, f'{self.winner}: times that the guest ended')
        self.equal(self.side(loser).ends, 0, f'{loser}: times that the guest ended')

    def nobody_lives(self):
        """Nothing is left that runs; each side says why."""
        self.outcome = 'nobody live'
        if self.client:
            self.trio.lab.write('c', 'kill')
            self.trio.client_status()
        for name in self.up:
            status = self.trio.status(name)
            side = self.side(name)
            self.check(name in self.killed or not side.live and 'LIVE' not in side.says, f'{name} is live')
            self.check(status not in (0, UNPROTECTED), f'exit status at {name}: {status}')
            self.check(side.reasons, f'{name} does not say why')
            self.equal(side.ends, 0, f'{name}: times that the guest ended')

    def judge(self):
        """What holds of every round."""
        self.replies = self.trio.asked
        sides = {name: self.side(name) for name in 'ab'}
        self.alone = ''.join(name for name, side in sides.items() if side.alone)
        live = [name for name, side in sides.items() if side.live or 'LIVE' in side.says]
        self.check(len(live) <= 1, 'TWO SIDES ARE LIVE')
        for name, side in sides.items():
            self.check(not (side.live and side.stopped), f'{name} is live and stopped')
            self.check(side.alone or not side.live, f'{name} is live and was never alone')
            self.check(len(side.says) <= 1, f'{name} says {side.says}')
            if name not in self.off:
                kernel = ['LIVE'] * side.live + ['STOPPED'] * side.stopped
                # A QEMU that was killed is no side any more, whatever was decided
                self.check(side.says == kernel or name in self.killed, f'{name} says {side.says}, its kernel {kernel}')
            self.equal(side.complaints, [], f'QEMU of {name}')
            self.check(side.clean, f'{name}: a session is left')
            if self.fault.kind in HARMLESS:
                self.check(not side.alone, f'{name} was alone')
        self.watch(live)
        for name, host in self.trio.lab.hosts.items():
            self.equal(host.console.complaints, [], f'the kernel of {name} complains')

    def watch(self, live):
        """What came out of the hosts, and when."""
        frames, _ = watch.read_frames(self.capture.read_bytes(), self.captured)

        def complete():
            self.watched = watch.Watch(frames, self.side('a').lines, live)
            return not self.watched.unknown

        if not complete() and 'a' not in self.off:
            # The trace comes a little later than what it is about
            self.trio.lab.loop.until(complete, TRACE_S)
            self.watched.check_complete()
        for problem in self.watched.problems:
            self.problem(problem)
        # A primary may die before its guest has sent anything
        self.check(self.watched.left or self.watched.others or not self.client, 'no frame of the guest\'s was seen')

    def report(self, directory):
        """Keep all that the hosts have said, and what they say now if something hangs."""
        directory.mkdir(parents=True, exist_ok=True)
        lab = self.trio.lab
        for name in [name for name in 'ab' if lab.running(name)]:
            try:
                lab.write(name, 'report')
                lab.wait(name, '^report done', 60)
            except LabError:
                self.problem(f'host {name} does not answer')
        for name in lab.hosts:
            (directory / f'{name}.out').write_text('\n'.join(lab.lines[name].lines) + '\n', 'utf-8')
            (directory / f'{name}.console').write_text('\n'.join(lab.hosts[name].console.lines) + '\n', 'utf-8')

    def line(self, seed):
        """For the campaign's file."""
        return {'seed': seed, 'round': self.number,
                'fault': {'kind': self.fault.kind, **self.fault.parameters},
                'moments': self.moments, 'alone': self.alone, 'live': self.winner, 'outcome': self.outcome,
                'replies': self.replies,
                **({'frames': self.watched.left, 'frames_live': self.watched.left_live,
                    'frames_unknown': self.watched.unknown, 'frames_b': self.watched.others} if self.watched else {}),
                'verdict': 'failed' if self.problems else 'ok',
                **({'problems': self.problems} if self.problems else {}),
                'seconds': round(time.monotonic() - self.began, 1)}


def play(trio, number, fault, capture):
    """A round; a hang is a problem, too.  Returns the Round."""
    this = Round(trio, number, fault, capture)
    try:
        this.play()
    except LabError as error:
        this.problem(str(error).split('\n', 1)[0])
        this.replies = trio.asked
    return this
