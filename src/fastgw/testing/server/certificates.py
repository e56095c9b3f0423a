"""A certificate for loopback, made on the fly by trustme."""

from __future__ import annotations

import ssl
from functools import cache

from ...errors import UsageError

__all__ = ["make_contexts"]


@cache
def make_contexts(host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """
    Return the TLS contexts of a server on `host` and of a client that trusts it.

    Made once a process and host: they hold no state of a connection.

    Raises:
        UsageError: trustme is not installed.
    """
    try:
        import trustme
    except ImportError as error:
        raise UsageError(
            "FakeGateway(tls=True) makes its certificate with trustme, which is not installed; "
            "run: pip install 'fastgw[testing]'"
        ) from error
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host, "localhost", "127.0.0.1", "::1").configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return server, client
