//! What will be sent: everything is decided and signed before the first transaction leaves.

use crate::{
    args::{Kind, LoadArgs},
    sign::{Key, Signed, Signer},
    token,
};
use alloy_consensus::TxEip1559;
use alloy_primitives::{Address, Bytes, TxKind, U256};
use anyhow::{Context as _, Result, bail, ensure};
use rayon::prelude::*;

const GWEI: u128 = 1_000_000_000;
/// Gas of a native transfer.
const TRANSFER_GAS: u64 = 21_000;
/// What a rollup may ask for the data of one transaction on top of its gas, in wei: generous.
const L1_FEE: u128 = 1_000_000 * GWEI;
/// Accounts that get tokens in one transaction.
const GRANT_CHUNK: usize = 200;
/// Tokens that each account gets; it sends one at a time.
const GRANT: u128 = 1 << 64;

/// What the signatures depend on.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) chain_id: u64,
    /// Next nonce of each funded account.
    pub(crate) source_nonces: Vec<u64>,
}

/// A transaction of the load proper.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) signed: Signed,
    /// Which of the sending accounts it is from.
    pub(crate) account: usize,
}

/// A complete load.
#[derive(Debug)]
pub(crate) struct Load {
    /// Transactions that make the load possible, in stages: each stage has to be included before the next is sent.
    pub(crate) stages: Vec<Vec<Signed>>,
    /// The load, in the order of sending: all accounts' first transactions, then all second ones, and so on.
    pub(crate) transactions: Vec<Transaction>,
    /// The sending accounts.
    pub(crate) accounts: Vec<Address>,
    /// The ERC-20, if one is used.
    pub(crate) token: Option<Address>,
}

/// The keys of a load, which exist before the chain is known.
#[derive(Debug)]
pub(crate) struct Keys {
    signer: Signer,
    pub(crate) sources: Vec<Key>,
    senders: Vec<Key>,
}

impl Keys {
    pub(crate) fn derive(args: &LoadArgs, seed: u64) -> Result<Self> {
        ensure!(args.accounts > 0 && args.sources > 0, "--accounts and --sources must not be 0");
        let signer = Signer::new();
        let sources = (0..args.sources)
            .into_par_iter()
            .map(|index| signer.key_of_mnemonic(&args.mnemonic, index))
            .collect::<Result<_>>()?;
        let senders =
            (0..args.accounts).into_par_iter().map(|index| signer.key_of_seed(seed, index)).collect::<Result<_>>()?;
        Ok(Self { signer, sources, senders })
    }
}

impl Load {
    /// Signs everything, on all cores. `transactions` is rounded up to the same number for each account.
    pub(crate) fn sign(keys: &Keys, args: &LoadArgs, transactions: u64, chain: &Chain) -> Result<Self> {
        ensure!(transactions > 0, "--transactions must not be 0");
        ensure!(args.tip_gwei <= args.max_fee_gwei, "--tip-gwei must not be above --max-fee-gwei");
        let each = transactions.div_ceil(args.accounts);
        let base = TxEip1559 {
            chain_id: chain.chain_id,
            max_fee_per_gas: u128::from(args.max_fee_gwei) * GWEI,
            max_priority_fee_per_gas: u128::from(args.tip_gwei) * GWEI,
            ..Default::default()
        };
        let mut funding = Funding { keys, base: &base, nonces: chain.source_nonces.clone() };
        let gas = if args.kind == Kind::Native { TRANSFER_GAS } else { token::TRANSFER_GAS };
        let one = u128::from(gas) * base.max_fee_per_gas + L1_FEE + 1;
        let value = U256::from(one) * U256::from(each);
        let mut first = funding.pay(value)?;
        let mut stages = Vec::new();
        let token = if args.kind == Kind::Native {
            stages.push(first);
            None
        } else {
            let (address, deployment) = funding.deploy(args.accounts)?;
            first.push(deployment);
            stages.push(first);
            stages.push(funding.grant(address)?);
            Some(address)
        };
        let accounts: Vec<Address> = keys.senders.iter().map(|key| key.address).collect();
        let transactions = (0..each * args.accounts)
            .into_par_iter()
            .map(|index| {
                let (nonce, account) = (index / args.accounts, (index % args.accounts) as usize);
                let to = accounts[(account + 1) % accounts.len()];
                let tx = TxEip1559 { nonce, ..base.clone() };
                // Both kinds in turn, and for each account.
                let tx = match token.filter(|_| args.kind == Kind::Erc20 || (nonce + account as u64) % 2 == 1) {
                    Some(token) => TxEip1559 {
                        to: TxKind::Call(token),
                        gas_limit: token::TRANSFER_GAS,
                        input: token::transfer(to, U256::from(1)),
                        ..tx
                    },
                    None => TxEip1559 { to: TxKind::Call(to), gas_limit: TRANSFER_GAS, value: U256::from(1), ..tx },
                };
                Transaction { signed: keys.signer.sign(&keys.senders[account], tx), account }
            })
            .collect();
        Ok(Self { stages, transactions, accounts, token })
    }
}

/// The transactions of the funded accounts, and their nonces.
struct Funding<'a> {
    keys: &'a Keys,
    base: &'a TxEip1559,
    nonces: Vec<u64>,
}

impl Funding<'_> {
    fn sign(&mut self, source: usize, to: TxKind, value: U256, input: Bytes, gas_limit: u64) -> Result<Signed> {
        let Some((key, nonce)) = self.keys.sources.get(source).zip(self.nonces.get_mut(source)) else {
            bail!("there is no funded account {source}");
        };
        let tx = TxEip1559 { nonce: *nonce, to, value, input, gas_limit, ..self.base.clone() };
        *nonce += 1;
        Ok(self.keys.signer.sign(key, tx))
    }

    /// `value` wei to each sender, from all sources in turn.
    fn pay(&mut self, value: U256) -> Result<Vec<Signed>> {
        let keys = self.keys;
        let pay = |(index, sender): (usize, &Key)| {
            let source = index % keys.sources.len();
            self.sign(source, TxKind::Call(sender.address), value, Bytes::new(), TRANSFER_GAS)
        };
        keys.senders.iter().enumerate().map(pay).collect()
    }

    fn deploy(&mut self, accounts: u64) -> Result<(Address, Signed)> {
        let (key, nonce) = self.keys.sources.first().zip(self.nonces.first()).context("no funded account")?;
        let address = key.address.create(*nonce);
        let supply = U256::from(GRANT) * U256::from(accounts);
        let signed = self.sign(0, TxKind::Create, U256::ZERO, token::creation(supply)?, token::DEPLOY_GAS)?;
        Ok((address, signed))
    }

    fn grant(&mut self, token: Address) -> Result<Vec<Signed>> {
        let senders: Vec<Address> = self.keys.senders.iter().map(|key| key.address).collect();
        senders
            .chunks(GRANT_CHUNK)
            .map(|chunk| {
                let (input, gas) = token::distribute(chunk, U256::from(GRANT));
                self.sign(0, TxKind::Call(token), U256::ZERO, input, gas)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser as _;
    use std::collections::HashSet;

    fn load(line: &str) -> Load {
        let Command::Run(args) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!() };
        let keys = Keys::derive(&args.load, 1).unwrap();
        let chain = Chain { chain_id: 31310, source_nonces: vec![5; 10] };
        Load::sign(&keys, &args.load, args.load.transactions, &chain).unwrap()
    }

    #[test]
    fn every_account_sends_the_same_number_in_nonce_order() {
        let load = load("duskevm-load run --transactions 95 --accounts 10");
        assert_eq!((load.transactions.len(), load.stages.len(), load.token), (100, 1, None));
        let mut next = [0; 10];
        for transaction in &load.transactions {
            assert_eq!(transaction.signed.nonce, next[transaction.account]);
            next[transaction.account] += 1;
        }
        assert_eq!(next, [10; 10]);
        let hashes: HashSet<_> = load.transactions.iter().map(|t| t.signed.hash).collect();
        assert_eq!(hashes.len(), 100);
    }

    #[test]
    fn the_same_seed_gives_the_same_load() {
        let line = "duskevm-load run --transactions 20 --accounts 4 --kind mixed";
        let (a, b) = (load(line), load(line));
        assert!(a.transactions.iter().zip(&b.transactions).all(|(a, b)| a.signed.raw == b.signed.raw));
        assert_eq!((a.token, a.stages.len(), a.stages[0].len(), a.stages[1].len()), (b.token, 2, 5, 1));
    }

    #[test]
    fn funding_uses_each_source_from_its_nonce_on() {
        let load = load("duskevm-load run --transactions 25 --accounts 25 --kind erc20");
        let nonces: Vec<u64> = load.stages[0].iter().map(|signed| signed.nonce).collect();
        assert_eq!(nonces[..10], [5; 10]);
        assert_eq!(nonces[10..20], [6; 10]);
        assert_eq!((nonces[25], load.stages[1][0].nonce), (8, 9), "the deployment and the grant come last");
    }
}
