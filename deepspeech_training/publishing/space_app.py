"""The app of a Space: a file, or what somebody says, to text, with the other candidates.

`deepspeech publish space` copies this file to app.py, beside the model, its scorer and what is used of the package:

    pip install -r requirements.txt
    python app.py
"""

from pathlib import Path
from typing import Any

import numpy as np

from deepspeech_training.decoding.scorer import Scorer
from deepspeech_training.runtime.events import Final
from deepspeech_training.runtime.media import MediaError, MediaLimits, decode
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.utterances import StreamSettings, transcribe

FOLDER = Path(__file__).resolve().parent
CANDIDATES = 5
LIMITS = MediaLimits(seconds=600, timeout_s=60)
LARGEST_FILE = "50mb"
COLUMNS = ["at", "text", "log score"]


class Recogniser:
    """The model of a folder, with its scorer if there is one."""

    def __init__(self, folder: Path):
        (path,) = folder.glob("*.tflite")
        self.model = Model(path)
        scorers = [*folder.glob("*.scorer")]
        self.scorer = Scorer.read(scorers[0]) if scorers else None
        # The beam search is compiled now, which takes half a minute once, and not while the first visitor waits.
        self.candidates(np.zeros(self.model.sampleRate(), np.float32), self.model.sampleRate())

    def candidates(self, audio: np.ndarray, sample_rate: int) -> list[Final]:
        """The sentences of a recording, float32 [samples], each with its candidates."""
        settings = StreamSettings(scorer=self.scorer, num_results=CANDIDATES)
        return [*transcribe(self.model, audio, sample_rate=sample_rate, settings=settings)]

    def hear(self, path: str | None) -> tuple[str, list[list[Any]]]:
        """A file -> its text, and rows of COLUMNS.

        Raises:
            MediaError: it cannot be used as audio.
        """
        if path is None:
            return "", []
        audio, sample_rate = decode(Path(path), limits=LIMITS, sample_rate=self.model.sampleRate())
        found = self.candidates(audio, sample_rate)
        rows = [
            [f"{final.start_s:.1f} s", candidate.text, round(candidate.confidence, 2)]
            for final in found
            for candidate in final.alternatives
        ]
        return " ".join(final.text for final in found), rows


def card(folder: Path) -> str:
    """The text of the README, for the page, without the fields for the hub."""
    return (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)[2]


def page(recogniser: Recogniser, text: str) -> Any:
    """The page, a gradio.Blocks.

    Args:
        text: in Markdown, for the end of the page.
    """
    import gradio as gr  # here: it is a package of the Space, not of deepspeech_training, which has this file too

    def hear(path: str | None) -> tuple[str, list[list[Any]]]:
        try:
            return recogniser.hear(path)
        except MediaError as error:
            raise gr.Error(str(error)) from error

    with gr.Blocks(title=text.strip().splitlines()[0].lstrip("# "), analytics_enabled=False) as blocks:
        title, _, rest = text.strip().partition("\n")
        gr.Markdown(title)
        audio = gr.Audio(sources=["upload", "microphone"], type="filepath", label="A file, or your voice")
        heard = gr.Textbox(label="Text", lines=2)
        table = gr.Dataframe(headers=COLUMNS, label="Candidates, the best first", interactive=False, wrap=True)
        audio.change(hear, audio, [heard, table], api_name="hear")
        gr.Markdown(rest)
    return blocks


def main() -> None:
    page(Recogniser(FOLDER), card(FOLDER)).launch(max_file_size=LARGEST_FILE)


if __name__ == "__main__":
    main()
