# SPDX-License-Identifier: GPL-2.0
"""What the lab tells its user, and the error that ends it."""

import sys

USAGE = 250
DIED = 251
COMPLAINED = 252
TIMED_OUT = 124


class LabError(Exception):
    """Something the user has to know of; carries the exit status."""

    def __init__(self, message, status=DIED):
        super().__init__(message)
        self.status = status


def say(message):
    """Print a line of the lab's own to standard error."""
    print(f'lab: {message}', file=sys.stderr, flush=True)
