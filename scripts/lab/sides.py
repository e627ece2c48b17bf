# SPDX-License-Identifier: GPL-2.0
"""Three hosts: the two sides of pairs, and one with the disk that both claim blocks of.

	a (primary) ---- ab ---- b (backup)
	      \\                 /
	       ac ---- c ----- bc        LIO over iSCSI

race.py and trio.py say what they do.  KVMFT_KO in the environment is another module for the sides.
"""

import os

NETWORKS = {'ab': {'a': '10.1.0.1/24', 'b': '10.1.0.2/24'},
            'ac': {'a': '10.2.0.1/24', 'c': '10.2.0.3/24'},
            'bc': {'b': '10.3.0.2/24', 'c': '10.3.0.3/24'}}
PORTALS = {'a': '10.2.0.3', 'b': '10.3.0.3'}
SIDES = {'a': 'primary', 'b': 'backup'}
BACKUP = '10.1.0.2'


def environment():
    """What the sides' hosts get of ours."""
    return {name: os.environ[name] for name in ('KVMFT_KO',) if name in os.environ}


class Sides:
    """The hosts, while they run."""

    def __init__(self, lab, patience):
        """lab: a Topology; patience: seconds that anything may take."""
        self.lab = lab
        self.patience = patience

    def __enter__(self):
        self.lab.__enter__()
        return self

    def __exit__(self, *exception):
        self.lab.__exit__(*exception)

    def wait(self, name, regex):
        """Topology.wait(), with our patience."""
        return self.lab.wait(name, regex, self.patience)
