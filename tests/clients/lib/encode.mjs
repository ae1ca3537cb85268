// Consensus encodings of headers, transactions and receipts, made from JSON-RPC answers with nothing but an RLP library,
// so that hashes and roots can be recomputed without trusting the node.

import { MerklePatriciaTrie, verifyMerkleProof } from "@ethereumjs/mpt";
import { RLP } from "@ethereumjs/rlp";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { bytesToHex, hexToBytes } from "@noble/hashes/utils.js";

export const hex = (bytes) => `0x${bytesToHex(bytes)}`;
export const keccak = (bytes) => keccak_256(bytes);

/** Bytes of a data field. */
export function data(value) {
  const digits = value.slice(2);
  return hexToBytes(digits.length % 2 ? `0${digits}` : digits);
}

/** A quantity without leading zeros; zero is the empty string. */
export function quantity(value) {
  const number = BigInt(value ?? 0);
  if (number === 0n) return new Uint8Array();
  const digits = number.toString(16);
  return hexToBytes(digits.length % 2 ? `0${digits}` : digits);
}

const address = (value) => (value ? data(value) : new Uint8Array());
const concat = (type, body) => Uint8Array.from([type, ...body]);

/** RLP of a header; the fields of later forks are there exactly if the block has them. */
export function header(block) {
  const fields = [
    data(block.parentHash), data(block.sha3Uncles), data(block.miner), data(block.stateRoot), data(block.transactionsRoot),
    data(block.receiptsRoot), data(block.logsBloom), quantity(block.difficulty), quantity(block.number), quantity(block.gasLimit),
    quantity(block.gasUsed), quantity(block.timestamp), data(block.extraData), data(block.mixHash), data(block.nonce),
  ];
  const later = [
    ["baseFeePerGas", quantity], ["withdrawalsRoot", data], ["blobGasUsed", quantity], ["excessBlobGas", quantity],
    ["parentBeaconBlockRoot", data], ["requestsHash", data],
  ];
  for (const [name, encode] of later) {
    if (block[name] === undefined || block[name] === null) break;
    fields.push(encode(block[name]));
  }
  return RLP.encode(fields);
}

const accessList = (list) => (list ?? []).map((item) => [data(item.address), item.storageKeys.map(data)]);
const signature = (tx) => [quantity(tx.yParity ?? tx.v), quantity(tx.r), quantity(tx.s)];

/** EIP-2718 bytes of a transaction, deposits (0x7e) included. */
export function transaction(tx) {
  const type = Number(tx.type);
  const call = [address(tx.to), quantity(tx.value), data(tx.input)];
  switch (type) {
    case 0:
      return RLP.encode([quantity(tx.nonce), quantity(tx.gasPrice), quantity(tx.gas), ...call, quantity(tx.v), quantity(tx.r), quantity(tx.s)]);
    case 1:
      return concat(1, RLP.encode([
        quantity(tx.chainId), quantity(tx.nonce), quantity(tx.gasPrice), quantity(tx.gas), ...call, accessList(tx.accessList), ...signature(tx),
      ]));
    case 2:
    case 4: {
      const authorizations = (tx.authorizationList ?? []).map((a) => [
        quantity(a.chainId), data(a.address), quantity(a.nonce), quantity(a.yParity ?? a.v), quantity(a.r), quantity(a.s),
      ]);
      return concat(type, RLP.encode([
        quantity(tx.chainId), quantity(tx.nonce), quantity(tx.maxPriorityFeePerGas), quantity(tx.maxFeePerGas), quantity(tx.gas),
        ...call, accessList(tx.accessList), ...(type === 4 ? [authorizations] : []), ...signature(tx),
      ]));
    }
    case 0x7e:
      return concat(0x7e, RLP.encode([
        data(tx.sourceHash), data(tx.from), address(tx.to), quantity(tx.mint), quantity(tx.value), quantity(tx.gas),
        quantity(tx.isSystemTx ? 1 : 0), data(tx.input),
      ]));
    default:
      throw new Error(`transaction type ${tx.type} is not expected in a block`);
  }
}

/** EIP-2718 bytes of a receipt as they stand in the trie; a deposit's carries its nonce and version. */
export function receipt(r) {
  const type = Number(r.type);
  const fields = [
    quantity(r.status), quantity(r.cumulativeGasUsed), data(r.logsBloom),
    r.logs.map((log) => [data(log.address), log.topics.map(data), data(log.data)]),
  ];
  if (type === 0x7e) {
    if (r.depositNonce !== undefined && r.depositNonce !== null) fields.push(quantity(r.depositNonce));
    if (r.depositReceiptVersion !== undefined && r.depositReceiptVersion !== null) fields.push(quantity(r.depositReceiptVersion));
  }
  const body = RLP.encode(fields);
  return type === 0 ? body : concat(type, body);
}

/** Root of the trie whose keys are the RLP of the index. */
export async function indexRoot(items) {
  const trie = new MerklePatriciaTrie();
  for (const [index, item] of items.entries()) await trie.put(RLP.encode(quantity(index)), item);
  return hex(trie.root());
}

/** 2048-bit bloom of addresses and topics. */
export function bloom(logs) {
  const bits = new Uint8Array(256);
  for (const item of logs.flatMap((log) => [log.address, ...log.topics])) {
    const hash = keccak(data(item));
    for (const i of [0, 2, 4]) {
      const bit = ((hash[i] << 8) | hash[i + 1]) & 2047;
      bits[255 - (bit >> 3)] |= 1 << (bit & 7);
    }
  }
  return hex(bits);
}

/** What a Merkle proof proves under `key` (hashed, as in state and storage tries): bytes, or null if there is nothing. */
export async function proven(root, key, nodes) {
  const proof = nodes.map(data);
  if (proof.length === 0) {
    // Only the empty trie has an empty proof.
    if (root !== EMPTY_ROOT) throw new Error("an empty proof for a trie that is not empty");
    return null;
  }
  if (hex(keccak(proof[0])) !== root) throw new Error(`the proof begins at ${hex(keccak(proof[0]))}, not at the root ${root}`);
  return verifyMerkleProof(data(key), proof, { root: data(root), useKeyHashing: true });
}

/** Root of an empty trie: keccak of the RLP of the empty string. */
export const EMPTY_ROOT = hex(keccak(RLP.encode(new Uint8Array())));
/** Hash of no code. */
export const EMPTY_CODE = hex(keccak(new Uint8Array()));
export { RLP };
