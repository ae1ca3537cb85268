//! Requests and answers on a stream: a length, and a body of the rules in `duskevm_p2p::request`.

use std::io;

use duskevm_p2p::request::{MAX_ANSWER, MAX_REQUEST};
use duskevm_p2p::{Answer, Request};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;

/// The codec of the request protocol. It holds no state.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AskCodec;

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

impl Codec for AskCodec {
    type Protocol = StreamProtocol;
    type Request = Request;
    type Response = Answer;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        Request::decode(&read_body(io, MAX_REQUEST).await?).map_err(wrong)
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Answer>
    where
        T: AsyncRead + Unpin + Send,
    {
        Answer::decode(&read_body(io, MAX_ANSWER).await?).map_err(wrong)
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Request) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_body(io, &request.encode().map_err(wrong)?).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, answer: Answer) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_body(io, &answer.encode().map_err(wrong)?).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use futures::io::Cursor;

    #[test]
    fn written_and_read() {
        block_on(async {
            let protocol = StreamProtocol::new("/x/1");
            let mut wire = Cursor::new(Vec::new());
            let request = Request::Blobs(vec![[7; 32]; 3]);
            AskCodec.write_request(&protocol, &mut wire, request.clone()).await.unwrap();
            wire.set_position(0);
            assert_eq!(AskCodec.read_request(&protocol, &mut wire).await.unwrap(), request);
        });
    }

    #[test]
    fn a_promised_length_is_checked_and_not_allocated() {
        block_on(async {
            let protocol = StreamProtocol::new("/x/1");
            let mut wire = Cursor::new(u32::MAX.to_le_bytes().to_vec());
            let error = AskCodec.read_response(&protocol, &mut wire).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            let mut wire = Cursor::new([&(1u32 << 22).to_le_bytes()[..], &[1, 2, 3]].concat());
            let error = AskCodec.read_response(&protocol, &mut wire).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        });
    }
}
