"""Records as JSON."""

import json
import logging
import sys

from fastgw.processes.logs import JsonFormatter


def record(message, *arguments, error=None, **extra):
    made = logging.LogRecord("fastgw.shard", 30, "x.py", 1, message, arguments, error)
    made.__dict__.update(extra)
    return made


def test_a_record_is_one_line():
    """Message and facts; what is not known is left out."""
    line = JsonFormatter(2).format(record("shard %d:\nlost", 3, shard_id=3, cause="zombied"))
    said = json.loads(line)
    assert "\n" not in line
    assert isinstance(said.pop("at"), float)
    assert said == {
        "level": "WARNING", "logger": "fastgw.shard", "message": "shard 3:\nlost", "worker": 2,
        "shard_id": 3, "cause": "zombied",
    }  # fmt: skip


def test_an_error_has_its_traceback():
    """In the same line."""
    try:
        raise ValueError("oh no")
    except ValueError:
        line = JsonFormatter().format(record("it failed", error=sys.exc_info()))
    said = json.loads(line)
    assert said["error"].endswith("ValueError: oh no")
    assert "worker" not in said
