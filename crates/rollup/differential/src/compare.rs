//! One chain through both pipelines.

use crate::{
    departure::{Departure, Repairs},
    generate::{Fault, Generated},
    kona::{KonaCase, published, repaired},
    ours::Ours,
    record::Outcome,
};
use std::collections::BTreeMap;

/// What came of one chain.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// What the chain was about.
    pub focus: Fault,
    /// What was put into it.
    pub faults: BTreeMap<Fault, u64>,
    /// Attributes that were compared.
    pub attributes: usize,
    /// How many of them were replaced by their deposits.
    pub replaced: usize,
    /// Repairs that changed something.
    pub departures: BTreeMap<Departure, u64>,
    /// Does kona as published give something else than ours?
    pub published_differs: bool,
    /// What differs although all repairs are in place. This is a bug, of ours or of the list of departures.
    pub difference: Option<String>,
}

/// Runs both pipelines.
pub fn compare(generated: Generated) -> Verdict {
    let Generated { case, focus, faults, malformed } = generated;
    let ours = Ours::outcome(&case);
    let kona = KonaCase::new(case, malformed);
    let repairs = Repairs::default();
    let mended = repaired(&kona, &repairs);
    let departures = repairs.counts();
    let as_published = published(&kona);
    let mut difference = ours.difference(&mended);
    // Without a repair that changed something there is nothing that could excuse a difference.
    if departures.is_empty() && difference.is_none() {
        difference = ours.difference(&as_published).map(|difference| format!("as published: {difference}"));
    }
    Verdict {
        focus,
        faults,
        attributes: ours.records.len(),
        replaced: replaced(&ours),
        published_differs: ours.difference(&as_published).is_some(),
        departures,
        difference,
    }
}

/// Does kona give something else than ours with all repairs but this one?
pub fn shows(generated: Generated, departure: Departure) -> bool {
    let Generated { case, malformed, .. } = generated;
    let ours = Ours::outcome(&case);
    let kona = KonaCase::new(case, malformed);
    ours.difference(&repaired(&kona, &Repairs::without(departure))).is_some()
}

fn replaced(outcome: &Outcome) -> usize {
    outcome.records.iter().filter(|record| record.replaced).count()
}

/// Says nothing of the panics that are caught: those of kona are counted.
pub fn silence_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let kona = info.location().is_some_and(|at| {
            at.file().contains("kona-") || at.file().contains("/library/") || at.file().contains("bytes-")
        });
        if !kona {
            before(info);
        }
    }));
}
