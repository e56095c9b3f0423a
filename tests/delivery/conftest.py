"""The handlers under test, and what feeds them: the decoder and a stand-in for the listener."""

import pytest

from fastgw._decode import Calls, Decoder
from fastgw.delivery.handlers import Handlers
from fastgw.words import Intents


@pytest.fixture
def handlers():
    return Handlers(Intents.all())


@pytest.fixture
def feed(handlers):
    """Feed the handlers under test; see `_feed_of`."""
    return _feed_of(handlers)


@pytest.fixture
def feed_of():
    """Feed handlers that a test makes itself; see `_feed_of`."""
    return _feed_of


def _feed_of(handlers):
    """
    Return a stand-in for the listener: it decodes a dispatch and calls the target of its name.

    It returns the Event; the Calls of a plan, which have been made; or None.
    """
    decoder = Decoder(interests=handlers.interests)
    count = 0

    def feed(name, data=b"{}"):
        nonlocal count
        count += 1
        message = b'{"t":"%s","s":%d,"op":0,"d":%s}' % (name.encode(), count, data)
        result = decoder.feed(message, 1, True)
        if isinstance(result, Calls):
            result.make()
        elif result is not None and (target := handlers.target_of(name)) is not None:
            try:
                given = target(result)
            except BaseException as error:
                handlers.failed(result, target, error)
            else:
                handlers.returned(result, target, given)
        return result

    return feed
