"""The flags as text: --help, --helpfull and docs/flags.md."""

import textwrap
from dataclasses import fields

from deepspeech_training.config.flag import Flag
from deepspeech_training.config.groups import FLAGS, Config, flags_of
from deepspeech_training.config.obsolete import OBSOLETE, TO_COME

EXAMPLE = """\
deepspeech train --train_files train.csv --dev_files dev.csv --test_files test.csv \\
    --train_batch_size 32 --dev_batch_size 32 --test_batch_size 32 --n_hidden 512 --epochs 30 \\
    --early_stop --checkpoint_dir persistent-data/checkpoints/first"""
_SYNTAX = (
    "Flags are written as --flag value or --flag=value, switches as --flag, --noflag or --flag=false, lists with "
    "commas and without spaces. --flagfile FILE reads flags from a file, one on each line, where # and // start a "
    "comment. The last value of a flag counts; of --augment, all. --config FILE reads them from YAML (`epochs: 30`); a "
    "flag that is given beside it counts instead."
)
_OBSOLETE_TITLE = "Obsolete flags: accepted, without an effect"
_TO_COME_TITLE = "Flags of DeepSpeech and Coqui STT that are to come: refused for now"


def format_help(width: int, description: str, example: str = EXAMPLE, *, full: bool = False) -> str:
    """The text of --help, or with `full` that of --helpfull, which has the obsolete flags and those to come too."""

    def wrap(text: str, indent: str) -> str:
        return textwrap.fill(
            text, max(width, 40), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )

    lines = [wrap(description, ""), "", "Example:", ""]
    lines += [f"  {line}" for line in example.splitlines()] + ["", wrap(_SYNTAX, "")]
    for part in fields(Config):
        lines += ["", f"{part.metadata['title']}:"]
        for entry in flags_of(part):
            known = FLAGS[entry.name]
            lines += [wrap(_usage(entry.name, known), "  "), wrap(known.whole_help, "      ")]
    lines += ["", "Help:", "  --help, --helpfull", wrap("this text; --helpfull has the obsolete flags too", "      ")]
    lines += ["  --version", wrap("the version of this program", "      ")]
    if full:
        lines += ["", f"{_OBSOLETE_TITLE}:"]
        for name, known in OBSOLETE.items():
            lines.append(wrap(f"--{name} {known.help}", "  "))
        lines += ["", f"{_TO_COME_TITLE}:"]
        for family in TO_COME.values():
            for name, known in family.items():
                lines.append(wrap(f"--{name} {known.help}", "  "))
    return "\n".join(lines) + "\n"


def _usage(name: str, flag: Flag) -> str:
    """The first line on a flag in --help.

    >>> _usage("checkpoint_secs", FLAGS["checkpoint_secs"])
    '--checkpoint_secs SECONDS   (default: 600)'
    """
    if flag.type is bool:
        words = f"--[no]{name}"
    elif flag.choices:
        words = f"--{name} {(',' if flag.type is tuple else '|').join(flag.choices)}"
    else:
        kinds = {int: "NUMBER", float: "NUMBER", tuple: "FILE,FILE,..."}
        value = flag.unit.upper() or kinds.get(flag.type, "PATH")
        words = f"--{name} [{value}]" if flag.alone else f"--{name} {value}"
    return f"{words}   (default: {flag.default_text})"


def flags_markdown() -> str:
    """The text of docs/flags.md."""
    lines = [
        "# Flags",
        "",
        "Written by `python bin/make_docs.py` from `deepspeech_training/config/groups.py`; do not edit it here.",
        "",
        _SYNTAX,
        "",
        "```sh",
        *EXAMPLE.splitlines(),
        "```",
    ]
    for part in fields(Config):
        lines += ["", f"## {part.metadata['title']}", "", "| flag | default | unit | meaning |", "|---|---|---|---|"]
        for entry in flags_of(part):
            known = FLAGS[entry.name]
            choices = f" One of {', '.join(f'`{choice}`' for choice in known.choices)}." if known.choices else ""
            default = known.default_text if known.default in ("", ()) or known.default_is else f"`{known.default_text}`"
            lines.append(f"| `--{entry.name}` | {default} | {known.unit} | {known.whole_help}.{choices} |")
    lines += ["", f"## {_OBSOLETE_TITLE}", "", "| flag | |", "|---|---|"]
    lines += [f"| `--{name}` | {known.help} |" for name, known in OBSOLETE.items()]
    lines += ["", f"## {_TO_COME_TITLE}"]
    for title, family in TO_COME.items():
        lines += ["", f"### {title}", "", "| flag | |", "|---|---|"]
        lines += [f"| `--{name}` | {known.help} |" for name, known in family.items()]
    return "\n".join(lines) + "\n"
