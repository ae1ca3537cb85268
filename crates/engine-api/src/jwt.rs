//! Authentication (execution APIs, authentication.md): a JSON Web Token (RFC 7519) with HS256 in the `Authorization` header.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use serde::Deserialize;
use sha2::Sha256;

/// So far may `iat` be from the time of the check, in seconds, into the past and into the future.
pub const MAX_SKEW: u64 = 60;

/// Length of a secret in bytes.
const SECRET: usize = 32;

/// The secret that the consensus client and this node share.
#[derive(Clone)]
pub struct JwtSecret([u8; SECRET]);

/// Why a text is no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// There is nothing in it.
    #[error("the JWT secret is empty: it must be 64 hex digits")]
    Empty,
    /// Not 64 digits.
    #[error("the JWT secret has {0} characters after an optional 0x: it must be 64 hex digits")]
    Length(usize),
    /// A character is no hex digit.
    #[error("the JWT secret has characters that are no hex digits")]
    NotHex,
}

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// No header.
    #[error("missing token: send a header `Authorization: Bearer <JWT>`")]
    Missing,
    /// The header is of another scheme.
    #[error("the Authorization header is not of the scheme Bearer")]
    NotBearer,
    /// Not three parts with dots between them.
    #[error("the token has {0} parts, a JWT has 3")]
    Parts(usize),
    /// A part is not base64url without padding.
    #[error("the token's {0} is not base64url")]
    Base64(&'static str),
    /// A part is not the JSON that it has to be.
    #[error("the token's {0} is not the JSON of a JWT")]
    Json(&'static str),
    /// Another algorithm, or none.
    #[error("the token's algorithm is not HS256")]
    Algorithm,
    /// It demands an extension that is not known here (RFC 7515, 4.1.11).
    #[error("the token has critical header parameters, which are not supported")]
    Critical,
    /// Signed with another secret, or altered.
    #[error("the token's signature is not valid: do both sides have the same JWT secret?")]
    Signature,
    /// There is no time.
    #[error("the token has no claim iat (issued at)")]
    NoIssuedAt,
    /// It is too old.
    #[error("stale token: it was issued {0} s ago, at most {MAX_SKEW} are allowed; are the clocks right?")]
    Stale(u64),
    /// It is of the future.
    #[error("future token: it was issued {0} s from now, at most {MAX_SKEW} are allowed; are the clocks right?")]
    Future(u64),
    /// Its own end has come.
    #[error("the token is expired by its claim exp")]
    Expired,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    crit: Option<serde::de::IgnoredAny>,
}

/// Claims that are not known are passed over. A NumericDate may have fractions.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    iat: Option<f64>,
    #[serde(default)]
    exp: Option<f64>,
}

impl JwtSecret {
    /// A secret from its bytes.
    pub const fn new(bytes: [u8; SECRET]) -> Self {
        Self(bytes)
    }

    /// Reads the text of a secret's file: 64 hex digits, with or without `0x`, white space around them.
    ///
    /// # Errors
    /// See [`SecretError`], which never shows the text.
    pub fn from_hex(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        let length = digits.chars().count();
        if length == 0 {
            return Err(SecretError::Empty);
        }
        if length != 2 * SECRET {
            return Err(SecretError::Length(length));
        }
        let mut bytes = [0; SECRET];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| SecretError::NotHex)?;
        Ok(Self(bytes))
    }

    /// The text for a secret's file.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// A token issued at this time (Unix seconds), as a consensus client makes it.
    pub fn token(&self, issued_at: u64) -> String {
        let encode = |json: String| URL_SAFE_NO_PAD.encode(json);
        let header = encode(r#"{"alg":"HS256","typ":"JWT"}"#.to_owned());
        let signed = format!("{header}.{}", encode(format!(r#"{{"iat":{issued_at}}}"#)));
        let signature = self.mac(&signed).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Checks the `Authorization` header of a request (`None` if there is none) at this time (Unix seconds).
    ///
    /// # Errors
    /// See [`JwtError`]. The answer to all of them is HTTP 401.
    pub fn check_header(&self, authorization: Option<&str>, now: u64) -> Result<(), JwtError> {
        let (scheme, token) =
            authorization.ok_or(JwtError::Missing)?.trim().split_once(' ').ok_or(JwtError::NotBearer)?;
        // Schemes are compared without regard to case (RFC 9110, 11.1).
        if !scheme.eq_ignore_ascii_case("Bearer") {
            return Err(JwtError::NotBearer);
        }
        self.check(token.trim(), now)
    }

    /// Checks a token at this time (Unix seconds). The signature comes before the claims: what a stranger claims is not read.
    ///
    /// # Errors
    /// See [`JwtError`].
    pub fn check(&self, token: &str, now: u64) -> Result<(), JwtError> {
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JwtError::Parts(token.split('.').count()));
        };
        let read = |part: &str, name| URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Base64(name));
        let parsed: Header = serde_json::from_slice(&read(header, "header")?).map_err(|_| JwtError::Json("header"))?;
        if parsed.alg != "HS256" {
            return Err(JwtError::Algorithm);
        }
        if parsed.crit.is_some() {
            return Err(JwtError::Critical);
        }
        // In constant time.
        self.mac(&format!("{header}.{claims}"))
            .verify_slice(&read(signature, "signature")?)
            .map_err(|_| JwtError::Signature)?;
        let claims: Claims = serde_json::from_slice(&read(claims, "claims")?).map_err(|_| JwtError::Json("claims"))?;
        check_times(&claims, now)
    }

    fn mac(&self, message: &str) -> Hmac<Sha256> {
        // HMAC fills a key that is shorter than a block of its hash with zeros (RFC 2104), here as a type.
        let mut block = [0; 64];
        for (to, from) in block.iter_mut().zip(self.0) {
            *to = from;
        }
        Hmac::new(&block.into()).chain_update(message)
    }
}

/// Never shows the secret.
impl std::fmt::Debug for JwtSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JwtSecret(..)")
    }
}

fn check_times(claims: &Claims, now: u64) -> Result<(), JwtError> {
    let issued_at = claims.iat.ok_or(JwtError::NoIssuedAt)?;
    let (now, skew) = (now as f64, MAX_SKEW as f64);
    let age = now - issued_at;
    if age > skew {
        return Err(JwtError::Stale(age.ceil() as u64));
    }
    if -age > skew {
        return Err(JwtError::Future((-age).ceil() as u64));
    }
    // The clocks may differ as much here too.
    if claims.exp.is_some_and(|end| now >= end + skew) {
        return Err(JwtError::Expired);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_700_000_000;

    fn secret() -> JwtSecret {
        JwtSecret::new([7; 32])
    }

    /// A token with this header and these claims, rightly signed.
    fn token(header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = secret().mac(&signed).finalize().into_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn claims(claims: &str) -> Result<(), JwtError> {
        secret().check(&token(r#"{"alg":"HS256","typ":"JWT"}"#, claims), NOW)
    }

    fn header(header: &str) -> Result<(), JwtError> {
        secret().check(&token(header, &format!(r#"{{"iat":{NOW}}}"#)), NOW)
    }

    #[test]
    fn a_token_made_by_another_implementation_is_let_in() {
        // Made with Python's hmac and base64.
        let ours =
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE3MDAwMDAwMDB9.q7vdxvYJozZ6UoScEnMgFSivYb-nzMGBXN-k-GD5t_8";
        assert_eq!(secret().token(NOW), ours);
        let other = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJpYXQiOjE3MDAwMDAwMDAsImV4cCI6MTcwMDAwMDA2MH0.Axaqhq3AhMFL9fXL_FBZLpJufpiLvL_eap--rwdL7tc";
        assert_eq!(secret().check(other, NOW), Ok(()));
    }

    #[test]
    fn a_token_of_the_same_secret_is_let_in() {
        assert_eq!(secret().check_header(Some(&format!("Bearer {}", secret().token(NOW))), NOW), Ok(()));
        assert_eq!(secret().check_header(Some(&format!("bearer  {} ", secret().token(NOW))), NOW), Ok(()));
    }

    #[test]
    fn a_request_without_a_token_is_refused() {
        assert_eq!(secret().check_header(None, NOW), Err(JwtError::Missing));
        for other in ["", "Bearer", "Basic dXNlcjpwYXNz", &secret().token(NOW)] {
            assert_eq!(secret().check_header(Some(other), NOW), Err(JwtError::NotBearer), "{other}");
        }
    }

    #[test]
    fn a_token_of_another_secret_is_refused() {
        let other = JwtSecret::new([8; 32]);
        assert_eq!(secret().check(&other.token(NOW), NOW), Err(JwtError::Signature));
    }

    #[test]
    fn altered_claims_are_refused_before_they_are_read() {
        let token = secret().token(NOW - 1000);
        let mut parts: Vec<&str> = token.split('.').collect();
        let fresh = URL_SAFE_NO_PAD.encode(format!(r#"{{"iat":{NOW}}}"#));
        parts[1] = &fresh;
        assert_eq!(secret().check(&parts.join("."), NOW), Err(JwtError::Signature));
        parts[1] = "!";
        assert_eq!(secret().check(&parts.join("."), NOW), Err(JwtError::Signature));
    }

    #[test]
    fn no_algorithm_but_hs256_is_taken() {
        for alg in ["none", "None", "HS384", "HS512", "RS256", "hs256", ""] {
            assert_eq!(header(&format!(r#"{{"alg":"{alg}"}}"#)), Err(JwtError::Algorithm), "{alg}");
        }
        let unsigned = token(r#"{"alg":"none"}"#, &format!(r#"{{"iat":{NOW}}}"#));
        let unsigned = &unsigned[..=unsigned.rfind('.').unwrap()];
        assert_eq!(secret().check(unsigned, NOW), Err(JwtError::Algorithm));
        assert_eq!(header(r#"{"alg":"HS256"}"#), Ok(()));
    }

    #[test]
    fn critical_parameters_are_refused() {
        assert_eq!(header(r#"{"alg":"HS256","crit":["x"]}"#), Err(JwtError::Critical));
    }

    #[test]
    fn a_token_is_valid_60_seconds_before_and_after_its_time() {
        for (issued_at, expected) in [
            (NOW - 61, Err(JwtError::Stale(61))),
            (NOW - 60, Ok(())),
            (NOW + 60, Ok(())),
            (NOW + 61, Err(JwtError::Future(61))),
        ] {
            assert_eq!(secret().check(&secret().token(issued_at), NOW), expected);
        }
        assert!(matches!(secret().check(&secret().token(0), NOW), Err(JwtError::Stale(NOW))));
        assert!(matches!(secret().check(&secret().token(u64::MAX), NOW), Err(JwtError::Future(_))));
    }

    #[test]
    fn the_time_of_issue_is_needed() {
        assert_eq!(claims("{}"), Err(JwtError::NoIssuedAt));
        assert_eq!(claims(r#"{"iat":null}"#), Err(JwtError::NoIssuedAt));
        assert_eq!(claims(r#"{"iat":"now"}"#), Err(JwtError::Json("claims")));
        assert_eq!(claims(&format!(r#"{{"iat":{NOW}.5}}"#)), Ok(()));
    }

    #[test]
    fn an_expiry_is_kept_and_other_claims_are_passed_over() {
        assert_eq!(claims(&format!(r#"{{"iat":{NOW},"exp":{}}}"#, NOW - 60)), Err(JwtError::Expired));
        assert_eq!(claims(&format!(r#"{{"iat":{NOW},"exp":{}}}"#, NOW - 59)), Ok(()));
        assert_eq!(claims(&format!(r#"{{"iat":{NOW},"id":"op-node","clv":"v1","nbf":9999999999}}"#)), Ok(()));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let token = secret().token(NOW);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (head, body) = signed.split_once('.').unwrap();
        for (text, expected) in [
            (String::new(), JwtError::Parts(1)),
            (signed.to_owned(), JwtError::Parts(2)),
            (format!("{token}.x"), JwtError::Parts(4)),
            (format!("{head}=.{body}.{signature}"), JwtError::Base64("header")),
            (format!("{head}.{body}.{signature}="), JwtError::Base64("signature")),
            (format!("{head}.{body}."), JwtError::Signature),
            (format!("{body}.{body}.{signature}"), JwtError::Json("header")),
        ] {
            assert_eq!(secret().check(&text, NOW), Err(expected), "{text}");
        }
        assert_eq!(claims("7"), Err(JwtError::Json("claims")));
    }

    #[test]
    fn every_refusal_has_a_message_of_its_own() {
        let all = [
            JwtError::Missing,
            JwtError::NotBearer,
            JwtError::Parts(1),
            JwtError::Base64("header"),
            JwtError::Json("header"),
            JwtError::Algorithm,
            JwtError::Critical,
            JwtError::Signature,
            JwtError::NoIssuedAt,
            JwtError::Stale(61),
            JwtError::Future(61),
            JwtError::Expired,
        ];
        let messages: std::collections::HashSet<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(messages.len(), all.len());
    }

    #[test]
    fn a_secret_is_64_hex_digits() {
        let digits = "0aF1".repeat(16);
        for text in [digits.clone(), format!("0x{digits}"), format!("0X{digits}"), format!(" \t0x{digits}\r\n")] {
            assert_eq!(JwtSecret::from_hex(&text).unwrap().to_hex(), digits.to_lowercase());
        }
        for (text, expected) in [
            (String::new(), SecretError::Empty),
            (" 0x\n".into(), SecretError::Empty),
            (digits[1..].into(), SecretError::Length(63)),
            (format!("{digits}0"), SecretError::Length(65)),
            (format!("{}g", &digits[1..]), SecretError::NotHex),
            (format!("{}é", &digits[1..]), SecretError::NotHex),
            (format!("{} {}", &digits[..32], &digits[33..]), SecretError::NotHex),
        ] {
            assert_eq!(JwtSecret::from_hex(&text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", secret()), "JwtSecret(..)");
    }

    proptest! {
        #[test]
        fn tokens_are_let_in_where_they_were_made(bytes in any::<[u8; 32]>(), now in 60u64..1 << 40, offset in 0u64..=120) {
            let secret = JwtSecret::new(bytes);
            prop_assert_eq!(secret.check(&secret.token(now - 60 + offset), now), Ok(()));
            prop_assert_eq!(JwtSecret::from_hex(&secret.to_hex()).unwrap().0, bytes);
        }

        #[test]
        fn a_changed_character_is_refused(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_.=-]") {
            let token = secret().token(NOW);
            let at = at.index(token.len());
            let changed = format!("{}{to}{}", &token[..at], &token[at + 1..]);
            // Only the header could be written otherwise and mean the same; it is signed too.
            prop_assume!(changed != token);
            prop_assert!(secret().check(&changed, NOW).is_err());
        }

        #[test]
        fn any_text_is_refused_without_a_panic(text in ".{0,200}") {
            prop_assert!(secret().check_header(Some(&text), NOW).is_err());
        }
    }
}
