"""The gate in front of the compiled listener."""

from __future__ import annotations

import pytest

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
