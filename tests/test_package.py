"""The package as it is imported: public names, version, and what an import costs others."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import fastgw


def test_every_public_name_is_there():
    """`__all__` holds names that exist, and `dir` shows them."""
    assert [name for name in fastgw.__all__ if not hasattr(fastgw, name)] == []
    assert dir(fastgw) == sorted(fastgw.__all__)


def test_unknown_names_are_attribute_errors():
    """A name that is not there raises as everywhere."""
    assert not hasattr(fastgw, "Client")


def test_version_is_the_installed_one():
    """`__version__` and the metadata agree."""
    assert fastgw.__version__ == importlib.metadata.version("fastgw")


def test_pytest_plugin_imports_nothing_that_can_fail():
    """A picows that does not fit must not break the test runs of people who installed fastgw."""
    check = (
        "import sys, fastgw.testing.plugin; "
        "sys.exit(', '.join(m for m in sys.modules if m.startswith(('picows', 'fastgw._'))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
