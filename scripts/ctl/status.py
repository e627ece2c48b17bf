# SPDX-License-Identifier: GPL-2.0
"""kvmftctl, and kvmftctl status: module, counters and sessions, for a person or as JSON."""

import json
import sys

from . import messages, uapi, view

_UNTESTED = 'the self-test runs when the first session is made, or with the module\'s load if kvm_amd is there'


def _count(number, what):
    """"1 session", "2 sessions"."""
    number = number or 0
    return f'{number:,} {what}{"" if number == 1 else "s"}'


def _module():
    about = view.about()
    return (f'module      loaded, interface version {about["api_version"]}, {_count(about["sessions"], "session")}, '
            f'{_count(about["hooks"], "function")} of KVM hooked')


def _counter():
    """The verdict; why, or by what."""
    counter = view.counter()
    said = counter['verdict'] or 'unknown'
    if said == uapi.NAMES[uapi.Verdict][uapi.Verdict.UNTESTED]:
        return f'counters    {said}: {_UNTESTED}'
    lines = [f'counters    {said}' + (f': {counter["reason"]}' if counter['reason'] else '')]
    if counter['windows'] or counter['stops']:
        lines.append(f'self-test   {_count(counter["windows"], "window")}, {counter["wrong"] or 0:,} wrong; '
                     f'{_count(counter["stops"], "stop")}, {counter["lost"] or 0:,} lost, '
                     f'skid up to {counter["skid_max"] or 0:,}')
    return '\n'.join(lines)


def _because(session):
    """Why it ended, in kvmftctl's words and in the module's."""
    end = view.end_of(session)
    if end == uapi.End.NONE:
        return
    yield 'end', f'{session.get("end")}: ' + messages.describe_end(view.doing(session), -1 if end is None else end)
    if session.get('reason'):
        yield 'reason', messages.with_errors(session['reason'])


def _log(session):
    acknowledged = f', {session.get("acked") or 0:,} of them acknowledged' if session.get('role') == 'primary' else ''
    return (f'{session.get("seq") or 0:,} entries, {session.get("log_bytes") or 0:,} bytes{acknowledged}; '
            f'{_count(session.get("inputs"), "input")}, '
            f'{_count(session.get("landings"), "landing")}, {_count(session.get("digests"), "digest")}')


def _lag(session):
    limit = session.get('lag_max')
    return (f'{session["lag_entries"]:,} entries, {(session.get("lag_us") or 0) / 1000:,.1f} ms'
            + (f'; the guest waits at {limit:,} entries' if limit else ''))


def _packets(session):
    return (f'{session.get("packets_held") or 0:,} held ({session.get("bytes_held") or 0:,} bytes), '
            f'{session.get("packets_sent") or 0:,} sent, {session.get("packets_resent") or 0:,} sent again, '
            f'{session.get("packets_dropped") or 0:,} dropped')


def _session(session):
    """(label, text) of each line below its heading."""
    state, doing = view.state_of(session), view.doing(session)
    yield 'state', f'{session["state"]}: {messages.describe_state(state, doing)}'
    yield from _because(session)
    if session.get('arbiter'):
        yield 'arbiter', messages.with_errors(session['arbiter'])
    if session.get('mode') != uapi.NAMES[uapi.Mode][uapi.Mode.COUNT]:
        yield 'log', _log(session)
    # What it was when a session ended is of no use to anybody
    if session.get('lag_entries') is not None and state == uapi.State.COUNTING:
        yield 'lag', _lag(session)
    if any(session.get(f'packets_{what}') for what in ('held', 'sent', 'resent', 'dropped')):
        yield 'packets', _packets(session)
    what_next = messages.next_step(state, doing, view.end_of(session))
    if what_next:
        yield 'next', what_next


def lines():
    """The report for a person, line by line."""
    view.require_module()
    yield _module()
    yield from _counter().split('\n')
    sessions = view.sessions()
    if not sessions:
        yield 'sessions    none: "kvmftctl primary" and "backup" protect a guest, "kvmftctl record" records one'
    for session in sessions:
        role = session.get('role') or 'none'
        yield ''
        yield f'session {session["id"]}: ' + (view.doing(session) if role == 'none' else
                                              f'{role} of a pair, generation {session.get("generation") or 0:,}')
        for label, text in _session(session):
            yield f'  {label:10}{text}'


def as_json():
    """The same and all other attributes; without the module there is only that."""
    if not view.loaded():
        return {'module': {'loaded': False}, 'counter': None, 'sessions': []}
    return {'module': {'loaded': True} | view.about(), 'counter': view.counter(), 'sessions': view.sessions()}


def show(in_json=False, out=None):
    """Print it; returns the exit status."""
    out = out or sys.stdout
    if in_json:
        json.dump(as_json(), out, indent=2)
        print(file=out)
        view.require_module()
        return 0
    for line in lines():
        print(line, file=out)
    return 0
