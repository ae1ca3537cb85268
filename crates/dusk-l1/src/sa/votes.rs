//! Votes of one step: counted, aggregated, and caught when they conflict.
