"""Speech to text as the flags ask for it: alphabet, network, clips, scorer, augmentation; all of it checked."""

from deepspeech_training.checkpoints.source import transfer_of_run
from deepspeech_training.config.rules import check_layers
from deepspeech_training.data.sample import Rejection
from deepspeech_training.errors import FlagError
from deepspeech_training.tasks.base import Order, Prepared
from deepspeech_training.tasks.hearing import augmenter_of_run, cache_of_run
from deepspeech_training.tasks.speech_to_text.clips import checked_data, csvs_of_voice_folder
from deepspeech_training.tasks.speech_to_text.decoder import Beam, read_scorer, scorer_of_training
from deepspeech_training.tasks.speech_to_text.described_model import describe_model
from deepspeech_training.tasks.speech_to_text.labels import trained_alphabet
from deepspeech_training.tasks.speech_to_text.task import SpeechToText


def prepare(order: Order) -> Prepared:
    """See `tasks.prepare`."""
    config, source, console = order.config, order.source, order.console
    model = describe_model(config, source, console)
    alphabet, network, features = model.alphabet, model.network, model.features
    check_layers(config, network.groups)
    fault = network.fault_of_steps(config.export.n_steps) if config.export.export_dir else ""
    if fault:  # else it would be found after the training
        raise FlagError(f"--n_steps {config.export.n_steps}: {fault}")
    transfer = None
    if order.trains:
        transfer = transfer_of_run(
            config.transfer, source, lambda: (trained_alphabet(source.checkpoint, None, console), alphabet)
        )
    left_out: list[Rejection] = []
    if order.trains and config.voice.voice_data_dir:
        csvs, left_out = csvs_of_voice_folder(
            config.voice.voice_data_dir, config.data, alphabet, folder=order.folder, console=console
        )
        config = config.replace(**csvs)
    scorer_path = config.decoder.scorer_file
    scorer = read_scorer(scorer_path, alphabet)
    data = checked_data(
        config.data,
        config.limits,
        trains=order.trains,
        alphabet=alphabet,
        alphabet_name=model.alphabet_name,
        features=features,
        stride=network.stride,
        folder=order.folder if order.trains else None,
        seed=config.training.random_seed,
        console=console,
        left_out=left_out,
    )
    if config.decoder.train_scorer:
        scorer_path = str(scorer_of_training(alphabet, data, order.folder, trains=order.trains, console=console))
        scorer = read_scorer(scorer_path, alphabet)
    augmenter = augmenter_of_run(config, features, console) if order.trains else None
    cache = cache_of_run(config.augmentation, features, console)
    task = SpeechToText(
        alphabet,
        features,
        network,
        augmenter=augmenter,
        cache=cache,
        leading_blanks=config.training.leading_blanks,
        cr_ctc=config.training.cr_ctc,
        inter_ctc=config.training.inter_ctc,
        beam=Beam(config.decoder, alphabet, scorer, scorer_path, say=console.info),
    )
    recordings = {} if augmenter is None else augmenter.source_fingerprints()
    return Prepared(task, config, data, transfer, alphabet, recordings, cache)
