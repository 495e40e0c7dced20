"""Who is to be told, checked before any work starts."""

import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from deepspeech_training.errors import FlagError
from deepspeech_training.reporting.outside.notifier import bad_urls

# Set by `deepspeech app` for what it starts: of failures it tells itself, once, and not at each try.
FAILURES_ARE_TOLD = "DEEPSPEECH_FAILURES_ARE_TOLD"
MLFLOW_STORES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")


def check(values: Mapping[str, Any]) -> None:
    """Check the values of --notify, --wandb and --mlflow; messages have no address, as that may have a token.

    Args:
        values: as `config.private.private_values` has them.
    Raises:
        FlagError: a package is missing, or a value cannot be used.
    """
    for name in ("notify", "wandb", "mlflow"):
        package = "apprise" if name == "notify" else name
        if values.get(name) and find_spec(package) is None:
            raise FlagError(
                f"--{name} needs the package {package}, which is not installed\n"
                f"Install it (pip install 'deepspeech_training[{name}]'), or leave --{name} out."
            )
    _check_urls(values.get("notify", ()))
    _check_project(values.get("wandb", ""))
    _check_store(values.get("mlflow", ""))


def _check_urls(urls: Sequence[str]) -> None:
    for scheme in bad_urls(urls) if urls else ():
        found = f"--notify {scheme}://..." if scheme else "--notify"
        raise FlagError(
            f"{found}: Apprise knows no such service, or the URL lacks a part\n"
            "It is written as ntfy://TOPIC, mailto://USER:PASSWORD@HOST, slack://TOKENS, json://HOST:PORT/PATH ...: "
            "see https://appriseit.com/services/"
        )


def _shown(value: str) -> str:
    """A value that may be an address with a password: only what cannot be one."""
    scheme, separator, _ = value.partition("://")
    if separator:
        return f" {scheme}://..." if re.fullmatch(r"[\w+.-]+", scheme) else ""
    return "" if "@" in value else f" {value}"


def _check_project(project: str) -> None:
    if project and not re.fullmatch(r"([^/\\#?%:\s]+/)?[^/\\#?%:]{1,128}", project):
        raise FlagError(f"--wandb{_shown(project)}: is no name of a project; it is PROJECT or TEAM/PROJECT")


def _check_store(uri: str) -> None:
    if not uri:
        return
    scheme = uri.partition("://")[0].partition("+")[0] if "://" in uri else uri
    if scheme not in MLFLOW_STORES:
        raise FlagError(
            f"--mlflow{_shown(uri)}: must be the address of a server or a database, "
            "such as http://HOST:5000 or sqlite:///mlflow.db; MLflow 3 keeps no runs in plain folders"
        )
    if scheme == "sqlite" and not (find_spec("sqlalchemy") and find_spec("alembic")):
        raise FlagError(
            "--mlflow sqlite://...: a local store needs the packages sqlalchemy and alembic, which are not installed\n"
            "Install them: pip install 'deepspeech_training[mlflow]'."
        )
