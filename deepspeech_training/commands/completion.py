"""`deepspeech completion`: the script with which bash or zsh completes commands, options and files."""

import argparse

from deepspeech_training.commands import COMMANDS
from deepspeech_training.commands.main import PROGRAM, module_of
from deepspeech_training.console import Console
from deepspeech_training.errors import UserError

PATHS = ("CSV", "FILE", "PATH", "SOURCE", "TABLE", "TSV_DIR")  # what help calls a path begins so


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Print the script with which a shell completes the commands of this program.",
        epilog="For bash:  deepspeech completion bash > ~/.local/share/bash-completion/completions/deepspeech\n"
        "For zsh:   deepspeech completion zsh > FOLDER/_deepspeech, a FOLDER of $fpath",
    )
    parser.add_argument("shell", choices=("bash", "zsh"))
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    try:
        import shtab
    except ImportError as error:
        raise UserError("completion needs shtab, which is not installed: pip install shtab") from error
    whole = whole_parser()
    for one in all_parsers(whole):
        for action in one._actions:
            if action.metavar == "DIR":
                vars(action)["complete"] = shtab.DIRECTORY
            elif str(action.metavar).startswith(PATHS):
                vars(action)["complete"] = shtab.FILE
    print(shtab.complete(whole, flags.shell))


def whole_parser() -> argparse.ArgumentParser:
    """One parser of the program: every command with its options, and those of DeepSpeech's client."""
    whole = argparse.ArgumentParser(PROGRAM, parents=[module_of("client").parser(PROGRAM)], add_help=False)
    inside = {"": whole.add_subparsers()}
    for name, command in COMMANDS.items():
        *group, last = name.split()
        if group and group[0] not in inside:
            summary = f"{group[0]} ...: see `{PROGRAM} help {group[0]}`"
            inside[group[0]] = inside[""].add_parser(group[0], help=summary).add_subparsers()
        own = module_of(name).parser(f"{PROGRAM} {name}")
        own = own.as_argparse() if hasattr(own, "as_argparse") else own
        add = inside[group[0] if group else ""].add_parser
        add(last, parents=[own], add_help=False, help=command.summary, description=own.description)
    return whole


def all_parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """A parser with those of its commands, at any depth."""
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [parser, *(found for action in nested for one in action.choices.values() for found in all_parsers(one))]
