"""Where downloads come from: addresses, the hub, tokens, proxies, parts, and what a connection's errors are called."""

from __future__ import annotations

import socket
import ssl
from http.client import RemoteDisconnected
from pathlib import Path

import pytest

from cagchat.errors import ConfigError, UsageError
from cagchat.models.download.hub import ENDPOINT, Hub, find_hub
from cagchat.models.download.network import Proxies, find_proxies, next_url
from cagchat.models.download.pace import WINDOW_S, Pace
from cagchat.models.download.refusals import Broken, DownloadError, shown, unreached
from cagchat.models.download.source import all_parts, from_url

SHA256 = "ab" * 32


def test_a_file_of_a_repository_has_an_address() -> None:
    """Repository, revision and file make the address that Hugging Face serves files at."""
    source = Hub().file("Owner/Some.Model-GGUF", "UD Q4/m-Q4_K.gguf", revision="refs/pr/1")
    assert source.url == "https://huggingface.co/Owner/Some.Model-GGUF/resolve/refs%2Fpr%2F1/UD%20Q4/m-Q4_K.gguf"
    assert source.name == "m-Q4_K.gguf"
    assert source.page == "https://huggingface.co/Owner/Some.Model-GGUF"


@pytest.mark.parametrize(
    ("repository", "file", "revision"),
    [
        ("name", "m.gguf", "main"),
        ("a/b/c", "m.gguf", "main"),
        ("a/..", "m.gguf", "main"),
        ("a b/c", "m.gguf", "main"),
        ("a/b", "../m.gguf", "main"),
        ("a/b", "m.safetensors", "main"),
        ("a/b", ".gguf", "main"),
        ("a/b", "m.gguf", "../x"),
        ("a/b", "m.gguf", ""),
    ],
)
def test_names_that_cannot_be_are_refused(repository: str, file: str, revision: str) -> None:
    """A name that no repository, file or revision can have is a mistake in the command."""
    with pytest.raises(UsageError):
        Hub().file(repository, file, revision=revision)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h.example/m.gguf",
        "m.gguf",
        "https:///m.gguf",
        "https://[::1/m.gguf",
        "https://h.example:99999/m.gguf",
        "https://a..b/m.gguf",
        f"https://{'a' * 64}.example/m.gguf",
        "https://h.example/m.bin",
        "https://h.example/",
        "https://h.example/..%2Fm.gguf",
        "https://h.example/a%00.gguf",
        "https://me:secret@h.example/m.gguf",
        "http://h.example/m.gguf",
        "https://münchen.example/m.gguf",
    ],
)
def test_addresses_that_cannot_be_are_refused(url: str) -> None:
    """An address that leads to no model file, or to one that could be changed on the way, is a mistake."""
    with pytest.raises(UsageError) as caught:
        from_url(url)
    assert "secret" not in caught.value.message


def test_plain_http_needs_a_checksum() -> None:
    """A file whose checksum is known may come over plain http."""
    assert from_url("http://mirror.example/m.gguf", sha256=SHA256).sha256 == SHA256


def test_pages_lead_to_their_files() -> None:
    """The page of a file on the hub, as a browser shows it, is the file; its token goes with it."""
    source = Hub(token="t").address("https://huggingface.co/o/n/blob/main/m.gguf?download=true#x")
    assert (source.url, source.token) == ("https://huggingface.co/o/n/resolve/main/m.gguf", "t")


def test_other_servers_get_no_token() -> None:
    """An address on another server has no token, nor has one on the hub over plain http."""
    assert Hub(token="t").address("https://other.example/o/n/resolve/main/m.gguf").token == ""
    assert Hub("http://mirror.example", "t").file("o/n", "m.gguf", sha256=SHA256).token == ""


def test_tokens_are_not_shown() -> None:
    """A token does not show when a hub or a source is printed."""
    hub = Hub(token="hf_secret")
    assert "hf_secret" not in repr((hub, hub.file("o/n", "m.gguf")))


def test_the_environment_names_the_hub(tmp_path: Path) -> None:
    """HF_ENDPOINT and HF_TOKEN are used as Hugging Face's own tools use them."""
    hub = find_hub({"HF_ENDPOINT": "https://mirror.example/hf/", "HF_TOKEN": " hf_a\n"})
    assert (hub.endpoint, hub.token) == ("https://mirror.example/hf", "hf_a")


def test_the_token_file_is_found(tmp_path: Path) -> None:
    """Without a variable, the token is read from the first of the files that Hugging Face's tools may keep it in."""
    home = tmp_path / ".cache" / "huggingface"
    home.mkdir(parents=True)
    (home / "token").write_text("hf_home\n")
    (tmp_path / "mine").write_text("hf_mine")
    user = {"HOME": str(tmp_path)}
    assert find_hub(user).token == "hf_home"
    assert find_hub({"HF_HOME": str(home)}).token == "hf_home"
    assert find_hub({"XDG_CACHE_HOME": str(tmp_path / ".cache")}).token == "hf_home"
    assert find_hub({**user, "HF_TOKEN_PATH": str(tmp_path / "mine")}).token == "hf_mine"
    assert find_hub({"HF_HOME": str(tmp_path / "none")}) == Hub(ENDPOINT, "")


@pytest.mark.parametrize("token", ["a b", "a\r\nX: y", "é"])
def test_tokens_that_break_headers_are_ignored(token: str) -> None:
    """What cannot stand in a header is no token."""
    assert find_hub({"HF_TOKEN": token}).token == ""


@pytest.mark.parametrize("endpoint", ["huggingface.co", "file:///x", "https://u@h.example", "https://h.example/?q"])
def test_bad_endpoints_are_named(endpoint: str) -> None:
    """An HF_ENDPOINT that is no web address is a mistake in the configuration."""
    with pytest.raises(ConfigError, match="HF_ENDPOINT"):
        find_hub({"HF_ENDPOINT": endpoint})


def test_parts_follow_from_any_of_them() -> None:
    """The name of one part gives the addresses of all, and a checksum stays with the part it was given for."""
    source = from_url("https://h.example/d/m%20x-00002-of-00003.gguf?signed=1", sha256=SHA256)
    parts = all_parts(source)
    assert [part.url for part in parts] == [
        f"https://h.example/d/m%20x-0000{number}-of-00003.gguf?signed=1" for number in (1, 2, 3)
    ]
    assert [part.name for part in parts] == [f"m x-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    assert [part.sha256 for part in parts] == ["", SHA256, ""]


def test_each_part_has_its_checksum() -> None:
    """Checksums for a split model are given in the order of its parts, one for each."""
    source = from_url("https://h.example/m-00001-of-00002.gguf")
    assert [part.sha256 for part in all_parts(source, ["ab" * 32, "cd" * 32])] == ["ab" * 32, "cd" * 32]
    with pytest.raises(UsageError, match="2 parts and 1 checksums"):
        all_parts(source, ["ab" * 32])


def test_a_whole_model_has_one_part() -> None:
    """A model that is not split is one file."""
    source = from_url("https://h.example/m.gguf")
    assert all_parts(source) == (source,)


@pytest.mark.parametrize("count", ["00000", "99999"])
def test_absurd_counts_of_parts_are_refused(count: str) -> None:
    """A name that stands for no parts or for thousands is a mistake."""
    with pytest.raises(UsageError):
        all_parts(from_url(f"https://h.example/m-00001-of-{count}.gguf"))


def test_the_environment_names_proxies() -> None:
    """Each scheme has its variable in either case; ALL_PROXY stands in."""
    proxies = find_proxies({"https_proxy": "p.example:3128", "ALL_PROXY": "http://all.example:1"})
    assert proxies.proxy_for("https://h.example/x") == "http://p.example:3128"
    assert proxies.proxy_for("http://h.example/x") == "http://all.example:1"


@pytest.mark.parametrize(
    ("bypass", "direct"),
    [
        ("", False),
        ("*", True),
        ("h.example", True),
        ("example", True),
        (".example", True),
        ("other, H.EXAMPLE", True),
        ("ple", False),
        ("h.example:443", True),
        ("h.example:80", False),
        (",", False),
    ],
)
def test_no_proxy_names_hosts(bypass: str, direct: bool) -> None:
    """NO_PROXY lists hosts and domains, with or without a port, that are reached directly."""
    proxy = Proxies({"https": "http://p.example"}, bypass).proxy_for("https://h.example/x")
    assert (proxy == "") is direct


@pytest.mark.parametrize("proxy", ["socks5://h.example:1", "https://u:secret@h.example", "http://", "http://h:port"])
def test_proxies_we_cannot_use_are_refused(proxy: str) -> None:
    """A proxy of another kind is a mistake in the configuration, told without its password."""
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught:
        find_proxies({"HTTPS_PROXY": proxy})
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("location", ["http://127.0.0.1/m", "", "javascript:x", "https://h.example:0x1/"])
def test_redirects_do_not_leave_https(location: str) -> None:
    """A redirect from https leads to https or is refused."""
    with pytest.raises(DownloadError):
        next_url("https://h.example/a/m.gguf", location, trusted=True)


def test_redirects_may_be_relative() -> None:
    """A redirect may name only a path, and may hold characters that must be escaped."""
    assert next_url("https://h.example/a/m.gguf", "../b c/é.gguf#x", trusted=False) == (
        "https://h.example/b%20c/%C3%A9.gguf"
    )


@pytest.mark.parametrize(
    ("error", "said", "again"),
    [
        (socket.gaierror(-2, "Name or service not known"), "offline", True),
        (ConnectionRefusedError(), "refuses connections", True),
        (TimeoutError(), "did not answer in time", True),
        (OSError(101, "Network is unreachable"), "cannot be reached: Network is unreachable", True),
        (RemoteDisconnected(""), "closed the connection", True),
        (ConnectionResetError(), "closed the connection", True),
        (ssl.SSLEOFError(8, "EOF"), "closed the connection", True),
        (ssl.SSLCertVerificationError(1, "self-signed"), "could not prove who it is", False),
        (ssl.SSLError(1, "WRONG_VERSION_NUMBER"), "does not speak TLS", False),
    ],
)
def test_errors_of_connections_are_named(error: OSError, said: str, again: bool) -> None:
    """Each way in which a server cannot be reached has its sentence; only some are worth another attempt."""
    refused = unreached("https://h.example/m.gguf?signature=secret", error)
    assert said in refused.message
    assert isinstance(refused, Broken) is again
    assert "secret" not in refused.message


def test_signed_addresses_are_not_shown() -> None:
    """Messages hold an address without user, password and query."""
    assert shown("https://u:p@h.example:1/a/m.gguf?signature=s") == "https://h.example:1/a/m.gguf"


def test_the_pace_is_that_of_the_last_seconds() -> None:
    """The speed is measured over a window, and is unknown before there is enough to measure."""
    pace = Pace()
    assert (pace.bytes_per_s, pace.remaining_s(5)) == (None, None)
    for second in range(100):
        pace.note(float(second), 10 * second if second < 50 else 500 + 100 * (second - 50))
    assert pace.bytes_per_s == pytest.approx(100)
    assert pace.remaining_s(1000) == pytest.approx(10)
    assert pace.remaining_s(None) is None
    assert WINDOW_S < 50
