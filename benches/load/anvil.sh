#!/usr/bin/env bash
# Prints the path of an anvil to compare with: $ANVIL, or the pinned one, which is installed first if need be.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/anvil" && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/duskevm-load-anvil

if [ -n "${ANVIL:-}" ]; then
  echo "$ANVIL"
  exit 0
fi
STAMP=$(cat "$HERE/package.json" "$HERE/package-lock.json" | cksum | tr -d ' \n')
if [ "$(cat "$CACHE/stamp" 2>/dev/null)" != "$STAMP" ]; then
  mkdir -p "$CACHE"
  cp "$HERE/package.json" "$HERE/package-lock.json" "$HERE/.npmrc" "$CACHE/"
  (cd "$CACHE" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >&2
  echo "$STAMP" >"$CACHE/stamp"
fi
BINARY=$CACHE/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil
if [ ! -x "$BINARY" ]; then
  BINARY=$(command -v anvil) || { echo "no anvil for this machine: install foundry, or set ANVIL" >&2; exit 1; }
fi
echo "$BINARY"
