//! Encrypted files of consensus keys, in the format of Dusk's nodes and wallets (`consensus.keys`).
//!
//! JSON `{"salt": base64 of 32 bytes, "iv": base64 of 12, "key_pair": [bytes]}`. The key pair is JSON again,
//! `{"secret_key_bls": base64, "public_key_bls": base64}`, under AES-256-GCM with a key that PBKDF2-HMAC-SHA256 derives from the
//! password in 10,000 rounds. Source: `save_consensus_keys` and `load_keys` of `dusk-node-data`'s `bls`. The format before that
//! one (AES-CBC without a salt) is refused; Dusk's own tools convert it.
//!
//! Only bytes are made and read here; the files, and the randomness, are the caller's.

use aes_gcm::aead::Aead;
use aes_gcm::{Aes256Gcm, KeyInit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dusk_node_data::bls::PUBLIC_BLS_SIZE;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::keys::{KeyError, Signer};

/// Bytes of randomness that [`encrypt`] needs: salt, then nonce.
pub const RANDOM_BYTES: usize = SALT_BYTES + NONCE_BYTES;

/// Longest file that is looked at. Real ones have less than two thousand bytes.
pub const MAX_FILE_BYTES: usize = 16 * 1024;

const SALT_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const ROUNDS: u32 = 10_000;

/// Why a key file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// Not the format.
    #[error("not a consensus key file: expected JSON with salt, iv and key_pair, as Dusk's wallet exports it ({0})")]
    Format(String),
    /// Another password, or damaged.
    #[error("the consensus keys cannot be decrypted: the password is wrong, or the file is damaged")]
    Password,
    /// What was encrypted is not a key.
    #[error("the consensus key file holds a bad key: {0}")]
    Key(#[from] KeyError),
    /// Secret and public half do not belong together.
    #[error("the consensus key file holds a public key that is not that of its secret key")]
    Mismatch,
    /// The cipher refused, which it does for gigabytes only.
    #[error("the consensus keys cannot be encrypted")]
    Encrypt,
}

#[derive(Serialize, Deserialize)]
struct FileForm {
    salt: String,
    iv: String,
    key_pair: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct PairForm {
    secret_key_bls: String,
    public_key_bls: String,
}

fn cipher(password: &str, salt: &[u8; SALT_BYTES]) -> Aes256Gcm {
    let key: [u8; 32] = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password.as_bytes(), salt, ROUNDS);
    Aes256Gcm::new(&key.into())
}

fn format(error: impl std::fmt::Display) -> KeyFileError {
    KeyFileError::Format(error.to_string())
}

fn fixed<const N: usize>(name: &str, text: &str) -> Result<[u8; N], KeyFileError> {
    let bytes = STANDARD.decode(text).map_err(|error| format(std::format!("{name}: {error}")))?;
    let length = bytes.len();
    bytes.try_into().map_err(|_| format(std::format!("{name} has {length} bytes, not {N}")))
}

/// The content of a key file for `signer`. `random` must never be used twice.
///
/// # Errors
/// [`KeyFileError::Encrypt`] or [`KeyFileError::Format`], which do not happen for a key.
pub fn encrypt(signer: &Signer, password: &str, random: &[u8; RANDOM_BYTES]) -> Result<Vec<u8>, KeyFileError> {
    let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_BYTES]);
    salt.copy_from_slice(&random[..SALT_BYTES]);
    nonce.copy_from_slice(&random[SALT_BYTES..]);
    let pair = PairForm {
        secret_key_bls: STANDARD.encode(signer.to_bytes()),
        public_key_bls: STANDARD.encode(signer.id().as_bytes()),
    };
    let plain = serde_json::to_vec(&pair).map_err(format)?;
    let key_pair =
        cipher(password, &salt).encrypt(&nonce.into(), plain.as_slice()).map_err(|_| KeyFileError::Encrypt)?;
    serde_json::to_vec(&FileForm { salt: STANDARD.encode(salt), iv: STANDARD.encode(nonce), key_pair }).map_err(format)
}

/// The key in a key file. Takes some milliseconds: the derivation is slow on purpose.
///
/// # Errors
/// See [`KeyFileError`].
pub fn decrypt(file: &[u8], password: &str) -> Result<Signer, KeyFileError> {
    if file.len() > MAX_FILE_BYTES {
        return Err(format(std::format!("{} bytes are too many", file.len())));
    }
    let form: FileForm = serde_json::from_slice(file).map_err(format)?;
    let salt = fixed("salt", &form.salt)?;
    let nonce: [u8; NONCE_BYTES] = fixed("iv", &form.iv)?;
    let plain =
        cipher(password, &salt).decrypt(&nonce.into(), form.key_pair.as_slice()).map_err(|_| KeyFileError::Password)?;
    // The parser's message could quote what it read: nothing of the plain text leaves here.
    let pair: PairForm = serde_json::from_slice(&plain).map_err(|_| format("what was encrypted is no pair of keys"))?;
    let secret: [u8; 32] = fixed("secret_key_bls", &pair.secret_key_bls)?;
    let public: [u8; PUBLIC_BLS_SIZE] = fixed("public_key_bls", &pair.public_key_bls)?;
    let signer = Signer::from_bytes(&secret)?;
    if *signer.id().as_bytes() != public {
        return Err(KeyFileError::Mismatch);
    }
    Ok(signer)
}

#[cfg(test)]
mod tests {
    use dusk_node_data::bls::{load_keys, save_consensus_keys};
    use proptest::prelude::*;

    use super::*;

    fn signer() -> Signer {
        Signer::from_seed(b"key file")
    }

    fn random() -> [u8; RANDOM_BYTES] {
        std::array::from_fn(|i| i as u8)
    }

    #[test]
    fn the_published_node_reads_what_is_written_here() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("consensus.keys");
        std::fs::write(&path, encrypt(&signer(), "pässword", &random()).unwrap()).unwrap();
        let (secret, public) = load_keys(path.to_str().unwrap().into(), "pässword".into()).unwrap();
        assert_eq!(&secret, signer().secret_key());
        assert_eq!(public.inner(), signer().public_key());
        assert!(load_keys(path.to_str().unwrap().into(), "password".into()).is_err());
    }

    #[test]
    fn what_the_published_node_writes_is_read_here() {
        let dir = tempfile::tempdir().unwrap();
        let signer = signer();
        let (keys, _) =
            save_consensus_keys(dir.path(), "node", signer.public_key(), signer.secret_key(), "secret").unwrap();
        let file = std::fs::read(keys).unwrap();
        assert!(file.len() < MAX_FILE_BYTES / 4);
        assert_eq!(decrypt(&file, "secret").unwrap().id(), signer.id());
        assert_eq!(decrypt(&file, "Secret").unwrap_err(), KeyFileError::Password);
    }

    #[test]
    fn randomness_goes_into_the_file() {
        let one = encrypt(&signer(), "p", &random()).unwrap();
        assert_ne!(one, encrypt(&signer(), "p", &[7; RANDOM_BYTES]).unwrap());
        assert_eq!(one, encrypt(&signer(), "p", &random()).unwrap());
        let form: FileForm = serde_json::from_slice(&one).unwrap();
        assert_eq!(STANDARD.decode(form.salt).unwrap(), random()[..32]);
        assert_eq!(STANDARD.decode(form.iv).unwrap(), random()[32..]);
    }

    #[test]
    fn bad_files_are_refused_with_the_reason() {
        let good = encrypt(&signer(), "p", &random()).unwrap();
        let is_format = |file: &[u8]| matches!(decrypt(file, "p"), Err(KeyFileError::Format(_)));
        assert!(is_format(b"") && is_format(b"{}") && is_format(&[0xff; 300]));
        assert!(is_format(&vec![b' '; MAX_FILE_BYTES + 1]));
        let change = |f: fn(&mut FileForm)| {
            let mut form: FileForm = serde_json::from_slice(&good).unwrap();
            f(&mut form);
            decrypt(&serde_json::to_vec(&form).unwrap(), "p").unwrap_err()
        };
        assert!(matches!(change(|form| form.salt.push('!')), KeyFileError::Format(_)));
        assert!(matches!(change(|form| form.iv = String::new()), KeyFileError::Format(_)));
        assert_eq!(change(|form| form.key_pair[0] ^= 1), KeyFileError::Password);
        assert_eq!(change(|form| form.key_pair.clear()), KeyFileError::Password);

        // Well encrypted, but not a pair.
        let pack = |plain: &str| {
            let (salt, nonce) = ([1; SALT_BYTES], [2; NONCE_BYTES]);
            let key_pair = cipher("p", &salt).encrypt(&nonce.into(), plain.as_bytes()).unwrap();
            let form = FileForm { salt: STANDARD.encode(salt), iv: STANDARD.encode(nonce), key_pair };
            decrypt(&serde_json::to_vec(&form).unwrap(), "p").unwrap_err()
        };
        let pair = |secret: [u8; 32], public: [u8; 96]| {
            let (secret, public) = (STANDARD.encode(secret), STANDARD.encode(public));
            std::format!(r#"{{"secret_key_bls":"{secret}","public_key_bls":"{public}"}}"#)
        };
        assert!(matches!(pack("secret text"), KeyFileError::Format(why) if !why.contains("secret text")));
        assert_eq!(pack(&pair([0; 32], [0; 96])), KeyFileError::Key(KeyError::NotASecretKey));
        let other = *Signer::from_seed(b"other").id().as_bytes();
        assert_eq!(pack(&pair(signer().to_bytes(), other)), KeyFileError::Mismatch);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decrypt(&bytes, "p");
        }
    }
}
