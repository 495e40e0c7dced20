"""Opus as DeepSpeech's sample databases have it, in packets without pages, into Ogg and back; no decoder is needed.

    u32 bytes of PCM, u32 rate, u8 channels, u8 bytes of a sample, then u16 length and bytes of each packet, big-endian

Nothing is known in it of the encoder's delay, which DeepSpeech neither cuts off at the start: 6.5 ms stay.
"""

import struct
import zlib

from deepspeech_training.audio.errors import AudioError

SUFFIX = ".opus_packets"
RATES = (8000, 12000, 16000, 24000, 48000)
_HEAD = struct.Struct(">IIBB")
_PAGE = struct.Struct("<4sBBqIIIB")  # mark, version, flags, granule, serial number, page number, CRC, segments
_FIRST, _LAST = 2, 4
_GRANULES_PER_S = 48000  # RFC 7845, whatever the rate
_SEGMENTS = 255  # of a page
_MAX_PACKET_BYTES = 48 * 1275 + 100  # RFC 6716: of 120 ms, the longest
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def to_ogg(data: bytes) -> bytes:
    """The Ogg Opus file of these packets.

    Raises:
        AudioError: they are damaged or cut.
    """
    if len(data) < _HEAD.size:
        raise AudioError(f"its Opus is cut: {len(data)} bytes")
    num_bytes, rate, channels, width = _HEAD.unpack_from(data)
    if rate not in RATES or channels not in (1, 2) or width != 2:
        raise AudioError(f"its Opus is damaged: {rate} Hz, {channels} channels of {width} bytes")
    num_granules = num_bytes // (channels * width) * (_GRANULES_PER_S // rate)
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, channels, 0, rate, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 0) + struct.pack("<I", 0)
    pages = [_page([head], 0, 0, _FIRST), _page([tags], 0, 1, 0)]
    waiting: list[bytes] = []
    segments = granule = 0
    for packet in _packets(data):
        needed = len(packet) // 255 + 1
        if segments + needed > _SEGMENTS:
            pages.append(_page(waiting, granule, len(pages), 0))
            waiting, segments = [], 0
        waiting.append(packet)
        segments += needed
        granule += _duration(packet)
        if granule >= num_granules:
            break
    if granule < num_granules or not num_granules:
        raise AudioError(
            f"its Opus is cut: {granule / _GRANULES_PER_S:.2f} s of {num_granules / _GRANULES_PER_S:.2f} s"
        )
    return b"".join([*pages, _page(waiting, num_granules, len(pages), _LAST)])


def of_ogg(data: bytes, *, num_frames: int, sample_rate: int, channels: int = 1) -> bytes:
    """The packets of an Ogg Opus file with one recording, as `soundfile` writes it."""
    packets, waiting, at = [], b"", 0
    while at < len(data):
        *_, num_segments = _PAGE.unpack_from(data, at)
        at += _PAGE.size
        sizes = data[at : at + num_segments]
        at += num_segments
        for size in sizes:
            waiting += data[at : at + size]
            at += size
            if size < 255:
                packets.append(waiting)
                waiting = b""
    head = _HEAD.pack(2 * channels * num_frames, sample_rate, channels, 2)
    return head + b"".join(struct.pack(">H", len(packet)) + packet for packet in packets[2:])  # head and tags before


def _packets(data: bytes):
    at = _HEAD.size
    while at < len(data):
        if at + 2 > len(data):
            raise AudioError("its Opus is cut in the length of a packet")
        size = int.from_bytes(data[at : at + 2], "big")
        at += 2
        if not 0 < size <= _MAX_PACKET_BYTES or at + size > len(data):
            raise AudioError(f"its Opus is damaged or cut: a packet of {size:,} bytes at {at:,} of {len(data):,}")
        yield data[at : at + size]
        at += size


def _duration(packet: bytes) -> int:
    """Granules of a packet, by its first bytes (RFC 6716, 3.1)."""
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        frame = (480, 960, 1920, 2880)[config % 4]
    elif config < 16:
        frame = (480, 960)[config % 2]
    else:
        frame = (120, 240, 480, 960)[config % 4]
    if code == 3 and len(packet) < 2:
        raise AudioError("its Opus is damaged: a packet without its number of frames")
    return frame * (1, 2, 2, packet[1] & 0x3F if code == 3 else 0)[code]


def _page(packets: list[bytes], granule: int, number: int, flags: int) -> bytes:
    table = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    content = table + b"".join(packets)
    page = _PAGE.pack(b"OggS", 0, flags, granule, 0, number, 0, len(table)) + content
    return page[:22] + _checksum(page).to_bytes(4, "little") + page[26:]


def _checksum(page: bytes) -> int:
    """Ogg's CRC-32 takes the bits of a byte the other way round than zlib's, from 0 and without a last inversion.

    >>> hex(_checksum(b"OggS"))
    '0x5fb0a94f'
    """
    mirrored = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_REVERSED), "big")
