//! Tests of the header rules, with stand-in signatures but for the last one.

use std::sync::Arc;

use dusk_node_data::bls::PublicKeyBytes;
use dusk_node_data::ledger::{IterationsInfo, StepVotes};
use dusk_node_data::message::payload::{RatificationResult, Vote};

use super::*;
use crate::sa::bls::{DuskBls, StandIn};
use crate::sa::provisioners::Provisioners;
use crate::sa::rules::{MINIMUM_STAKE, Quorums, Step, StepKind};
use crate::sa::wire::signed_bytes;
use crate::testing;

const NOW: u64 = 1_800_000_000;

/// Eight provisioners at height 5, about to make block 6.
struct Net {
    parent: Header,
    previous: Committees,
    committees: Committees,
    params: LedgerParams,
}

impl Net {
    fn new() -> Self {
        let set = Provisioners::from_entries((0..8).map(|i| (StandIn::id(i), MINIMUM_STAKE, 0)));
        let draw = |seed, round| Committees::new(seed, round, Arc::new(set.clone()), Quorums::published());
        let parent = Header {
            version: BLOCK_HEADER_VERSION,
            height: 5,
            timestamp: NOW - 2,
            hash: [9; 32],
            prev_block_hash: [8; 32],
            seed: [7; 48].into(),
            ..Header::default()
        };
        let params = LedgerParams::new(&testing::genesis()).unwrap();
        Self { parent, previous: draw([3; 48], 5), committees: draw([7; 48], 6), params }
    }

    fn attest(committees: &Committees, round: &ConsensusHeader, vote: Vote) -> Attestation {
        let votes = |step: StepKind| {
            let committee = committees.get(Step::new(round.iteration, step).unwrap());
            let bits = u64::MAX >> (64 - committee.len());
            let message = signed_bytes(step, round, &vote);
            let sum = committee
                .iter()
                .fold(None, |sum, (id, _)| Some(StandIn.add(sum, &StandIn.sign(&id, &message)).unwrap()));
            StepVotes::new(sum.unwrap(), bits)
        };
        Attestation {
            result: vote.into(),
            validation: votes(StepKind::Validation),
            ratification: votes(StepKind::Ratification),
        }
    }

    /// The attestation of a failed iteration of block 6, and who should have made a candidate.
    fn failure(&self, iteration: u8, vote: Vote) -> Option<(Attestation, PublicKeyBytes)> {
        let round = ConsensusHeader { prev_block_hash: self.parent.hash, round: 6, iteration };
        let generator = self.committees.generator(iteration).unwrap();
        Some((Self::attest(&self.committees, &round, vote), PublicKeyBytes(*generator.as_bytes())))
    }

    /// A header in due form, before it is signed.
    fn draft(&self, iteration: u8) -> Header {
        let generator = self.committees.generator(iteration.min(49)).unwrap();
        Header {
            version: BLOCK_HEADER_VERSION,
            height: 6,
            timestamp: NOW,
            prev_block_hash: self.parent.hash,
            seed: StandIn.sign(&generator, self.parent.seed.inner()).into(),
            generator_bls_pubkey: PublicKeyBytes(*generator.as_bytes()),
            gas_limit: self.params.block_gas_limit,
            iteration,
            prev_block_cert: Self::attest(
                &self.previous,
                &self.parent.to_consensus_header(),
                Vote::Valid(self.parent.hash),
            ),
            failed_iterations: IterationsInfo::new(vec![None; usize::from(iteration.min(8))]),
            ..Header::default()
        }
    }

    /// Hash, signature and attestation of whatever the header says.
    fn finish(&self, mut header: Header) -> Header {
        header.hash = header_hash(&header).unwrap();
        let signer = AccountId::from_trusted(header.generator_bls_pubkey.0);
        header.signature = StandIn.sign(&signer, &header.hash).into();
        if header.iteration < MAX_ITERATION {
            header.att = Self::attest(&self.committees, &header.to_consensus_header(), Vote::Valid(header.hash));
        }
        header
    }

    fn verify(&self, header: &Header) -> Result<HeaderFacts, HeaderError> {
        self.verify_at(header, Stage::Accept { now: Some(NOW) })
    }

    fn verify_at(&self, header: &Header, stage: Stage) -> Result<HeaderFacts, HeaderError> {
        let context = HeaderContext {
            parent: &self.parent,
            committees: &self.committees,
            previous: Some(&self.previous),
            params: &self.params,
        };
        verify_header(&StandIn, &context, header, stage, &|_, _| false)
    }

    /// What is found when `change` is made and everything is signed over.
    fn broken(&self, change: impl FnOnce(&mut Header)) -> HeaderError {
        let mut header = self.draft(2);
        change(&mut header);
        self.verify(&self.finish(header)).unwrap_err()
    }
}

fn credits(voters: &Voters) -> u32 {
    voters.iter().map(|(_, credits)| credits).sum()
}

#[test]
fn headers_in_due_form_pass_and_prove_their_facts() {
    let net = Net::new();
    for iteration in [0, 1, 7, 8, 9, 49] {
        let facts = net.verify(&net.finish(net.draft(iteration))).unwrap();
        assert_eq!(facts.unattested, iteration);
        assert_eq!((credits(&facts.cert_voters), credits(&facts.att_voters)), (128, 128));
        assert!(facts.cert_voters.is_sorted());
    }
}

#[test]
fn attested_failures_count() {
    let net = Net::new();
    let mut header = net.draft(10);
    header.failed_iterations = IterationsInfo::new(vec![
        net.failure(0, Vote::NoCandidate),
        None,
        net.failure(2, Vote::Invalid([4; 32])),
        None,
        None,
        None,
        None,
        net.failure(7, Vote::NoCandidate),
    ]);
    let header = net.finish(header);
    assert_eq!(net.verify(&header).unwrap().unattested, 7);
    assert_eq!(unattested(&header), Some(7));
}

#[test]
fn a_candidate_needs_no_attestation() {
    let net = Net::new();
    let candidate = Header { att: Attestation::default(), ..net.finish(net.draft(0)) };
    let facts = net.verify_at(&candidate, Stage::Candidate { now: NOW }).unwrap();
    assert!(facts.att_voters.is_empty() && !facts.cert_voters.is_empty());
    assert!(matches!(net.verify(&candidate), Err(HeaderError::Attestation { which: Which::Own, .. })));
}

#[test]
fn iterations_end_at_49() {
    let net = Net::new();
    for iteration in [50, 254, 255] {
        assert_eq!(net.broken(|h| h.iteration = iteration), HeaderError::Iteration(iteration));
        assert_eq!(unattested(&Header { iteration, ..Header::default() }), None);
    }
}

#[test]
fn every_field_has_its_rule() {
    let net = Net::new();
    let other = net.committees.generator(2).unwrap();
    let other = (0..8).map(StandIn::id).find(|id| *id != other).unwrap();
    let vote = |error: HeaderError, is_vote: bool| {
        assert_eq!(error.is_vote(), is_vote, "{error}");
        error
    };
    assert_eq!(vote(net.broken(|h| h.height = 7), false), HeaderError::Height { got: 7, parent: 5 });
    let stranger = PublicKeyBytes(*other.as_bytes());
    assert_eq!(vote(net.broken(|h| h.generator_bls_pubkey = stranger), false), HeaderError::Generator);
    assert_eq!(vote(net.broken(|h| h.version = 2), true), HeaderError::Version(2));
    let early = HeaderError::TooEarly { got: NOW - 1, earliest: NOW };
    assert_eq!(vote(net.broken(|h| h.timestamp = NOW - 1), true), early);
    let future = HeaderError::Future { got: NOW + 4, now: NOW };
    assert_eq!(vote(net.broken(|h| h.timestamp = NOW + 4), false), future);
    assert_eq!(vote(net.broken(|h| h.seed = [1; 48].into()), true), HeaderError::Seed(KeyError::BadSignature));
    let want = net.params.block_gas_limit;
    assert_eq!(vote(net.broken(|h| h.gas_limit = 1), true), HeaderError::GasLimit { got: 1, want });
    let bad = vote(net.broken(|h| h.prev_block_cert.validation = StepVotes::default()), true);
    assert!(matches!(bad, HeaderError::Attestation { which: Which::Certificate, .. }), "{bad}");
    assert_eq!(vote(net.broken(|h| h.prev_block_hash = [1; 32]), false), HeaderError::Parent);

    // Outside the hash.
    let good = net.finish(net.draft(2));
    let changed = |change: fn(&mut Header)| {
        let mut header = good.clone();
        change(&mut header);
        net.verify(&header).unwrap_err()
    };
    assert_eq!(vote(changed(|h| h.hash[0] ^= 1), false), HeaderError::Hash);
    assert_eq!(vote(changed(|h| h.txroot[0] ^= 1), false), HeaderError::Hash);
    let signature = HeaderError::Signature(KeyError::BadSignature);
    assert_eq!(vote(changed(|h| h.signature = [1; 48].into()), false), signature);
    assert!(matches!(
        changed(|h| h.att.ratification.bitset = 1 << 63),
        HeaderError::Attestation { which: Which::Own, .. }
    ));
}

#[test]
fn the_clock_has_a_margin_and_the_past_none() {
    let net = Net::new();
    let header = net.finish(Header { timestamp: NOW + 3, ..net.draft(0) });
    assert!(net.verify(&header).is_ok());
    let header = net.finish(Header { timestamp: NOW + 1000, ..net.draft(0) });
    assert!(net.verify(&header).is_err());
    assert!(net.verify_at(&header, Stage::Accept { now: None }).is_ok());
}

#[test]
fn the_list_of_failed_iterations_fits_the_iteration() {
    let net = Net::new();
    for got in [0, 1, 3, 8] {
        let error = net.broken(|h| h.failed_iterations = IterationsInfo::new(vec![None; got]));
        assert_eq!(error, HeaderError::FailedIterations { got, want: 2, iteration: 2 });
        assert!(error.is_vote());
    }
}

#[test]
fn failed_iterations_are_attested_failures_of_their_generators() {
    let net = Net::new();
    let with = |entry: Option<(Attestation, PublicKeyBytes)>| {
        net.broken(|h| h.failed_iterations = IterationsInfo::new(vec![entry, None]))
    };
    let wrong = |error: HeaderError| matches!(error, HeaderError::Attestation { which: Which::Failed(0), .. });
    // Of another iteration, and a success; a success that says to be a failure is the published node's gap.
    let (attestation, generator) = net.failure(0, Vote::NoCandidate).unwrap();
    assert!(wrong(with(Some((net.failure(1, Vote::NoCandidate).unwrap().0, generator)))));
    let success = net.failure(0, Vote::Valid([4; 32])).unwrap();
    assert!(wrong(with(Some(success))));
    let relabelled = Attestation { result: RatificationResult::Fail(Vote::Valid([4; 32])), ..success.0 };
    assert!(wrong(with(Some((relabelled, generator)))));
    let mut stranger = generator;
    stranger.0[0] ^= 1;
    assert_eq!(with(Some((attestation, stranger))), HeaderError::FailedGenerator(0));
}

#[test]
fn the_child_of_the_genesis_has_no_certificate() {
    let mut net = Net::new();
    let set = net.committees.provisioners().clone();
    net.parent = Header { height: 0, ..net.parent };
    net.committees = Committees::new([7; 48], 1, set, Quorums::published());
    let first = |cert| net.finish(Header { height: 1, prev_block_cert: cert, ..net.draft(0) });
    let verify = |header: &Header, previous| {
        let context = HeaderContext { parent: &net.parent, committees: &net.committees, previous, params: &net.params };
        verify_header(&StandIn, &context, header, Stage::Accept { now: Some(NOW) }, &|_, _| false)
    };
    let good = first(Attestation::default());
    assert!(verify(&good, None).unwrap().cert_voters.is_empty());
    let bad = first(good.att);
    assert_eq!(verify(&bad, None), Err(HeaderError::GenesisCertificate));
    assert!(HeaderError::GenesisCertificate.is_vote());
}

#[test]
fn committees_of_another_round_are_noticed() {
    let net = Net::new();
    let header = net.finish(net.draft(0));
    let verify = |committees, previous| {
        let context = HeaderContext { parent: &net.parent, committees, previous, params: &net.params };
        verify_header(&StandIn, &context, &header, Stage::Accept { now: None }, &|_, _| false)
    };
    assert_eq!(verify(&net.previous, Some(&net.previous)), Err(HeaderError::Context));
    assert_eq!(verify(&net.committees, Some(&net.committees)), Err(HeaderError::Context));
    assert_eq!(verify(&net.committees, None), Err(HeaderError::Context));
    assert!(verify(&net.committees, Some(&net.previous)).is_ok());
}

#[test]
fn a_known_certificate_is_not_verified_again() {
    let net = Net::new();
    let mut header = net.draft(0);
    // Whatever its signature: the caller said that it is known.
    header.prev_block_cert.ratification = StepVotes::new([0; 48], header.prev_block_cert.ratification.bitset);
    let header = net.finish(header);
    assert!(net.verify(&header).is_err());
    let context = HeaderContext {
        parent: &net.parent,
        committees: &net.committees,
        previous: Some(&net.previous),
        params: &net.params,
    };
    let known = |hash: &[u8; 32], cert: &Attestation| *hash == net.parent.hash && *cert == header.prev_block_cert;
    let facts = verify_header(&StandIn, &context, &header, Stage::Accept { now: None }, &known).unwrap();
    assert_eq!(credits(&facts.cert_voters), 128);
}

/// What the sole producer of a network makes is right by the rules for many, with real signatures.
#[test]
fn blocks_of_a_sole_producer_pass() {
    use crate::contracts::NoContracts;
    use crate::keys::Signer;
    use crate::sole::{ChainParams, build_block, earliest_timestamp};
    use crate::state::MemoryState;

    let genesis = testing::genesis();
    let (params, signer, bls) = (ChainParams::new(&genesis), Signer::from_seed(b"producer"), DuskBls::default());
    let mut state = MemoryState::default();
    state.apply(&genesis.state()).unwrap();
    let (mut tip, mut previous) = (genesis.block().header().clone(), None);
    for height in 1..=3 {
        let set = Arc::new(Provisioners::from_stakes(state.stakes()));
        let committees = Committees::new(*tip.seed.inner(), height, set, Quorums::published());
        let timestamp = earliest_timestamp(&tip, &params);
        let built = build_block(&tip, timestamp, &params, &signer, &state, &NoContracts, []).unwrap();
        let header = built.block.block.header().clone();
        let context = HeaderContext {
            parent: &tip,
            committees: &committees,
            previous: previous.as_ref(),
            params: &params.ledger,
        };
        let stage = Stage::Accept { now: Some(timestamp) };
        let facts = verify_header(&bls, &context, &header, stage, &|_, _| false).unwrap();
        assert_eq!((facts.unattested, &facts.att_voters), (0, &vec![(signer.id(), 128)]));
        assert_eq!(facts.cert_voters.len(), usize::from(height > 1));
        state.apply(&built.block.executed.diff).unwrap();
        (tip, previous) = (header, Some(committees));
    }
}
