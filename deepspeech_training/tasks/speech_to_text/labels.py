"""The alphabet of a run: the flag's, else the checkpoint's, else English."""

from deepspeech_training.alphabet import Alphabet, Labels, alphabet_of_flags
from deepspeech_training.checkpoints.source import FoundCheckpoint, Source
from deepspeech_training.config.groups import DecoderFlags, TransferFlags
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError


def given_alphabet(flags: DecoderFlags) -> Labels | None:
    """The alphabet that the flags name; None where they name none."""
    return alphabet_of_flags(flags.alphabet_config_path, bytes_output_mode=flags.bytes_output_mode)


def alphabet_of_run(
    flags: DecoderFlags, transfer: TransferFlags, source: Source, console: Console
) -> tuple[Labels, str]:
    """The alphabet, and where it comes from in words.

    A run that begins with only some layers of its source may have another alphabet than the source.

    Raises:
        FlagError: the flags name another alphabet than the checkpoint has.
    """
    given = given_alphabet(flags)
    path = "--bytes_output_mode" if flags.bytes_output_mode else flags.alphabet_config_path
    found = source.found
    if found is None:
        return (given, path) if given is not None else (Alphabet.english(), "English, of the package")
    replaces_output = source.kind == "weights" and (transfer.drop_source_layers > 0 or transfer.reuse_characters)
    if given is not None and replaces_output:
        return given, path
    trained = trained_alphabet(found, given, console)
    if given is not None and given != trained:
        differing = sorted(set(given.characters) ^ set(trained.characters))
        what = f"characters in one only: {' '.join(map(repr, differing[:20]))}" if differing else "the order differs"
        way_out = (
            "A run that begins can start with the weights of the layers below the output: --drop_source_layers 1, "
            "or --reuse_characters.\n"
            if source.kind == "weights"
            else ""
        )
        named = path if flags.bytes_output_mode else f"--alphabet_config_path {path}"
        raise FlagError(
            f"{named}: {given.size} characters; the checkpoint was trained with {trained.size} ({what})\n{way_out}"
            f"The checkpoint is in {found.folder.folder}. Use its alphabet (leave the flag out), or name another "
            f"folder with {found.flag}, or start over with --load_train init."
        )
    return trained, path or "in the checkpoint"


def trained_alphabet(found: FoundCheckpoint, given: Labels | None, console: Console) -> Labels:
    """The checkpoint's; for one of DeepSpeech's trainer, which does not say it, `given` or English, if it fits.

    Raises:
        FlagError: neither fits.
    """
    if found.model.alphabet is not None:
        return found.model.alphabet
    size = found.model.network.num_classes - 1
    for candidate, name in ((given, "that of --alphabet_config_path"), (Alphabet.english(), "English")):
        if candidate is not None and candidate.size == size:
            console.info(f"{found.path} does not say its alphabet of {size} characters; taken to be {name}")
            return candidate
    raise FlagError(
        f"{found.path}: was trained with an alphabet of {size} characters, and does not say which\n"
        "Name it with --alphabet_config_path, or put its alphabet.txt into the checkpoint's folder."
    )
