"""`python -m bench.floor.build MODULE LIBRARY DIRECTORY`: compile one floor into a directory."""

from __future__ import annotations

import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

_HERE = Path(__file__).parent


def main() -> None:
    """Compile what the command line names."""
    module, library, directory = sys.argv[1:]
    extension = Extension(
        module,
        [str(_HERE / f"{module}.pyx")],
        libraries=[library] if library else [],
        extra_compile_args=["-O3"] if sys.platform != "win32" else [],
    )
    setup(
        name=module,
        ext_modules=cythonize(
            [extension],
            include_path=[str(_HERE)],
            build_dir=f"{directory}/c",
            quiet=True,
        ),
        script_args=["build_ext", "--build-lib", directory, "--build-temp", f"{directory}/o"],
    )


if __name__ == "__main__":
    main()
