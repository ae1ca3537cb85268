//! Attestations of a round's iterations as they form.
//!
//! Source: `step_votes_reg` of the published consensus crate. For each iteration and vote it holds the votes of both
//! committees and whether they are quorums. Where several failures of one iteration are proven, the published choice
//! depends on the order of a hash map; here it is always NoCandidate before Invalid before NoQuorum.

use std::collections::BTreeMap;

use dusk_node_data::bls::PublicKeyBytes;
use dusk_node_data::ledger::{Attestation, IterationInfo, StepVotes};
use dusk_node_data::message::payload::Vote;

use crate::keys::AccountId;
use crate::sa::rules::StepKind;
use crate::sa::triage::Checked;
use crate::sa::wire::is_empty;

/// What is known of the outcomes of a round's iterations.
#[derive(Debug, Default)]
pub struct Registry {
    iterations: BTreeMap<u8, Outcomes>,
}

#[derive(Debug)]
struct Outcomes {
    generator: AccountId,
    votes: BTreeMap<Vote, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    validation: Half,
    ratification: Half,
}

/// One step's votes.
#[derive(Debug, Default, Clone, Copy)]
struct Half {
    votes: StepVotes,
    quorum: bool,
}

impl Half {
    /// Takes newer votes, unless that would lose a quorum.
    fn set(&mut self, votes: StepVotes, quorum: bool) {
        if quorum || !self.quorum {
            *self = Self { votes, quorum };
        }
    }
}

impl Entry {
    /// The attestation, once both steps have their quorum. `NoQuorum` needs the second only, and carries no votes of the
    /// first.
    fn attestation(&self, vote: &Vote) -> Option<Attestation> {
        let validation = match vote {
            Vote::NoQuorum => StepVotes::default(),
            _ => self.validation.quorum.then_some(self.validation.votes)?,
        };
        let ratification = self.ratification.quorum.then_some(self.ratification.votes)?;
        Some(Attestation { result: (*vote).into(), validation, ratification })
    }
}

impl Registry {
    /// Notes the votes of one step of `iteration` for `vote`. Gives the attestation if it is complete with them. Empty
    /// votes are not noted, and a Proposal has none.
    pub fn set(
        &mut self,
        iteration: u8,
        generator: &AccountId,
        vote: Vote,
        votes: StepVotes,
        step: StepKind,
        quorum: bool,
    ) -> Option<Attestation> {
        if is_empty(&votes) {
            return None;
        }
        let entry = self.entry(iteration, generator, vote);
        match step {
            StepKind::Proposal => return None,
            StepKind::Validation => entry.validation.set(votes, quorum),
            StepKind::Ratification => entry.ratification.set(votes, quorum),
        }
        entry.attestation(&vote)
    }

    /// Notes a whole attestation that somebody else has built.
    pub fn put(&mut self, iteration: u8, generator: &AccountId, attestation: &Checked<Attestation>) {
        let vote = *attestation.result.vote();
        let entry = self.entry(iteration, generator, vote);
        if vote != Vote::NoQuorum {
            entry.validation.set(attestation.validation, true);
        }
        entry.ratification.set(attestation.ratification, true);
    }

    /// The failures of iterations `0..to`, one entry for each: what a block of a later iteration lists.
    pub fn failed(&self, to: u8) -> Vec<Option<IterationInfo>> {
        (0..to)
            .map(|iteration| {
                let outcomes = self.iterations.get(&iteration)?;
                Some((self.failure(iteration)?, PublicKeyBytes(*outcomes.generator.as_bytes())))
            })
            .collect()
    }

    /// The proof that an iteration failed, if there is one.
    pub fn failure(&self, iteration: u8) -> Option<Attestation> {
        const ORDER: fn(&Vote) -> u8 = |vote| match vote {
            Vote::NoCandidate => 0,
            Vote::Invalid(_) => 1,
            Vote::NoQuorum => 2,
            Vote::Valid(_) => 3,
        };
        let outcomes = self.iterations.get(&iteration)?;
        let failures = outcomes.votes.iter().filter(|(vote, _)| !vote.is_valid());
        failures
            .filter_map(|(vote, entry)| Some((ORDER(vote), entry.attestation(vote)?)))
            .min_by_key(|(order, _)| *order)
            .map(|(_, attestation)| attestation)
    }

    fn entry(&mut self, iteration: u8, generator: &AccountId, vote: Vote) -> &mut Entry {
        self.iterations
            .entry(iteration)
            .or_insert_with(|| Outcomes { generator: *generator, votes: BTreeMap::new() })
            .votes
            .entry(vote)
            .or_default()
    }
}

#[cfg(test)]
mod tests {
    use dusk_node_data::message::payload::RatificationResult;

    use super::*;
    use crate::sa::bls::StandIn;

    fn votes(n: u8) -> StepVotes {
        StepVotes::new([n; 48], u64::from(n))
    }

    fn generator() -> AccountId {
        StandIn::id(1)
    }

    #[test]
    fn an_attestation_needs_both_quorums() {
        for vote in [Vote::Valid([1; 32]), Vote::Invalid([1; 32]), Vote::NoCandidate] {
            let mut registry = Registry::default();
            let mut set = |votes, step, quorum| registry.set(3, &generator(), vote, votes, step, quorum);
            assert_eq!(set(votes(1), StepKind::Ratification, true), None);
            assert_eq!(set(votes(2), StepKind::Validation, false), None);
            let attestation = set(votes(3), StepKind::Validation, true).unwrap();
            assert_eq!(attestation.result, RatificationResult::from(vote));
            assert_eq!((attestation.validation, attestation.ratification), (votes(3), votes(1)));
            // A late count that is no quorum takes nothing away.
            let again = set(votes(4), StepKind::Validation, false).unwrap();
            assert_eq!(again.validation, votes(3));
        }
    }

    #[test]
    fn no_quorum_needs_the_second_step_and_carries_nothing_of_the_first() {
        let mut registry = Registry::default();
        let vote = Vote::NoQuorum;
        assert_eq!(registry.set(0, &generator(), vote, votes(1), StepKind::Validation, true), None);
        let attestation = registry.set(0, &generator(), vote, votes(2), StepKind::Ratification, true).unwrap();
        assert!(is_empty(&attestation.validation));
        assert_eq!(attestation.ratification, votes(2));
    }

    #[test]
    fn empty_votes_and_proposals_are_not_noted() {
        let mut registry = Registry::default();
        let empty = StepVotes::default();
        assert_eq!(registry.set(0, &generator(), Vote::NoQuorum, empty, StepKind::Ratification, true), None);
        assert_eq!(registry.set(0, &generator(), Vote::NoQuorum, votes(1), StepKind::Proposal, true), None);
        assert_eq!(registry.failure(0), None);
    }

    #[test]
    fn failures_have_one_entry_per_iteration_and_one_order() {
        let mut registry = Registry::default();
        let attest = |vote: Vote, n| {
            let validation = if vote == Vote::NoQuorum { StepVotes::default() } else { votes(n) };
            Checked::trusted(Attestation { result: vote.into(), validation, ratification: votes(n) })
        };
        registry.put(1, &generator(), &attest(Vote::NoQuorum, 1));
        registry.put(1, &generator(), &attest(Vote::Valid([1; 32]), 2));
        registry.put(4, &generator(), &attest(Vote::Valid([1; 32]), 3));
        let failed = registry.failed(8);
        assert_eq!(failed.len(), 8);
        let (attestation, key) = failed[1].unwrap();
        assert_eq!(attestation, *attest(Vote::NoQuorum, 1));
        assert_eq!(key.inner(), generator().as_bytes());
        assert!(failed.iter().enumerate().all(|(i, failure)| failure.is_some() == (i == 1)));

        registry.put(1, &generator(), &attest(Vote::Invalid([1; 32]), 5));
        assert_eq!(registry.failure(1), Some(*attest(Vote::Invalid([1; 32]), 5)));
        registry.put(1, &generator(), &attest(Vote::NoCandidate, 6));
        assert_eq!(registry.failure(1), Some(*attest(Vote::NoCandidate, 6)));
        assert!(registry.failed(0).is_empty());
    }
}
