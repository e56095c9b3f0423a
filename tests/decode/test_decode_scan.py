"""The walks over JSON text at the edges of their 64-byte blocks."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from effort import rounds

from fastgw._decode import Decoder

PIECES = ['"', "\\", "{", "}", "[", "]", ",", ":", "a", "é", "\n", " ", "😀"]


def spans(data: str) -> tuple[bytes, int | None]:
    """What the walks say of `d` when another member follows it: its text, and its guild."""
    text = f'{{"t":"X","s":1,"op":0,"d":{data},"later":{{"guild_id":"1"}}}}'
    event = Decoder().feed(text.encode(), 1, True)
    return event.raw, event.guild_id


@pytest.mark.parametrize("padding", range(140))
def test_container_ends_where_its_bracket_is(padding):
    """Strings full of quotes, backslashes and brackets, moved over every place of a block."""
    inner = "x" * padding + '\\"}]{[\\\\' + "y" * (padding % 7)
    data = json.dumps({"a": inner, "b": [[{}], {"c": inner}], "\\": "\\"})
    assert spans(data) == (data.encode(), None)


@pytest.mark.parametrize("count", range(60, 70))
def test_backslashes_fill_a_block(count):
    """A run of backslashes longer than a block: odd and even runs escape differently."""
    data = json.dumps({"a": "\\" * count, "guild_id": "7", "b": [{"c": "\\" * count + '"'}]})
    assert spans(data) == (data.encode(), 7)


def test_random_values_end_where_json_says():
    """Seeded random strings in nested values: the end is that of the standard library."""
    rng = random.Random(5)
    for _ in range(rounds(3_000)):
        text = "".join(rng.choices(PIECES, k=rng.randrange(120)))
        value: object = {"k": [text, {text[:30]: text}], "guild_id": str(rng.randrange(1 << 62))}
        for _ in range(rng.randrange(5)):
            value = [value] if rng.random() < 0.5 else {text[:9]: value, "guild_id": "9"}
        data = json.dumps(value, ensure_ascii=rng.random() < 0.5)
        guild = int(value["guild_id"]) if isinstance(value, dict) else None
        assert spans(data) == (data.encode(), guild)


@pytest.mark.parametrize("broken", ['{"a":"b}', "[1,[2]", '{"a":{}', '["\\"]', "[" * 200])
def test_value_that_never_ends_is_no_json(broken):
    """A container that is not closed never gives a span beyond the message."""
    text = f'{{"t":"X","s":1,"op":0,"d":{broken}}}'.encode()
    event = Decoder().feed(text, 1, True)
    assert event.guild_id is None
    with pytest.raises(Exception, match="not JSON"):
        _ = event.data


def scan_check(directory: Path, simd: int) -> str:
    """Compile scan_check.c with one kind of instructions, run it, and return what it printed."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        pytest.skip("no C compiler")
    program, here = directory / f"scan_check_{simd}", Path(__file__).parent
    flags = ["-O2", f"-DFASTGW_SIMD={simd}", "-Wall", "-Wextra", "-Werror"]
    environment = dict(os.environ)
    if "asan" in environment.pop("LD_PRELOAD", ""):  # run_sanitized.sh
        flags.append("-fsanitize=address,undefined")
    include = f"-I{here.parents[1] / 'src' / 'fastgw'}"
    source = here / "scan_check.c"
    subprocess.run([*compiler, *flags, include, source, "-o", program], check=True, env=environment)
    return subprocess.run(
        [program], check=True, capture_output=True, text=True, env=environment
    ).stdout


def test_all_instructions_find_the_same(tmp_path):
    """Byte by byte, with what every processor has, and with more: one result on random text."""
    found = [scan_check(tmp_path, simd) for simd in (0, 1, 2)]
    assert found[0].count("\n") > 50
    assert found[0] == found[1] == found[2]
