"""`deepspeech serve`: an exported model behind HTTP and websockets, with a page to talk to."""

import argparse
import dataclasses
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.machine.resources import usable_cores
from deepspeech_training.serving.limits import Limits, limit_fields

if TYPE_CHECKING:
    from deepspeech_training.serving.server import Settings

PORT = 8000


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Serve exported models: files and streams in the protocols of OpenAI, Vosk, Deepgram and Wyoming, "
        "and a page.",
        allow_abbrev=False,
        epilog="Example: deepspeech serve --model exports/first --scorer en.scorer",
    )
    parser.add_argument(
        "--model",
        required=True,
        metavar="PATH",
        help="an exported model, the folder of an export or of several, or a registry of models",
    )
    add_options(parser)
    return parser


def add_options(parser: argparse.ArgumentParser) -> None:
    """All that a service can be told, but for what it serves."""
    parser.add_argument(
        "--scorer", metavar="FILE", help="decode with this .scorer; default: the one beside the model, if there is one"
    )
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default %(default)s)")
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help="0: any free one (default %(default)s)")
    parser.add_argument(
        "--vosk_port", type=int, metavar="N", help="vosk-server's protocol on a port of its own too, any path: 2700"
    )
    parser.add_argument(
        "--wyoming_port",
        type=int,
        metavar="N",
        help="Wyoming, Home Assistant's protocol, which has no keys: 10300",
    )
    parser.add_argument("--wyoming_mdns", action="store_true", help="tell the local network of --wyoming_port, by mDNS")
    parser.add_argument(
        "--threads",
        type=int,
        default=usable_cores(),
        metavar="N",
        help="streams that are recognised at the same time (default: the usable cores)",
    )
    parser.add_argument(
        "--reload_s",
        type=float,
        default=2.0,
        metavar="S",
        help="look so often whether a model has changed, and serve the new one; 0: never (default %(default)g)",
    )
    parser.add_argument(
        "--access_log",
        default="-",
        metavar="FILE",
        help="a line of JSON for each request and stream; -: on stderr, none: nowhere (default %(default)s)",
    )
    safety = parser.add_argument_group("safety")
    safety.add_argument(
        "--api_key_file",
        metavar="FILE",
        help="a file with a key on each line, any of which a client must send; default: $DEEPSPEECH_API_KEY, if set",
    )
    safety.add_argument(
        "--no_key", action="store_true", help="listen on other than the loopback although no key is wanted"
    )
    safety.add_argument(
        "--allowed_hosts",
        metavar="NAME,...",
        help="names that the service goes by, such as that of a proxy; *: any. Addresses, localhost and the name of "
        "this machine always are",
    )
    safety.add_argument(
        "--allowed_origins", metavar="URL,...", help="pages of other sites that may use it: https://example.org; *: any"
    )
    safety.add_argument("--certificate", metavar="FILE", help="serve https and wss with this certificate chain, PEM")
    safety.add_argument("--certificate_key", metavar="FILE", help="its private key, PEM")
    limits = parser.add_argument_group("limits")
    for limit in limit_fields():
        unit = f", in {limit.metadata['unit']}" if limit.metadata["unit"] else ""
        limits.add_argument(
            f"--{limit.name}",
            type=type(limit.default),
            default=limit.default,
            metavar="N",
            help=f"{limit.metadata['meaning']}{unit} (default %(default)g)",
        )


def run(flags: argparse.Namespace, console: Console) -> int:
    """Serve until SIGTERM (exit code 0) or Ctrl-C."""
    settings = settings_of(flags)
    from deepspeech_training.serving import server

    return server.run(settings, console)


def settings_of(flags: argparse.Namespace) -> "Settings":
    """What the flags of `add_options`, and --model, ask for.

    Raises:
        UserError: they ask for what cannot be, would be unsafe, or needs a package that is not installed.
    """
    limits = Limits(**{limit.name: getattr(flags, limit.name) for limit in dataclasses.fields(Limits)})
    bounds = {name: (0, 65535) for name in ("port", "vosk_port", "wyoming_port")}
    for name, (least, most) in {**bounds, "threads": (1, 1024), "reload_s": (0, 86400)}.items():
        if getattr(flags, name) is not None and not least <= getattr(flags, name) <= most:
            raise FlagError(f"--{name} {getattr(flags, name):g}: it must be from {least} to {most}")
    try:
        from deepspeech_training.serving import security, server
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("deepspeech_training"):
            raise
        raise UserError(
            f"the service needs the package {error.name}\nInstall it: pip install 'deepspeech_training[serve]'"
        ) from None
    keys = security.read_keys(flags.api_key_file)
    if not keys and not flags.no_key and not security.is_loopback(flags.host):
        raise FlagError(
            f"--host {flags.host}: whoever reaches this machine could use the service\n"
            f"Set a key ({security.KEY_VARIABLE} or --api_key_file FILE), or say --no_key."
        )
    if flags.wyoming_port is not None and not flags.no_key and not security.is_loopback(flags.host):
        raise FlagError(
            f"--wyoming_port {flags.wyoming_port}: this protocol has no keys, so whoever reaches {flags.host} could "
            "use it\nSay --no_key if that is meant (a key that is set stays wanted on the other ports)."
        )
    if flags.wyoming_mdns and flags.wyoming_port is None:
        raise FlagError("--wyoming_mdns: there is nothing to announce without --wyoming_port")
    if flags.wyoming_mdns and importlib.util.find_spec("zeroconf") is None:
        raise UserError("--wyoming_mdns needs the package zeroconf: pip install 'deepspeech_training[wyoming]'")
    return server.Settings(
        model=Path(flags.model),
        scorer=Path(flags.scorer) if flags.scorer else None,
        host=flags.host,
        port=flags.port,
        threads=flags.threads,
        limits=limits,
        security=security.Security(
            keys, security.split_list(flags.allowed_hosts), security.split_list(flags.allowed_origins)
        ),
        access_log=flags.access_log,
        certificate=flags.certificate,
        certificate_key=flags.certificate_key,
        reload_s=flags.reload_s,
        vosk_port=flags.vosk_port,
        wyoming_port=flags.wyoming_port,
        wyoming_mdns=flags.wyoming_mdns,
    )
