"""Downloads from a server on this machine: what is fetched, gone on with, and given a name."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from random import Random
from struct import pack
from typing import Any

import pytest
from filelock import FileLock

from cagchat.errors import ModelError, Stopped, StorageError
from cagchat.models.download.events import (
    DownloadEvent,
    Fetched,
    Present,
    Receiving,
    Rehashing,
    Restarted,
    Retrying,
    Waiting,
)
from cagchat.models.download.fetch import Download, Retries
from cagchat.models.download.hub import Hub
from cagchat.models.download.network import Network, Proxies, Timeouts
from cagchat.models.download.refusals import DownloadError
from cagchat.models.download.source import Source, all_parts, from_url
from cagchat.models.download.verify import verify
from tests.models.lying_server import (
    Answerer,
    Conversation,
    Honest,
    LyingServer,
    chunked,
    drip,
    hub_redirect,
    in_turn,
    raw,
    redirect,
    status,
)

NAME = "tiny.gguf"
PATH = f"/files/{NAME}"
SIZE = 3_000_000
FREE = 1 << 40
TOKEN = "hf_secret"
IMPATIENT = Timeouts(connect_s=2.0, answer_s=0.3, stall_s=0.3)


def model_bytes(size: int = SIZE, seed: int = 0) -> bytes:
    """Return a sound GGUF without tensors, and noise behind its header."""
    key, value = b"general.architecture", b"llama"
    head = b"GGUF" + pack("<IQQ", 3, 0, 1) + pack("<Q", len(key)) + key + pack("<IQ", 8, len(value)) + value
    return head + Random(seed).randbytes(size - len(head))


CONTENT = model_bytes()
OTHER = model_bytes(seed=1)
SHA256 = sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[LyingServer]:
    with LyingServer() as server:
        yield server


@pytest.fixture
def storage() -> Iterator[LyingServer]:
    """A second server: where a hub keeps large files."""
    with LyingServer() as server:
        yield server


class Fetcher:
    """Downloads into a folder without waiting between attempts; remembers the waits and the events."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[DownloadEvent] = []
        self.slept: list[float] = []

    def __call__(self, *sources: Source, **options: Any) -> list[DownloadEvent]:
        self.events = []
        for event in self.download(*sources, **options).run():
            self.events.append(event)
        return self.events

    def download(self, *sources: Source, **options: Any) -> Download:
        options.setdefault("network", Network())
        return Download(sources, self.folder, **{"sleep": self.slept.append, "free_bytes": lambda _: FREE, **options})

    def refusal(self, *sources: Source, **options: Any) -> DownloadError:
        """Return why a download is refused; nothing may have got the name."""
        with pytest.raises(DownloadError) as caught:
            self(*sources, **options)
        assert caught.value.message.endswith(".")
        assert caught.value.hint.endswith(".")
        assert "\n" not in caught.value.message
        assert not any(self.folder.glob("*.gguf"))
        return caught.value

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def content(self) -> bytes:
        return (self.folder / NAME).read_bytes()

    @property
    def files(self) -> list[str]:
        """The names in the folder, without locks."""
        return sorted(path.name for path in self.folder.iterdir() if not path.name.endswith(".lock"))


@pytest.fixture
def fetch(tmp_path: Path) -> Fetcher:
    return Fetcher(tmp_path / "models")


def served(server: LyingServer, answer: Answerer, **known: Any) -> Source:
    """Return the source of a file that the server answers for in this way."""
    server.answers[PATH] = answer
    return replace(from_url(server.url(PATH)), **known)


def served_by_hub(hub: LyingServer, storage: LyingServer, content: bytes, stored: Honest) -> Source:
    """Return the source of a file whose hub sends on to the storage."""
    source = Hub(hub.url(""), TOKEN).file("owner/name", f"q4/{NAME}")
    hub.answers["/owner/name/resolve/main/q4/tiny.gguf"] = hub_redirect(storage.url("/blob?signed=x"), content)
    storage.answers["/blob?signed=x"] = stored
    return source


def test_a_file_is_fetched(server: LyingServer, fetch: Fetcher) -> None:
    """The bytes on disk are those that were served, and nothing else is left in the folder."""
    fetch(served(server, Honest(CONTENT)))
    assert fetch.content == CONTENT
    assert fetch.files == [NAME]
    assert fetch.of(Fetched) == [Fetched(fetch.folder / NAME, SIZE, SIZE, SHA256, proved=False)]


def test_files_are_private(server: LyingServer, fetch: Fetcher) -> None:
    """The folder and everything in it belong to their owner only, during the download and after."""
    for _ in fetch.download(served(server, Honest(CONTENT))).run():
        modes = {stat.S_IMODE(path.stat().st_mode) for path in fetch.folder.iterdir()}
        assert modes == {0o600}
    assert stat.S_IMODE(fetch.folder.stat().st_mode) == 0o700


def test_progress_is_told(server: LyingServer, fetch: Fetcher) -> None:
    """The bytes told grow up to all of them, and speed and remaining time follow from the clock that was given."""
    ticks = iter(range(10**6))
    fetch(served(server, Honest(CONTENT)), clock=lambda: float(next(ticks)))
    progress = fetch.of(Receiving)
    assert [event.done_bytes for event in progress] == sorted(event.done_bytes for event in progress)
    assert (progress[-1].done_bytes, progress[-1].total_bytes, progress[-1].remaining_s) == (SIZE, SIZE, 0)
    assert progress[-1].bytes_per_s > 0


def test_the_hub_knows_size_and_checksum(server: LyingServer, storage: LyingServer, fetch: Fetcher) -> None:
    """A file from Hugging Face is compared with the checksum that the hub told before the first byte."""
    fetch(served_by_hub(server, storage, CONTENT, Honest(CONTENT)))
    assert fetch.of(Fetched)[0].proved
    assert fetch.content == CONTENT


def test_the_token_stays_with_the_hub(server: LyingServer, storage: LyingServer, fetch: Fetcher) -> None:
    """The token is sent to the hub and to no server that the hub sends on to."""
    fetch(served_by_hub(server, storage, CONTENT, Honest(CONTENT)))
    assert server.asked[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert "authorization" not in storage.asked[0].headers


def test_the_token_does_not_come_back(server: LyingServer, storage: LyingServer, fetch: Fetcher) -> None:
    """A redirect to another server and back does not get the token a second time."""
    source = served_by_hub(server, storage, CONTENT, Honest(CONTENT))
    storage.answers["/blob?signed=x"] = redirect(server.url("/back"))
    server.answers["/back"] = Honest(CONTENT)
    fetch(source)
    assert "authorization" not in server.asked[1].headers


def test_only_the_hub_vouches(server: LyingServer, storage: LyingServer, fetch: Fetcher) -> None:
    """A server that a download was sent on to cannot say what checksum is expected."""
    storage.answers["/x"] = Honest(CONTENT, extra={"X_Linked_ETag": f'"{"0" * 64}"', "X_Linked_Size": 5})
    fetch(served(server, redirect(storage.url("/x"))))
    assert not fetch.of(Fetched)[0].proved


def test_a_cut_is_gone_on_from(server: LyingServer, fetch: Fetcher) -> None:
    """After a cut only the rest is asked for, on condition that the file is the same, and no byte is sent twice."""
    fetch(served(server, Honest(CONTENT, cuts=[1_250_000])))
    first, second = server.asked
    assert (first.start, second.start) == (0, 1_250_000)
    assert second.headers["if-range"] == '"first"'
    assert sum(first.sent) + sum(second.sent) == SIZE
    assert fetch.content == CONTENT
    assert fetch.of(Fetched)[0].sha256 == SHA256


def test_many_cuts_that_bring_much_are_no_failures(server: LyingServer, fetch: Fetcher) -> None:
    """A connection that brings a good piece each time may break more often than attempts are allowed."""
    fetch(served(server, Honest(CONTENT, cuts=[1 << 20, 1 << 20])), retries=Retries(attempts=2))
    assert [asked.start for asked in server.asked] == [0, 1 << 20, 2 << 20]
    assert fetch.content == CONTENT


def test_another_day_goes_on(server: LyingServer, fetch: Fetcher) -> None:
    """A stopped download is gone on with by another one: what is there is hashed, and only the rest is asked for."""
    source = served(server, Honest(CONTENT))
    first = fetch.download(source)
    with pytest.raises(Stopped):
        for event in first.run():
            if isinstance(event, Receiving):
                first.stop()
    there = (fetch.folder / f"{NAME}.part").stat().st_size
    assert 0 < there < SIZE
    fetch(source)
    assert server.asked[-1].start == there
    assert server.asked[-1].sent == [SIZE - there]
    assert fetch.of(Rehashing)[-1].done_bytes == there
    assert fetch.of(Fetched) == [Fetched(fetch.folder / NAME, SIZE, SIZE - there, SHA256, proved=False)]
    assert fetch.content == CONTENT


def leave_part(fetch: Fetcher, source: Source, content: bytes, *, etag: str = '"first"', sha: str = "") -> None:
    """Write what a download that was ended by force leaves."""
    fetch.folder.mkdir()
    (fetch.folder / f"{NAME}.part").write_bytes(content)
    record = {"format": 1, "url": source.url, "etag": etag, "size_bytes": SIZE, "sha256": sha}
    (fetch.folder / f"{NAME}.part.json").write_text(json.dumps(record))


def test_a_complete_part_needs_no_server(server: LyingServer, fetch: Fetcher) -> None:
    """A download that ended between its last byte and its name is finished without a request."""
    source = served(server, Honest(CONTENT))
    leave_part(fetch, source, CONTENT)
    fetch(source)
    assert server.asked == []
    assert fetch.content == CONTENT


def test_the_same_content_elsewhere_is_gone_on_with(server: LyingServer, storage: LyingServer, fetch: Fetcher) -> None:
    """When the hub names the same checksum, the rest may come from a place with tags of its own."""
    source = served_by_hub(server, storage, CONTENT, Honest(CONTENT, etag='"elsewhere"'))
    leave_part(fetch, source, CONTENT[:1000], etag='"here"', sha=SHA256)
    fetch(source)
    assert storage.asked[0].headers["range"] == "bytes=1000-"
    assert "if-range" not in storage.asked[0].headers
    assert fetch.content == CONTENT


def test_a_changed_checksum_begins_anew(server: LyingServer, storage: LyingServer, fetch: Fetcher) -> None:
    """When the hub names another checksum than before, nothing of the old file is kept."""
    source = served_by_hub(server, storage, CONTENT, Honest(CONTENT, etag='"first"'))
    leave_part(fetch, source, OTHER[:1000], sha=sha256(OTHER).hexdigest())
    fetch(source)
    assert "changed" in fetch.of(Restarted)[0].reason
    assert fetch.content == CONTENT


def test_a_changed_tag_begins_anew(server: LyingServer, fetch: Fetcher) -> None:
    """A file that was replaced since the download began is fetched from its beginning, and that is said."""
    source = served(server, Honest(CONTENT, etag='"second"'))
    leave_part(fetch, source, OTHER[:1000])
    fetch(source)
    assert "changed" in fetch.of(Restarted)[0].reason
    assert server.requests == [f"GET {PATH}"]
    assert fetch.content == CONTENT


def test_ignored_ranges_begin_anew(server: LyingServer, fetch: Fetcher) -> None:
    """A server that sends everything to one who asks for the rest is believed, and that is said."""
    source = served(server, Honest(CONTENT, ranges=False))
    leave_part(fetch, source, OTHER[:1000])
    fetch(source)
    assert "only as a whole" in fetch.of(Restarted)[0].reason
    assert fetch.content == CONTENT


def test_a_server_without_ranges_is_not_asked_for_ever(server: LyingServer, fetch: Fetcher) -> None:
    """A server that breaks off each time and always begins anew is given up, however much it brings."""
    source = served(server, Honest(CONTENT, ranges=False, cuts=[2_000_000] * 9))
    assert "broke off after 2000000 of 3000000 bytes" in fetch.refusal(source, retries=Retries(attempts=3)).message
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    "content_range",
    [
        "",
        "bytes 0-2999999/3000000",
        "bytes 2000-2999999/3000000",
        "bytes 1000-2999998/2999999",
        "bytes 1000-500/3000000",
        "bytes 1000-2999999/*",
        "pages 1-2/3",
    ],
)
def test_lying_ranges_begin_anew(server: LyingServer, fetch: Fetcher, content_range: str) -> None:
    """An answer about other bytes than were asked for is thrown away, and the whole file is asked for."""

    def lies(conversation: Conversation) -> None:
        conversation.say(206, CONTENT[1000:], Content_Range=content_range, ETag='"first"')

    source = served(server, in_turn(lies, Honest(CONTENT)))
    leave_part(fetch, source, CONTENT[:1000])
    fetch(source)
    assert len(fetch.of(Restarted)) == 1
    assert [asked.start for asked in server.asked] == [1000, 0]
    assert fetch.content == CONTENT


def test_another_tag_on_the_rest_begins_anew(server: LyingServer, fetch: Fetcher) -> None:
    """A rest that comes with another tag is not appended, though If-Range forbade to send it."""
    honest = Honest(CONTENT, etag='"second"')
    lies = Honest(OTHER, etag='"first"', extra={"ETag": '"second"'})
    source = served(server, in_turn(lies, honest))
    leave_part(fetch, source, CONTENT[:1000])
    fetch(source)
    assert "changed" in fetch.of(Restarted)[0].reason
    assert fetch.content == CONTENT


def test_a_shrunken_file_begins_anew(server: LyingServer, fetch: Fetcher) -> None:
    """A server that has no bytes where the part ends is asked for the whole file."""
    source = served(server, in_turn(status(416), Honest(CONTENT)))
    leave_part(fetch, source, CONTENT[:1000])
    fetch(source)
    assert len(fetch.of(Restarted)) == 1
    assert fetch.content == CONTENT


@pytest.mark.parametrize("etag", ["", 'W/"first"', "first"])
def test_without_a_strong_tag_nothing_is_appended(server: LyingServer, fetch: Fetcher, etag: str) -> None:
    """When nothing says that the rest is of the same file, a broken download begins anew, and that is said."""
    fetch(served(server, Honest(CONTENT, etag=etag, cuts=[1_500_000])))
    assert [asked.start for asked in server.asked] == [0, 0]
    assert len(fetch.of(Restarted)) == 1
    assert fetch.content == CONTENT


def test_a_known_checksum_is_enough_to_go_on(server: LyingServer, fetch: Fetcher) -> None:
    """When the checksum is known beforehand, a server without tags is asked for the rest."""
    fetch(served(server, Honest(CONTENT, etag="", cuts=[1_500_000]), sha256=SHA256))
    assert [asked.start for asked in server.asked] == [0, 1_500_000]
    assert fetch.content == CONTENT


@pytest.mark.parametrize("record", [b"", b"[]", b"{", b'{"format": 1, "url": 5}', b"[" * 50_000])
def test_a_damaged_record_begins_anew(server: LyingServer, fetch: Fetcher, record: bytes) -> None:
    """A part of which nothing is known is not gone on with."""
    source = served(server, Honest(CONTENT))
    leave_part(fetch, source, OTHER[:1000])
    (fetch.folder / f"{NAME}.part.json").write_bytes(record)
    fetch(source)
    assert server.asked[0].start == 0
    assert fetch.content == CONTENT


def test_a_part_of_another_address_begins_anew(server: LyingServer, fetch: Fetcher) -> None:
    """What was begun from one address is not completed from another."""
    source = served(server, Honest(CONTENT))
    leave_part(fetch, replace(source, url=server.url("/else")), OTHER[:1000])
    fetch(source)
    assert fetch.content == CONTENT


def test_chunks_without_a_length_are_taken(server: LyingServer, fetch: Fetcher) -> None:
    """A body in chunks is complete at its last chunk; until then nobody knows how much it is."""
    fetch(served(server, chunked(CONTENT)))
    assert fetch.of(Receiving)[0].total_bytes is None
    assert fetch.content == CONTENT


def test_a_missing_length_is_taken(server: LyingServer, fetch: Fetcher) -> None:
    """A body without a length ends with the connection."""
    fetch(served(server, lambda conversation: conversation.say(200, CONTENT, Content_Length="")))
    assert fetch.content == CONTENT


def test_a_busy_server_is_asked_again(server: LyingServer, fetch: Fetcher) -> None:
    """A fault of the server's own is waited out, at least as long as it asks for."""
    fetch(served(server, in_turn(status(503), status(429, Retry_After=7), Honest(CONTENT))))
    assert [(event.attempt, event.wait_s) for event in fetch.of(Retrying)] == [(1, 1.0), (2, 7.0)]
    assert sum(fetch.slept) == pytest.approx(8.0)


def test_attempts_are_bounded(server: LyingServer, fetch: Fetcher) -> None:
    """A server that never gets better is given up after a number of attempts with growing waits."""
    refused = fetch.refusal(served(server, status(500)), retries=Retries(attempts=4, most_wait_s=3.0))
    assert "(500)" in refused.message
    assert [event.wait_s for event in fetch.of(Retrying)] == [1.0, 2.0, 3.0]
    assert len(server.asked) == 4


REFUSED: list[tuple[Callable[[], Answerer], dict[str, Any], str]] = [
    (lambda: status(404), {}, "There is no file at"),
    (lambda: status(401), {}, "may not be read (401)"),
    (lambda: status(403), {"page": "https://h/o/n"}, "licence (403)"),
    (lambda: status(401, X_Error_Code="GatedRepo"), {"page": "https://h/o/n"}, "licence (401)"),
    (lambda: status(401, X_Error_Code="RepoNotFound"), {"page": "https://h/o/n"}, "no repository at https://h/o/n"),
    (lambda: status(404, X_Error_Code="RevisionNotFound"), {"page": "https://h/o/n"}, "no such revision"),
    (lambda: status(418), {}, "status 418"),
    (lambda: status(204), {}, "status 204"),
    (lambda: Honest(b"<!DOCTYPE html>" * 99, extra={"Content_Type": "text/html; charset=utf-8"}), {}, "is a web page"),
    (lambda: Honest(b"\n<html>" * 99), {}, "is a web page"),
    (lambda: Honest(b"version https://git-lfs.github.com/spec/v1\n"), {}, "is a pointer to a large file"),
    (lambda: Honest(b"PK\x03\x04" * 99), {}, "begins with b'PK"),
    (lambda: Honest(b""), {}, "is empty"),
    (lambda: Honest(CONTENT, extra={"Content_Encoding": "gzip"}), {}, "was sent packed (gzip)"),
    (lambda: Honest(CONTENT), {"size_bytes": SIZE + 1}, "has 3000000 bytes, not 3000001"),
    (lambda: Honest(CONTENT), {"size_bytes": SIZE - 1}, "has 3000000 bytes, not 2999999"),
    (lambda: chunked(CONTENT), {"size_bytes": SIZE - 1}, "not 2999999"),
    (lambda: Honest(CONTENT, extra={"X_Linked_ETag": f'"{"0" * 64}"'}), {"sha256": SHA256}, "has the SHA-256 0000"),
    (lambda: redirect(PATH), {}, "leads in a circle"),
    (lambda: redirect(""), {}, "redirects to no usable address"),
    (lambda: redirect("file:///etc/passwd"), {}, "redirects to no usable address"),
    (lambda: redirect("http://[::1"), {}, "redirects to no usable address"),
    (lambda: redirect("http://192.0.2.1/x.gguf"), {}, "redirects to no usable address"),
    (lambda: lambda c: c.say(206, CONTENT, Content_Range="bytes 0-9/99"), {}, "was sent in part"),
    (lambda: raw(b"SSH-2.0-OpenSSH_9.9\r\n"), {}, "does not answer as a web server does"),
    (lambda: raw(b"HTTP/1.1 200 OK\r\n", *[b"X-%d: y\r\n" % i for i in range(5000)]), {}, "as a web server does"),
    (lambda: raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000), {}, "as a web server does"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "known", "said"), REFUSED, ids=[f"{i}-{case[2]}" for i, case in enumerate(REFUSED)])
def test_lies_are_refused(
    server: LyingServer, fetch: Fetcher, answer: Callable[[], Answerer], known: dict[str, Any], said: str
) -> None:
    """What can be no model, or not the one that is wanted, is refused at once in one line, and only asked for once."""
    assert said in fetch.refusal(served(server, answer(), **known)).message
    assert fetch.of(Retrying) == []


def test_storage_knows_of_no_licence(server: LyingServer, storage: LyingServer, fetch: Fetcher) -> None:
    """A refusal by the server that the hub sends on to is told as its own, and not as one about a licence."""
    source = served_by_hub(server, storage, CONTENT, Honest(CONTENT))
    storage.answers["/blob?signed=x"] = status(403)
    assert fetch.refusal(source).message == f"{storage.url('/blob')} may not be read (403)."


def test_long_chains_of_redirects_are_refused(server: LyingServer, fetch: Fetcher) -> None:
    """A server that sends on without end is left after a number of redirects."""
    server.answers = {f"/{i}": redirect(f"/{i + 1}") for i in range(99)}
    assert "more than 10 times" in fetch.refusal(served(server, redirect("/0"))).message
    assert len(server.asked) == 11


def test_another_checksum_is_set_aside(server: LyingServer, fetch: Fetcher) -> None:
    """A file with another checksum than expected gets no name, and does not stand in the way of the next download."""
    refused = fetch.refusal(served(server, Honest(OTHER), sha256=SHA256))
    assert "its SHA-256 is" in refused.message
    assert fetch.files == [f"{NAME}.damaged"]
    fetch(served(server, Honest(CONTENT), sha256=SHA256))
    assert fetch.content == CONTENT


def test_a_damaged_model_is_set_aside(server: LyingServer, fetch: Fetcher) -> None:
    """A file that begins like a GGUF but is none gets no name."""
    refused = fetch.refusal(served(server, Honest(CONTENT[:30])))
    assert "cut short" in refused.message
    assert fetch.files == [f"{NAME}.damaged"]


def test_bytes_after_the_length_are_not_taken(server: LyingServer, fetch: Fetcher) -> None:
    """What a server sends after the length it told is no part of the file."""
    fetch(served(server, Honest(CONTENT + b"more", extra={"Content_Length": SIZE}), sha256=SHA256))
    assert fetch.content == CONTENT


@pytest.mark.parametrize(
    ("before", "drop"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\n", b"X"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["silence", "one byte", "one header", "continue"],
)
def test_slow_headers_are_not_waited_for(server: LyingServer, fetch: Fetcher, before: bytes, drop: bytes) -> None:
    """Headers that never end are given up in the time allowed, however busy the server seems."""
    source = served(server, drip(before, drop))
    refused = fetch.refusal(source, network=Network(timeouts=IMPATIENT))
    assert "did not answer in time" in refused.message or "as a web server does" in refused.message


def test_slow_bodies_are_broken_connections(server: LyingServer, fetch: Fetcher) -> None:
    """A body that comes byte by byte is given up in the time allowed, and gone on with by another connection."""
    length = b'HTTP/1.1 200 OK\r\nETag: "first"\r\nContent-Length: %d\r\n\r\n' % SIZE
    source = served(server, in_turn(drip(length + CONTENT[:5000], b"x"), Honest(CONTENT)))
    fetch(source, network=Network(timeouts=IMPATIENT))
    assert "sent next to nothing for 0.3 s" in fetch.of(Retrying)[0].reason
    assert server.asked[1].start >= 5000


def test_a_stop_ends_waiting_for_a_server(server: LyingServer, fetch: Fetcher) -> None:
    """A stop from another thread ends a download that waits for a silent server."""
    asked = threading.Event()

    def silent(conversation: Conversation) -> None:
        asked.set()
        drip(b"", b"")(conversation)

    def stop() -> None:
        asked.wait()
        download.stop()

    download = fetch.download(served(server, silent))
    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(Stopped):
        list(download.run())
    stopper.join()


def test_a_stop_ends_the_wait_between_attempts(server: LyingServer, fetch: Fetcher) -> None:
    """A stop while waiting for the next attempt is heard there."""
    download = fetch.download(served(server, status(500)))
    with pytest.raises(Stopped):
        for event in download.run():
            assert isinstance(event, Retrying)
            download.stop()
    assert fetch.slept == []


def test_refused_connections_are_offline(server: LyingServer, fetch: Fetcher) -> None:
    """An address where nobody listens is refused at once, without attempts."""
    with LyingServer() as gone:
        url = gone.url(PATH)
    assert "refuses connections" in fetch.refusal(from_url(url)).message
    assert fetch.of(Retrying) == []


def test_a_network_that_goes_away_is_waited_for(server: LyingServer, fetch: Fetcher) -> None:
    """Once something came, a server that cannot be reached any more is a broken connection."""
    with LyingServer() as goes:
        source = served(goes, Honest(CONTENT, cuts=[1_500_000]))
        download = fetch.download(source, retries=Retries(attempts=3))
        events = download.run()
        while not isinstance(next(events), Retrying):
            pass
    with pytest.raises(DownloadError, match="refuses connections"):
        list(events)
    assert (fetch.folder / f"{NAME}.part").stat().st_size == 1_500_000


def test_plain_http_behind_tls_is_named(server: LyingServer, fetch: Fetcher) -> None:
    """A server that does not speak TLS where it should is refused in one line."""
    assert "does not speak TLS" in fetch.refusal(from_url(f"https://{server.host}{PATH}")).message


def test_requests_go_through_the_proxy(server: LyingServer, fetch: Fetcher) -> None:
    """With a proxy, the whole address is asked of it, with the proxy's own user and password."""
    url = "http://127.0.0.9/tiny.gguf"
    server.answers[url] = Honest(CONTENT)
    fetch(from_url(url), network=Network(Proxies({"http": f"http://me:pass@{server.host}"})))
    assert server.asked[0].headers["proxy-authorization"] == "Basic bWU6cGFzcw=="
    assert server.asked[0].headers["host"] == "127.0.0.9"
    assert fetch.content == CONTENT


def test_a_proxy_that_refuses_is_named(server: LyingServer, fetch: Fetcher) -> None:
    """A proxy that does not let a connection through is named with its answer, without user and password."""
    server.answers["h.example:443"] = status(407)
    network = Network(Proxies({"https": f"http://me:secret@{server.host}"}))
    refused = fetch.refusal(from_url("https://h.example/m.gguf"), network=network)
    assert refused.message.startswith(f"The proxy {server.host} refused: 407")
    assert server.requests == ["CONNECT h.example:443"]


def test_a_full_disk_is_noticed_before_the_first_byte(server: LyingServer, fetch: Fetcher) -> None:
    """A file that does not fit on the disk is refused with both sizes before anything is written."""
    with pytest.raises(StorageError, match=r"needs 0.00 GB more and the disk has 0.10 GB free"):
        fetch(served(server, Honest(CONTENT)), free_bytes=lambda _: 100_000_000)
    assert fetch.files == []


def test_an_endless_body_ends_at_the_disk(server: LyingServer, fetch: Fetcher) -> None:
    """A body of unknown length is written only as long as the disk has space to spare."""
    spare = (256 << 20) + 1_000_000
    with pytest.raises(StorageError, match="cannot hold"):
        fetch(served(server, chunked(CONTENT)), free_bytes=lambda _: spare)
    assert (fetch.folder / f"{NAME}.part").stat().st_size == 1_000_000


def parts_of(server: LyingServer, contents: list[bytes]) -> tuple[Source, ...]:
    """Return the sources of a split model of which the server has the parts."""
    for number, content in enumerate(contents, 1):
        server.answers[f"/m-{number:05d}-of-{len(contents):05d}.gguf"] = Honest(content)
    return all_parts(from_url(server.url(f"/m-00001-of-{len(contents):05d}.gguf")))


def test_split_models_are_fetched_whole(server: LyingServer, fetch: Fetcher) -> None:
    """All parts of a split model are fetched, and the progress is over all of them."""
    contents = [model_bytes(1000 + seed, seed) for seed in range(3)]
    fetch(*parts_of(server, contents))
    assert fetch.files == [f"m-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    assert [(fetch.folder / name).read_bytes() for name in fetch.files] == contents
    last = fetch.of(Receiving)[-1]
    assert (last.part, last.n_parts, last.done_bytes, last.total_bytes) == (3, 3, 3003, 3003)


def test_space_for_all_parts_is_asked_for(server: LyingServer, fetch: Fetcher) -> None:
    """A disk that holds the first part of a split model but not all is refused before the first byte."""
    sources = parts_of(server, [model_bytes(1000), CONTENT])
    with pytest.raises(StorageError):
        fetch(*sources, free_bytes=lambda _: (256 << 20) + 100_000)
    assert fetch.files == []


def test_parts_that_are_there_are_kept(server: LyingServer, fetch: Fetcher) -> None:
    """Of a split model, only the parts that are missing are fetched."""
    sources = parts_of(server, [model_bytes(1000, seed) for seed in range(2)])
    fetch(sources[0])
    fetch(*sources)
    assert fetch.of(Present) == [Present(fetch.folder / sources[0].name, 1000)]
    assert server.requests.count(f"GET /{sources[0].name}") == 1


def test_a_file_that_is_there_is_not_fetched(server: LyingServer, fetch: Fetcher) -> None:
    """A model that is on disk needs no server."""
    source = served(server, Honest(CONTENT))
    fetch(source)
    server.asked.clear()
    assert fetch(source) == [Present(fetch.folder / NAME, SIZE)]
    assert server.asked == []


def test_another_file_of_that_name_is_not_overwritten(server: LyingServer, fetch: Fetcher) -> None:
    """A file of another size under the name is left as it is, and the download refused."""
    fetch(served(server, Honest(CONTENT)))
    with pytest.raises(DownloadError, match="is there already, with 3000000 bytes and not 5"):
        fetch(served(server, Honest(CONTENT), size_bytes=5))
    assert fetch.content == CONTENT


def test_two_downloads_of_a_file_take_turns(server: LyingServer, fetch: Fetcher) -> None:
    """While another process holds the file's lock, a download says so once, and goes on when it is free."""
    source = served(server, Honest(CONTENT))
    fetch.folder.mkdir()
    other = FileLock(fetch.folder / f".{NAME}.lock")
    other.acquire()
    events = fetch.download(source).run()
    assert next(events) == Waiting(fetch.folder / NAME)
    other.release()
    rest = list(events)
    assert not any(isinstance(event, Waiting) for event in rest)
    assert fetch.content == CONTENT


def test_verify_returns_the_checksum(tmp_path: Path) -> None:
    """The checksum of a file is returned, compared in either case, and its progress told up to the last byte."""
    path = tmp_path / NAME
    path.write_bytes(CONTENT)
    told: list[tuple[int, int]] = []
    assert verify(path, SHA256.upper(), lambda done, total: told.append((done, total))) == SHA256
    assert told[-1] == (SIZE, SIZE)


def test_verify_refuses_another_file(tmp_path: Path) -> None:
    """A file with another checksum is refused with both."""
    path = tmp_path / NAME
    path.write_bytes(OTHER)
    with pytest.raises(ModelError, match=f"not {SHA256[:12]}"):
        verify(path, SHA256)
