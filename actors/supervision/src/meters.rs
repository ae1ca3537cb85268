//! The metrics of all actors: described once, zeroed at start, so that no series is missing on a dashboard.

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::DeathCause;

const UP: &str = "duskevm_actor_up";
const RESTARTS: &str = "duskevm_actor_restarts_total";
const DEPTH: &str = "duskevm_actor_mailbox_depth";
const SECONDS: &str = "duskevm_actor_handle_seconds";
const ABANDONED: &str = "duskevm_actor_abandoned_threads";

/// Describes the metrics to the recorder that is installed.
pub(crate) fn describe() {
    describe_gauge!(UP, "1 while the actor takes messages, else 0");
    describe_counter!(RESTARTS, "Replacements of the actor, by the cause of the end of the instance replaced");
    describe_gauge!(DEPTH, "Messages waiting in the actor's mailbox, sampled");
    describe_histogram!(SECONDS, Unit::Seconds, "Time a message held the actor's thread, by message");
    describe_gauge!(ABANDONED, "Threads of hung instances that were abandoned and have not ended");
}

/// Handles for the gauges of one actor.
#[derive(Debug)]
pub(crate) struct Meters {
    actor: String,
    pub(crate) up: Gauge,
    pub(crate) depth: Gauge,
    pub(crate) abandoned: Gauge,
}

impl Meters {
    pub(crate) fn new(actor: &str) -> Self {
        let meters = Self {
            actor: actor.to_owned(),
            up: gauge!(UP, "actor" => actor.to_owned()),
            depth: gauge!(DEPTH, "actor" => actor.to_owned()),
            abandoned: gauge!(ABANDONED, "actor" => actor.to_owned()),
        };
        meters.up.set(0.0);
        meters.depth.set(0.0);
        meters.abandoned.set(0.0);
        for cause in DeathCause::LABELS {
            meters.restarts(cause).absolute(0);
        }
        meters
    }

    pub(crate) fn restarts(&self, cause: &'static str) -> Counter {
        counter!(RESTARTS, "actor" => self.actor.clone(), "cause" => cause)
    }
}

/// The histogram of one actor and message: looked up once per instance, because a look-up costs more than a message.
pub(crate) fn handle_seconds(actor: &str, message: &'static str) -> Histogram {
    histogram!(SECONDS, "actor" => actor.to_owned(), "message" => message)
}
