//! The embedded Dusk L1 as the admin server sees it: ports to its actor, which survive its restarts.

use crate::error::RpcError;
use duskevm_messages::{
    consensus::{
        GetConsensusState, GetDuskAccount, GetDuskTransaction, GetProvisioners, ReadDuskContract, SubmitDuskTransaction,
    },
    l1::ViewTransaction,
};
use duskevm_supervision::{Actor, AskError, Handle, Message, Port, Ref};
use std::time::Duration;

/// How long a question may take, restarts of the actor included. Below what the command line waits.
const BOUND: Duration = Duration::from_secs(5);

/// The ways to the Dusk L1 that this program runs.
#[derive(Debug, Clone)]
pub struct DuskPorts {
    /// Takes transactions.
    pub submit: Port<SubmitDuskTransaction>,
    /// An account.
    pub account: Port<GetDuskAccount>,
    /// What became of a transaction.
    pub transaction: Port<GetDuskTransaction>,
    /// All stakes.
    pub provisioners: Port<GetProvisioners>,
    /// Where the consensus stands.
    pub state: Port<GetConsensusState>,
    /// What a native contract answers.
    pub read: Port<ReadDuskContract>,
    /// A transaction in the L1 view.
    pub view: Port<ViewTransaction>,
}

impl DuskPorts {
    /// All ports of the actor that runs the L1, and of the one that shows its view.
    pub fn of<A, V>(actor: &Ref<A>, view: &Ref<V>) -> Self
    where
        A: Actor
            + Handle<SubmitDuskTransaction>
            + Handle<GetDuskAccount>
            + Handle<GetDuskTransaction>
            + Handle<GetProvisioners>
            + Handle<GetConsensusState>
            + Handle<ReadDuskContract>,
        V: Actor + Handle<ViewTransaction>,
    {
        Self {
            submit: actor.port(),
            account: actor.port(),
            transaction: actor.port(),
            provisioners: actor.port(),
            state: actor.port(),
            read: actor.port(),
            view: view.port(),
        }
    }
}

/// Asks the L1, which may be restarting.
pub(crate) async fn ask<M: Message + Clone>(port: &Port<M>, message: M) -> Result<M::Reply, RpcError> {
    port.ask_retry(message, BOUND).await.map_err(|error| match error {
        AskError::Full { .. } => RpcError::Busy("questions to the L1"),
        other => RpcError::Server(format!("the L1 is not available: {other}")),
    })
}
