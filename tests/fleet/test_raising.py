"""Errors that are kept and raised again, and ids that are none."""

from __future__ import annotations

import traceback

import pytest

from fastgw.errors import UsageError
from fastgw.fleet.raising import anew, check_shard_id, without_insides


@pytest.mark.parametrize("value", [0, 1, 3])
def test_ids_from_nought_to_the_count_are_shards(value):
    """The count itself is none."""
    check_shard_id(value, 4)
    check_shard_id(value + 1_000)


@pytest.mark.parametrize(("value", "count"), [(-1, 4), (4, 4), (0, 0)])
def test_an_id_out_of_range_is_told_with_the_range(value, count):
    """Whichever end it missed."""
    with pytest.raises(UsageError, match=f"shard {value} is not one of 0 to {count - 1}"):
        check_shard_id(value, count)


@pytest.mark.parametrize("value", [True, 1.0, "1", None])
@pytest.mark.parametrize("count", [None, 4])
def test_what_is_no_number_is_no_id(value, count):
    """Of any bot."""
    with pytest.raises(UsageError, match="is no shard id"):
        check_shard_id(value, count)


def raised(error):
    """Raise an error and catch it, as whoever keeps it does."""
    try:
        raise error
    except Exception as caught:
        return caught


def test_an_error_can_be_raised_again_and_again():
    """Each time with the traceback of the first, to which nothing is added."""
    try:
        raise ValueError("kept") from KeyError("why")
    except ValueError as error:
        kept = error
    frames = len(traceback.extract_tb(kept.__traceback__))
    for _ in range(5):
        again = raised(anew(kept))
        assert again is not kept
        assert again.args == ("kept",)
        assert again.__cause__ is kept.__cause__
        assert again.__suppress_context__
        assert len(traceback.extract_tb(again.__traceback__)) == frames + 1
    assert len(traceback.extract_tb(kept.__traceback__)) == frames


def test_the_context_comes_along_where_there_is_no_cause():
    """As it would have been shown."""
    try:
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("kept")  # noqa: B904
    except ValueError as error:
        kept = error
    again = anew(kept)
    assert again.__cause__ is None
    assert again.__context__ is kept.__context__
    assert not again.__suppress_context__


class Stubborn(Exception):
    """An error that cannot be copied."""

    def __copy__(self):
        raise TypeError("no")


def test_one_that_cannot_be_copied_comes_itself():
    """Without its traceback, which would grow."""
    kept = raised(Stubborn("kept"))
    assert anew(kept) is kept
    assert kept.__traceback__ is None


def of_insides():
    """Return an error whose traceback is of fastgw alone, as its caller's frame is left out."""
    try:
        check_shard_id("no")
    except UsageError as error:
        return error.with_traceback(error.__traceback__.tb_next)


def test_a_traceback_of_insides_is_left_out():
    """Of the error and of what caused it: who wrote the program can do nothing with either."""
    error, cause = of_insides(), of_insides()
    error.__cause__ = cause
    assert without_insides(error) is error
    assert error.__cause__ is cause
    assert (error.__traceback__, cause.__traceback__) == (None, None)


def test_an_error_that_is_its_own_cause_ends():
    """`raise error from error` is allowed, and a ring of two as well."""
    error, cause = of_insides(), of_insides()
    error.__cause__, cause.__cause__ = cause, error
    assert without_insides(error) is error
    assert (error.__traceback__, cause.__traceback__) == (None, None)


def test_a_traceback_through_the_program_stays():
    """Such as one of a store of its own."""
    error, cause = of_insides(), raised(KeyError("of the program"))
    error.__cause__, whole = cause, cause.__traceback__
    assert without_insides(error).__traceback__ is None
    assert cause.__traceback__ is whole
    error = raised(UsageError("of the program"))
    whole = error.__traceback__
    assert without_insides(error).__traceback__ is whole
