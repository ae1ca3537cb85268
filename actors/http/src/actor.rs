//! The actor: takes the socket over, serves until told to stop.

use std::sync::Arc;

use duskevm_supervision::{Actor, Context};
use tokio::net::TcpListener;
use tracing::info;

use crate::error::HttpError;
use crate::server::{Limits, serve};
use crate::site::Site;
use crate::socket::Socket;

/// The HTTP server as an actor. It takes no messages: its clients come through the socket.
#[derive(Debug)]
pub struct Http {
    socket: Socket,
    site: Arc<Site>,
    limits: Limits,
}

impl Http {
    /// An instance that will serve `site` on `socket`. Every instance of the actor gets a clone of the same socket.
    pub fn new(socket: Socket, site: Arc<Site>, limits: Limits) -> Self {
        Self { socket, site, limits }
    }
}

impl Actor for Http {
    type Error = HttpError;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), HttpError> {
        let bind = |source| HttpError::Bind { address: self.socket.address(), source };
        let (listener, taken_over) = self.socket.take_over().map_err(bind)?;
        let listener = TcpListener::from_std(listener).map_err(bind)?;
        let address = self.socket.address();
        info!(%address, "metrics and health are served over HTTP");
        ctx.waiting(format!("HTTP requests on {address}"));
        // Listened to rather than piped: an orderly stop does not wait for slow clients.
        ctx.listen(serve(listener, self.site.clone(), self.limits, taken_over), |http, outcome, ctx| match outcome {
            Ok(()) => {
                ctx.stop();
                Ok(())
            }
            Err(error) => {
                // Whatever is wrong with the socket, the successor shall not inherit it.
                if let HttpError::Accept { .. } = error {
                    http.socket.close();
                }
                Err(error)
            }
        });
        Ok(())
    }

    fn stopping(&mut self, _ctx: &mut Context<Self>) {
        self.socket.release();
    }
}
