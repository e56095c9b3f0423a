"""What a recording may not hold: found at any depth, however it is written, and replaced."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgw.testing import Traffic
from fastgw.testing.recording.redact import SECRET_NAMES, Redactor
from fastgw.testing.traffic.traffic import encode

REDACTOR = Redactor(b"a key of a test")
CONTENT = Redactor(b"a key of a test", is_content_replaced=True)


def strings_below(value, is_secret=False):
    """Yield the strings that must not stay."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield from strings_below(member, is_secret or name in SECRET_NAMES)
    elif isinstance(value, list):
        for member in value:
            yield from strings_below(member, is_secret)
    elif is_secret and isinstance(value, str):
        yield value


@pytest.mark.parametrize(
    "text",
    [
        '{"token":"abcdefgh"}',
        '{ "a" : [ { "b" : { "token" : "abcdefgh" } } ] }',
        '{"t\\u006fken":"abcdefgh"}',
        '{"token":["abcdefgh",{"deep":"abcdefgh"}],"id":"1"}',
        '{"_trace":["[\\"abcdefgh\\",{\\"micros\\":1}]"]}',
        '{"session_id":"abcdefgh","x":"\\"token\\":"}',
        '{"resume_gateway_url":"wss://abcdefgh.discord.gg"}',
    ],
)
def test_a_secret_is_replaced_at_the_same_length(text):
    """At any depth, behind escapes, in lists."""
    redacted = REDACTOR.redact(text.encode())
    assert len(redacted) == len(text)
    assert b"abcdefgh" not in redacted
    assert list(json.loads(redacted)) == list(json.loads(text))


def test_what_is_no_secret_stays_byte_by_byte():
    """Also a string that looks like a member, and a token that is null."""
    text = b'{"content": "\\"token\\":\\"abc\\"", "token":null, "n":1.50, "tokens":"abc"}'
    assert REDACTOR.redact(text) == text


def test_the_same_value_has_the_same_substitute():
    """So that a session can be followed; another recording has another key."""
    text = b'{"session_id":"abcd","d":{"session_id":"abcd"}}'
    redacted = json.loads(REDACTOR.redact(text))
    assert redacted["session_id"] == redacted["d"]["session_id"] != "abcd"
    assert Redactor(b"another").redact(text) != REDACTOR.redact(text)


def test_a_secret_number_loses_its_digits():
    """A token is a string today; whatever it will be, it is not written."""
    assert REDACTOR.redact(b'{"token":9876.5e3}') == b'{"token":1111.1e1}'


def test_content_is_replaced_on_request():
    """What people wrote, also in embeds; ids and types stay, so that events are what they were."""
    text = b'{"content":"h\\u00e9llo","id":"17","embeds":[{"type":"rich","fields":[{"name":"n"}]}]}'
    redacted = json.loads(CONTENT.redact(text))
    assert redacted["content"] == "x" * len("h\\u00e9llo")
    assert redacted["id"] == "17"
    assert redacted["embeds"] == [{"type": "rich", "fields": [{"name": "x"}]}]
    assert REDACTOR.redact(text) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(
        sorted(SECRET_NAMES)), inner),
    max_leaves=20,
)  # fmt: skip


@given(value=JSON, is_ascii=st.booleans())
def test_any_json_keeps_length_and_shape_and_loses_its_secrets(value, is_ascii):
    """The walk over the text agrees with a parse of it."""
    text = json.dumps(value, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    redacted = REDACTOR.redact(text)
    assert len(redacted) == len(text)
    after = json.loads(redacted.decode("utf-8", "surrogatepass"))
    assert json.dumps(without_secrets(after)) == json.dumps(without_secrets(value))
    for before, later in zip(strings_below(value), strings_below(after), strict=True):
        assert before != later or len(before) < 4


def without_secrets(value):
    if isinstance(value, dict):
        return {
            name: None if name in SECRET_NAMES else without_secrets(member)
            for name, member in value.items()
        }
    return [without_secrets(member) for member in value] if isinstance(value, list) else value


def test_made_traffic_stays_what_it_was():
    """Every event of a large bot, with the same names, and without its interaction tokens."""
    for dispatch in Traffic(seed=3).dispatches(300):
        message = encode(dispatch.name, 1, dispatch.data)
        for redactor in (REDACTOR, CONTENT):
            redacted = redactor.redact(message)
            assert len(redacted) == len(message)
            assert json.loads(redacted)["t"] == dispatch.name
            secrets = set(strings_below(json.loads(message)))
            left = secrets & set(strings_below(json.loads(redacted)))
            assert [text for text in left if len(text) > 4] == []
