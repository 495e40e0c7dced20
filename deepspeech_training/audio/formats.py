"""The one list of audio formats: every command that looks through a folder takes the files that this list names.

A name only says what is worth trying: `audio.files` looks into the file, and says what is wrong with it. So a file that
looks like audio is either read or named with the reason why not, and never passed over.
"""

import os
import re

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
# What the program `ffmpeg` reads where it is installed; the first bytes tell with which of its demuxers.
FFMPEG_SUFFIXES = (
    ".3g2 .3gp .aac .ac3 .amr .ape .avi .awb .flv .m4a .m4b .m4v .mka .mkv .mov .mp4 .mpc .spx .tta .weba .webm .wma "
    ".wmv .wv"
)
HEADERLESS_SUFFIXES = ".pcm .raw"  # named, and never guessed
AUDIO_SUFFIXES = frozenset(
    (*SNDFILE_SUFFIXES.split(), *HEADERLESS_SUFFIXES.split(), *SOX_TYPES, *FFMPEG_SUFFIXES.split())
)
EXAMPLES = ".wav, .flac, .mp3, .ogg, .opus, .m4a and others"  # what a message names; the list is too long for one

# What the first bytes of a file say it is, and the demuxer of ffmpeg that reads it where libsndfile does not.
_KINDS = (
    (rb"(RIFF|RIFX|RF64|BW64)....WAVE", "WAV", "wav"),
    (rb"fLaC", "FLAC", "flac"),
    (rb"OggS", "Ogg", "ogg"),
    (rb"FORM....(AIF[FC]|8SVX|16SV)", "IFF", "aiff"),
    (rb"caff", "CAF", "caf"),
    (rb"riff\x2e\x91\xcf\x11", "Wave64", "w64"),
    (rb"\.snd", "AU", "au"),
    (rb"NIST_1A", "NIST SPHERE", "nistsphere"),
    (rb"Creative Voice File", "VOC", "voc"),
    (rb"ID3|\x00*\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]", "MP3", "mp3"),  # any of the three layers
    (rb"....ftyp", "MP4", "mov"),
    (rb"\x1a\x45\xdf\xa3", "WebM or Matroska", "matroska"),
    (rb"#!AMR", "AMR", "amr"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media", "asf"),
    (rb"wvpk", "WavPack", "wv"),
    (rb"MAC ", "Monkey's Audio", "ape"),
    (rb"TTA1", "True Audio", "tta"),
    (rb"MP\+", "Musepack", "mpc"),
    (rb"MPCK", "Musepack", "mpc8"),
    (rb"FLV\x01", "Flash video", "flv"),
    (rb"RIFF....AVI ", "AVI", "avi"),
    (rb"\x0b\x77", "AC-3", "ac3"),
    (rb"\xff[\xf0\xf1\xf8\xf9]", "AAC", "aac"),
)
_NOT_AUDIO = (
    (rb"version https://git-lfs", "a Git LFS pointer (fetch the audio with `git lfs pull`)"),
    (
        rb"(?i)[\s\xef\xbb\xbf]*<(!doctype html|html|head|body|!--)",
        "an HTML page, as a failed download leaves",
    ),
    (rb"[\s\xef\xbb\xbf]*<[?A-Za-z]", "an XML document"),
    (rb"[\s\xef\xbb\xbf]*[{[]\s*[\"{}\]]", "a JSON document"),
    (rb"PK\x03\x04|\x1f\x8b|BZh|7z\xbc\xaf|Rar!|\xfd7zXZ", "an archive: unpack it"),
    (rb"%PDF", "a PDF document"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8", "a picture"),
    (rb"MThd", "MIDI: notes without sound"),
    (rb"#EXTM3U|\[playlist\]", "a playlist"),
)
KINDS = [(re.compile(pattern, re.DOTALL), kind, demuxer) for pattern, kind, demuxer in _KINDS]
NOT_AUDIO = [(re.compile(pattern), what) for pattern, what in _NOT_AUDIO]


def kind_of(start: bytes) -> tuple[str, str]:
    """What the first bytes of a file say it is, and ffmpeg's demuxer for it; both empty where they say nothing.

    >>> kind_of(b"fLaC...")
    ('FLAC', 'flac')
    """
    return next(((kind, demuxer) for pattern, kind, demuxer in KINDS if pattern.match(start)), ("", ""))


def what_else(start: bytes) -> str:
    """What a file is that is no audio; empty where its first bytes do not say.

    >>> what_else(b"<!DOCTYPE html><html><title>404 Not Found")
    'an HTML page, as a failed download leaves'
    """
    named = next((what for pattern, what in NOT_AUDIO if pattern.match(start)), "")
    if named:
        return named
    text = start.decode("utf-8", errors="surrogateescape")
    readable = sum(character.isprintable() or character.isspace() for character in text)
    return "text" if readable > 0.95 * len(text) else ""


def is_audio_name(path: str | os.PathLike[str]) -> bool:
    """Whether a file looks like a recording by its name, in capitals too.

    Files that macOS leaves beside others ("._clip.wav") have the names of recordings, and are none.

    >>> is_audio_name("clips/ONE.WAV"), is_audio_name("clips/one.txt"), is_audio_name("clips/._one.wav")
    (True, False, False)
    """
    name = os.path.basename(path)
    return os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES and not name.startswith("._")
