"""
The Autobahn test suite against the echo agent, where it is installed.

FASTGW_WSTEST names its `wstest` program (PyPI `autobahntestsuite`, which wants Python 2.7; the
container image crossbario/autobahn-testsuite has it too). FASTGW_WSTEST_CASES restricts the cases,
for instance "1.*,5.*". Groups 12 and 13 test compression extensions, which we do not negotiate.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import socket
from collections import Counter

import pytest
from echo_agent import Echo, agent
from settled import settled

from fastgw._decode import Assembler
from fastgw.connection.dial import Dial
from fastgw.errors import ConnectFailed

WSTEST = os.environ.get("FASTGW_WSTEST")
CASES = os.environ.get("FASTGW_WSTEST_CASES", "*").split(",")
# Two CLOSE frames in one segment: picows sees the second before we answer the first.
DECIDED_BY_PICOWS = {"7.1.2"}
CASE_DEADLINE_S = 60

pytestmark = [
    pytest.mark.skipif(not WSTEST, reason="FASTGW_WSTEST does not name a wstest program"),
    pytest.mark.timeout(1200),
]


class Listener(Echo):
    """Keeps messages instead of echoing them."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[bytes] = []

    def message_received(self, message):
        self.heard.append(message[1])


async def ask(url: str) -> list[bytes]:
    """Connect, listen to the end, return the messages."""
    listener = Listener()
    connection = await Dial(Assembler(), listener).open(url)
    await listener.ended
    await settled(connection)
    return listener.heard


async def count_cases(url: str) -> int:
    """Wait until the server is up and tell how many cases it has."""
    for _ in range(200):
        try:
            return int((await ask(f"{url}/getCaseCount"))[0])
        except ConnectFailed:  # noqa: PERF203
            await asyncio.sleep(0.1)
    raise TimeoutError("wstest does not listen")


async def test_autobahn(tmp_path):
    """No behaviour is graded as failed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"ws://127.0.0.1:{port}"
    spec = {
        "url": url, "outdir": str(tmp_path), "cases": CASES, "exclude-cases": ["12.*", "13.*"],
        "exclude-agent-cases": {},
    }  # fmt: skip
    spec_file = tmp_path / "spec.json"
    spec_file.write_text(json.dumps(spec))
    wstest = await asyncio.create_subprocess_exec(
        *shlex.split(WSTEST or ""), "-m", "fuzzingserver", "-s", str(spec_file),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for case in range(1, await count_cases(url) + 1):
            await asyncio.wait_for(
                agent(f"{url}/runCase?case={case}&agent=fastgw"), CASE_DEADLINE_S
            )
        await ask(f"{url}/updateReports?agent=fastgw")
    finally:
        wstest.terminate()
        await wstest.wait()
    report = json.loads((tmp_path / "index.json").read_text())["fastgw"]
    print(len(report), "cases:", dict(Counter(case["behavior"] for case in report.values())))
    bad = ("FAILED", "WRONG CODE", "UNCLEAN")
    failed = {
        name: case
        for name, case in report.items()
        if case["behavior"] in bad or case["behaviorClose"] in bad
    }
    assert set(failed) <= DECIDED_BY_PICOWS, failed
