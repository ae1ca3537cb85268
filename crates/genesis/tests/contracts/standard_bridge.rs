//! L2StandardBridge: DUSK and fungible tokens, both ways.

use alloy_primitives::{Address, B256, Bytes, Log, U256, address, hex};
use alloy_sol_types::{SolCall, SolEvent, sol};
use duskevm_genesis::predeploys::{L2_CROSS_DOMAIN_MESSENGER as MESSENGER, L2_STANDARD_BRIDGE as BRIDGE, WETH9};

use crate::{
    chain::{ALICE, BOB, Chain, Outcome},
    erc20::{Token, create},
    relay::{LUX, Messenger, Passer, arrive, deposit, fail, hash, l1, message, sent},
    targets::{FORWARDER, GLUTTON, STUBBORN, YES, install, place, set},
};

sol! {
    #[derive(Debug, PartialEq, Eq)]
    interface Bridge {
        error OnlyOtherBridge();
        error CallerIsContract();
        error WrongValue(uint256 amount, uint256 sent);
        error BlockedRecipient(address to);
        error PaymentRefused(address to);
        error WrongRemoteToken(address given);
        error TransferFailed(address token);
        error WrongAmountArrived(address token, uint256 expected, uint256 arrived);
        event WithdrawalInitiated(address indexed l1Token, address indexed l2Token, address indexed from, address to,
            uint256 amount, bytes extraData);
        event DepositFinalized(address indexed l1Token, address indexed l2Token, address indexed from, address to,
            uint256 amount, bytes extraData);
        event ETHBridgeInitiated(address indexed from, address indexed to, uint256 amount, bytes extraData);
        event ETHBridgeFinalized(address indexed from, address indexed to, uint256 amount, bytes extraData);
        event ERC20BridgeInitiated(address indexed localToken, address indexed remoteToken, address indexed from,
            address to, uint256 amount, bytes extraData);
        event ERC20BridgeFinalized(address indexed localToken, address indexed remoteToken, address indexed from,
            address to, uint256 amount, bytes extraData);
        function bridgeETH(uint32 minGasLimit, bytes extraData) external payable;
        function bridgeETHTo(address to, uint32 minGasLimit, bytes extraData) external payable;
        function bridgeERC20(address localToken, address remoteToken, uint256 amount, uint32 minGasLimit,
            bytes extraData) external;
        function bridgeERC20To(address localToken, address remoteToken, address to, uint256 amount,
            uint32 minGasLimit, bytes extraData) external;
        function withdraw(address l2Token, uint256 amount, uint32 minGasLimit, bytes extraData) external payable;
        function withdrawTo(address l2Token, address to, uint256 amount, uint32 minGasLimit, bytes extraData)
            external payable;
        function finalizeBridgeETH(address from, address to, uint256 amount, bytes extraData) external payable;
        function finalizeBridgeERC20(address localToken, address remoteToken, address from, address to,
            uint256 amount, bytes extraData) external;
        function deposits(address localToken, address remoteToken) external view returns (uint256);
        function messenger() external view returns (address);
        function MESSENGER() external view returns (address);
        function otherBridge() external view returns (address);
        function OTHER_BRIDGE() external view returns (address);
        function l1TokenBridge() external view returns (address);
        function paused() external view returns (bool);
    }
}

/// What events and functions call DUSK.
const NATIVE: Address = address!("DeadDeAddeAddEAddeadDEaDDEAdDeaDDeAD0000");
const L1_TOKEN: Address = address!("0000000000000000000000000000000000011111");
const GAS: u32 = 200_000;

/// The recipient metadata of an external account on L1: tag, version, kind, 193 bytes of key.
fn recipient() -> Bytes {
    let key: Vec<u8> = (0..193_u8).collect();
    [&hex!("020100")[..], &key].concat().into()
}

fn send(chain: &mut Chain, from: Address, value: U256, call: impl SolCall) -> Outcome {
    chain.send(from, BRIDGE, value, call.abi_encode())
}

/// A message from the bridge on L1.
fn from_other(counter: u64, call: &impl SolCall) -> Messenger::relayMessageCall {
    message(counter, l1().standard_bridge, BRIDGE, call.abi_encode())
}

/// The events of a transaction at the bridge, in their order.
fn emitted(outcome: &Outcome) -> Vec<Log> {
    outcome.logs.iter().filter(|log| log.address == BRIDGE).cloned().collect()
}

/// The call that the bridge on L1 shall get.
fn ordered<C: SolCall>(chain: &mut Chain, outcome: &Outcome, value: U256, gas: u32) -> C {
    let relay = sent(chain, outcome);
    assert_eq!((relay.sender, relay.target), (BRIDGE, l1().standard_bridge));
    assert_eq!((relay.value, relay.minGasLimit), (value, U256::from(gas)));
    let call = C::abi_decode_validate(&relay.message).unwrap();
    assert_eq!(call.abi_encode(), relay.message.to_vec());
    call
}

fn check_native(chain: &mut Chain, outcome: &Outcome, to: Address, amount: U256, gas: u32, extra: &Bytes) {
    let call: Bridge::finalizeBridgeETHCall = ordered(chain, outcome, amount, gas);
    let expected = Bridge::finalizeBridgeETHCall { from: ALICE, to, amount, extraData: extra.clone() };
    assert_eq!(call, expected);
    let old = Bridge::WithdrawalInitiated {
        l1Token: Address::ZERO,
        l2Token: NATIVE,
        from: ALICE,
        to,
        amount,
        extraData: extra.clone(),
    };
    let new = Bridge::ETHBridgeInitiated { from: ALICE, to, amount, extraData: extra.clone() };
    assert_eq!(emitted(outcome), [log(&old), log(&new)]);
    assert_eq!((chain.balance(BRIDGE), chain.balance(MESSENGER)), (U256::ZERO, U256::ZERO));
}

fn log(event: &impl SolEvent) -> Log {
    Log { address: BRIDGE, data: event.encode_log_data() }
}

#[test]
fn genesis_gives_it_its_state() {
    let mut chain = Chain::new();
    let other = l1().standard_bridge;
    assert_eq!(chain.ask(BRIDGE, Bridge::messengerCall {}), MESSENGER);
    assert_eq!(chain.ask(BRIDGE, Bridge::MESSENGERCall {}), MESSENGER);
    assert_eq!(chain.ask(BRIDGE, Bridge::otherBridgeCall {}), other);
    assert_eq!(chain.ask(BRIDGE, Bridge::OTHER_BRIDGECall {}), other);
    assert_eq!(chain.ask(BRIDGE, Bridge::l1TokenBridgeCall {}), other);
    assert!(!chain.ask(BRIDGE, Bridge::pausedCall {}));
    assert_eq!(chain.slot(BRIDGE, 0), B256::with_last_byte(1));
    assert_eq!((chain.slot(BRIDGE, 3), chain.slot(BRIDGE, 4)), (MESSENGER.into_word(), other.into_word()));
}

#[test]
fn dusk_leaves_with_its_recipient() {
    let mut chain = Chain::new();
    let amount = LUX * U256::from(12);
    let extra = recipient();
    let outcome = send(
        &mut chain,
        ALICE,
        amount,
        Bridge::bridgeETHToCall { to: BOB, minGasLimit: GAS, extraData: extra.clone() },
    );
    check_native(&mut chain, &outcome, BOB, amount, GAS, &extra);

    let call = Bridge::bridgeETHCall { minGasLimit: 7, extraData: extra.clone() };
    let outcome = send(&mut chain, ALICE, amount, call);
    check_native(&mut chain, &outcome, ALICE, amount, 7, &extra);

    let call = Bridge::withdrawCall { l2Token: NATIVE, amount, minGasLimit: 9, extraData: extra.clone() };
    let outcome = send(&mut chain, ALICE, amount, call.clone());
    check_native(&mut chain, &outcome, ALICE, amount, 9, &extra);
    assert!(send(&mut chain, ALICE, LUX, call).is_error::<Bridge::WrongValue>());

    let call = Bridge::withdrawToCall { l2Token: NATIVE, to: BOB, amount, minGasLimit: 9, extraData: extra.clone() };
    let outcome = send(&mut chain, ALICE, amount, call.clone());
    check_native(&mut chain, &outcome, BOB, amount, 9, &extra);
    assert!(send(&mut chain, ALICE, U256::ZERO, call).is_error::<Bridge::WrongValue>());

    let outcome = chain.send(ALICE, BRIDGE, amount, vec![]);
    check_native(&mut chain, &outcome, ALICE, amount, 200_000, &Bytes::new());
}

#[test]
fn only_whole_lux_leave() {
    let mut chain = Chain::new();
    let call = Bridge::bridgeETHToCall { to: BOB, minGasLimit: GAS, extraData: recipient() };
    let outcome = send(&mut chain, ALICE, LUX + U256::from(1), call.clone());
    assert!(outcome.is_error::<Passer::NotWholeLux>());
    let outcome = send(&mut chain, ALICE, LUX * (U256::from(u64::MAX) + U256::from(1)), call);
    assert!(outcome.is_error::<Passer::ExceedsL1Range>());
}

#[test]
fn dusk_arrives() {
    let mut chain = Chain::new();
    let (amount, extra) = (LUX + U256::from(5), Bytes::from_static(b"DEVM\x01 anything"));
    let call = Bridge::finalizeBridgeETHCall { from: ALICE, to: BOB, amount, extraData: extra.clone() };
    let mut m = from_other(0, &call);
    m.value = amount;
    let outcome = arrive(&mut chain, &m);
    let old = Bridge::DepositFinalized {
        l1Token: Address::ZERO,
        l2Token: NATIVE,
        from: ALICE,
        to: BOB,
        amount,
        extraData: extra.clone(),
    };
    let new = Bridge::ETHBridgeFinalized { from: ALICE, to: BOB, amount, extraData: extra };
    assert_eq!(emitted(&outcome), [log(&old), log(&new)]);
    assert_eq!((chain.balance(BOB), chain.balance(BRIDGE)), (amount, U256::ZERO));
}

#[test]
fn dusk_that_its_recipient_refuses_waits() {
    let mut chain = Chain::new();
    let shop = address!("0000000000000000000000000000000000005409");
    place(&mut chain, shop, STUBBORN);
    let mut m =
        from_other(0, &Bridge::finalizeBridgeETHCall { from: ALICE, to: shop, amount: LUX, extraData: Bytes::new() });
    m.value = LUX;
    fail(&mut chain, &m);
    assert_eq!(chain.balance(MESSENGER), LUX);
    set(&mut chain, shop, U256::ZERO, U256::from(1));
    assert!(chain.send(BOB, MESSENGER, U256::ZERO, m.abi_encode()).success);
    assert_eq!(chain.balance(shop), LUX);

    // One that wastes its gas does not take the relay with it.
    place(&mut chain, shop, GLUTTON);
    m.nonce += U256::from(1);
    fail(&mut chain, &m);
}

#[test]
fn dusk_does_not_arrive_where_it_could_not_leave_and_only_as_announced() {
    let mut chain = Chain::new();
    for (counter, to, amount) in [(0, BRIDGE, LUX), (1, MESSENGER, LUX), (2, BOB, LUX * U256::from(2))] {
        let call = Bridge::finalizeBridgeETHCall { from: ALICE, to, amount, extraData: Bytes::new() };
        let mut m = from_other(counter, &call);
        m.value = LUX;
        fail(&mut chain, &m);
    }
    assert_eq!(chain.balance(BOB), U256::ZERO);
}

#[test]
fn nobody_but_the_other_bridge_finalizes() {
    let mut chain = Chain::new();
    let token = create(&mut chain, L1_TOKEN, "Token", "TOK", 18);
    let native = Bridge::finalizeBridgeETHCall { from: ALICE, to: BOB, amount: U256::ZERO, extraData: Bytes::new() };
    let tokens = Bridge::finalizeBridgeERC20Call {
        localToken: token,
        remoteToken: L1_TOKEN,
        from: ALICE,
        to: BOB,
        amount: U256::from(1),
        extraData: Bytes::new(),
    };
    for stranger in [ALICE, BRIDGE, l1().standard_bridge, crate::relay::alias(l1().standard_bridge)] {
        assert!(send(&mut chain, stranger, U256::ZERO, native.clone()).is_error::<Bridge::OnlyOtherBridge>());
        assert!(send(&mut chain, stranger, U256::ZERO, tokens.clone()).is_error::<Bridge::OnlyOtherBridge>());
    }
    // The messenger outside a message, where it has no sender to tell.
    assert!(send(&mut chain, MESSENGER, U256::ZERO, native.clone()).is_error::<Messenger::NoMessage>());
    // The messenger with messages of others.
    for (counter, sender) in [(0, ALICE), (1, BRIDGE), (2, l1().messenger), (3, l1().erc721_bridge)] {
        let m = message(counter, sender, BRIDGE, tokens.abi_encode());
        fail(&mut chain, &m);
        let m = message(counter + 10, sender, BRIDGE, native.abi_encode());
        fail(&mut chain, &m);
    }
    assert_eq!(chain.ask(token, Token::totalSupplyCall {}), U256::ZERO);
    arrive(&mut chain, &from_other(20, &tokens));
    assert_eq!(chain.ask(token, Token::balanceOfCall { account: BOB }), U256::from(1));
}

#[test]
fn tokens_are_minted_on_arrival_and_burnt_on_leaving() {
    let mut chain = Chain::new();
    let token = create(&mut chain, L1_TOKEN, "Token", "TOK", 6);
    let extra: Bytes = [&[0x10][..], &[7; 32], b"payload"].concat().into();
    let amount = U256::from(1_000_001);
    let call = Bridge::finalizeBridgeERC20Call {
        localToken: token,
        remoteToken: L1_TOKEN,
        from: BOB,
        to: ALICE,
        amount,
        extraData: extra.clone(),
    };
    let outcome = arrive(&mut chain, &from_other(0, &call));
    let old = Bridge::DepositFinalized {
        l1Token: L1_TOKEN,
        l2Token: token,
        from: BOB,
        to: ALICE,
        amount,
        extraData: extra.clone(),
    };
    let new = Bridge::ERC20BridgeFinalized {
        localToken: token,
        remoteToken: L1_TOKEN,
        from: BOB,
        to: ALICE,
        amount,
        extraData: extra,
    };
    assert_eq!(emitted(&outcome), [log(&old), log(&new)]);
    let minted = outcome.event::<Token::Mint>();
    assert_eq!((minted.address, minted.account, minted.amount), (token, ALICE, amount));
    assert_eq!(chain.ask(token, Token::totalSupplyCall {}), amount);

    // The four ways out. None needs an allowance.
    let part = U256::from(250_000);
    let extra = recipient();
    let (local, remote) = (token, L1_TOKEN);
    for (i, (to, data)) in [
        (
            BOB,
            Bridge::withdrawToCall {
                l2Token: token,
                to: BOB,
                amount: part,
                minGasLimit: GAS,
                extraData: extra.clone(),
            }
            .abi_encode(),
        ),
        (
            ALICE,
            Bridge::withdrawCall { l2Token: token, amount: part, minGasLimit: GAS, extraData: extra.clone() }
                .abi_encode(),
        ),
        (
            BOB,
            Bridge::bridgeERC20ToCall {
                localToken: local,
                remoteToken: remote,
                to: BOB,
                amount: part,
                minGasLimit: GAS,
                extraData: extra.clone(),
            }
            .abi_encode(),
        ),
        (
            ALICE,
            Bridge::bridgeERC20Call {
                localToken: local,
                remoteToken: remote,
                amount: part,
                minGasLimit: GAS,
                extraData: extra.clone(),
            }
            .abi_encode(),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let outcome = chain.send(ALICE, BRIDGE, U256::ZERO, data.clone());
        let call: Bridge::finalizeBridgeERC20Call = ordered(&mut chain, &outcome, U256::ZERO, GAS);
        let expected = Bridge::finalizeBridgeERC20Call {
            localToken: L1_TOKEN,
            remoteToken: token,
            from: ALICE,
            to,
            amount: part,
            extraData: extra.clone(),
        };
        assert_eq!(call, expected);
        let old = Bridge::WithdrawalInitiated {
            l1Token: L1_TOKEN,
            l2Token: token,
            from: ALICE,
            to,
            amount: part,
            extraData: extra.clone(),
        };
        let new = Bridge::ERC20BridgeInitiated {
            localToken: token,
            remoteToken: L1_TOKEN,
            from: ALICE,
            to,
            amount: part,
            extraData: extra.clone(),
        };
        assert_eq!(emitted(&outcome), [log(&old), log(&new)]);
        let burnt = outcome.event::<Token::Burn>();
        assert_eq!((burnt.address, burnt.account, burnt.amount), (token, ALICE, part));
        let left = amount - part * U256::from(i + 1);
        assert_eq!(chain.ask(token, Token::totalSupplyCall {}), left);

        // No value goes along, and nobody sends what is not his.
        let with_value = chain.send(ALICE, BRIDGE, LUX, data.clone());
        assert!(!with_value.success);
        let poor = chain.send(BOB, BRIDGE, U256::ZERO, data);
        assert!(poor.is_error::<Token::ERC20InsufficientBalance>());
        assert_eq!(chain.ask(token, Token::totalSupplyCall {}), left);
    }
}

#[test]
fn a_token_stands_for_one_other() {
    let mut chain = Chain::new();
    let token = create(&mut chain, L1_TOKEN, "Token", "TOK", 18);
    let other = address!("0000000000000000000000000000000000022222");
    let call = |remote| Bridge::finalizeBridgeERC20Call {
        localToken: token,
        remoteToken: remote,
        from: BOB,
        to: ALICE,
        amount: U256::from(9),
        extraData: Bytes::new(),
    };
    fail(&mut chain, &from_other(0, &call(other)));
    arrive(&mut chain, &from_other(1, &call(L1_TOKEN)));
    let call = Bridge::bridgeERC20Call {
        localToken: token,
        remoteToken: other,
        amount: U256::from(1),
        minGasLimit: GAS,
        extraData: Bytes::new(),
    };
    assert!(send(&mut chain, ALICE, U256::ZERO, call).is_error::<Bridge::WrongRemoteToken>());
    assert_eq!(chain.ask(token, Token::balanceOfCall { account: ALICE }), U256::from(9));
}

/// A token whose home is L2, here wrapped DUSK, waits in the bridge.
#[test]
fn tokens_from_here_wait_and_come_back() {
    let mut chain = Chain::new();
    chain.send(ALICE, WETH9, U256::from(100), vec![]);
    let leave = Bridge::bridgeERC20ToCall {
        localToken: WETH9,
        remoteToken: L1_TOKEN,
        to: BOB,
        amount: U256::from(60),
        minGasLimit: GAS,
        extraData: recipient(),
    };
    assert!(send(&mut chain, ALICE, U256::ZERO, leave.clone()).is_error::<Bridge::TransferFailed>());
    chain.call(ALICE, WETH9, Token::approveCall { spender: BRIDGE, value: U256::from(60) });
    let outcome = send(&mut chain, ALICE, U256::ZERO, leave);
    let order: Bridge::finalizeBridgeERC20Call = ordered(&mut chain, &outcome, U256::ZERO, GAS);
    assert_eq!((order.localToken, order.remoteToken, order.amount), (L1_TOKEN, WETH9, U256::from(60)));
    assert_eq!(outcome.event::<Bridge::ERC20BridgeInitiated>().localToken, WETH9);
    let pair = Bridge::depositsCall { localToken: WETH9, remoteToken: L1_TOKEN };
    assert_eq!(chain.ask(BRIDGE, pair.clone()), U256::from(60));
    assert_eq!(chain.ask(WETH9, Token::balanceOfCall { account: BRIDGE }), U256::from(60));

    let back = |remote, amount| Bridge::finalizeBridgeERC20Call {
        localToken: WETH9,
        remoteToken: remote,
        from: BOB,
        to: BOB,
        amount: U256::from(amount),
        extraData: Bytes::new(),
    };
    // Not more than went out, and only against the token that it went out as.
    fail(&mut chain, &from_other(0, &back(L1_TOKEN, 61)));
    fail(&mut chain, &from_other(1, &back(BOB, 1)));
    arrive(&mut chain, &from_other(2, &back(L1_TOKEN, 25)));
    assert_eq!(chain.ask(BRIDGE, pair), U256::from(35));
    assert_eq!(chain.ask(WETH9, Token::balanceOfCall { account: BOB }), U256::from(25));
    fail(&mut chain, &from_other(3, &back(L1_TOKEN, 36)));
}

#[test]
fn a_token_that_keeps_a_part_is_refused() {
    let mut chain = Chain::new();
    let liar = address!("00000000000000000000000000000000000011a4");
    place(&mut chain, liar, YES);
    let call = |token, amount| Bridge::bridgeERC20ToCall {
        localToken: token,
        remoteToken: L1_TOKEN,
        to: BOB,
        amount: U256::from(amount),
        minGasLimit: GAS,
        extraData: Bytes::new(),
    };
    assert!(send(&mut chain, ALICE, U256::ZERO, call(liar, 5)).is_error::<Bridge::WrongAmountArrived>());
    // An account without code is no token.
    assert!(!send(&mut chain, ALICE, U256::ZERO, call(BOB, 5)).success);
    // Nor does a token that the old form needs to know its other side.
    let old = Bridge::withdrawCall { l2Token: WETH9, amount: U256::from(1), minGasLimit: GAS, extraData: Bytes::new() };
    assert!(!send(&mut chain, ALICE, U256::ZERO, old).success);
}

/// On the other layer a contract's address may belong to somebody else.
#[test]
fn contracts_name_their_recipient() {
    let mut chain = Chain::new();
    let token = create(&mut chain, L1_TOKEN, "Token", "TOK", 18);
    let contract = address!("0000000000000000000000000000000000c04ac7");
    place(&mut chain, contract, FORWARDER);
    set(&mut chain, contract, U256::ZERO, U256::from_be_slice(BRIDGE.as_slice()));
    let without_recipient = [
        vec![],
        Bridge::bridgeETHCall { minGasLimit: GAS, extraData: recipient() }.abi_encode(),
        Bridge::withdrawCall { l2Token: NATIVE, amount: LUX, minGasLimit: GAS, extraData: recipient() }.abi_encode(),
    ];
    for data in &without_recipient {
        assert!(chain.send(ALICE, contract, LUX, data.clone()).is_error::<Bridge::CallerIsContract>());
    }
    let call = Bridge::bridgeERC20Call {
        localToken: token,
        remoteToken: L1_TOKEN,
        amount: U256::ZERO,
        minGasLimit: GAS,
        extraData: recipient(),
    };
    let outcome = chain.send(ALICE, contract, U256::ZERO, call.abi_encode());
    assert!(outcome.is_error::<Bridge::CallerIsContract>());
    let call = Bridge::bridgeETHToCall { to: BOB, minGasLimit: GAS, extraData: recipient() };
    let outcome = chain.send(ALICE, contract, LUX, call.abi_encode());
    assert_eq!(outcome.event::<Bridge::ETHBridgeInitiated>().from, contract);

    // An account that delegates its code still holds its key; other code of that length does not.
    let delegating = address!("000000000000000000000000000000000de1e9a7");
    install(&mut chain, delegating, [&hex!("ef0100")[..], contract.as_slice()].concat());
    set(&mut chain, delegating, U256::ZERO, U256::from_be_slice(BRIDGE.as_slice()));
    for data in without_recipient {
        let outcome = chain.send(ALICE, delegating, LUX, data);
        assert!(outcome.success, "{}", outcome.reason());
        let event = outcome.event::<Bridge::ETHBridgeInitiated>();
        assert_eq!((event.from, event.to), (delegating, delegating));
    }
}

#[test]
fn a_withdrawal_that_failed_to_mint_can_be_repeated() {
    let mut chain = Chain::new();
    // The token is made after the tokens were sent.
    let token = {
        let mut other = Chain::new();
        create(&mut other, L1_TOKEN, "Late", "LATE", 18)
    };
    let call = Bridge::finalizeBridgeERC20Call {
        localToken: token,
        remoteToken: L1_TOKEN,
        from: BOB,
        to: ALICE,
        amount: U256::from(3),
        extraData: Bytes::new(),
    };
    let m = from_other(0, &call);
    fail(&mut chain, &m);
    assert_eq!(create(&mut chain, L1_TOKEN, "Late", "LATE", 18), token);
    let outcome = chain.send(BOB, MESSENGER, U256::ZERO, m.abi_encode());
    assert_eq!(outcome.event::<Messenger::RelayedMessage>().msgHash, hash(&m));
    assert_eq!(chain.ask(token, Token::balanceOfCall { account: ALICE }), U256::from(3));
    assert!(deposit(&mut chain, &m).is_error::<Messenger::AlreadyRelayed>());
}
