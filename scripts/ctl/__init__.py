# SPDX-License-Identifier: GPL-2.0
"""What kvmftctl does: logs and sessions, for people."""
