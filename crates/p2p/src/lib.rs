//! Rules of the peer-to-peer network without sockets: topics, limits, scores, requests, addresses.
//!
//! Time comes in as a value, effects go out as data; the actor that talks to peers asks here for every decision. What is
//! bounded is bounded here: message sizes and rates ([`limits`]), what waits of whom ([`fair`]), reputations and bans
//! ([`score`]), ranges of addresses ([`subnet`]), requests and answers byte by byte ([`request`]), the addresses a node remembers ([`peers`]).

pub mod fair;
pub mod ids;
pub mod limits;
pub mod peers;
pub mod request;
pub mod score;
pub mod subnet;
pub mod topics;

pub use fair::Fair;
pub use ids::{Endpoint, MessageId, PeerAddress, PeerId, Prefix, message_id};
pub use limits::{Bucket, Drop, Flow, Gate, Limits, Rate};
pub use peers::{Book, StoredBook};
pub use request::{Answer, CodecError, Kind, PeerStatus, Refusal, Request, SidecarBytes};
pub use score::{Deed, ScoreRules, Scores, Sentence};
pub use subnet::{BadSubnet, Subnet};
pub use topics::{NetworkId, NotAFrame, Topic};
