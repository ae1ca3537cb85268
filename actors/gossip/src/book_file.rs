//! The address book on disk. It is a convenience: a damaged one is begun anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use duskevm_p2p::{Book, StoredBook};
use tracing::warn;

use crate::identity::sync_folder;

/// Name of the file in the folder of the actor.
pub(crate) const FILE: &str = "peers";
/// A book with all its addresses is shorter.
const LONGEST: u64 = 4 << 20;

pub(crate) fn load(folder: &Path) -> Book {
    let path = folder.join(FILE);
    let read = File::open(&path).and_then(|file| {
        let mut text = Vec::new();
        file.take(LONGEST).read_to_end(&mut text)?;
        serde_json::from_slice::<StoredBook>(&text).map_err(io::Error::from)
    });
    match read {
        Ok(stored) => Book::restore(&stored),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Book::new(),
        Err(error) => {
            warn!(path = %path.display(), %error, "the known peers cannot be read: they are collected anew");
            Book::new()
        }
    }
}

/// Replaces the file as a whole.
pub(crate) fn save(folder: &Path, stored: &StoredBook) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let fresh = folder.join("peers.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&serde_json::to_vec_pretty(stored)?)?;
    file.sync_all()?;
    fs::rename(&fresh, folder.join(FILE))?;
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[test]
    fn a_book_is_kept_and_a_damaged_one_begun_anew() {
        let dir = TempDir::new().unwrap();
        let folder = dir.path().join("gossip");
        assert!(load(&folder).is_empty());
        let address = format!("/ip4/8.8.8.8/tcp/1/p2p/{}", crate::Identity::from_secret([3; 32]).id()).parse().unwrap();
        let mut book = Book::new();
        book.met(7, &address);
        save(&folder, &book.stored()).unwrap();
        save(&folder, &book.stored()).unwrap();
        assert_eq!(load(&folder), book);
        for damaged in ["", "{}", "{\"peers\":[{\"address\":\"x\"}]}", "\u{0}\u{1}"] {
            fs::write(folder.join(FILE), damaged).unwrap();
            assert!(load(&folder).is_empty());
        }
    }
}
