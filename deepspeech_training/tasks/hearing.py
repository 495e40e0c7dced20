"""What all tasks that hear do alike: augmentation, the cache of decoded audio, and limits on the number of clips."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from deepspeech_training.audio.cache import AudioCache
from deepspeech_training.augment.augmenter import Augmenter
from deepspeech_training.augment.catalogue import parse_augmentations
from deepspeech_training.config import Config
from deepspeech_training.config.groups import AugmentFlags, LimitFlags
from deepspeech_training.console import Console
from deepspeech_training.data.loader import ArraySpec
from deepspeech_training.data.sample import CheckedData
from deepspeech_training.data.sample_list import Chosen, Joined, as_list, fair_choice, limit_fairly
from deepspeech_training.features.geometry import FeatureGeometry

DRAWS = {  # by the names of `augment.augmenter.StepDraws`
    "keys": ArraySpec("uint32", in_training=True),
    "clock": ArraySpec("float32", in_training=True),
    "needed_frames": ArraySpec("int32", in_training=True),
}


def augmenter_of_run(config: Config, features: FeatureGeometry, console: Console) -> Augmenter | None:
    """What --augment asks for; its noise and the like is looked for before TensorFlow is imported."""
    augmentations = parse_augmentations(config.augmentation.augment)
    if not augmentations:
        return None
    augmenter = Augmenter(augmentations, features, seed=config.training.random_seed)
    console.info(f"Augments {' '.join(map(str, augmentations))}")
    for augmentation in augmentations:
        if augmentation.name != "resample":
            continue
        rate, never = augmentation.values["rate"], augmentation.values["rate"].low >= features.sample_rate
        if never or rate.high > features.sample_rate:
            what = "no effect" if never else "no effect at times"
            console.warn(
                f"--augment {augmentation}: {what}, since only a rate below --audio_sample_rate "
                f"{features.sample_rate} loses anything"
            )
    return augmenter


def cache_of_run(flags: AugmentFlags, features: FeatureGeometry, console: Console) -> AudioCache | None:
    if not flags.feature_cache:
        return None
    cache = AudioCache(
        Path(flags.feature_cache),
        sample_rate=features.sample_rate,
        max_bytes=round(flags.feature_cache_gb * 1e9),
        warn=console.warn,
    )
    console.info(f"Cache {cache.describe()}")
    return cache


def limited(checked: CheckedData, limits: LimitFlags, seed: int) -> CheckedData:
    """At most as many clips as the flags say: for training of all files together, else of each."""
    sets = dict(checked.sets)
    if limits.limit_train and "train" in sets:
        parts = [as_list(found.samples) for found in sets["train"]]
        together = Joined(parts)
        kept = np.array(fair_choice(together, limits.limit_train, seed), np.int64)
        ends = np.searchsorted(kept, together.starts)
        sets["train"] = [
            replace(found, samples=Chosen(parts[k], kept[ends[k] : ends[k + 1]] - together.starts[k]))
            for k, found in enumerate(sets["train"])
        ]
    for name, limit in (("dev", limits.limit_dev), ("test", limits.limit_test)):
        if limit and name in sets:
            sets[name] = [replace(found, samples=limit_fairly(found.samples, limit, seed)) for found in sets[name]]
    return replace(checked, sets=sets)
