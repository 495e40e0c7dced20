"""report.json as one page to look at: no scripts, nothing from elsewhere; the players read the clips beside it."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from urllib.parse import quote

_STYLE = """
:root {
  --ink: #1d2733; --soft: #5c6b7a; --line: #e3e8ee; --fill: #3a7ca5; --warm: #d9774a; --paper: #fff; --back: #f5f7f9;
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, Roboto, sans-serif; }
main { max-width: 1060px; margin: 0 auto; padding: 32px 20px 80px; }
h1 { font-size: 30px; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 20px; margin: 0 0 4px; }
h3 { font-size: 15px; margin: 20px 0 6px; }
p { margin: 4px 0 12px; }
.soft { color: var(--soft); font-size: 14px; }
section, .tile { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; }
section { padding: 20px 22px; margin: 18px 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 22px 0; }
.tile { padding: 14px 18px; }
.tile b { display: block; font-size: 28px; font-weight: 650; line-height: 1.2; }
.tile span { color: var(--soft); font-size: 14px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; color: var(--soft); font-weight: 500; }
th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.t { overflow-wrap: anywhere; min-width: 220px; }
code { font-family: ui-monospace, Menlo, monospace; font-size: 13px; }
figure { margin: 8px 0; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 12px system-ui, sans-serif; fill: var(--soft); }
audio { width: 200px; height: 30px; display: block; }
details { margin: 10px 0; }
summary { cursor: pointer; color: var(--fill); }
.bar { fill: var(--fill); }
.bar.warm { fill: var(--warm); }
.axis { stroke: var(--line); }
.good { color: #2c7a4b; }
"""
_WIDTH, _HEIGHT = 1000, 190
SET_NOTES = {
    "train.csv": "to train on",
    "dev.csv": "to validate after each epoch",
    "test.csv": "for the final test",
    "train-all.csv": "validated without the speakers and sentences of dev and test",
    "validated.csv": "all that listeners accepted",
    "other.csv": "not yet judged by listeners",
}


def page(report: Mapping) -> str:
    """The whole page for what `report.write_reports` gathered."""
    total, split = report["total"], report["split"]
    kept = total["rows"] - total["rows_rejected"]
    tiles = (
        (_hours(total["hours"]), "hours of speech"),
        (f"{total['clips']:,}", "clips"),
        (
            f"{total['speakers']:,}" if total["speakers"] else "–",
            "speakers" if total["speakers"] else "no speakers named",
        ),
        (f"{total['sentences']:,}", "different sentences"),
        (f"{100 * kept / total['rows']:.1f} %", f"of {total['rows']:,} rows kept"),
    )
    sections = (
        _sets(report["sets"], split),
        _rejections(report),
        _lengths(report["lengths"], report["cuts"], total),
        _levels(report["levels"], total["clips"]),
        _characters(report["characters"], report["rare_characters"]),
        _speakers(report["speakers"], total),
        _clips(report["clips"]),
        _settings(report),
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # Transcripts come from strangers; nothing in them can run or be fetched.
        '<meta http-equiv="Content-Security-Policy"'
        " content=\"default-src 'none'; style-src 'unsafe-inline'; media-src 'self' file:\">\n"
        f"<title>{escape(report['corpus'])}: what is in it</title>\n<style>{_STYLE}</style></head>\n<body><main>\n"
        f'<h1>{escape(report["corpus"])}</h1>\n<p class="soft">from {escape(report["source"])}</p>\n'
        '<div class="tiles">'
        + "".join(f'<div class="tile"><b>{value}</b><span>{escape(label)}</span></div>' for value, label in tiles)
        + "</div>\n"
        + "\n".join(sections)
        + f'\n<p class="soft">Written by {escape(report["program"])}. All numbers: report.json; every row left out:'
        " rejected.csv.</p>\n</main></body></html>\n"
    )


def _section(title: str, note: str, *content: str) -> str:
    return f'<section><h2>{escape(title)}</h2>\n<p class="soft">{note}</p>\n' + "\n".join(content) + "</section>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = (), text: int = -1) -> str:
    """Cells are HTML already; `numbers` are the columns that stand right, `text` is the wide one."""
    kinds = {place: ' class="n"' for place in numbers} | {text: ' class="t"'}
    head = "".join(f"<th{kinds.get(place, '')}>{cell}</th>" for place, cell in enumerate(header))
    body = "".join(
        "<tr>" + "".join(f"<td{kinds.get(place, '')}>{cell}</td>" for place, cell in enumerate(row)) + "</tr>\n"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 10 else f"{hours:.2f}"


def _sets(sets: Mapping, split: Mapping) -> str:
    note = f"Divided by: {escape(split['says'])}."
    if "hours_won" in split:
        note += (
            f" The official train set has {_hours(split['official_train_hours'])} h, this one"
            f' {_hours(split["train_hours"])} h: <b class="good">{split["hours_won"]:+.2f} h</b>.'
        )
    shared = split["shared_speakers"]
    note += f" <b>{shared:,} speakers are in more than one of train, dev and test.</b>" if shared else ""
    rows = [
        (f"<b>{escape(name)}</b>", f"{s['clips']:,}", _hours(s["hours"]), f"{s['speakers']:,}", SET_NOTES.get(name, ""))
        for name, s in sets.items()
    ]
    return _section("Sets", note, _table(("file", "clips", "hours", "speakers", ""), rows, (1, 2, 3)))


def _rejections(report: Mapping) -> str:
    """Where rows went: a table that adds up, bars for the reasons, examples of each."""
    sources = [
        (
            escape(name),
            f"{s['rows']:,}",
            f"{s['kept']:,}",
            f"{s['rows'] - s['kept']:,}",
            escape(", ".join(f"{count:,} {code}" for code, count in s["rejected"].items())),
        )
        for name, s in list(report["sources"].items())[:40]
    ]
    content = [_table(("file of the corpus", "rows", "kept", "left out", "reasons"), sources, (1, 2, 3))]
    hidden = len(report["sources"]) - len(sources)
    if hidden > 0:
        content.append(f'<p class="soft">and {hidden:,} files more (report.json)</p>')
    content += [f'<p class="soft">{escape(note)}</p>' for note in report["notes"]]
    if report["refused_entries"]:
        content.append(f"<p>{report['refused_entries']:,} entries of the archive were refused: see rejected.csv.</p>")
    if not report["rejected"]:
        return _section("Rows left out", "None: every row of the corpus is in a CSV.", *content)
    content.append(_bars(report["rejected"], warm=True))
    for code, examples in report["rejected_examples"].items():
        rows = [
            (escape(e["row"]), escape(e["transcript"]), escape(e["reason"]), f"<code>{escape(e['value'])}</code>")
            for e in examples
        ]
        table = _table(("row", "text of the corpus", "reason", "value"), rows, text=1)
        content.append(f"<details><summary>{escape(code)}: examples</summary>{table}</details>")
    return _section(
        "Rows left out", "Each row of the corpus is in a CSV or in rejected.csv; the counts add up.", *content
    )


def _lengths(lengths: Mapping, cuts: Sequence[Mapping], total: Mapping) -> str:
    quantiles = ", ".join(f"{escape(name)} {seconds:g} s" for name, seconds in lengths["quantiles"].items())
    width = lengths["bin_seconds"]
    labels = [f"{place * width:g}" for place in range(len(lengths["histogram"]))]
    rows = [
        (
            f"<code>--max_seconds {c['max_seconds']}</code>",
            f"{c['clips']:,}",
            _hours(c["hours"]),
            f"{100 * c['hours'] / total['hours'] if total['hours'] else 0:.1f} %",
        )
        for c in cuts
    ]
    return _section(
        "Length of the clips",
        f"{quantiles}.",
        _histogram(lengths["histogram"], labels, "seconds (the last bar: and longer)", "clips by length"),
        "<details><summary>What a cut would drop</summary>"
        + _table(("with", "clips", "hours", "of all hours"), rows, (1, 2, 3))
        + "</details>",
    )


def _levels(levels: Mapping, clips: int) -> str:
    labels = [str(-80 + 2 * place) for place in range(40)]
    quiet, clipped = levels["quiet"], levels["clipped"]
    note = f"{quiet:,} clips ({_share(quiet, clips)}) are nearly silent (below -50 dB), "
    note += f"{clipped:,} ({_share(clipped, clips)}) reach full scale, where recordings are cut off."
    note += " Nothing was changed: the level is that of the corpus."
    return _section(
        "Level",
        note,
        _histogram(levels["histogram"], labels, "mean level of a clip in dB of full scale", "clips by level"),
    )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole if whole else 0:.1f} %"


def _characters(characters: Mapping[str, int], rare: Mapping) -> str:
    shown = dict(sorted(characters.items(), key=lambda pair: -pair[1])[:60])
    content = [
        _histogram(list(shown.values()), [_shown(c) for c in shown], "", "how often each character occurs", every=1)
    ]
    if rare:
        rows = [
            (
                f"<b>{escape(_shown(c))}</b>",
                f"<code>U+{ord(c):04X}</code>",
                str(value["count"]),
                escape(value["example"]),
            )
            for c, value in list(rare.items())[:100]
        ]
        content.append(
            f"<h3>Rare: {len(rare):,} characters with fewer than 10 occurrences</h3>"
            "<p class='soft'>A model learns none of them. Delete the ones that are mistakes from alphabet.txt, "
            "and import again with --filter_alphabet.</p>" + _table(("", "", "times", "for example"), rows, (2,), 3)
        )
    note = f"{len(characters):,} different characters; alphabet.txt has them in the order of a model's labels."
    return _section("Characters", note, *content)


def _shown(character: str) -> str:
    return "␣" if character == " " else character


def _speakers(speakers: Sequence[Mapping], total: Mapping) -> str:
    if not speakers:
        return _section("Speakers", "The corpus names no speakers, so the same voice may be in train and test.")
    hours = sum(s["hours"] for s in speakers)
    rows = [
        (
            f"<code>{escape(s['speaker'][:40])}</code>",
            f"{s['clips']:,}",
            f"{s['hours']:.2f}",
            f"{100 * s['hours'] / total['hours']:.1f} %",
        )
        for s in speakers
    ]
    note = (
        f"{total['speakers']:,} speakers; the {len(speakers)} with the most audio have"
        f" {100 * hours / total['hours']:.0f} % of it."
    )
    return _section("Speakers", note, _table(("speaker", "clips", "hours", "of all"), rows, (1, 2, 3)))


def _clips(kinds: Mapping[str, Sequence[Mapping]]) -> str:
    content: list[str] = []
    for title, clips in kinds.items():
        rows = [
            (
                f'<audio controls preload="none" src="{escape(quote(c["wav_filename"]))}"></audio>',
                escape(c["transcript"]),
                f"{c['seconds']:g}",
                f"{c['characters_per_second']:g}",
                f"{c['rms_db']:g}",
                escape(c["row"]),
            )
            for c in clips
        ]
        table = _table(("", "transcript", "seconds", "characters a second", "dB", "row"), rows, (2, 3, 4), 1)
        is_open = " open" if not content else ""
        content.append(f"<details{is_open}><summary>{escape(title)}</summary>{table}</details>")
    return _section("Worth a listen", "The clips at the ends: what is wrong with a corpus mostly shows here.", *content)


def _settings(report: Mapping) -> str:
    rows = [(f"<code>--{escape(name)}</code>", escape(str(value))) for name, value in report["options"].items()]
    return _section(
        "Settings",
        "What this import was run with.",
        "<details><summary>all</summary>",
        _table(("", ""), rows),
        "</details>",
    )


def _histogram(counts: Sequence[int], labels: Sequence[str], axis: str, title: str, *, every: int = 0) -> str:
    """Bars as inline SVG; each tells its numbers when the pointer rests on it."""
    left, bottom, top = 56, 40, 12
    highest = max([*counts, 1])
    step = (_WIDTH - left) / max(len(counts), 1)
    every = every or max(1, len(counts) // 20)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">']
    for share in (0, 0.5, 1):
        y = _HEIGHT - bottom - share * (_HEIGHT - bottom - top)
        parts.append(f'<line class="axis" x1="{left}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{_short(share * highest)}</text>')
    for place, (count, label) in enumerate(zip(counts, labels, strict=True)):
        height = count / highest * (_HEIGHT - bottom - top)
        x, y = left + place * step, _HEIGHT - bottom - height
        parts.append(
            f'<rect class="bar" x="{x + step * 0.08:.1f}" y="{y:.1f}" width="{step * 0.84:.1f}" height="{height:.1f}">'
            f"<title>{escape(label)}: {count:,}</title></rect>"
        )
        if place % every == 0:
            anchor = x + step / 2 if every == 1 else x
            parts.append(
                f'<text x="{anchor:.1f}" y="{_HEIGHT - bottom + 17}" text-anchor="middle">{escape(label)}</text>'
            )
    if axis:
        parts.append(f'<text x="{(_WIDTH + left) / 2}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(axis)}</text>')
    return "<figure>" + "".join(parts) + "</svg></figure>"


def _bars(counts: Mapping[str, int], *, warm: bool = False) -> str:
    """Named bars, one below the other."""
    highest, height = max(counts.values()), 26
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height * len(counts) + 6}" role="img" aria-label="rows left out by reason">']
    for place, (name, count) in enumerate(counts.items()):
        y = place * height + 4
        width = max(2, count / highest * (_WIDTH - 300))
        parts.append(f'<text x="170" y="{y + 14}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<rect class="bar{" warm" if warm else ""}" x="180" y="{y}" width="{width:.1f}" height="18" rx="2"/>'
        )
        parts.append(f'<text x="{188 + width:.1f}" y="{y + 14}">{count:,}</text>')
    return "<figure>" + "".join(parts) + "</svg></figure>"


def _short(number: float) -> str:
    return f"{number / 1e6:.3g}M" if number >= 1e6 else f"{number / 1e3:.3g}k" if number >= 1e4 else f"{number:,.0f}"
