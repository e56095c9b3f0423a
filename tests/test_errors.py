"""Our errors as values: their numbers, and copies of them."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from fastgw import errors
from fastgw.words import Action, Initiator, Intents

VALUES = {
    "at": "import", "details": "Traceback ...",
    "message": "what went wrong", "size": 4_097, "limit": 4_096, "unit": "bytes", "offset": 7,
    "name": "READY", "sequence": 9, "timeout_s": 2.5, "status": 503, "retry_after_s": 1.5,
    "close_code": 4_000, "reason": "why", "initiator": Initiator.SERVICE, "outcome": Action.RESUME,
    "shard_id": 3, "intents": Intents.GUILDS, "free_at": 1_000.0,
    "remaining": 40, "total": 1_000, "reserve": 50, "compression": "zstd-stream",
    "path": "author.id",
    "running": (0, 1), "guild_id": 5, "may_be_sent": True,
}  # fmt: skip


def one_of(kind):
    """Make an error with every attribute that its class has."""
    args, options = [], {}
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
        if name == "self" or parameter.kind is parameter.VAR_KEYWORD:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            args.append("what went wrong")
        elif parameter.kind is parameter.KEYWORD_ONLY:
            options[name] = VALUES[name]
        else:
            args.append(VALUES[name])
    return kind(*args, **options)


@pytest.mark.parametrize("name", errors.__all__)
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))]
)
def test_an_error_can_be_copied(name, copied):
    """Into another process, or a health report: type, text and attributes are the same."""
    error = one_of(getattr(errors, name))
    if hasattr(error, "add_note"):  # Python 3.11
        error.add_note("while testing")
    other = copied(error)
    assert type(other) is type(error)
    assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error))


def test_a_copy_is_raised_like_the_first():
    """With a traceback of its own, and no cause."""
    error = errors.HandshakeRefused("no", status=503)
    error.__cause__ = OSError()
    other = copy.copy(error)
    with pytest.raises(errors.HandshakeRefused, match="no"):
        raise other
    assert other.__cause__ is None
    assert error.__traceback__ is None
