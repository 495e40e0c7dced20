"""Values that suit an amount of data: `--preset small`. Every one of them gives way to a flag that is given.

Rules of thumb: the less data, the smaller the network and the more epochs, as an epoch has fewer updates; the wider the
network, the lower its learning rate; 2048 is DeepSpeech's own width. In all of those of the LSTM early stopping waits
for `min_epochs` and takes any lower dev loss for better: a run that has only begun is not stopped. A conformer is
trained with AdamW and a cosine, whose last epochs are the best: it stops at their end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

PresetValue = int | float | bool | str


@dataclass(frozen=True)
class Preset:
    """Values for flags, for so much training data.

    Args:
        hours: from and to.
        expect: what to expect of it, for a person.
        values: by the name of the flag, for the LSTM.
        conformer: the same for a conformer.
    """

    hours: tuple[float, float]
    expect: str
    values: Mapping[str, PresetValue]
    conformer: Mapping[str, PresetValue]

    def values_of(self, network: str) -> Mapping[str, PresetValue]:
        """Those for a network, by its name in `models.MODELS`.

        >>> [PRESETS["small"].values_of(name)["train_batch_size"] for name in ("deepspeech", "conformer")]
        [16, 16]
        """
        return self.conformer if network == "conformer" else self.values

    @property
    def amount(self) -> str:
        """
        >>> PRESETS["tiny"].amount, PRESETS["small"].amount, PRESETS["large"].amount
        ('under 1 hour', '1 to 10 hours', '100 hours and more')
        """
        low, high = self.hours
        if low == 0:
            return f"under {high:g} hour"
        return f"{low:g} hours and more" if high == float("inf") else f"{low:g} to {high:g} hours"


def _values(n_hidden, batch_size, learning_rate, dropout_rate, epochs, min_epochs, es_epochs, plateau_epochs):
    return MappingProxyType(
        {
            "n_hidden": n_hidden,
            "train_batch_size": batch_size,
            "dev_batch_size": batch_size,
            "test_batch_size": batch_size,
            "learning_rate": learning_rate,
            "dropout_rate": dropout_rate,
            "epochs": epochs,
            "early_stop": True,
            "min_epochs": min_epochs,
            "es_epochs": es_epochs,
            "es_min_delta": 0.0,
            "reduce_lr_on_plateau": True,
            "plateau_epochs": plateau_epochs,
        }
    )


# By --conformer_size: the values of its flags that are not given.
CONFORMER_SIZES: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "xs": MappingProxyType({"d_model": 144, "layers": 8}),
        "s": MappingProxyType({"d_model": 176, "layers": 12}),
        "m": MappingProxyType({"d_model": 256, "layers": 12}),
    }
)

# By --task: the values that its flags have unless they are given or --preset has others.
_OF_WORDS = MappingProxyType(
    {
        "d_model": 256,
        "layers": 3,
        "heads": 4,
        "n_hidden": 512,
        "dropout_rate": 0.2,
        "train_batch_size": 64,
        "dev_batch_size": 256,
        "test_batch_size": 256,
        "epochs": 500,
        "early_stop": True,
        "es_epochs": 30,
        "es_min_delta": 0.0,
        "min_epochs": 20,
        "reduce_lr_on_plateau": True,
        "plateau_epochs": 10,
        "plateau_reduction": 0.5,
        "warmup_epochs": 2.0,
        "max_grad_norm": 5.0,
        "beam_width": 5,
        "skip_batch_test": True,
    }
)
TASK_VALUES: dict[str, Mapping[str, bool | int | float | str]] = {
    "spoken_command": {
        "normalise_features": True,
        "train_batch_size": 32,
        "dev_batch_size": 64,
        "test_batch_size": 64,
        "epochs": 60,
        "learning_rate": 0.003,
        "lr_schedule": "cosine",
        "warmup_epochs": 2.0,
        "weight_decay": 0.01,
        "dropout_rate": 0.1,
    },
    "word_to_ipa": _OF_WORDS,
    "ipa_to_word": _OF_WORDS,
}


def _conformer(size, batch_size, learning_rate, dropout_rate, epochs, warmup_epochs, ema, **more):
    return MappingProxyType(
        {
            "conformer_size": size,
            **CONFORMER_SIZES[size],
            "train_batch_size": batch_size,
            "dev_batch_size": batch_size,
            "test_batch_size": batch_size,
            "learning_rate": learning_rate,
            "lr_schedule": "cosine",
            "warmup_epochs": warmup_epochs,
            "beta2": 0.98,
            "weight_decay": 0.01,
            "max_grad_norm": 5.0,
            "ema": ema,
            "dropout_rate": dropout_rate,
            "normalise_features": True,
            "inter_ctc": 0.3,
            "epochs": epochs,
            **more,
        }
    )


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "tiny": Preset(
            (0, 1),
            "a few words or commands, of few voices; free speech will not do",
            _values(256, 16, 0.001, 0.3, 150, 40, 25, 10),
            _conformer("xs", 16, 0.0015, 0.1, 60, 2, 0.99, heads=0),
        ),
        "small": Preset(
            (1, 10),
            "one speaker, or a narrow subject; a scorer helps much",
            _values(512, 16, 0.001, 0.3, 100, 25, 15, 6),
            _conformer("xs", 16, 0.001, 0.1, 60, 3, 0.99),
        ),
        "medium": Preset(
            (10, 100),
            "many speakers with an error rate to work with, given a scorer of the subject",
            _values(1024, 32, 0.0005, 0.3, 75, 15, 10, 4),
            _conformer("s", 32, 0.001, 0.1, 50, 2, 0.999),
        ),
        "large": Preset(
            (100, float("inf")),
            "general speech; days on a GPU",
            _values(2048, 64, 0.0001, 0.3, 50, 10, 8, 3),
            _conformer("m", 64, 0.001, 0.1, 40, 1, 0.999),
        ),
    }
)


def suited(hours: float) -> str:
    """The preset for so many hours of training data.

    >>> suited(0.3), suited(1.0), suited(2500)
    ('tiny', 'small', 'large')
    """
    return next(name for name, preset in PRESETS.items() if hours < preset.hours[1])
