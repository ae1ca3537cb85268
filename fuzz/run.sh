#!/usr/bin/env bash
# Runs fuzz targets one after another and prints what each came to. Ends with 1 if anything was found.
# usage: fuzz/run.sh [-s SECONDS] [TARGET...]      without targets: all of them
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=600
if [ "${1:-}" = -s ]; then
  seconds=$2
  shift 2
fi
home="${DUSKEVM_FUZZ_HOME:-$HOME/.cache/duskevm-fuzz}"
# The samples are made by the ordinary compiler, in the folder where the node is built.
cargo run -q -p duskevm-fuzz-checks --example samples -- "$home/corpus" >"$home.targets"
if [ $# -eq 0 ]; then
  mapfile -t all <"$home.targets"
  set -- "${all[@]}"
fi
rm -f "$home.targets"

export CARGO_TARGET_DIR="$home/target"
export ASAN_OPTIONS=detect_odr_violation=0
cargo +nightly fuzz build

found=0
printf '%-18s %12s %8s %6s  %s\n' target executions cover s found
for target in "$@"; do
  inputs="$home/found/$target/"
  log="$home/found/$target.log"
  mkdir -p "$inputs"
  result=-
  if ! "$CARGO_TARGET_DIR"/*/release/"$target" -max_total_time="$seconds" -print_final_stats=1 -rss_limit_mb=4096 -timeout=60 \
    -artifact_prefix="$inputs" "$home/corpus/$target" >"$log" 2>&1; then
    found=1
    result="see $log"
  fi
  executions=$(grep -o 'number_of_executed_units: *[0-9]*' "$log" | grep -o '[0-9]*$' || echo 0)
  cover=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | grep -o '[0-9]*' || echo 0)
  printf '%-18s %12s %8s %6s  %s\n' "$target" "$executions" "$cover" "$seconds" "$result"
done
exit "$found"
