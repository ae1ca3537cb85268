//! A listening socket that outlives the actor that uses it.
//!
//! A hung actor keeps its thread, and with it everything the thread has open; its successor could not bind the port again. So
//! the socket stays here and each instance gets a duplicate. An instance that was replaced does not touch its duplicate any
//! more (see `server::accept`).
//!
//! Its connections are open in its thread as well, and nobody there answers or closes them: a client that knows no time limit, as
//! kona-node, would wait for ever. So a duplicate of each connection stays here too, and the next instance ends them.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
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
    /// Open ones, of whichever instance.
    connections: HashMap<u64, TcpStream>,
    accepted: u64,
}

/// A connection that the next instance ends, as long as this lives.
#[derive(Debug)]
pub(crate) struct Held {
    state: Arc<Mutex<State>>,
    number: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.state.lock().connections.remove(&self.number);
    }
}

impl Socket {
    /// A socket for the address; not yet bound. Port 0 takes a free one.
    pub fn new(address: SocketAddr) -> Self {
        let (connections, accepted) = (HashMap::new(), 0);
        Self { state: Arc::new(Mutex::new(State { address, listener: None, connections, accepted })) }
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

    /// A duplicate to accept from, for a new instance. The connections of those before it end.
    pub(crate) fn take_over(&self) -> io::Result<TcpListener> {
        let connections = std::mem::take(&mut self.state.lock().connections);
        for connection in connections.into_values() {
            // One that has ended by itself is what was wanted.
            let _ = connection.shutdown(Shutdown::Both);
        }
        self.duplicate()
    }

    /// Notes a connection, until what it returns is dropped.
    ///
    /// # Errors
    /// If there are no more file descriptors.
    pub(crate) fn hold(&self, stream: &impl AsFd) -> io::Result<Held> {
        let duplicate = TcpStream::from(stream.as_fd().try_clone_to_owned()?);
        let mut state = self.state.lock();
        state.accepted = state.accepted.wrapping_add(1);
        let number = state.accepted;
        state.connections.insert(number, duplicate);
        Ok(Held { state: Arc::clone(&self.state), number })
    }

    fn duplicate(&self) -> io::Result<TcpListener> {
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
