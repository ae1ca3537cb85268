// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

// Addresses that execution and tools rely on. They are the standard ones of OP chains.

// The account that sends the first transaction of every block. Nobody holds its key.
address constant DEPOSITOR = 0xDeaDDEaDDeAdDeAdDEAdDEaddeAddEAdDEAd0001;

address constant L2_CROSS_DOMAIN_MESSENGER = 0x4200000000000000000000000000000000000007;
address constant L2_STANDARD_BRIDGE = 0x4200000000000000000000000000000000000010;
address constant L2_ERC721_BRIDGE = 0x4200000000000000000000000000000000000014;
address constant L1_BLOCK = 0x4200000000000000000000000000000000000015;
address constant L2_TO_L1_MESSAGE_PASSER = 0x4200000000000000000000000000000000000016;
address constant PROXY_ADMIN = 0x4200000000000000000000000000000000000018;

// Stands for the native token where an event or a function of the bridge wants a token's address.
address constant NATIVE_TOKEN = 0xDeadDeAddeAddEAddeadDEaDDEAdDeaDDeAD0000;

// Gas estimators simulate from this address, so that a relay that fails inside fails as a whole.
address constant ESTIMATOR = 0x0000000000000000000000000000000000000001;

// A message to this address calls a Dusk contract, which the message names; see DuskCall.
address constant DUSK_CALL_TARGET = 0x6901e2C830A4E1ddF737F0CAC91ed8E0694efde7;

// keccak256("eip1967.proxy.implementation") - 1
bytes32 constant IMPLEMENTATION_SLOT = 0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc;

// keccak256("eip1967.proxy.admin") - 1
bytes32 constant ADMIN_SLOT = 0xb53127684a568b3173ae13b9f8a6016e243e63b6e8ee1178d6a717850b5d6103;

// One lux, the smallest unit of DUSK on L1 (9 decimals), in wei of L2 (18 decimals).
uint256 constant WEI_PER_LUX = 1e9;

// The largest amount, in wei, that an L1 balance (u64 lux) can hold.
uint256 constant MAX_L1_AMOUNT = uint256(type(uint64).max) * WEI_PER_LUX;
