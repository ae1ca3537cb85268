//! OptimismMintableERC20Factory and the tokens that it makes.

use alloy_primitives::{Address, B256, Signature, U256, address, fixed_bytes, keccak256};
use alloy_sol_types::{SolCall, SolValue, sol};
use duskevm_genesis::{
    artifacts::Contract,
    dev_accounts,
    predeploys::{L2_STANDARD_BRIDGE, OPTIMISM_MINTABLE_ERC20_FACTORY as FACTORY},
};

use crate::chain::{ALICE, BOB, Chain, NOW};

sol! {
    #[derive(Debug)]
    interface Factory {
        error ZeroRemoteToken();
        event StandardL2TokenCreated(address indexed remoteToken, address indexed localToken);
        event OptimismMintableERC20Created(address indexed localToken, address indexed remoteToken, address deployer);
        function bridge() external view returns (address);
        function BRIDGE() external view returns (address);
        function deployments(address token) external view returns (address);
        function createStandardL2Token(address remoteToken, string name, string symbol) external returns (address);
        function createOptimismMintableERC20(address remoteToken, string name, string symbol)
            external returns (address);
        function createOptimismMintableERC20WithDecimals(address remoteToken, string name, string symbol,
            uint8 decimals) external returns (address);
    }
    #[derive(Debug)]
    interface Token {
        error OnlyBridge();
        error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
        error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed);
        error ERC20InvalidReceiver(address receiver);
        error ERC20InvalidSpender(address spender);
        error ERC2612ExpiredSignature(uint256 deadline);
        error ERC2612InvalidSigner(address signer, address owner);
        event Transfer(address indexed from, address indexed to, uint256 value);
        event Approval(address indexed owner, address indexed spender, uint256 value);
        event Mint(address indexed account, uint256 amount);
        event Burn(address indexed account, uint256 amount);
        function name() external view returns (string);
        function symbol() external view returns (string);
        function decimals() external view returns (uint8);
        function totalSupply() external view returns (uint256);
        function balanceOf(address account) external view returns (uint256);
        function allowance(address owner, address spender) external view returns (uint256);
        function nonces(address owner) external view returns (uint256);
        function DOMAIN_SEPARATOR() external view returns (bytes32);
        function remoteToken() external view returns (address);
        function REMOTE_TOKEN() external view returns (address);
        function l1Token() external view returns (address);
        function bridge() external view returns (address);
        function BRIDGE() external view returns (address);
        function l2Bridge() external view returns (address);
        function supportsInterface(bytes4 id) external view returns (bool);
        function mint(address to, uint256 amount) external;
        function burn(address from, uint256 amount) external;
        function approve(address spender, uint256 value) external returns (bool);
        function transfer(address to, uint256 value) external returns (bool);
        function transferFrom(address from, address to, uint256 value) external returns (bool);
        function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r,
            bytes32 s) external;
    }
}

const REMOTE: Address = address!("0000000000000000000000000000000000054321");

/// Makes a token and checks that it stands where its contents say.
pub(crate) fn create(chain: &mut Chain, remote: Address, name: &str, symbol: &str, decimals: u8) -> Address {
    let call = Factory::createOptimismMintableERC20WithDecimalsCall {
        remoteToken: remote,
        name: name.to_owned(),
        symbol: symbol.to_owned(),
        decimals,
    };
    let token = chain.ask(FACTORY, call);
    assert_eq!(token, predicted(remote, name, symbol, decimals));
    token
}

/// CREATE2: the factory, a salt of what tells tokens apart, and the creation code with its arguments.
fn predicted(remote: Address, name: &str, symbol: &str, decimals: u8) -> Address {
    let salt = keccak256((remote, name, symbol, U256::from(decimals)).abi_encode_params());
    let arguments = (L2_STANDARD_BRIDGE, remote, name, symbol, U256::from(decimals)).abi_encode_params();
    let code = &Contract::OptimismMintableERC20.artifact().unwrap().bytecode;
    FACTORY.create2_from_code(salt, [&code[..], &arguments].concat())
}

/// A chain, a token, and what ALICE has of it.
fn with_balance(amount: u64) -> (Chain, Address) {
    let mut chain = Chain::new();
    let token = create(&mut chain, REMOTE, "Token", "TOK", 18);
    chain.call(L2_STANDARD_BRIDGE, token, Token::mintCall { to: ALICE, amount: U256::from(amount) });
    (chain, token)
}

fn balance(chain: &mut Chain, token: Address, account: Address) -> U256 {
    chain.ask(token, Token::balanceOfCall { account })
}

#[test]
fn tokens_stand_at_addresses_that_can_be_foreseen() {
    let mut chain = Chain::new();
    assert_eq!(chain.ask(FACTORY, Factory::bridgeCall {}), L2_STANDARD_BRIDGE);
    assert_eq!(chain.ask(FACTORY, Factory::BRIDGECall {}), L2_STANDARD_BRIDGE);
    assert_eq!(chain.slot(FACTORY, 0), B256::with_last_byte(1));
    assert_eq!(chain.slot(FACTORY, 1), L2_STANDARD_BRIDGE.into_word());

    let (name, symbol) = ("Wrapped Something".to_owned(), "WS".to_owned());
    for (data, token, decimals) in [
        (
            Factory::createOptimismMintableERC20Call {
                remoteToken: REMOTE,
                name: name.clone(),
                symbol: symbol.clone(),
            }
            .abi_encode(),
            predicted(REMOTE, &name, &symbol, 18),
            18,
        ),
        (
            Factory::createStandardL2TokenCall { remoteToken: BOB, name: name.clone(), symbol: symbol.clone() }
                .abi_encode(),
            predicted(BOB, &name, &symbol, 18),
            18,
        ),
        (
            Factory::createOptimismMintableERC20WithDecimalsCall {
                remoteToken: REMOTE,
                name: name.clone(),
                symbol: symbol.clone(),
                decimals: 9,
            }
            .abi_encode(),
            predicted(REMOTE, &name, &symbol, 9),
            9,
        ),
    ] {
        let outcome = chain.send(ALICE, FACTORY, U256::ZERO, data.clone());
        assert_eq!(Address::abi_decode(&outcome.output).unwrap(), token);
        let created = outcome.event::<Factory::OptimismMintableERC20Created>();
        assert_eq!((created.address, created.localToken, created.deployer), (FACTORY, token, ALICE));
        let old = outcome.event::<Factory::StandardL2TokenCreated>();
        assert_eq!((old.localToken, old.remoteToken), (token, created.remoteToken));
        let remote = created.remoteToken;
        assert_eq!(chain.ask(FACTORY, Factory::deploymentsCall { token }), remote);

        assert_eq!(chain.ask(token, Token::nameCall {}), name);
        assert_eq!(chain.ask(token, Token::symbolCall {}), symbol);
        assert_eq!(chain.ask(token, Token::decimalsCall {}), decimals);
        assert_eq!(chain.ask(token, Token::remoteTokenCall {}), remote);
        assert_eq!(chain.ask(token, Token::REMOTE_TOKENCall {}), remote);
        assert_eq!(chain.ask(token, Token::l1TokenCall {}), remote);
        assert_eq!(chain.ask(token, Token::bridgeCall {}), L2_STANDARD_BRIDGE);
        assert_eq!(chain.ask(token, Token::BRIDGECall {}), L2_STANDARD_BRIDGE);
        assert_eq!(chain.ask(token, Token::l2BridgeCall {}), L2_STANDARD_BRIDGE);
        // There is one of each, whoever asks.
        assert!(!chain.send(BOB, FACTORY, U256::ZERO, data).success);
    }
    let nothing = Factory::createOptimismMintableERC20Call { remoteToken: Address::ZERO, name, symbol };
    assert!(chain.send(ALICE, FACTORY, U256::ZERO, nothing.abi_encode()).is_error::<Factory::ZeroRemoteToken>());
    assert_eq!(chain.ask(FACTORY, Factory::deploymentsCall { token: ALICE }), Address::ZERO);
}

#[test]
fn tokens_say_what_they_are() {
    let (mut chain, token) = with_balance(1);
    for (id, expected) in [
        (fixed_bytes!("01ffc9a7"), true),
        (fixed_bytes!("1d1d8b63"), true),
        (fixed_bytes!("ec4fc8e3"), true),
        (fixed_bytes!("ffffffff"), false),
        (fixed_bytes!("80ac58cd"), false),
    ] {
        assert_eq!(chain.ask(token, Token::supportsInterfaceCall { id }), expected, "{id}");
    }
}

#[test]
fn only_the_bridge_mints_and_burns() {
    let (mut chain, token) = with_balance(5);
    let mint = Token::mintCall { to: ALICE, amount: U256::from(1) }.abi_encode();
    let burn = Token::burnCall { from: ALICE, amount: U256::from(1) }.abi_encode();
    for stranger in [ALICE, FACTORY, token] {
        assert!(chain.send(stranger, token, U256::ZERO, mint.clone()).is_error::<Token::OnlyBridge>());
        assert!(chain.send(stranger, token, U256::ZERO, burn.clone()).is_error::<Token::OnlyBridge>());
    }
    let nobody = Token::mintCall { to: Address::ZERO, amount: U256::from(1) }.abi_encode();
    let outcome = chain.send(L2_STANDARD_BRIDGE, token, U256::ZERO, nobody);
    assert!(outcome.is_error::<Token::ERC20InvalidReceiver>());
    let outcome = chain.send(L2_STANDARD_BRIDGE, token, U256::ZERO, mint);
    let event = outcome.event::<Token::Transfer>();
    assert_eq!((event.from, event.to, event.value), (Address::ZERO, ALICE, U256::from(1)));
    let outcome = chain.send(L2_STANDARD_BRIDGE, token, U256::ZERO, burn);
    let event = outcome.event::<Token::Transfer>();
    assert_eq!((event.from, event.to, event.value), (ALICE, Address::ZERO, U256::from(1)));
    assert_eq!(chain.slot(token, 2), B256::with_last_byte(5));
    let place = keccak256((ALICE, U256::ZERO).abi_encode());
    assert_eq!(chain.db.cache.accounts[&token].storage.get(&place.into()), Some(&U256::from(5)));

    // The supply does not overflow.
    let too_much = Token::mintCall { to: BOB, amount: U256::MAX - U256::from(4) }.abi_encode();
    assert!(!chain.send(L2_STANDARD_BRIDGE, token, U256::ZERO, too_much).success);
}

#[test]
fn tokens_move() {
    let (mut chain, token) = with_balance(100);
    let transfer = |to, value: u64| Token::transferCall { to, value: U256::from(value) }.abi_encode();
    let event = chain.send(ALICE, token, U256::ZERO, transfer(BOB, 30)).event::<Token::Transfer>();
    assert_eq!((event.from, event.to, event.value), (ALICE, BOB, U256::from(30)));
    assert!(chain.send(BOB, token, U256::ZERO, transfer(ALICE, 31)).is_error::<Token::ERC20InsufficientBalance>());
    let outcome = chain.send(BOB, token, U256::ZERO, transfer(Address::ZERO, 1));
    assert!(outcome.is_error::<Token::ERC20InvalidReceiver>());
    assert!(chain.send(BOB, token, U256::ZERO, transfer(BOB, 30)).success);
    assert_eq!(balance(&mut chain, token, BOB), U256::from(30));

    let take = |value: u64| Token::transferFromCall { from: ALICE, to: BOB, value: U256::from(value) }.abi_encode();
    let approve = |value| Token::approveCall { spender: BOB, value }.abi_encode();
    assert!(chain.send(BOB, token, U256::ZERO, take(1)).is_error::<Token::ERC20InsufficientAllowance>());
    let event = chain.send(ALICE, token, U256::ZERO, approve(U256::from(20))).event::<Token::Approval>();
    assert_eq!((event.owner, event.spender, event.value), (ALICE, BOB, U256::from(20)));
    assert!(chain.send(BOB, token, U256::ZERO, take(15)).success);
    assert!(chain.send(BOB, token, U256::ZERO, take(6)).is_error::<Token::ERC20InsufficientAllowance>());
    assert_eq!(chain.ask(token, Token::allowanceCall { owner: ALICE, spender: BOB }), U256::from(5));
    // The largest allowance does not shrink.
    chain.send(ALICE, token, U256::ZERO, approve(U256::MAX));
    assert!(chain.send(BOB, token, U256::ZERO, take(55)).success);
    assert_eq!(chain.ask(token, Token::allowanceCall { owner: ALICE, spender: BOB }), U256::MAX);
    assert!(chain.send(BOB, token, U256::ZERO, take(1)).is_error::<Token::ERC20InsufficientBalance>());
    assert_eq!((balance(&mut chain, token, ALICE), balance(&mut chain, token, BOB)), (U256::ZERO, U256::from(100)));
    let nobody = Token::approveCall { spender: Address::ZERO, value: U256::from(1) }.abi_encode();
    assert!(chain.send(ALICE, token, U256::ZERO, nobody).is_error::<Token::ERC20InvalidSpender>());
}

#[test]
fn a_permit_is_an_approval_by_signature() {
    let (mut chain, token) = with_balance(100);
    let account = dev_accounts().unwrap().users[0];
    let key = alloy_signer_local::PrivateKeySigner::from_bytes(&account.private_key).unwrap();
    // The chain id of the test's chain is 1.
    let domain = keccak256(
        (
            keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
            keccak256("Token"),
            keccak256("1"),
            U256::from(1),
            token,
        )
            .abi_encode(),
    );
    assert_eq!(chain.ask(token, Token::DOMAIN_SEPARATORCall {}), domain);
    let sign = |nonce: u64, value: u64, deadline: u64| {
        let content = keccak256(
            (
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                account.address,
                BOB,
                U256::from(value),
                U256::from(nonce),
                U256::from(deadline),
            )
                .abi_encode(),
        );
        let digest = keccak256([&[0x19, 0x01][..], domain.as_slice(), content.as_slice()].concat());
        let (signature, recovery) = key.credential().sign_prehash_recoverable(digest.as_slice()).unwrap();
        Signature::from((signature, recovery))
    };
    let permit = |value: u64, deadline: u64, s: &Signature| Token::permitCall {
        owner: account.address,
        spender: BOB,
        value: U256::from(value),
        deadline: U256::from(deadline),
        v: 27 + u8::from(s.v()),
        r: s.r().into(),
        s: s.s().into(),
    };
    let late = permit(7, NOW - 1, &sign(0, 7, NOW - 1)).abi_encode();
    assert!(chain.send(ALICE, token, U256::ZERO, late).is_error::<Token::ERC2612ExpiredSignature>());
    let other = permit(8, NOW, &sign(0, 7, NOW)).abi_encode();
    assert!(chain.send(ALICE, token, U256::ZERO, other).is_error::<Token::ERC2612InvalidSigner>());
    // The other form of a signature does not count.
    let good = sign(0, 7, NOW);
    let order = U256::from_be_bytes(fixed_bytes!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141").0);
    let mirrored = Signature::new(good.r(), order - good.s(), !good.v());
    let call = permit(7, NOW, &mirrored).abi_encode();
    assert!(chain.send(ALICE, token, U256::ZERO, call).is_error::<Token::ERC2612InvalidSigner>());

    let call = permit(7, NOW, &good).abi_encode();
    let event = chain.send(ALICE, token, U256::ZERO, call.clone()).event::<Token::Approval>();
    assert_eq!((event.owner, event.spender, event.value), (account.address, BOB, U256::from(7)));
    assert_eq!(chain.ask(token, Token::allowanceCall { owner: account.address, spender: BOB }), U256::from(7));
    assert_eq!(chain.ask(token, Token::noncesCall { owner: account.address }), U256::from(1));
    assert!(chain.send(ALICE, token, U256::ZERO, call).is_error::<Token::ERC2612InvalidSigner>());
    // An account that nobody has the key of signs nothing, whatever `ecrecover` finds.
    let mut nobody = permit(7, NOW, &good);
    (nobody.owner, nobody.v) = (Address::ZERO, 99);
    assert!(chain.send(ALICE, token, U256::ZERO, nobody.abi_encode()).is_error::<Token::ERC2612InvalidSigner>());
}
