#!/usr/bin/env bash
# Runs the whole measurement and prints one Markdown table: blocks next to bare op-revm, messages next to a bare actix address,
# and the same signed load on this node and on anvil. Everything is a release build. Leave the machine alone meanwhile.
#
#   benches/table.sh                          all of it
#   benches/table.sh --no-blocks --no-supervision -n 500000 --batch 50
#
#   --no-blocks, --no-supervision, --no-load, --no-anvil   leave out a part
#   -n N            transactions of a load (default 200000: with 2-second blocks a short run says little, because its end is
#                   rounded up to a block)
#   --batch N       transactions in one request; may be repeated (default: 1, then 50)
#   --block-time S  seconds between blocks, of both programs (default 2)
#   --out FILE      write the table there too
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
BLOCKS=1 SUPERVISION=1 LOAD=1 ANVIL_TOO=1 COUNT=200000 BATCHES=() BLOCK_TIME=2 OUT=

while [ $# -gt 0 ]; do
  case $1 in
    --no-blocks) BLOCKS=0 ;;
    --no-supervision) SUPERVISION=0 ;;
    --no-load) LOAD=0 ;;
    --no-anvil) ANVIL_TOO=0 ;;
    -n) COUNT=${2:?-n needs a number}; shift ;;
    --batch) BATCHES+=("${2:?--batch needs a number}"); shift ;;
    --block-time) BLOCK_TIME=${2:?--block-time needs seconds}; shift ;;
    --out) OUT=${2:?--out needs a file}; shift ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) echo "unknown option $1; --help lists them" >&2; exit 2 ;;
  esac
  shift
done
[ ${#BATCHES[@]} -gt 0 ] || BATCHES=(1 50)

cd "$ROOT"
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
cargo build --release --workspace --bins >&2
SHOW=(--date "$(date -u +%F)" --criterion "$TARGET/criterion")

if [ "$BLOCKS" = 1 ]; then
  cargo bench --bench blocks >&2
  SHOW+=(--blocks)
fi
if [ "$SUPERVISION" = 1 ]; then
  cargo bench -p duskevm-supervision --bench references >&2
  SHOW+=(--supervision)
fi
if [ "$LOAD" = 1 ]; then
  # The same block time and gas limit for both, and both limits so high that they are not what is measured: 2 Ggas hold 95,000
  # transfers. The load may run so far ahead of the blocks as this node's pool has room for, with both.
  TARGETS=(--spawn-duskevm "$TARGET/release/duskevm")
  if [ "$ANVIL_TOO" = 1 ]; then
    TARGETS+=(--spawn-anvil "$(benches/load/anvil.sh)")
  fi
  for batch in "${BATCHES[@]}"; do
    # A node that lost something is shown with it; only a load that could not be run at all ends this here.
    status=0
    "$TARGET/release/duskevm-load" compare "${TARGETS[@]}" -n "$COUNT" --batch "$batch" --block-time "$BLOCK_TIME" \
      --gas-limit 2000000000 --max-pending 60000 --json "$WORK/batch-$batch.json" >&2 || status=$?
    [ "$status" -le 1 ] || exit "$status"
    SHOW+=(--compare "$WORK/batch-$batch.json")
  done
fi

"$TARGET/release/duskevm-load" table "${SHOW[@]}" >"$WORK/table.md"
cat "$WORK/table.md"
[ -z "$OUT" ] || cp "$WORK/table.md" "$OUT"
