"""Why a model could not be fetched: one sentence and one hint for everything a network or server may do.

ModelError
└── DownloadError            the model could not be fetched
    └── Broken               the connection failed: worth another attempt
"""

from __future__ import annotations

import socket
import ssl
from http.client import HTTPException, RemoteDisconnected
from urllib.parse import urlsplit

from cagchat.errors import ModelError

GO_ON = "Run the same command again: it goes on where it stopped."
TOO_MANY, FIRST_SERVER_ERROR = 429, 500
LATER = {408, 425, TOO_MANY}  # a client error that a second attempt may not meet
OFFLINE_HINT = "Check the connection, HTTPS_PROXY and the address; a model on disk is used by `--model PATH`."


class DownloadError(ModelError):
    """The model could not be fetched; nothing wrong was given its name."""


class Broken(DownloadError):
    """The connection failed, which another attempt may mend.

    `wait_s` is what the server asked for; `unreachable` says that there was no server at all, so that an attempt is
    only worth its wait when there had been one before.
    """

    def __init__(self, message: str, hint: str = GO_ON, *, wait_s: float = 0.0, unreachable: bool = False) -> None:
        super().__init__(message, hint)
        self.wait_s = wait_s
        self.unreachable = unreachable


def shown(url: str) -> str:
    """Return the address without what may be secret: user, password, signed query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def host_of(url: str) -> str:
    """Return the server's name and port, as the address has it."""
    return urlsplit(url).netloc.rpartition("@")[2]


def unreached(url: str, error: OSError | HTTPException, proxy: str = "") -> DownloadError:
    """Say why no answer came from the server, or through the proxy when there is one."""
    place = f"the proxy {host_of(proxy)}" if proxy else host_of(url)
    if isinstance(error, ssl.SSLCertVerificationError):
        why = getattr(error, "verify_message", "") or "no reason was given"
        return DownloadError(
            f"{host_of(url)} could not prove who it is: {why}.",
            "Check this machine's date; behind a company's proxy, set SSL_CERT_FILE to its certificates.",
        )
    if isinstance(error, ssl.SSLEOFError | RemoteDisconnected | ConnectionResetError | BrokenPipeError):
        return Broken(f"{place} closed the connection without an answer.")
    if isinstance(error, ssl.SSLError):
        return DownloadError(
            f"{host_of(url)} does not speak TLS that we understand: {getattr(error, 'reason', '') or error}.",
            "Check the address and HTTPS_PROXY.",
        )
    if isinstance(error, socket.gaierror):
        return Broken(f"The name {place} cannot be resolved: this machine seems to be offline.", OFFLINE_HINT,
                      unreachable=True)  # fmt: skip
    if isinstance(error, ConnectionRefusedError):
        return Broken(f"{place} refuses connections.", OFFLINE_HINT, unreachable=True)
    if isinstance(error, TimeoutError):
        return Broken(f"{place} did not answer in time.", OFFLINE_HINT, unreachable=True)
    if isinstance(error, HTTPException):
        return DownloadError(f"{place} does not answer as a web server does ({error!r}).", "Check the address.")
    if "Tunnel connection failed" in str(error):
        return DownloadError(
            f"The proxy {host_of(proxy)} refused: {str(error).rpartition('failed: ')[2].strip()}.",
            "Check HTTPS_PROXY, with its user and password; NO_PROXY names hosts to reach without it.",
        )
    return Broken(f"{place} cannot be reached: {error.strerror or error}.", OFFLINE_HINT, unreachable=True)


def interrupted(url: str, done_bytes: int, total_bytes: int | None) -> Broken:
    """Say that the body ended before it was complete."""
    of = f" of {total_bytes}" if total_bytes is not None else ""
    return Broken(f"{host_of(url)} broke off after {done_bytes}{of} bytes.")


def refused_status(
    url: str, status: int, *, code: str = "", page: str = "", with_token: bool = False, wait_s: float = 0.0
) -> DownloadError:
    """Say what a status other than success means.

    `code` is Hugging Face's X-Error-Code, `page` where the repository's licence is accepted, `with_token` whether a
    token was sent.
    """
    place = shown(url)
    if code == "GatedRepo" or (status in (401, 403) and page and code != "RepoNotFound"):
        return DownloadError(
            f"{place} is only for those who accepted its licence ({status}).",
            f"Accept it at {page or 'its page'}, "
            + (
                "with the account that HF_TOKEN belongs to." if with_token else "then set HF_TOKEN to a token of yours."
            ),
        )
    if code == "RepoNotFound":
        return DownloadError(
            f"There is no repository at {page or place}, or it is private ({status}).",
            "Check its name" + ("." if with_token else "; for a private one set HF_TOKEN."),
        )
    if code == "RevisionNotFound":
        return DownloadError(f"{page or place} has no such revision ({status}).", "Use `main`, or a tag it lists.")
    if status in (401, 403, 407):
        return DownloadError(f"{place} may not be read ({status}).", "Open it in a browser to see who may.")
    if status in (404, 410):
        return DownloadError(f"There is no file at {place} ({status}).", f"See what is there: {page or host_of(url)}.")
    if status in LATER or status >= FIRST_SERVER_ERROR:
        said = "has had too many requests from here" if status == TOO_MANY else "has a fault of its own"
        return Broken(f"{host_of(url)} {said} ({status}).", f"Try again later. {GO_ON}", wait_s=wait_s)
    return DownloadError(f"{place} was answered with status {status}, not with a file.", "Check the address.")


def not_a_file(url: str, what: str) -> DownloadError:
    """Say that the server sent something that is no model."""
    return DownloadError(
        f"{shown(url)} is {what}, not a model file.",
        "Give the address of the file itself: on Hugging Face it holds `/resolve/`, not `/blob/` or `/raw/`.",
    )


def wrong_size(url: str, found_bytes: int, expected_bytes: int) -> DownloadError:
    """Say that the file on offer cannot be the one that is wanted."""
    return DownloadError(
        f"{shown(url)} has {found_bytes} bytes, not {expected_bytes}.",
        "The file was replaced, or the server is wrong: compare with the model's page before fetching it.",
    )
