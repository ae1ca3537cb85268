//! Who may vote: stakes at a round.
