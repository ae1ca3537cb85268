#!/usr/bin/env bash
# cast and forge against the node. Expects CAST, FORGE (empty: absent), SOLC and CLIENTS_URL.
set -uo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
KEY=0x2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6 # account 9 of the mnemonic
ME=0xa0Ee7A142d267C1f36714E4a8F75612F20a79720
SINK=0x00000000000000000000000000000000000c0ffe
FAILED=0
export FOUNDRY_DISABLE_NIGHTLY_WARNING=1 NO_COLOR=1 ETH_RPC_URL="$CLIENTS_URL"

check() { # NAME FUNCTION: a subshell with -e, whose last words are shown if it fails
  local out status begin=$EPOCHREALTIME
  # Not inside `if`: there bash would ignore -e.
  out=$(set -eE; trap 'echo "at: $BASH_COMMAND"' ERR; "$2" 2>&1)
  status=$?
  if [ $status -eq 0 ]; then
    printf 'ok   foundry: %s (%.2f s)\n' "$1" "$(awk "BEGIN{print $EPOCHREALTIME-$begin}")"
  else
    FAILED=1
    printf 'FAIL foundry: %s: %s\n' "$1" "$(tr '\n' ' ' <<<"$out" | tail -c 900)"
  fi
}
skip() { printf 'skip foundry: %s (%s)\n' "$1" "$2"; }
equal() { [ "$1" = "$2" ] || { echo "expected '$2', got '$1'"; return 1; }; }
field() { node -e 'let t="";process.stdin.on("data",d=>t+=d).on("end",()=>{let v=JSON.parse(t);for(const k of process.argv[1].split("."))v=v?.[k];console.log(typeof v==="object"?JSON.stringify(v):String(v))})' "$1"; }
# Where foundry.toml says what kind of network this is.
cast() { (cd "$HERE/foundry" && "$CAST" "$@"); }
forge() { (cd "$HERE/foundry" && "$FORGE" "$@"); }
pay() { cast send --private-key "$KEY" --json "$@"; }

reads_blocks() {
  equal "$(cast chain-id)" 31310
  local number; number=$(cast block-number)
  [ "$number" -gt 0 ]
  equal "$(cast block "$number" --json | field number)" "$(printf '0x%x' "$number")"
  equal "$(cast block "$number" -f hash)" "$(cast rpc eth_getBlockByNumber "$(printf '0x%x' "$number")" false | field hash)"
  cast block safe --json >/dev/null
  cast block finalized --json >/dev/null
  [ "$(cast gas-price)" -gt 0 ]
  cast base-fee >/dev/null
  cast age >/dev/null
}
sends() {
  local receipt before; before=$(cast balance "$SINK")
  receipt=$(pay "$SINK" --value 1gwei)
  equal "$(field status <<<"$receipt")" 0x1
  equal "$(cast balance "$SINK")" "$((before + 1000000000))"
  equal "$(cast receipt "$(field transactionHash <<<"$receipt")" --json | field blockHash)" "$(field blockHash <<<"$receipt")"
  equal "$(cast tx "$(field transactionHash <<<"$receipt")" --json | field from | tr A-F a-f)" "$(tr A-F a-f <<<"$ME")"
  equal "$(cast nonce "$ME")" "$(cast nonce "$ME" --block latest)"
}
deploys_with_cast() {
  local code receipt; code=$(node -p "require('$HERE/compiled.json').Lab.bytecode")
  receipt=$(pay --create "$code")
  field contractAddress <<<"$receipt" >"$HERE/lab"
  equal "$(cast call "$(cat "$HERE/lab")" 'counter()(uint256)')" 0
  [ "$(cast codesize "$(cat "$HERE/lab")")" -gt 100 ]
}
calls_and_logs() {
  local lab receipt hash; lab=$(cat "$HERE/lab")
  [ "$(cast estimate --from "$ME" "$lab" 'bump(bytes)' 0x01)" -gt 21000 ]
  receipt=$(pay "$lab" 'bump(bytes)' 0xbeef)
  equal "$(cast call "$lab" 'counter()(uint256)')" 1
  equal "$(cast logs --address "$lab" --from-block 0 'Bumped(uint256 indexed,address indexed,bytes)' --json | field length)" 1
  equal "$(cast storage "$lab" 0)" 0x0000000000000000000000000000000000000000000000000000000000000001
  hash=$(field transactionHash <<<"$receipt")
  cast access-list --from "$ME" "$lab" 'bump(bytes)' 0x01 | grep -qi "${lab#0x}"
}
explains_reverts() {
  local out
  if out=$(cast call "$(cat "$HERE/lab")" 'failReason()' 2>&1); then echo "did not fail"; return 1; fi
  grep -q 'too low' <<<"$out"
  if out=$(pay "$(cat "$HERE/lab")" 'failReason()' 2>&1); then echo "did not fail"; return 1; fi
  grep -q 'too low' <<<"$out"
}
runs_a_mined_transaction() {
  local receipt out; receipt=$(pay "$(cat "$HERE/lab")" 'tour(uint256)' 77 --value 3)
  out=$(cast run "$(field transactionHash <<<"$receipt")" 2>&1) || { echo "$out"; return 1; }
  grep -q 'Transaction successfully executed' <<<"$out"
  grep -q 'child says no' <<<"$out"
  grep -q "Gas used: $(printf '%d' "$(field gasUsed <<<"$receipt")")" <<<"$out"
}
proves() {
  local proof; proof=$(cast proof "$(cat "$HERE/lab")" 0x0 --json 2>/dev/null || cast proof "$(cat "$HERE/lab")" 0x0)
  equal "$(field storageProof.0.value <<<"$proof")" 0x1
  [ "$(field accountProof.length <<<"$proof")" -ge 1 ]
}
traces_over_rpc() {
  local hash; hash=$(pay "$(cat "$HERE/lab")" 'set(uint256,uint256)' 1 2 | field transactionHash)
  equal "$(cast rpc debug_traceTransaction "$hash" '{"tracer":"callTracer"}' | field type)" CALL
}
makes_a_typed_transaction() {
  equal "$(pay "$SINK" --value 1 --legacy | field type)" 0x0
  local raw; raw=$(cast mktx --private-key "$KEY" "$SINK" --value 2)
  equal "$(cast publish "$raw" | field status)" 0x1
}
reads_l1() {
  local hash config logs
  cast() { (unset ETH_RPC_URL; cd "$HERE/foundry" && "$CAST" "$@" --rpc-url "$CLIENTS_L1_URL"); }
  [ "$(cast block-number)" -ge 0 ]
  hash=$("$CLIENTS_BINARY" bridge deposit --dev --amount 0.5 --to "$SINK" --json --admin "$CLIENTS_ADMIN" | field id)
  equal "$(cast receipt "$hash" --json | field status)" 0x1
  cast block latest --full --json >/dev/null
  equal "$(cast block earliest -f number)" 0
  cast block finalized --json >/dev/null
  logs=$(cast logs --from-block 0 'TransactionDeposited(address indexed,address indexed,uint256 indexed,bytes)' --json)
  [ "$(field length <<<"$logs")" -ge 1 ]
  config=0x$("$CAST" keccak 0x4475736b45564d206c6f63616c3a2073797374656d20636f6e66696700000000 | tail -c 41)
  equal "$(cast call "$config" 'gasLimit()(uint64)' | cut -d' ' -f1)" 60000000
  equal "$(cast call "$config" 'version()(string)' | tr -d '"' | cut -d. -f1)" 0
}
asks_the_rollup_node() {
  local status url output
  for url in "$CLIENTS_URL" "$CLIENTS_ROLLUP_URL"; do
    status=$(cast rpc optimism_syncStatus --rpc-url "$url")
    [ "$(field unsafe_l2.number <<<"$status")" -gt 0 ]
    equal "$(field unsafe_l2.hash <<<"$status")" "$(cast block "$(field unsafe_l2.number <<<"$status")" -f hash)"
    equal "$(field head_l1.hash <<<"$status")" \
      "$("$CAST" block "$(field head_l1.number <<<"$status")" -f hash --rpc-url "$CLIENTS_L1_URL")"
    output=$(cast rpc optimism_outputAtBlock 0x1 --rpc-url "$url")
    equal "$(field blockRef.number <<<"$output")" 1
    equal "$(cast rpc optimism_rollupConfig --rpc-url "$url" | field l2_chain_id)" 31310
  done
  equal "$(cast rpc admin_sequencerActive --rpc-url "$CLIENTS_ROLLUP_URL")" true
  if cast rpc admin_sequencerActive >/dev/null 2>&1; then echo "admin_ is served to the public"; return 1; fi
}
builds() { forge build --use "$SOLC"; }
creates() {
  local out; out=$(forge create --use "$SOLC" --private-key "$KEY" --broadcast --json \
    src/Token.sol:Token --constructor-args Forged F 1000)
  local address; address=$(sed -n '/^{/,$p' <<<"$out" | field deployedTo)
  equal "$(cast call "$address" 'symbol()(string)')" '"F"'
  equal "$(cast call "$address" 'balanceOf(address)(uint256)' "$ME" | cut -d' ' -f1)" 1000
}
scripts() {
  local before; before=$(cast nonce "$ME")
  forge script --use "$SOLC" --private-key "$KEY" --rpc-url "$CLIENTS_URL" --broadcast script/Deploy.s.sol:Deploy
  equal "$(cast nonce "$ME")" "$((before + 4))"
  local run="$HERE/foundry/broadcast/Deploy.s.sol/31310/run-latest.json"
  equal "$(field receipts.length <"$run")" 4
  local lab; lab=$(field transactions.1.contractAddress <"$run")
  equal "$(cast call "$lab" 'values(uint256)(uint256)' 5)" 55
}

if [ -z "${CAST:-}" ]; then
  skip "cast" "no cast for this machine: put one on PATH or set CAST"
  skip "forge" "its checks read results with cast"
  exit 0
fi
check "cast reads blocks" reads_blocks
check "cast sends" sends
check "cast deploys" deploys_with_cast
check "cast call, estimate, logs, storage, access-list" calls_and_logs
check "cast explains reverts" explains_reverts
check "cast run replays a mined transaction" runs_a_mined_transaction
check "cast proof" proves
check "cast rpc debug_traceTransaction" traces_over_rpc
check "cast legacy transaction, mktx and publish" makes_a_typed_transaction
if [ -n "${CLIENTS_L1_URL:-}" ]; then check "cast reads L1" reads_l1
else skip "cast reads L1" "it needs a node that this script started"; fi
if [ -n "${CLIENTS_ROLLUP_URL:-}" ]; then check "cast asks the rollup node" asks_the_rollup_node
else skip "cast asks the rollup node" "it needs a node that this script started"; fi
if [ -z "${FORGE:-}" ]; then
  skip "forge" "no forge for this machine: put one on PATH or set FORGE"
else
  mkdir -p "$HERE/foundry/src" && cp "$HERE"/contracts/*.sol "$HERE/foundry/src/"
  check "forge build, with the pinned compiler" builds
  check "forge create" creates
  check "forge script --broadcast" scripts
fi
exit $FAILED
