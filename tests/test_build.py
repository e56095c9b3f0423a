"""How the core is built: what it says of itself, and what setup.py does about libzstd."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import runpy
import subprocess
import sys
from pathlib import Path

import Cython.Build
import pytest
import setuptools
from setuptools._distutils.ccompiler import new_compiler
from setuptools._distutils.sysconfig import customize_compiler

import fastgw
from fastgw._decode import use_zstd, zstd_library, zstd_package

ROOT = Path(__file__).parents[1]


def test_build_info_says_what_is_in():
    """Versions are those that are installed, and zstd is the one that decompresses."""
    info = fastgw.build_info()
    assert info.fastgw == fastgw.__version__
    assert info.picows == importlib.metadata.version("picows")
    assert info.zlib == f"zlib-ng {importlib.metadata.version('zlib-ng')}"
    assert info.simd in ("avx2", "sse2", "neon", "none")
    library = zstd_library()
    if library is None:
        assert (info.zstd, info.zstd_version) == ("package", zstd_package()[1])
    else:
        assert (info.zstd, info.zstd_version) == library
        assert info.zstd in ("static", "shared")


def test_build_info_can_go_into_a_bug_report():
    """It is plain data."""
    info = dataclasses.asdict(fastgw.build_info())
    assert all(isinstance(value, str) and value for value in info.values())


def test_the_package_is_imported_only_where_it_decompresses():
    """With libzstd in the core nobody pays for the package, which stays a dependency."""
    check = (
        "import sys\n"
        "import aiofastnet\n"  # through the library of Python 3.14 it brings the package
        "names = {'backports.zstd', 'compression.zstd'}\n"
        "for name in names: sys.modules.pop(name, None)\n"
        "from fastgw._decode import Decoder\n"
        "Decoder(compression='zstd-stream')\n"
        "print(bool(names & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(zstd_library() is None)


def test_only_what_is_in_can_be_chosen():
    """A build without libzstd says so."""
    with pytest.raises(ValueError, match="igzip"):
        use_zstd("igzip")
    if zstd_library() is None:
        with pytest.raises(ValueError, match="library"):
            use_zstd("library")


# ----------------------------------------------------------------------------------------- setup.py


@pytest.fixture
def build_with(tmp_path, monkeypatch):
    """Run setup.py with an environment, without building; return its command and its extension."""

    def run(**environment):
        monkeypatch.chdir(tmp_path)  # what it writes goes there
        monkeypatch.setattr(setuptools, "setup", lambda **options: None)
        monkeypatch.setattr(Cython.Build, "cythonize", lambda extensions, **options: extensions)
        for name in ("FASTGW_ZSTD", "FASTGW_ZSTD_ROOT", "FASTGW_BUILD"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        names = runpy.run_path(str(ROOT / "setup.py"))
        command = names["BuildExtensions"](setuptools.Distribution())
        command.compiler = new_compiler()
        customize_compiler(command.compiler)
        return command, setuptools.Extension("fastgw._decode", [])

    return run


@pytest.mark.parametrize("name", ["FASTGW_ZSTD", "FASTGW_BUILD"])
def test_a_misspelt_wish_is_refused(build_with, name):
    """Not built in some other way than asked for."""
    with pytest.raises(SystemExit, match=f"{name}='statik'"):
        build_with(**{name: "statik"})


@pytest.mark.parametrize("wish", ["static", "shared"])
@pytest.mark.parametrize("archive", [None, b"", b"!<arch>\n"])
def test_a_libzstd_that_is_wanted_and_not_usable(build_with, tmp_path, wish, archive):
    """Wheels ask for it: without it they must not be built; the text says what to do."""
    (tmp_path / "root" / "lib").mkdir(parents=True)
    if archive is not None:
        (tmp_path / "root" / "lib" / "libzstd.a").write_bytes(archive)
    command, extension = build_with(FASTGW_ZSTD=wish, FASTGW_ZSTD_ROOT=str(tmp_path / "root"))
    with pytest.raises(SystemExit, match=f"FASTGW_ZSTD={wish}: no usable libzstd"):
        command._add_zstd(extension)
    assert not extension.define_macros


def test_no_libzstd_is_no_error_by_itself(build_with, tmp_path, capsys):
    """From the sdist a compiler is all that is needed; what was tried is said."""
    command, extension = build_with(FASTGW_ZSTD_ROOT=str(tmp_path))
    command._add_zstd(extension)
    assert (extension.define_macros, extension.extra_link_args) == ([], [])
    assert "the Python package serves" in capsys.readouterr().err


@pytest.mark.skipif(zstd_library() is None, reason="this build has no libzstd to be found again")
def test_what_this_build_has_is_found_again(build_with):
    """With the wish that it was built with, the same kind is linked; static comes first."""
    linked = zstd_library()[0]
    command, extension = build_with(FASTGW_ZSTD=linked)
    command._add_zstd(extension)
    assert extension.define_macros == [("FASTGW_ZSTD", f'"{linked}"')]
    assert extension.extra_link_args
    kinds = [kind for kind, _, _ in build_with()[0]._zstd_candidates()]
    assert kinds == sorted(kinds, key=["static", "shared"].index)
