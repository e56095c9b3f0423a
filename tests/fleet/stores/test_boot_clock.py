"""The clock that processes share."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from fastgw.errors import UsageError
from fastgw.fleet.stores.boot_clock import BootClock, Stamp, age_s, check_clock, system_boot_clock


def test_all_processes_of_a_boot_read_the_same_clock():
    """A moment of another process lies between two of ours, with the same name of the boot."""
    clock = system_boot_clock()
    before = clock.stamp()
    code = "import fastgw.fleet.stores.boot_clock as b; s = b.system_boot_clock().stamp(); "
    code += "print(s.boot_id, s.boot_s)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    boot_id, boot_s = said.stdout.split()
    assert boot_id == before.boot_id
    assert before.boot_s <= float(boot_s) <= clock.stamp().boot_s


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="other systems name boots otherwise"
)
def test_boots_have_names():
    """Linux gives each boot a random one."""
    assert len(system_boot_clock().boot_id) == 36


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have other clocks")
def test_the_sleep_of_the_machine_counts(monkeypatch):
    """Of Linux's clocks only this one goes on meanwhile, so a turn is free after it."""
    clocks = {time.CLOCK_BOOTTIME: 4_600.0, time.CLOCK_MONOTONIC: 1_000.0}
    monkeypatch.setattr(time, "clock_gettime", clocks.__getitem__)
    assert system_boot_clock().boot() == 4_600.0


def test_a_moment_becomes_monotonic():
    """What others wrote down can be waited for here."""
    clock = BootClock("b", boot=lambda: 500.0, monotonic=lambda: 20.0)
    assert clock.as_monotonic(512.0) == 32.0
    real = system_boot_clock()
    assert real.as_monotonic(real.boot()) <= time.monotonic()


@pytest.mark.parametrize(
    ("then", "age"),
    [
        (Stamp("b", 90.0, 0.0), 10.0),
        (Stamp("b", 90.0, 9e9), 10.0),
        (Stamp("a", 90.0, 940.0), 60.0),
        (Stamp("a", 90.0, 1_060.0), None),
        (Stamp("b", 190.0, 940.0), 60.0),
        (Stamp("b", 100.0, 5.0), 0.0),
        (Stamp("a", 90.0, 1_000.0), 0.0),
    ],
)
def test_age(then, age):
    """By the boot clock within a boot, by wall time across one, unknown when that went back."""
    assert age_s(then, Stamp("b", 100.0, 1_000.0)) == age


def test_a_clock_of_ones_own_is_taken():
    """Without one it is the machine's; anything else is told."""
    clock = BootClock("b", boot=lambda: 500.0)
    assert check_clock(clock) is clock
    assert check_clock(None).boot_id == system_boot_clock().boot_id
    with pytest.raises(UsageError, match="clock=5 is not a BootClock"):
        check_clock(5)
