// JSON-RPC without a client library: what exactly goes over the wire is part of several checks.

import { URL_HTTP } from "./env.mjs";

/** An error that the node answered with. */
export class RpcFailure extends Error {
  constructor(method, { code, message, data }) {
    super(`${method}: ${code} ${message}`);
    Object.assign(this, { code, data, reason: message });
  }
}

let nextId = 0;

/** Sends a body as it is and returns the HTTP status, the text and, if it is JSON, the value. */
export async function post(body, { headers = {}, signal, method = "POST" } = {}) {
  const response = await fetch(URL_HTTP, {
    method,
    headers: { "content-type": "application/json", ...headers },
    body,
    signal,
  });
  const text = await response.text();
  let json;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  return { status: response.status, text, json };
}

/** One call; throws RpcFailure if the node answers with an error. */
export async function rpc(method, ...params) {
  const { json, status, text } = await post(JSON.stringify({ jsonrpc: "2.0", id: ++nextId, method, params }));
  if (!json) throw new Error(`${method}: HTTP ${status} ${text.slice(0, 200)}`);
  if (json.error) throw new RpcFailure(method, json.error);
  if (!("result" in json)) throw new Error(`${method}: neither result nor error: ${text.slice(0, 200)}`);
  return json.result;
}

// A node limits the calls of one batch.
const BATCH = 500;

/** Many calls in batches; the results in the order of the calls, errors as RpcFailure values. */
export async function batch(calls) {
  const results = new Array(calls.length);
  for (let from = 0; from < calls.length; from += BATCH) {
    const part = calls.slice(from, from + BATCH);
    const body = part.map(([method, ...params], id) => ({ jsonrpc: "2.0", id, method, params }));
    const { json, text } = await post(JSON.stringify(body));
    if (!Array.isArray(json) || json.length !== part.length) throw new Error(`batch: ${text.slice(0, 300)}`);
    for (const { id, error, result } of json) results[from + id] = error ? new RpcFailure(part[id][0], error) : result;
  }
  return results;
}

/** The error of a call that must fail. */
export async function failure(method, ...params) {
  try {
    const result = await rpc(method, ...params);
    throw new Error(`${method} was expected to fail, but returned ${JSON.stringify(result).slice(0, 200)}`);
  } catch (error) {
    if (error instanceof RpcFailure) return error;
    throw error;
  }
}
