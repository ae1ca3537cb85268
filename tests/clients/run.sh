#!/usr/bin/env bash
# Real Ethereum clients against a node.
#
#   tests/clients/run.sh [BINARY]        start `BINARY dev` (default: $DUSKEVM_BIN, else a debug build) and run every suite
#   tests/clients/run.sh --url URL       use a node that runs already; --plain if it is no DuskEVM node
#   --only NAME[,NAME...]                some suites: viem-token viem-calls viem-transactions viem-streams viem-trace viem-op
#                                        l1 proof ethers web3py foundry bad-input
#
# Packages go to ${XDG_CACHE_HOME:-$HOME/.cache}/duskevm-clients, installed once per lock file. The last line is
# `N passed, N failed`; the exit code is 1 if anything failed.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/duskevm-clients
ALL="viem-token viem-calls viem-transactions viem-streams viem-trace viem-op l1 proof ethers web3py foundry bad-input"
BINARY=${DUSKEVM_BIN:-}
# The node would take it for a setting that it does not know.
unset DUSKEVM_BIN
URL=
PLAIN=0
ONLY=$ALL

usage() { sed -n '2,12s/^# \{0,1\}//p' "$0"; }
while [ $# -gt 0 ]; do
  case $1 in
    --url) URL=${2:?--url wants a URL}; shift 2 ;;
    --plain) PLAIN=1; shift ;;
    --only) ONLY=${2:?--only wants a list of suites}; ONLY=${ONLY//,/ }; shift 2 ;;
    -h | --help) usage; exit 0 ;;
    -*) echo "unknown option $1" >&2; usage >&2; exit 2 ;;
    *) BINARY=$1; shift ;;
  esac
done
for name in $ONLY; do
  case " $ALL " in *" $name "*) ;; *) echo "no suite is called $name; there are: $ALL" >&2; exit 2 ;; esac
done
command -v node >/dev/null && command -v npm >/dev/null || { echo "Node.js 20 or newer with npm is needed on PATH" >&2; exit 2; }

mkdir -p "$CACHE"
# What failed runs left behind is kept for a day.
find "$CACHE" -maxdepth 1 -name 'run.*' -mtime +0 -exec rm -rf {} +
WORK=$(mktemp -d "$CACHE/run.XXXXXX")
LOG=$WORK/results.txt
NODE_LOG=$WORK/node.log
PID=
KEEP=0
: >"$LOG"

cleanup() {
  if [ -n "$PID" ] && kill -0 "$PID" 2>/dev/null; then
    kill -TERM "$PID" 2>/dev/null || true
    for _ in $(seq 100); do kill -0 "$PID" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$PID" 2>/dev/null || true
  fi
  [ "$KEEP" = 1 ] || rm -rf "$WORK"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# --- packages -----------------------------------------------------------------------------------------------------------

stamp() { cat "$@" | cksum | tr -d ' \n'; }
NODE_STAMP=$(stamp "$HERE/package.json" "$HERE/package-lock.json")
if [ "$(cat "$CACHE/node.stamp" 2>/dev/null)" != "$NODE_STAMP" ]; then
  echo "installing node packages into $CACHE"
  cp "$HERE/package.json" "$HERE/package-lock.json" "$HERE/.npmrc" "$CACHE/"
  (cd "$CACHE" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
  echo "$NODE_STAMP" >"$CACHE/node.stamp"
fi

PYTHON=
PYTHON_MISSING=
if [[ " $ONLY " == *" web3py "* ]]; then
  if ! command -v python3 >/dev/null; then
    PYTHON_MISSING="python3 is not installed"
  elif ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    PYTHON_MISSING="python3 has no venv module"
  else
    PYTHON_STAMP="$(stamp "$HERE/requirements.txt")-$(python3 -V | tr -d ' ')"
    if [ "$(cat "$CACHE/python.stamp" 2>/dev/null)" != "$PYTHON_STAMP" ]; then
      echo "installing python packages into $CACHE/python"
      rm -rf "$CACHE/python"
      python3 -m venv "$CACHE/python"
      "$CACHE/python/bin/pip" install --quiet --disable-pip-version-check -r "$HERE/requirements.txt"
      echo "$PYTHON_STAMP" >"$CACHE/python.stamp"
    fi
    PYTHON=$CACHE/python/bin/python
  fi
fi

# The foundry packages are one per platform; a program of your own comes first.
tool() { # NAME VARIABLE
  local given=${!2:-}
  local packaged="$CACHE/node_modules/@foundry-rs/$1-linux-amd64/bin/$1"
  if [ -n "$given" ]; then echo "$given"
  elif [ -x "$packaged" ]; then echo "$packaged"
  else command -v "$1" || true; fi
}

# --- the node -----------------------------------------------------------------------------------------------------------

cp -R "$HERE/lib" "$HERE/suites" "$HERE/contracts" "$HERE/foundry" "$WORK/"
node "$WORK/lib/compile.mjs" "$WORK/contracts" "$WORK/compiled.json"

free_ports() {
  node -e 'const net=require("net");const n=+process.argv[1];const s=[];const next=()=>{if(s.length===n){console.log(s.map(x=>x.address().port).join(" "));s.forEach(x=>x.close());return}const x=net.createServer().listen(0,"127.0.0.1",()=>{s.push(x);next()})};next()' "$1"
}
ask() { # METHOD: the result as text, empty if there is none
  node -e 'fetch(process.argv[1],{method:"POST",headers:{"content-type":"application/json"},body:JSON.stringify({jsonrpc:"2.0",id:1,method:process.argv[2],params:[]}),signal:AbortSignal.timeout(2000)}).then(r=>r.json()).then(j=>console.log(j.result??""),()=>{})' "$URL" "$1"
}

if [ -z "$URL" ]; then
  if [ -z "$BINARY" ]; then
    (cd "$ROOT" && cargo build --workspace --bin duskevm)
    BINARY=${CARGO_TARGET_DIR:-$ROOT/target}/debug/duskevm
  fi
  [ -x "$BINARY" ] || { echo "$BINARY is not a program; build it with: cargo build --workspace --bin duskevm" >&2; exit 2; }
  read -r PORT ADMIN METRICS L1 ROLLUP <<<"$(free_ports 5)"
  URL=http://127.0.0.1:$PORT
  # Its own temporary folder, so that nothing of it stays behind even if it has to be killed.
  mkdir "$WORK/tmp"
  TMPDIR=$WORK/tmp "$BINARY" dev --port "$PORT" --admin-port "$ADMIN" --metrics-port "$METRICS" --blob-port 0 --l1-rpc-port "$L1" --rollup-rpc-port "$ROLLUP" >"$NODE_LOG" 2>&1 &
  PID=$!
  for _ in $(seq 300); do
    kill -0 "$PID" 2>/dev/null || break
    number=$(ask eth_blockNumber)
    [[ "$number" =~ ^0x[1-9a-f] ]] && break
    sleep 0.1
  done
  if ! [[ "${number:-}" =~ ^0x[1-9a-f] ]]; then
    echo "the node did not produce a block within 30 s; its last words:" >&2
    tail -n 30 "$NODE_LOG" >&2
    echo "0 passed, 1 failed"
    exit 1
  fi
fi
[ "$(ask eth_chainId)" = 0x7a4e ] || { echo "$URL is not chain 31310" >&2; echo "0 passed, 1 failed"; exit 1; }

# --- the suites ---------------------------------------------------------------------------------------------------------

export CLIENTS_URL=$URL CLIENTS_PLAIN=$PLAIN CLIENTS_PID=$PID
if [ -n "$PID" ]; then
  export CLIENTS_L1_URL=http://127.0.0.1:$L1 CLIENTS_ROLLUP_URL=http://127.0.0.1:$ROLLUP CLIENTS_ADMIN=http://127.0.0.1:$ADMIN CLIENTS_BINARY=$BINARY
fi
CAST=$(tool cast CAST)
FORGE=$(tool forge FORGE)
export CAST FORGE SOLC="$WORK/lib/solc.mjs"

run_suite() { # NAME
  case $1 in
    foundry) bash "$WORK/suites/foundry.sh" ;;
    web3py)
      if [ -n "$PYTHON" ]; then "$PYTHON" "$WORK/suites/web3py.py"
      else echo "skip web3.py: everything ($PYTHON_MISSING)"; fi ;;
    *) node "$WORK/suites/$1.mjs" ;;
  esac
}

# Runs a suite and leaves its text, with a verdict on the suite itself, in NAME.txt.
judged() { # NAME
  local text=$WORK/$1.txt status=0
  run_suite "$1" >"$text" 2>&1 || status=$?
  # A suite that breaks off, or says nothing at all, has failed, whatever it printed before.
  if [ $status -ne 0 ] && ! grep -q '^FAIL ' "$text"; then echo "FAIL $1: ended with exit code $status" >>"$text"
  elif ! grep -qE '^(ok  |skip|FAIL) ' "$text"; then echo "FAIL $1: it checked nothing" >>"$text"; fi
  cat "$text"
}

# Most of their time the suites wait for blocks, and each has its own account: they run side by side. Bad input comes alone at
# the end, because it measures how the node behaves under it.
JOBS=${CLIENTS_JOBS:-4}
for name in $ONLY; do
  [ "$name" != bad-input ] || continue
  while [ "$(jobs -rp | grep -cv "^${PID:-none}$")" -ge "$JOBS" ]; do sleep 0.1; done
  judged "$name" &
  SUITES="${SUITES:-} $!"
done
for pid in ${SUITES:-}; do wait "$pid" || true; done
[[ " $ONLY " != *" bad-input "* ]] || judged bad-input
for name in $ONLY; do grep -E '^(ok  |FAIL|skip) ' "$WORK/$name.txt" >>"$LOG" || true; done
if [ -n "$PID" ] && ! kill -0 "$PID" 2>/dev/null; then
  echo "FAIL node: it ended while the suites ran; its last words:" | tee -a "$LOG"
  tail -n 20 "$NODE_LOG"
  PID=
fi

if [ -n "$PID" ]; then
  if grep -nE "panicked at" "$NODE_LOG" | head -5 | sed 's/^/       /' | grep .; then
    echo "FAIL node: it panicked" | tee -a "$LOG"
  else
    echo "ok   node: no panic in its log" | tee -a "$LOG"
  fi
  kill -TERM "$PID"
  status=0
  # Its shutdown is bounded by 10 s; giving back the disk space of what it wrote is the system's affair and can take longer.
  for _ in $(seq 300); do kill -0 "$PID" 2>/dev/null || break; sleep 0.1; done
  if kill -0 "$PID" 2>/dev/null; then
    echo "FAIL node: it did not end within 30 s of SIGTERM" | tee -a "$LOG"
  else
    wait "$PID" || status=$?
    if [ $status -eq 0 ] || [ $status -eq 143 ]; then echo "ok   node: ends when it is told to" | tee -a "$LOG"
    else echo "FAIL node: exit code $status after SIGTERM" | tee -a "$LOG"; fi
    PID=
  fi
fi

passed=$(grep -c '^ok  ' "$LOG" || true)
failed=$(grep -c '^FAIL' "$LOG" || true)
skipped=$(grep -c '^skip' "$LOG" || true)
if [ "$failed" -gt 0 ]; then
  KEEP=1
  echo "what was run, and the node's log: $WORK"
fi
[ "$skipped" -eq 0 ] || echo "$skipped skipped, each with its reason above"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
