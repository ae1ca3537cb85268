// viem clients for the node under test.

import { createPublicClient, createTestClient, createWalletClient, defineChain, http, webSocket } from "viem";
import { mnemonicToAccount } from "viem/accounts";
import { chainConfig } from "viem/op-stack";
import { CHAIN_ID, MNEMONIC, PLAIN, URL_HTTP, URL_WS } from "./env.mjs";

/** The chain as an application would describe it: an OP Stack chain with its own id. */
export const chain = defineChain({
  ...(PLAIN ? {} : chainConfig),
  id: CHAIN_ID,
  name: "DuskEVM Local",
  nativeCurrency: { name: "DUSK", symbol: "DUSK", decimals: 18 },
  rpcUrls: { default: { http: [URL_HTTP], webSocket: [URL_WS] } },
});

/** The funded account `index` of the well-known mnemonic. Each suite has its own, so that nonces do not meet. */
export const account = (index) => mnemonicToAccount(MNEMONIC, { addressIndex: index });

const common = { chain, pollingInterval: 100 };
// An answer that says "try again" must reach the check, so nothing is retried behind its back.
const transport = (options = {}) => http(URL_HTTP, { retryCount: 0, timeout: 60_000, ...options });

export const reader = createPublicClient({ ...common, transport: transport() });
/** The same, with up to 200 requests in one HTTP request. */
export const bulkReader = createPublicClient({ ...common, transport: transport({ batch: { batchSize: 200, wait: 2 } }) });
export const wallet = (from) => createWalletClient({ ...common, account: from, transport: transport() });
export const overSocket = () =>
  createPublicClient({ ...common, transport: webSocket(URL_WS, { retryCount: 0, reconnect: false }) });
/** txpool methods. */
export const poolReader = createTestClient({ ...common, mode: "anvil", transport: transport() });

/** Waits for a receipt and insists on its status. */
export async function mined(hash, status = "success") {
  const receipt = await reader.waitForTransactionReceipt({ hash, timeout: 30_000, pollingInterval: 100 });
  if (receipt.status !== status) throw new Error(`transaction ${hash}: ${receipt.status}, expected ${status}`);
  return receipt;
}

/** Deploys and returns address and receipt. */
export async function deploy(from, { abi, bytecode }, args = [], value = 0n) {
  const receipt = await mined(await wallet(from).deployContract({ abi, bytecode, args, value }));
  return { address: receipt.contractAddress, abi, receipt };
}

/** Sends a call to a contract, waits, and returns the receipt. */
export async function send(from, contract, functionName, args = [], more = {}) {
  const { address, abi } = contract;
  return mined(await wallet(from).writeContract({ address, abi, functionName, args, ...more }));
}
