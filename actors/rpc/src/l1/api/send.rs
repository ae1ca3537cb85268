//! Transactions to L1: those to the batch inbox are handed to the carrier, which brings them to Dusk and pays for them.

use super::L1Api;
use crate::{api::Registry, error::RpcError, l1::CarrierPorts};
use alloy_primitives::{B256, Bytes};
use duskevm_carrier_core::{Envelope, Refusal};
use duskevm_messages::carrier::{Carry, CarryRefusal};
use duskevm_supervision::AskError;
use std::{sync::Arc, time::Duration};

/// How long one try to hand over a transaction may take. Clients give up after 10 to 30 seconds.
const SUBMIT_BOUND: Duration = Duration::from_secs(8);
/// How often it is tried while the carrier is being restarted.
const TRIES: usize = 3;

pub(super) fn register(registry: &mut Registry<L1Api>) {
    registry.future("eth_sendRawTransaction", |api, mut args| async move {
        let raw: Bytes = args.required()?;
        args.end()?;
        let Some(carrier) = api.carrier.clone() else {
            return Err(RpcError::server(
                "this node does not carry transactions to Dusk: its operator switches that on with `actors.carrier = true` and a Dusk account in `keys.carrier_account`; others send Dusk transactions with `duskevm l1 submit`, or deposits with `duskevm bridge deposit`",
            ));
        };
        carry(&api, &carrier, raw).await
    });
}

/// Hands a transaction over. It is durable when its hash comes back.
async fn carry(api: &Arc<L1Api>, carrier: &CarrierPorts, raw: Bytes) -> Result<B256, RpcError> {
    let mut tries = 1;
    loop {
        match carrier.carry.ask_within(Carry { raw: raw.clone() }, SUBMIT_BOUND).await {
            Ok(Ok(hash)) => return Ok(hash),
            // Perhaps the carrier died after it had taken what we handed over before: then this very transaction waits, or has landed.
            Ok(Err(CarryRefusal::Refused(refusal @ (Refusal::Known | Refusal::NonceTooLow { .. })))) if tries > 1 => {
                return match Envelope::hash_of(&raw) {
                    Some(hash) if is_here(api, carrier, hash).await? => Ok(hash),
                    _ => Err(RpcError::server(refusal)),
                };
            }
            Ok(Err(refusal)) => return Err(RpcError::server(refusal)),
            Err(AskError::Full { .. }) => return Err(RpcError::Busy("transactions")),
            Err(AskError::Died { .. }) if tries < TRIES => tries += 1,
            Err(error) => return Err(RpcError::server(format!("the carrier is not available: {error}"))),
        }
    }
}

/// Is a transaction carried, or in the view?
async fn is_here(api: &Arc<L1Api>, carrier: &CarrierPorts, hash: B256) -> Result<bool, RpcError> {
    if carrier.get(&hash).is_some() {
        return Ok(true);
    }
    let shown = api.reads.run({
        let api = api.clone();
        move |_| Ok(api.view.transaction(hash)?.is_some())
    });
    shown.await
}
