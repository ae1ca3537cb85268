//! The methods that are offered, and who offers them (execution APIs, common.md and identification.md).

use serde::{Deserialize, Serialize};

/// The answer to `engine_exchangeCapabilities`, whatever the caller says that it can do. That method itself is not named, as the
/// specification wants.
pub const CAPABILITIES: [&str; 14] = [
    "engine_newPayloadV1",
    "engine_newPayloadV2",
    "engine_newPayloadV3",
    "engine_newPayloadV4",
    "engine_forkchoiceUpdatedV1",
    "engine_forkchoiceUpdatedV2",
    "engine_forkchoiceUpdatedV3",
    "engine_getPayloadV1",
    "engine_getPayloadV2",
    "engine_getPayloadV3",
    "engine_getPayloadV4",
    "engine_getPayloadBodiesByHashV1",
    "engine_getPayloadBodiesByRangeV1",
    "engine_getClientVersionV1",
];

/// `ClientVersionV1`. The code is any two letters here, as the specification demands of readers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientVersion {
    /// Two letters that no client has reserved, or those of a client that did.
    pub code: String,
    /// Name for humans.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// The first four bytes of the commit that it was built from, in hex.
    pub commit: String,
}

impl ClientVersion {
    /// This program.
    pub fn ours(version: &str, commit: [u8; 4]) -> Self {
        Self {
            code: "DE".to_owned(),
            name: "duskevm".to_owned(),
            version: version.to_owned(),
            commit: hex::encode(commit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        testing::json,
        version::{ForkchoiceMethod, PayloadMethod},
    };
    use serde_json::json;

    #[test]
    fn every_method_with_a_version_is_offered_once_and_the_exchange_is_not() {
        let mut names: Vec<&str> = PayloadMethod::ALL.map(PayloadMethod::new_payload).to_vec();
        names.extend(PayloadMethod::ALL.map(PayloadMethod::get_payload));
        names.extend(ForkchoiceMethod::ALL.map(ForkchoiceMethod::name));
        for name in names {
            assert_eq!(CAPABILITIES.iter().filter(|offered| **offered == name).count(), 1, "{name}");
        }
        assert!(!CAPABILITIES.contains(&"engine_exchangeCapabilities"));
    }

    #[test]
    fn the_client_names_itself_with_a_code_of_its_own() {
        let reserved = ["BU", "CN", "EJ", "EG", "EX", "GE", "GR", "LH", "LS", "NM", "NB", "NE", "TE", "TK", "PM", "RH"];
        let ours = ClientVersion::ours("1.2.3", [0xfa, 0x4f, 0xf9, 0x22]);
        assert!(!reserved.contains(&ours.code.as_str()));
        let expected = json!({ "code": "DE", "name": "duskevm", "version": "1.2.3", "commit": "fa4ff922" });
        assert_eq!(json(&ours), expected);
        let other = json!({ "code": "ZZ", "name": "x", "version": "", "commit": "" });
        assert_eq!(serde_json::from_value::<ClientVersion>(other).unwrap().code, "ZZ");
    }
}
