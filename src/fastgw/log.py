"""
Loggers that cannot hurt who uses them.

Filters and handlers of a logger are the user's, and what they raise comes out of the logging call.
In the middle of applying a signal that would leave a shard half changed. `logging` itself prints
what goes wrong when a handler writes a record, and raises nothing; here the same holds for the rest
of the way.
"""

from __future__ import annotations

import functools
import logging

__all__ = ["careful_logger", "say"]

# Of each record: whose, why, and for the how many-th time since it was READY.
EXTRA = ("shard_id", "cause", "attempt")


@functools.cache
def careful_logger(name: str) -> logging.Logger:
    """
    Return the logger of that name; what its filters and handlers raise is printed instead.

    Its records have `shard_id`, `cause` and `attempt`, None where `extra=` does not say them.
    """
    logger = logging.getLogger(name)
    handle = logger.handle

    def handle_carefully(record: logging.LogRecord) -> None:
        for name in EXTRA:
            record.__dict__.setdefault(name, None)
        try:
            handle(record)
        except Exception:
            # As for errors of emit(): to stderr, if logging.raiseExceptions says so.
            logging.Handler().handleError(record)

    logger.handle = handle_carefully  # type: ignore[method-assign]
    return logger


def say(logger: logging.Logger, message: str) -> None:
    """
    Log at INFO; where nobody has set up logging, say it where Python shows warnings then.

    Nobody has when no handler would see the record, and neither levels nor `logging.disable` ask
    for less than warnings.
    """
    last, is_silent = logging.lastResort, logger.manager.disable >= logging.INFO
    if (
        is_silent
        or last is None
        or logger.hasHandlers()
        or logger.getEffectiveLevel() > logging.WARNING
    ):
        logger.info(message, stacklevel=2)
    else:
        last.handle(logger.makeRecord(logger.name, logging.INFO, "", 0, message, (), None))
