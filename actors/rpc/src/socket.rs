//! A listening socket that outlives the instances of its actor.
//!
//! The system goes on queueing connections for it while an instance is replaced, and a hung instance cannot keep the port: each
//! instance accepts from its own handle of the same socket.

use parking_lot::Mutex;
use std::{io, net::SocketAddr, sync::Arc};
use tokio::net::{TcpListener, TcpSocket};

/// Connections that the system may hold until we accept them.
const BACKLOG: u32 = 1024;

/// An address to listen on; bound when it is first needed and kept until the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Socket {
    wanted: SocketAddr,
    bound: Arc<Mutex<Option<std::net::TcpListener>>>,
}

impl Socket {
    /// A socket for this address, not bound yet. Port 0 takes any free port.
    pub fn new(address: SocketAddr) -> Self {
        Self { wanted: address, bound: Arc::new(Mutex::new(None)) }
    }

    /// The address that it is bound to, with the real port; `None` before the first start of its server.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.bound.lock().as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// A handle to accept from. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// If the port is taken, or the address is not one of this machine.
    pub(crate) fn listener(&self) -> io::Result<TcpListener> {
        let mut bound = self.bound.lock();
        if let Some(listener) = &*bound {
            return TcpListener::from_std(listener.try_clone()?);
        }
        let socket = if self.wanted.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Connections of a process before, in TIME_WAIT, do not keep the port.
        socket.set_reuseaddr(true)?;
        socket.bind(self.wanted)?;
        let listener = socket.listen(BACKLOG)?.into_std()?;
        let handle = TcpListener::from_std(listener.try_clone()?)?;
        *bound = Some(listener);
        Ok(handle)
    }

    /// The address that was asked for.
    pub const fn wanted(&self) -> SocketAddr {
        self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn a_second_handle_accepts_what_came_while_nobody_did() {
        let socket = Socket::new(SocketAddr::from(([127, 0, 0, 1], 0)));
        assert_eq!(socket.local_addr(), None);
        drop(socket.listener().unwrap());
        let address = socket.local_addr().unwrap();
        // No instance is up, and the connection is not refused.
        let client = TcpStream::connect(address).await.unwrap();
        let (_, peer) = socket.listener().unwrap().accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error() {
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = Socket::new(other.local_addr().unwrap());
        assert_eq!(socket.listener().unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
