"""The gate in front of the compiled listener."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from deadline import scaled

from fastgw._pyinstaller import get_hook_dirs
from fastgw.connection import gate as _gate
from fastgw.connection import listener as _transport

BUILT = {
    "built_version": "2.3.1",
    "built_sizes": {"WSFrame": 72, "WSTransport": 176},
    "built_layout": "ab" * 32,
}
FITTING = {"version": "2.3.2", "sizes": {"WSFrame": 72, "WSTransport": 176}, "layout": "ab" * 32}


def test_fitting_picows_passes():
    """Another release of the range with the same layout is let through."""
    assert _gate.picows_problem(**FITTING, **BUILT) is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": "2.3.0"}, "outside the supported range"),
        ({"version": "2.4.0"}, "outside the supported range"),
        ({"version": "3.0"}, "outside the supported range"),
        ({"sizes": {"WSFrame": 80, "WSTransport": 176}}, "WSFrame of 80 bytes"),
        ({"sizes": {"WSFrame": 72}}, "WSTransport of None bytes"),
        ({"layout": "cd" * 32}, "another C layout"),
    ],
)
def test_other_picows_is_refused_with_the_remedy(change, says):
    """A version, an object size or a layout that differs is refused; the text says what to do."""
    problem = _gate.picows_problem(**(FITTING | change), **BUILT)
    assert problem is not None
    assert says in problem
    assert 'pip install "picows==2.3.1"' in problem


def test_installed_picows_passes_the_real_gate():
    """What the build recorded fits what is installed."""
    _gate.open_gate()
    version, layout, sizes = _transport.BUILT_WITH
    assert version.startswith("2.3.")
    assert len(layout) == 64
    assert set(sizes) == {"WSFrame", "WSListener", "WSTransport"}


def test_gate_refuses_a_changed_layout_file(monkeypatch):
    """The digest of the installed picows.pxd is really compared."""
    monkeypatch.setattr(_transport, "BUILT_WITH", ("2.3.1", "0" * 64, _transport.BUILT_WITH[2]))
    with pytest.raises(ImportError, match="another C layout"):
        _gate.open_gate()


def test_a_missing_layout_file_is_an_import_error_with_the_remedy(monkeypatch):
    """A slimmed image or a frozen application: it says which file, and what to add."""

    def missing(path):
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr(Path, "read_bytes", missing)
    with pytest.raises(ImportError, match=r"picows\.pxd is missing.*--add-data") as caught:
        _gate.open_gate()
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_no_metadata_is_needed():
    """A frozen application has no *.dist-info unless somebody took it along."""
    code = """
import importlib.metadata
def version(name): raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.version = importlib.metadata.distribution = version
import fastgw
fastgw.Gateway
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=scaled(60))


def test_pyinstaller_finds_the_hook():
    """By the entry point that its documentation names, and in the folder that it gives."""
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    group = project.partition("[project.entry-points.pyinstaller40]\n")[2].partition("\n\n")[0]
    assert group == f'hook-dirs = "{get_hook_dirs.__module__}:{get_hook_dirs.__name__}"'
    (folder,) = get_hook_dirs()
    assert Path(folder, "hook-fastgw.py").is_file()


@pytest.mark.many
@pytest.mark.timeout(600)
def test_a_frozen_application_runs(tmp_path):
    """The real PyInstaller, where it is installed: a gateway is made and its modules are there."""
    if shutil.which("pyinstaller") is None:
        pytest.skip("PyInstaller is not installed")
    (tmp_path / "bot.py").write_text("""
import asyncio, fastgw
from fastgw import ConnectFailed, Gateway, Intents
from fastgw.connection.dial import Dial
from fastgw._decode import Decoder
async def main():
    Gateway("x" * 40, intents=Intents.none())
    for compression in ("zlib-stream", "zstd-stream"):
        try:
            await Dial(Decoder(compression=compression), None).open("ws://127.0.0.1:1/")
        except ConnectFailed as error:
            print(error)
asyncio.run(main())
""")
    subprocess.run(
        [sys.executable, "-m", "PyInstaller", "--onedir", "--noconfirm", "bot.py"],
        check=True, cwd=tmp_path, capture_output=True, timeout=500,
    )  # fmt: skip
    said = subprocess.run(
        [tmp_path / "dist" / "bot" / "bot"], capture_output=True, text=True, timeout=scaled(60)
    )
    assert said.stdout.count("refused the connection") == 2, said.stderr
