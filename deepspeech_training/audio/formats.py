"""The one list of audio formats: every command that looks through a folder takes the files that this list names.

A name only says what is worth trying: `audio.files` looks into the file, and says what is wrong with it. So a file that
looks like audio is either read or named with the reason why not, and never passed over.
"""

import os

# What libsndfile reads, in this process.
SNDFILE_SUFFIXES = (
    ".aif .aifc .aiff .au .avr .bwf .caf .flac .htk .iff .ircam .mp1 .mp2 .mp3 .nist .oga .ogg .opus .paf .pvf .rf64 "
    ".sd2 .sds .sf .snd .sph .svx .voc .w64 .wav .wave .wve .xi"
)
# What the program `sox` reads where it is installed, and as which of its types: it would otherwise take some files for
# lists of other files, or names for commands.
SOX_TYPES = {
    ".8svx": "8svx",
    ".amr": "amr-nb",
    ".awb": "amr-wb",
    ".cvs": "cvsd",
    ".gsm": "gsm",
    ".hcom": "hcom",
    ".mp2": "mp2",
    ".sox": "sox",
    ".sph": "sph",
    ".voc": "voc",
    ".vox": "vox",
    ".wv": "wv",
    ".wve": "wve",
    ".xa": "xa",
}
# What the program `ffmpeg` reads where it is installed, and with which of its demuxers.
FFMPEG_TYPES = {
    ".3g2": "mov",
    ".3gp": "mov",
    ".aac": "aac",
    ".ac3": "ac3",
    ".amr": "amr",
    ".ape": "ape",
    ".avi": "avi",
    ".awb": "amr",
    ".flv": "flv",
    ".m4a": "mov",
    ".m4b": "mov",
    ".m4v": "mov",
    ".mka": "matroska",
    ".mkv": "matroska",
    ".mov": "mov",
    ".mp4": "mov",
    ".mpc": "mpc8",
    ".mpeg": "mpeg",
    ".mpg": "mpeg",
    ".spx": "ogg",
    ".tta": "tta",
    ".weba": "matroska",
    ".webm": "matroska",
    ".wma": "asf",
    ".wmv": "asf",
    ".wv": "wv",
}
HEADERLESS_SUFFIXES = (".pcm", ".raw")  # named, and never guessed
AUDIO_SUFFIXES = frozenset((*SNDFILE_SUFFIXES.split(), *HEADERLESS_SUFFIXES, *SOX_TYPES, *FFMPEG_TYPES))
EXAMPLES = ".wav, .flac, .mp3, .ogg, .opus, .m4a and others"  # what a message names; the list is too long for one


def is_audio_name(path: str | os.PathLike[str]) -> bool:
    """Whether a file looks like a recording by its name, in capitals too.

    Files that macOS leaves beside others ("._clip.wav") have the names of recordings, and are none.

    >>> is_audio_name("clips/ONE.WAV"), is_audio_name("clips/one.txt"), is_audio_name("clips/._one.wav")
    (True, False, False)
    """
    name = os.path.basename(path)
    return os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES and not name.startswith("._")
