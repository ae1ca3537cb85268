//! Logs and L2 calls in Solidity's ABI, as the OP Stack's contracts declare them.
#![allow(unreachable_pub, missing_docs, reason = "the macro makes public types without documentation")]

use alloc::vec::Vec;

use alloy_primitives::B256;
use alloy_sol_types::{SolEvent, sol};
use duskevm_l1_view::{LOG_TOPIC, encode_log};

use crate::host::Host;

sol! {
    event TransactionDeposited(address indexed from, address indexed to, uint256 indexed version, bytes opaqueData);
    event ConfigUpdate(uint256 indexed version, uint8 indexed updateType, bytes data);
    event SentMessage(address indexed target, address sender, bytes message, uint256 messageNonce, uint256 gasLimit);
    event SentMessageExtension1(address indexed sender, uint256 value);
    event ETHDepositInitiated(address indexed from, address indexed to, uint256 amount, bytes extraData);
    event ETHBridgeInitiated(address indexed from, address indexed to, uint256 amount, bytes extraData);

    function relayMessage(
        uint256 nonce, address sender, address target, uint256 value, uint256 minGasLimit, bytes message
    ) external payable;
    function finalizeBridgeETH(address from, address to, uint256 amount, bytes extraData) external payable;
}

/// Emits an Ethereum log of a contract.
pub(crate) fn log<H: Host + ?Sized>(host: &mut H, contract: &B256, event: &impl SolEvent) {
    let data = event.encode_log_data();
    let topics: Vec<B256> = data.topics().to_vec();
    host.emit(contract, LOG_TOPIC, encode_log(&topics, &data.data));
}
