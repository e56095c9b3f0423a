"""The bot token, normalised and kept out of texts."""

from __future__ import annotations

import base64

import pytest

from fastgw.errors import UsageError
from fastgw.protocol.token import bot_id_of, normalise_token, redact, redact_value

TOKEN = "MTk4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs"


@pytest.mark.parametrize("given_token", [TOKEN, f"Bot {TOKEN}", f" bot  {TOKEN}\n", f"BOT {TOKEN}"])
def test_a_token_is_taken_with_or_without_prefix(given_token):
    """HTTP wants "Bot ", the gateway does not; users paste both, and line ends too."""
    assert normalise_token(given_token) == TOKEN


def test_every_character_of_ascii_but_a_space_may_be_in_a_token():
    """What a service makes its tokens of is not ours to know."""
    token = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "\"'`")
    assert normalise_token(token) == token


@pytest.mark.parametrize("bad", ["", "  ", "Bot ", "Bot", "a b", "a\r\nb", "tökén", "a\0b"])
def test_an_impossible_token_is_refused_without_being_shown(bad):
    """The text says what to do and never holds what was given."""
    with pytest.raises(UsageError) as caught:
        normalise_token(bad)
    assert str(caught.value).startswith("the token ")
    assert "tökén" not in str(caught.value)


@pytest.mark.parametrize(
    "quoted",
    [f'"{TOKEN}"', f"'{TOKEN}'", f'Bot "{TOKEN}"', f'"Bot {TOKEN}"', f'{TOKEN}"', f"`{TOKEN}`",
     f"\u201c{TOKEN}\u201d"],
)  # fmt: skip
def test_a_token_in_quotes_is_told(quoted):
    """An env file's quotes, or a word processor's: Discord would only say 401."""
    with pytest.raises(UsageError, match="stands in quotes") as caught:
        normalise_token(quoted)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("bad", [None, 7, b"token", ["token"]])
def test_what_is_not_text_is_not_a_token(bad):
    """Nor is its value shown."""
    with pytest.raises(UsageError, match="the token is a str, not"):
        normalise_token(bad)


@pytest.mark.parametrize(
    ("digits", "bot_id"),
    [
        ("123456789012345", 123456789012345),
        ("1234567890123456", 1234567890123456),  # with and without padding in base64
        ("12345678901234567", 12345678901234567),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), None),
        ("12345678901234", None),
        ("12345678901234567890", None),
        ("00123456789012345678", None),  # small enough, and no id either
        ("123456789012345x", None),
        ("", None),
    ],
)
def test_the_bot_of_a_token(digits, bot_id):
    """Its id stands in the first segment, a snowflake in decimal, in base64 without padding."""
    segment = base64.urlsafe_b64encode(digits.encode()).decode().rstrip("=")
    assert bot_id_of(f"{segment}.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs") == bot_id


@pytest.mark.parametrize("token", ["token", "ab.c", "\u00e9.x", "12345.x"])
def test_not_every_token_tells_its_bot(token):
    """Those of tests, and of services that make them otherwise."""
    assert bot_id_of(token) is None


@pytest.mark.parametrize("hide", [redact, redact_value])
def test_a_real_token_goes_everywhere(hide):
    """Every occurrence goes, inside a word too; an empty token changes nothing."""
    assert hide(f"a {TOKEN} b {TOKEN}", TOKEN) == "a <token> b <token>"
    assert hide(f"a{TOKEN}b", TOKEN) == "a<token>b"
    assert hide("text", "") == "text"


def test_a_short_token_in_a_value_goes_as_a_word():
    """Real ones are far longer; the "t" of a test leaves words alone."""
    said = 'the connection: t, "t" t'
    assert redact_value(said, "t") == 'the connection: <token>, "<token>" <token>'
    assert redact_value("a.b a.bc xa.b axb", "a.b") == "<token> a.bc xa.b axb"


def test_sixteen_characters_are_no_word_any_more():
    """From there on a token goes wherever it stands."""
    assert redact(f"x{'t' * 16}x", "t" * 16) == "x<token>x"
    assert redact_value(f"x{'t' * 16}x", "t" * 16) == "x<token>x"
    assert redact("t" * 15, "t" * 15) == "t" * 15


def test_a_word_of_our_own_sentences_stays():
    """The documentation's example token is "token"; advice must still be readable."""
    advice = "the token was refused; copy a fresh bot token from the developer portal"
    assert redact(advice, "token") == advice
