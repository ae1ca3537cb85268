//! OptimismMintableERC721Factory and the tokens that it makes.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U256, address, fixed_bytes, keccak256};
use alloy_sol_types::{SolCall, SolValue, sol};
use duskevm_genesis::{
    NetworkSpec,
    artifacts::Contract,
    predeploys::{L2_ERC721_BRIDGE as BRIDGE, OPTIMISM_MINTABLE_ERC721_FACTORY as FACTORY},
};
use proptest::prelude::*;

use crate::{
    chain::{ALICE, BOB, Chain, Outcome},
    targets::place,
};

sol! {
    #[derive(Debug)]
    interface Factory {
        error ZeroRemoteToken();
        event OptimismMintableERC721Created(address indexed localToken, address indexed remoteToken, address deployer);
        function bridge() external view returns (address);
        function BRIDGE() external view returns (address);
        function REMOTE_CHAIN_ID() external view returns (uint256);
        function remoteChainID() external view returns (uint256);
        function isOptimismMintableERC721(address token) external view returns (bool);
        function createOptimismMintableERC721(address remoteToken, string name, string symbol)
            external returns (address);
    }
    #[derive(Debug)]
    interface Token {
        error OnlyBridge();
        error ERC721NonexistentToken(uint256 tokenId);
        error ERC721IncorrectOwner(address sender, uint256 tokenId, address owner);
        error ERC721InvalidSender(address sender);
        error ERC721InvalidReceiver(address receiver);
        error ERC721InsufficientApproval(address operator, uint256 tokenId);
        error ERC721InvalidOperator(address operator);
        error ERC721InvalidOwner(address owner);
        error ERC721OutOfBoundsIndex(address owner, uint256 index);
        event Transfer(address indexed from, address indexed to, uint256 indexed tokenId);
        event Approval(address indexed owner, address indexed approved, uint256 indexed tokenId);
        event ApprovalForAll(address indexed owner, address indexed operator, bool approved);
        event Mint(address indexed account, uint256 tokenId);
        event Burn(address indexed account, uint256 tokenId);
        function name() external view returns (string);
        function symbol() external view returns (string);
        function baseTokenURI() external view returns (string);
        function tokenURI(uint256 tokenId) external view returns (string);
        function bridge() external view returns (address);
        function BRIDGE() external view returns (address);
        function remoteToken() external view returns (address);
        function REMOTE_TOKEN() external view returns (address);
        function remoteChainId() external view returns (uint256);
        function REMOTE_CHAIN_ID() external view returns (uint256);
        function supportsInterface(bytes4 id) external view returns (bool);
        function totalSupply() external view returns (uint256);
        function balanceOf(address owner) external view returns (uint256);
        function ownerOf(uint256 tokenId) external view returns (address);
        function tokenByIndex(uint256 index) external view returns (uint256);
        function tokenOfOwnerByIndex(address owner, uint256 index) external view returns (uint256);
        function getApproved(uint256 tokenId) external view returns (address);
        function isApprovedForAll(address owner, address operator) external view returns (bool);
        function approve(address to, uint256 tokenId) external;
        function setApprovalForAll(address operator, bool approved) external;
        function transferFrom(address from, address to, uint256 tokenId) external;
        function safeTransferFrom(address from, address to, uint256 tokenId, bytes data) external;
        function safeMint(address to, uint256 tokenId) external;
        function burn(address from, uint256 tokenId) external;
    }
    #[derive(Debug)]
    interface Short {
        function safeTransferFrom(address from, address to, uint256 tokenId) external;
    }
}

const REMOTE: Address = address!("00000000000000000000000000000000000AbCdE");
const CAROL: Address = address!("00000000000000000000000000000000000ca401");

/// Makes a token and checks that it stands where its contents say.
pub(crate) fn create(chain: &mut Chain, remote: Address, name: &str, symbol: &str) -> Address {
    let call = Factory::createOptimismMintableERC721Call {
        remoteToken: remote,
        name: name.to_owned(),
        symbol: symbol.to_owned(),
    };
    let outcome = chain.send(ALICE, FACTORY, U256::ZERO, call.abi_encode());
    let token = Address::abi_decode(&outcome.output).unwrap();
    let salt = keccak256((remote, name, symbol).abi_encode_params());
    let chain_id = U256::from(NetworkSpec::LOCAL_L1_CHAIN_ID);
    let arguments = (BRIDGE, chain_id, remote, name, symbol).abi_encode_params();
    let code = &Contract::OptimismMintableERC721.artifact().unwrap().bytecode;
    assert_eq!(token, FACTORY.create2_from_code(salt, [&code[..], &arguments].concat()));

    let created = outcome.event::<Factory::OptimismMintableERC721Created>();
    assert_eq!((created.address, created.localToken), (FACTORY, token));
    assert_eq!((created.remoteToken, created.deployer), (remote, ALICE));
    token
}

/// A chain, a token, and the things that ALICE has.
fn with_things(ids: impl IntoIterator<Item = u64>) -> (Chain, Address) {
    let mut chain = Chain::new();
    let token = create(&mut chain, REMOTE, "Things", "TH");
    for id in ids {
        chain.call(BRIDGE, token, Token::safeMintCall { to: ALICE, tokenId: U256::from(id) });
    }
    (chain, token)
}

fn send(chain: &mut Chain, from: Address, token: Address, call: impl SolCall) -> Outcome {
    chain.send(from, token, U256::ZERO, call.abi_encode())
}

fn transfer(from: Address, to: Address, id: u64) -> Token::transferFromCall {
    Token::transferFromCall { from, to, tokenId: U256::from(id) }
}

#[test]
fn the_factory_knows_what_it_made() {
    let mut chain = Chain::new();
    let chain_id = U256::from(NetworkSpec::LOCAL_L1_CHAIN_ID);
    assert_eq!(chain.ask(FACTORY, Factory::bridgeCall {}), BRIDGE);
    assert_eq!(chain.ask(FACTORY, Factory::BRIDGECall {}), BRIDGE);
    assert_eq!(chain.ask(FACTORY, Factory::remoteChainIDCall {}), chain_id);
    assert_eq!(chain.ask(FACTORY, Factory::REMOTE_CHAIN_IDCall {}), chain_id);
    assert_eq!(chain.slot(FACTORY, 1), B256::from(chain_id));

    let token = create(&mut chain, REMOTE, "Things", "TH");
    assert!(chain.ask(FACTORY, Factory::isOptimismMintableERC721Call { token }));
    assert!(!chain.ask(FACTORY, Factory::isOptimismMintableERC721Call { token: REMOTE }));
    assert_ne!(create(&mut chain, REMOTE, "Things", "THS"), token);
    assert_ne!(create(&mut chain, BOB, "Things", "TH"), token);
    let call = |remote| Factory::createOptimismMintableERC721Call {
        remoteToken: remote,
        name: "Things".to_owned(),
        symbol: "TH".to_owned(),
    };
    assert!(!send(&mut chain, BOB, FACTORY, call(REMOTE)).success, "there is one of each");
    assert!(send(&mut chain, BOB, FACTORY, call(Address::ZERO)).is_error::<Factory::ZeroRemoteToken>());
}

#[test]
fn tokens_say_what_they_are() {
    let (mut chain, token) = with_things([0, 90_210]);
    let chain_id = U256::from(NetworkSpec::LOCAL_L1_CHAIN_ID);
    assert_eq!(chain.ask(token, Token::nameCall {}), "Things");
    assert_eq!(chain.ask(token, Token::symbolCall {}), "TH");
    assert_eq!(chain.ask(token, Token::bridgeCall {}), BRIDGE);
    assert_eq!(chain.ask(token, Token::BRIDGECall {}), BRIDGE);
    assert_eq!(chain.ask(token, Token::remoteTokenCall {}), REMOTE);
    assert_eq!(chain.ask(token, Token::REMOTE_TOKENCall {}), REMOTE);
    assert_eq!(chain.ask(token, Token::remoteChainIdCall {}), chain_id);
    assert_eq!(chain.ask(token, Token::REMOTE_CHAIN_IDCall {}), chain_id);
    let base = "ethereum:0x00000000000000000000000000000000000abcde@250/tokenURI?uint256=";
    assert_eq!(chain.ask(token, Token::baseTokenURICall {}), base);
    for id in [0_u64, 90_210] {
        let uri = chain.ask(token, Token::tokenURICall { tokenId: U256::from(id) });
        assert_eq!(uri, format!("{base}{id}"));
    }
    let missing = Token::tokenURICall { tokenId: U256::from(1) };
    assert!(send(&mut chain, ALICE, token, missing).is_error::<Token::ERC721NonexistentToken>());
    for (id, expected) in [
        (fixed_bytes!("01ffc9a7"), true),
        (fixed_bytes!("80ac58cd"), true),
        (fixed_bytes!("5b5e139f"), true),
        (fixed_bytes!("780e9d63"), true),
        (fixed_bytes!("74259ebf"), true),
        (fixed_bytes!("ffffffff"), false),
        (fixed_bytes!("ec4fc8e3"), false),
    ] {
        assert_eq!(chain.ask(token, Token::supportsInterfaceCall { id }), expected, "{id}");
    }
}

#[test]
fn only_the_bridge_mints_and_burns() {
    let (mut chain, token) = with_things([1]);
    let mint = |to, id| Token::safeMintCall { to, tokenId: U256::from(id) };
    let burn = |from, id| Token::burnCall { from, tokenId: U256::from(id) };
    for stranger in [ALICE, FACTORY, token] {
        assert!(send(&mut chain, stranger, token, mint(ALICE, 2)).is_error::<Token::OnlyBridge>());
        assert!(send(&mut chain, stranger, token, burn(ALICE, 1)).is_error::<Token::OnlyBridge>());
    }
    assert!(send(&mut chain, BRIDGE, token, mint(BOB, 1)).is_error::<Token::ERC721InvalidSender>());
    assert!(send(&mut chain, BRIDGE, token, mint(Address::ZERO, 2)).is_error::<Token::ERC721InvalidReceiver>());
    assert!(send(&mut chain, BRIDGE, token, burn(BOB, 1)).is_error::<Token::ERC721IncorrectOwner>());
    assert!(send(&mut chain, BRIDGE, token, burn(ALICE, 2)).is_error::<Token::ERC721NonexistentToken>());
    let outcome = send(&mut chain, BRIDGE, token, burn(ALICE, 1));
    let event = outcome.event::<Token::Transfer>();
    assert_eq!((event.from, event.to, event.tokenId), (ALICE, Address::ZERO, U256::from(1)));
    let event = send(&mut chain, BRIDGE, token, mint(BOB, 1)).event::<Token::Transfer>();
    assert_eq!((event.from, event.to, event.tokenId), (Address::ZERO, BOB, U256::from(1)));
}

#[test]
fn owners_and_those_they_name_move_tokens() {
    let (mut chain, token) = with_things([1, 2, 3]);
    assert!(send(&mut chain, BOB, token, transfer(ALICE, BOB, 1)).is_error::<Token::ERC721InsufficientApproval>());
    assert!(send(&mut chain, ALICE, token, transfer(BOB, ALICE, 1)).is_error::<Token::ERC721IncorrectOwner>());
    let nobody = transfer(ALICE, Address::ZERO, 1);
    assert!(send(&mut chain, ALICE, token, nobody).is_error::<Token::ERC721InvalidReceiver>());
    assert!(send(&mut chain, ALICE, token, transfer(ALICE, BOB, 9)).is_error::<Token::ERC721NonexistentToken>());

    let approve = |id: u64| Token::approveCall { to: BOB, tokenId: U256::from(id) };
    assert!(send(&mut chain, BOB, token, approve(1)).is_error::<Token::ERC721InsufficientApproval>());
    let event = send(&mut chain, ALICE, token, approve(1)).event::<Token::Approval>();
    assert_eq!((event.owner, event.approved, event.tokenId), (ALICE, BOB, U256::from(1)));
    assert_eq!(chain.ask(token, Token::getApprovedCall { tokenId: U256::from(1) }), BOB);
    assert!(send(&mut chain, BOB, token, transfer(ALICE, CAROL, 2)).is_error::<Token::ERC721InsufficientApproval>());
    let event = send(&mut chain, BOB, token, transfer(ALICE, CAROL, 1)).event::<Token::Transfer>();
    assert_eq!((event.from, event.to, event.tokenId), (ALICE, CAROL, U256::from(1)));
    // The approval ended with the move.
    assert_eq!(chain.ask(token, Token::getApprovedCall { tokenId: U256::from(1) }), Address::ZERO);
    assert!(send(&mut chain, BOB, token, transfer(CAROL, BOB, 1)).is_error::<Token::ERC721InsufficientApproval>());

    let all = |operator, approved| Token::setApprovalForAllCall { operator, approved };
    assert!(send(&mut chain, ALICE, token, all(Address::ZERO, true)).is_error::<Token::ERC721InvalidOperator>());
    let event = send(&mut chain, ALICE, token, all(BOB, true)).event::<Token::ApprovalForAll>();
    assert_eq!((event.owner, event.operator, event.approved), (ALICE, BOB, true));
    assert!(chain.ask(token, Token::isApprovedForAllCall { owner: ALICE, operator: BOB }));
    assert!(send(&mut chain, BOB, token, transfer(ALICE, BOB, 2)).success);
    assert!(send(&mut chain, BOB, token, Token::approveCall { to: CAROL, tokenId: U256::from(3) }).success);
    send(&mut chain, ALICE, token, all(BOB, false));
    assert!(send(&mut chain, BOB, token, transfer(ALICE, BOB, 3)).is_error::<Token::ERC721InsufficientApproval>());
    assert!(send(&mut chain, CAROL, token, transfer(ALICE, CAROL, 3)).success);

    let nobody = Token::balanceOfCall { owner: Address::ZERO };
    assert!(send(&mut chain, ALICE, token, nobody).is_error::<Token::ERC721InvalidOwner>());
}

#[test]
fn a_safe_transfer_asks_the_receiver() {
    let (mut chain, token) = with_things([1, 2]);
    let shop = address!("0000000000000000000000000000000000005409");
    let long = |to, id| Token::safeTransferFromCall {
        from: ALICE,
        to,
        tokenId: U256::from(id),
        data: Bytes::from_static(b"hello"),
    };
    let short = |to, id| Short::safeTransferFromCall { from: ALICE, to, tokenId: U256::from(id) };
    // One that answers with another selector.
    place(&mut chain, shop, "63deadbeef60e01b60005260206000f3");
    assert!(send(&mut chain, ALICE, token, long(shop, 1)).is_error::<Token::ERC721InvalidReceiver>());
    assert!(send(&mut chain, ALICE, token, short(shop, 1)).is_error::<Token::ERC721InvalidReceiver>());
    place(&mut chain, shop, "63150b7a0260e01b60005260206000f3");
    assert!(send(&mut chain, ALICE, token, long(shop, 1)).success);
    assert!(send(&mut chain, ALICE, token, short(BOB, 2)).success);
    assert_eq!(chain.ask(token, Token::ownerOfCall { tokenId: U256::from(1) }), shop);
    assert_eq!(chain.ask(token, Token::ownerOfCall { tokenId: U256::from(2) }), BOB);
}

#[derive(Debug, Clone)]
enum Step {
    Mint(usize, u64),
    Burn(u64),
    Move(u64, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(
        prop_oneof![
            4 => (0..3_usize, 0..8_u64).prop_map(|(to, id)| Step::Mint(to, id)),
            2 => (0..8_u64).prop_map(Step::Burn),
            4 => (0..8_u64, 0..3_usize).prop_map(|(id, to)| Step::Move(id, to)),
        ],
        1..40,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// The lists hold what an ordinary map of owners holds, whatever happened.
    #[test]
    fn the_lists_are_complete(steps in steps()) {
        let accounts = [ALICE, BOB, CAROL];
        let (mut chain, token) = with_things([]);
        let mut owners: BTreeMap<u64, Address> = BTreeMap::new();
        for step in steps {
            let (done, expected) = match step {
                Step::Mint(to, id) => {
                    let call = Token::safeMintCall { to: accounts[to], tokenId: U256::from(id) };
                    let free = !owners.contains_key(&id);
                    owners.entry(id).or_insert(accounts[to]);
                    (send(&mut chain, BRIDGE, token, call).success, free)
                }
                Step::Burn(id) => {
                    let owner = owners.remove(&id);
                    let call = Token::burnCall { from: owner.unwrap_or(ALICE), tokenId: U256::from(id) };
                    (send(&mut chain, BRIDGE, token, call).success, owner.is_some())
                }
                Step::Move(id, to) => {
                    let from = owners.get(&id).copied();
                    if from.is_some() {
                        owners.insert(id, accounts[to]);
                    }
                    let owner = from.unwrap_or(ALICE);
                    (send(&mut chain, owner, token, transfer(owner, accounts[to], id)).success, from.is_some())
                }
            };
            prop_assert_eq!(done, expected);
        }
        let mut all: Vec<u64> = (0..owners.len())
            .map(|i| chain.ask(token, Token::tokenByIndexCall { index: U256::from(i) }).to())
            .collect();
        all.sort_unstable();
        prop_assert_eq!(all, owners.keys().copied().collect::<Vec<_>>());
        prop_assert_eq!(chain.ask(token, Token::totalSupplyCall {}), U256::from(owners.len()));
        let beyond = Token::tokenByIndexCall { index: U256::from(owners.len()) };
        prop_assert!(send(&mut chain, ALICE, token, beyond).is_error::<Token::ERC721OutOfBoundsIndex>());
        for owner in accounts {
            let expected: Vec<u64> = owners.iter().filter(|(_, o)| **o == owner).map(|(id, _)| *id).collect();
            let count: usize = chain.ask(token, Token::balanceOfCall { owner }).to();
            let mut own: Vec<u64> = (0..count)
                .map(|i| chain.ask(token, Token::tokenOfOwnerByIndexCall { owner, index: U256::from(i) }).to())
                .collect();
            own.sort_unstable();
            prop_assert_eq!(own, expected);
            let beyond = Token::tokenOfOwnerByIndexCall { owner, index: U256::from(count) };
            prop_assert!(send(&mut chain, ALICE, token, beyond).is_error::<Token::ERC721OutOfBoundsIndex>());
        }
    }
}
