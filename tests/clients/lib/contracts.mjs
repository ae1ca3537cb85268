// The compiled contracts, as lib/compile.mjs left them beside the suites.

import { readFileSync } from "node:fs";

const compiled = JSON.parse(readFileSync(new URL("../compiled.json", import.meta.url), "utf8"));

export const { Token, Lab, Child, Batcher } = compiled;
