// Where the node under test is and what may be expected of it; run.sh sets these variables.

function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; start the suites with tests/clients/run.sh`);
  return value;
}

/** JSON-RPC over HTTP. */
export const URL_HTTP = required("CLIENTS_URL");
/** JSON-RPC over WebSocket: the same port. */
export const URL_WS = URL_HTTP.replace(/^http/, "ws");
/** True if the endpoint is some other Ethereum node, so that only what every Ethereum node does is asked for. */
export const PLAIN = process.env.CLIENTS_PLAIN === "1";
/** Process id of the node, if it runs on this machine. */
export const PID = process.env.CLIENTS_PID ? Number(process.env.CLIENTS_PID) : undefined;

export const CHAIN_ID = 31310;
export const MNEMONIC = "test test test test test test test test test test test junk";
