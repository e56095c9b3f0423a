"""What docs/commands.md shows runs as printed."""

import ast
import inspect
import re
from pathlib import Path

import pytest
from gateways import gateway_to, quick_queue

from fastgw.testing import FakeGateway

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
FIRST, SECOND = (1 << 22) + 1, (2 << 22) + 1
MEMBERS = [{"user": {"id": "175928847299117063", "username": "Wumpus"}}]


@pytest.mark.parametrize("number", range(len(BLOCKS)))
async def test_a_block_of_the_page_runs(number):
    """With a gateway that is ready, and one more shard that runs elsewhere."""
    async with FakeGateway(max_concurrency=4, members={FIRST: MEMBERS, SECOND: MEMBERS}) as fake:
        options = {"shards": range(3), "shard_count": 4, "identify_queue": quick_queue(4)}
        async with gateway_to(fake, **options) as gateway:
            scope = {
                "gateway": gateway, "guild_id": FIRST, "other_guild_id": SECOND,
                "guild_elsewhere": 3 << 22, "channel_id": 5, "user_id": 175928847299117063,
            }  # fmt: skip
            exec(compile("from fastgw import Gateway, Intents", PAGE.name, "exec"), scope)
            code = compile(BLOCKS[number], PAGE.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if inspect.iscoroutine(running := eval(code, scope)):
                await running


def test_the_reader_of_the_page_reads():
    """A test of the tests."""
    assert len(BLOCKS) >= 7
