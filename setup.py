"""
Build the two extensions of fastgw.

FASTGW_BUILD selects the kind of build: "release" (default, optimised, no bounds checks), "debug"
(bounds checks, no optimisation) or "sanitize" (debug with AddressSanitizer and UBSan; load the
sanitizer's runtime with LD_PRELOAD to import it). Everything else stands in pyproject.toml.
"""

import hashlib
import os
from pathlib import Path

import picows
from Cython.Build import cythonize
from setuptools import Extension, setup

KIND = os.environ.get("FASTGW_BUILD", "release")
FLAGS = {
    "release": ["-O3"],
    "debug": ["-O0", "-g"],
    "sanitize": ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined"],
}
if KIND not in FLAGS:
    raise SystemExit(f"FASTGW_BUILD={KIND!r} is not one of {', '.join(FLAGS)}")

checked = KIND != "release"
compile_args = FLAGS[KIND] if os.name == "posix" else []
link_args = [flag for flag in compile_args if flag.startswith("-fsanitize")]

# What the listener was compiled against; the gate compares it with what is installed at import.
# It goes in as C macros; `depends` makes a build directory with older values compile again.
layout_file = Path(picows.__file__).with_name("picows.pxd")
layout = layout_file.read_bytes()
macros = [
    ("FASTGW_PICOWS_VERSION", f'"{picows.__version__}"'),
    ("FASTGW_PICOWS_LAYOUT", f'"{hashlib.sha256(layout).hexdigest()}"'),
]

setup(
    ext_modules=cythonize(
        [
            Extension(
                f"fastgw.{name}",
                [f"src/fastgw/{name.replace('.', '/')}.pyx"],
                extra_compile_args=compile_args,
                extra_link_args=link_args,
                define_macros=macros if name == "connection.listener" else [],
                depends=["src/fastgw/_scan.h", str(layout_file)],
            )
            for name in ("_decode", "connection.listener")
        ],
        compiler_directives={
            "language_level": 3,
            "binding": True,
            "embedsignature": True,
            "embedsignature.format": "python",
            "auto_pickle": False,
            "autotestdict": False,
            "boundscheck": checked,
            "wraparound": False,
            "initializedcheck": checked,
            "cdivision": True,
            "freethreading_compatible": False,
        },
        build_dir=f"build/cython-{KIND}",
    ),
)
