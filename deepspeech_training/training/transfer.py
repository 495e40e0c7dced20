"""What a run takes from another one: decided when it begins, and only told when it is resumed."""

from deepspeech_training.checkpoints.transfer import Transfer
from deepspeech_training.config.groups import TransferFlags
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError
from deepspeech_training.training.labels import Labels, trained_alphabet
from deepspeech_training.training.source import Source


def transfer_of_run(flags: TransferFlags, source: Source, alphabet: Labels, console: Console) -> Transfer | None:
    """What the run takes from another one, now or when it began; None for a run that began with new weights.

    Raises:
        FlagError: the flags ask for what this source cannot give, or what cannot be changed on resume.
    """
    wanted = "--drop_source_layers" if flags.drop_source_layers else "--reuse_characters"
    wants = bool(flags.drop_source_layers or flags.reuse_characters)
    if source.kind == "init" and (wants or flags.freeze_layers):
        raise FlagError(
            f"{wanted if wants else '--freeze_layers'}: the run would start with new weights, not with those of "
            "another run\nName the folder of that run with --load_checkpoint_dir, and a new one with "
            "--save_checkpoint_dir."
        )
    transfer = None
    if source.kind == "resume":
        transfer = source.description.transfer
        layers = 0 if flags.reuse_characters else flags.drop_source_layers
        done = (0, False) if transfer is None else (transfer.drop_source_layers, transfer.reuse_characters)
        if wants and done != (layers, flags.reuse_characters):
            began = "new weights" if transfer is None else transfer.description
            raise FlagError(
                f"{wanted}: acts when a run begins; that in {source.folder.folder} goes on, and began with {began}"
                "\nName its folder as the source with --load_checkpoint_dir and a new one with "
                "--save_checkpoint_dir, or leave the flag out."
            )
    elif source.kind == "weights":
        origin = str(source.path), source.description.progress.step, source.description.network.groups
        transfer = Transfer(*origin, drop_source_layers=flags.drop_source_layers)
        if flags.reuse_characters:
            transfer = Transfer.of_characters(*origin, trained_alphabet(source, None, console), alphabet)
        new = [layer for layer in flags.freeze_layers if layer not in transfer.old_layers]
        if new:
            raise FlagError(f"--freeze_layers {','.join(new)}: has new weights, which have to be trained")
    if transfer is None and flags.source_learning_rate_factor != 1:
        raise FlagError(
            "--source_learning_rate_factor: the run has no source, its weights began as new ones\n"
            "Set --learning_rate instead."
        )
    return transfer
