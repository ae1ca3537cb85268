//! What clients send, from its bytes to the journal.
//!
//! Checking blobs costs a thousand times what anybody pays to send them, and everybody may send what is on L1 already. So everything that
//! needs no blob is asked first: of the bytes, then of the pool. Only what would be taken but for its blobs gets a place among those
//! whose blobs are checked, one after the other; after that the pool is asked again. Of several copies that come together only the first
//! one is checked: the others are known by then.

use crate::{
    actor::CarrierActor,
    error::CarrierError,
    ingress::{CHECKING, READING},
    l1::next_nonce,
    metrics,
};
use alloy_primitives::B256;
use duskevm_carrier_core::{Candidate, Envelope, Refusal};
use duskevm_messages::carrier::{Carry, CarryRefusal};
use duskevm_supervision::{Context, Handle, Reply, Responder};

type Answer = Result<B256, CarryRefusal>;

impl Handle<Carry> for CarrierActor {
    fn handle(&mut self, msg: Carry, ctx: &mut Context<Self>) -> Result<Reply<Carry>, CarrierError> {
        if self.reading >= READING {
            return Ok(Reply::Now(Err(CarryRefusal::Busy(self.reading))));
        }
        self.reading += 1;
        let (reply, responder): (_, Responder<Carry>) = Reply::deferred();
        let (ports, settings) = (self.ports.clone(), self.settings.clone());
        let places = settings.workers.read.clone();
        let read = async move {
            // The semaphore is never closed; without a permit the work is done all the same.
            let permit = places.acquire_owned().await;
            let rules = settings.clone();
            let read = tokio::task::spawn_blocking(move || {
                let read = Candidate::read(&msg.raw, &rules.rules.rules);
                drop((permit, msg));
                read
            });
            let candidate = match read.await {
                Ok(Ok(candidate)) => candidate,
                Ok(Err(refusal)) => return Ok(Err(CarryRefusal::Refused(refusal))),
                Err(died) => return Err(CarrierError::Worker(died.to_string())),
            };
            Ok(match next_nonce(&ports, &settings.keys, candidate.sender()).await {
                Ok(next) => Ok((candidate, next)),
                Err(error) => Err(CarryRefusal::L1(error.to_string())),
            })
        };
        ctx.pipe(read, move |me, read, ctx| {
            me.reading -= 1;
            match read? {
                Ok((candidate, next)) => me.queue(candidate, next, responder, ctx),
                Err(refusal) => me.answer(responder, Err(refusal)),
            }
            Ok(())
        });
        Ok(reply)
    }
}

impl CarrierActor {
    /// Lets a transaction wait until its blobs can be checked, if it would be taken.
    fn queue(&mut self, candidate: Candidate, next: u64, responder: Responder<Carry>, ctx: &mut Context<Self>) {
        if let Err(refusal) = self.carrier.check(&candidate, next) {
            self.answer(responder, Err(refusal.into()));
            return;
        }
        if self.checking >= CHECKING {
            self.answer(responder, Err(CarryRefusal::Busy(self.checking)));
            return;
        }
        self.checking += 1;
        ctx.pipe(self.settings.workers.check.clone().acquire_owned(), move |me, permit, ctx| {
            // Those before it were taken meanwhile.
            if let Err(refusal) = me.carrier.check(&candidate, next) {
                me.checking -= 1;
                me.answer(responder, Err(refusal.into()));
                return Ok(());
            }
            let (ports, keys) = (me.ports.clone(), me.settings.keys.clone());
            let checked = async move {
                // The permit is with the worker, which may outlive this instance, and comes back with the envelope: the next one has
                // its turn when this one is taken.
                let checked = tokio::task::spawn_blocking(move || (candidate.check_blobs(), permit));
                let (envelope, permit) = match checked.await {
                    Ok((Ok(envelope), permit)) => (envelope, permit),
                    Ok((Err(refusal), _)) => return Ok(Err(CarryRefusal::Refused(refusal))),
                    Err(died) => return Err(CarrierError::Worker(died.to_string())),
                };
                // It may have moved on by now.
                Ok(match next_nonce(&ports, &keys, envelope.sender()).await {
                    Ok(next) => Ok((envelope, next, permit)),
                    Err(error) => Err(CarryRefusal::L1(error.to_string())),
                })
            };
            ctx.pipe(checked, move |me, checked, ctx| {
                me.checking -= 1;
                let answer = match checked? {
                    Ok((envelope, next, permit)) => {
                        let taken = me.take(envelope, next, ctx)?;
                        drop(permit);
                        taken.map_err(CarryRefusal::Refused)
                    }
                    Err(refusal) => Err(refusal),
                };
                me.answer(responder, answer);
                Ok(())
            });
            Ok(())
        });
    }

    /// Takes a checked envelope.
    fn take(
        &mut self,
        envelope: Envelope,
        next: u64,
        ctx: &Context<Self>,
    ) -> Result<Result<B256, Refusal>, CarrierError> {
        let hash = envelope.hash();
        let records = match self.carrier.take(envelope, next) {
            Ok(records) => records,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.journal.write(&records, &self.carrier, ctx.fence())?;
        self.publish();
        self.news.notify_one();
        Ok(Ok(hash))
    }

    fn answer(&self, responder: Responder<Carry>, answer: Answer) {
        metrics::envelopes(if answer.is_ok() { "taken" } else { "refused" });
        metrics::load(self.carrier.load());
        match &answer {
            Ok(hash) => tracing::info!(%hash, "a transaction to the batch inbox is carried to Dusk"),
            Err(refusal) => tracing::debug!(%refusal, "a transaction to the batch inbox is refused"),
        }
        responder.send(answer);
    }
}
