//! Frames of the network, field by field, without decompressing a point.
