"""The text of a README: what the model is, how good, what it was trained on, and how to use it. No path of the machine
that it was made on is in it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deepspeech_training.errors import UserError
from deepspeech_training.publishing.metadata import front_matter, model_metadata, set_name
from deepspeech_training.publishing.source import Source
from deepspeech_training.reporting.messages import duration, size

LEAST_CLIPS = 100  # of a test set, before its figures say much of other recordings


def model_readme(source: Source, *, title: str, language: str, license: str, repo_id: str | None) -> str:
    """The card of a model.

    Args:
        repo_id: where it will be on the hub, OWNER/NAME; None where that is not known.
    Raises:
        FlagError: the language is none.
        UserError: the card of the model lacks a field.
    """
    try:
        lines = [
            *_opening(source, title, language),
            *figures(source),
            *_data(source),
            *_use(source, repo_id or "OWNER/NAME"),
            *_limits(source),
            *licence(license),
        ]
        return front_matter(model_metadata(source, title, language, license)) + "\n".join(["", *lines]) + "\n"
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{source.files.folder}: its card.json is not as this version of the program writes it ({error!r})\n"
            "Register the export again (deepspeech models register), or publish the folder of the export."
        ) from error


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of Markdown.

    >>> table(["a", "b"], [["1", "2"]])
    ['| a | b |', '|---|---|', '| 1 | 2 |']
    """
    return ["| " + " | ".join(row) + " |" if row else "|---" * len(header) + "|" for row in (header, (), *rows)]


def _opening(source: Source, title: str, language: str) -> Iterator[str]:
    yield f"# {title}"
    yield ""
    if source.description:
        yield source.description
        yield ""
    model, weights = source.card["model"], source.card["model"]["weights"]
    network = source.card["network"]
    yield from table(
        ["", ""],
        [
            ["Task", "speech to text, streaming"],
            *([["Language", language]] if language else []),
            ["Input", f"mono audio of {model['features']['sample_rate']:,} Hz"],
            ["Output", "text of any characters" if model["alphabet_of_bytes"] else _characters(model["alphabet"])],
            *([["Network", _network(network)]] if network else []),
            ["Weights", f"{model['parameters']:,}" + (f", {weights}" if weights else "")],
            *([name, f"`{path.name}`, {size(path.stat().st_size)}"] for name, path in _files(source)),
        ],
    )
    yield ""


def _characters(alphabet: Sequence[str]) -> str:
    """
    >>> _characters([" ", "a", "b"])
    'a space and `ab`'
    """
    shown = "`" + "".join(alphabet).replace(" ", "").replace("`", "'") + "`"
    return f"a space and {shown}" if " " in alphabet else shown


def _network(network: Mapping[str, Any]) -> str:
    width = f", n_hidden {network['n_hidden']}" if "n_hidden" in network else ""
    return f"{network['name']}{width}"


def _files(source: Source) -> Iterator[tuple[str, Any]]:
    yield "Model", source.files.model
    if source.files.scorer is not None:
        yield "Scorer", source.files.scorer


def figures(source: Source) -> list[str]:
    """The section of the test figures, with intervals of 95 %, in percent."""
    tests = source.card["tests"]
    decoded = f"with `{source.files.scorer.name}`" if source.files.scorer else "greedily, without a scorer"
    if not tests:
        return ["## Figures", "", "Not measured on a test set.", ""]
    rows = [
        [
            set_name(test),
            f"{test['clips']:,}",
            f"{test['speakers']:,}" if test["speakers"] else "",
            _percent(test["wer"]),
            _percent(test["cer"]),
        ]
        for test in tests
    ]
    said = [
        "## Figures",
        "",
        f"Decoded {decoded}. In percent, with intervals of 95 % (bootstrap).",
        "",
        *table(["test set", "clips", "speakers", "WER", "CER"], rows),
        "",
    ]
    if any(test["clips"] < LEAST_CLIPS for test in tests):
        said += ["A test set of so few clips says little of other recordings.", ""]
    return said


def _percent(rate: Mapping[str, float]) -> str:
    value, low, high = (100 * rate[name] for name in ("value", "low", "high"))
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def _data(source: Source) -> list[str]:
    data, training = source.card["data"], source.card["training"]
    if not data:
        return []
    rows = [
        [
            found["set"],
            f"{found['clips']:,}",
            "" if found["hours"] is None else f"{found['hours']:.2f}",
            f"{found['speakers']:,}" if found["speakers"] else "",
        ]
        for found in data
    ]
    lines = ["## Training", "", *table(["", "clips", "hours", "speakers"], rows), ""]
    if training.get("epoch") is not None:
        lines += [f"{training['epoch']} epochs, {training['step']:,} steps, {duration(training['seconds'])}.", ""]
        if training.get("began_with"):
            lines += [f"It began with other weights: {training['began_with']}.", ""]
    return lines


def _use(source: Source, repo_id: str) -> list[str]:
    model = source.files.model.name
    scorer = f" --scorer {source.files.scorer.name}" if source.files.scorer else ""
    enable = f'model.enableExternalScorer("{source.files.scorer.name}")\n' if source.files.scorer else ""
    return f"""## How to use it

```sh
pip install huggingface_hub
hf download {repo_id} --local-dir .
```

With the clients of DeepSpeech 0.9.3 or Coqui STT 1.4.0, which need old versions of Python (up to 3.9 and 3.10), and a
WAV of {source.card["model"]["features"]["sample_rate"]:,} Hz:

```sh
pip install deepspeech-tflite==0.9.3
deepspeech --model {model}{scorer} --audio recording.wav

pip install stt==1.4.0
stt --model {model}{scorer} --audio recording.wav
```

With deepspeech_training, which it was trained with, audio of any format and rate, and long recordings:

```sh
deepspeech transcribe --model {model}{scorer} recording.mp3
deepspeech stream --model {model}{scorer}
deepspeech serve --model {model}{scorer}
```

`deepspeech serve` has a page with a microphone at <http://localhost:8000>, and speaks the protocols of OpenAI,
Deepgram, Vosk and Home Assistant. In Python:

```python
from deepspeech_training.runtime import Model

model = Model("{model}")
{enable}text = model.stt(samples)  # int16 [samples], mono, at model.sampleRate()
```

""".split("\n")[:-1]


def _limits(source: Source) -> list[str]:
    hours = sum(found["hours"] or 0 for found in source.card["data"] if found["set"] == "train")
    trained = f", and {hours:.2f} hours are little" if 0 < hours < 100 else ""
    dictionary = " It writes only words of its scorer." if source.files.scorer else ""
    return [
        "## Limits",
        "",
        f"A network of this size writes what resembles its training data{trained}: other voices, microphones, rooms "
        f"and subjects give more errors than the figures say.{dictionary} Do not decide about people by transcripts "
        "that nobody has checked.",
        "",
    ]


def licence(license: str) -> list[str]:
    """The section of the licence; nothing where there is none."""
    return ["## Licence", "", license] if license else []
