//! L1 chains from seeds.
//!
//! A sequencer builds L2 blocks, a batcher posts them, and things go wrong on the way: what exactly, the seed says. The generator
//! follows the chain that the node derives, so that a batcher whose data were dropped posts them again, as a real one would.

mod channel;
mod l2;
pub mod steady;

use crate::{
    ours::Ours,
    record::Stop,
    rng::Rng,
    world::{Case, INBOX, Mined, PORTAL, Post, SYSTEM, Shape, receipt, signer, transaction},
};
use alloy_primitives::{Address, B64, B256, Bytes, Log, LogData, TxKind, U256, keccak256};
use duskevm_evm::Block;
use duskevm_rollup::{ConfigUpdate, SystemConfig, blob, encode_deposit_log};
use op_alloy_consensus::TxDeposit;
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

/// What goes wrong, or is at least unusual, on the way from L2 to L1 and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it; the README has a line for each")]
pub enum Fault {
    None,
    CorruptFrame,
    FrameLastByte,
    FramesOutOfOrder,
    FrameDuplicated,
    FrameMissing,
    ChannelsInterleaved,
    ChannelIdReused,
    ChannelTimeout,
    ChannelCorrupt,
    ChannelTooLarge,
    BatchCorrupt,
    BatchTrailingBytes,
    SpanVarintNotMinimal,
    SpanOverlapping,
    SpanMisaligned,
    WrongParent,
    WrongEpoch,
    FutureBatch,
    PastBatch,
    InvalidTransaction,
    UnexecutableTransaction,
    WrongSender,
    BadBlob,
    ConfigUpdate,
    MalformedConfigLog,
    MalformedDeposit,
    L1Gap,
    WindowEmpty,
    L1Reorg,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 30] = [
        Self::None,
        Self::CorruptFrame,
        Self::FrameLastByte,
        Self::FramesOutOfOrder,
        Self::FrameDuplicated,
        Self::FrameMissing,
        Self::ChannelsInterleaved,
        Self::ChannelIdReused,
        Self::ChannelTimeout,
        Self::ChannelCorrupt,
        Self::ChannelTooLarge,
        Self::BatchCorrupt,
        Self::BatchTrailingBytes,
        Self::SpanVarintNotMinimal,
        Self::SpanOverlapping,
        Self::SpanMisaligned,
        Self::WrongParent,
        Self::WrongEpoch,
        Self::FutureBatch,
        Self::PastBatch,
        Self::InvalidTransaction,
        Self::UnexecutableTransaction,
        Self::WrongSender,
        Self::BadBlob,
        Self::ConfigUpdate,
        Self::MalformedConfigLog,
        Self::MalformedDeposit,
        Self::L1Gap,
        Self::WindowEmpty,
        Self::L1Reorg,
    ];

    /// Happens now and then in every chain. The others are for chains of their own: they end derivation, or take long.
    const fn is_common(self) -> bool {
        !matches!(
            self,
            Self::MalformedDeposit
                | Self::MalformedConfigLog
                | Self::ChannelTooLarge
                | Self::ChannelTimeout
                | Self::L1Gap
        )
    }
}

/// A chain, and what is in it.
#[derive(Debug, Clone)]
pub struct Generated {
    /// What derivation reads.
    pub case: Case,
    /// The fault that the chain is about.
    pub focus: Fault,
    /// How often each fault was put in.
    pub faults: BTreeMap<Fault, u64>,
    /// Hashes of the data of malformed logs of the system config contract.
    pub malformed: HashSet<B256>,
}

/// Batcher data on its way.
#[derive(Debug, Clone)]
struct Item {
    data: Bytes,
    /// Not before this L1 block.
    not_before: u64,
}

struct Generator {
    rng: Rng,
    case: Case,
    focus: Fault,
    faults: BTreeMap<Fault, u64>,
    malformed: HashSet<B256>,
    blobs: HashMap<B256, Bytes>,
    unexecutable: HashSet<B256>,
    /// The sequencer's chain from genesis on.
    chain: Vec<Block>,
    /// How many blocks of it were put into channels.
    posted: usize,
    pending: VecDeque<Item>,
    nonce: u64,
    channels: u64,
    batcher: u8,
    /// The batcher after each L1 block.
    batchers: Vec<u8>,
    ours: Ours,
    /// Nothing goes wrong at all.
    calm: bool,
    /// Transactions in a block; drawn for each if there is no number.
    transactions: Option<u64>,
}

/// The chain of a seed.
pub fn generate(seed: u64) -> Generated {
    let all = Fault::ALL.len() as u64;
    let mut focus = Fault::ALL[(seed % all) as usize];
    // These take seconds each.
    if focus == Fault::ChannelTooLarge && (seed / all) % 8 != 0 {
        focus = Fault::None;
    }
    generate_about(seed, focus)
}

/// The chain of a seed, about this fault.
pub fn generate_about(seed: u64, focus: Fault) -> Generated {
    let mut rng = Rng::new(seed);
    let long = focus == Fault::ChannelTimeout;
    let shape = Shape {
        block_time: if focus == Fault::L1Gap { 10 } else { *rng.pick(&[1, 2, 2, 2, 5]) },
        seq_window_size: if long { 90 } else { rng.between(4, 16) },
    };
    let blocks = if long { rng.between(60, 80) } else { rng.between(12, 36) };
    let mut generator = Generator::new(seed, focus, shape);
    generator.rng = rng;
    generator.all(blocks);
    generator.finish()
}

impl Generator {
    fn new(seed: u64, focus: Fault, shape: Shape) -> Self {
        let case = Case::new(shape);
        Self {
            ours: Ours::new(&case),
            chain: vec![case.genesis.clone()],
            case,
            rng: Rng::new(seed),
            focus,
            faults: BTreeMap::new(),
            malformed: HashSet::new(),
            blobs: HashMap::new(),
            unexecutable: HashSet::new(),
            posted: 1,
            pending: VecDeque::new(),
            nonce: 0,
            channels: 0,
            batcher: 0,
            batchers: vec![0],
            calm: false,
            transactions: None,
        }
    }

    fn finish(self) -> Generated {
        let Self { case, focus, faults, malformed, .. } = self;
        Generated { case, focus, faults, malformed }
    }

    /// Does this fault happen now?
    fn happens(&mut self, fault: Fault) -> bool {
        if self.calm {
            return false;
        }
        let chance = if fault == self.focus { 35 } else { u64::from(fault.is_common()) };
        let happens = self.rng.percent(chance);
        if happens {
            *self.faults.entry(fault).or_default() += 1;
        }
        happens
    }

    fn all(&mut self, blocks: u64) {
        let mut silent_until = 0;
        while (self.case.l1().len() as u64) < blocks {
            let number = self.case.l1().len() as u64;
            if number > 4 && self.happens(Fault::L1Reorg) {
                if !self.reorganize() {
                    break;
                }
                continue;
            }
            if number >= silent_until && self.happens(Fault::WindowEmpty) {
                silent_until = number + self.case.config.seq_window_size + self.rng.below(4);
            }
            self.sequence();
            if number >= silent_until {
                self.fill_channels();
            }
            self.mine(number >= silent_until);
            if !self.follow() {
                break;
            }
        }
        self.publish();
    }

    /// Hands what was made meanwhile to the case.
    fn publish(&mut self) {
        self.case.blobs = Arc::new(self.blobs.clone());
        self.case.unexecutable = Arc::new(self.unexecutable.clone());
    }

    /// Derives what L1 holds, and goes on from there where the sequencer's chain is another. False if there is no going on.
    fn follow(&mut self) -> bool {
        self.publish();
        if self.ours.run(&self.case, self.case.l1()) != Stop::EndOfL1 {
            return false;
        }
        let safe = self.ours.tip();
        let height = safe.number() as usize;
        if self.chain.get(height).is_none_or(|block| block.hash() != safe.hash()) {
            self.chain = self.ours.chain.iter().map(|(block, _)| block.clone()).collect();
            if self.rng.percent(50) {
                self.pending.clear();
            }
        }
        if self.pending.is_empty() {
            self.posted = height + 1;
        }
        self.posted = self.posted.clamp(1, self.chain.len());
        true
    }

    /// Takes some L1 blocks back and puts one more in their place.
    fn reorganize(&mut self) -> bool {
        let old = self.case.l1().clone();
        let depth = self.rng.between(1, (old.len() as u64 - 2).min(10)) as usize;
        let mut l1 = old.clone();
        l1.truncate(old.len() - depth);
        let height = l1.len() as u64;
        let lost: Vec<_> = old[old.len() - depth..].to_vec();
        self.case.versions.push(l1);
        self.chain.retain(|block| {
            self.ours.chain.get(block.number() as usize).is_some_and(|(safe, _)| safe.hash() == block.hash())
        });
        let again = self.rng.percent(60);
        for at in 0..=depth {
            // Some of what was lost comes in again, one block later or in the same place.
            let transactions = match lost.get(at) {
                Some(block) if again => block.transactions.clone(),
                _ => Vec::new(),
            };
            let parent = self.case.l1().last().expect("it has a first block").header.clone();
            let salt = self.rng.next_u64();
            let timestamp = parent.timestamp + 10;
            let block = Mined::on(Some(&parent), timestamp, salt, transactions, Vec::new());
            self.case.l1_mut().push(Arc::new(block));
        }
        self.batchers.truncate(height as usize);
        self.batcher = self.batchers.last().copied().unwrap_or_default();
        self.batchers.resize(self.case.l1().len(), self.batcher);
        self.publish();
        if self.ours.run(&self.case, self.case.l1()) != Stop::L1Reorg {
            return false;
        }
        self.ours.reset(&self.case, height);
        self.pending.clear();
        self.chain = self.ours.chain.iter().map(|(block, _)| block.clone()).collect();
        self.follow()
    }

    fn mine(&mut self, post: bool) {
        let number = self.case.l1().len() as u64;
        let (mut transactions, mut receipts) = (Vec::new(), Vec::new());
        let mut logs = self.deposits();
        let before = self.batcher;
        if self.happens(Fault::ConfigUpdate) {
            logs.extend(self.config_updates());
        }
        if self.happens(Fault::MalformedConfigLog) {
            logs.push(self.malformed_config_log());
        }
        if number > 6 && self.happens(Fault::MalformedDeposit) {
            let mut log = self.deposit_log();
            let mut data = log.data.data.to_vec();
            match self.rng.below(3) {
                0 => data.truncate(self.rng.below(data.len() as u64) as usize),
                1 => {
                    let at = self.rng.below(64.min(data.len() as u64)) as usize;
                    data[at] ^= 1 << self.rng.below(8);
                }
                _ => data.extend(vec![0; 32]),
            }
            log.data.data = data.into();
            logs.push(log);
        }
        // A change of the batcher is in force for the block that it is in; some batchers hear of it late.
        let late = self.rng.percent(30);
        let sender = signer(if late { before } else { self.batcher });
        let count = if post { self.rng.below(6) } else { 0 };
        let mut items = Vec::new();
        while items.len() < count as usize
            && let Some(item) = self.pending.front()
            && item.not_before <= number
        {
            items.extend(self.pending.pop_front());
        }
        while !items.is_empty() {
            let post = self.carry(&mut items);
            let wrong_sender = self.happens(Fault::WrongSender);
            let wrong_inbox = wrong_sender && self.rng.percent(30);
            let who = if wrong_sender && !wrong_inbox { signer(8) } else { sender.clone() };
            let to = if wrong_inbox { Address::repeat_byte(0x1c) } else { INBOX };
            self.nonce += 1;
            let kind = self.rng.next_u64();
            transactions.push(transaction(&who, self.nonce, kind, to, post, &mut self.blobs));
            // What became of the transaction does not matter.
            receipts.push(receipt(self.rng.percent(80), Vec::new()));
        }
        let split = self.rng.below(logs.len() as u64 + 1) as usize;
        let rest = logs.split_off(split);
        receipts.push(receipt(true, logs));
        receipts.push(receipt(true, rest));
        let parent = self.case.l1().last().expect("it has a first block").header.clone();
        let gap = if self.happens(Fault::L1Gap) {
            self.rng.between(500, 3000)
        } else {
            *self.rng.pick(&[10, 10, 10, 10, 12, 20, 40])
        };
        let salt = self.rng.next_u64();
        let block = Mined::on(Some(&parent), parent.timestamp + gap, salt, transactions, receipts);
        self.case.l1_mut().push(Arc::new(block));
        self.batchers.push(self.batcher);
    }

    /// The next items as call data, or some of them in blobs.
    fn carry(&mut self, items: &mut Vec<Item>) -> Post {
        let fits = |item: &Item| item.data.len() <= blob::BLOB_CAPACITY;
        if self.rng.percent(60) || !fits(&items[0]) {
            return Post::Calldata(items.remove(0).data);
        }
        let mut blobs = Vec::new();
        while blobs.len() < 3 && items.first().is_some_and(fits) {
            let item = items.remove(0);
            let mut blob = blob::encode(&item.data).expect("it fits");
            if self.happens(Fault::BadBlob) {
                self.spoil_blob(&mut blob);
            }
            blobs.push(blob.into());
        }
        Post::Blobs(blobs)
    }

    fn spoil_blob(&mut self, blob: &mut [u8]) {
        let element = 32 * self.rng.below(4096) as usize;
        match self.rng.below(7) {
            0 => blob.fill(0),
            1 => blob[0] |= 0x40,
            2 => blob[element] |= 0x80,
            3 => blob[1] = 1,
            4 => blob[2] = 0xff,
            5 => blob[131_071] = 1,
            _ => {
                let at = self.rng.below(200) as usize;
                blob[at] ^= 1 << self.rng.below(6);
            }
        }
    }

    fn deposit_log(&mut self) -> Log {
        let rng = &mut self.rng;
        let mut word = [0u8; 20];
        word[19] = rng.next_u64() as u8;
        let len = rng.below(80) as usize;
        let deposit = TxDeposit {
            from: Address::from(word),
            to: if rng.percent(20) { TxKind::Create } else { TxKind::Call(Address::repeat_byte(rng.next_u64() as u8)) },
            mint: if rng.percent(50) { u128::from(rng.next_u64()) } else { 0 },
            value: U256::from(rng.next_u64()),
            gas_limit: rng.between(21_000, 1_000_000),
            input: rng.bytes(len).into(),
            ..Default::default()
        };
        encode_deposit_log(PORTAL, &deposit)
    }

    fn deposits(&mut self) -> Vec<Log> {
        let mut logs = Vec::new();
        while self.rng.percent(25) {
            let mut log = self.deposit_log();
            if self.rng.percent(15) {
                // Somebody else's log counts for the index and for nothing else.
                log.address = Address::repeat_byte(0x99);
            }
            logs.push(log);
        }
        logs
    }

    fn config_updates(&mut self) -> Vec<Log> {
        let rng = &mut self.rng;
        let update = match rng.below(7) {
            0 => {
                self.batcher = rng.below(3) as u8;
                ConfigUpdate::Batcher(signer(self.batcher).address())
            }
            1 => ConfigUpdate::FeeScalars {
                overhead: B256::with_last_byte(rng.next_u64() as u8),
                scalar: SystemConfig::scalar_v1(rng.next_u64() as u32, rng.next_u64() as u32),
            },
            2 => ConfigUpdate::FeeScalars { overhead: B256::ZERO, scalar: B256::left_padding_from(&rng.bytes(3)) },
            3 => ConfigUpdate::GasLimit(rng.between(20_000_000, 90_000_000)),
            4 => {
                let mut params = [0u8; 8];
                params[3] = rng.between(1, 250) as u8;
                params[7] = rng.between(1, 12) as u8;
                ConfigUpdate::Eip1559Params(if rng.percent(20) { B64::ZERO } else { params.into() })
            }
            5 => ConfigUpdate::OperatorFee { scalar: rng.next_u64() as u32, constant: rng.next_u64() },
            _ => ConfigUpdate::UnsafeBlockSigner(signer(5).address()),
        };
        vec![update.encode(SYSTEM)]
    }

    fn malformed_config_log(&mut self) -> Log {
        let mut log = ConfigUpdate::GasLimit(self.rng.between(1, 1_000_000)).encode(SYSTEM);
        let mut data = log.data.data.to_vec();
        // Each is told from the good ones by its length.
        data.truncate(data.len() - 1 - self.rng.below(31) as usize);
        self.malformed.insert(keccak256(&data));
        log.data = LogData::new_unchecked(log.data.topics().to_vec(), data.into());
        log
    }
}
