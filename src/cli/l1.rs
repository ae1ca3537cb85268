//! `duskevm l1`: stakes, transfers, calls and accounts of the Dusk L1, through the admin JSON-RPC of a running node.
//!
//! Transactions are built and signed here; the node sees no key. Before anything is sent, it is checked against the account, because
//! a call that fails in a block costs its whole gas limit.

mod adapter;
mod amount;
mod args;
mod key;
mod show;

pub(super) use amount::Dusk;
pub(super) use args::{KeyArgs, L1Args, Sending};

use std::thread::sleep;
use std::time::{Duration, Instant};

use alloy_primitives::{B256, hex};
use duskevm_dusk_l1::genesis::MINIMUM_STAKE;
use duskevm_dusk_l1::keys::{AccountId, Signer};
use duskevm_dusk_l1::tx::Tx;
use duskevm_dusk_l1::wallet::{self, Terms, WalletError};
use jsonrpsee::core::params::ArrayParams;
use jsonrpsee::rpc_params;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::admin::Admin;
use super::args::Target;
use super::{CliError, Failure, OK, print};
use args::L1Command;

/// How often a transaction that waits is looked for.
const LOOK: Duration = Duration::from_millis(200);

/// `duskevm l1`.
pub(crate) fn run(args: L1Args) -> Result<u8, CliError> {
    match args.command {
        L1Command::Stake { amount, sending } => send(|_| Ok(Action::Stake(amount)), &sending),
        L1Command::Unstake { amount, sending } => send(|_| Ok(Action::Unstake(amount)), &sending),
        L1Command::Transfer { to, amount, sending } => send(|_| Ok(Action::Transfer(to, amount)), &sending),
        L1Command::Withdraw { amount, sending } => send(
            |account| match amount.unwrap_or(account.reward) {
                Dusk(0) => fail("there are no rewards to withdraw"),
                amount => Ok(Action::Withdraw(amount)),
            },
            &sending,
        ),
        L1Command::Submit { key, target } => adapter::submit(&key, &target),
        L1Command::Wait { target } => adapter::wait(&target),
        L1Command::Read { target } => adapter::read(&target),
        L1Command::Provisioners { target } => {
            let answer = Admin::new(&target)?.call("admin_duskProvisioners", rpc_params![])?;
            show::provisioners(&answer, target.json)
        }
        L1Command::Account { account, key, target } => {
            let account = match account {
                Some(account) => account,
                None => key::load(&key, &target)?.id(),
            };
            let answer = Admin::new(&target)?.call("admin_duskAccount", rpc_params![account.to_string()])?;
            show::account(&answer, target.json)
        }
        L1Command::Transaction { id, target } => {
            let answer = Admin::new(&target)?.call("admin_duskTransaction", rpc_params![id])?;
            show::transaction(&answer, target.json)
        }
    }
}

pub(super) fn fail<T>(why: impl Into<String>) -> Result<T, CliError> {
    Err(Failure(anyhow::Error::msg(why.into())).into())
}

/// What a transaction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Transfer(AccountId, Dusk),
    Stake(Dusk),
    Unstake(Dusk),
    Withdraw(Dusk),
}

impl Action {
    const fn name(&self) -> &'static str {
        match self {
            Self::Transfer(..) => "transfer",
            Self::Stake(_) => "stake",
            Self::Unstake(_) => "unstake",
            Self::Withdraw(_) => "withdraw",
        }
    }

    const fn done(&self) -> &'static str {
        match self {
            Self::Transfer(..) => "transferred",
            Self::Stake(_) => "staked",
            Self::Unstake(_) => "unstaked",
            Self::Withdraw(_) => "withdrew",
        }
    }

    const fn amount(&self) -> Dusk {
        match *self {
            Self::Transfer(_, amount) | Self::Stake(amount) | Self::Unstake(amount) | Self::Withdraw(amount) => amount,
        }
    }

    const fn gas(&self) -> u64 {
        match self {
            Self::Transfer(..) => wallet::TRANSFER_GAS,
            Self::Stake(_) => wallet::STAKE_GAS,
            Self::Unstake(_) | Self::Withdraw(_) => wallet::WITHDRAW_GAS,
        }
    }

    fn build(&self, signer: &Signer, terms: &Terms) -> Result<Tx, WalletError> {
        match self {
            Self::Transfer(to, Dusk(lux)) => wallet::transfer(signer, to, *lux, terms),
            Self::Stake(Dusk(lux)) => wallet::stake(signer, *lux, terms),
            Self::Unstake(Dusk(lux)) => wallet::unstake(signer, *lux, terms),
            Self::Withdraw(Dusk(lux)) => wallet::withdraw(signer, *lux, terms),
        }
    }

    /// Whether it can succeed, as far as the account tells. `fee` is what the gas can cost.
    fn check(&self, account: &Account, fee: Dusk) -> Result<(), String> {
        let minimum = Dusk(MINIMUM_STAKE);
        let paid = match self {
            Self::Transfer(_, amount) | Self::Stake(amount) => amount.0,
            Self::Unstake(_) | Self::Withdraw(_) => 0,
        };
        match (self, self.amount()) {
            (Self::Stake(_), amount) if account.stake == Dusk(0) && amount < minimum => {
                return Err(format!("a new stake needs at least {minimum} DUSK, not {amount}"));
            }
            (Self::Unstake(_), _) if account.stake == Dusk(0) => return Err("nothing is staked".to_owned()),
            (Self::Unstake(_), amount) => match account.stake.0.checked_sub(amount.0) {
                None => return Err(format!("only {} DUSK are staked", account.stake)),
                Some(rest) if rest != 0 && Dusk(rest) < minimum => {
                    return Err(format!(
                        "{} DUSK would stay staked: leave at least {minimum}, or take all {}",
                        Dusk(rest),
                        account.stake
                    ));
                }
                Some(_) => {}
            },
            (Self::Withdraw(_), amount) if amount > account.reward => {
                return Err(format!("the rewards are {} DUSK only", account.reward));
            }
            _ => {}
        }
        check_balance(account, Dusk(paid), fee)
    }
}

/// The answer of `admin_duskAccount`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Account {
    account: String,
    next_nonce: u64,
    #[serde(deserialize_with = "lux")]
    balance: Dusk,
    #[serde(deserialize_with = "lux")]
    stake: Dusk,
    #[serde(deserialize_with = "lux")]
    reward: Dusk,
}

fn lux<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Dusk, D::Error> {
    String::deserialize(deserializer)?.parse().map(Dusk).map_err(serde::de::Error::custom)
}

/// The answer of `admin_duskTransaction`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum State {
    Unknown,
    Waiting,
    Included { height: u64, index: u32, gas_spent: u64, error: Option<String>, r#final: bool },
}

/// The part of `admin_duskProvisioners` that is looked at.
#[derive(Debug, Deserialize)]
struct Provisioner {
    account: String,
    eligibility: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeInfo {
    l1_chain_id: u64,
}

pub(super) fn ask<T: DeserializeOwned>(admin: &Admin, method: &str, params: ArrayParams) -> Result<T, CliError> {
    let answer = admin.call(method, params)?;
    serde_json::from_value(answer).map_err(|error| {
        CliError::Failed(
            anyhow::Error::new(error).context(format!(
                "the node's answer to {method} is not understood: use the duskevm of the node's version"
            )),
        )
    })
}

/// A node, and the account that sends it something.
pub(super) struct Session {
    pub(super) admin: Admin,
    pub(super) signer: Signer,
    pub(super) account: Account,
    chain_id: u8,
}

impl Session {
    pub(super) fn open(key: &KeyArgs, target: &Target) -> Result<Self, CliError> {
        let signer = key::load(key, target)?;
        let admin = Admin::new(target)?;
        let info: NodeInfo = ask(&admin, "admin_nodeInfo", rpc_params![])?;
        let Ok(chain_id) = u8::try_from(info.l1_chain_id) else {
            return fail(format!("the node's L1 has chain id {}, and Dusk's have one byte", info.l1_chain_id));
        };
        let account = ask(&admin, "admin_duskAccount", rpc_params![signer.id().to_string()])?;
        Ok(Self { admin, signer, account, chain_id })
    }

    /// The terms of the account's next transaction, and the most that its gas can cost.
    pub(super) fn terms(&self, gas_limit: u64, gas_price: u64) -> Result<(Terms, Dusk), CliError> {
        let terms = Terms { chain_id: self.chain_id, nonce: self.account.next_nonce, gas_limit, gas_price };
        match terms.fee() {
            Some(fee) => Ok((terms, Dusk(fee))),
            None => fail("gas limit times gas price is more than there can be"),
        }
    }
}

/// Builds a transaction, submits it, waits for it, and tells what became of it.
fn send(action: impl FnOnce(&Account) -> Result<Action, CliError>, sending: &Sending) -> Result<u8, CliError> {
    let session = Session::open(&sending.key, &sending.target)?;
    let action = action(&session.account)?;
    let (terms, fee) = session.terms(sending.gas_limit.unwrap_or(action.gas()), sending.gas_price)?;
    if let Err(why) = action.check(&session.account, fee) {
        return fail(why);
    }
    let tx = action.build(&session.signer, &terms).map_err(Failure)?;
    let included = wait(&session.admin, &tx, sending.timeout)?;
    report(&session.admin, &action, &terms, &session.signer, &included, sending.target.json)
}

/// Whether the account can pay so much besides the gas.
pub(super) fn check_balance(account: &Account, paid: Dusk, fee: Dusk) -> Result<(), String> {
    match paid.0.checked_add(fee.0) {
        Some(need) if need <= account.balance.0 => Ok(()),
        need => {
            let need = need.map_or_else(|| "more than there can be".to_owned(), |need| Dusk(need).to_string());
            Err(format!(
                "the balance of {} is {} DUSK, and this needs {need} ({} for the gas): send it more with `duskevm l1 transfer`",
                account.account, account.balance, fee
            ))
        }
    }
}

/// A transaction that is in a block, and did what it should.
pub(super) struct Included {
    pub(super) id: B256,
    pub(super) height: u64,
    pub(super) index: u32,
    pub(super) gas_spent: u64,
    pub(super) is_final: bool,
}

/// Submits a transaction and waits until it is in a block.
pub(super) fn wait(admin: &Admin, tx: &Tx, patience: Duration) -> Result<Included, CliError> {
    let deadline = Instant::now() + patience;
    let id = B256::from(*tx.id());
    let bytes = hex::encode_prefixed(tx.ledger().protocol_bytes());
    let submit = || ask::<B256>(admin, "admin_submitDusk", rpc_params![&bytes]);
    let taken = submit()?;
    if taken != id {
        return fail(format!("the node took the transaction as {taken}, not {id}: it is no node of this version"));
    }
    loop {
        let trouble = match ask::<State>(admin, "admin_duskTransaction", rpc_params![id]) {
            Ok(State::Included { height, index, gas_spent, error: None, r#final: is_final }) => {
                return Ok(Included { id, height, index, gas_spent, is_final });
            }
            Ok(State::Included { height, gas_spent, error: Some(error), .. }) => {
                return fail(format!("transaction {id} failed in L1 block {height} after {gas_spent} gas: {error}"));
            }
            Ok(State::Waiting) => None,
            // The mempool does not survive a restart of its actor.
            Ok(State::Unknown) => submit().err(),
            // The node may be restarting.
            Err(error) => Some(error),
        };
        if Instant::now() >= deadline {
            let asked = format!("after {patience:?} transaction {id} is in no block");
            return match trouble {
                Some(error) => fail(format!("{asked}: {error}")),
                None => fail(format!(
                    "{asked}, and waits for one: see if L1 blocks go on (`duskevm status`), and look for it later with `duskevm l1 transaction {id}`"
                )),
            };
        }
        sleep(LOOK);
    }
}

fn report(
    admin: &Admin,
    action: &Action,
    terms: &Terms,
    signer: &Signer,
    included: &Included,
    as_json: bool,
) -> Result<u8, CliError> {
    let account = signer.id().to_string();
    // Gas that was spent is within the limit, whose price was computed before.
    let fee = Dusk(included.gas_spent.saturating_mul(terms.gas_price));
    let eligibility = match action {
        // The stake is there whatever becomes of this question.
        Action::Stake(_) => ask::<Vec<Provisioner>>(admin, "admin_duskProvisioners", rpc_params![])
            .ok()
            .and_then(|all| all.into_iter().find(|one| one.account == account))
            .map(|one| one.eligibility),
        _ => None,
    };
    if as_json {
        let mut outcome = json!({
            "action": action.name(),
            "account": account,
            "amount": action.amount().0.to_string(),
            "id": included.id,
            "height": included.height,
            "index": included.index,
            "gasSpent": included.gas_spent,
            "fee": fee.0.to_string(),
            "final": included.is_final,
        });
        if let Action::Transfer(to, _) = action {
            outcome["to"] = to.to_string().into();
        }
        if let Some(height) = eligibility {
            outcome["eligibility"] = Value::from(height);
        }
        print(&super::view::json(&outcome))?;
        return Ok(OK);
    }
    let mut text = format!(
        "{} {} DUSK in L1 block {} for {fee} DUSK of gas (transaction {})\n",
        action.done(),
        action.amount(),
        included.height,
        included.id
    );
    if let Some(height) = eligibility.filter(|height| *height > included.height) {
        text += &format!("the stake counts from L1 block {height}\n");
    }
    print(&text)?;
    Ok(OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(balance: &str, stake: &str, reward: &str) -> Account {
        serde_json::from_value(json!({
            "account": "abc", "nonce": 1, "nextNonce": 2, "balance": balance, "stake": stake, "reward": reward,
        }))
        .unwrap()
    }

    fn dusk(text: &str) -> Dusk {
        text.parse().unwrap()
    }

    #[test]
    fn what_cannot_succeed_is_not_sent() {
        let fee = dusk("0.008");
        let rich = account("5000000000000", "0", "0");
        let staker = account("1000000000", "1500000000000", "2000000000");
        let ok = |action: Action, account: &Account| assert_eq!(action.check(account, fee), Ok(()));
        let refused = |action: Action, account: &Account, why: &str| {
            let said = action.check(account, fee).unwrap_err();
            assert!(said.contains(why), "{said}");
        };
        ok(Action::Stake(dusk("1000")), &rich);
        refused(Action::Stake(dusk("999.999999999")), &rich, "at least 1000 DUSK, not 999.999999999");
        // Below the minimum only what begins a stake.
        ok(Action::Stake(dusk("0.5")), &staker);
        ok(Action::Stake(dusk("4999.992")), &rich);
        refused(Action::Stake(dusk("4999.992000001")), &rich, "is 5000 DUSK, and this needs 5000.000000001 (0.008");
        refused(Action::Stake(Dusk(u64::MAX)), &rich, "more than there can be");
        refused(Action::Unstake(dusk("1000")), &rich, "nothing is staked");
        refused(Action::Unstake(dusk("1600")), &staker, "only 1500 DUSK are staked");
        refused(
            Action::Unstake(dusk("501")),
            &staker,
            "999 DUSK would stay staked: leave at least 1000, or take all 1500",
        );
        ok(Action::Unstake(dusk("500")), &staker);
        ok(Action::Unstake(dusk("1500")), &staker);
        ok(Action::Withdraw(dusk("2")), &staker);
        refused(Action::Withdraw(dusk("2.1")), &staker, "the rewards are 2 DUSK only");
        let to = local().id();
        refused(Action::Transfer(to, dusk("1")), &staker, "needs 1.008");
        refused(Action::Withdraw(dusk("2")), &account("1", "0", "2000000000"), "send it more");
    }

    fn local() -> Signer {
        crate::network::local_producer()
    }

    #[test]
    fn the_nodes_answers_are_understood() {
        let state: State = serde_json::from_value(
            json!({ "state": "included", "height": 9, "index": 1, "gasSpent": 50, "error": null, "final": true }),
        )
        .unwrap();
        assert_eq!(state, State::Included { height: 9, index: 1, gas_spent: 50, error: None, r#final: true });
        assert_eq!(serde_json::from_value::<State>(json!({ "state": "unknown" })).unwrap(), State::Unknown);
        assert!(serde_json::from_value::<Account>(json!({ "account": "a", "nextNonce": 1, "balance": 5 })).is_err());
    }
}
