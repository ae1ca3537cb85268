//! A listening socket that outlives the actor that uses it.
//!
//! A hung actor keeps its thread, and with it everything the thread has open; its successor could not bind the port again. So
//! the socket stays here and each instance gets a duplicate. An instance that was replaced does not touch its duplicate any
//! more (see `server::accept`).

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use parking_lot::Mutex;

/// A listening address whose socket passes from one instance of the server to the next. Clones are the same socket.
#[derive(Debug, Clone)]
pub struct Socket {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// What to bind. A port 0 becomes the port that the first binding got.
    address: SocketAddr,
    listener: Option<TcpListener>,
}

impl Socket {
    /// A socket for the address; not yet bound. Port 0 takes a free one.
    pub fn new(address: SocketAddr) -> Self {
        Self { state: Arc::new(Mutex::new(State { address, listener: None })) }
    }

    /// The address: the bound one, or the wanted one before that.
    pub fn address(&self) -> SocketAddr {
        self.state.lock().address
    }

    /// Binds now, so that a taken port is known before anything is started. Without effect if already bound.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn bind(&self) -> io::Result<SocketAddr> {
        self.duplicate()?;
        Ok(self.address())
    }

    /// A duplicate to accept from.
    pub(crate) fn duplicate(&self) -> io::Result<TcpListener> {
        let mut state = self.state.lock();
        if let Some(listener) = &state.listener {
            return listener.try_clone();
        }
        let listener = TcpListener::bind(state.address)?;
        // Duplicates share the flag.
        listener.set_nonblocking(true)?;
        state.address = listener.local_addr()?;
        let duplicate = listener.try_clone()?;
        state.listener = Some(listener);
        Ok(duplicate)
    }

    /// Forgets a socket that turned out to be broken: the next user binds the address anew.
    pub(crate) fn forget(&self) {
        self.state.lock().listener = None;
    }
}
