"""Files on Hugging Face, or a mirror of it: their addresses, and the token that opens gated ones.

The variables are those of Hugging Face's own tools (its documentation of environment variables): HF_ENDPOINT; HF_TOKEN,
else the file HF_TOKEN_PATH, else HF_HOME/token.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, urlsplit

from cagchat.errors import ConfigError, UsageError
from cagchat.models.download.source import (
    Source,
    check_name,
    check_sha256,
    check_url,
    from_url,
    is_this_machine,
    origin,
)

ENDPOINT = "https://huggingface.co"
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
REVISION = re.compile(r"[\w][\w./-]*", re.ASCII)
FILE_PAGE = re.compile(r"/(?P<repository>[^/]+/[^/]+)/(?:blob|raw|resolve)/(?P<revision>[^/]+)/(?P<file>.+)")
TOKEN_LIMIT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Hub:
    """Where repositories are; `token` is "" when the user has none."""

    endpoint: str = ENDPOINT
    token: str = field(default="", repr=False)

    def file(
        self, repository: str, file: str, *, revision: str = "main", sha256: str = "", size_bytes: int = 0
    ) -> Source:
        """Return a file of a repository ("owner/name"). Raises `UsageError` for names that none can have."""
        if REPOSITORY.fullmatch(repository) is None or ".." in repository:
            raise UsageError(f"{repository!r} is not the name of a repository.", "Give it as OWNER/NAME.")
        if REVISION.fullmatch(revision) is None or ".." in revision:
            raise UsageError(f"{revision!r} is not the name of a revision.", "Give a branch, a tag or a commit.")
        if ".." in file.split("/"):
            raise UsageError(f"{file!r} is not the name of a file in a repository.", "Name it as its page does.")
        page = f"{self.endpoint}/{repository}"
        url = f"{page}/resolve/{quote(revision, safe='')}/{quote(file)}"
        check_url(url, trusted=bool(sha256))
        return Source(
            url,
            check_name(file.rpartition("/")[2]),
            check_sha256(sha256),
            size_bytes,
            token=self.token if may_carry(url) else "",
            page=page,
        )

    def address(self, url: str, *, sha256: str = "", size_bytes: int = 0) -> Source:
        """Return the file at any address; the page of a file on this hub leads to the file itself."""
        if origin(url) == origin(self.endpoint):
            match = FILE_PAGE.fullmatch(urlsplit(url).path.removeprefix(urlsplit(self.endpoint).path))
            if match:
                path = url.partition("?")[0].replace("/blob/", "/resolve/", 1).replace("/raw/", "/resolve/", 1)
                page = f"{self.endpoint}/{match['repository']}"
                found = from_url(path, sha256=sha256, size_bytes=size_bytes)
                return replace(found, token=self.token if may_carry(path) else "", page=page)
        return from_url(url, sha256=sha256, size_bytes=size_bytes)


def find_hub(environ: Mapping[str, str] = os.environ) -> Hub:
    """Return the hub that the environment names, with the user's token. Raises `ConfigError` for a bad address."""
    endpoint = environ.get("HF_ENDPOINT", "").strip().rstrip("/") or ENDPOINT
    if not re.fullmatch(r"https?://[^/@?#\s]+(/[^@?#\s]*)?", endpoint):
        raise ConfigError(f"HF_ENDPOINT is {endpoint}, which is not a web address.", f"Set it as {ENDPOINT}.")
    return Hub(endpoint, find_token(environ))


def find_token(environ: Mapping[str, str]) -> str:
    """Return the user's token from the environment or the file that Hugging Face's tools keep, else ""."""
    token = environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN") or stored_token(environ)
    token = token.strip()
    return token if token.isascii() and token.isprintable() and " " not in token else ""


def stored_token(environ: Mapping[str, str]) -> str:
    """Return what the token file holds, "" when there is none that can be read."""
    cache = environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = environ.get("HF_HOME") or f"{cache}/huggingface"
    path = environ.get("HF_TOKEN_PATH") or f"{home}/token"
    if path.startswith("~/") and (user_home := environ.get("HOME")):
        path = f"{user_home}{path[1:]}"
    try:
        with Path(path).expanduser().open("rb") as file:
            return file.read(TOKEN_LIMIT_BYTES).decode()
    except (OSError, ValueError, RuntimeError):  # RuntimeError is expanduser's way to say that there is no home
        return ""


def may_carry(url: str) -> bool:
    """Tell whether a token may go to this address: only where nobody on the way can read it."""
    parts = urlsplit(url)
    return parts.scheme == "https" or is_this_machine(parts.hostname or "")
