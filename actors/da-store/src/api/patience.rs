//! A connection that does not wait for ever for a client that takes nothing.
//!
//! The blobs of an answer are in memory until they are written. Without this a few clients that ask for blobs and never read would
//! keep everybody else from them for as long as a connection may last.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A client must take at least this many bytes in a second once its patience is used up: one that takes a byte now and then
/// holds as much as one that takes none.
const LEAST_PER_SECOND: u64 = 65_536;

/// A connection whose writes fail once they have stood still for too long.
#[derive(Debug)]
pub(crate) struct Patient<S> {
    inner: S,
    /// How long a client may take nothing.
    patience: Duration,
    /// How long writes may still wait; what the client takes adds to it, up to `patience`.
    left: Duration,
    /// Since when a write waits, and the timer that ends the waiting.
    stalled: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<S> Patient<S> {
    /// `patience` is how long a client may take nothing of an answer.
    pub(crate) const fn new(inner: S, patience: Duration) -> Self {
        Self { inner, patience, left: patience, stalled: None }
    }

    /// Notes whether a write went through.
    fn note(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = outcome {
            if let Some((since, _)) = self.stalled.take() {
                self.left = self.left.saturating_sub(since.elapsed());
            }
            if let Ok(written) = &written {
                let earned = (*written as u64).saturating_mul(1_000_000) / LEAST_PER_SECOND;
                self.left = self.left.saturating_add(Duration::from_micros(earned)).min(self.patience);
            }
            return Poll::Ready(written);
        }
        let left = self.left;
        let (_, timer) = self.stalled.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        timer.as_mut().poll(context).map(|()| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the client reads too slowly: nothing was taken for {left:?}"),
            ))
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (mut client, server) = duplex(4);
        let mut connection = Patient::new(server, Duration::from_millis(50));
        client.write_all(b"abc").await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), b'a');
        // Four bytes fit.
        let error = connection.write_all(&[0; 5]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = connection.write_vectored(&[io::IoSlice::new(&[0])]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn the_waits_of_a_client_that_takes_its_answer_do_not_add_up() {
        let (mut client, server) = duplex(16 * 1024);
        let mut connection = Patient::new(server, Duration::from_millis(500));
        let reading = tokio::spawn(async move {
            // Each piece earns a quarter of a second, which is far more than it takes.
            let mut piece = [0; 16 * 1024];
            while client.read_exact(&mut piece).await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        });
        connection.write_all(&[0; 60 * 16 * 1024]).await.unwrap();
        reading.abort();
    }

    #[tokio::test]
    async fn a_client_that_takes_a_byte_now_and_then_is_given_up() {
        let (mut client, server) = duplex(4);
        let mut connection = Patient::new(server, Duration::from_millis(200));
        let reading = tokio::spawn(async move {
            while client.read_u8().await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        });
        // At its pace this would take 20 seconds, and no wait is as long as the patience.
        let error = connection.write_all(&[0; 1000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        reading.abort();
    }
}
