//! Requests and answers on a stream: a length, and a body of the rules in `duskevm_p2p::request`.
//!
//! Both ends of an answer have a deadline: who asked stops reading when nobody waits any more, and reads no more than the
//! longest answer to the question has; who answers stops writing when the other does not read. What cannot be read as a
//! question is handed on as such: libp2p reports no failure of reading one, and nobody could be blamed for it.

use std::io;
use std::time::Duration;

use duskevm_p2p::request::{MAX_ANSWER, MAX_REQUEST};
use duskevm_p2p::{Answer, Request};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;
use tokio::time::{Instant, timeout, timeout_at};

/// The slowest reading that is waited for, in bytes per second, after the time that every reader has.
const SLOWEST: u32 = 1 << 20;

/// A question on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// This node asks, and waits so long for the answer.
    Here(Request, Duration),
    /// A peer asks.
    There(Request),
    /// A peer sent something else.
    Garbage,
}

/// The codec of the request protocol. Each stream has a copy of its own, which writes the question and reads the answer.
#[derive(Debug, Clone)]
pub(crate) struct AskCodec {
    /// Time that every reader of an answer has.
    reading: Duration,
    /// Of the question that this copy wrote: the longest answer, and its deadline.
    longest: usize,
    until: Option<Instant>,
}

impl AskCodec {
    pub(crate) const fn new(reading: Duration) -> Self {
        Self { reading, longest: MAX_ANSWER, until: None }
    }
}

fn wrong(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

async fn read_body<T: AsyncRead + Unpin + Send>(io: &mut T, most: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = u32::from_le_bytes(length) as usize;
    if length > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{length} bytes are more than {most}")));
    }
    // It grows with what comes, not with what was promised.
    let mut body = Vec::new();
    io.take(length as u64).read_to_end(&mut body).await?;
    if body.len() == length { Ok(body) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

async fn write_body<T: AsyncWrite + Unpin + Send>(io: &mut T, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(wrong)?;
    io.write_all(&length.to_le_bytes()).await?;
    io.write_all(body).await?;
    io.close().await
}

fn late(_: tokio::time::error::Elapsed) -> io::Error {
    io::ErrorKind::TimedOut.into()
}

impl Codec for AskCodec {
    type Protocol = StreamProtocol;
    type Request = Asked;
    type Response = Answer;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Asked>
    where
        T: AsyncRead + Unpin + Send,
    {
        match read_body(io, MAX_REQUEST).await {
            Ok(body) => Ok(Request::decode(&body).map_or(Asked::Garbage, Asked::There)),
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                Ok(Asked::Garbage)
            }
            Err(error) => Err(error),
        }
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Answer>
    where
        T: AsyncRead + Unpin + Send,
    {
        let read = read_body(io, self.longest);
        let body = match self.until {
            Some(until) => timeout_at(until, read).await.map_err(late)??,
            None => read.await?,
        };
        Answer::decode(&body).map_err(wrong)
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, asked: Asked) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let Asked::Here(request, within) = asked else { return Err(io::ErrorKind::InvalidInput.into()) };
        self.longest = request.longest_answer();
        self.until = Instant::now().checked_add(within);
        write_body(io, &request.encode().map_err(wrong)?).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, answer: Answer) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let body = answer.encode().map_err(wrong)?;
        // It is not held twice while the peer reads.
        drop(answer);
        let within = self.reading + Duration::from_secs(1).mul_f64(body.len() as f64 / f64::from(SLOWEST));
        timeout(within, write_body(io, &body)).await.map_err(late)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::io::Cursor;

    fn codec() -> AskCodec {
        AskCodec::new(Duration::from_millis(20))
    }

    fn protocol() -> StreamProtocol {
        StreamProtocol::new("/x/1")
    }

    #[tokio::test]
    async fn written_and_read() {
        let mut wire = Cursor::new(Vec::new());
        let request = Request::Blobs(vec![[7; 32]; 3]);
        let asked = Asked::Here(request.clone(), Duration::from_secs(9));
        codec().write_request(&protocol(), &mut wire, asked).await.unwrap();
        wire.set_position(0);
        assert_eq!(codec().read_request(&protocol(), &mut wire).await.unwrap(), Asked::There(request));
    }

    #[tokio::test]
    async fn what_is_no_question_is_told_and_not_swallowed() {
        for bytes in [vec![0xff; 64], vec![1, 0, 0, 0, 77], vec![3, 0, 0, 0, 3, 3, 3], vec![9, 0, 0, 0, 3], vec![]] {
            let mut wire = Cursor::new(bytes);
            assert_eq!(codec().read_request(&protocol(), &mut wire).await.unwrap(), Asked::Garbage);
        }
    }

    #[tokio::test]
    async fn a_promised_length_is_checked_and_not_allocated() {
        let mut wire = Cursor::new(u32::MAX.to_le_bytes().to_vec());
        let error = codec().read_response(&protocol(), &mut wire).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let mut wire = Cursor::new([&(1u32 << 22).to_le_bytes()[..], &[1, 2, 3]].concat());
        let error = codec().read_response(&protocol(), &mut wire).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    /// Takes what is written, gives what was put in, and then nothing more.
    struct Silent(Cursor<Vec<u8>>);

    impl AsyncRead for Silent {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buffer: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            match std::pin::Pin::new(&mut self.0).poll_read(cx, buffer) {
                std::task::Poll::Ready(Ok(0)) => std::task::Poll::Pending,
                read => read,
            }
        }
    }

    #[tokio::test]
    async fn an_answer_is_read_up_to_its_deadline_and_to_the_longest_that_fits() {
        let mut codec = codec();
        let asked = Asked::Here(Request::Status, Duration::from_millis(20));
        codec.write_request(&protocol(), &mut futures::io::sink(), asked).await.unwrap();
        // A status of a megabyte is none, whoever promises it.
        let mut wire = Cursor::new((1u32 << 20).to_le_bytes().to_vec());
        let error = codec.read_response(&protocol(), &mut wire).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let mut wire = Silent(Cursor::new([&100u32.to_le_bytes()[..], &[0; 50]].concat()));
        let error = codec.read_response(&protocol(), &mut wire).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    /// Takes nothing.
    struct Full;

    impl AsyncWrite for Full {
        fn poll_write(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            _: &[u8],
        ) -> std::task::Poll<io::Result<usize>> {
            std::task::Poll::Pending
        }

        fn poll_flush(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Pending
        }

        fn poll_close(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Pending
        }
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_is_given_up() {
        let begun = Instant::now();
        let answer = Answer::Frames(vec![vec![0; 1 << 18]]);
        let error = codec().write_response(&protocol(), &mut Full, answer).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // The time that everybody has, and a quarter of a second for a quarter of a MiB.
        assert!(begun.elapsed() >= Duration::from_millis(270));
    }
}
