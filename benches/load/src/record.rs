//! The file of what the node told: accepted transactions and blocks. Whoever breaks the node checks it against the file afterwards.
//!
//! One line each: `tx HASH SENDER NONCE` and `block NUMBER HASH`.

use alloy_primitives::{Address, B256};
use anyhow::{Context as _, Result, bail};
use parking_lot::Mutex;
use std::{
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
};

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// The node answered with this hash.
    Tx { hash: B256, sender: Address, nonce: u64 },
    /// The node showed this block.
    Block { number: u64, hash: B256 },
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tx { hash, sender, nonce } => write!(f, "tx {hash} {sender} {nonce}"),
            Self::Block { number, hash } => write!(f, "block {number} {hash}"),
        }
    }
}

impl std::str::FromStr for Told {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["tx", hash, sender, nonce] => {
                Ok(Self::Tx { hash: hash.parse()?, sender: sender.parse()?, nonce: nonce.parse()? })
            }
            ["block", number, hash] => Ok(Self::Block { number: number.parse()?, hash: hash.parse()? }),
            _ => bail!("neither `tx HASH SENDER NONCE` nor `block NUMBER HASH`"),
        }
    }
}

/// Appends to the file.
#[derive(Debug)]
pub(crate) struct Record(Option<Mutex<File>>);

impl Record {
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.with_context(|| format!("cannot write {}", path.display())).map(Mutex::new)
        };
        path.map(open).transpose().map(Self)
    }

    /// Writes before it returns: this process may be ended at any time.
    pub(crate) fn tell(&self, all: impl IntoIterator<Item = Told>) -> Result<()> {
        let Some(file) = &self.0 else { return Ok(()) };
        let text: String = all.into_iter().map(|told| format!("{told}\n")).collect();
        file.lock().write_all(text.as_bytes()).context("cannot write the record")
    }
}

/// Reads the file. A last line without its end is left out: its writer was ended in the middle of it.
pub(crate) fn read(path: &Path) -> Result<Vec<Told>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut reader = BufReader::new(file);
    let mut all = Vec::new();
    let mut line = String::new();
    for number in 1.. {
        line.clear();
        reader.read_line(&mut line).with_context(|| format!("cannot read {}", path.display()))?;
        if !line.ends_with('\n') {
            break;
        }
        all.push(line.parse().with_context(|| format!("{}, line {number}", path.display()))?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let told = [
            Told::Tx { hash: B256::repeat_byte(1), sender: Address::repeat_byte(2), nonce: 3 },
            Told::Block { number: 4, hash: B256::repeat_byte(5) },
        ];
        Record::open(Some(&path)).unwrap().tell(told).unwrap();
        Record::open(Some(&path)).unwrap().tell([told[1]]).unwrap();
        assert_eq!(read(&path).unwrap(), [told[0], told[1], told[1]]);
        // A line that was cut off does not count; a line that is wrong does.
        std::fs::write(&path, format!("{}\n{}", told[0], told[1])).unwrap();
        assert_eq!(read(&path).unwrap(), [told[0]]);
        std::fs::write(&path, "tx 0x12\n").unwrap();
        assert!(read(&path).is_err());
    }
}
