//! Rules of the peer-to-peer network without sockets: topics, limits, scores, requests, addresses.
