"""What a server's answer says about the file, and whether it is the answer to what was asked. No I/O.

A server is believed in nothing that can be compared: size with size, checksum with checksum, range with what was asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from cagchat.models.download.refusals import (
    DownloadError,
    not_a_file,
    refused_status,
    shown,
    wrong_size,
)
from cagchat.models.download.source import SHA256, Source, origin

WHOLE, PARTIAL, NO_SUCH_RANGE = 200, 206, 416
CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
DIGITS = re.compile(r"\d{1,18}")
MAX_WAIT_S = 60.0
CHANGED = "The file on the server changed since its first part was downloaded."


@dataclass(frozen=True, slots=True)
class Linked:
    """What Hugging Face says of a file while it sends us on to where it is stored; "" and None when it does not."""

    sha256: str = ""
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A response without its body; `length_bytes` is the body's, None when the server does not say."""

    url: str
    status: int
    length_bytes: int | None = None
    etag: str = ""
    content_range: str = ""
    content_type: str = ""
    content_encoding: str = ""
    error_code: str = ""
    retry_after: str = ""
    linked: Linked = Linked()


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a file whose beginning is on disk: enough to tell whether its rest is on offer.

    `etag` is a strong one or "", `sha256` one that was known before the first byte or "".
    """

    url: str
    etag: str = ""
    size_bytes: int | None = None
    sha256: str = ""

    @property
    def can_go_on(self) -> bool:
        """Tell whether another file's rest would be noticed."""
        return bool(self.etag or self.sha256)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The body belongs at byte `start`; `restarted` says in a sentence why that is 0 though more was asked for."""

    start: int
    record: Record
    restarted: str = ""


@dataclass(frozen=True, slots=True)
class AskAgain:
    """The body is of no use: ask for the whole file."""

    reason: str


def judge(answer: Answer, source: Source, before: Record, start: int) -> Accepted | AskAgain:
    """Decide what to do with the answer to a request for all bytes from `start` on.

    Raises `DownloadError` when it is no answer that a second request would better; `Broken` when it may.
    """
    if answer.status == NO_SUCH_RANGE and start:
        return AskAgain(f"The server has no bytes after {start}: its file changed.")
    if answer.status not in (WHOLE, PARTIAL):
        at_home = origin(answer.url) == origin(source.url)  # elsewhere, nobody knows of repositories and licences
        raise refused_status(
            answer.url,
            answer.status,
            code=answer.error_code if at_home else "",
            page=source.page if at_home else "",
            with_token=bool(source.token),
            wait_s=seconds(answer.retry_after),
        )
    check_kind(answer)
    sha256 = expected_sha256(answer, source)
    if answer.status == PARTIAL:
        return judge_rest(answer, source, before, start, sha256)
    size = expected_size(answer, source)
    now = Record(source.url, strong(answer.etag), size, sha256)
    if not start:
        return Accepted(0, now)
    return Accepted(0, now, CHANGED if differs(before, now) else "The server sends files only as a whole.")


def judge_rest(answer: Answer, source: Source, before: Record, start: int, sha256: str) -> Accepted | AskAgain:
    """Decide about an answer that claims to be the rest of a file."""
    match = CONTENT_RANGE.fullmatch(answer.content_range.strip())
    if not start:
        raise DownloadError(f"{shown(answer.url)} was sent in part though all was asked for.", "Try another server.")
    if match is None:
        return AskAgain("The server did not say which part of the file it sends.")
    first, last, total = map(int, match.groups())
    whole = wanted_size(answer, source)
    lies = first != start or not first <= last < total or answer.length_bytes not in (None, last - first + 1)
    if lies:
        return AskAgain(f"The server was asked for the bytes from {start} on and sent others.")
    now = Record(source.url, strong(answer.etag), total, sha256)
    # One content may be stored in several places, each with tags of its own: the hub's checksum outweighs them.
    pinned = answer.linked.sha256 != "" and answer.linked.sha256 == before.sha256
    if differs(before, replace(now, etag="") if pinned else now):
        return AskAgain(CHANGED)
    if whole is not None and total != whole:
        raise wrong_size(answer.url, total, whole)
    return Accepted(start, now)


def check_kind(answer: Answer) -> None:
    """Refuse a web page, and a body that was packed on the way."""
    if answer.content_type.lower().startswith(("text/html", "application/xhtml")):
        raise not_a_file(answer.url, "a web page")
    encoding = answer.content_encoding.strip().lower()
    if encoding not in ("", "identity"):
        raise DownloadError(
            f"{shown(answer.url)} was sent packed ({encoding[:20]}), which was not asked for.",
            "Something between here and the server changes files: try without the proxy.",
        )


def expected_sha256(answer: Answer, source: Source) -> str:
    """Return the checksum that the file must have, "" when nobody said."""
    if source.sha256 and answer.linked.sha256 not in ("", source.sha256):
        raise DownloadError(
            f"{shown(source.url)} has the SHA-256 {answer.linked.sha256[:12]}…, not {source.sha256[:12]}… as expected.",
            "The file was replaced: compare with the model's page, or name the revision that was meant.",
        )
    return source.sha256 or answer.linked.sha256


def wanted_size(answer: Answer, source: Source) -> int | None:
    """Return the size that the whole file must have, None when nobody said before."""
    linked = answer.linked.size_bytes
    if source.size_bytes and linked not in (None, source.size_bytes):
        raise wrong_size(source.url, linked or 0, source.size_bytes)
    return source.size_bytes or linked


def expected_size(answer: Answer, source: Source) -> int | None:
    """Return the size of a whole file; refuse one that is known to be another's."""
    wanted = wanted_size(answer, source)
    if wanted is not None and answer.length_bytes not in (None, wanted):
        raise wrong_size(answer.url, answer.length_bytes or 0, wanted)
    if answer.length_bytes == 0:
        raise not_a_file(answer.url, "empty")
    return answer.length_bytes if wanted is None else wanted


def differs(before: Record, now: Record) -> bool:
    """Tell whether two records are of different content, in anything that both know."""
    pairs = ((before.etag, now.etag), (before.sha256, now.sha256), (before.size_bytes, now.size_bytes))
    return any(one != other for one, other in pairs if one and other)


def strong(etag: str) -> str:
    """Return an entity tag that promises the same bytes, "" for a weak one (RFC 9110, 8.8.1)."""
    return etag if re.fullmatch(r'"[\x21\x23-\x7e]{1,200}"', etag) else ""


def linked_of(etag: str, size: str) -> Linked:
    """Return what X-Linked-ETag and X-Linked-Size say; the tag of a large file is its SHA-256."""
    sha256 = etag.removeprefix("W/").strip('"').lower()
    return Linked(
        sha256 if SHA256.fullmatch(sha256) else "", int(size) if DIGITS.fullmatch(size) and int(size) > 0 else None
    )


def seconds(retry_after: str) -> float:
    """Return how long a server asks us to wait, 0 when it does not say or names a date."""
    return min(MAX_WAIT_S, float(retry_after)) if DIGITS.fullmatch(retry_after) else 0.0
