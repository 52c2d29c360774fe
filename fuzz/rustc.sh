#!/bin/sh
# Compiles our own packages for libFuzzer: with counters at every edge and comparison, and with AddressSanitizer.
#
# cargo calls it in place of rustc for the workspace's packages alone (RUSTC_WORKSPACE_WRAPPER), so that all others
# are those of any other build. Build scripts and macros run while building and stay as they are.
case " $* " in
*" build_script_build "* | *" proc-macro "* | *" --print"* | *" -vV "*) exec "$@" ;;
esac
# The sanitizer's flag is one of a nightly compiler; the library that it links is in every toolchain.
export RUSTC_BOOTSTRAP=1
exec "$@" -Zsanitizer=address -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
