//! The consensus as a machine: events in, actions out.
