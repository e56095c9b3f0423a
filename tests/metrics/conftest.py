"""How the tests of this room ask an endpoint."""

import asyncio
import json
import urllib.error
import urllib.request

import pytest


def get(url):
    """Ask, from whatever thread; return (status, body)."""
    try:
        with urllib.request.urlopen(url, timeout=20.0) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def ask():
    """Ask without blocking the loop; `.json` parses."""

    async def ask(url):
        return await asyncio.to_thread(get, url)

    async def ask_json(url):
        status, body = await ask(url)
        assert status == 200
        return json.loads(body)

    ask.json = ask_json
    ask.blocking = get
    return ask
