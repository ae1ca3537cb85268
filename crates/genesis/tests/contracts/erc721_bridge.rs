//! L2ERC721Bridge: tokens of unique things, both ways.

use alloy_primitives::{Address, B256, Bytes, Log, U256, address, hex};
use alloy_sol_types::{SolCall, SolEvent, sol};
use duskevm_genesis::predeploys::{L2_CROSS_DOMAIN_MESSENGER as MESSENGER, L2_ERC721_BRIDGE as BRIDGE, WETH9};

use crate::{
    chain::{ALICE, BOB, Chain, Outcome},
    erc721::{Token, create},
    relay::{Messenger, arrive, fail, hash, l1, message, sent},
    targets::{FORWARDER, YES, place, set},
};

sol! {
    #[derive(Debug, PartialEq, Eq)]
    interface Bridge {
        error OnlyOtherBridge();
        error CallerIsContract();
        error ZeroRecipient();
        error NotOwner(address caller, uint256 tokenId);
        error NotMintable(address token);
        error WrongRemoteToken(address given);
        event ERC721BridgeInitiated(address indexed localToken, address indexed remoteToken, address indexed from,
            address to, uint256 tokenId, bytes extraData);
        event ERC721BridgeFinalized(address indexed localToken, address indexed remoteToken, address indexed from,
            address to, uint256 tokenId, bytes extraData);
        function bridgeERC721(address localToken, address remoteToken, uint256 tokenId, uint32 minGasLimit,
            bytes extraData) external;
        function bridgeERC721To(address localToken, address remoteToken, address to, uint256 tokenId,
            uint32 minGasLimit, bytes extraData) external;
        function finalizeBridgeERC721(address localToken, address remoteToken, address from, address to,
            uint256 tokenId, bytes extraData) external;
        function messenger() external view returns (address);
        function MESSENGER() external view returns (address);
        function otherBridge() external view returns (address);
        function OTHER_BRIDGE() external view returns (address);
        function paused() external view returns (bool);
    }
}

const L1_TOKEN: Address = address!("0000000000000000000000000000000000033333");
const ID: U256 = U256::from_limbs([77, 0, 0, 9]);
const GAS: u32 = 200_000;

/// Recipient metadata of a contract on L1: tag, version, kind, id.
fn recipient() -> Bytes {
    [&hex!("020101")[..], &[0xcd; 32]].concat().into()
}

fn finalize(token: Address, remote: Address, to: Address) -> Bridge::finalizeBridgeERC721Call {
    Bridge::finalizeBridgeERC721Call {
        localToken: token,
        remoteToken: remote,
        from: BOB,
        to,
        tokenId: ID,
        extraData: Bytes::from_static(b"\x11 and more"),
    }
}

/// A message from the bridge on L1.
fn from_other(counter: u64, call: &impl SolCall) -> Messenger::relayMessageCall {
    message(counter, l1().erc721_bridge, BRIDGE, call.abi_encode())
}

fn owner_of(chain: &mut Chain, token: Address) -> Address {
    chain.ask(token, Token::ownerOfCall { tokenId: ID })
}

fn emitted(outcome: &Outcome) -> Vec<Log> {
    outcome.logs.iter().filter(|log| log.address == BRIDGE).cloned().collect()
}

fn log(event: &impl SolEvent) -> Log {
    Log { address: BRIDGE, data: event.encode_log_data() }
}

#[test]
fn genesis_gives_it_its_state() {
    let mut chain = Chain::new();
    let other = l1().erc721_bridge;
    assert_eq!(chain.ask(BRIDGE, Bridge::messengerCall {}), MESSENGER);
    assert_eq!(chain.ask(BRIDGE, Bridge::MESSENGERCall {}), MESSENGER);
    assert_eq!(chain.ask(BRIDGE, Bridge::otherBridgeCall {}), other);
    assert_eq!(chain.ask(BRIDGE, Bridge::OTHER_BRIDGECall {}), other);
    assert!(!chain.ask(BRIDGE, Bridge::pausedCall {}));
    assert_eq!(chain.slot(BRIDGE, 0), B256::with_last_byte(1));
    assert_eq!((chain.slot(BRIDGE, 1), chain.slot(BRIDGE, 2)), (MESSENGER.into_word(), other.into_word()));
}

#[test]
fn tokens_are_minted_on_arrival_and_burnt_on_leaving() {
    let mut chain = Chain::new();
    let token = create(&mut chain, L1_TOKEN, "Things", "TH");
    let extra = recipient();
    let out_to = Bridge::bridgeERC721ToCall {
        localToken: token,
        remoteToken: L1_TOKEN,
        to: BOB,
        tokenId: ID,
        minGasLimit: GAS,
        extraData: extra.clone(),
    };
    let out = Bridge::bridgeERC721Call {
        localToken: token,
        remoteToken: L1_TOKEN,
        tokenId: ID,
        minGasLimit: GAS,
        extraData: extra.clone(),
    };
    for (counter, to, data) in [(0, BOB, out_to.abi_encode()), (1, ALICE, out.abi_encode())] {
        let call = finalize(token, L1_TOKEN, ALICE);
        let outcome = arrive(&mut chain, &from_other(counter, &call));
        let event = Bridge::ERC721BridgeFinalized {
            localToken: token,
            remoteToken: L1_TOKEN,
            from: BOB,
            to: ALICE,
            tokenId: ID,
            extraData: call.extraData.clone(),
        };
        assert_eq!(emitted(&outcome), [log(&event)]);
        let minted = outcome.event::<Token::Mint>();
        assert_eq!((minted.address, minted.account, minted.tokenId), (token, ALICE, ID));
        assert_eq!(owner_of(&mut chain, token), ALICE);
        // A second one with the same number cannot arrive.
        fail(&mut chain, &from_other(counter + 10, &call));

        assert!(chain.send(BOB, BRIDGE, U256::ZERO, data.clone()).is_error::<Bridge::NotOwner>());
        let outcome = chain.send(ALICE, BRIDGE, U256::ZERO, data.clone());
        let relay = sent(&mut chain, &outcome);
        assert_eq!((relay.sender, relay.target), (BRIDGE, l1().erc721_bridge));
        assert_eq!((relay.value, relay.minGasLimit), (U256::ZERO, U256::from(GAS)));
        let order = Bridge::finalizeBridgeERC721Call {
            localToken: L1_TOKEN,
            remoteToken: token,
            from: ALICE,
            to,
            tokenId: ID,
            extraData: extra.clone(),
        };
        assert_eq!(relay.message.to_vec(), order.abi_encode());
        let event = Bridge::ERC721BridgeInitiated {
            localToken: token,
            remoteToken: L1_TOKEN,
            from: ALICE,
            to,
            tokenId: ID,
            extraData: extra.clone(),
        };
        assert_eq!(emitted(&outcome), [log(&event)]);
        let burnt = outcome.event::<Token::Burn>();
        assert_eq!((burnt.address, burnt.account, burnt.tokenId), (token, ALICE, ID));
        assert_eq!(chain.ask(token, Token::totalSupplyCall {}), U256::ZERO);
        assert!(!chain.send(ALICE, BRIDGE, U256::ZERO, data).success, "it is gone");
    }
}

#[test]
fn nobody_but_the_other_bridge_finalizes() {
    let mut chain = Chain::new();
    let token = create(&mut chain, L1_TOKEN, "Things", "TH");
    let call = finalize(token, L1_TOKEN, ALICE);
    for stranger in [ALICE, BRIDGE, l1().erc721_bridge, crate::relay::alias(l1().erc721_bridge)] {
        let outcome = chain.send(stranger, BRIDGE, U256::ZERO, call.abi_encode());
        assert!(outcome.is_error::<Bridge::OnlyOtherBridge>());
    }
    let outcome = chain.send(MESSENGER, BRIDGE, U256::ZERO, call.abi_encode());
    assert!(outcome.is_error::<Messenger::NoMessage>());
    for (counter, sender) in [(0, ALICE), (1, BRIDGE), (2, l1().messenger), (3, l1().standard_bridge)] {
        fail(&mut chain, &message(counter, sender, BRIDGE, call.abi_encode()));
    }
    assert_eq!(chain.ask(token, Token::totalSupplyCall {}), U256::ZERO);
    arrive(&mut chain, &from_other(4, &call));
}

#[test]
fn only_its_own_tokens_cross() {
    let mut chain = Chain::new();
    let token = create(&mut chain, L1_TOKEN, "Things", "TH");
    let yes = address!("0000000000000000000000000000000000000135");
    place(&mut chain, yes, YES);
    // Another remote token, none, the bridge itself, other contracts, none.
    for (counter, (local, remote)) in
        [(token, BOB), (token, Address::ZERO), (BRIDGE, L1_TOKEN), (WETH9, L1_TOKEN), (yes, L1_TOKEN), (BOB, L1_TOKEN)]
            .into_iter()
            .enumerate()
    {
        fail(&mut chain, &from_other(counter as u64, &finalize(local, remote, ALICE)));
        let call = Bridge::bridgeERC721ToCall {
            localToken: local,
            remoteToken: remote,
            to: BOB,
            tokenId: ID,
            minGasLimit: GAS,
            extraData: Bytes::new(),
        };
        let outcome = chain.send(ALICE, BRIDGE, U256::ZERO, call.abi_encode());
        if local == token {
            assert!(outcome.is_error::<Bridge::WrongRemoteToken>());
        } else {
            assert!(outcome.is_error::<Bridge::NotMintable>());
        }
    }
}

#[test]
fn somebody_must_receive_it() {
    let mut chain = Chain::new();
    let token = create(&mut chain, L1_TOKEN, "Things", "TH");
    arrive(&mut chain, &from_other(0, &finalize(token, L1_TOKEN, ALICE)));
    let nobody = Bridge::bridgeERC721ToCall {
        localToken: token,
        remoteToken: L1_TOKEN,
        to: Address::ZERO,
        tokenId: ID,
        minGasLimit: GAS,
        extraData: recipient(),
    };
    assert!(chain.send(ALICE, BRIDGE, U256::ZERO, nobody.abi_encode()).is_error::<Bridge::ZeroRecipient>());

    // A contract that holds the token names the recipient.
    let contract = address!("0000000000000000000000000000000000c04ac7");
    place(&mut chain, contract, FORWARDER);
    set(&mut chain, contract, U256::ZERO, U256::from_be_slice(BRIDGE.as_slice()));
    chain.call(ALICE, token, Token::transferFromCall { from: ALICE, to: contract, tokenId: ID });
    let call = Bridge::bridgeERC721Call {
        localToken: token,
        remoteToken: L1_TOKEN,
        tokenId: ID,
        minGasLimit: GAS,
        extraData: recipient(),
    };
    assert!(chain.send(ALICE, contract, U256::ZERO, call.abi_encode()).is_error::<Bridge::CallerIsContract>());
    let named = Bridge::bridgeERC721ToCall { to: BOB, ..nobody };
    assert!(chain.send(ALICE, contract, U256::ZERO, named.abi_encode()).success);
}

/// A contract must say that it takes such tokens; until it does, the token waits on its way.
#[test]
fn a_receiver_that_does_not_agree_gets_it_later() {
    let mut chain = Chain::new();
    let token = create(&mut chain, L1_TOKEN, "Things", "TH");
    let shop = address!("0000000000000000000000000000000000005409");
    place(&mut chain, shop, YES);
    let m = from_other(0, &finalize(token, L1_TOKEN, shop));
    fail(&mut chain, &m);
    // It answers with the selector from now on.
    place(&mut chain, shop, "63150b7a0260e01b60005260206000f3");
    let outcome = chain.send(BOB, MESSENGER, U256::ZERO, m.abi_encode());
    assert_eq!(outcome.event::<Messenger::RelayedMessage>().msgHash, hash(&m));
    assert_eq!(owner_of(&mut chain, token), shop);
}
