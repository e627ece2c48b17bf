# SPDX-License-Identifier: GPL-2.0
"""A campaign of faults against protected guests; scripts/soak is its command."""
