//! Votes of one step: counted, aggregated, and caught when they conflict.
//!
//! Source: `aggregator` of the published consensus crate. Below emergency mode a member has one vote per step: a second
//! one for something else is not counted, and here it is also handed back together with the first, because both are
//! evidence. In emergency mode only votes for a block count, and a member may vote for several blocks.

use std::collections::BTreeMap;
use std::fmt;

use dusk_node_data::ledger::StepVotes;
use dusk_node_data::message::payload::Vote;

use crate::keys::KeyError;
use crate::sa::bls::Bls;
use crate::sa::committee::Committee;
use crate::sa::rules::{Step, is_emergency};
use crate::sa::triage::Checked;
use crate::sa::wire::VoteFrame;

/// What became of a vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cast {
    /// It was counted.
    Counted {
        /// Credits for the same vote, this one included.
        credits: u32,
        /// All votes for it, once they are a quorum.
        quorum: Option<StepVotes>,
    },
    /// The member has cast this vote before.
    Known,
    /// The member has cast this vote before, for something else.
    Conflict(Box<VoteFrame>),
    /// The signer has no credit in this step.
    NotMember,
    /// Emergency mode counts votes for blocks only.
    Ignored,
}

/// A vote and its signature.
type Said = (Vote, [u8; 48]);

/// The votes of a round's steps, all above the same block.
pub struct Tally<B: Bls> {
    /// One entry for each thing that was voted for. A committee has at most 64 opinions.
    sums: BTreeMap<(Step, Vote), Sum<B>>,
    /// What each member voted for first, with its signature, by its bit.
    first: BTreeMap<Step, Vec<Option<Said>>>,
}

struct Sum<B: Bls> {
    signature: Option<B::Sum>,
    bits: u64,
    credits: u32,
}

impl<B: Bls> fmt::Debug for Tally<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credits = self.sums.iter().map(|(key, sum)| (key, sum.credits));
        f.debug_map().entries(credits).finish()
    }
}

impl<B: Bls> Default for Tally<B> {
    fn default() -> Self {
        Self { sums: BTreeMap::new(), first: BTreeMap::new() }
    }
}

impl<B: Bls> Tally<B> {
    /// Counts a vote of `step`, whose committee is `committee`. Fails only if the signature is no point, which a checked
    /// vote's is.
    pub fn cast(
        &mut self,
        bls: &B,
        committee: &Committee,
        step: Step,
        vote: &Checked<VoteFrame>,
    ) -> Result<Cast, KeyError> {
        let emergency = is_emergency(step.iteration);
        if emergency && !vote.vote.is_valid() {
            return Ok(Cast::Ignored);
        }
        let Some((position, weight)) = committee.member(&vote.signer) else { return Ok(Cast::NotMember) };
        let bit = 1u64 << (position & 63);
        if self.sums.get(&(step, vote.vote)).is_some_and(|sum| sum.bits & bit != 0) {
            return Ok(Cast::Known);
        }
        if !emergency {
            let first = self.first.entry(step).or_insert_with(|| vec![None; committee.len()]);
            match first.get_mut(usize::from(position)) {
                Some(Some((first, signature))) => {
                    // All votes of a step have one header, and those of a bit one signer.
                    let first = VoteFrame { vote: *first, signature: *signature, ..(**vote).clone() };
                    return Ok(Cast::Conflict(Box::new(first)));
                }
                Some(none) => *none = Some((vote.vote, vote.signature)),
                None => return Ok(Cast::NotMember),
            }
        }
        let sum = self.sums.entry((step, vote.vote)).or_insert(Sum { signature: None, bits: 0, credits: 0 });
        let signature = bls.add(sum.signature.take(), &vote.signature)?;
        sum.bits |= bit;
        sum.credits += weight;
        // An aggregate's bytes cost an inversion: they are made when somebody can use them.
        let quorum =
            (sum.credits >= committee.quorum(&vote.vote)).then(|| StepVotes::new(bls.sum_bytes(&signature), sum.bits));
        sum.signature = Some(signature);
        Ok(Cast::Counted { credits: sum.credits, quorum })
    }

    /// Credits for `vote` in `step` so far.
    pub fn credits(&self, step: Step, vote: &Vote) -> u32 {
        self.sums.get(&(step, *vote)).map_or(0, |sum| sum.credits)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dusk_node_data::message::ConsensusHeader;

    use super::*;
    use crate::keys::AccountId;
    use crate::sa::bls::StandIn;
    use crate::sa::committee::Committees;
    use crate::sa::provisioners::Provisioners;
    use crate::sa::rules::{CREDITS, MINIMUM_STAKE, Quorums, StepKind};

    const A: Vote = Vote::Valid([1; 32]);
    const B: Vote = Vote::Invalid([1; 32]);

    fn committee(iteration: u8) -> (Arc<Committee>, Step) {
        let set = Provisioners::from_entries((0..20).map(|i| (StandIn::id(i), MINIMUM_STAKE, 0)));
        let committees = Committees::new([5; 48], 3, Arc::new(set), Quorums::published());
        let step = Step::new(iteration, StepKind::Validation).unwrap();
        (committees.get(step), step)
    }

    fn vote(id: AccountId, step: Step, vote: Vote) -> Checked<VoteFrame> {
        let header = ConsensusHeader { prev_block_hash: [9; 32], round: 3, iteration: step.iteration };
        let mut frame = VoteFrame { header, vote, signer: *id.as_bytes(), signature: [0; 48] };
        frame.signature = StandIn.sign(&id, &frame.signed_bytes(step.kind));
        Checked::trusted(frame)
    }

    #[test]
    fn votes_add_up_to_a_quorum_that_verifies() {
        for (what, needed) in [(A, 43), (B, 33), (Vote::NoCandidate, 33)] {
            let (committee, step) = committee(0);
            let mut tally = Tally::<StandIn>::default();
            let (mut total, mut bits) = (0, 0);
            for (bit, (id, credits)) in committee.iter().enumerate() {
                let vote = vote(id, step, what);
                total += credits;
                bits |= 1 << bit;
                let Cast::Counted { credits, quorum } = tally.cast(&StandIn, &committee, step, &vote).unwrap() else {
                    panic!("not counted");
                };
                assert_eq!(credits, total);
                assert_eq!(quorum.is_some(), total >= needed, "{total}");
                if let Some(votes) = quorum {
                    assert_eq!(votes.bitset, bits);
                    let voters = committee.check_bits(bits).unwrap();
                    let message = vote.signed_bytes(step.kind);
                    let ids = voters.iter().map(|(id, _)| id);
                    assert!(StandIn.verify_ids(ids, &message, votes.aggregate_signature().inner()).is_ok());
                }
                assert_eq!(tally.cast(&StandIn, &committee, step, &vote), Ok(Cast::Known));
            }
            assert_eq!(total, CREDITS);
            assert_eq!(tally.credits(step, &what), CREDITS);
        }
    }

    #[test]
    fn a_second_opinion_is_a_conflict_and_counts_for_nothing() {
        let (committee, step) = committee(15);
        let mut tally = Tally::<StandIn>::default();
        let (id, _) = committee.iter().next().unwrap();
        let first = vote(id, step, A);
        tally.cast(&StandIn, &committee, step, &first).unwrap();
        for other in [B, Vote::NoCandidate, Vote::Valid([2; 32])] {
            let cast = tally.cast(&StandIn, &committee, step, &vote(id, step, other)).unwrap();
            assert_eq!(cast, Cast::Conflict(Box::new((*first).clone())));
            assert_eq!(tally.credits(step, &other), 0);
        }
    }

    #[test]
    fn emergency_mode_counts_blocks_only_and_several_of_them() {
        let (committee, step) = committee(16);
        let mut tally = Tally::<StandIn>::default();
        let (id, credits) = committee.iter().next().unwrap();
        for other in [B, Vote::NoCandidate] {
            assert_eq!(tally.cast(&StandIn, &committee, step, &vote(id, step, other)), Ok(Cast::Ignored));
        }
        for block in [A, Vote::Valid([2; 32])] {
            let cast = tally.cast(&StandIn, &committee, step, &vote(id, step, block)).unwrap();
            assert_eq!(cast, Cast::Counted { credits, quorum: None });
        }
    }

    #[test]
    fn strangers_are_not_counted_and_steps_are_apart() {
        let (committee, step) = committee(0);
        let mut tally = Tally::<StandIn>::default();
        let stranger = vote(StandIn::id(99), step, A);
        assert_eq!(tally.cast(&StandIn, &committee, step, &stranger), Ok(Cast::NotMember));
        let (id, credits) = committee.iter().next().unwrap();
        tally.cast(&StandIn, &committee, step, &vote(id, step, A)).unwrap();
        let later = Step::new(0, StepKind::Ratification).unwrap();
        let cast = tally.cast(&StandIn, &committee, later, &vote(id, later, B)).unwrap();
        assert_eq!(cast, Cast::Counted { credits, quorum: None });
    }
}
