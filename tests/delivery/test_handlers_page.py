"""What docs/handlers.md shows runs as printed."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "handlers.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
async def test_a_block_of_the_page_runs(number):
    """Each on top of those before it."""
    scope = {}
    for block in BLOCKS[: number + 1]:
        exec(compile(block, PAGE.name, "exec"), scope)
