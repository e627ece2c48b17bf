# SPDX-License-Identifier: GPL-2.0
"""The module's calls, as include/uapi/linux/kvmft.h has them."""

import enum
import struct
import types

API_VERSION = 1
IOCTL_TYPE = 0xDC
ALIGN_US_MAX = 1000000
HEARTBEAT_MS_MAX = 10000
TIMEOUT_MS_MAX = 600000

_NONE, _WRITE, _READ = 0, 1, 2


class Verdict(enum.IntEnum):
    """enum kvmft_verdict"""
    UNTESTED = 0
    EXACT = 1
    REFUSED = 2


class State(enum.IntEnum):
    """enum kvmft_state"""
    ARMED = 1
    COUNTING = 2
    ENDED = 3
    CLAIMING = 4
    LIVE = 5
    STOPPED = 6


class End(enum.IntEnum):
    """enum kvmft_end"""
    NONE = 0
    CLOSED = 1
    VM_DESTROYED = 2
    COUNTER_LOST = 3
    VCPU_ADDED = 4
    NO_COUNTER = 5
    COUNTER_WRONG = 6
    FINISHED = 7
    DIVERGED = 8
    LOG_ERROR = 9
    UNSUPPORTED = 10


class Mode(enum.IntEnum):
    """enum kvmft_mode"""
    COUNT = 0
    RECORD = 1
    REPLAY = 2


class Role(enum.IntEnum):
    """enum kvmft_role"""
    PRIMARY = 1
    BACKUP = 2


# {value: name} of each, as sysfs has them: kvmft/names.h is the module's list
NAMES = {kind: {value: value.name.lower().replace('_', '-') for value in kind}
         for kind in (Verdict, State, End, Mode, Role)}
NAMES[Role][0] = 'none'


def named(kind, name):
    """The value of that name; None for one that only a later module has."""
    return next((value for value, known in NAMES[kind].items() if known == name), None)


class Layout:
    """A structure of the header: its fields as "CODE:name", with the codes of struct; "16s" are bytes."""

    def __init__(self, fields):
        pairs = [field.split(':') for field in fields.split()]
        self._struct = struct.Struct('=' + ''.join(code for code, _ in pairs))
        self.size = self._struct.size
        self.offsets = {}
        # Arrays are reserved fields, whose values nobody wants
        self._scalars = {}
        self._empty = []
        place = index = 0
        for code, name in pairs:
            self.offsets[name] = place
            place += struct.calcsize('=' + code)
            if len(code) == 1 or code.endswith('s'):
                self._scalars[name] = index
            self._empty += [b''] if code.endswith('s') else [0] * int(code[:-1] or 1)
            index = len(self._empty)

    def pack(self, **values):
        """The structure as a bytearray; size is filled in, what is not named is zero."""
        words = list(self._empty)
        words[self._scalars['size']] = self.size
        for name, value in values.items():
            words[self._scalars[name]] = value
        return bytearray(self._struct.pack(*words))

    def unpack(self, data):
        """The fields as attributes."""
        words = self._struct.unpack(data)
        return types.SimpleNamespace(**{name: words[index] for name, index in self._scalars.items()})


INFO = Layout('I:size I:flags I:api_version I:verdict I:sessions I:hooks Q:skid_max 4Q:reserved')
CREATE_SESSION = Layout('I:size I:flags i:vm_fd I:pad 4Q:reserved')
SESSION_STATUS = Layout(
    'I:size I:flags Q:id I:state I:end Q:exits Q:cond Q:taken Q:rip Q:stop_at Q:stopped_at Q:overflows '
    'Q:lost Q:spurious I:mode I:pad Q:seq Q:log_bytes Q:inputs Q:landings Q:digests '
    'Q:acked Q:peer_seq Q:copied '
    'Q:packets_held Q:bytes_held Q:packets_sent Q:packets_resent Q:packets_dropped '
    'Q:generation Q:lag_us I:role I:reserved')
SESSION_RECORD = Layout('I:size I:flags i:log_fd I:align_us 4Q:reserved')
SESSION_REPLAY = Layout('I:size I:flags i:log_fd I:pad 4Q:reserved')
SESSION_PAIR = Layout(
    'I:size I:flags i:socket_fd I:role 16s:id Q:generation I:heartbeat_ms I:timeout_ms I:align_us '
    'i:arbiter_fd Q:arbiter_block 3Q:reserved')


PAIR_ARBITER = 1            # KVMFT_PAIR_ARBITER
PAIR_HOLD_ALL = 2           # KVMFT_PAIR_HOLD_ALL


def _ioc(direction, number, layout=None):
    """_IOC() of <asm-generic/ioctl.h>"""
    return direction << 30 | (layout.size if layout else 0) << 16 | IOCTL_TYPE << 8 | number


GET_API_VERSION = _ioc(_NONE, 0x00)
GET_INFO = _ioc(_READ | _WRITE, 0x01, INFO)
CREATE = _ioc(_WRITE, 0x03, CREATE_SESSION)
STATUS = _ioc(_READ | _WRITE, 0x10, SESSION_STATUS)
RECORD = _ioc(_WRITE, 0x12, SESSION_RECORD)
PAIR = _ioc(_WRITE, 0x16, SESSION_PAIR)
REPLAY = _ioc(_WRITE, 0x13, SESSION_REPLAY)
FINISH = _ioc(_NONE, 0x14)
