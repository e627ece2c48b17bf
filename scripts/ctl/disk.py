# SPDX-License-Identifier: GPL-2.0
"""A disk that is to be an arbiter's: is it a SCSI disk, does it know COMPARE AND WRITE? Nothing is written to it."""

import ctypes
import fcntl
import os
import pathlib
import stat

SYS = pathlib.Path('/sys')
SG_IO = 0x2285              # <scsi/sg.h>
SG_DXFER_FROM_DEV = -3
TIMEOUT_MS = 10000

# SPC-4, 6.34: REPORT SUPPORTED OPERATION CODES, of one; SBC-3, 6.5.3: block limits
COMPARE_AND_WRITE = 0x89
REPORT_ONE = bytes((0xa3, 0x0c, 0x01, COMPARE_AND_WRITE, 0, 0, 0, 0, 0, 64, 0, 0))
SUPPORT_MASK, SUPPORT_NO, SUPPORT_YES = 7, 1, 3
LIMITS_CAW_BLOCKS = 5


class Request(ctypes.Structure):
    """struct sg_io_hdr"""
    _fields_ = [
        ('interface_id', ctypes.c_int), ('dxfer_direction', ctypes.c_int), ('cmd_len', ctypes.c_ubyte),
        ('mx_sb_len', ctypes.c_ubyte), ('iovec_count', ctypes.c_ushort), ('dxfer_len', ctypes.c_uint),
        ('dxferp', ctypes.c_void_p), ('cmdp', ctypes.c_void_p), ('sbp', ctypes.c_void_p),
        ('timeout', ctypes.c_uint), ('flags', ctypes.c_uint), ('pack_id', ctypes.c_int),
        ('usr_ptr', ctypes.c_void_p), ('status', ctypes.c_ubyte), ('masked_status', ctypes.c_ubyte),
        ('msg_status', ctypes.c_ubyte), ('sb_len_wr', ctypes.c_ubyte), ('host_status', ctypes.c_ushort),
        ('driver_status', ctypes.c_ushort), ('resid', ctypes.c_int), ('duration', ctypes.c_uint),
        ('info', ctypes.c_uint)]


def number(path):
    """(major, minor) of the block device at path; None for anything else."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (os.major(found.st_rdev), os.minor(found.st_rdev)) if stat.S_ISBLK(found.st_mode) else None


def scsi_device(device):
    """The directory in sysfs of the SCSI device below a disk or partition; None for a disk of another kind."""
    major, minor = device
    disk = (SYS / 'dev' / 'block' / f'{major}:{minor}').resolve()
    if (disk / 'partition').exists():
        disk = disk.parent
    below = (disk / 'device').resolve()
    return below if (below / 'subsystem').resolve().name == 'scsi' else None


def ask(descriptor, command=REPORT_ONE, size=64):
    """What a SCSI command that reads has to say; None when it fails."""
    data, sense = ctypes.create_string_buffer(size), ctypes.create_string_buffer(64)
    block = ctypes.create_string_buffer(command, len(command))
    request = Request(interface_id=ord('S'), dxfer_direction=SG_DXFER_FROM_DEV, cmd_len=len(command),
                       mx_sb_len=len(sense), dxfer_len=size, dxferp=ctypes.addressof(data),
                       cmdp=ctypes.addressof(block), sbp=ctypes.addressof(sense), timeout=TIMEOUT_MS)
    try:
        fcntl.ioctl(descriptor, SG_IO, request)
    except OSError:
        return None
    if request.status or request.host_status or request.driver_status:
        return None
    return data.raw[:size - request.resid]


def knows_compare_and_write(scsi, descriptor):
    """True or False as the disk says; None when it says neither.

    The block limits name how many blocks the command takes; 0 is what disks say that do not know it, and some that
    do, so then the disk is asked for the command itself.
    """
    try:
        limits = (scsi / 'vpd_pgb0').read_bytes()
    except OSError:
        limits = b''
    if limits[LIMITS_CAW_BLOCKS:LIMITS_CAW_BLOCKS + 1] > b'\0':
        return True
    answer = ask(descriptor)
    if not answer or len(answer) < 2:
        return None
    return {SUPPORT_NO: False, SUPPORT_YES: True}.get(answer[1] & SUPPORT_MASK)
