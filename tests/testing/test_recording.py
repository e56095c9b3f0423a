"""The file of a recording: who may read it, what it says, and what of a broken one can be read."""

from __future__ import annotations

import os
import stat

import pytest

from fastgw import UsageError
from fastgw.testing import Recording, RecordingWriter, Traffic
from fastgw.testing.traffic.traffic import encode

DISPATCHES = Traffic(seed=5).dispatches(500)


def write(path, messages=500, **options):
    writer = RecordingWriter(path, **options)
    for number, dispatch in enumerate(DISPATCHES[:messages]):
        writer.write_message(
            10.0 + number / 1_000, 3, encode(dispatch.name, number + 1, dispatch.data)
        )
    return writer


def test_what_was_written_is_read(tmp_path):
    """Messages, shards, and times since the first one; twice."""
    write(tmp_path / "r", shard_ids=(3,), shard_count=16, intents=513).close()
    recording = Recording(tmp_path / "r")
    for _ in range(2):
        read = list(recording)
        assert [item.dispatch.name for item in read] == [item.name for item in DISPATCHES]
        assert read[499].at_s == pytest.approx(0.499)
        assert recording.is_whole
    assert (recording.shard_ids, recording.shard_count) == ((3,), 16)
    assert {item.shard_id for item in read} == {3}
    for item, dispatch in zip(read, DISPATCHES, strict=True):
        has_secret = b'"token"' in dispatch.data or b'"session_id"' in dispatch.data
        assert (item.dispatch.data == dispatch.data) is not has_secret


def test_the_file_is_for_its_owner_only(tmp_path):
    """Whatever the umask is; and a file that is there is not written over."""
    before = os.umask(0)
    try:
        write(tmp_path / "r").close()
    finally:
        os.umask(before)
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "r").stat().st_mode) == 0o600
    with pytest.raises(UsageError, match="is there already"):
        write(tmp_path / "r")


@pytest.mark.parametrize("redact_content", [False, True])
def test_it_says_what_it_still_holds(tmp_path, redact_content):
    """In its first line."""
    write(tmp_path / "r", redact_content=redact_content).close()
    facts = Recording(tmp_path / "r").facts
    assert ("what people wrote" in facts["holds"]) is not redact_content
    assert ("what people wrote" in facts["replaced"]) is redact_content


def test_a_recording_that_was_killed_is_read_as_far_as_it_goes(tmp_path):
    """Up to the last block that was written out."""
    writer = write(tmp_path / "r", messages=100)
    writer.flush()
    recording = Recording(tmp_path / "r")
    assert len(list(recording)) == 100
    assert not recording.is_whole
    writer.close()
    cut = (tmp_path / "r").read_bytes()
    (tmp_path / "cut").write_bytes(cut[: len(cut) - 5])
    shorter = Recording(tmp_path / "cut")
    assert len(list(shorter)) <= 100
    assert not shorter.is_whole


@pytest.mark.parametrize("text", [b"", b"hello\n" * 50, b"\x28\xb5\x2f\xfd"])
def test_what_is_no_recording_is_refused(tmp_path, text):
    """With the file's name."""
    (tmp_path / "r").write_bytes(text)
    with pytest.raises(UsageError, match="no recording of fastgw"):
        Recording(tmp_path / "r")
    with pytest.raises(UsageError, match="cannot be read"):
        Recording(tmp_path / "nothing")
