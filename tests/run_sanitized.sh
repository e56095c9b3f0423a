#!/bin/sh
# Run the tests of the compiled modules under AddressSanitizer and UBSan.
#
#   PYTHON=.venv/bin/python tests/run_sanitized.sh [pytest arguments]
#   PYTHON=.venv/bin/python tests/run_sanitized.sh --script FILE [arguments]
#
# Builds both extensions with FASTGW_BUILD=sanitize in a temporary directory; the checkout's own build
# is not touched. pip fetches what the build asks for, unless PYTHON has it: setuptools 77 (PEP 639)
# and Cython. PYTHON needs fastgw's test dependencies; CC must be gcc (12 works). Any report of a sanitizer ends
# the run with an error. Leaks are not looked for: CPython and its extensions keep much for ever by
# design; tests/decode/test_decode_memory.py counts blocks instead.
set -eu

cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
case $python in */*) python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") ;; esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

# A copy, for objects that were compiled with other flags would be taken for fresh.
mkdir "$work/tree"
cp -R pyproject.toml setup.py README.md LICENSE src "$work/tree"
find "$work/tree" -name '*.so' -exec rm {} +
# The listener is compiled against the picows that the tests will load.
"$python" -c 'import picows; print(f"picows=={picows.__version__}")' > "$work/constraints"
isolation=$("$python" -c '
import Cython, setuptools
print("--no-build-isolation" if int(setuptools.__version__.split(".")[0]) >= 77 else "")
' 2> /dev/null || :)
# Python's own flags hold -fwrapv, which makes UBSan blind for signed overflow.
CFLAGS="${CFLAGS:-} -fno-wrapv" FASTGW_BUILD=sanitize \
    PIP_CONSTRAINT="$work/constraints" PIP_BUILD_CONSTRAINT="$work/constraints" \
    "$python" -m pip install -q --no-deps ${isolation:+"$isolation"} --target "$work/lib" "$work/tree" \
    > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }

# The runtime must come before everything else, as python itself is not instrumented. PYTHONMALLOC:
# each object gets its own allocation, so that reads beyond a bytes object are seen.
address=$(${CC:-gcc} -print-file-name=libasan.so)
undefined=$(${CC:-gcc} -print-file-name=libubsan.so)
export LD_PRELOAD="$address $undefined"
export ASAN_OPTIONS="detect_leaks=0:abort_on_error=1:allocator_may_return_null=1"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1"
export PYTHONMALLOC=malloc
export PYTHONPATH="$work/lib"

"$python" - <<'CHECK'
import fastgw._decode, os
assert fastgw._decode.__file__.startswith(os.environ["PYTHONPATH"]), fastgw._decode.__file__
CHECK

if [ "${1:-}" = --script ]; then
    shift
    "$python" "$@"
    exit
fi
if [ $# -eq 0 ]; then
    set -- tests/decode tests/connection tests/conformance
fi
# pytest captures no file descriptors, or it would swallow the reports.
"$python" -m pytest -q -p no:cacheprovider --capture=sys -o timeout=600 "$@"
