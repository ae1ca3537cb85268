//! Attestations of a round's iterations as they form.
