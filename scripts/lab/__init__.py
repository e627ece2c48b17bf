# SPDX-License-Identifier: GPL-2.0
"""The lab: emulated hosts to run kvmft and its tests in."""
