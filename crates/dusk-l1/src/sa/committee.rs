//! Committees of a round's steps, their bits and credits.
