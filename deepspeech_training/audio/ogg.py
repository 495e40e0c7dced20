"""The pages of Ogg files (RFC 3533): whether the last ones are there, and where one recording ends and another begins.

libsndfile reads the first of several recordings in a file, and of a cut one what is there, silently.
"""

import mmap
import struct

from deepspeech_training.audio.errors import AudioError, cut

_HEADER = struct.Struct("<4sBBqIIIB")  # mark, version, flags, granule, serial number, page number, CRC, segments
_FIRST_PAGE, _LAST_PAGE = 2, 4


def links(data: mmap.mmap | bytes) -> list[tuple[int, int]]:
    """Where each recording of a file begins and ends: more than one where files were joined.

    Raises:
        AudioError: it is cut, or pages are missing or damaged.
    """
    found: list[tuple[int, int]] = []
    open_streams: dict[int, int] = {}  # serial number to the number of its last page
    start = at = 0
    seconds, rate = 0.0, 0
    only_first_pages = True
    while at + _HEADER.size <= len(data):
        mark, _, flags, granule, serial, number, _, num_segments = _HEADER.unpack_from(data, at)
        if mark != b"OggS":
            break
        table_end = at + _HEADER.size + num_segments
        end = table_end + sum(data[at + _HEADER.size : table_end])
        if max(table_end, end) > len(data):
            of = f" of {end - at:,}" if table_end <= len(data) else ""
            raise cut(seconds, sign=f"its last page has {len(data) - at:,}{of} bytes")
        if flags & _FIRST_PAGE:
            if not only_first_pages:
                if open_streams:
                    raise cut(seconds, sign="the last page of a recording before another is missing")
                found.append((start, at))
                start = at
            rate = _granules_per_s(data[table_end : table_end + 20]) or rate
        elif serial not in open_streams:
            raise AudioError(f"it is damaged: the page at byte {at:,} belongs to nothing that has begun")
        elif number != open_streams[serial] + 1:
            raise AudioError(f"it is damaged: pages are missing before byte {at:,}, after {seconds:.2f} s")
        open_streams[serial] = number
        if granule > 0 and rate:
            seconds = granule / rate
        if flags & _LAST_PAGE:
            del open_streams[serial]
        only_first_pages = bool(flags & _FIRST_PAGE)
        at = end
    if data[at : at + 4] == b"OggS"[: len(data) - at] and at < len(data):
        raise cut(seconds, sign=f"its last page has {len(data) - at} bytes")
    if open_streams:
        raise cut(seconds, sign="its last page is missing (`ffmpeg -i FILE -c copy NEW.ogg` makes a whole file of it)")
    rest = data[at : at + (1 << 20)]
    if rest[:3] not in (b"TAG", b"ID3", b"APE") and rest.strip(b"\0\r\n\t "):
        raise AudioError(f"it is damaged: {len(data) - at:,} bytes from byte {at:,} on are no pages")
    return [*found, (start, at)]


def _granules_per_s(packet: bytes) -> int:
    """How often a page counts in a second, by the first packet of a stream; 0 for what is not known."""
    if packet[:7] == b"\x01vorbis" and len(packet) >= 16:
        return struct.unpack_from("<I", packet, 12)[0]
    return 48000 if packet[:8] == b"OpusHead" else 0
