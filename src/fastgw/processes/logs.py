"""Log records as JSON, one object a line, for whoever collects the logs of many processes."""

from __future__ import annotations

import json
import logging

__all__ = ["JsonFormatter"]


class JsonFormatter(logging.Formatter):
    """
    Makes of each record `at` (seconds since 1970), `level`, `logger`, `message`, and where there
    is one `worker`, `shard_id`, `cause`, `attempt` and `error`, a traceback.

    Args:
        worker: the number of this process; None for the supervisor.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        facts = {
            "worker": self._worker,
            **{name: getattr(record, name, None) for name in ("shard_id", "cause", "attempt")},
            "error": self.formatException(record.exc_info)
            if record.exc_info
            else getattr(record, "error", None),
        }
        said = {
            "at": record.created,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        known = {name: value for name, value in facts.items() if value is not None}
        return json.dumps(said | known, default=str)
