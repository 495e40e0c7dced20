"""Corpora to train.csv, dev.csv and test.csv: a file each, and here the table of them."""

# Name of the corpus for `deepspeech import` -> its module in this folder, and what it is.
CORPORA: dict[str, tuple[str, str]] = {
    "an4": ("an4", "AN4, spelled addresses and numbers"),
    "cv2": ("common_voice", "Common Voice"),
    "folder": ("text_folder", "recordings with a text beside each"),
    "fsdd": ("fsdd", "the Free Spoken Digit Dataset"),
    "ldc93s1": ("ldc93s1", "the one clip LDC93S1, or its synthetic twin"),
    "librivox": ("librispeech", "LibriSpeech"),
    "lingua_libre": ("lingua_libre", "Lingua Libre"),
    "m-ailabs": ("mailabs", "M-AILABS"),
    "manifest": ("manifest", "any CSV, TSV or JSON lines with named columns"),
    "mls": ("mls", "Multilingual LibriSpeech"),
    "speech_commands": ("speech_commands", "Google's Speech Commands, and others of its layout"),
    "ted": ("tedlium", "TED-LIUM"),
    "vctk": ("vctk", "VCTK"),
    "voxforge": ("voxforge", "VoxForge"),
}
