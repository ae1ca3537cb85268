//! Messages that come before their time.
