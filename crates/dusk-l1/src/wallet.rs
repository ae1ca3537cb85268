//! Moonlight transactions as Dusk's wallets build them: transfers, calls, blobs, and a provisioner's stake.
//!
//! Calls, arguments and deposits are those of the published `wallet-core` (`moonlight`, `moonlight_stake`, `moonlight_unstake`,
//! `moonlight_stake_reward`). One key does everything: it pays, it is the provisioner, and it owns the stake.

use dusk_core::stake::{STAKE_CONTRACT, Stake, Withdraw};
use dusk_core::transfer::data::{BlobData, BlobSidecar, ContractCall, TransactionData};
use dusk_core::transfer::withdraw::{Withdraw as TransferWithdraw, WithdrawReceiver, WithdrawReplayToken};
use dusk_core::transfer::{Transaction, moonlight};
use dusk_node_data::hard_fork::ledger_tx_format_at;
use dusk_node_data::ledger::LedgerTransaction;
use rand_core::{CryptoRng, RngCore};

use crate::forks;
use crate::keys::{AccountId, KeyError, Signer};
use crate::tx::{Tx, TxError};

/// Gas limit that suffices for a transfer.
pub const TRANSFER_GAS: u64 = 100_000;

/// Gas limit that suffices to stake, which checks two signatures besides the transaction's own.
pub const STAKE_GAS: u64 = 8_000_000;

/// Gas limit that suffices to unstake or to withdraw rewards, which checks three.
pub const WITHDRAW_GAS: u64 = 12_000_000;

/// Why a transaction could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalletError {
    /// The receiver's key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What came out is none that this L1 takes.
    #[error(transparent)]
    Tx(#[from] TxError),
    /// The constructors of `dusk-core` refuse long memos and arguments only, which are not used here.
    #[error("the transaction cannot be built: {0}")]
    Build(String),
}

impl From<dusk_core::Error> for WalletError {
    fn from(error: dusk_core::Error) -> Self {
        Self::Build(format!("{error:?}"))
    }
}

/// What every transaction says besides its purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Dusk chain id of the network.
    pub chain_id: u8,
    /// One more than the nonce of the account's last transaction.
    pub nonce: u64,
    /// Most gas that it may spend.
    pub gas_limit: u64,
    /// Lux for each gas, at least 1.
    pub gas_price: u64,
}

impl Terms {
    /// Most lux that the gas can cost; `None` beyond 64 bits.
    pub fn fee(&self) -> Option<u64> {
        self.gas_limit.checked_mul(self.gas_price)
    }
}

/// Gives `lux` to the account `to`.
///
/// # Errors
/// See [`WalletError`].
pub fn transfer(signer: &Signer, to: &AccountId, lux: u64, terms: &Terms) -> Result<Tx, WalletError> {
    sign(signer, Some(to), lux, 0, terms, None)
}

/// Calls `function` of a native contract with these argument bytes, and attaches `lux` for the contract to take.
///
/// # Errors
/// See [`WalletError`].
pub fn call(
    signer: &Signer,
    contract: [u8; 32],
    function: &str,
    args: Vec<u8>,
    lux: u64,
    terms: &Terms,
) -> Result<Tx, WalletError> {
    let call = ContractCall::new(contract, function).with_raw_args(args);
    sign(signer, None, 0, lux, terms, Some(call.into()))
}

/// Publishes blobs, each with its versioned hash.
///
/// # Errors
/// See [`WalletError`].
pub fn blobs(signer: &Signer, blobs: Vec<([u8; 32], BlobSidecar)>, terms: &Terms) -> Result<Tx, WalletError> {
    let blobs = blobs.into_iter().map(|(hash, sidecar)| BlobData { hash, data: Some(sidecar) });
    sign(signer, None, 0, 0, terms, Some(TransactionData::Blob(blobs.collect())))
}

/// Stakes `lux`, which are deposited for the contract to take.
///
/// # Errors
/// See [`WalletError`].
pub fn stake(signer: &Signer, lux: u64, terms: &Terms) -> Result<Tx, WalletError> {
    let secret = signer.secret_key();
    let call = Stake::new(secret, secret, lux, terms.chain_id);
    let call = ContractCall::new(STAKE_CONTRACT, "stake").with_args(&call)?;
    sign(signer, None, 0, lux, terms, Some(call.into()))
}

/// Takes `lux` of the stake back to the account.
///
/// # Errors
/// See [`WalletError`].
pub fn unstake(signer: &Signer, lux: u64, terms: &Terms) -> Result<Tx, WalletError> {
    take(signer, "unstake", lux, terms)
}

/// Takes `lux` of the rewards to the account.
///
/// # Errors
/// See [`WalletError`].
pub fn withdraw(signer: &Signer, lux: u64, terms: &Terms) -> Result<Tx, WalletError> {
    take(signer, "withdraw", lux, terms)
}

fn take(signer: &Signer, function: &str, lux: u64, terms: &Terms) -> Result<Tx, WalletError> {
    let secret = signer.secret_key();
    let receiver = WithdrawReceiver::Moonlight(*signer.public_key());
    // It holds for this very transaction.
    let token = WithdrawReplayToken::Moonlight(terms.nonce);
    let taken = TransferWithdraw::new(&mut NoRandomness, secret, STAKE_CONTRACT, lux, receiver, token);
    let call = ContractCall::new(STAKE_CONTRACT, function).with_args(&Withdraw::new(secret, secret, taken))?;
    sign(signer, None, 0, 0, terms, Some(call.into()))
}

fn sign(
    signer: &Signer,
    to: Option<&AccountId>,
    value: u64,
    deposit: u64,
    terms: &Terms,
    data: Option<TransactionData>,
) -> Result<Tx, WalletError> {
    forks::activate();
    let to = to.map(AccountId::public_key).transpose()?;
    let signed = moonlight::Transaction::new(
        signer.secret_key(),
        to,
        value,
        deposit,
        terms.gas_limit,
        terms.gas_price,
        terms.nonce,
        terms.chain_id,
        data,
    )?;
    let ledger = LedgerTransaction::from_protocol_with_format(Transaction::from(signed), ledger_tx_format_at(HEIGHT));
    Ok(Tx::from_ledger(ledger, HEIGHT)?)
}

/// All forks are active from here on, so the format is that of every later block.
const HEIGHT: u64 = 1;

/// What `dusk-core` asks for and uses for Phoenix receivers only: signatures of BLS keys take no randomness.
struct NoRandomness;

impl RngCore for NoRandomness {
    fn next_u32(&mut self) -> u32 {
        0
    }

    fn next_u64(&mut self) -> u64 {
        0
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        dest.fill(0);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        dest.fill(0);
        Ok(())
    }
}

impl CryptoRng for NoRandomness {}

#[cfg(test)]
mod tests {
    use dusk_core::stake::RewardReason;

    use super::*;
    use crate::block::LedgerParams;
    use crate::contracts::NoContracts;
    use crate::execute::{BlockEnv, Executor, TxOutcome};
    use crate::mempool::{Limits, Mempool};
    use crate::rewards::Reward;
    use crate::sa::provisioners::Provisioners;
    use crate::stakes::StakeRules;
    use crate::state::{Account, MemoryState, account, stake as read_stake};
    use crate::testing::{self, CHAIN_ID, DUSK};

    /// A ledger that makes one block for each transaction.
    struct Ledger {
        state: MemoryState,
        height: u64,
    }

    impl Ledger {
        fn new() -> Self {
            let mut genesis = testing::genesis();
            genesis.accounts[0].balance = 10_000 * DUSK;
            let mut state = MemoryState::default();
            state.apply(&genesis.state()).unwrap();
            Self { state, height: 0 }
        }

        fn account(&self) -> Account {
            account(&self.state, &alice().id()).unwrap()
        }

        fn terms(&self, gas_limit: u64) -> Terms {
            Terms { chain_id: CHAIN_ID, nonce: self.account().nonce + 1, gas_limit, gas_price: 1 }
        }

        /// The way of a submitted transaction: bytes, decoding, signature, mempool, block.
        fn run(&mut self, tx: &Tx, rewards: &[Reward]) -> TxOutcome {
            self.height += 1;
            let verified = Tx::decode(&tx.ledger().protocol_bytes(), self.height).unwrap().verify().unwrap();
            assert_eq!(verified.id(), tx.id());
            let params = LedgerParams::new(&testing::genesis()).unwrap();
            let mut pool = Mempool::new(Limits::default(), params, std::sync::Arc::new(NoContracts));
            pool.insert(verified.clone(), self.account(), 0).unwrap();
            let env = BlockEnv {
                chain_id: CHAIN_ID,
                height: self.height,
                timestamp: 0,
                gas_limit: 3_000_000_000,
                gas_per_blob: 1_000_000,
                stakes: StakeRules::default(),
            };
            let mut executor = Executor::new(&self.state, &NoContracts, env);
            let outcome = executor.execute(&verified).unwrap().clone();
            let executed = executor.finish(rewards).unwrap();
            self.state.apply(&executed.diff).unwrap();
            outcome
        }
    }

    fn alice() -> Signer {
        Signer::from_seed(b"alice")
    }

    #[test]
    fn a_transfer_arrives() {
        let mut ledger = Ledger::new();
        let bob = Signer::from_seed(b"bob").id();
        let before = account(&ledger.state, &bob).unwrap().balance;
        let tx = transfer(&alice(), &bob, 5, &ledger.terms(TRANSFER_GAS)).unwrap();
        let outcome = ledger.run(&tx, &[]);
        assert_eq!((outcome.error, account(&ledger.state, &bob).unwrap().balance), (None, before + 5));
        assert!(outcome.gas_spent <= TRANSFER_GAS);
        // To oneself, too.
        let tx = transfer(&alice(), &alice().id(), 5, &ledger.terms(TRANSFER_GAS)).unwrap();
        assert_eq!(ledger.run(&tx, &[]).error, None);
    }

    #[test]
    fn a_stake_begins_matures_earns_and_ends() {
        let mut ledger = Ledger::new();
        let (alice, key) = (alice(), alice().id());
        let begun = ledger.account().balance;
        let outcome = ledger.run(&stake(&alice, 3_000 * DUSK, &ledger.terms(STAKE_GAS)).unwrap(), &[]);
        assert_eq!(outcome.error, None);
        let mut spent = outcome.gas_spent;
        assert_eq!(ledger.account().balance, begun - 3_000 * DUSK - spent);

        // It counts when a whole epoch has passed.
        let record = read_stake(&ledger.state, &key).unwrap();
        assert_eq!((record.value, record.eligibility), (3_000 * DUSK, 2 * 2160));
        let provisioners = Provisioners::from_stakes(ledger.state.stakes());
        let counts = |height| provisioners.is_eligible(key.as_bytes(), height);
        assert!(!counts(2 * 2160 - 1) && counts(2 * 2160));

        // A part comes back, and what was earned with a transfer between.
        let outcome = ledger.run(&unstake(&alice, 2_000 * DUSK, &ledger.terms(WITHDRAW_GAS)).unwrap(), &[]);
        assert_eq!(outcome.error, None);
        spent += outcome.gas_spent;
        let earned = [Reward { account: key, lux: 7 * DUSK, reason: RewardReason::Voter }];
        let outcome = ledger.run(&transfer(&alice, &key, 1, &ledger.terms(TRANSFER_GAS)).unwrap(), &earned);
        spent += outcome.gas_spent;
        assert_eq!(read_stake(&ledger.state, &key).unwrap().reward, 7 * DUSK);
        let outcome = ledger.run(&withdraw(&alice, 6 * DUSK, &ledger.terms(WITHDRAW_GAS)).unwrap(), &[]);
        assert_eq!(outcome.error, None);
        spent += outcome.gas_spent;
        assert_eq!(ledger.account().balance, begun - 1_000 * DUSK + 6 * DUSK - spent);

        // All of it: nothing is left behind.
        ledger.run(&unstake(&alice, 1_000 * DUSK, &ledger.terms(WITHDRAW_GAS)).unwrap(), &[]);
        ledger.run(&withdraw(&alice, DUSK, &ledger.terms(WITHDRAW_GAS)).unwrap(), &[]);
        assert!(ledger.state.stakes().all(|(id, _)| id != key));
    }

    #[test]
    fn what_the_rules_forbid_fails_in_the_block() {
        let mut ledger = Ledger::new();
        let refused = |ledger: &mut Ledger, tx: Result<Tx, WalletError>, why: &str| {
            let error = ledger.run(&tx.unwrap(), &[]).error.unwrap();
            assert!(error.contains(why), "{error}");
        };
        let (alice, terms) = (alice(), |ledger: &Ledger| ledger.terms(WITHDRAW_GAS));
        let tx = stake(&alice, 999 * DUSK, &terms(&ledger));
        refused(&mut ledger, tx, "at least");
        let tx = unstake(&alice, DUSK, &terms(&ledger));
        refused(&mut ledger, tx, "no such stake");
        ledger.run(&stake(&alice, 1_500 * DUSK, &terms(&ledger)).unwrap(), &[]);
        let tx = unstake(&alice, 501 * DUSK, &terms(&ledger));
        refused(&mut ledger, tx, "would stay staked");
        let tx = withdraw(&alice, 1, &terms(&ledger));
        refused(&mut ledger, tx, "more than");
    }

    #[test]
    fn fees_beyond_64_bits_are_noticed() {
        let terms = Terms { chain_id: 1, nonce: 1, gas_limit: u64::MAX, gas_price: 2 };
        assert_eq!(terms.fee(), None);
        assert_eq!(Terms { gas_price: 1, ..terms }.fee(), Some(u64::MAX));
    }
}
