"""Ask servers for files: requests, redirects, proxies, TLS, and the times all of it may take.

Ours over `http.client` because what matters here is between the lines of larger clients: which hop said what, where a
token may go, and a deadline that a slow server cannot push on.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from cagchat import __version__
from cagchat.errors import ConfigError, UsageError
from cagchat.models.download.answer import DIGITS, Answer, Linked, Record, linked_of
from cagchat.models.download.line import Line
from cagchat.models.download.refusals import Broken, DownloadError, host_of, shown, unreached
from cagchat.models.download.source import DEFAULT_PORTS, Source, check_url, origin, quoted

if TYPE_CHECKING:
    from ssl import SSLContext

REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 10
STALL_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait: for a connection, from it to the end of the headers, and for each `STALL_BYTES` of a body."""

    connect_s: float = 20.0
    answer_s: float = 30.0
    stall_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Proxies:
    """Which proxy to use for which scheme; `bypass` is NO_PROXY's list."""

    by_scheme: Mapping[str, str] = field(default_factory=dict)
    bypass: str = ""

    def proxy_for(self, url: str) -> str:
        """Return the proxy's address for a request, "" for none."""
        parts = urlsplit(url)
        proxy = self.by_scheme.get(parts.scheme, "")
        host, port = (parts.hostname or "").lower(), parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
        return "" if any(covers(entry, host, port) for entry in self.bypass.lower().split(",")) else proxy


def covers(entry: str, host: str, port: int) -> bool:
    """Tell whether an entry of NO_PROXY is about this host: "*", a domain, or either with ":PORT" behind it."""
    name, _, only_port = entry.strip().partition(":") if entry.count(":") < 2 else (entry.strip(), "", "")
    name = name.removeprefix("*").removeprefix(".")
    if entry.strip() == "*":
        return True
    return bool(name) and only_port in ("", str(port)) and (host == name or host.endswith(f".{name}"))


def find_proxies(environ: Mapping[str, str] = os.environ) -> Proxies:
    """Return the proxies that the environment names, in either case; ALL_PROXY stands in for both.

    Raises `ConfigError` for a proxy of a kind that we cannot use.
    """

    def value(name: str) -> str:
        return (environ.get(name) or environ.get(name.upper()) or "").strip()

    found = {}
    for scheme in DEFAULT_PORTS:
        name = f"{scheme}_proxy" if value(f"{scheme}_proxy") else "all_proxy"
        if proxy := value(name):
            found[scheme] = check_proxy(proxy if "://" in proxy else f"http://{proxy}", name.upper())
    return Proxies(found, value("no_proxy"))


def check_proxy(proxy: str, name: str) -> str:
    """Return a proxy's address that can be used."""
    try:
        parts = urlsplit(proxy)
        usable = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"{name} is not a proxy that can be used: {shown(proxy)}.", "Set it as http://HOST:PORT, or unset it."
        )
    return proxy


@dataclass(frozen=True, slots=True)
class Exchange:
    """A connection and the response on it, of which the headers were read."""

    connection: HTTPConnection
    response: HTTPResponse

    def close(self) -> None:
        """Give both up."""
        self.response.close()
        self.connection.close()


class Reply:
    """An answer, and its body piece by piece."""

    def __init__(
        self, answer: Answer, exchange: Exchange, line: Line, stall_s: float, clock: Callable[[], float]
    ) -> None:
        self.answer = answer
        self.close = exchange.close
        self._response = exchange.response
        self._line = line
        self._stall_s = stall_s
        self._clock = clock
        self._left_s, self._since = stall_s, 0

    def read(self, most: int) -> bytes:
        """Return what came, at most so much and at least one byte; b"" at the body's end.

        Raises `Broken` when the connection fails or brings less than `STALL_BYTES` in the time allowed, `Stopped`
        when the line was stopped.
        """
        began = self._clock()
        self._line.allow(self._left_s)
        try:
            piece = self._response.read1(most)
        except (OSError, HTTPException) as error:
            self._check_line()
            raise Broken(f"The connection to {host_of(self.answer.url)} broke: {reason(error)}.") from error
        finally:
            self._line.rest()
        self._check_line()
        self._since += len(piece)
        self._left_s -= self._clock() - began
        if self._since >= STALL_BYTES:
            self._left_s, self._since = self._stall_s, 0
        return piece

    def _check_line(self) -> None:
        self._line.check()
        if self._line.expired:
            raise Broken(f"{host_of(self.answer.url)} sent next to nothing for {self._stall_s:g} s.")


@dataclass(frozen=True, slots=True)
class Network:
    """How servers are reached; `tls` None means the system's certificates."""

    proxies: Proxies = field(default_factory=Proxies)
    timeouts: Timeouts = field(default_factory=Timeouts)
    tls: SSLContext | None = None
    clock: Callable[[], float] = time.monotonic

    def get(self, source: Source, line: Line, *, start: int = 0, before: Record | None = None) -> Reply:
        """Ask for a file's bytes from `start` on, of the content that `before` describes.

        Raises `DownloadError` (`Broken` where another attempt may help) when there is no answer, `Stopped`.
        """
        return self._follow("GET", source, line, start, before or Record(source.url))

    def size(self, source: Source, line: Line) -> int | None:
        """Ask how large a file is without fetching it, None when the server does not say. Raises as `get`."""
        reply = self._follow("HEAD", source, line, 0, Record(source.url))
        reply.close()
        answer = reply.answer
        return answer.linked.size_bytes or (answer.length_bytes if answer.status == 200 else None)

    def _follow(self, method: str, source: Source, line: Line, start: int, before: Record) -> Reply:
        """Follow redirects; what the first server says of the file is believed of no other."""
        url, linked, home = source.url, Linked(), True
        seen = set()
        for _ in range(MAX_REDIRECTS + 1):
            if url in seen:
                raise DownloadError(f"{shown(source.url)} leads in a circle.", "Open it in a browser, or try later.")
            seen.add(url)
            same = linked.sha256 != "" and linked.sha256 == before.sha256
            headers = request_headers(url, source.token if home else "", start, "" if same else before.etag)
            exchange = self._exchange(method, url, headers, line)
            response = exchange.response
            if home and (etag := header(response, "X-Linked-ETag")):
                linked = linked_of(etag, header(response, "X-Linked-Size"))
            if response.status not in REDIRECTS or (method == "HEAD" and linked.size_bytes is not None):
                return Reply(answer_of(url, response, linked), exchange, line, self.timeouts.stall_s, self.clock)
            exchange.close()
            url = next_url(url, header(response, "Location"), trusted=bool(source.sha256))
            home = home and origin(url) == origin(source.url)
        raise DownloadError(f"{shown(source.url)} was redirected more than {MAX_REDIRECTS} times.", "Try later.")

    def _exchange(self, method: str, url: str, headers: dict[str, str], line: Line) -> Exchange:
        """Send a request and wait for the end of the answer's headers."""
        proxy = self.proxies.proxy_for(url)
        connection, target = self._connection(url, proxy, headers)
        with ExitStack() as undo:
            undo.callback(connection.close)
            undo.callback(line.rest)
            try:
                line.allow(self.timeouts.connect_s + self.timeouts.answer_s)
                self._connect(connection, url, line)
                line.allow(self.timeouts.answer_s)
                connection.request(method, target, headers=headers)
                response = connection.getresponse()
                undo.callback(response.close)
                if line.expired:  # for http.client, the end of a connection ends the headers as well
                    raise TimeoutError
            except (OSError, HTTPException) as error:
                line.check()
                raise unreached(url, TimeoutError() if line.expired else error, proxy) from error
            line.check()
            undo.pop_all()
        line.rest()
        return Exchange(connection, response)

    def _connection(self, url: str, proxy: str, headers: dict[str, str]) -> tuple[HTTPConnection, str]:
        """Return a connection that is not open yet, and what to ask for on it; `headers` may get the proxy's."""
        parts, through = urlsplit(url), urlsplit(proxy)
        host, port = parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]
        target = parts.path or "/"
        target = f"{target}?{parts.query}" if parts.query else target
        connection = HTTPConnection(through.hostname or host, through.port or (80 if proxy else port))
        connection.timeout = self.timeouts.connect_s
        if proxy and parts.scheme == "https":
            connection.set_tunnel(host, port, headers=proxy_login(through))
        elif proxy:
            headers |= proxy_login(through)
            target = f"http://{host_of(url)}{target}"
        return connection, target

    def _connect(self, connection: HTTPConnection, url: str, line: Line) -> None:
        """Open a connection, with TLS on it where the address says so."""
        line.watch(lambda: connection.sock)
        connection.connect()
        if url.startswith("https:"):
            # The handshake apart from the wrapping, so that the line can cut it: before, there is no socket to cut.
            host = urlsplit(url).hostname or ""
            tls = self._tls().wrap_socket(connection.sock, server_hostname=host, do_handshake_on_connect=False)
            connection.sock = tls
            tls.do_handshake()
        socket = connection.sock
        socket.settimeout(max(self.timeouts.answer_s, self.timeouts.stall_s))
        line.watch(lambda: socket)  # the connection forgets it when the body begins

    def _tls(self) -> SSLContext:
        if self.tls is not None:
            return self.tls
        import ssl

        return ssl.create_default_context()


def request_headers(url: str, token: str, start: int, etag: str) -> dict[str, str]:
    """Return what is asked: no packing, and from `start` on only if the file is still the one that `etag` names."""
    headers = {
        "Host": host_of(url),
        "User-Agent": f"cagchat/{__version__}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if start:
        headers["Range"] = f"bytes={start}-"
        if etag:
            headers["If-Range"] = etag
    return headers


def proxy_login(proxy: SplitResult) -> dict[str, str]:
    """Return the header that names the user to a proxy, if its address does."""
    if proxy.username is None:
        return {}
    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def next_url(url: str, location: str, *, trusted: bool) -> str:
    """Return where a redirect leads. Raises `DownloadError` when that is nowhere, or from https to plain http."""
    try:
        target = urljoin(url, quoted(location)) if location else ""
        check_url(target, trusted=trusted)
        parts = urlsplit(target)
    except (UsageError, ValueError) as error:
        raise DownloadError(f"{shown(url)} redirects to no usable address.", "Try later, or another server.") from error
    if parts.scheme == "http" and urlsplit(url).scheme == "https":
        raise DownloadError(f"{shown(url)} redirects to plain http at {host_of(target)}.", "Try another server.")
    return target


def answer_of(url: str, response: HTTPResponse, linked: Linked) -> Answer:
    """Return what the headers say; a body in chunks has no length, whatever else is claimed."""
    length = header(response, "Content-Length")
    chunked = response.chunked or not DIGITS.fullmatch(length)
    return Answer(
        url,
        response.status,
        None if chunked else int(length),
        header(response, "ETag"),
        header(response, "Content-Range"),
        header(response, "Content-Type"),
        header(response, "Content-Encoding"),
        header(response, "X-Error-Code"),
        header(response, "Retry-After"),
        linked,
    )


def header(response: HTTPResponse, name: str) -> str:
    """Return a header's value, "" when it is missing."""
    return (response.getheader(name) or "").strip()


def reason(error: OSError | HTTPException) -> str:
    """Say in a few words what a connection's error was."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
