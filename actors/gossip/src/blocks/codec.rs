//! Requests for payloads on a stream: eight bytes there, an answer back that ends with the stream.

use std::io;

use duskevm_unsafe_gossip::by_number::{MAX_ANSWER, REQUEST, request};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;

/// The codec. Answers stay bytes: reading them is the actor's work, on a thread of its own.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ByNumber;

impl Codec for ByNumber {
    type Protocol = StreamProtocol;
    /// The number; `None` if the peer sent too few bytes.
    type Request = Option<u64>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Option<u64>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = [0; REQUEST];
        match io.read_exact(&mut bytes).await {
            Ok(()) => Ok(Some(u64::from_le_bytes(bytes))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = Vec::new();
        io.take(MAX_ANSWER as u64 + 1).read_to_end(&mut bytes).await?;
        if bytes.len() > MAX_ANSWER { Err(io::ErrorKind::InvalidData.into()) } else { Ok(bytes) }
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, number: Option<u64>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let number = number.ok_or(io::ErrorKind::InvalidInput)?;
        io.write_all(&request(number)).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, answer: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&answer).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::io::Cursor;

    fn protocol() -> StreamProtocol {
        StreamProtocol::new("/x/1")
    }

    #[tokio::test]
    async fn a_request_is_eight_bytes() {
        let mut wire = Cursor::new(Vec::new());
        ByNumber.write_request(&protocol(), &mut wire, Some(258)).await.unwrap();
        assert_eq!(wire.get_ref(), &[2, 1, 0, 0, 0, 0, 0, 0]);
        wire.set_position(0);
        assert_eq!(ByNumber.read_request(&protocol(), &mut wire).await.unwrap(), Some(258));
        assert_eq!(ByNumber.read_request(&protocol(), &mut Cursor::new(vec![1; 7])).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_answer_is_read_up_to_the_longest() {
        let mut wire = Cursor::new(vec![1; MAX_ANSWER]);
        assert_eq!(ByNumber.read_response(&protocol(), &mut wire).await.unwrap().len(), MAX_ANSWER);
        let mut wire = Cursor::new(vec![1; MAX_ANSWER + 1]);
        assert!(ByNumber.read_response(&protocol(), &mut wire).await.is_err());
    }
}
