"""The task as the flags ask for it: lexicons, symbols, network; all of it checked, and its figures said."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

from deepspeech_training.checkpoints.describe import TrainedModel
from deepspeech_training.checkpoints.source import transfer_of_run
from deepspeech_training.config import Config, as_dict
from deepspeech_training.config.groups import FLAGS, LimitFlags
from deepspeech_training.config.rules import check_layers
from deepspeech_training.console import Console
from deepspeech_training.data.pronunciations import EXAMPLES_SHOWN, Lexicons, Pair, read_lexicons, set_aside
from deepspeech_training.data.sample import CheckedData, write_rejections
from deepspeech_training.data.sample_list import limit_fairly
from deepspeech_training.data.spelling import Spelling
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.models import model_class
from deepspeech_training.models.base import Network
from deepspeech_training.models.word_model import WordModel, most_symbols
from deepspeech_training.tasks.base import Order, Prepared
from deepspeech_training.tasks.pronunciation.samples import Direction, WordSample, checked_data
from deepspeech_training.tasks.pronunciation.task import TO_IPA, WordTask

OF_AUDIO = (  # flags without a meaning here, which are refused where they are given
    *("augment", "feature_cache", "voice_data_dir", "text_data", "scorer", "scorer_path", "train_scorer"),
    *("alphabet_config_path", "bytes_output_mode", "leading_blanks", "normalise_features"),
    *("drop_source_layers", "reuse_characters", "batch_seconds"),
)


def prepare(order: Order) -> Prepared:
    """See `tasks.prepare`."""
    config, console = order.config, order.console
    values = as_dict(config)
    of_audio = [name for name in OF_AUDIO if values[name] not in (FLAGS[name].default, [])]
    if of_audio:
        listed = ", ".join(f"--{name}" for name in of_audio)
        raise FlagError(f"{listed}: not with --task {config.training.task}, which neither hears nor has a scorer")
    to_ipa = config.training.task == TO_IPA
    lexicons = _lexicons(order)
    found = order.source.found
    network: Network
    if found is None:
        direction = Direction.of(lexicons.pairs("train"), to_ipa=to_ipa)
        kind = model_class(config.geometry.network)
        assert issubclass(kind, WordModel), "`models.NETWORKS` has no others for the task"
        network = kind.from_flags(
            values, num_classes=len(direction.target.symbols) + 1, num_given=len(direction.source.symbols) + 2
        )
    else:
        direction, network = direction_of(found.model, str(found.path)), found.model.network
    assert isinstance(network, WordModel), "one of another task is refused before"
    if network.fault_of_size:
        flag = network.size_flag
        raise FlagError(f"--{flag} {getattr(network, flag)}: {network.fault_of_size}")
    check_layers(config, network.groups)
    transfer = None
    if order.trains:
        transfer = transfer_of_run(config.transfer, order.source, _no_alphabets)
        _refuse_strange(lexicons.pairs("train"), direction)
    data = checked_data(lexicons, direction)
    for note in data.warnings:
        console.warn(note)
    data = replace(data, sets=_limited(data, config.limits, config.training.random_seed))
    for line in statistics(data, direction, network, config) if order.trains else ():
        console.info(line)
    _warn_of_strange(data, direction, console)
    task = WordTask(
        direction,
        network,
        label_smoothing=config.training.label_smoothing,
        beam_width=max(config.decoder.beam_width, 1),
    )
    return Prepared(task, config, data, transfer)


def direction_of(model: TrainedModel, name: str) -> Direction:
    """How the words of a checkpoint are written.

    Raises:
        UserError: it does not say.
    """
    try:
        source, target = (Spelling.from_description(model.described[side]) for side in ("source", "target"))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{name}: does not say how words are written ({error!r})") from error
    return Direction(model.task == TO_IPA, source, target)


def _no_alphabets() -> NoReturn:
    raise AssertionError("--reuse_characters was refused")


def _lexicons(order: Order) -> Lexicons:
    """All that the call needs, with a set for validation that the flags may not name."""
    flags, console = order.config.data, order.console
    files: dict[str, Sequence[str]] = {"test": flags.test_files}
    if order.trains:
        files = {"train": flags.train_files, "dev": flags.dev_files, **files, "metrics": flags.metrics_files}
    found = read_lexicons({kind: paths for kind, paths in files.items() if paths}, on_bad_row=flags.on_bad_row)
    if order.trains and found.rejected:
        path = order.folder / "rejected.csv"
        order.folder.mkdir(parents=True, exist_ok=True)
        write_rejections(path, found.rejected)
        console.warn(f"Rows that are left out: {len(found.rejected):,}, listed in {path}")
    if not order.trains or flags.dev_files or not flags.dev_share:
        return found
    to_ipa = order.config.training.task == TO_IPA
    train: dict[str, Sequence[Pair]] = {}
    dev: dict[str, Sequence[Pair]] = {}
    kept, aside = set_aside(
        found.pairs("train"), share=flags.dev_share, seed=order.config.training.random_seed, homophones_too=not to_ipa
    )
    for csv in found.sets["train"]:
        train[csv] = [pair for pair in kept if pair.csv_path == csv]
        dev[csv] = [pair for pair in aside if pair.csv_path == csv]
    sets = {**found.sets, "train": train}
    if aside:
        sets["dev"] = {csv: pairs for csv, pairs in dev.items() if pairs}
    return replace(found, sets=sets)


def _limited(data: CheckedData[WordSample], limits: LimitFlags, seed: int) -> dict:
    most = {"train": limits.limit_train, "dev": limits.limit_dev, "test": limits.limit_test}
    return {
        kind: [replace(found, samples=limit_fairly(found.samples, most.get(kind, 0), seed)) for found in sets]
        for kind, sets in data.sets.items()
    }


def statistics(
    data: CheckedData[WordSample], direction: Direction, network: WordModel, config: Config
) -> Sequence[str]:
    """What is trained on, for a person: pairs and shares of the sets, symbols, batches, size of the model."""
    counts = {kind: [s for found in sets for s in found.samples] for kind, sets in data.sets.items()}
    total = sum(map(len, counts.values()))
    lines = [
        f"{kind:<9} {len(samples):>9,} {'pairs' if kind == 'train' else 'words'}  {len(samples) / total:6.1%}"
        for kind, samples in counts.items()
    ]
    size = config.batches.train_batch_size
    beyond = sum(len(s.wanted) > most_symbols(len(s.given)) for s in counts["train"])
    sides = {"given": direction.source, "wanted": direction.target}
    lines += [f"{side:<9} {len(spelling.symbols):>9,} {spelling.kind}" for side, spelling in sides.items()]
    lines += [
        f"batches   {-(-len(counts['train']) // size):>9,} of up to {size:,} words an epoch",
        f"weights   {network.num_parameters:>9,}, {4 * network.num_parameters / 1e6:.1f} MB",
    ]
    if beyond:
        lines.append(
            f"too long  {beyond:>9,} answers have more than twice the symbols of what is given and 8: they are "
            "trained on, and never written whole"
        )
    return lines


def _refuse_strange(pairs: Sequence[Pair], direction: Direction) -> None:
    """Symbols that the model which is trained further lacks."""
    for pair in pairs:
        sample = direction.sample(pair)
        for what, spelling, text in (
            ("given", direction.source, sample.source),
            ("wanted", direction.target, sample.target),
        ):
            strange = spelling.strange(text)
            if strange:
                raise UserError(
                    f"{pair.csv_path}, row {pair.row}: what is {what} has symbols that the checkpoint does not know: "
                    f"{' '.join(map(repr, strange))}\nLeave such rows out, or train a new model (--load_train init)."
                )


def _warn_of_strange(data: CheckedData[WordSample], direction: Direction, console: Console) -> None:
    """Symbols of dev and test that nothing has been learnt of."""
    where: dict[str, str] = {}
    for kind, found in data.all_sets():
        for sample in found.samples if kind != "train" else ():
            for unit in direction.source.strange(sample.source):
                where.setdefault(unit, sample.id)
    if where:
        shown = " ".join(f"{unit!r} ({row})" for unit, row in list(where.items())[:EXAMPLES_SHOWN])
        console.warn(f"{len(where):,} symbols that are given were not in the training data: {shown}")
