//! Blocks that a consensus client was told are valid, known outside of the instance that told it.
//!
//! A consensus client does not send a block again that was answered VALID: op-node goes on to the forkchoice state that adopts it, and
//! what is unknown then stops it. So such blocks outlive an instance that ends on the way, and stay known when they are in the
//! chain, of which a database that is opened again may have lost the newest ones. Only the end of the process takes them.

use alloy_primitives::{B256, map::B256HashMap};
use duskevm_evm::Block;
use duskevm_fence::Generation;
use parking_lot::Mutex;
use std::{collections::VecDeque, sync::Arc};

/// So many blocks are kept; the one that was named longest ago gives way.
pub(crate) const MAX_BLOCKS: usize = 1024;

/// So many bytes of transactions may they have together.
const MAX_BYTES: usize = 128 << 20;

/// What a block counts at least, for its header and what stands around it.
const LEAST_BYTES: usize = 1024;

/// The blocks that all instances share. Clones share them.
#[derive(Debug, Clone)]
pub struct KeptBlocks(Arc<Mutex<Shelf>>);

impl Default for KeptBlocks {
    /// Up to 1024 blocks, of 128 MiB of transactions.
    fn default() -> Self {
        Self::bounded(MAX_BLOCKS, MAX_BYTES)
    }
}

#[derive(Debug)]
struct Shelf {
    /// The instance that may write here.
    owner: Generation,
    blocks: B256HashMap<Kept>,
    /// Of `blocks`, in the order in which they were last kept.
    oldest_first: VecDeque<B256>,
    bytes: usize,
    owes_flush: bool,
    most_blocks: usize,
    most_bytes: usize,
}

#[derive(Debug)]
struct Kept {
    block: Arc<Block>,
    only_here: bool,
    bytes: usize,
}

impl KeptBlocks {
    /// With bounds of one's own, in blocks and in bytes of transactions. The newest block is kept however long it is.
    pub fn bounded(most_blocks: usize, most_bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(Shelf {
            owner: Generation::default(),
            blocks: B256HashMap::default(),
            oldest_first: VecDeque::new(),
            bytes: 0,
            owes_flush: false,
            most_blocks: most_blocks.max(1),
            most_bytes,
        })))
    }

    /// From now on only this instance writes here: one that was replaced while it hung may wake up later.
    pub(crate) fn take_over(&self, owner: Generation) {
        self.0.lock().owner = owner;
    }

    pub(crate) fn get(&self, hash: &B256) -> Option<Arc<Block>> {
        self.0.lock().blocks.get(hash).map(|kept| Arc::clone(&kept.block))
    }

    /// Is nobody sure to bring this block again?
    pub(crate) fn is_only_here(&self, hash: &B256) -> bool {
        self.0.lock().blocks.get(hash).is_some_and(|kept| kept.only_here)
    }

    /// Keeps a valid block. `only_here`: it was built here, or taken out of the chain, and nobody is sure to bring it again; that
    /// stays true whoever else brings it.
    pub(crate) fn keep(&self, owner: Generation, block: &Arc<Block>, only_here: bool) {
        self.write(owner, |shelf| {
            let hash = block.hash();
            let only_here = only_here || shelf.blocks.get(&hash).is_some_and(|kept| kept.only_here);
            shelf.remove(&hash);
            let bytes = LEAST_BYTES + block.transactions.iter().map(|tx| tx.encoded().len()).sum::<usize>();
            shelf.blocks.insert(hash, Kept { block: Arc::clone(block), only_here, bytes });
            shelf.oldest_first.push_back(hash);
            shelf.bytes += bytes;
            while (shelf.blocks.len() > shelf.most_blocks || shelf.bytes > shelf.most_bytes) && shelf.blocks.len() > 1 {
                let Some(oldest) = shelf.oldest_first.front().copied() else { break };
                shelf.remove(&oldest);
            }
        });
    }

    /// The block turned out to be none that can be executed.
    pub(crate) fn forget(&self, owner: Generation, hash: &B256) {
        self.write(owner, |shelf| shelf.remove(hash));
    }

    /// Something is being done of which no answer may go out before it is on disk. Whoever comes after a failure in between has to
    /// see to that.
    pub(crate) fn owe_flush(&self, owner: Generation) {
        self.write(owner, |shelf| shelf.owes_flush = true);
    }

    pub(crate) fn owes_flush(&self) -> bool {
        self.0.lock().owes_flush
    }

    /// All is on disk.
    pub(crate) fn flushed(&self, owner: Generation) {
        self.write(owner, |shelf| shelf.owes_flush = false);
    }

    fn write(&self, owner: Generation, change: impl FnOnce(&mut Shelf)) {
        let mut shelf = self.0.lock();
        if shelf.owner == owner {
            change(&mut shelf);
        }
    }
}

impl Shelf {
    fn remove(&mut self, hash: &B256) {
        if let Some(kept) = self.blocks.remove(hash) {
            self.bytes -= kept.bytes;
            self.oldest_first.retain(|known| known != hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::{Header, Sealable};
    use duskevm_evm::RecoveredTx;
    use op_alloy_consensus::TxDeposit;

    const ME: Generation = Generation(1);

    fn block(number: u64, data: usize) -> Arc<Block> {
        let header = Header { number, ..Default::default() }.seal_slow();
        let tx = RecoveredTx::deposit(TxDeposit { input: vec![1; data].into(), ..Default::default() });
        Arc::new(Block { header, transactions: vec![Arc::new(tx)] })
    }

    fn kept(most_blocks: usize, most_bytes: usize) -> KeptBlocks {
        let kept = KeptBlocks::bounded(most_blocks, most_bytes);
        kept.take_over(ME);
        kept
    }

    fn held(kept: &KeptBlocks, blocks: &[Arc<Block>]) -> Vec<u64> {
        blocks.iter().filter(|block| kept.get(&block.hash()).is_some()).map(|block| block.number()).collect()
    }

    #[test]
    fn the_one_named_longest_ago_gives_way_to_too_many() {
        let kept = kept(3, usize::MAX);
        let blocks: Vec<_> = (0..5).map(|number| block(number, 0)).collect();
        blocks[..3].iter().for_each(|block| kept.keep(ME, block, false));
        kept.keep(ME, &blocks[0], false);
        blocks[3..].iter().for_each(|block| kept.keep(ME, block, false));
        assert_eq!(held(&kept, &blocks), [0, 3, 4]);
    }

    #[test]
    fn long_blocks_push_out_others_and_the_newest_stays() {
        let kept = kept(100, 10_000);
        let blocks: Vec<_> = (0..4).map(|number| block(number, 3_000)).collect();
        blocks.iter().for_each(|block| kept.keep(ME, block, false));
        assert_eq!(held(&kept, &blocks), [2, 3]);
        let long = block(9, 20_000);
        kept.keep(ME, &long, false);
        assert_eq!((held(&kept, &blocks).len(), held(&kept, std::slice::from_ref(&long))), (0, vec![9]));
        kept.forget(ME, &long.hash());
        blocks[..2].iter().for_each(|block| kept.keep(ME, block, false));
        assert_eq!(held(&kept, &blocks), [0, 1], "its bytes are free again");
    }

    #[test]
    fn what_only_was_here_stays_so_when_somebody_else_brings_it() {
        let kept = kept(3, usize::MAX);
        let one = block(1, 0);
        kept.keep(ME, &one, true);
        kept.keep(ME, &one, false);
        assert!(kept.is_only_here(&one.hash()));
    }

    #[test]
    fn a_replaced_instance_changes_nothing_and_the_next_one_knows_what_it_owed() {
        let kept = kept(3, usize::MAX);
        let (one, two) = (block(1, 0), block(2, 0));
        kept.keep(ME, &one, false);
        kept.owe_flush(ME);
        kept.take_over(Generation(2));
        kept.keep(ME, &two, false);
        kept.forget(ME, &one.hash());
        kept.flushed(ME);
        assert!(kept.get(&one.hash()).is_some() && kept.get(&two.hash()).is_none() && kept.owes_flush());
        kept.flushed(Generation(2));
        assert!(!kept.owes_flush());
    }
}
