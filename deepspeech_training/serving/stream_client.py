"""A client of /v1/stream: blocks of sound to a server, its messages back. Needs websockets alone."""

import json
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException
from websockets.sync.client import ClientConnection, connect

from deepspeech_training.errors import FlagError, UserError

CONNECTS_IN_S = 10.0
PING_EVERY_S = 15.0
ANSWERS_IN_S = 60.0  # a server that was sent something and says nothing for so long is gone
LARGEST_MESSAGE = 1 << 24


def stream_url(url: str, options: Mapping[str, object]) -> str:
    """The address of a stream.

    Args:
        url: of a server, with or without the path; what its query says comes before `options`.
    Raises:
        FlagError: it is no such address.

    >>> stream_url("ws://host:8000?model=de", {"rate": 16000})
    'ws://host:8000/v1/stream?model=de&rate=16000'
    """
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.hostname:
        raise FlagError(f"--server {url}: it must be an address such as ws://127.0.0.1:8000")
    query = "&".join(filter(None, [parts.query, urlencode(options)]))
    path = "/v1/stream" if parts.path in ("", "/") else parts.path
    return urlunsplit((scheme, parts.netloc, path, query, ""))


def recognised(url: str, blocks: Iterator[bytes], *, key: str | None = None) -> Iterator[dict[str, Any]]:
    """Send sound, and give what the server says of it, from `ready` to `done`.

    Args:
        url: of `stream_url`.
        blocks: interleaved int16 samples.
        key: the server's, if it wants one.
    Raises:
        UserError: there is no server, it refuses, or it is gone; or what `blocks` raises.
    """
    where = urlsplit(url).netloc
    with _connected(url, where, key) as connection:
        sender = _Sender(connection, blocks)
        sender.start()
        try:
            yield from _messages(connection, where, sender)
        finally:
            sender.is_wanted = False
    if sender.fault is not None:
        raise sender.fault


class _Sender(threading.Thread):
    """Sends the sound; the connection's own thread reads meanwhile, so that neither end waits for the other."""

    def __init__(self, connection: ClientConnection, blocks: Iterator[bytes]):
        super().__init__(daemon=True)
        self._connection, self._blocks = connection, blocks
        self.is_wanted = True
        self.sent_at = time.monotonic()
        self.fault: Exception | None = None  # of the sound

    def run(self) -> None:
        with suppress(ConnectionClosed):  # the reader says why
            pinged_at = time.monotonic()
            try:
                for block in self._blocks:
                    if not self.is_wanted:
                        return
                    self._send(block)
                    if time.monotonic() - pinged_at > PING_EVERY_S:
                        pinged_at = time.monotonic()
                        self._send('{"type":"ping"}')
            except ConnectionClosed:
                raise
            except Exception as error:
                self.fault = error
            self._send('{"type":"finish"}')

    def _send(self, message: bytes | str) -> None:
        self._connection.send(message)
        self.sent_at = time.monotonic()


def _connected(url: str, where: str, key: str | None) -> ClientConnection:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        return connect(
            url,
            additional_headers=headers,
            open_timeout=CONNECTS_IN_S,
            ping_interval=None,  # a server that is behind reads nothing for a while, and is not gone
            max_size=LARGEST_MESSAGE,
            compression=None,
            proxy=None,
        )
    except InvalidStatus as error:
        raise UserError(f"{where} refuses: {_refusal(error)}{_hint(error.response.status_code)}") from None
    except ssl.SSLError as error:
        said = getattr(error, "verify_message", "") or error.reason or error
        raise UserError(
            f"{where}: no safe connection: {said}\nA certificate of your own is trusted if SSL_CERT_FILE names it."
        ) from None
    except (InvalidURI, InvalidHandshake) as error:
        raise UserError(f"{where} is no server of `deepspeech serve`: {error}") from None
    except TimeoutError:
        raise UserError(f"{where} does not answer within {CONNECTS_IN_S:g} s") from None
    except (OSError, WebSocketException) as error:
        said = getattr(error, "strerror", None) or error
        raise UserError(f"{where} cannot be reached: {said}\nIs `deepspeech serve` running there?") from None


def _refusal(error: InvalidStatus) -> str:
    """What the answer says: an error in OpenAI's shape, or the status."""
    try:
        return str(json.loads(error.response.body or b"")["error"]["message"])
    except (ValueError, KeyError, TypeError):
        status = f"{error.response.status_code} {error.response.reason_phrase}"
        return f"{status} (is the address that of a `deepspeech serve`? Its path is /v1/stream)"


def _hint(status: int) -> str:
    return "\nGive it in a file (--key_file FILE) or in DEEPSPEECH_API_KEY." if status == 401 else ""


def _messages(connection: ClientConnection, where: str, sender: _Sender) -> Iterator[dict[str, Any]]:
    fault = written = ""
    while True:
        try:
            message = json.loads(connection.recv(timeout=ANSWERS_IN_S))
        except TimeoutError:
            if time.monotonic() - sender.sent_at > ANSWERS_IN_S:
                continue  # there was nothing to answer
            raise UserError(f"{where} does not answer any more") from None
        except ConnectionClosed as error:
            received = error.rcvd
            said = fault or (f"{received.code} {received.reason}".strip() if received else "the connection is lost")
            raise UserError(f"{where} has ended the stream: {said}{written}") from None
        except ValueError:
            raise UserError(f"{where} is no server of `deepspeech serve`: it sends no JSON") from None
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "error":
            fault = str(message.get("message"))
        elif kind is not None and kind != "pong":
            yield message
            if kind == "final":
                written = "\nWhat was said until then is written."
            if kind == "done":
                return
