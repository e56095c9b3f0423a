"""
The gate in front of the compiled listener: only the picows it was built against may load it.

Another field layout crashes, another method table loses frames without a word, and Cython checks
neither fully. The installed `picows.pxd` *is* the layout, so its digest is compared with the one
taken at build time, besides version range and object sizes.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path

__all__ = ["open_gate", "picows_problem"]

# The range of pyproject.toml, there twice: [build-system] and [project].
MINIMUM = (2, 3, 1)
BELOW = (2, 4)


def picows_problem(
    version: str,
    sizes: Mapping[str, int],
    layout: str,
    *,
    built_version: str,
    built_sizes: Mapping[str, int],
    built_layout: str,
) -> str | None:
    """
    Tell why this picows must not be used, or None when it may.

    Args:
        version: of the installed picows.
        sizes: its object sizes in bytes, by class name.
        layout: SHA-256 of its `picows.pxd`, in hexadecimal.
        built_version, built_sizes, built_layout: the same at build time.
    Returns:
        One sentence that says what does not fit and what to install.
    """
    remedy = (
        f'install the picows that fastgw was built with: pip install "picows=={built_version}", '
        f"or rebuild fastgw: pip install --no-binary fastgw --force-reinstall fastgw"
    )
    release = tuple(int(part) for part in version.split(".")[:3] if part.isdecimal())
    if release < MINIMUM or release[:2] >= BELOW:
        return f"picows {version} is outside the supported range >=2.3.1,<2.4; {remedy}"
    for name, size in built_sizes.items():
        if sizes.get(name) != size:
            return (
                f"picows {version} has a {name} of {sizes.get(name)} bytes where fastgw was built "
                f"against {size}; {remedy}"
            )
    if layout != built_layout:
        return f"picows {version} has another C layout than fastgw was built against; {remedy}"
    return None


def open_gate() -> None:
    """
    Import the compiled listener if the installed picows fits it.

    Raises:
        ImportError: it does not; the text says what to install.
    """
    import picows.picows as core
    from picows.version import __version__ as installed  # metadata may be missing: frozen programs

    try:
        with warnings.catch_warnings():
            # Cython only warns of a larger object, and a larger one has moved fields.
            warnings.simplefilter("error", RuntimeWarning)
            from . import listener
    except (ValueError, AttributeError, RuntimeWarning) as error:
        raise ImportError(
            f"picows {installed} does not fit this build of fastgw ({error}); install "
            f'another of its supported range: pip install "picows>=2.3.1,<2.4"'
        ) from error
    built_version, built_layout, built_sizes = listener.BUILT_WITH
    layout_file = Path(core.__file__).with_name("picows.pxd")
    try:
        layout = layout_file.read_bytes()
    except OSError as error:
        raise ImportError(
            f"{layout_file} is missing ({error.strerror}), and without it nobody can tell whether "
            f"this picows fits; a frozen application or a slimmed image must take the file along "
            f'(PyInstaller: fastgw brings a hook, or --add-data "{layout_file}:picows")'
        ) from error
    problem = picows_problem(
        installed,
        {name: getattr(core, name).__basicsize__ for name in built_sizes},
        hashlib.sha256(layout).hexdigest(),
        built_version=built_version,
        built_sizes=built_sizes,
        built_layout=built_layout,
    )
    if problem is not None:
        raise ImportError(problem)
