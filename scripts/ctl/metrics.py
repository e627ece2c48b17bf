# SPDX-License-Identifier: GPL-2.0
"""kvmftctl metrics: module, counters and sessions in the text format of Prometheus."""

import sys

from . import uapi, view

PREFIX = 'kvmft'

# (name, type, help, attribute) of the module's, and of the counters' self-test
_MODULE = (
    ('sessions', 'gauge', 'Sessions whose descriptor is open.', 'sessions'),
    ('hooked_functions', 'gauge', 'Functions of KVM that are redirected.', 'hooks'),
)
_COUNTER = (
    ('selftest_windows', 'gauge', 'Stretches of known length that the self-test counted.', 'windows'),
    ('selftest_wrong_windows', 'gauge', 'Those whose count was another.', 'wrong'),
    ('selftest_stops', 'gauge', 'Stops that the self-test asked for.', 'stops'),
    ('selftest_lost_stops', 'gauge', 'Those whose interrupt did not come in time.', 'lost'),
    ('selftest_skid_max_branches', 'gauge', 'Largest distance of a stop from where it was asked for.', 'skid_max'),
)

# ... of each session
SESSION = (
    ('exits_total', 'counter', 'Returns from the guest.', 'exits'),
    ('conditional_branches_total', 'counter', 'Conditional branches that the guest has retired.', 'cond'),
    ('taken_branches_total', 'counter', 'Taken branches that the guest has retired.', 'taken'),
    ('overflows_total', 'counter', 'Overflow interrupts that were asked for.', 'overflows'),
    ('lost_overflows_total', 'counter', 'Stops that were passed without one.', 'lost'),
    ('spurious_nmis_total', 'counter', 'Other NMIs while a stop was pending.', 'spurious'),
    ('entries_total', 'counter', 'Log entries written or replayed on this side.', 'seq'),
    ('peer_entries_total', 'counter', 'Log entries written or replayed by the peer, as it said last.', 'peer_seq'),
    ('log_bytes_total', 'counter', 'Bytes of the log written or replayed.', 'log_bytes'),
    ('acknowledged_bytes_total', 'counter', 'Bytes of the log that the backup has.', 'acked'),
    ('copied_bytes_total', 'counter', 'Bytes of the log copied for a network card that can not gather.', 'copied'),
    ('inputs_total', 'counter', 'Interrupts and timers applied.', 'inputs'),
    ('landings_total', 'counter', 'Boundaries whose place had to be logged, or landed on.', 'landings'),
    ('digests_total', 'counter', 'Digests written, or compared and equal.', 'digests'),
    ('packets_sent_total', 'counter', 'Packets that left while the guest was protected.', 'packets_sent'),
    ('packets_resent_total', 'counter', 'Packets sent when this side went live.', 'packets_resent'),
    ('packets_dropped_total', 'counter', 'Packets lost on this host.', 'packets_dropped'),
    ('held_packets', 'gauge', 'Packets of the guest that wait.', 'packets_held'),
    ('held_bytes', 'gauge', 'Bytes of them.', 'bytes_held'),
    ('lag_entries', 'gauge', 'Entries that the backup is behind, as this side knows.', 'lag_entries'),
    ('lag_seconds', 'gauge', 'For how long the backup has not replayed what the primary has written.', 'lag_us'),
    ('generation', 'gauge', 'How many times a side of the pair has gone live.', 'generation'),
    ('lag_max_entries', 'gauge', 'Entries behind at which the guest waits; 0: as many as fit.', 'lag_max'),
)


def escape(text):
    """A label's value between its quotes."""
    return str(text).replace('\\', '\\\\').replace('\n', '\\n').replace('"', '\\"')


def _figure(name, value):
    """An attribute in the unit that the metric's name says."""
    return value / 1e6 if name.endswith('_seconds') and value is not None else value


def _sample(name, value, labels):
    inside = ','.join(f'{label}="{escape(text)}"' for label, text in labels.items())
    return f'{name}{{{inside}}} {value}' if inside else f'{name} {value}'


def family(name, kind, text, samples):
    """The lines of a metric; samples are (labels, value). None without any value."""
    name = f'{PREFIX}_{name}'
    found = [_sample(name, value, labels) for labels, value in samples if isinstance(value, (int, float))]
    if found:
        yield f'# HELP {name} {text}'
        yield f'# TYPE {name} {kind}'
        yield from found


def _one_of(kind, label, current, labels):
    """A sample for each name of an enumeration: 1 for the one that holds."""
    for known in uapi.NAMES[kind].values():
        yield labels | {label: known}, int(known == current)


def _sessions(sessions):
    """Their metrics, all samples of one together."""
    named = [({'session': session['id']}, session) for session in sessions]
    yield from family('session_info', 'gauge', 'A session, by what it does: always 1.',
                      [(labels | {name: session.get(name) or '' for name in ('mode', 'role')}, 1)
                       for labels, session in named])
    yield from family('session_state', 'gauge', '1 for the state that a session is in, 0 for the others.',
                      [sample for labels, session in named
                       for sample in _one_of(uapi.State, 'state', session['state'], labels)])
    yield from family('session_end_info', 'gauge', 'A session that lost its peer or ended, and why: always 1.',
                      [(labels | {name: session.get(name) or '' for name in ('end', 'reason')}, 1)
                       for labels, session in named
                       if session.get('end') not in (None, uapi.NAMES[uapi.End][uapi.End.NONE])])
    for name, kind, text, attribute in SESSION:
        yield from family(f'session_{name}', kind, text,
                          [(labels, _figure(name, session.get(attribute))) for labels, session in named])


def lines():
    """All of it, line by line."""
    there = view.loaded()
    yield from family('module_loaded', 'gauge', 'Is the module loaded?', [({}, int(there))])
    if not there:
        return
    about, counter = view.about(), view.counter()
    yield from family('module_info', 'gauge', 'The version of the module\'s interface: always 1.',
                      [({'api_version': about['api_version']}, 1)])
    yield from family('counter_verdict', 'gauge', '1 for the verdict on this machine\'s counters, 0 for the others.',
                      _one_of(uapi.Verdict, 'verdict', counter['verdict'], {}))
    for name, kind, text, attribute in _MODULE:
        yield from family(name, kind, text, [({}, about[attribute])])
    for name, kind, text, attribute in _COUNTER:
        yield from family(name, kind, text, [({}, counter[attribute])])
    yield from _sessions(view.sessions())


def show(out=None):
    """Print it; returns the exit status."""
    for line in lines():
        print(line, file=out or sys.stdout)
    return 0
