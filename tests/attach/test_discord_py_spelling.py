"""What a call of attach() says: of misspelt names and options, and of what it returns."""

from __future__ import annotations

import pytest
from discord_py_bots import LIBRARY, MARKS

import fastgw

pytestmark = MARKS


def _attach(**options):
    return fastgw.attach(LIBRARY.Client(intents=LIBRARY.Intents.none()), **options)


@pytest.mark.parametrize("option", ["keep", "drop"])
async def test_a_slip_in_the_name_of_an_event_is_told_what_was_meant(caplog, option):
    """Discord sends names that it does not document, so it is taken as it is."""
    _attach(**{option: {"MESSAGE_CREAT", "GUILD_MEMBER_LIST_UPDATE", "TYPING_START"}})
    assert [record.getMessage() for record in caplog.records if record.name == "fastgw.attach"] == [
        f"attach({option}=...): MESSAGE_CREAT is not a documented event; "
        "did you mean MESSAGE_CREATE?"
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("on_message", "MESSAGE_CREATE"),
        ("MESSAGE CREATE", "MESSAGE_CREATE"),
        ("member_join", "GUILD_MEMBER_ADD"),
    ],
)
async def test_a_name_of_the_library_is_answered_with_the_gateways(name, meant):
    """Events are named as the gateway names them."""
    with pytest.raises(fastgw.UsageError, match=rf"not '{name}'; did you mean {meant}\?$"):
        _attach(drop=[name])


@pytest.mark.parametrize(
    ("option", "advice"),
    [("kep", "; did you mean keep=?"), ("compres", "; did you mean compress=?"), ("xyzzy", "")],
)
async def test_an_option_that_nobody_knows_is_answered_with_the_nearest(option, advice):
    """It is attach() that was called, not the constructor of a Gateway."""
    with pytest.raises(fastgw.UsageError) as raised:
        _attach(**{option: 1})
    assert str(raised.value) == f"attach() has no option {option}={advice}"


async def test_an_attachment_shows_the_class_of_its_bot():
    """Without an article: classes begin with any letter."""
    assert repr(_attach()).startswith("<Attachment of Client of ")
