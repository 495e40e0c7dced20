"""Google's Speech Commands (Warden 2018, arXiv:1804.03209), and other corpora of its layout:
`WORD/SPEAKER_nohash_NUMBER.wav`, and `_background_noise_/*.wav`.

The split is the official one, by a hash of the file's name up to `_nohash_`, so that a speaker is in one set, also when
clips are added. The recordings in `_background_noise_` are no clips: they are what `--silence_noise` takes.
"""

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import PurePosixPath

from deepspeech_training.audio.formats import is_audio_name
from deepspeech_training.console import Console
from deepspeech_training.importers.command import import_corpus, importer_parser
from deepspeech_training.importers.corpus import Corpus, CorpusRow
from deepspeech_training.importers.source import ends_with

NOISE = "_background_noise_"
MOST_CLIPS_OF_A_WORD = 2**27 - 1  # of the official which_set, which fixes the hash's share
DEV_PERCENT, TEST_PERCENT = 10.0, 10.0


def set_of(name: str) -> str:
    """The set of a file name; the corpus's README has the function as `which_set`.

    >>> set_of("0a7c2a8d_nohash_0.wav"), set_of("0a7c2a8d_nohash_1.wav")
    ('train', 'train')
    """
    speaker = name.partition("_nohash_")[0]
    number = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % (MOST_CLIPS_OF_A_WORD + 1)
    percent = number * 100.0 / MOST_CLIPS_OF_A_WORD
    if percent < DEV_PERCENT:
        return "dev"
    return "test" if percent < DEV_PERCENT + TEST_PERCENT else "train"


def rows(source) -> Iterator[CorpusRow]:
    for number, name in enumerate(filter(is_audio_name, source.glob("**/*_nohash_*")), start=1):
        path = PurePosixPath(name)
        if path.parent.name != NOISE:
            speaker = path.stem.partition("_nohash_")[0]
            clip = f"{path.parent.name}/{path.stem}"
            yield CorpusRow(name, number, name, path.parent.name, set_of(path.name), speaker, name=clip)


CORPUS = Corpus("speech_commands", rows, ends_with())


def parser(prog: str) -> argparse.ArgumentParser:
    return importer_parser(prog, "Speech Commands", example="speech_commands_v0.02.tar.gz")


def run(flags: argparse.Namespace, console: Console) -> None:
    import_corpus(flags, console, CORPUS)
