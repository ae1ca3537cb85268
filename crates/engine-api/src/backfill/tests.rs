use super::*;
use alloy_consensus::{Header, Sealable as _};
use proptest::prelude::*;
use std::collections::HashMap;

/// A chain: `length` blocks above a genesis block, those above `fork` of another branch.
fn chain(length: u64, fork: u64, branch: u8) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for number in 0..=length {
        let header = Header {
            number,
            parent_hash: blocks.last().map(Block::hash).unwrap_or_default(),
            gas_limit: if number > fork { u64::from(branch) } else { 0 },
            ..Header::default()
        };
        blocks.push(Block { header: header.seal_slow(), transactions: Vec::new() });
    }
    blocks
}

fn at(block: &Block) -> BlockRef {
    BlockRef { number: block.number(), hash: block.hash() }
}

/// This node's executor and its consensus client's chain.
struct Own {
    chain: Vec<Block>,
    finalized: u64,
    side: HashMap<B256, Arc<Block>>,
    /// Every head that was taken.
    heads: Vec<B256>,
    /// A block that breaks a rule.
    broken: Option<B256>,
    /// Every head that is invalid for it, and its latest valid ancestor.
    condemned: Vec<(B256, Option<B256>)>,
}

impl Own {
    fn new(chain: Vec<Block>, finalized: u64) -> Self {
        Self { chain, finalized, side: HashMap::new(), heads: Vec::new(), broken: None, condemned: Vec::new() }
    }

    fn known(&self, hash: B256) -> bool {
        self.side.contains_key(&hash) || self.chain.iter().any(|block| block.hash() == hash)
    }

    fn offer(&mut self, block: Arc<Block>) -> Outcome {
        if !self.known(block.header.parent_hash) {
            return Outcome::Unavailable("unknown parent".into());
        }
        if self.broken == Some(block.hash()) {
            return Outcome::Invalid(broken_above(block.header.parent_hash));
        }
        assert!(self.side.len() < 64, "more than the executor keeps");
        self.side.insert(block.hash(), block);
        Outcome::Done
    }

    fn advance(&mut self, from: B256, to: BlockRef) -> Outcome {
        if self.chain.last().unwrap().hash() != from {
            return Outcome::Moved;
        }
        let mut branch = Vec::new();
        let mut hash = to.hash;
        while let Some(block) = self.side.remove(&hash) {
            hash = block.header.parent_hash;
            branch.push(Block::clone(&block));
        }
        let fork = self.chain.iter().position(|block| block.hash() == hash).expect("the branch leaves the chain");
        assert!(fork as u64 >= self.finalized, "what is final stays");
        self.chain.truncate(fork + 1);
        self.chain.extend(branch.into_iter().rev());
        self.heads.push(to.hash);
        Outcome::Done
    }
}

impl OwnChain for Own {
    fn head(&self) -> BlockRef {
        at(self.chain.last().unwrap())
    }
    fn finalized(&self) -> u64 {
        self.finalized
    }
    fn hash(&self, number: u64) -> Option<B256> {
        self.chain.get(number as usize).map(Block::hash)
    }
}

fn broken_above(parent: B256) -> Verdict {
    Verdict { why: "it breaks a rule".into(), latest_valid: Some(parent) }
}

/// Answers from a chain.
fn answer(chain: &[Block], ask: &Ask) -> Found {
    let by_hash = |hash: &B256| chain.iter().find(|block| block.hash() == *hash);
    match ask {
        Ask::Header(hash) => Found::Headers(vec![by_hash(hash).map(|block| block.header.inner().clone())]),
        Ask::Headers { from, count } => {
            let numbers = (0..*count as u64).map(|below| from - below);
            Found::Headers(numbers.map(|n| chain.get(n as usize).map(|block| block.header.inner().clone())).collect())
        }
        Ask::Blocks(hashes) => {
            Found::Blocks(hashes.iter().map(|hash| by_hash(hash).map(|block| (Arc::new(block.clone()), 100))).collect())
        }
    }
}

/// How a source misbehaves at one question.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Lie {
    None,
    Silent,
    Empty,
    /// Only the first of several.
    Short,
    Lacks,
    OtherChain,
    Wrong,
}

fn tell(chain: &[Block], ask: &Ask, lie: Lie) -> Answer {
    let mut found = answer(chain, ask);
    match (&mut found, lie) {
        (_, Lie::None) => {}
        (_, Lie::Silent) => return Err(Trouble::NoAnswer("away".into())),
        (_, Lie::Wrong) => return Err(Trouble::Wrong("not JSON".into())),
        (Found::Headers(all), Lie::Empty) => all.clear(),
        (Found::Blocks(all), Lie::Empty) => all.clear(),
        (Found::Headers(all), Lie::Short) => all.truncate(1),
        (Found::Blocks(all), Lie::Short) => all.truncate(1),
        (Found::Headers(all), Lie::Lacks) => all[0] = None,
        (Found::Blocks(all), Lie::Lacks) => all[0] = None,
        (Found::Headers(all), Lie::OtherChain) => {
            for header in all.iter_mut().flatten() {
                header.gas_limit += 77;
            }
        }
        (Found::Blocks(all), Lie::OtherChain) => {
            for (block, _) in all.iter_mut().flatten() {
                let header = Header { gas_limit: 99, ..block.header.inner().clone() };
                *block = Arc::new(Block { header: header.seal_slow(), transactions: Vec::new() });
            }
        }
    }
    Ok(found)
}

/// Does what is to be done, and tells the machine what came of it.
fn carry_out(effect: Effect, machine: &mut Backfill, own: &mut Own, source: &[Block], lie: Lie, now: Duration) {
    match effect {
        Effect::Ask(attempt, ask) => machine.answered(attempt, tell(source, &ask, lie), own, now),
        Effect::Offer(attempt, block) => {
            let outcome = own.offer(block);
            machine.done(attempt, outcome, now);
        }
        Effect::Advance { attempt, from, to } => {
            let outcome = own.advance(from, to);
            machine.done(attempt, outcome, now);
        }
        Effect::Condemn { head, verdict } => own.condemned.push((head, verdict.latest_valid)),
    }
}

/// Runs until nothing is to be done and no attempt is under way. Each lie is for one question; afterwards the source is honest.
fn run(machine: &mut Backfill, own: &mut Own, source: &[Block], mut lies: impl Iterator<Item = Lie>) -> Vec<Event> {
    let (mut now, mut events) = (Duration::ZERO, Vec::new());
    for _ in 0..100_000 {
        let effects = machine.next(own, now);
        events.extend(machine.events());
        if effects.is_empty() && machine.progress().is_none() && machine.wanted.is_none() {
            return events;
        }
        if effects.is_empty() {
            now += Duration::from_millis(250);
        }
        for effect in effects {
            let lie = if matches!(effect, Effect::Ask(..)) { lies.next() } else { None };
            carry_out(effect, machine, own, source, lie.unwrap_or(Lie::None), now);
        }
        events.extend(machine.events());
    }
    panic!("it does not end");
}

fn end(events: &[Event]) -> String {
    match events.last() {
        Some(Event::Ended { why, .. }) => why.clone(),
        other => panic!("{other:?}"),
    }
}

fn catches_up(length: u64, fork: u64, own: u64, finalized: u64) -> (Own, Vec<Block>) {
    let source = chain(length, fork, 1);
    let mut own = Own::new(chain(own, fork, 2), finalized);
    let mut machine = Backfill::default();
    machine.want(source.last().unwrap().hash());
    let events = run(&mut machine, &mut own, &source, std::iter::empty());
    assert_eq!(events.last(), Some(&Event::Reached(at(source.last().unwrap()))), "{events:?}");
    assert_eq!(own.chain, source);
    (own, source)
}

#[test]
fn blocks_above_the_head_become_the_head_one_by_one() {
    let (own, source) = catches_up(300, 300, 10, 5);
    let hashes: Vec<B256> = source[11..].iter().map(Block::hash).collect();
    assert_eq!(own.heads, hashes);
}

#[test]
fn the_head_stays_on_its_branch_until_the_wanted_one_is_as_high() {
    // Blocks 11 to 30 of another branch; the own one ends at 25.
    let (own, source) = catches_up(30, 10, 25, 10);
    assert_eq!(own.heads.first(), Some(&source[26].hash()), "not below the height of the old head");
    assert_eq!(own.heads.len(), 5);
    // A branch that is longer than what the executor keeps beside the chain.
    let (own, source) = catches_up(200, 10, 150, 10);
    assert_eq!(own.heads.first(), Some(&source[42].hash()), "32 together");
    // A shorter branch.
    let (own, source) = catches_up(12, 10, 25, 10);
    assert_eq!(own.heads, [source[12].hash()]);
}

#[test]
fn headers_are_asked_for_in_batches_and_not_below_what_is_lacking() {
    let source = chain(1_000, 1_000, 1);
    let own = Own::new(source[..=500].to_vec(), 0);
    let mut machine = Backfill::default();
    machine.want(source[1_000].hash());
    let mut asked = Vec::new();
    while let Some(Effect::Ask(attempt, ask)) = machine.next(&own, Duration::ZERO).pop() {
        if matches!(ask, Ask::Blocks(_)) {
            break;
        }
        machine.answered(attempt, Ok(answer(&source, &ask)), &own, Duration::ZERO);
        if let Ask::Headers { from, count } = ask {
            asked.push((from, count));
        }
    }
    assert_eq!(asked, [(999, 128), (871, 128), (743, 128), (615, 115)]);
}

#[test]
fn no_more_is_fetched_ahead_than_the_bounds_allow() {
    let source = chain(400, 400, 1);
    for bytes in [1, MAX_AHEAD_BYTES / 10] {
        let own = Own::new(source[..=10].to_vec(), 0);
        let mut machine = Backfill::default();
        machine.want(source[400].hash());
        // The executor never answers.
        let (mut blocks, mut rounds) = (0, 0);
        loop {
            rounds += 1;
            assert!(rounds < 1_000);
            let effects = machine.next(&own, Duration::ZERO);
            let Some((attempt, ask)) = effects.into_iter().find_map(|effect| match effect {
                Effect::Ask(attempt, ask) => Some((attempt, ask)),
                _ => None,
            }) else {
                break;
            };
            let mut found = answer(&source, &ask);
            if let Found::Blocks(all) = &mut found {
                blocks += all.len();
                all.iter_mut().flatten().for_each(|(_, size)| *size = bytes);
            }
            machine.answered(attempt, Ok(found), &own, Duration::ZERO);
        }
        // One is at the executor.
        let most = (MAX_AHEAD_BYTES / bytes + MAX_BLOCKS_ASKED).min(MAX_AHEAD) + 1;
        assert!(blocks > 0 && blocks <= most, "{blocks} > {most}");
    }
}

#[test]
fn a_head_that_the_source_does_not_know_changes_nothing() {
    let source = chain(30, 10, 1);
    let mut own = Own::new(chain(20, 10, 2), 5);
    let before = own.chain.clone();
    let mut machine = Backfill::default();
    machine.want(B256::repeat_byte(7));
    let events = run(&mut machine, &mut own, &source, std::iter::empty());
    assert!(end(&events).contains("does not have block"), "{events:?}");
    assert!(own.heads.is_empty() && own.chain == before);
}

#[test]
fn an_answer_that_contradicts_the_hashes_ends_the_attempt() {
    let source = chain(40, 40, 1);
    for (lies, said) in [
        // The wanted header, one below it, a block.
        (vec![Lie::OtherChain], "where block"),
        (vec![Lie::None, Lie::OtherChain], "where block"),
        (vec![Lie::None, Lie::None, Lie::OtherChain], "it answered with block"),
        (vec![Lie::None, Lie::Lacks], "it has no block 39"),
        (vec![Lie::None, Lie::None, Lie::Lacks], "it does not have block"),
        (vec![Lie::None, Lie::None, Lie::Wrong], "not JSON"),
    ] {
        let mut own = Own::new(source[..=10].to_vec(), 0);
        let mut machine = Backfill::default();
        machine.want(source[40].hash());
        let events = run(&mut machine, &mut own, &source, lies.into_iter());
        assert!(end(&events).contains(said), "{said}: {events:?}");
        assert!(own.heads.is_empty());
    }
}

#[test]
fn a_head_that_leaves_the_chain_below_what_is_final_is_not_followed() {
    let source = chain(30, 10, 1);
    let mut own = Own::new(chain(20, 10, 2), 11);
    let mut machine = Backfill::default();
    machine.want(source[30].hash());
    let events = run(&mut machine, &mut own, &source, std::iter::empty());
    assert!(end(&events).contains("final"), "{events:?}");
    assert!(own.heads.is_empty());
    // From the final block itself it may.
    own.finalized = 10;
    machine.want(source[30].hash());
    run(&mut machine, &mut own, &source, std::iter::empty());
    assert_eq!(own.chain, source);
}

#[test]
fn a_head_that_is_too_far_above_is_refused_before_it_is_fetched() {
    let own = Own::new(chain(3, 3, 1), 0);
    let header = Header { number: MAX_BLOCKS + 4, ..Header::default() };
    let mut machine = Backfill::default();
    machine.want(header.hash_slow());
    let effects = machine.next(&own, Duration::ZERO);
    assert!(matches!(effects[..], [Effect::Ask(1, Ask::Header(_))]));
    machine.answered(1, Ok(Found::Headers(vec![Some(header)])), &own, Duration::ZERO);
    assert!(end(&machine.events()).contains("more than 1000000 blocks above"));
}

#[test]
fn a_newer_head_is_the_goal_when_the_old_one_is_reached() {
    let source = chain(60, 60, 1);
    let mut own = Own::new(source[..=10].to_vec(), 0);
    let mut machine = Backfill::default();
    machine.want(source[40].hash());
    assert_eq!(machine.next(&own, Duration::ZERO).len(), 1);
    for newer in [50, 55, 60] {
        machine.want(source[newer].hash());
    }
    machine.answered(1, tell(&source, &Ask::Header(source[40].hash()), Lie::None), &own, Duration::ZERO);
    let events = run(&mut machine, &mut own, &source, std::iter::empty());
    let reached = events.iter().filter_map(|event| match event {
        Event::Reached(block) => Some(block.number),
        _ => None,
    });
    assert_eq!(reached.collect::<Vec<_>>(), [40, 60]);
}

#[test]
fn the_consensus_clients_own_command_ends_the_attempt_and_late_results_are_passed_over() {
    let source = chain(60, 60, 1);
    let own = Own::new(source[..=10].to_vec(), 0);
    let mut machine = Backfill::default();
    machine.want(source[60].hash());
    assert_eq!(machine.next(&own, Duration::ZERO).len(), 1);
    machine.forget();
    assert!(machine.progress().is_none() && machine.next(&own, Duration::ZERO).is_empty());
    machine.want(source[60].hash());
    assert_eq!(machine.next(&own, Duration::ZERO), [Effect::Ask(2, Ask::Header(source[60].hash()))]);
    machine.answered(1, Ok(Found::Headers(vec![None])), &own, Duration::ZERO);
    machine.done(1, Outcome::Moved, Duration::ZERO);
    assert!(machine.progress().is_some(), "those were results of the first attempt");
}

#[test]
fn attempts_that_fail_are_followed_by_growing_pauses_and_only_when_the_head_is_wanted_again() {
    let own = Own::new(chain(3, 3, 1), 0);
    let mut machine = Backfill::default();
    let (head, mut now) = (B256::repeat_byte(7), Duration::ZERO);
    machine.want(head);
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        let effects = machine.next(&own, now);
        let [Effect::Ask(attempt, _)] = effects[..] else { panic!("{effects:?}") };
        machine.answered(attempt, Ok(Found::Headers(vec![None])), &own, now);
        assert!(machine.next(&own, now + 2 * LONGEST_PAUSE).is_empty(), "nobody wants it again");
        machine.want(head);
        let pause = Duration::from_secs(seconds);
        assert!(machine.next(&own, now + pause - Duration::from_millis(1)).is_empty());
        now += pause;
    }
}

#[test]
fn a_source_that_does_not_answer_is_asked_again_after_growing_pauses_and_for_less() {
    let source = chain(400, 400, 1);
    let own = Own::new(source[..=10].to_vec(), 0);
    let mut machine = Backfill::default();
    machine.want(source[400].hash());
    let mut now = Duration::ZERO;
    machine.next(&own, now);
    machine.answered(1, tell(&source, &Ask::Header(source[400].hash()), Lie::None), &own, now);
    let mut pause = Duration::from_millis(250);
    for count in [128, 64, 32, 16, 8, 4, 2, 1, 1] {
        assert_eq!(machine.next(&own, now), [Effect::Ask(1, Ask::Headers { from: 399, count })]);
        machine.answered(1, Err(Trouble::NoAnswer("away".into())), &own, now);
        assert_eq!(machine.silence(), Some("away"));
        assert!(machine.next(&own, now + pause - Duration::from_millis(1)).is_empty());
        now += pause;
        pause = (pause * 2).min(Duration::from_secs(15));
    }
    let ask = Ask::Headers { from: 399, count: 1 };
    assert_eq!(machine.next(&own, now), [Effect::Ask(1, ask.clone())]);
    machine.answered(1, Ok(answer(&source, &ask)), &own, now);
    assert_eq!(machine.silence(), None);
    assert_eq!(machine.next(&own, now), [Effect::Ask(1, Ask::Headers { from: 398, count: 2 })]);
}

#[test]
fn an_executor_that_forgot_a_block_or_is_away_is_asked_anew() {
    let source = chain(20, 20, 1);
    let own = Own::new(source[..=10].to_vec(), 0);
    let mut machine = Backfill::default();
    machine.want(source[11].hash());
    machine.next(&own, Duration::ZERO);
    machine.answered(1, tell(&source, &Ask::Header(source[11].hash()), Lie::None), &own, Duration::ZERO);
    machine.next(&own, Duration::ZERO);
    machine.answered(1, tell(&source, &Ask::Blocks(vec![source[11].hash()]), Lie::None), &own, Duration::ZERO);
    assert!(matches!(machine.next(&own, Duration::ZERO)[..], [Effect::Offer(1, _)]));
    machine.done(1, Outcome::Unavailable("restarting".into()), Duration::ZERO);
    assert!(machine.next(&own, Duration::ZERO).is_empty());
    let again = machine.next(&own, Duration::from_secs(1));
    assert_eq!(again, [Effect::Ask(2, Ask::Header(source[11].hash()))]);
}

/// What is asked for until the executor is told that a head is invalid.
fn asked_for(machine: &mut Backfill, own: &mut Own, source: &[Block], head: B256) -> Vec<Ask> {
    machine.want(head);
    machine.begin_at = Duration::ZERO;
    let (before, mut asked) = (own.condemned.len(), Vec::new());
    while own.condemned.len() == before {
        let effects = machine.next(own, Duration::ZERO);
        assert!(!effects.is_empty(), "{machine:?}");
        for effect in effects {
            if let Effect::Ask(_, ask) = &effect {
                asked.push(ask.clone());
            }
            carry_out(effect, machine, own, source, Lie::None, Duration::ZERO);
        }
    }
    asked
}

#[test]
fn a_head_above_an_invalid_block_is_invalid_with_the_same_latest_valid_one() {
    let source = chain(40, 40, 1);
    let mut own = Own::new(source[..=10].to_vec(), 0);
    own.broken = Some(source[25].hash());
    let mut machine = Backfill::default();
    machine.want(source[40].hash());
    let events = run(&mut machine, &mut own, &source, std::iter::empty());
    let verdict = broken_above(source[24].hash());
    assert_eq!(events.last(), Some(&Event::Invalid { goal: source[40].hash(), verdict }), "{events:?}");
    assert_eq!(own.condemned, [(source[40].hash(), Some(source[24].hash()))]);
    assert_eq!(own.chain, source[..=24]);
    assert!(machine.progress().is_none() && machine.waits_for().is_none());
}

#[test]
fn the_wanted_head_itself_may_be_the_invalid_block() {
    let source = chain(11, 11, 1);
    let mut own = Own::new(source[..=10].to_vec(), 0);
    own.broken = Some(source[11].hash());
    let mut machine = Backfill::default();
    machine.want(source[11].hash());
    run(&mut machine, &mut own, &source, std::iter::empty());
    assert_eq!(own.condemned, [(source[11].hash(), Some(source[10].hash()))]);
}

#[test]
fn nothing_is_fetched_for_a_head_that_is_known_to_be_invalid() {
    let source = chain(400, 400, 1);
    let mut own = Own::new(source[..=10].to_vec(), 0);
    own.broken = Some(source[15].hash());
    let mut machine = Backfill::default();
    let first = asked_for(&mut machine, &mut own, &source, source[200].hash());
    assert!(first.iter().any(|ask| matches!(ask, Ask::Blocks(_))), "{first:?}");
    // The executor was not told, or has forgotten it.
    assert_eq!(asked_for(&mut machine, &mut own, &source, source[200].hash()), []);
    // One above it: headers down to it. One below it: down to the block that is invalid.
    for (wanted, headers) in [(300, 1), (400, 1), (150, 2)] {
        let asked = asked_for(&mut machine, &mut own, &source, source[wanted].hash());
        assert_eq!(asked.len(), 1 + headers, "{asked:?}");
        assert!(!asked.iter().any(|ask| matches!(ask, Ask::Blocks(_))), "{asked:?}");
    }
    let valid = Some(source[14].hash());
    let heads = [200, 200, 300, 400, 150].map(|number: usize| (source[number].hash(), valid));
    assert_eq!(own.condemned, heads);
    // Another instance of the executor knows nothing of this: its own word is asked for, which is another one here.
    machine.forget_verdicts();
    own.broken = None;
    machine.want(source[200].hash());
    machine.begin_at = Duration::ZERO;
    run(&mut machine, &mut own, &source, std::iter::empty());
    assert_eq!(own.chain, source[..=200]);
}

#[test]
fn a_newer_head_on_another_branch_is_gone_after_when_the_old_one_is_invalid() {
    let (bad, good) = (chain(30, 12, 1), chain(40, 12, 2));
    let mut own = Own::new(bad[..=10].to_vec(), 0);
    own.broken = Some(bad[20].hash());
    let mut machine = Backfill::default();
    machine.want(bad[30].hash());
    assert_eq!(machine.next(&own, Duration::ZERO).len(), 1);
    machine.want(good[40].hash());
    machine.answered(1, tell(&bad, &Ask::Header(bad[30].hash()), Lie::None), &own, Duration::ZERO);
    // The source has the one branch until that is condemned, and then the other.
    while own.condemned.is_empty() {
        for effect in machine.next(&own, Duration::ZERO) {
            carry_out(effect, &mut machine, &mut own, &bad, Lie::None, Duration::ZERO);
        }
    }
    assert_eq!(own.condemned, [(bad[30].hash(), Some(bad[19].hash()))]);
    let events = run(&mut machine, &mut own, &good, std::iter::empty());
    assert_eq!(events.last(), Some(&Event::Reached(at(&good[40]))), "{events:?}");
    assert_eq!(own.chain, good);
}

fn lies() -> impl Strategy<Value = Lie> {
    prop_oneof![
        6 => Just(Lie::None), 2 => Just(Lie::Silent), 1 => Just(Lie::Empty), 2 => Just(Lie::Short),
        1 => Just(Lie::Lacks), 1 => Just(Lie::OtherChain), 1 => Just(Lie::Wrong),
    ]
}

proptest! {
    /// Whatever the source says and wherever the chains part: it ends, every head that was taken is an ancestor of the wanted one, and
    /// with an honest source the wanted one is reached if it descends from what is final.
    #[test]
    fn it_ends_and_adopts_ancestors_of_the_wanted_head_only(
        length in 1u64..200, fork in 0u64..200, own in 0u64..200, finalized in 0u64..200,
        lies in prop::collection::vec(lies(), 0..40),
    ) {
        let source = chain(length, fork, 1);
        let own = chain(own, fork, 2);
        let finalized = finalized.min(own.len() as u64 - 1);
        let common = source.iter().zip(&own).filter(|(a, b)| a == b).count() as u64 - 1;
        let mut node = Own::new(own, finalized);
        let goal = source.last().unwrap().hash();
        let mut machine = Backfill::default();
        machine.want(goal);
        run(&mut machine, &mut node, &source, lies.into_iter());
        for head in &node.heads {
            prop_assert!(source.iter().any(|block| block.hash() == *head), "a head that nobody asked for");
        }
        machine.want(goal);
        machine.begin_at = Duration::ZERO;
        run(&mut machine, &mut node, &source, std::iter::empty());
        let is_there = node.chain.iter().any(|block| block.hash() == goal);
        prop_assert_eq!(is_there, finalized <= common || length <= common);
    }
}
