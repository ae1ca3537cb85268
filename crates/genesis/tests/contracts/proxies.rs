//! Proxies and their admin.

use alloy_primitives::{Address, U256, address};
use alloy_sol_types::{SolCall, SolError, sol};
use duskevm_genesis::{
    Fork, dev_accounts,
    predeploys::{
        self, ADMIN_SLOT, DEPOSITOR, GAS_PRICE_ORACLE, IMPLEMENTATION_SLOT, L1_BLOCK, MULTICALL3, PROXY_ADMIN,
        implementation_of,
    },
};
use revm::DatabaseRef;

use crate::chain::{ALICE, BOB, Chain};

sol! {
    #[derive(Debug)]
    interface Proxy {
        event Upgraded(address indexed implementation);
        event AdminChanged(address previousAdmin, address newAdmin);
        function upgradeTo(address implementation) external;
        function upgradeToAndCall(address implementation, bytes data) external payable returns (bytes);
        function changeAdmin(address newAdmin) external;
        function admin() external returns (address);
        function implementation() external returns (address);
    }
    #[derive(Debug)]
    interface Admin {
        event OwnershipTransferred(address indexed previousOwner, address indexed newOwner);
        function owner() external view returns (address);
        function transferOwnership(address newOwner) external;
        function renounceOwnership() external;
        function proxyType(address proxy) external view returns (uint8);
        function getProxyImplementation(address proxy) external view returns (address);
        function getProxyAdmin(address proxy) external view returns (address);
        function changeProxyAdmin(address proxy, address newAdmin) external;
        function upgrade(address proxy, address implementation) external;
        function upgradeAndCall(address proxy, address implementation, bytes data) external payable;
    }
    interface Other {
        function getBlockNumber() external view returns (uint256);
        function getChainId() external view returns (uint256);
        function number() external view returns (uint64);
        function setEcotone() external;
        error NotDepositor();
    }
}

/// A proxy that waits for its implementation.
const RESERVED: Address = address!("0x4200000000000000000000000000000000000123");

fn owner() -> Address {
    dev_accounts().unwrap().owner.address
}

#[test]
fn the_admin_tells_about_proxies() {
    let mut chain = Chain::new();
    assert_eq!(chain.ask(PROXY_ADMIN, Admin::ownerCall {}), owner());
    assert_eq!(chain.ask(PROXY_ADMIN, Admin::proxyTypeCall { proxy: L1_BLOCK }), 0);
    for (proxy, implementation) in [
        (L1_BLOCK, implementation_of(L1_BLOCK)),
        (PROXY_ADMIN, implementation_of(PROXY_ADMIN)),
        (RESERVED, Address::ZERO),
    ] {
        assert_eq!(chain.ask(PROXY_ADMIN, Admin::getProxyImplementationCall { proxy }), implementation);
        assert_eq!(chain.ask(PROXY_ADMIN, Admin::getProxyAdminCall { proxy }), PROXY_ADMIN);
        // An `eth_call` without a sender comes from the zero address.
        assert_eq!(chain.call(Address::ZERO, proxy, Proxy::implementationCall {}), implementation);
        assert_eq!(chain.call(Address::ZERO, proxy, Proxy::adminCall {}), PROXY_ADMIN);
    }
    let outcome =
        chain.send(ALICE, PROXY_ADMIN, U256::ZERO, Admin::getProxyAdminCall { proxy: predeploys::WETH9 }.abi_encode());
    assert!(!outcome.success);
}

#[test]
fn strangers_reach_only_the_implementation() {
    let mut chain = Chain::new();
    for data in [
        Proxy::adminCall {}.abi_encode(),
        Proxy::implementationCall {}.abi_encode(),
        Proxy::upgradeToCall { implementation: BOB }.abi_encode(),
        Proxy::changeAdminCall { newAdmin: ALICE }.abi_encode(),
        Proxy::upgradeToAndCallCall { implementation: BOB, data: vec![].into() }.abi_encode(),
    ] {
        // L1Block has none of these functions, so its code reverts without a reason.
        let outcome = chain.send(ALICE, L1_BLOCK, U256::ZERO, data.clone());
        assert!(!outcome.success && outcome.output.is_empty(), "{outcome:?}");
        let outcome = chain.send(ALICE, RESERVED, U256::ZERO, data);
        assert!(outcome.reason().contains("implementation not initialized"), "{}", outcome.reason());
    }
    assert!(chain.send(ALICE, RESERVED, U256::from(1), vec![]).reason().contains("not initialized"));
    for data in [
        Admin::upgradeCall { proxy: L1_BLOCK, implementation: BOB }.abi_encode(),
        Admin::changeProxyAdminCall { proxy: L1_BLOCK, newAdmin: ALICE }.abi_encode(),
        Admin::upgradeAndCallCall { proxy: L1_BLOCK, implementation: BOB, data: vec![].into() }.abi_encode(),
        Admin::transferOwnershipCall { newOwner: ALICE }.abi_encode(),
        Admin::renounceOwnershipCall {}.abi_encode(),
    ] {
        assert!(chain.send(ALICE, PROXY_ADMIN, U256::ZERO, data).reason().contains("caller is not the owner"));
    }
}

#[test]
fn the_owner_upgrades() {
    let mut chain = Chain::new();
    let data = Admin::upgradeCall { proxy: L1_BLOCK, implementation: MULTICALL3 }.abi_encode();
    let outcome = chain.send(owner(), PROXY_ADMIN, U256::ZERO, data);
    let event = outcome.event::<Proxy::Upgraded>();
    assert_eq!((event.address, event.implementation), (L1_BLOCK, MULTICALL3));
    assert_eq!(chain.ask(L1_BLOCK, Other::getChainIdCall {}), U256::from(1));
    assert_eq!(
        chain.db.storage_ref(L1_BLOCK, IMPLEMENTATION_SLOT.into()).unwrap(),
        U256::from_be_bytes(MULTICALL3.into_word().0)
    );
    // A predeploy that has waited for its implementation.
    let data = Admin::upgradeCall { proxy: RESERVED, implementation: implementation_of(L1_BLOCK) };
    chain.call(owner(), PROXY_ADMIN, data);
    assert_eq!(chain.ask(RESERVED, Other::numberCall {}), 0);
}

#[test]
fn the_owner_upgrades_and_calls() {
    let mut chain = Chain::with_fork(Fork::Delta);
    let (proxy, implementation) = (RESERVED, implementation_of(L1_BLOCK));
    let good = Other::numberCall {}.abi_encode();
    let bad = vec![0x44, 0x0a, 0x5e, 0x20];
    let call = |data: Vec<u8>| Admin::upgradeAndCallCall { proxy, implementation, data: data.into() }.abi_encode();
    // The call comes from the admin, not from the depositor; its reason comes back and nothing is upgraded.
    let outcome = chain.send(owner(), PROXY_ADMIN, U256::ZERO, call(bad));
    assert_eq!(outcome.output, Other::NotDepositor::SELECTOR.to_vec());
    let outcome = chain.send(owner(), PROXY_ADMIN, U256::ZERO, call(vec![1, 2, 3, 4]));
    assert!(outcome.reason().contains("delegatecall to new implementation contract failed"), "{}", outcome.reason());
    assert!(chain.call(Address::ZERO, proxy, Proxy::implementationCall {}).is_zero());

    assert!(chain.send(owner(), PROXY_ADMIN, U256::ZERO, call(good)).success);
    assert_eq!(chain.call(Address::ZERO, proxy, Proxy::implementationCall {}), implementation);
    // State set through one proxy is that proxy's own.
    assert!(chain.send(DEPOSITOR, GAS_PRICE_ORACLE, U256::ZERO, Other::setEcotoneCall {}.abi_encode()).success);
    assert!(chain.slot(implementation_of(GAS_PRICE_ORACLE), 0).is_zero());
}

#[test]
fn ownership_and_admin_move() {
    let mut chain = Chain::new();
    let data = Admin::changeProxyAdminCall { proxy: L1_BLOCK, newAdmin: BOB }.abi_encode();
    let outcome = chain.send(owner(), PROXY_ADMIN, U256::ZERO, data);
    let event = outcome.event::<Proxy::AdminChanged>();
    assert_eq!((event.previousAdmin, event.newAdmin), (PROXY_ADMIN, BOB));
    assert_eq!(chain.call(BOB, L1_BLOCK, Proxy::adminCall {}), BOB);
    assert_eq!(chain.db.storage_ref(L1_BLOCK, ADMIN_SLOT.into()).unwrap(), U256::from_be_bytes(BOB.into_word().0));

    let nobody = Admin::transferOwnershipCall { newOwner: Address::ZERO }.abi_encode();
    assert!(chain.send(owner(), PROXY_ADMIN, U256::ZERO, nobody).reason().contains("zero address"));
    let data = Admin::transferOwnershipCall { newOwner: ALICE }.abi_encode();
    let event = chain.send(owner(), PROXY_ADMIN, U256::ZERO, data).event::<Admin::OwnershipTransferred>();
    assert_eq!((event.previousOwner, event.newOwner), (owner(), ALICE));
    chain.call(ALICE, PROXY_ADMIN, Admin::renounceOwnershipCall {});
    assert!(chain.ask(PROXY_ADMIN, Admin::ownerCall {}).is_zero());
    let data = Admin::upgradeCall { proxy: GAS_PRICE_ORACLE, implementation: BOB }.abi_encode();
    assert!(!chain.send(ALICE, PROXY_ADMIN, U256::ZERO, data).success);
}
