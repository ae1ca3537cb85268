//! Committees of a round's steps, their bits and credits.
//!
//! Source: `user::committee`, `iteration_ctx` and `quorum::verifiers::get_step_committee` of the published consensus
//! crate. Two differences: bits beyond the committee are refused, where that crate ignores them (one attestation would
//! have many forms), and an exclusion that leaves nobody is relaxed, where it panics: first the generator of the next
//! iteration may vote, then everybody. Wherever the published rule gives a committee, this is it.
//!
//! A committee also knows the quorums of its network, so that whoever counts credits cannot count by other rules.

use std::sync::{Arc, OnceLock};

use dusk_node_data::message::payload::Vote;

use crate::keys::AccountId;
use crate::sa::provisioners::Provisioners;
use crate::sa::rules::{MAX_ITERATION, Quorums, Step, StepKind, excludes_next_generator};
use crate::sa::sortition::draw;

/// Voters with their credits, ascending by key.
pub type Voters = Vec<(AccountId, u32)>;

/// A bitset that names members which do not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bitset {bits:#x} names more than the {members} members of the committee")]
pub struct BitsError {
    /// The bitset.
    pub bits: u64,
    /// Members of the committee.
    pub members: usize,
}

/// The members of a step with their credits, ascending by key. Bit `i` of a bitset stands for member `i`.
#[derive(Debug, Clone)]
pub struct Committee {
    provisioners: Arc<Provisioners>,
    /// Place in the set, credits. At most one for each credit, hence at most 64.
    members: Vec<(usize, u32)>,
    quorums: Quorums,
}

impl Committee {
    /// Number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether nobody was drawn.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The members in the order of their bits.
    pub fn iter(&self) -> impl Iterator<Item = (AccountId, u32)> + '_ {
        self.members.iter().filter_map(|(index, credits)| Some((self.provisioners.get(*index)?.id, *credits)))
    }

    /// The bit and the credits of a member.
    pub fn member(&self, id: &[u8; 96]) -> Option<(u8, u32)> {
        let index = self.provisioners.position(id)?;
        let position = self.members.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        Some((u8::try_from(position).ok()?, self.members.get(position)?.1))
    }

    /// The bit of a member.
    pub fn position(&self, id: &[u8; 96]) -> Option<u8> {
        self.member(id).map(|(position, _)| position)
    }

    /// Credits of a member. Source: `Committee::votes_for`.
    pub fn credits_of(&self, id: &[u8; 96]) -> Option<u32> {
        self.member(id).map(|(_, credits)| credits)
    }

    /// Whether `id` is a member.
    pub fn contains(&self, id: &[u8; 96]) -> bool {
        self.position(id).is_some()
    }

    /// Credits of the members that `bits` names. Source: `Committee::total_occurrences`.
    pub fn credits(&self, bits: u64) -> u32 {
        self.named(bits).map(|(_, credits)| credits).sum()
    }

    /// All credits: 64, or fewer if there was not enough weight.
    pub fn total(&self) -> u32 {
        self.members.iter().map(|(_, credits)| credits).sum()
    }

    /// The members that `bits` names. Source: `Committee::intersect`.
    pub fn check_bits(&self, bits: u64) -> Result<Voters, BitsError> {
        let beyond = bits.checked_shr(self.members.len() as u32).unwrap_or(0);
        if beyond != 0 {
            return Err(BitsError { bits, members: self.members.len() });
        }
        Ok(self.named(bits).filter_map(|(index, credits)| Some((self.provisioners.get(index)?.id, credits))).collect())
    }

    /// Credits that decide the step for `vote`.
    pub fn quorum(&self, vote: &Vote) -> u32 {
        self.quorums.of(vote)
    }

    fn named(&self, bits: u64) -> impl Iterator<Item = (usize, u32)> + '_ {
        self.members.iter().enumerate().filter(move |(i, _)| (bits >> (i & 63)) & 1 == 1).map(|(_, member)| *member)
    }
}

/// The committees of one round, drawn when they are asked for. Shared by the machine and the workers of its round.
#[derive(Debug)]
pub struct Committees {
    seed: [u8; 48],
    round: u64,
    quorums: Quorums,
    provisioners: Arc<Provisioners>,
    /// Place and weight of those that may be drawn.
    eligible: Vec<(usize, u64)>,
    generators: [OnceLock<Option<usize>>; MAX_ITERATION as usize],
    steps: Box<[OnceLock<Arc<Committee>>]>,
}

impl Committees {
    /// The committees of `round`: `seed` is the field of the header before, `provisioners` the set after it.
    pub fn new(seed: [u8; 48], round: u64, provisioners: Arc<Provisioners>, quorums: Quorums) -> Self {
        let eligible = provisioners.eligible(round).iter().map(|(index, p)| (index, p.value)).collect();
        Self {
            seed,
            round,
            quorums,
            provisioners,
            eligible,
            generators: [const { OnceLock::new() }; MAX_ITERATION as usize],
            steps: (0..Step::COUNT).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The same as [`Self::new`]. Whoever asks for the committees of one round gets the same ones as long as somebody
    /// holds them, so that they are drawn once.
    pub fn shared(seed: [u8; 48], round: u64, provisioners: &Arc<Provisioners>, quorums: Quorums) -> Arc<Self> {
        let fit = |held: &Self| held.round == round && held.seed == seed && held.quorums == quorums;
        provisioners.committees(fit, || Self::new(seed, round, provisioners.clone(), quorums))
    }

    /// The round.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// The seed from which the round draws.
    pub fn seed(&self) -> &[u8; 48] {
        &self.seed
    }

    /// The set from which the round draws.
    pub fn provisioners(&self) -> &Arc<Provisioners> {
        &self.provisioners
    }

    /// How many may be drawn.
    pub fn eligible(&self) -> usize {
        self.eligible.len()
    }

    /// The generator of an iteration. Nobody if the iteration does not exist or nobody is eligible.
    pub fn generator(&self, iteration: u8) -> Option<AccountId> {
        self.generator_place(iteration).and_then(|index| self.provisioners.get(index)).map(|p| p.id)
    }

    /// The committee of a step.
    pub fn get(&self, step: Step) -> Arc<Committee> {
        match self.steps.get(usize::from(step.number())) {
            Some(cached) => cached.get_or_init(|| Arc::new(self.committee(step))).clone(),
            None => Arc::new(self.committee(step)),
        }
    }

    fn generator_place(&self, iteration: u8) -> Option<usize> {
        let cached = self.generators.get(usize::from(iteration))?;
        *cached.get_or_init(|| {
            let step = Step::new(iteration, StepKind::Proposal)?;
            draw(&self.seed, step, &self.eligible, &[], step.kind.credits()).first().map(|(index, _)| *index)
        })
    }

    fn committee(&self, step: Step) -> Committee {
        let excluded = self.excluded(step);
        let members = draw(&self.seed, step, &self.eligible, &excluded, step.kind.credits());
        Committee { provisioners: self.provisioners.clone(), members, quorums: self.quorums }
    }

    /// Who stays out of a step: nobody of a Proposal, else the generators of this and the next iteration.
    fn excluded(&self, step: Step) -> Vec<usize> {
        if step.kind == StepKind::Proposal {
            return Vec::new();
        }
        let mut excluded: Vec<_> = self.generator_place(step.iteration).into_iter().collect();
        if excludes_next_generator(step.iteration) {
            excluded.extend(self.generator_place(step.iteration + 1).filter(|next| !excluded.contains(next)));
        }
        // They are distinct and all of them eligible. With one eligible provisioner this is the published exception,
        // with two the point at which the published crate panics.
        while excluded.len() >= self.eligible.len() && excluded.pop().is_some() {}
        excluded
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sa::bls::StandIn;
    use crate::sa::rules::{CREDITS, MINIMUM_STAKE};
    use crate::sa::sortition::{extract, generator};

    fn committees(n: u64, seed: u8) -> Committees {
        let set = Provisioners::from_entries((0..n).map(|i| (StandIn::id(i), MINIMUM_STAKE * (i + 1), 0)));
        Committees::new([seed; 48], 9, Arc::new(set), Quorums::published())
    }

    fn all_steps() -> impl Iterator<Item = Step> {
        (0..Step::COUNT as u8).filter_map(Step::from_number)
    }

    #[test]
    fn committees_are_the_extractions_without_both_generators() {
        for seed in 0..8 {
            let committees = committees(12, seed);
            for step in all_steps() {
                let own = generator(&[seed; 48], step.iteration, 9, committees.provisioners());
                assert_eq!(committees.generator(step.iteration), own);
                let next = generator(&[seed; 48], step.iteration + 1, 9, committees.provisioners());
                assert_eq!(next.is_none(), step.iteration == 49);
                let exclude: Vec<_> =
                    if step.kind == StepKind::Proposal { vec![] } else { own.into_iter().chain(next).collect() };
                let set = committees.provisioners();
                let expected = extract(&[seed; 48], step, 9, set, &exclude, step.kind.credits());
                let committee = committees.get(step);
                assert_eq!(committee.members, expected);
                assert_eq!(committee.total(), step.kind.credits());
                assert!(exclude.iter().all(|id| !committee.contains(id.as_bytes())));
            }
        }
    }

    #[test]
    fn one_provisioner_has_every_credit() {
        let committees = committees(1, 1);
        for step in all_steps() {
            let committee = committees.get(step);
            assert_eq!(committee.iter().collect::<Vec<_>>(), [(StandIn::id(0), step.kind.credits())]);
        }
    }

    /// The published crate panics here in every iteration whose generator is not also the next one.
    #[test]
    fn of_two_provisioners_the_other_votes() {
        let mut different = 0;
        for seed in 0..16 {
            let committees = committees(2, seed);
            for iteration in 0..MAX_ITERATION {
                let generator = committees.generator(iteration).unwrap();
                different += u32::from(committees.generator(iteration + 1).is_some_and(|next| next != generator));
                for kind in [StepKind::Validation, StepKind::Ratification] {
                    let committee = committees.get(Step::new(iteration, kind).unwrap());
                    assert_eq!(committee.len(), 1);
                    assert_eq!(committee.total(), CREDITS);
                    assert!(!committee.contains(generator.as_bytes()));
                }
            }
        }
        assert!(different > 100, "{different}");
    }

    #[test]
    fn shared_committees_are_drawn_once_and_held_by_their_users_only() {
        let set = Arc::new(Provisioners::from_entries((0..5).map(|i| (StandIn::id(i), MINIMUM_STAKE, 0))));
        let get = |seed, round, quorums| Committees::shared([seed; 48], round, &set, quorums);
        let first = get(1, 2, Quorums::published());
        assert!(Arc::ptr_eq(&first, &get(1, 2, Quorums::published())));
        assert!(!Arc::ptr_eq(&first, &get(2, 2, Quorums::published())));
        assert!(!Arc::ptr_eq(&first, &get(1, 3, Quorums::published())));
        assert!(!Arc::ptr_eq(&first, &get(1, 2, Quorums::broken_for_tests(1, 1))));
        let held = Arc::downgrade(&first);
        drop(first);
        assert!(held.upgrade().is_none());
        assert_eq!(Arc::strong_count(&set), 1);
        assert_eq!(get(1, 2, Quorums::published()).round(), 2);
    }

    #[test]
    fn nobody_is_a_committee_of_nobody() {
        let committees = Committees::new([1; 48], 1, Arc::default(), Quorums::published());
        assert!(committees.get(Step::new(0, StepKind::Validation).unwrap()).is_empty());
        assert_eq!(committees.generator(0), None);
    }

    #[test]
    fn bits_beyond_the_committee_are_refused() {
        let committees = committees(5, 3);
        let committee = committees.get(Step::new(0, StepKind::Validation).unwrap());
        let all = (1u64 << committee.len()) - 1;
        assert_eq!(committee.check_bits(all).unwrap(), committee.iter().collect::<Vec<_>>());
        assert_eq!(committee.check_bits(0).unwrap(), []);
        for bit in committee.len()..64 {
            let bits = 1u64 << bit;
            assert_eq!(committee.check_bits(bits), Err(BitsError { bits, members: committee.len() }));
        }
    }

    proptest! {
        #[test]
        fn bits_and_members_are_each_others_inverse(n in 3..90u64, seed in any::<u8>(), number in 0..150u8, bits: u64) {
            let committees = committees(n, seed);
            let committee = committees.get(Step::from_number(number).unwrap());
            prop_assert!(committee.len() <= 64);
            let bits = if committee.len() < 64 { bits & ((1u64 << committee.len()) - 1) } else { bits };
            let voters = committee.check_bits(bits).unwrap();
            let again = voters.iter().fold(0u64, |b, (id, _)| b | 1 << committee.position(id.as_bytes()).unwrap());
            prop_assert_eq!(again, bits);
            let credits: u32 = voters.iter().map(|(id, _)| committee.credits_of(id.as_bytes()).unwrap()).sum();
            prop_assert_eq!(credits, committee.credits(bits));
            prop_assert_eq!(credits, voters.iter().map(|(_, credits)| credits).sum::<u32>());
        }
    }
}
