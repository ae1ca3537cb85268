//! A connection that takes no requests while its answers are not taken.
//!
//! The WebSocket layer starts a task for each message and lets them wait for room to answer. Without this a client that asks and
//! never reads would fill the memory.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// Reads only while writes go through, and fails once a write has stood still for too long.
#[derive(Debug)]
pub(crate) struct Throttled<S> {
    inner: S,
    patience: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    /// The reader that waits for the writer.
    reader: Option<Waker>,
}

impl<S> Throttled<S> {
    /// `patience` is how long a client may take nothing of an answer.
    pub(crate) const fn new(inner: S, patience: Duration) -> Self {
        Self { inner, patience, stalled: None, reader: None }
    }

    /// Notes whether a write went through.
    fn note<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
            return outcome;
        }
        let patience = self.patience;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        match timer.as_mut().poll(context) {
            Poll::Ready(()) => {
                let since = Instant::now().saturating_duration_since(timer.deadline()) + patience;
                Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("the client has read nothing for {since:?}"),
                )))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Throttled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.stalled.is_some() {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Throttled<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(context, data);
        self.note(context, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(context);
        self.note(context, outcome)
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex, split};

    #[tokio::test]
    async fn requests_wait_while_answers_are_not_taken() {
        let (mut client, server) = duplex(4);
        let (mut reader, mut writer) = split(Throttled::new(server, Duration::from_secs(60)));
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
        let (_client, server) = duplex(4);
        let (_, mut writer) = split(Throttled::new(server, Duration::from_millis(30)));
        let error = writer.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
