#!/bin/sh
# Build the static, decoder-only libzstd that wheels carry into a folder: .ci/build_zstd.sh ROOT
#
# cibuildwheel calls this before it builds wheels; setup.py finds the result by FASTGW_ZSTD_ROOT. The
# source is pinned by its digest. ZSTD_TARBALL=FILE takes the file instead of downloading it.
set -eu

version=1.5.7
digest=eb33e51f49a15e023950cd7825ca74a4a2b43db8354825ac24fc1b7ee09e6fa3
root=$1
work=$(mktemp -d)
tarball=${ZSTD_TARBALL:-$work/zstd.tar.gz}

if [ -z "${ZSTD_TARBALL:-}" ]; then
    curl -fsSL --retry 3 -o "$tarball" \
        "https://github.com/facebook/zstd/releases/download/v$version/zstd-$version.tar.gz"
fi
if command -v sha256sum >/dev/null; then
    found=$(sha256sum <"$tarball")
else
    found=$(shasum -a 256 <"$tarball") # macOS
fi
if [ "${found%% *}" != "$digest" ]; then
    echo "zstd $version: the digest is ${found%% *}, not $digest" >&2
    exit 1
fi
tar -xzf "$tarball" -C "$work" --strip-components=1
mkdir -p "$root/include" "$root/lib"
cp "$work/lib/zstd.h" "$work/lib/zstd_errors.h" "$root/include/"

case $(uname -s) in
MINGW* | MSYS*)
    cmake -S "$work/build/cmake" -B "$work/made" -DZSTD_BUILD_PROGRAMS=OFF -DZSTD_BUILD_SHARED=OFF \
        -DZSTD_BUILD_TESTS=OFF -DZSTD_LEGACY_SUPPORT=OFF -DZSTD_MULTITHREAD_SUPPORT=OFF
    cmake --build "$work/made" --config Release
    cp "$work/made/lib/Release/zstd_static.lib" "$root/lib/"
    ;;
*)
    # Decoder only, position-independent for an extension module, nothing exported from it.
    make -s -C "$work/lib" libzstd.a ZSTD_LIB_COMPRESSION=0 ZSTD_LIB_DICTBUILDER=0 \
        ZSTD_LIB_DEPRECATED=0 ZSTD_LEGACY_SUPPORT=0 \
        CFLAGS="${CFLAGS:-} -O3 -fPIC -fvisibility=hidden"
    cp "$work/lib/libzstd.a" "$root/lib/"
    ;;
esac
rm -rf "$work"
