#!/usr/bin/env node
// The pinned solc as a command, for forge: it wants a `solc` that answers --version and --standard-json, and its own
// copy would have to be downloaded. Slower than a native binary, but the same compiler.

import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { isAbsolute, join } from "node:path";

const solc = createRequire(import.meta.url)("solc");
const args = process.argv.slice(2);

function option(name) {
  const at = args.indexOf(name);
  return at < 0 ? undefined : args[at + 1];
}

if (args.includes("--version")) {
  // forge reads the first line that looks like a version.
  const version = solc.version().replace(/\.Emscripten\.clang$/, ".Linux.g++");
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${version}`);
} else if (args.includes("--standard-json")) {
  const base = option("--base-path") ?? process.cwd();
  const find = (path) => {
    const file = isAbsolute(path) ? path : join(base, path);
    return existsSync(file) ? { contents: readFileSync(file, "utf8") } : { error: `not found: ${path}` };
  };
  process.stdout.write(solc.compile(readFileSync(0, "utf8"), { import: find }));
} else {
  console.error("only --version and --standard-json are supported");
  process.exit(2);
}
