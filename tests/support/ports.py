"""Ports of loopback for whoever listens a moment later, in another process as a rule."""

from __future__ import annotations

import socket


def keep_port(host: str = "127.0.0.1") -> socket.socket:
    """
    Return a socket whose port nobody else is given until it is closed.

    It is bound and does not listen. Who names the port and sets SO_REUSEADDR, as Redis, Prometheus
    and we do, may listen there all the same; one that was closed at once could be anybody's before
    a new process comes so far.
    """
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind((host, 0))
    return kept


def port_of(kept: socket.socket) -> int:
    """Return the number of it."""
    return int(kept.getsockname()[1])
