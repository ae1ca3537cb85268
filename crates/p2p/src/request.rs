//! What one peer asks another, and the answers, byte by byte.
//!
//! On the wire: length u32 LE ‖ body. Body: kind u8 ‖ fields. Integers little-endian, lists with a count before them,
//! byte strings with a length before them. Every bound is checked before anything is allocated, every value has one
//! encoding: `decode(encode(x)) == x` and `encode(decode(b)) == b`, or an error.

use std::fmt;
use std::sync::Arc;

use crate::ids::{Endpoint, PeerAddress, PeerId};

/// Longest request, without its length.
pub const MAX_REQUEST: usize = 8 << 10;
/// Most frames in an answer.
pub const MAX_FRAMES: usize = 100;
/// Most bytes of frames in an answer, their lengths not counted.
pub const MAX_FRAME_BYTES: usize = 8 << 20;
/// Most blobs in a request.
pub const MAX_BLOBS: usize = 6;
/// Most addresses in an answer.
pub const MAX_PEERS: usize = 32;
/// Bytes of a sidecar: commitment 48, proof 48, data 131,072.
pub const SIDECAR_BYTES: usize = 48 + 48 + 131_072;
/// Longest answer, without its length.
pub const MAX_ANSWER: usize = MAX_FRAME_BYTES + 4 * MAX_FRAMES + 16;
/// Body of a status: kind, identity, two heights with their hashes, the lowest height with blobs.
const STATUS_BYTES: usize = 1 + 32 + 2 * (8 + 32) + 8;
/// Longest address: key, kind, IPv6 and port.
const MAX_ADDRESS: usize = 32 + 1 + 16 + 2;

/// What is wrong with bytes from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// They end too early.
    #[error("the bytes end too early")]
    Short,
    /// Something follows the end.
    #[error("{0} bytes too many")]
    Rest(usize),
    /// A kind that does not exist.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// More than allowed.
    #[error("{what}: {got} is more than {most}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much.
        got: u64,
        /// The bound.
        most: u64,
    },
    /// A value that another encoding stands for, or none.
    #[error("{0} is not canonical")]
    NotCanonical(&'static str),
}

/// Kinds of requests, for limits and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// [`Request::Status`].
    Status,
    /// [`Request::Frame`].
    Frame,
    /// [`Request::Blobs`].
    Blobs,
    /// [`Request::Peers`].
    Peers,
}

impl Kind {
    /// Short name for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Frame => "frame",
            Self::Blobs => "blobs",
            Self::Peers => "peers",
        }
    }

    /// Whether an answer may take megabytes.
    pub const fn is_large(self) -> bool {
        match self {
            Self::Frame | Self::Blobs => true,
            Self::Status | Self::Peers => false,
        }
    }
}

/// A question to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Where it stands.
    Status,
    /// A Dusk frame that asks: GetResource, GetBlocks or GetMempool. Addresses and hops in it are ignored: the answer
    /// comes on this connection.
    Frame(Vec<u8>),
    /// Blobs by versioned hash: 1 to [`MAX_BLOBS`].
    Blobs(Vec<[u8; 32]>),
    /// Addresses of other peers.
    Peers,
}

/// Where a peer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerStatus {
    /// Identity of its genesis.
    pub identity: [u8; 32],
    /// Height and hash of its newest block.
    pub tip: (u64, [u8; 32]),
    /// Height and hash of its newest final block.
    pub finalized: (u64, [u8; 32]),
    /// The lowest height whose blobs it keeps.
    pub oldest_blob: u64,
}

/// A blob with commitment and proof, as it is sent: nobody has checked the proof yet.
#[derive(Clone, PartialEq, Eq)]
pub struct SidecarBytes(Arc<[u8]>);

impl SidecarBytes {
    /// `None` unless there are exactly [`SIDECAR_BYTES`]: commitment ‖ proof ‖ data.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Option<Self> {
        let bytes = bytes.into();
        (bytes.len() == SIDECAR_BYTES).then_some(Self(bytes))
    }

    /// All of it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The KZG commitment, 48 bytes.
    pub fn commitment(&self) -> &[u8] {
        &self.0[..48]
    }

    /// The KZG proof, 48 bytes.
    pub fn proof(&self) -> &[u8] {
        &self.0[48..96]
    }

    /// The blob.
    pub fn data(&self) -> &[u8] {
        &self.0[96..]
    }
}

impl fmt::Debug for SidecarBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SidecarBytes({}…)", hex::encode(&self.0[..8]))
    }
}

/// Why a peer does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It has enough to do; ask again later, or another.
    Busy,
    /// It was asked too much.
    TooMany,
    /// It cannot: it is starting, or lacks the part that knows.
    Unavailable,
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Request::Status`].
    Status(PeerStatus),
    /// To [`Request::Frame`]: what it has of what was asked, in order; at most [`MAX_FRAMES`] and [`MAX_FRAME_BYTES`].
    Frames(Vec<Vec<u8>>),
    /// To [`Request::Blobs`]: one per hash, in order.
    Blobs(Vec<Option<SidecarBytes>>),
    /// To [`Request::Peers`].
    Peers(Vec<PeerAddress>),
    /// To any.
    Refused(Refusal),
}

impl Request {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Status => Kind::Status,
            Self::Frame(_) => Kind::Frame,
            Self::Blobs(_) => Kind::Blobs,
            Self::Peers => Kind::Peers,
        }
    }

    /// Bytes of the longest answer to it, without its length: nobody has to read more, or to keep room for more.
    pub fn longest_answer(&self) -> usize {
        match self {
            Self::Status => STATUS_BYTES,
            Self::Frame(_) => MAX_ANSWER,
            Self::Blobs(hashes) => 2 + hashes.len().min(MAX_BLOBS) * (1 + SIDECAR_BYTES),
            Self::Peers => 2 + MAX_PEERS * MAX_ADDRESS,
        }
    }

    /// The body, to be sent after its length.
    ///
    /// # Errors
    /// [`CodecError`] if it is beyond what may be asked: it would be refused at the other end.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let mut out = Vec::new();
        match self {
            Self::Status => out.push(0),
            Self::Frame(frame) => {
                bound("bytes of a request", frame.len(), MAX_REQUEST - 5)?;
                out.push(1);
                put_bytes(&mut out, frame);
            }
            Self::Blobs(hashes) => {
                blob_count(hashes.len())?;
                out.push(2);
                out.push(hashes.len() as u8);
                hashes.iter().for_each(|hash| out.extend_from_slice(hash));
            }
            Self::Peers => out.push(3),
        }
        Ok(out)
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(body: &[u8]) -> Result<Self, CodecError> {
        bound("bytes of a request", body.len(), MAX_REQUEST)?;
        let mut input = Input(body);
        let request = match input.byte()? {
            0 => Self::Status,
            1 => Self::Frame(input.bytes("bytes of a request", MAX_REQUEST - 5)?.to_vec()),
            2 => {
                let count = usize::from(input.byte()?);
                blob_count(count)?;
                Self::Blobs((0..count).map(|_| input.array()).collect::<Result<_, _>>()?)
            }
            3 => Self::Peers,
            kind => return Err(CodecError::Kind(kind)),
        };
        input.end()?;
        Ok(request)
    }
}

impl Answer {
    /// Short name for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::Frames(_) => "frames",
            Self::Blobs(_) => "blobs",
            Self::Peers(_) => "peers",
            Self::Refused(_) => "refused",
        }
    }

    /// Frames as an answer: as many of the first ones as fit.
    pub fn frames(frames: Vec<Vec<u8>>) -> Self {
        let mut bytes = 0;
        let fits = |frame: &Vec<u8>| {
            bytes += frame.len();
            bytes <= MAX_FRAME_BYTES
        };
        Self::Frames(frames.into_iter().take(MAX_FRAMES).take_while(fits).collect())
    }

    /// Bytes that it takes, counted without encoding it; at least those of its body.
    pub fn size(&self) -> usize {
        match self {
            Self::Status(_) => STATUS_BYTES,
            Self::Frames(frames) => 2 + frames.iter().map(|frame| 4 + frame.len()).sum::<usize>(),
            Self::Blobs(blobs) => {
                2 + blobs.iter().map(|blob| 1 + blob.as_ref().map_or(0, |_| SIDECAR_BYTES)).sum::<usize>()
            }
            Self::Peers(peers) => 2 + peers.len() * MAX_ADDRESS,
            Self::Refused(_) => 2,
        }
    }

    /// Whether it is an answer to this question: of its kind, and for blobs one per hash. A refusal answers everything.
    pub fn fits(&self, request: &Request) -> bool {
        match (self, request) {
            (Self::Refused(_), _)
            | (Self::Status(_), Request::Status)
            | (Self::Frames(_), Request::Frame(_))
            | (Self::Peers(_), Request::Peers) => true,
            (Self::Blobs(blobs), Request::Blobs(hashes)) => blobs.len() == hashes.len(),
            _ => false,
        }
    }

    /// The body, to be sent after its length.
    ///
    /// # Errors
    /// [`CodecError`] if it is beyond what may be answered.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let mut out = Vec::new();
        match self {
            Self::Status(status) => {
                out.push(0);
                out.extend_from_slice(&status.identity);
                for (height, hash) in [&status.tip, &status.finalized] {
                    out.extend_from_slice(&height.to_le_bytes());
                    out.extend_from_slice(hash);
                }
                out.extend_from_slice(&status.oldest_blob.to_le_bytes());
            }
            Self::Frames(frames) => {
                bound("frames", frames.len(), MAX_FRAMES)?;
                bound("bytes of frames", frames.iter().map(Vec::len).sum(), MAX_FRAME_BYTES)?;
                out.push(1);
                out.push(frames.len() as u8);
                frames.iter().for_each(|frame| put_bytes(&mut out, frame));
            }
            Self::Blobs(blobs) => {
                blob_count(blobs.len())?;
                out.push(2);
                out.push(blobs.len() as u8);
                for blob in blobs {
                    out.push(u8::from(blob.is_some()));
                    if let Some(SidecarBytes(bytes)) = blob {
                        out.extend_from_slice(bytes);
                    }
                }
            }
            Self::Peers(peers) => {
                bound("addresses", peers.len(), MAX_PEERS)?;
                out.push(3);
                out.push(peers.len() as u8);
                peers.iter().for_each(|address| put_address(&mut out, address));
            }
            Self::Refused(refusal) => {
                out.push(4);
                out.push(match refusal {
                    Refusal::Busy => 0,
                    Refusal::TooMany => 1,
                    Refusal::Unavailable => 2,
                });
            }
        }
        Ok(out)
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(body: &[u8]) -> Result<Self, CodecError> {
        bound("bytes of an answer", body.len(), MAX_ANSWER)?;
        let mut input = Input(body);
        let answer = match input.byte()? {
            0 => {
                let identity = input.array()?;
                let tip = (input.u64()?, input.array()?);
                let finalized = (input.u64()?, input.array()?);
                if finalized.0 > tip.0 {
                    return Err(CodecError::NotCanonical("a final block above the tip"));
                }
                Self::Status(PeerStatus { identity, tip, finalized, oldest_blob: input.u64()? })
            }
            1 => {
                let count = usize::from(input.byte()?);
                bound("frames", count, MAX_FRAMES)?;
                let mut left = MAX_FRAME_BYTES;
                let mut frames = Vec::with_capacity(count);
                for _ in 0..count {
                    let frame = input.bytes("bytes of frames", left)?;
                    left -= frame.len();
                    frames.push(frame.to_vec());
                }
                Self::Frames(frames)
            }
            2 => {
                let count = usize::from(input.byte()?);
                blob_count(count)?;
                let mut blobs = Vec::with_capacity(count);
                for _ in 0..count {
                    blobs.push(match input.byte()? {
                        0 => None,
                        1 => Some(SidecarBytes(input.take(SIDECAR_BYTES)?.into())),
                        _ => return Err(CodecError::NotCanonical("the mark of a blob")),
                    });
                }
                Self::Blobs(blobs)
            }
            3 => {
                let count = usize::from(input.byte()?);
                bound("addresses", count, MAX_PEERS)?;
                Self::Peers((0..count).map(|_| input.address()).collect::<Result<_, _>>()?)
            }
            4 => Self::Refused(match input.byte()? {
                0 => Refusal::Busy,
                1 => Refusal::TooMany,
                2 => Refusal::Unavailable,
                _ => return Err(CodecError::NotCanonical("the reason of a refusal")),
            }),
            kind => return Err(CodecError::Kind(kind)),
        };
        input.end()?;
        Ok(answer)
    }
}

fn bound(what: &'static str, got: usize, most: usize) -> Result<(), CodecError> {
    if got <= most { Ok(()) } else { Err(CodecError::TooMuch { what, got: got as u64, most: most as u64 }) }
}

fn blob_count(count: usize) -> Result<(), CodecError> {
    if count == 0 {
        return Err(CodecError::NotCanonical("an empty list of blobs"));
    }
    bound("blobs", count, MAX_BLOBS)
}

/// Callers have bounded the length far below 4 GiB.
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_address(out: &mut Vec<u8>, address: &PeerAddress) {
    out.extend_from_slice(&address.peer.0);
    match address.endpoint {
        Endpoint::Ip4(ip, port) => {
            out.push(4);
            out.extend_from_slice(&ip);
            out.extend_from_slice(&port.to_le_bytes());
        }
        Endpoint::Ip6(ip, port) => {
            out.push(6);
            out.extend_from_slice(&ip);
            out.extend_from_slice(&port.to_le_bytes());
        }
        Endpoint::Memory(number) => {
            out.push(0);
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], CodecError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(CodecError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CodecError::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, CodecError> {
        self.array().map(|[byte]| byte)
    }

    fn u64(&mut self) -> Result<u64, CodecError> {
        self.array().map(u64::from_le_bytes)
    }

    fn bytes(&mut self, what: &'static str, most: usize) -> Result<&'a [u8], CodecError> {
        let length = self.array().map(u32::from_le_bytes)? as usize;
        bound(what, length, most)?;
        self.take(length)
    }

    fn address(&mut self) -> Result<PeerAddress, CodecError> {
        let peer = PeerId(self.array()?);
        let endpoint = match self.byte()? {
            4 => Endpoint::Ip4(self.array()?, self.array().map(u16::from_le_bytes)?),
            6 => Endpoint::Ip6(self.array()?, self.array().map(u16::from_le_bytes)?),
            0 => Endpoint::Memory(self.u64()?),
            _ => return Err(CodecError::NotCanonical("the kind of an address")),
        };
        Ok(PeerAddress { peer, endpoint })
    }

    const fn end(&self) -> Result<(), CodecError> {
        if self.0.is_empty() { Ok(()) } else { Err(CodecError::Rest(self.0.len())) }
    }
}

#[cfg(test)]
mod tests;
