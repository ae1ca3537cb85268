//! Finds the key that somebody probably meant.

use super::Config;

/// Names that other nodes use for our sections, or that one would guess.
const OTHER_SECTION_NAMES: [(&str, &str); 16] = [
    ("metrics", "http"),
    ("health", "http"),
    ("prometheus", "http"),
    ("roles", "actors"),
    ("node", "actors"),
    ("pool", "txpool"),
    ("mempool", "txpool"),
    ("database", "data"),
    ("db", "data"),
    ("logging", "log"),
    ("chain", "l2"),
    ("forks", "l2.forks"),
    ("p2p", "gossip"),
    ("peers", "gossip"),
    ("beacon", "blobs"),
    ("da", "blobs"),
];

/// The known dotted path nearest to an unknown one.
pub(crate) fn nearest_path(unknown: &str) -> String {
    if let Some(translated) = translate(unknown)
        && is_known(&translated)
    {
        return translated;
    }
    let unknown_flat = flatten(unknown);
    let (_, unknown_key) = split(unknown);
    let mut best: Option<(usize, String)> = None;
    for (section, key) in known() {
        let path = format!("{section}.{key}");
        // `block_time` without its section, or under a wrong one, is nearer to `l2.block_time` than its letters say.
        let distance = if key == unknown_key {
            1
        } else {
            // Separators do not count: `DUSKEVM_RPC_PORT` means `rpc.port`.
            strsim::damerau_levenshtein(&unknown_flat, &flatten(&path))
        };
        if best.as_ref().is_none_or(|(least, _)| distance < *least) {
            best = Some((distance, path));
        }
    }
    // There is always a key: the list of sections is not empty.
    best.map(|(_, path)| path).unwrap_or_default()
}

/// The known section nearest to an unknown one.
pub(crate) fn nearest_section(unknown: &str) -> String {
    if let Some((_, ours)) = OTHER_SECTION_NAMES.iter().find(|(other, _)| *other == unknown) {
        return (*ours).to_owned();
    }
    Config::SECTIONS
        .iter()
        .map(|section| section.path)
        .min_by_key(|path| strsim::damerau_levenshtein(unknown, path))
        .unwrap_or_default()
        .to_owned()
}

pub(crate) fn is_known(path: &str) -> bool {
    let (section, key) = split(path);
    Config::SECTIONS.iter().any(|spec| spec.path == section && spec.keys.iter().any(|known| known.name == key))
}

pub(crate) fn is_section(path: &str) -> bool {
    Config::SECTIONS.iter().any(|spec| spec.path == path)
}

/// Section and key of a dotted path; a path without a dot has an empty section.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

fn known() -> impl Iterator<Item = (&'static str, &'static str)> {
    Config::SECTIONS.iter().flat_map(|section| section.keys.iter().map(|key| (section.path, key.name)))
}

fn flatten(path: &str) -> String {
    path.chars().filter(|c| *c != '.' && *c != '_' && *c != '-').collect::<String>().to_lowercase()
}

fn translate(path: &str) -> Option<String> {
    let (section, key) = split(path);
    let (_, ours) = OTHER_SECTION_NAMES.iter().find(|(other, _)| *other == section)?;
    Some(format!("{ours}.{key}"))
}
