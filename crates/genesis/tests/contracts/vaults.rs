//! Fee vaults and wrapped DUSK: where value waits.

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{SolCall, sol};
use duskevm_genesis::{
    FeeVaults, NetworkSpec, VaultConfig, WithdrawalNetwork, dev_accounts,
    predeploys::{
        BASE_FEE_VAULT, L1_FEE_VAULT, L2_TO_L1_MESSAGE_PASSER, OPERATOR_FEE_VAULT, SEQUENCER_FEE_VAULT, WETH9,
    },
};

use crate::chain::{ALICE, BOB, Chain, NOW};

sol! {
    #[derive(Debug)]
    interface Vault {
        error OnlyProxyAdminOwner();
        error ZeroRecipient();
        event Withdrawal(uint256 value, address to, address from);
        event RecipientUpdated(address oldRecipient, address newRecipient);
        function withdraw() external returns (uint256);
        function RECIPIENT() external view returns (address);
        function MIN_WITHDRAWAL_AMOUNT() external view returns (uint256);
        function WITHDRAWAL_NETWORK() external view returns (uint8);
        function recipient() external view returns (address);
        function minWithdrawalAmount() external view returns (uint256);
        function withdrawalNetwork() external view returns (uint8);
        function totalProcessed() external view returns (uint256);
        function setRecipient(address newRecipient) external;
        function setMinWithdrawalAmount(uint256 newMinWithdrawalAmount) external;
        function setWithdrawalNetwork(uint8 newWithdrawalNetwork) external;
    }
    #[derive(Debug)]
    interface NewVault {
        event Withdrawal(uint256 value, address to, address from, uint8 withdrawalNetwork);
    }
    #[derive(Debug)]
    interface Passer {
        event MessagePassed(uint256 indexed nonce, address indexed sender, address indexed target, uint256 value,
            uint256 gasLimit, bytes data, bytes32 withdrawalHash);
    }
    #[derive(Debug)]
    interface Wrapped {
        event Deposit(address indexed to, uint256 value);
        event Withdrawal(address indexed from, uint256 value);
        event Transfer(address indexed from, address indexed to, uint256 value);
        event Approval(address indexed owner, address indexed spender, uint256 value);
        function name() external view returns (string);
        function symbol() external view returns (string);
        function decimals() external view returns (uint8);
        function totalSupply() external view returns (uint256);
        function balanceOf(address owner) external view returns (uint256);
        function allowance(address owner, address spender) external view returns (uint256);
        function deposit() external payable;
        function withdraw(uint256 value) external;
        function approve(address spender, uint256 value) external returns (bool);
        function transfer(address to, uint256 value) external returns (bool);
        function transferFrom(address from, address to, uint256 value) external returns (bool);
    }
}

const VAULTS: [Address; 4] = [SEQUENCER_FEE_VAULT, BASE_FEE_VAULT, L1_FEE_VAULT, OPERATOR_FEE_VAULT];
const LUX: U256 = U256::from_limbs([1_000_000_000, 0, 0, 0]);

fn chain(network: WithdrawalNetwork) -> Chain {
    let mut spec = NetworkSpec::local(NOW - 2).unwrap();
    spec.vaults = FeeVaults::all(VaultConfig { recipient: BOB, min_withdrawal_amount: LUX, network });
    Chain::from_spec(&spec)
}

#[test]
fn vaults_know_their_configuration() {
    for (network, number) in [(WithdrawalNetwork::L1, 0), (WithdrawalNetwork::L2, 1)] {
        let mut chain = chain(network);
        for vault in VAULTS {
            assert_eq!(chain.ask(vault, Vault::RECIPIENTCall {}), BOB);
            assert_eq!(chain.ask(vault, Vault::recipientCall {}), BOB);
            assert_eq!(chain.ask(vault, Vault::MIN_WITHDRAWAL_AMOUNTCall {}), LUX);
            assert_eq!(chain.ask(vault, Vault::minWithdrawalAmountCall {}), LUX);
            assert_eq!(chain.ask(vault, Vault::WITHDRAWAL_NETWORKCall {}), number);
            assert_eq!(chain.ask(vault, Vault::withdrawalNetworkCall {}), number);
        }
    }
}

#[test]
fn vaults_pay_out_on_l2() {
    let mut chain = chain(WithdrawalNetwork::L2);
    let amount = LUX + U256::from(1);
    for (i, vault) in VAULTS.into_iter().enumerate() {
        chain.set_balance(vault, LUX - U256::from(1));
        let early = chain.send(ALICE, vault, U256::ZERO, Vault::withdrawCall {}.abi_encode());
        assert!(early.reason().contains("minimum withdrawal amount"), "{}", early.reason());

        // Fees arrive without a call; a payment by call is taken as well.
        assert!(chain.send(ALICE, vault, U256::from(2), vec![]).success);
        let outcome = chain.send(ALICE, vault, U256::ZERO, Vault::withdrawCall {}.abi_encode());
        assert_eq!(Vault::withdrawCall::abi_decode_returns(&outcome.output).unwrap(), amount);
        let event = outcome.event::<Vault::Withdrawal>();
        assert_eq!((event.address, event.value, event.to, event.from), (vault, amount, BOB, ALICE));
        let event = outcome.event::<NewVault::Withdrawal>();
        assert_eq!((event.value, event.to, event.from, event.withdrawalNetwork), (amount, BOB, ALICE, 1));
        assert_eq!(chain.balance(vault), U256::ZERO);
        assert_eq!(chain.balance(BOB), amount * U256::from(i + 1));
        assert_eq!(chain.slot(vault, 0), B256::from(amount));
    }
}

#[test]
fn vaults_pay_out_to_l1_in_whole_lux() {
    let mut chain = chain(WithdrawalNetwork::L1);
    for vault in VAULTS {
        let rest = U256::from(999_999_999);
        chain.set_balance(vault, LUX * U256::from(5) + rest);
        let outcome = chain.send(ALICE, vault, U256::ZERO, Vault::withdrawCall {}.abi_encode());
        assert!(outcome.success, "{}", outcome.reason());
        let message = outcome.event::<Passer::MessagePassed>();
        assert_eq!(message.address, L2_TO_L1_MESSAGE_PASSER);
        assert_eq!((message.sender, message.target, message.value), (vault, BOB, LUX * U256::from(5)));
        assert_eq!(message.gasLimit, U256::from(400_000));
        assert_eq!(outcome.event::<NewVault::Withdrawal>().withdrawalNetwork, 0);
        assert_eq!(chain.balance(vault), rest);
        assert_eq!(chain.ask(vault, Vault::totalProcessedCall {}), LUX * U256::from(5));
    }
}

#[test]
fn only_the_owner_reconfigures_a_vault() {
    let mut chain = chain(WithdrawalNetwork::L1);
    let owner = dev_accounts().unwrap().owner.address;
    let vault = BASE_FEE_VAULT;
    for data in [
        Vault::setRecipientCall { newRecipient: ALICE }.abi_encode(),
        Vault::setMinWithdrawalAmountCall { newMinWithdrawalAmount: U256::from(9) }.abi_encode(),
        Vault::setWithdrawalNetworkCall { newWithdrawalNetwork: 1 }.abi_encode(),
    ] {
        assert!(chain.send(ALICE, vault, U256::ZERO, data.clone()).is_error::<Vault::OnlyProxyAdminOwner>());
        assert!(chain.send(owner, vault, U256::ZERO, data).success);
    }
    assert_eq!(chain.ask(vault, Vault::recipientCall {}), ALICE);
    assert_eq!(chain.ask(vault, Vault::minWithdrawalAmountCall {}), U256::from(9));
    assert_eq!(chain.ask(vault, Vault::withdrawalNetworkCall {}), 1);
    let nobody = Vault::setRecipientCall { newRecipient: Address::ZERO }.abi_encode();
    assert!(chain.send(owner, vault, U256::ZERO, nobody).is_error::<Vault::ZeroRecipient>());
}

#[test]
fn dusk_is_wrapped_one_to_one() {
    let mut chain = Chain::new();
    assert_eq!(chain.ask(WETH9, Wrapped::nameCall {}), "Wrapped DUSK");
    assert_eq!(chain.ask(WETH9, Wrapped::symbolCall {}), "WDUSK");
    assert_eq!(chain.ask(WETH9, Wrapped::decimalsCall {}), 18);

    // By function, by plain transfer, by a call of anything.
    for data in [Wrapped::depositCall {}.abi_encode(), vec![], vec![1, 2, 3, 4]] {
        let outcome = chain.send(ALICE, WETH9, U256::from(10), data);
        let event = outcome.event::<Wrapped::Deposit>();
        assert_eq!((event.to, event.value), (ALICE, U256::from(10)));
    }
    assert_eq!(chain.ask(WETH9, Wrapped::balanceOfCall { owner: ALICE }), U256::from(30));
    assert_eq!(chain.ask(WETH9, Wrapped::totalSupplyCall {}), U256::from(30));

    let data = Wrapped::withdrawCall { value: U256::from(4) }.abi_encode();
    let outcome = chain.send(ALICE, WETH9, U256::ZERO, data.clone());
    assert_eq!(outcome.event::<Wrapped::Withdrawal>().value, U256::from(4));
    assert_eq!(chain.balance(ALICE), U256::from(4));
    assert!(chain.send(BOB, WETH9, U256::ZERO, data).reason().contains("balance too small"));
    assert_eq!(chain.ask(WETH9, Wrapped::totalSupplyCall {}), U256::from(26));
}

#[test]
fn wrapped_dusk_moves_like_an_erc20() {
    let mut chain = Chain::new();
    chain.send(ALICE, WETH9, U256::from(100), vec![]);
    let outcome =
        chain.send(ALICE, WETH9, U256::ZERO, Wrapped::transferCall { to: BOB, value: U256::from(30) }.abi_encode());
    let event = outcome.event::<Wrapped::Transfer>();
    assert_eq!((event.from, event.to, event.value), (ALICE, BOB, U256::from(30)));

    let take = |value: u64| Wrapped::transferFromCall { from: ALICE, to: BOB, value: U256::from(value) }.abi_encode();
    assert!(chain.send(BOB, WETH9, U256::ZERO, take(1)).reason().contains("allowance too small"));
    let approve = |value: U256| Wrapped::approveCall { spender: BOB, value }.abi_encode();
    let outcome = chain.send(ALICE, WETH9, U256::ZERO, approve(U256::from(20)));
    assert_eq!(outcome.event::<Wrapped::Approval>().spender, BOB);
    assert!(chain.send(BOB, WETH9, U256::ZERO, take(15)).success);
    assert!(chain.send(BOB, WETH9, U256::ZERO, take(6)).reason().contains("allowance too small"));
    assert_eq!(chain.ask(WETH9, Wrapped::allowanceCall { owner: ALICE, spender: BOB }), U256::from(5));

    // The largest allowance does not shrink.
    chain.send(ALICE, WETH9, U256::ZERO, approve(U256::MAX));
    assert!(chain.send(BOB, WETH9, U256::ZERO, take(55)).success);
    assert_eq!(chain.ask(WETH9, Wrapped::allowanceCall { owner: ALICE, spender: BOB }), U256::MAX);
    assert!(chain.send(BOB, WETH9, U256::ZERO, take(1)).reason().contains("balance too small"));
    assert_eq!(chain.ask(WETH9, Wrapped::balanceOfCall { owner: BOB }), U256::from(100));
}
