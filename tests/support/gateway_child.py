"""
A bot with a durable store, until it is killed: `python gateway_child.py URL STORE`.

It writes to stdout, at once: `event SEQUENCE NAME` in a sync handler, `status STATE COLD`.
"""

from __future__ import annotations

import os
import sys

from fastgw import Gateway, GatewayInfo, Intents, SQLiteIdentifyQueue, SQLiteSessionStore

_, url, path = sys.argv

gateway = Gateway(
    "not.a.token",
    intents=Intents.all(),
    info=GatewayInfo(url),
    store=SQLiteSessionStore(path),
    identify_queue=SQLiteIdentifyQueue(path, interval_s=0.02, padding_s=(0.0, 0.0)),
    backoff_s=(0.01, 0.1),
)


@gateway.on("MESSAGE_CREATE", "READY")
def seen(event):
    os.write(1, f"event {event.sequence} {event.name}\n".encode())


@gateway.on_status
def moved(change):
    os.write(1, f"status {change.new.name} {change.is_cold_resume}\n".encode())


gateway.run()
