"""
Build the three extensions of fastgw.

FASTGW_BUILD selects the kind of build: "release" (default, optimised, no bounds checks), "debug"
(bounds checks, no optimisation) or "sanitize" (debug with AddressSanitizer and UBSan; load the
sanitizer's runtime with LD_PRELOAD to import it).

FASTGW_ZSTD says whether libzstd is linked in: "auto" (default: static if that works, else shared,
else not), "static" or "shared" (a build that cannot is an error), or "off". Without it the Python
package decompresses. FASTGW_ZSTD_ROOT is the folder with include/ and lib/, where it is none of the
system's. Everything else stands in pyproject.toml.
"""

import glob
import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import picows
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KIND = os.environ.get("FASTGW_BUILD", "release")
FLAGS = {
    "release": ["-O3"],
    "debug": ["-O0", "-g"],
    "sanitize": ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined"],
}
if KIND not in FLAGS:
    raise SystemExit(f"FASTGW_BUILD={KIND!r} is not one of {', '.join(FLAGS)}")

ZSTD = os.environ.get("FASTGW_ZSTD", "auto")
if ZSTD not in ("auto", "static", "shared", "off"):
    raise SystemExit(f"FASTGW_ZSTD={ZSTD!r} is not one of auto, static, shared, off")

# 1.4.0 made the functions that we call stable.
ZSTD_PROBE = """
#include <zstd.h>
#if ZSTD_VERSION_NUMBER < 10400
#error "libzstd before 1.4.0"
#endif
size_t probe(ZSTD_outBuffer *output, ZSTD_inBuffer *input)
{
    ZSTD_DCtx *context = ZSTD_createDCtx();
    ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, 23);
    return ZSTD_decompressStream(context, output, input);
}
int main(void) { return probe(0, 0) != 0; }
"""


class BuildExtensions(build_ext):
    """Look for libzstd with the compiler that builds, and hide what an extension need not show."""

    def build_extensions(self):
        """Complete the extensions, then build them."""
        by_name = {extension.name: extension for extension in self.extensions}
        if ZSTD != "off":
            self._add_zstd(by_name["fastgw._decode"])
        # Another libzstd in the process must not be taken for ours, nor ours for it.
        Path(self.build_temp).mkdir(parents=True, exist_ok=True)
        for name, extension in by_name.items():
            entry = f"PyInit_{name.rpartition('.')[2]}"
            if sys.platform == "linux":
                exports = Path(self.build_temp, f"{name}.map")
                exports.write_text(f"{{ global: {entry}; local: *; }};\n")
                extension.extra_link_args.append(f"-Wl,--version-script={exports}")
            elif sys.platform == "darwin":
                extension.extra_link_args.append(f"-Wl,-exported_symbol,_{entry}")
        super().build_extensions()

    def _add_zstd(self, extension):
        for linked, include, link in self._zstd_candidates():
            if self._links(include, link):
                extension.include_dirs += include
                extension.extra_link_args += link
                extension.define_macros.append(("FASTGW_ZSTD", f'"{linked}"'))
                print(f"fastgw: libzstd, {linked}: {shlex.join(link)}", file=sys.stderr)
                return
        if ZSTD != "auto":
            raise SystemExit(
                f"FASTGW_ZSTD={ZSTD}: no usable libzstd; install its headers and library (such as "
                "libzstd-dev), name where they are with FASTGW_ZSTD_ROOT, or set FASTGW_ZSTD=off"
            )
        print("fastgw: no usable libzstd, the Python package serves", file=sys.stderr)

    def _zstd_candidates(self):
        """Yield (how it is linked, include folders, link arguments), the best first."""
        root = os.environ.get("FASTGW_ZSTD_ROOT")
        windows = os.name == "nt"
        archive = "zstd_static.lib" if windows else "libzstd.a"
        if root:
            include = [f"{root}/include"]
            archives = [f"{root}/lib/{archive}"]
            # A linker that finds none there takes the system's, which nobody asked for.
            shared = [f"-L{root}/lib", "-lzstd"] if glob.glob(f"{root}/lib/libzstd.*") else []
        else:
            config = shlex.split(os.environ.get("PKG_CONFIG", "pkg-config"))
            flags = shlex.split(output_of(*config, "--cflags-only-I", "libzstd"))
            include = [flag[2:] for flag in flags]
            archives = [f"{output_of(*config, '--variable=libdir', 'libzstd')}/{archive}"]
            if not windows:  # Debian's libdir is not where its archive stands
                archives.append(output_of(*self.compiler.compiler, f"-print-file-name={archive}"))
            shared = shlex.split(output_of(*config, "--libs", "libzstd")) or ["-lzstd"]
        if ZSTD in ("auto", "static"):
            yield from (("static", include, [a]) for a in archives if os.path.isfile(a))
        if ZSTD in ("auto", "shared") and shared and not windows:
            yield "shared", include, shared

    def _links(self, include, link):
        """
        Prove that the header is there, that an archive may go into an extension, and that nothing
        is missing from it: an extension would link and fail at import, a program does not link.
        """
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "probe.c").write_text(ZSTD_PROBE)
            try:
                made = self.compiler.compile(
                    [f"{folder}/probe.c"], output_dir=folder, include_dirs=include
                )
                self.compiler.link_shared_object(made, f"{folder}/probe.so", extra_postargs=link)
                self.compiler.link_executable(made, f"{folder}/probe", extra_postargs=link)
            except Exception as error:
                print(f"fastgw: libzstd by {shlex.join(link)}: {error}", file=sys.stderr)
                return False
        return True


def output_of(*command):
    """What a command says; nothing when it fails or is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


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

# What the environment asks for, as a file: another wish compiles again.
wishes = Path(f"build/cython-{KIND}/wishes.txt")
wished = f"FASTGW_ZSTD={ZSTD} FASTGW_ZSTD_ROOT={os.environ.get('FASTGW_ZSTD_ROOT', '')}\n"
if not wishes.exists() or wishes.read_text() != wished:
    wishes.parent.mkdir(parents=True, exist_ok=True)
    wishes.write_text(wished)

setup(
    cmdclass={"build_ext": BuildExtensions},
    ext_modules=cythonize(
        [
            Extension(
                f"fastgw.{name}",
                [f"src/fastgw/{name.replace('.', '/')}.pyx"],
                extra_compile_args=compile_args,
                extra_link_args=list(link_args),
                define_macros=macros if name == "connection.listener" else [],
                depends=[
                    "src/fastgw/_scan.h",
                    "src/fastgw/_simd.h",
                    "src/fastgw/_walk.h",
                    "src/fastgw/_zstd.h",
                    "src/fastgw/connection/_clock.h",
                    str(layout_file),
                    str(wishes),
                ],
            )
            for name in ("_decode", "connection.listener", "delivery.ledger")
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
