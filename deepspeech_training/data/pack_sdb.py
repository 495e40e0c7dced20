"""A CSV and its clips into one of DeepSpeech's sample databases, as its `build_sdb.py` makes them."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from deepspeech_training.audio import opus_packets
from deepspeech_training.audio.errors import AudioError
from deepspeech_training.audio.files import read_audio, read_audio_info
from deepspeech_training.audio.sdb import MIME_OPUS, MIME_WAV, SUFFIX
from deepspeech_training.audio.shards import MAX_CLIP_BYTES, read_bytes
from deepspeech_training.console import Console
from deepspeech_training.data.pack import CLIPS_AHEAD, THREADS, PackedSet, PackRules
from deepspeech_training.data.rows import Row, audio_path, read_rows
from deepspeech_training.data.sample import Rejection
from deepspeech_training.data.samples import report
from deepspeech_training.data.sdb_file import SdbFile
from deepspeech_training.data.tar_shard import encode
from deepspeech_training.errors import UserError

FORMATS = {"sdb": MIME_WAV, "sdb_opus": MIME_OPUS}
_WAV_HEADER_BYTES = 44  # of a file with a format, samples and nothing else


def pack_sdb(
    csv_path: str, folder: Path, rules: PackRules, console: Console, *, labelled: bool = True, by_size: bool = False
) -> PackedSet:
    """Pack the clips of a CSV into NAME.sdb; WAVs that are mono of 16 bits at the rate of the rules stay as they are.

    Args:
        labelled: with transcripts.
        by_size: from the smallest `wav_filesize` to the greatest, instead of the order of the rows.
    Raises:
        UserError: the CSV cannot be read, a clip cannot and rows are not dropped, or the folder cannot be written.
    """
    rows = read_rows(csv_path)
    if by_size:
        rows.sort(key=lambda row: row.wav_filesize)
    faults: list[Rejection] = []
    path = folder / f"{Path(csv_path).stem}{SUFFIX}"
    with SdbFile(path, FORMATS[rules.format], labelled=labelled) as file:
        with console.progress(f"packing {csv_path}", total=len(rows), unit="clips") as progress:
            for row, found in _loaded(csv_path, rows, rules):
                if isinstance(found, AudioError):
                    said = (row.row, row.wav_filename, row.transcript, found.code, found.reason)
                    faults.append(Rejection(csv_path, *said))
                else:
                    file.add(found, row.transcript)
                progress.update()
        if faults and rules.on_bad_row == "fail":
            raise UserError(report(faults, len(rows), ""))
        for fault in faults:
            console.warn(f"{csv_path}, row {fault.row}: left out: {fault.reason}")
        if not len(file):
            raise UserError(f"{csv_path}: no row is left of {len(rows):,}")
        file.close()
    return PackedSet(path, len(file), 1, file.size, 0)


def _loaded(csv_path: str, rows: Sequence[Row], rules: PackRules) -> Iterator[tuple[Row, bytes | AudioError]]:
    """Each row with its clip, or what is wrong with it; some are read ahead."""

    def load(row: Row) -> bytes | AudioError:
        if row.fault:
            return AudioError(row.fault, code="bad_row")
        try:
            return _clip(audio_path(csv_path, row.wav_filename), rules)
        except AudioError as error:
            return error

    ahead: deque[tuple[Row, Future[bytes | AudioError]]] = deque()
    waiting = iter(rows)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="pack") as pool:
        try:
            while True:
                while len(ahead) < CLIPS_AHEAD and (row := next(waiting, None)) is not None:
                    ahead.append((row, pool.submit(load, row)))
                if not ahead:
                    return
                row, future = ahead.popleft()
                yield row, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _clip(path: str, rules: PackRules) -> bytes:
    """The bytes that stand for a clip in the database."""
    rate = rules.sample_rate
    if rules.format == "sdb" and path.lower().endswith(".wav"):
        info, data = read_audio_info(path), read_bytes(path)
        plain = len(data) == _WAV_HEADER_BYTES + 2 * info.num_frames and data[:4] == b"RIFF"
        if plain and (info.sample_rate, info.channels) == (rate, 1):
            return data
    samples = read_audio(path, sample_rate=rate, dtype="int16")
    if rules.format == "sdb":
        data = encode(samples, rate, "wav")
    else:
        data = opus_packets.of_ogg(encode(samples, rate, "opus"), num_frames=len(samples), sample_rate=rate)
    if len(data) > MAX_CLIP_BYTES:
        raise AudioError(f"it has {len(data):,} bytes; a clip in a shard has {MAX_CLIP_BYTES:,} at most")
    return data
