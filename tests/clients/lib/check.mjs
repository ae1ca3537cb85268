// A small runner: one line per check that run.sh counts, a time limit for each, and no check that is silently left out.

import { PLAIN } from "./env.mjs";

let suiteName = "suite";
let failures = 0;
const queue = [];

export function suite(name) {
  suiteName = name;
}

/**
 * Adds a check. `node: true` marks what only a DuskEVM node does: the OP Stack, and limits that are ours.
 * `seconds` is the time after which it counts as failed.
 */
export function test(name, options, body) {
  if (typeof options === "function") [options, body] = [{}, options];
  queue.push({ name, seconds: 30, ...options, body });
}

function oneLine(error) {
  const text = error?.shortMessage ?? error?.message ?? String(error);
  const cause = error?.details && !text.includes(error.details) ? ` | ${error.details}` : "";
  return `${text}${cause}`.replace(/\s+/g, " ").slice(0, 1000);
}

function limited(promise, seconds) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took longer than ${seconds} s`)), seconds * 1000);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

/** Runs everything in order and ends the process: 0 if all passed. */
export async function run() {
  for (const { name, node, skip, seconds, body } of queue) {
    const reason = skip ?? (node && PLAIN ? "not a DuskEVM node" : undefined);
    if (reason) {
      console.log(`skip ${suiteName}: ${name} (${reason})`);
      continue;
    }
    const begin = performance.now();
    try {
      await limited(Promise.resolve().then(body), seconds);
      console.log(`ok   ${suiteName}: ${name} (${((performance.now() - begin) / 1000).toFixed(2)} s)`);
    } catch (error) {
      failures += 1;
      console.log(`FAIL ${suiteName}: ${name}: ${oneLine(error)}`);
      const where = String(error?.stack ?? "").split("\n").find((line) => line.includes("/suites/"));
      if (where) console.log(`       ${where.trim().replace(/file:\/\/.*\/suites\//, "suites/")}`);
    }
  }
  process.exit(failures === 0 ? 0 : 1);
}

/** Waits until `probe` returns something other than `undefined` or `false`. */
export async function until(what, probe, { seconds = 20, every = 100 } = {}) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > end) throw new Error(`waited ${seconds} s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}
