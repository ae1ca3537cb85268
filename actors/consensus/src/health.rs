//! Why this actor does not work in full: said in its lease, and so on `/readyz`.

use std::collections::BTreeMap;

use duskevm_supervision::Context;

use crate::actor::Consensus;

/// What can be wrong; several may be at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// Another node signs with this node's key.
    Twin,
    /// No room on the disk.
    Disk,
    /// The machine's clock is wrong.
    Clock,
}

/// Everything that is wrong.
#[derive(Debug, Default)]
pub(crate) struct Troubles(BTreeMap<Trouble, String>);

impl Troubles {
    /// Notes or clears one. Gives all of them as one sentence if that changed anything.
    fn set(&mut self, which: Trouble, why: Option<String>) -> Option<Option<String>> {
        let before = match &why {
            Some(why) => self.0.insert(which, why.clone()),
            None => self.0.remove(&which),
        };
        (before != why).then(|| self.text())
    }

    fn text(&self) -> Option<String> {
        let all: Vec<&str> = self.0.values().map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

impl Consensus {
    /// Says that something is wrong, or not any more.
    pub(crate) fn trouble(&mut self, which: Trouble, why: Option<String>, ctx: &mut Context<Self>) {
        match self.troubles.set(which, why) {
            Some(Some(all)) => ctx.degraded(all),
            Some(None) => ctx.healthy(),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_trouble_that_ends_does_not_hide_another() {
        let mut troubles = Troubles::default();
        let set = |troubles: &mut Troubles, which, why: Option<&str>| troubles.set(which, why.map(str::to_owned));
        assert_eq!(set(&mut troubles, Trouble::Disk, None), None);
        assert_eq!(set(&mut troubles, Trouble::Disk, Some("full")), Some(Some("full".to_owned())));
        assert_eq!(set(&mut troubles, Trouble::Disk, Some("full")), None, "nothing new");
        assert_eq!(set(&mut troubles, Trouble::Twin, Some("two")), Some(Some("two; full".to_owned())));
        assert_eq!(set(&mut troubles, Trouble::Disk, None), Some(Some("two".to_owned())));
        assert_eq!(set(&mut troubles, Trouble::Twin, None), Some(None));
    }
}
