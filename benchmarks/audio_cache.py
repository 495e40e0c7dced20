#!/usr/bin/env python3
"""How much faster the cache of decoded audio loads clips than their files.

    python benchmarks/audio_cache.py FOLDER     a folder with audio files, such as Common Voice's clips of MP3

Times are of one thread: from the files, from the cache of an earlier run (every file's content is hashed first), and
from it in a later epoch.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from deepspeech_training.audio.cache import AudioCache
from deepspeech_training.audio.files import read_audio
from deepspeech_training.audio.formats import AUDIO_SUFFIXES


def timed(what: str, read, files: list[str], seconds_of_audio: float) -> float:
    started = time.perf_counter()
    for file in files:
        read(file)
    taken = time.perf_counter() - started
    each = 1000 * taken / len(files)
    print(f"{what:36}{each:9.3f} ms/clip{len(files) / taken:10,.0f} clips/s{seconds_of_audio / taken:10,.0f} audio-s/s")
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", help="searched through for audio files")
    parser.add_argument("--clips", type=int, default=500, help="use at most so many")
    options = parser.parse_args()
    found = sorted(str(f) for f in Path(options.folder).rglob("*") if f.suffix.lower() in AUDIO_SUFFIXES)
    files = found[: options.clips]
    with tempfile.TemporaryDirectory() as folder:

        def opened() -> AudioCache:
            return AudioCache(Path(folder), sample_rate=16000, max_bytes=10**11, warn=print)

        cache = opened()
        seconds = sum(len(cache.read(file)) for file in files) / 16000  # also warms the page cache
        print(f"{len(files)} clips, {seconds / 3600:.2f} h; {cache.describe().partition(': ')[2]}")
        decoded = timed("decoded from the files", lambda f: read_audio(f, sample_rate=16000), files, seconds)
        later = opened()
        first = timed("from the cache, in a new run", later.read, files, seconds)
        again = timed("from the cache, in a later epoch", later.read, files, seconds)
        assert later.hits == 2 * len(files), "not everything came from the cache"
        assert all(np.array_equal(later.read(f), read_audio(f, sample_rate=16000)) for f in files[:50])
        print(f"{decoded / first:.1f} and {decoded / again:.1f} times as fast")
    return 0


if __name__ == "__main__":
    sys.exit(main())
