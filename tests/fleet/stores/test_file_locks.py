"""Locks that die with their process."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys

import pytest

from fastgw.fleet.stores.file_locks import ByteLocks

HOLD = """
import sys
from fastgw.fleet.stores.file_locks import ByteLocks
locks = ByteLocks(sys.argv[1])
print(*(locks.take(int(number)) for number in sys.argv[2:]), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x-locks"


def holder(path, *numbers):
    """Start a process that takes locks, and wait until it has said which it got."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), *map(str, numbers)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return child, child.stdout.readline().split()


def end(child, number=signal.SIGKILL):
    child.send_signal(number)
    child.wait()
    child.stdin.close()
    child.stdout.close()


def test_a_lock_has_one_holder_in_a_process(path):
    """Two objects of one process exclude each other, and closing one leaves the other's alone."""
    first, second = ByteLocks(path), ByteLocks(path)
    assert first.take(3)
    assert not first.take(3)
    assert not second.take(3)
    assert second.is_held(3)
    assert second.take(4)
    second.close()
    assert not first.is_held(4)
    child, taken = holder(path, 3, 4)
    assert taken == ["False", "True"]
    end(child)
    first.close()


def test_a_lock_has_one_holder_on_a_machine(path):
    """And looking at another's lock does not take it away."""
    locks = ByteLocks(path)
    assert locks.take(0)
    big = 2**40
    child, taken = holder(path, 0, 1, big)
    assert taken == ["False", "True", "True"]
    assert [locks.is_held(n) for n in (0, 1, 2, big, big + 1)] == [True, True, False, True, False]
    assert not locks.take(1)
    end(child)
    locks.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_lock_dies_with_its_process(path, number):
    """At once, whatever ended it."""
    child, _ = holder(path, 7)
    locks = ByteLocks(path)
    assert not locks.take(7)
    end(child, number)
    assert locks.take(7)
    locks.close()


def test_given_back_it_is_free(path):
    """Only who holds it can give it back."""
    first, second = ByteLocks(path), ByteLocks(path)
    first.take(1)
    second.give_back(1)
    assert second.is_held(1)
    first.give_back(1)
    assert second.take(1)
    first.close()
    second.close()
    second.close()


def test_a_forked_child_holds_nothing(path):
    """The kernel gives it none of the locks, so it must not believe it has them."""
    locks = ByteLocks(path)
    locks.take(1)
    child = os.fork()
    if child == 0:
        os._exit(ByteLocks(path).take(2) + 2 * ByteLocks(path).is_held(1))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 3
    assert not locks.is_held(2)
    locks.close()


def test_closed_locks_are_not_used(path):
    """A mistake of ours, said as such."""
    locks = ByteLocks(path)
    locks.close()
    with pytest.raises(ValueError, match="closed"):
        locks.take(1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_that_closes_gives_nothing_back(path):
    """Neither its parent's locks, nor its own of the same file."""
    locks = ByteLocks(path)
    assert locks.take(1)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            own = ByteLocks(path)
            is_taken = own.take(2) and not own.take(1)
            locks.close()
            locks.close()  # a second time is nothing
            with pytest.raises(ValueError, match="closed"):
                locks.is_held(1)
            status = 0 if is_taken and own.is_held(2) and is_held_elsewhere(path, 2) else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert is_held_elsewhere(path, 1)
    locks.close()
    assert not is_held_elsewhere(path, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_gives_back_what_it_took_itself(path):
    """Its locks are no part of what it inherited: the next process may have them."""
    locks = ByteLocks(path)
    assert locks.take(1)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            own = ByteLocks(path)
            is_taken = own.take(2)
            own.close()
            status = 0 if is_taken and not is_held_elsewhere(path, 2) else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    locks.close()


def is_held_elsewhere(path, number):
    """Ask as another process does."""
    child, (taken,) = holder(path, number)
    end(child)
    return taken == "False"


def test_a_lock_is_of_one_number(path):
    """Its neighbour stays with who has it, whatever becomes of this one."""
    locks = ByteLocks(path)
    assert locks.take(3)
    assert locks.take(4)
    locks.give_back(3)
    child, taken = holder(path, 2, 3, 4, 5)
    assert taken == ["True", "True", "False", "True"]
    end(child)
    locks.close()


def test_what_was_given_back_is_not_given_back_again(path):
    """Another has it by then."""
    first, second = ByteLocks(path), ByteLocks(path)
    first.take(1)
    first.give_back(1)
    assert second.take(1)
    first.give_back(1)
    assert first.is_held(1)
    first.close()
    assert second.is_held(1)
    second.close()


def test_the_last_who_closes_it_closes_the_file(path):
    """Not before, and it may be opened again."""
    first, second = ByteLocks(path), ByteLocks(path)
    descriptor = first._shared.descriptor
    first.close()
    assert second.take(1)
    os.fstat(descriptor)
    second.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    again = ByteLocks(path)
    assert again.take(1)
    again.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
