# SPDX-License-Identifier: GPL-2.0
"""kvmftctl dump: a line a session, for programs."""

import sys

from . import view

# From version 1.0 on columns are appended only, and none changes
COLUMNS = ('id', 'mode', 'role', 'state', 'end', 'seq', 'peer_seq', 'lag_entries', 'lag_us', 'lag_max', 'log_bytes',
           'acked', 'inputs', 'landings', 'digests', 'packets_held', 'bytes_held', 'packets_sent', 'packets_resent',
           'packets_dropped', 'generation', 'arbiter', 'reason')
NOTHING = '-'


def field(value):
    """A value between two tabs."""
    text = '' if value is None else ' '.join(str(value).split())
    return text or NOTHING


def show(out=None):
    """Print it; returns the exit status."""
    view.require_module()
    for session in view.sessions():
        print('\t'.join(field(session.get(name)) for name in COLUMNS), file=out or sys.stdout)
    return 0
