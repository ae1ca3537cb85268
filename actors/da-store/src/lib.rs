//! The actor that keeps blobs and serves them, with the blob API.
