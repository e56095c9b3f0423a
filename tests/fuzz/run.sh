#!/bin/sh
# Fuzz the decoder with libFuzzer, ASan and UBSan; compiled and reference must agree on each input.
#
#   PYTHON=.venv/bin/python tests/fuzz/run.sh [SECONDS]          default 60
#   PYTHON=.venv/bin/python tests/fuzz/run.sh FILE ...           plays findings again
#
# With FASTGW_FUZZ_TARGET=fields_target it is fields and filters, against parsing.
#
# The last line says how many inputs were tried. Findings are left in build/fuzz, as is the corpus,
# with which the next run begins. Needs clang (14 works), a Python with a shared libpython and its
# headers, and fastgw's build and test dependencies.
set -eu

cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
clang=${CLANG:-clang}
work=$PWD/build/fuzz
rm -rf "${work:?}/base" "${work:?}/lib"
mkdir -p "$work"

# -fno-wrapv: Python's own flags would make UBSan blind for signed overflow.
CC=$clang LDSHARED="$clang -shared" CFLAGS="${CFLAGS:-} -fsanitize=fuzzer-no-link -fno-wrapv" \
    FASTGW_BUILD=sanitize "$python" setup.py -q build --build-base "$work/base" \
    --build-lib "$work/lib" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }

# shellcheck disable=SC2046  # the flags are meant to be split
$clang -g -O1 -fsanitize=fuzzer,address,undefined -rdynamic -o "$work/fuzz_decode" \
    tests/fuzz/harness.c $("$python" - <<'FLAGS'
import sysconfig
value = sysconfig.get_config_var
print("-I" + sysconfig.get_paths()["include"])
print("-L" + value("LIBDIR"), "-Wl,-rpath," + value("LIBDIR"), "-lpython" + value("LDVERSION"))
FLAGS
)

export PYTHONPATH="$work/lib:tests/fuzz:tests/support:tests/decode"
export PYTHONMALLOC=malloc
export ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:suppressions=tests/fuzz/ubsan.supp"
FASTGW_FUZZ_PYTHON=$(command -v "$python")
export FASTGW_FUZZ_PYTHON

case ${1:-60} in
*[!0-9]*)
    exec "$work/fuzz_decode" "$@"
    ;;
esac
target=${FASTGW_FUZZ_TARGET:-decode_target}
mkdir -p "$work/corpus-$target"
"$python" tests/fuzz/seeds.py "$work/seeds-$target" "$target"
status=0
"$work/fuzz_decode" -max_total_time="${1:-60}" -max_len=4096 -timeout=20 -rss_limit_mb=4096 \
    -dict=tests/fuzz/gateway.dict -artifact_prefix="$work/" -print_final_stats=1 \
    "$work/corpus-$target" "$work/seeds-$target" > "$work/output" 2>&1 || status=$?
[ $status -eq 0 ] || tail -60 "$work/output"
grep -E "^stat::(number_of_executed_units|average_exec_per_sec|peak_rss_mb)|^Done" "$work/output"
exit $status
