//! The server as an actor.

use std::sync::Arc;

use duskevm_supervision::{Actor, ChildSpec, Context, Ref};
use tokio::net::TcpListener;
use tracing::info;

use super::server::{ApiLimits, serve};
use super::service::{ApiWiring, Service};
use super::socket::Socket;
use crate::error::ApiError;

/// How the actor is made and supervised.
pub fn api_spec(actor: &Ref<BlobApi>, socket: Socket, limits: ApiLimits, wiring: ApiWiring) -> ChildSpec<BlobApi> {
    ChildSpec::new(actor, move |_| Ok(BlobApi { socket: socket.clone(), limits, wiring: wiring.clone() }))
}

/// The HTTP server of the blob APIs. It takes no messages: its clients come through the socket.
#[derive(Debug)]
pub struct BlobApi {
    socket: Socket,
    limits: ApiLimits,
    wiring: ApiWiring,
}

impl Actor for BlobApi {
    type Error = ApiError;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), ApiError> {
        let bind = |source| ApiError::Bind { address: self.socket.address(), source };
        let listener = TcpListener::from_std(self.socket.take_over().map_err(bind)?).map_err(bind)?;
        let address = self.socket.address();
        info!(%address, "blobs are served over HTTP");
        ctx.waiting(format!("requests for blobs on {address}"));
        let service = Arc::new(Service::new(self.wiring.clone(), self.limits));
        let lease = ctx.lease();
        // Listened to rather than piped: an orderly stop does not wait for slow clients.
        let socket = self.socket.clone();
        ctx.listen(serve(listener, socket, move || lease.is_over(), service, self.limits), |me, outcome, ctx| {
            match outcome {
                Ok(()) => ctx.stop(),
                Err(error) => {
                    if let ApiError::Accept { .. } = error {
                        me.socket.forget();
                    }
                    return Err(error);
                }
            }
            Ok(())
        });
        Ok(())
    }
}
