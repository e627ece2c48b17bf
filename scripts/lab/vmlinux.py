# SPDX-License-Identifier: GPL-2.0
"""Extract the ELF vmlinux from an x86 bzImage."""

import lzma
import struct
import subprocess
import zlib

from .messages import LabError

# Offsets in the setup header, Documentation/arch/x86/boot.rst.
SETUP_SECTS = 0x1f1
HEADER_MAGIC = 0x202
PAYLOAD_OFFSET = 0x248


def _filter(command):
    def decompress(data):
        # The decompressors complain about the size the kernel's build
        # appends to the stream; what counts is that an ELF comes out.
        return subprocess.run(command, input=data, check=False,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL).stdout
    return decompress


def _xz(data):
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(data)


def _gzip(data):
    return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data)


DECOMPRESSORS = (
    (b'\xfd7zXZ\x00', _xz),
    (b'\x1f\x8b', _gzip),
    (b'\x28\xb5\x2f\xfd', _filter(['zstd', '-dcq'])),
    (b'\x02\x21\x4c\x18', _filter(['lz4', '-dcq'])),
)


def extract(image):
    """Return the bytes of the vmlinux in the bzImage's bytes."""
    if image[HEADER_MAGIC:HEADER_MAGIC + 4] != b'HdrS':
        raise LabError('the kernel image is not a bzImage')
    offset, length = struct.unpack_from('<II', image, PAYLOAD_OFFSET)
    offset += ((image[SETUP_SECTS] or 4) + 1) * 512
    payload = image[offset:offset + length]
    for magic, decompress in DECOMPRESSORS:
        if payload.startswith(magic):
            elf = decompress(payload)
            if elf.startswith(b'\x7fELF'):
                return elf
            raise LabError('the kernel image\'s payload does not unpack to '
                           'an ELF file')
    raise LabError(f'the kernel image is compressed in a way the lab does '
                   f'not know (payload starts with {payload[:6].hex()})')
