//! A connection that takes no requests while its answers are not taken.
//!
//! The WebSocket layer starts a task for each message and lets them wait for room to answer. Without this a client that asks and
//! never reads would fill the memory, and one that reads a byte now and then would keep it full.

use crate::connection::Connection;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// A client must take at least this many bytes in a second, once its patience is used up; more, if more is owed to it.
const LEAST_PER_SECOND: f64 = 65_536.0;

/// Reads only while writes go through and the connection has not too much in hand; fails once writes have stood still for too long.
#[derive(Debug)]
pub(crate) struct Throttled<S> {
    inner: S,
    connection: Arc<Connection>,
    patience: Duration,
    /// How long writes may still wait; what the client takes adds to it, up to `patience`.
    left: Duration,
    /// Since when a write waits, and the timer that ends the waiting.
    stalled: Option<(Instant, Pin<Box<Sleep>>)>,
    /// The reader that waits for the writer.
    reader: Option<Waker>,
    /// A write failed, or took too long. Then the reader fails as well: the WebSocket layer keeps the connection until it does.
    broken: bool,
}

impl<S> Throttled<S> {
    /// `patience` is how long a client may take nothing of an answer. What is owed to it must be taken within twice that time.
    pub(crate) const fn new(inner: S, connection: Arc<Connection>, patience: Duration) -> Self {
        Self { inner, connection, patience, left: patience, stalled: None, reader: None, broken: false }
    }

    /// Notes whether a write went through.
    fn note(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = outcome {
            if let Some((since, _)) = self.stalled.take() {
                self.left = self.left.saturating_sub(since.elapsed());
            }
            match &written {
                Ok(written) => {
                    // The patience itself comes on top. A pace by what is left now would fall with it, and be slow at the end.
                    let pace = self.connection.unsent().peak() as f64 / self.patience.as_secs_f64();
                    let earned = *written as f64 / pace.max(LEAST_PER_SECOND);
                    self.left = self.left.saturating_add(Duration::from_secs_f64(earned)).min(self.patience);
                    self.connection.settle(*written);
                }
                Err(_) => self.break_off(),
            }
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
            return Poll::Ready(written);
        }
        let left = self.left;
        let (_, timer) = self.stalled.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        timer.as_mut().poll(context).map(|()| {
            self.break_off();
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the client reads too slowly: nothing was taken for {left:?}"),
            ))
        })
    }

    /// Nothing goes to the client any more.
    fn break_off(&mut self) {
        self.broken = true;
        self.connection.break_off();
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn check(&self) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "answers do not reach the client any more"));
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Throttled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        if self.stalled.is_some() {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        if !self.connection.may_read(context) {
            return Poll::Pending;
        }
        let outcome = Pin::new(&mut self.inner).poll_read(context, buffer);
        if matches!(outcome, Poll::Ready(Err(_))) {
            self.break_off();
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Throttled<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        let outcome = Pin::new(&mut self.inner).poll_write(context, data);
        self.note(context, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(context, data);
        self.note(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unsent::Unsent;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split},
        time::timeout,
    };

    fn throttled(server: DuplexStream, patience: Duration) -> Throttled<DuplexStream> {
        Throttled::new(server, Connection::new(&Unsent::new(1000), 8, 1000, None), patience)
    }

    #[tokio::test]
    async fn requests_wait_while_answers_are_not_taken() {
        let (mut client, server) = duplex(4);
        let (mut reader, mut writer) = split(throttled(server, Duration::from_secs(60)));
        client.write_all(b"abc").await.unwrap();
        assert_eq!(reader.read_u8().await.unwrap(), b'a');
        // Four bytes fit, the fifth waits for the client.
        let mut answer = Box::pin(writer.write_all(b"12345"));
        assert!(futures::poll!(&mut answer).is_pending());
        let mut request = Box::pin(reader.read_u8());
        assert!(futures::poll!(&mut request).is_pending(), "a request was read although there is no room to answer");
        let mut taken = [0; 4];
        client.read_exact(&mut taken).await.unwrap();
        answer.await.unwrap();
        assert_eq!(request.await.unwrap(), b'b');
    }

    #[tokio::test]
    async fn a_client_that_never_reads_is_given_up() {
        let (mut client, server) = duplex(4);
        let unsent = Unsent::new(1000);
        let connection = Connection::new(&unsent, 8, 1000, None);
        let (mut reader, mut writer) = split(Throttled::new(server, connection.clone(), Duration::from_millis(30)));
        client.write_all(b"abc").await.unwrap();
        connection.owe(5000, connection.unsent().share());
        let mut question = Box::pin(reader.read_u8());
        assert!(futures::poll!(&mut question).is_pending(), "it takes questions although it owes too much");
        let error = writer.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // Who reads learns it, and nothing is owed any more.
        let error = timeout(Duration::from_secs(10), question).await.expect("the reader was not woken").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(unsent.bytes(), 0);
        assert_eq!(writer.write_all(&[0]).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_reader_learns_that_the_client_is_gone() {
        let (mut client, server) = duplex(4);
        let (mut reader, mut writer) = split(throttled(server, Duration::from_secs(60)));
        client.write_all(b"abc").await.unwrap();
        let mut answer = Box::pin(writer.write_all(b"12345"));
        assert!(futures::poll!(&mut answer).is_pending());
        let mut question = Box::pin(reader.read_u8());
        assert!(futures::poll!(&mut question).is_pending());
        drop(client);
        assert!(answer.await.is_err());
        let error = timeout(Duration::from_secs(10), question).await.expect("the reader was not woken").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn who_is_owed_much_must_read_fast() {
        for (owed, survives) in [(0, true), (100 << 20, false)] {
            let (mut client, server) = duplex(16 * 1024);
            let connection = Connection::new(&Unsent::new(1 << 30), 8, 1 << 30, None);
            let patience = Duration::from_millis(500);
            let mut owes = connection.unsent().share();
            owes.grow(owed).unwrap();
            let (_, mut writer) = split(Throttled::new(server, connection, patience));
            let reading = tokio::spawn(async move {
                // Each piece earns a quarter of a second if little is owed, which is far more than it takes.
                let mut piece = [0; 16 * 1024];
                while client.read_exact(&mut piece).await.is_ok() {
                    sleep(Duration::from_millis(20)).await;
                }
            });
            assert_eq!(writer.write_all(&[0; 60 * 16 * 1024]).await.is_ok(), survives, "{owed} bytes are owed");
            reading.abort();
        }
    }

    #[tokio::test]
    async fn a_client_that_reads_a_byte_now_and_then_is_given_up() {
        let (mut client, server) = duplex(4);
        let patience = Duration::from_millis(200);
        let (_, mut writer) = split(throttled(server, patience));
        let reading = tokio::spawn(async move {
            while client.read_u8().await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        });
        // At its pace this would take 20 seconds, and no wait is as long as the patience.
        let error = writer.write_all(&[0; 1000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        reading.abort();
    }
}
