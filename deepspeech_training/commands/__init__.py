"""The commands of the program: a file each in this folder (an importer: in importers/), and here the table of them.

A command is a module with `parser(prog)`, whose `parse_args` gives flags, and with `run(flags, console)`, which does
the work and returns the exit code (None: 0). It is imported only when it runs, so that `deepspeech --help` needs
neither numpy nor TensorFlow. `commands.main` alone makes text and exit codes of errors and signals.
"""

from dataclasses import dataclass

from deepspeech_training.errors import EXIT_OK, EXIT_RUN
from deepspeech_training.importers import CORPORA


@dataclass(frozen=True)
class Command:
    """A line of the table.

    Args:
        module: where `parser` and `run` are, below the package.
        summary: what it does, for the list of commands.
        resumes: what to say where Ctrl-C or SIGTERM has stopped it.
        when_cut_off: the exit code where nobody reads what it prints any more, as with `| head`.
    """

    module: str
    summary: str
    resumes: str = ""
    when_cut_off: int = EXIT_RUN


SECTIONS: dict[str, dict[str, Command]] = {
    "Train": {
        "train": Command("commands.train", "train a model; test, export and use it, as the flags say"),
        "test": Command("commands.test", "the WER and CER of a checkpoint"),
        "export": Command("commands.export", "write a checkpoint as .tflite, with its card and a parity report"),
    },
    "From data to a service": {
        "app": Command("commands.app", "train where there is no model, serve where there is one, and show how it goes"),
        "status": Command(
            "commands.status", "how far the trainings on a volume are, in the terminal", when_cut_off=EXIT_OK
        ),
    },
    "Use an exported model": {
        "transcribe": Command("commands.transcribe", "recordings, folders and lists to text, JSON or subtitles"),
        "stream": Command("commands.stream", "a microphone, a recording or stdin to text, while it is spoken"),
        "detect": Command("commands.detect", "the commands in recordings, stdin or a microphone, by a small model"),
        "evaluate": Command("commands.evaluate", "the WER and CER of an exported model"),
        "g2p": Command("commands.g2p", "words to pronunciations, or back, with a model of words", when_cut_off=EXIT_OK),
        "serve": Command("commands.serve", "a model behind HTTP and websockets, and a page to talk to"),
        "client": Command("commands.client", "one recording to text, with the options of DeepSpeech 0.9.3's client"),
    },
    "Prepare data": {
        **{
            f"import {name}": Command(f"importers.{module}", what, resumes="stopped; the same command resumes")
            for name, (module, what) in CORPORA.items()
        },
        "data check": Command("commands.data_check", "whether every row of CSVs can be trained on"),
        "data pack": Command(
            "commands.data_pack",
            "CSVs and their clips into a few large files, for network disks",
            resumes="stopped; the same command resumes with the shard in hand",
        ),
        "data stats": Command("commands.data_stats", "hours, lengths, characters and speakers of CSVs"),
        "data show": Command(
            "commands.data_show", "list, filter, sort, export and play the clips of CSVs", when_cut_off=EXIT_OK
        ),
        "augment": Command("commands.augment", "see and hear what --augment does to clips"),
    },
    "Scorers": {
        "scorer build": Command("commands.scorer_build", "text to a scorer: language model, dictionary, package"),
        "scorer tune": Command(
            "commands.scorer_tune",
            "search the best --lm_alpha, --lm_beta and --beam_width",
            resumes="stopped; the same command resumes with the next trial",
        ),
        "scorer lm": Command("commands.scorer_lm", "the first half of a build, as DeepSpeech's generate_lm.py"),
        "scorer package": Command("commands.scorer_package", "the second half, as its generate_scorer_package"),
    },
    "Look at results": {
        "inspect": Command("commands.inspect", "what a checkpoint or an export is, and whether it is sound"),
        "average": Command("commands.average", "average the weights of checkpoints"),
        "sessions": Command(
            "commands.sessions", "what was run here: session logs, listed, compared and plotted", when_cut_off=EXIT_OK
        ),
    },
    "Models on the volume": {
        "models list": Command("commands.models_list", "registered models, and what is promoted", when_cut_off=EXIT_OK),
        "models show": Command("commands.models_show", "the card of a version; its files are checked"),
        "models register": Command(
            "commands.models_register",
            "an export becomes a version, and is promoted unless it is worse",
            resumes="stopped; nothing was registered, or the same command completes it",
        ),
        "models promote": Command("commands.models_promote", "have a version served"),
        "models rollback": Command("commands.models_rollback", "back to the version that was promoted before"),
        "models remove": Command("commands.models_remove", "delete a version"),
        "models compare": Command("commands.models_compare", "two versions on the same test set, with intervals"),
    },
    "Publish": {
        "publish model": Command("commands.publish_model", "a model and its card, for the Hugging Face hub"),
        "publish space": Command("commands.publish_space", "a page to try a model, as a Hugging Face Space"),
    },
    "The program": {
        "doctor": Command("commands.doctor", "check GPU, driver, volume, disk, memory and packages"),
        "docs": Command("commands.docs", "write or check the generated pages of docs/, in a checkout"),
        "completion": Command("commands.completion", "what completes these commands in bash or zsh"),
    },
}
COMMANDS = {name: command for section in SECTIONS.values() for name, command in section.items()}
