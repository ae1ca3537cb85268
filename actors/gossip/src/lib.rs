//! The actor that talks to peers over libp2p.
