//! A listening socket that outlives the actor that uses it.
//!
//! An actor that hangs keeps its thread, and with it everything the thread has open. If the socket were the instance's own,
//! its successor could not bind the port again. So the socket stays here, each instance gets a duplicate, and taking it over
//! tells the instance before to let go.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// A listening address whose socket passes from one instance of an actor to the next. Clones are the same socket.
#[derive(Debug, Clone)]
pub struct Socket {
    shared: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// What to bind. A port 0 becomes the port that the first binding got, so that it stays the same from then on.
    address: SocketAddr,
    listener: Option<TcpListener>,
    /// Dropped when somebody else takes over.
    user: Option<watch::Sender<()>>,
}

/// Ends when the socket has passed to somebody else.
#[derive(Debug)]
pub(crate) struct TakenOver(watch::Receiver<()>);

impl TakenOver {
    pub(crate) async fn wait(&mut self) {
        // Nothing is ever sent: the channel closes.
        while self.0.changed().await.is_ok() {}
    }
}

impl Socket {
    /// A socket for the address; not yet bound. Port 0 takes a free one.
    pub fn new(address: SocketAddr) -> Self {
        Self { shared: Arc::new(Mutex::new(State { address, listener: None, user: None })) }
    }

    /// The address: the bound one, or the wanted one before that.
    pub fn address(&self) -> SocketAddr {
        self.shared.lock().address
    }

    /// Binds now, so that a taken port is known before anything is started. Without effect if already bound.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn bind(&self) -> io::Result<SocketAddr> {
        let mut state = self.shared.lock();
        state.bind()?;
        Ok(state.address)
    }

    /// Hands the socket to a new user and tells the one before to let go.
    pub(crate) fn take_over(&self) -> io::Result<(TcpListener, TakenOver)> {
        let mut state = self.shared.lock();
        state.user = None;
        let listener = state.bind()?.try_clone()?;
        let (user, taken) = watch::channel(());
        state.user = Some(user);
        Ok((listener, TakenOver(taken)))
    }

    /// Tells the present user to let go. The socket stays bound, so that clients of the next user wait instead of failing.
    pub(crate) fn release(&self) {
        self.shared.lock().user = None;
    }

    /// Tells the present user to let go, and closes the socket for everybody: the next user binds it anew.
    pub(crate) fn close(&self) {
        let mut state = self.shared.lock();
        state.user = None;
        if let Some(listener) = state.listener.take() {
            // A duplicate in a hung thread would keep the port taken. Shutting the socket down, which the standard library
            // offers for streams only, ends the listening whoever has it open.
            let _ = TcpStream::from(OwnedFd::from(listener)).shutdown(Shutdown::Both);
        }
    }
}

impl State {
    fn bind(&mut self) -> io::Result<&TcpListener> {
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => {
                let listener = TcpListener::bind(self.address)?;
                // Set once here: duplicates share the flag.
                listener.set_nonblocking(true)?;
                self.address = listener.local_addr()?;
                listener
            }
        };
        Ok(self.listener.insert(listener))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> Socket {
        Socket::new(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    #[test]
    fn a_closed_socket_is_bound_again_although_a_zombie_still_holds_it() {
        let socket = any();
        let (zombie, _) = socket.take_over().unwrap();
        let address = socket.address();
        socket.close();
        TcpStream::connect(address).expect_err("nobody listens");
        let (listener, _) = socket.take_over().unwrap();
        assert_eq!(listener.local_addr().unwrap(), address);
        let _client = TcpStream::connect(address).unwrap();
        assert!(zombie.accept().is_err(), "the old duplicate must not take the client");
        // Non-blocking, and the client is in the queue already.
        listener.accept().unwrap();
    }

    #[test]
    fn taking_over_tells_the_one_before() {
        let socket = any();
        let (_, first) = socket.take_over().unwrap();
        assert!(first.0.has_changed().is_ok());
        let (_, second) = socket.take_over().unwrap();
        assert!(first.0.has_changed().is_err(), "the first is told by its channel closing");
        assert!(second.0.has_changed().is_ok());
    }

    #[test]
    fn clients_wait_while_nobody_has_the_socket() {
        let socket = any();
        let address = socket.bind().unwrap();
        let _early = TcpStream::connect(address).unwrap();
        let (listener, _) = socket.take_over().unwrap();
        listener.accept().unwrap();
    }
}
