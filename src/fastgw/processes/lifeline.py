"""A worker never outlives its supervisor, whatever kills that one."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

__all__ = ["end_with"]

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with(supervisor_pid: int) -> None:
    """
    Let the kernel kill this process when its parent, the supervisor, dies; Linux only.

    Elsewhere, and where the kernel refuses, the end of the line to the supervisor does it. That
    takes a thread that runs; this works also while C code holds the interpreter.

    Source: prctl(2): the signal comes when the *thread* ends that started us, and not if the parent
    was dead before.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return
    prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != supervisor_pid:
        os.kill(os.getpid(), signal.SIGKILL)
