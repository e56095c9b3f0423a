"""
The endpoint: a thread that answers HTTP, also while the event loop is blocked.

It answers with documents that are made when it is asked; nothing it serves is secret, and by
default it listens on loopback alone. `/metrics`, `/stats.json`, `/healthz`, `/readyz`.
"""

from __future__ import annotations

import importlib.util
import json
import math
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from ..errors import UsageError
from ..log import careful_logger
from .verdict import AWAY_S, what_is_away, what_is_stuck

if TYPE_CHECKING:
    from collections.abc import Callable

    from .document import Document

__all__ = ["Endpoint"]

log = careful_logger("fastgw.metrics")

# Who asks sends its request at once; who does not is no scraper.
PATIENCE_S = 5.0
# The end waits for it this long at most.
POLL_S = 0.1

Answer = tuple[int, str, bytes]


class Endpoint:
    """
    Serves until it is closed.

    Args:
        host, port: where; port 0 is any that is free.
        document: makes the document; called in threads of the endpoint.
    Raises:
        UsageError: nothing can listen there.
    Attributes:
        url: where it is.
    """

    def __init__(self, host: str, port: int, document: Callable[[], Document]) -> None:
        try:
            server = _ServerV6 if ":" in host else _Server
            self._server = server((host, port), _handler(document))
        except OSError as error:
            raise UsageError(
                f"metrics cannot be served at {host}:{port} ({error.strerror or error}): "
                "choose another port"
            ) from error
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_S,), name="fastgw metrics", daemon=True
        )
        self._thread.start()
        log.info("metrics are served at %s", self.url)
        if not _is_prometheus_there():
            log.warning(
                "prometheus-client is not installed, so %s/metrics answers 501: "
                "pip install 'fastgw[metrics]'; /stats.json, /healthz and /readyz are served",
                self.url,
            )

    def close(self) -> None:
        """End it; the port is free on return."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def server_bind(self) -> None:
        # On Windows SO_REUSEADDR gives a second server the port of the first, and tells nobody.
        self.allow_reuse_address = sys.platform != "win32"
        # Not HTTPServer's, which asks the name server who this host is: it would hold the loop.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a request for metrics failed", exc_info=True)


class _ServerV6(_Server):
    address_family = socket.AF_INET6


def _is_prometheus_there() -> bool:
    try:
        return importlib.util.find_spec("prometheus_client") is not None
    except ValueError:  # None stands in sys.modules, and refuses every import
        return False


def _handler(document: Callable[[], Document]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = PATIENCE_S
        server_version = "fastgw"
        sys_version = ""

        def do_GET(self) -> None:
            try:
                status, kind, body = _answer(document, self.path)
            except Exception as error:
                log.error("metrics could not be made", exc_info=error)
                status, kind, body = _text(500, "metrics could not be made: see the log\n")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _answer(document: Callable[[], Document], path: str) -> Answer:
    parts = urlsplit(path)
    if parts.path == "/stats.json":
        return 200, "application/json", json.dumps(document()).encode()
    if parts.path == "/metrics":
        return _metrics(document)
    if parts.path == "/healthz":
        return _verdict(what_is_stuck(document()))
    if parts.path == "/readyz":
        (away,) = parse_qs(parts.query).get("away_s", [""])[:1]
        try:
            away_s = float(away) if away else AWAY_S
        except ValueError:
            away_s = math.nan
        if math.isnan(away_s):  # than which nothing is longer
            return _text(400, "away_s is a number of seconds, such as 60\n")
        return _verdict(what_is_away(document(), away_s))
    return _text(404, "here are /metrics, /stats.json, /healthz and /readyz\n")


def _metrics(document: Callable[[], Document]) -> Answer:
    try:
        from .prometheus import CONTENT_TYPE, text_of
    except ImportError:
        return _text(501, 'for /metrics: pip install "fastgw[metrics]"\n')
    return 200, CONTENT_TYPE, text_of(document())


def _verdict(problems: list[str]) -> Answer:
    return _text(503 if problems else 200, "".join(f"{line}\n" for line in problems or ["ok"]))


def _text(status: int, text: str) -> Answer:
    return status, "text/plain; charset=utf-8", text.encode()
