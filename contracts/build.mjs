// Compiles src/ and writes one artifact per contract to artifacts/.
//
//   npm ci --prefix contracts          once
//   node contracts/build.mjs           compile and write
//   node contracts/build.mjs --check   compile and compare; exit code 1 if anything differs
//
// The output depends on the sources and on the pinned compiler only: no paths of this machine, no times.

import { createRequire } from "node:module";
import { existsSync, mkdirSync, readFileSync, readdirSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(fileURLToPath(import.meta.url));
const SRC = join(ROOT, "src");
const OUT = join(ROOT, "artifacts");

// What the node puts into genesis, and what the factories there make. Everything else in src/ is a part of one of these.
const CONTRACTS = {
  L1Block: "l2/L1Block.sol",
  GasPriceOracle: "l2/GasPriceOracle.sol",
  L2ToL1MessagePasser: "l2/L2ToL1MessagePasser.sol",
  SequencerFeeVault: "l2/FeeVaults.sol",
  BaseFeeVault: "l2/FeeVaults.sol",
  L1FeeVault: "l2/FeeVaults.sol",
  OperatorFeeVault: "l2/FeeVaults.sol",
  WETH9: "l2/WETH9.sol",
  Proxy: "proxy/Proxy.sol",
  ProxyAdmin: "proxy/ProxyAdmin.sol",
  Multicall3: "tools/Multicall3.sol",
  L2CrossDomainMessenger: "l2/L2CrossDomainMessenger.sol",
  L2StandardBridge: "l2/L2StandardBridge.sol",
  L2ERC721Bridge: "l2/L2ERC721Bridge.sol",
  L1BlockNumber: "l2/L1BlockNumber.sol",
  OptimismMintableERC20Factory: "l2/OptimismMintableERC20Factory.sol",
  OptimismMintableERC721Factory: "l2/OptimismMintableERC721Factory.sol",
  OptimismMintableERC20: "tokens/OptimismMintableERC20.sol",
  OptimismMintableERC721: "tokens/OptimismMintableERC721.sol",
};

// What the factories make. A constructor completes the runtime code, so the artifact has none.
const CONSTRUCTED = ["OptimismMintableERC20", "OptimismMintableERC721"];

// A burn needs SELFDESTRUCT, and inside the creating transaction it still does what it says.
const EXPECTED_WARNINGS = [{ file: "l2/L2ToL1MessagePasser.sol", code: "5159" }];

const SETTINGS = {
  // The oldest EVM that a chain of this node can start with (Bedrock is Paris): a genesis may activate later forks
  // at a later time, so the predeploys must not use PUSH0 or MCOPY.
  evmVersion: "paris",
  optimizer: { enabled: true, runs: 10000 },
  metadata: { bytecodeHash: "none", appendCBOR: false },
};

function sources(folder = SRC) {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return sources(path);
      return entry.name.endsWith(".sol") ? [path] : [];
    })
    .sort();
}

function loadCompiler() {
  try {
    return createRequire(import.meta.url)("solc");
  } catch {
    fail("the compiler is not installed; run: npm ci --prefix contracts");
  }
}

function compile() {
  const solc = loadCompiler();
  const wanted = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")).devDependencies.solc;
  if (!solc.version().startsWith(`${wanted}+`)) {
    fail(`solc ${wanted} is pinned, but ${solc.version()} is installed; run: npm ci --prefix contracts`);
  }
  const input = {
    language: "Solidity",
    sources: Object.fromEntries(
      sources().map((path) => [
        relative(SRC, path).split(sep).join("/"),
        { content: readFileSync(path, "utf8") },
      ]),
    ),
    settings: {
      ...SETTINGS,
      outputSelection: {
        "*": {
          "*": [
            "abi",
            "metadata",
            "storageLayout",
            "evm.methodIdentifiers",
            "evm.bytecode.object",
            "evm.deployedBytecode.object",
            "evm.deployedBytecode.immutableReferences",
          ],
        },
      },
    },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  const problems = (output.errors ?? []).filter(
    (e) =>
      e.severity === "error" ||
      !EXPECTED_WARNINGS.some((w) => w.code === e.errorCode && w.file === e.sourceLocation?.file),
  );
  if (problems.length > 0) fail(problems.map((e) => e.formattedMessage).join("\n"));
  return Object.entries(CONTRACTS).map(([name, file]) => {
    const contract = output.contracts[file]?.[name];
    if (!contract) fail(`${file} does not define ${name}`);
    return [name, artifact(name, file, contract)];
  });
}

function artifact(name, file, contract) {
  const { bytecode, deployedBytecode, methodIdentifiers } = contract.evm;
  const constructed = CONSTRUCTED.includes(name);
  // Genesis installs the runtime code as it is, so nothing may be filled in by a constructor.
  if (!constructed && Object.keys(deployedBytecode.immutableReferences ?? {}).length > 0) {
    fail(`${name} has immutable variables; its runtime code cannot be installed at genesis`);
  }
  const metadata = JSON.parse(contract.metadata);
  return {
    contract: name,
    source: `src/${file}`,
    compiler: { name: "solc", version: metadata.compiler.version, settings: SETTINGS },
    sources: Object.fromEntries(
      Object.entries(metadata.sources)
        .map(([path, { keccak256 }]) => [`src/${path}`, keccak256])
        .sort(),
    ),
    selectors: Object.fromEntries(Object.entries(methodIdentifiers).map(([s, id]) => [s, `0x${id}`])),
    storage: contract.storageLayout.storage.map(({ label, slot, offset, type }) => ({
      label,
      slot: Number(slot),
      offset,
      type: contract.storageLayout.types[type].label,
      bytes: Number(contract.storageLayout.types[type].numberOfBytes),
    })),
    abi: contract.abi,
    bytecode: `0x${bytecode.object}`,
    ...(constructed ? {} : { deployedBytecode: `0x${deployedBytecode.object}` }),
  };
}

function fail(message) {
  console.error(`contracts: ${message}`);
  process.exit(1);
}

const check = process.argv.includes("--check");
const unknown = process.argv.slice(2).filter((a) => a !== "--check");
if (unknown.length > 0) fail(`unknown argument ${unknown[0]}; the only one is --check`);

const built = new Map(compile().map(([name, a]) => [`${name}.json`, `${JSON.stringify(a, null, 2)}\n`]));
mkdirSync(OUT, { recursive: true });
const stale = readdirSync(OUT).filter((f) => f.endsWith(".json") && !built.has(f));

if (check) {
  const wrong = [...built].filter(([file, text]) => {
    const path = join(OUT, file);
    return !existsSync(path) || readFileSync(path, "utf8") !== text;
  });
  const names = [...wrong.map(([file]) => file), ...stale];
  if (names.length > 0) {
    fail(`these artifacts do not match the sources: ${names.join(", ")}; run: node contracts/build.mjs`);
  }
  console.log(`contracts: ${built.size} artifacts match their sources`);
} else {
  for (const [file, text] of built) writeFileSync(join(OUT, file), text);
  for (const file of stale) unlinkSync(join(OUT, file));
  console.log(`contracts: wrote ${built.size} artifacts`);
}
