"""One file to fetch: its address, its name on disk, and what is known of it before."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from urllib.parse import quote, unquote, urlsplit

from cagchat.errors import UsageError
from cagchat.models.download.refusals import shown
from cagchat.models.gguf import PART_NAME

SHA256 = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[^\x00-\x1f/\\:.][^\x00-\x1f/\\:]{0,200}\.gguf")  # neither hidden nor a path, on any platform
IN_URL = re.compile(r"-\d{5}-of-(?=\d{5}\.gguf(?:\?|$))")  # the number in the address of a part
HOST = re.compile(r"[a-z0-9_.-]{1,253}|[0-9a-f:.]{2,45}")
URL_SAFE = "%/:=&?~#+!$,;'@()*[]"
MAX_PARTS = 999
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Source:
    """A file on a server; `sha256` (hexadecimal) and `size_bytes` are "" and 0 when unknown.

    `token` goes to the address's own server and nowhere else; `page` is where people read about the file.
    """

    url: str
    name: str
    sha256: str = ""
    size_bytes: int = 0
    token: str = field(default="", repr=False)
    page: str = ""


def from_url(url: str, *, sha256: str = "", size_bytes: int = 0) -> Source:
    """Return the file at an address. Raises `UsageError` when it cannot be one that we fetch."""
    url = quoted(url)
    name = unquote(check_url(url, trusted=bool(sha256)).rpartition("/")[2])
    return Source(url, check_name(name), check_sha256(sha256), size_bytes)


def quoted(url: str) -> str:
    """Return an address as it may be sent: what is not ASCII or a space escaped, and no fragment."""
    return quote(url.strip(), safe=URL_SAFE).partition("#")[0]


def check_url(url: str, *, trusted: bool) -> str:
    """Return the path of an address; plain http only from this machine, or `trusted` when a checksum is known."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        host.encode("idna")  # what looking up its name does: labels may be too long
    except ValueError as error:  # UnicodeError is one
        raise UsageError(f"{url!r} is not a web address.", "Give one as https://HOST/PATH/NAME.gguf.") from error
    if parts.scheme not in DEFAULT_PORTS or HOST.fullmatch(host) is None:
        raise UsageError(f"{shown(url)} is not a web address.", "Give one as https://HOST/PATH/NAME.gguf.")
    if parts.username is not None:
        raise UsageError(f"{shown(url)} was given with a user name, which is not sent.", "Leave out what is before @.")
    if parts.scheme == "http" and not trusted and not is_this_machine(host):
        raise UsageError(
            f"{shown(url)} would come unprotected, so that anyone on the way could change it.",
            "Use https, or give the file's SHA-256.",
        )
    return parts.path


def check_name(name: str) -> str:
    """Return a file name that is safe to write in a folder."""
    if NAME.fullmatch(name) is None:
        raise UsageError(f"{name!r} is not the name of a model file.", "Name a file that ends in .gguf.")
    return name


def check_sha256(sha256: str) -> str:
    """Return a checksum in lower case."""
    lower = sha256.lower()
    if sha256 and SHA256.fullmatch(lower) is None:
        raise UsageError(f"{sha256!r} is not a SHA-256.", "Give its 64 hexadecimal digits.")
    return lower


def all_parts(source: Source, sha256s: Sequence[str] = ()) -> tuple[Source, ...]:
    """Return a source for every part of a split model, in order; only this one for a whole model.

    `sha256s` are those of the parts in order; without them, that of the named part stays with it.
    """
    match = PART_NAME.fullmatch(source.name)
    if match is None:
        return (source,)
    count = int(match["count"])
    if not 0 < count <= MAX_PARTS:
        raise UsageError(f"{source.name} would be one of {count} parts.", "Check the name.")
    if sha256s and len(sha256s) != count:
        raise UsageError(f"{source.name} has {count} parts and {len(sha256s)} checksums.", "Give one for each part.")
    parts = []
    for number in range(1, count + 1):
        name = f"{match['stem']}-{number:05d}-of-{count:05d}.gguf"
        part = source if name == source.name else replace(source, name=name, sha256="", size_bytes=0)
        part = replace(part, url=IN_URL.sub(f"-{number:05d}-of-", source.url))
        parts.append(replace(part, sha256=check_sha256(sha256s[number - 1])) if sha256s else part)
    return tuple(parts)


def origin(url: str) -> tuple[str, str, int]:
    """Return what decides whether two addresses are the same server: scheme, host, port."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or DEFAULT_PORTS.get(parts.scheme, 0)


def is_this_machine(host: str) -> bool:
    """Tell whether a host's name or address is always this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
