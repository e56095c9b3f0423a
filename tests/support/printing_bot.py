"""A bot that prints, as bots do: `printing_bot:gateway` at import and at each event."""

from __future__ import annotations

import logging
import os
import warnings

import fastgw

print("printed at import", flush=True)
logging.getLogger("bot").warning("logged at import")
gateway = fastgw.Gateway(intents=fastgw.Intents.all(), backoff_s=(0.01, 0.5))


@gateway.on("MESSAGE_CREATE")
def say(event):
    os.write(1, f"printed {event.data['content']}\n".encode())


@gateway.on("TYPING_START")
def warn(event):
    warnings.warn("old ways", stacklevel=1)
    raise ValueError("a handler that fails")
