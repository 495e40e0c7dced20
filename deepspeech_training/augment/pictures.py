"""Previews of augmented clips as pictures, recordings and a page."""

import html
import io
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.augment.preview import Cost, Preview
from deepspeech_training.errors import UserError
from deepspeech_training.features.geometry import FeatureGeometry

HEADING = "<h1>Augmented clips</h1>"  # says that a page is ours, and may be replaced


def contact_sheet(
    previews: Sequence[Preview], geometry: FeatureGeometry, *, title: str, families: Sequence[str] = ()
) -> bytes:
    """A PNG: a row for each clip, what the network sees before on the left and after on the right, on one scale.

    `families` are fonts for what the usual one has not; see `fonts_for`.
    """
    plt = _pyplot()
    with plt.rc_context({"font.family": [*plt.rcParams["font.family"], *families]}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # `fonts_for` says so in plain words
        return _png(plt, _sheet(plt, previews, geometry, title))


def _sheet(plt, previews: Sequence[Preview], geometry: FeatureGeometry, title: str):
    longest = max(len(panel) for p in previews for panel in (p.seen_before, p.seen_after))
    figure, axes = plt.subplots(
        len(previews), 2, figsize=(11, 1.6 * len(previews) + 0.9), squeeze=False, sharex=True, layout="constrained"
    )
    for row, one in zip(axes, previews, strict=True):
        high = float(max(one.seen_before.max(), one.seen_after.max()))
        for axis, panel, what in zip(row, (one.seen_before, one.seen_after), ("before", "after"), strict=True):
            seconds = len(panel) * geometry.win_step_ms / 1000
            axis.imshow(
                panel.T,
                origin="lower",
                aspect="auto",
                extent=(0, seconds, 0, 40),
                vmin=high - 80,
                vmax=high,
                cmap="magma",
                interpolation="nearest",
            )
            marked = what == "after" and one.held_back
            axis.set_title(
                "\n".join((f"{one.name} {what}:", *one.held_back.split("; ")))
                if marked
                else f"{one.name} {what}: {_shortened(one.transcript)}",
                loc="left",
                fontsize=7 if marked else 8,
                color="tab:red" if marked else "black",
                parse_math=False,
            )
            axis.set_ylabel("mel band", fontsize=7)
            axis.tick_params(labelsize=7)
            axis.set_xlim(0, longest * geometry.win_step_ms / 1000)
            axis.set_facecolor("0.85")
    for axis in axes[-1]:
        axis.set_xlabel("seconds", fontsize=7)
    figure.suptitle(title, fontsize=8, wrap=True, parse_math=False)
    return figure


def fonts_for(text: str) -> tuple[list[str], list[str]]:
    """Installed fonts that have what the usual font of the pictures has not, and the characters that none has."""
    _pyplot()
    from matplotlib import font_manager

    def characters(path: str) -> set[int]:
        try:
            return set(font_manager.get_font(path).get_charmap())
        except (OSError, RuntimeError):  # removed since matplotlib listed it, or damaged
            return set()

    missing = {ord(c) for c in text if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf")}
    missing -= characters(font_manager.findfont(font_manager.FontProperties()))
    families: list[str] = []
    for font in font_manager.fontManager.ttflist if missing else ():
        if "Last Resort" not in font.name and missing & (found := characters(font.fname)):  # that one has only boxes
            families.append(font.name)
            missing -= found
    return families, [chr(code) for code in sorted(missing)]


def strip(panel: np.ndarray, *, high: float, shape: tuple[float, float], description: str) -> bytes:
    """A small PNG of one spectrogram without axes; `description` is kept in the file."""
    plt = _pyplot()
    figure = plt.figure(figsize=shape, dpi=100)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.imshow(
        panel.T,
        origin="lower",
        aspect="auto",
        vmin=high - 70,
        vmax=high,
        cmap=plt.get_cmap("gray_r", 20),
        interpolation="nearest",
    )
    axis.axis("off")
    return _png(plt, figure, dpi=100, metadata={"Software": None, "Description": description})


def _png(plt, figure, **how) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", **({"dpi": 110} | how))
    plt.close(figure)
    return file.getvalue()


def _pyplot():
    try:
        import matplotlib
    except ImportError as error:
        raise UserError("pictures need matplotlib, which is not installed: pip install matplotlib") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _shortened(text: str, *, most: int = 60) -> str:
    """The beginning of a text that is too wide; the characters of Chinese, Japanese and Korean are two wide.

    >>> _shortened("she had your dark suit", most=10), _shortened("我们喜欢语音识别", most=10)
    ('she had...', '我们喜...')
    """
    widths = [2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text]
    if sum(widths) <= most:
        return text
    kept = int(np.searchsorted(np.cumsum(widths), most - 3, side="right"))
    return text[:kept] + "..."


def how_many_held_back(previews: Sequence[Preview]) -> str:
    """The number of clips that were not augmented as asked, and why; empty if there is none."""
    count = sum(bool(p.held_back) for p in previews)
    if not count:
        return ""
    return (
        f"Not augmented in full, and not in training either: {count} of {len(previews)} clips, which would be too "
        "short for their transcripts (CTC needs a frame for each character, and one between two that are the same)"
    )


def page(previews: Sequence[Preview], measured: Sequence[Cost], *, title: str) -> str:
    """The HTML page: the sheet, every clip to listen to, and the costs."""
    rows = "\n".join(
        f"<tr><td>{html.escape(p.name)}<td>{html.escape(p.transcript)}"
        f'<td><audio controls preload="none" src="{number:02}-before.wav"></audio>'
        f'<td><audio controls preload="none" src="{number:02}-after.wav"></audio>'
        f"<td><strong>{html.escape(p.held_back)}</strong>"
        for number, p in enumerate(previews, start=1)
    )
    table = "\n".join(
        f"<tr><td>{html.escape(str(c.augmentation))}<td>{c.augmentation.domain}<td>{c.milliseconds:.2f}"
        for c in measured
    )
    return f"""<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>
<style>body{{font:14px sans-serif;margin:2em}}td,th{{padding:.2em .8em;text-align:left}}img{{max-width:100%}}</style>
{HEADING}
<p>{html.escape(title)}</p>
<p><strong>{how_many_held_back(previews)}</strong></p>
<p><img src="sheet.png" alt="what the network sees of each clip, before and after"></p>
<h2>To listen to</h2>
<p>What works on the spectrogram is made audible with the method of Griffin and Lim, which sounds hollow; what works on
the mel bands (vtlp) and on the features can only be seen.</p>
<table><tr><th>clip<th>transcript<th>before<th>after<th>
{rows}
</table>
<h2>Cost for each clip that it is applied to</h2>
<table><tr><th>augmentation<th>domain<th>ms
{table}
</table>
</html>
"""


def make_folder(folder: Path, num_clips: int) -> None:
    """Make the folder, or see that nothing is replaced in it but what this program wrote."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = [name for name in ("index.html", "sheet.png", *_clip_names(num_clips)) if (folder / name).exists()]
        page_path = folder / "index.html"
        if there and not (page_path.is_file() and HEADING.encode() in page_path.read_bytes()[:5000]):
            raise UserError(
                f"--output {folder}: {there[0]} is in it, which this program did not write; it is not replaced\n"
                "Name another folder: --output."
            )
    except OSError as error:
        raise UserError(f"--output {folder}: cannot make this folder: {error.strerror}") from error


def _write_wav(path: Path, audio: np.ndarray, rate: int) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.clip(audio, -1.0, 32767 / 32768), rate, format="WAV", subtype="PCM_16")
    write_atomically(path, [file.getvalue()])


def write_preview(
    folder: Path, previews: Sequence[Preview], measured: Sequence[Cost], geometry: FeatureGeometry, *, title: str
) -> list[str]:
    """Write the page, the sheet and the recordings; returns the characters that no installed font has."""
    families, missing = fonts_for(title + "".join(p.name + p.transcript for p in previews))
    sheet = contact_sheet(previews, geometry, title=title, families=families)
    write_atomically(folder / "index.html", [page(previews, measured, title=title).encode()])  # first: it says whose
    write_atomically(folder / "sheet.png", [sheet])
    recordings = (audio for one in previews for audio in (one.before, one.after))
    for name, audio in zip(_clip_names(len(previews)), recordings, strict=True):
        _write_wav(folder / name, audio, geometry.sample_rate)
    return missing


def _clip_names(count: int) -> list[str]:
    return [f"{number:02}-{what}.wav" for number in range(1, count + 1) for what in ("before", "after")]
