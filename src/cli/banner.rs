//! What `duskevm dev` prints when it is up: everything one needs to use it.

use std::fmt::Write as _;
use std::time::Duration;

use super::accounts::DevAccount;
use super::start::Endpoints;
use crate::config::{Config, ForkTime, Forks};

/// Accounts whose keys are printed; a hundred lines of them would push the endpoints off the screen.
const SHOWN: usize = 10;

pub(crate) fn text(
    config: &Config,
    accounts: &[DevAccount],
    endpoints: &Endpoints,
    ephemeral: bool,
    took: Duration,
) -> String {
    let mut text = format!("\nduskevm {} dev\n", env!("CARGO_PKG_VERSION"));
    let shown = accounts.len().min(SHOWN);

    text.push_str("\nAccounts\n");
    for (index, account) in accounts.iter().take(shown).enumerate() {
        let _ = writeln!(text, "  ({index}) {} ({} DUSK)", account.address, config.genesis.balance);
    }
    text.push_str("\nPrivate keys\n");
    for (index, account) in accounts.iter().take(shown).enumerate() {
        let _ = writeln!(text, "  ({index}) {}", account.private_key);
    }
    if accounts.len() > shown {
        let _ = writeln!(text, "  … and {} more accounts of the same mnemonic", accounts.len() - shown);
    }
    text.push_str("\nMnemonic\n");
    let _ = writeln!(text, "  {}", config.keys.mnemonic.reveal());
    text.push_str("  path m/44'/60'/0'/0/i\n");

    text.push_str("\nChain\n");
    let _ = writeln!(text, "  chain id      {}", config.chain_id());
    let _ = writeln!(text, "  fork          {}", newest_fork(&config.forks));
    let _ = writeln!(text, "  block time    {} s on L2, {} s on L1", config.l2.block_time, config.l1.block_time);
    if config.l1.provisioners > 1 {
        let _ = writeln!(text, "  provisioners  {}", config.l1.provisioners);
    }
    let _ = writeln!(text, "  gas limit     {}", config.l2.gas_limit);
    if let Some(dir) = &config.data.dir {
        let note = if ephemeral { " (removed at exit)" } else { "" };
        let _ = writeln!(text, "  data          {}{note}", dir.display());
    }

    text.push_str("\nEndpoints\n");
    if let Some(rpc) = endpoints.rpc {
        let _ = writeln!(text, "  L2 JSON-RPC   http://{rpc}  ws://{rpc}");
    }
    if let Some(rpc) = endpoints.l1_rpc {
        let _ = writeln!(text, "  L1 JSON-RPC   http://{rpc}  ws://{rpc}");
    }
    if let Some(rpc) = endpoints.rollup_rpc {
        let _ = writeln!(text, "  rollup node   http://{rpc}  ws://{rpc}");
    }
    let _ = writeln!(text, "  admin         http://{}", endpoints.admin);
    if let Some(http) = endpoints.http {
        let _ = writeln!(text, "  metrics       http://{http}/metrics");
        let _ = writeln!(text, "  health        http://{http}/healthz  http://{http}/readyz");
    }
    if let Some(blobs) = endpoints.blobs {
        let _ = writeln!(text, "  L1 blobs      http://{blobs}");
    }
    let _ = writeln!(text, "\nUp after {} ms. Ctrl-C stops.\n", took.as_millis());
    text
}

/// The newest fork that is active at genesis, and those scheduled after it.
fn newest_fork(forks: &Forks) -> String {
    let in_order = [
        ("Bedrock", ForkTime::GENESIS),
        ("Regolith", forks.regolith),
        ("Canyon", forks.canyon),
        ("Delta", forks.delta),
        ("Ecotone", forks.ecotone),
        ("Fjord", forks.fjord),
        ("Granite", forks.granite),
        ("Holocene", forks.holocene),
        ("Isthmus", forks.isthmus),
        ("Jovian", forks.jovian),
    ];
    let mut text = String::new();
    for (name, ForkTime(time)) in in_order {
        match time {
            Some(0) => name.clone_into(&mut text),
            Some(time) => {
                let _ = write!(text, ", {name} at {time}");
            }
            None => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::dev_accounts;
    use crate::config::Loader;

    #[test]
    fn it_holds_everything_one_needs() {
        let effective = Loader::dev().flag("--data-dir", "data.dir", "/tmp/d").load().unwrap();
        let accounts = dev_accounts(&effective.config.keys.mnemonic, 12).unwrap();
        let endpoints = Endpoints {
            rpc: Some(([127, 0, 0, 1], 4001).into()),
            l1_rpc: Some(([127, 0, 0, 1], 4005).into()),
            engine_api: None,
            rollup_rpc: Some(([127, 0, 0, 1], 4006).into()),
            admin: ([127, 0, 0, 1], 4002).into(),
            http: Some(([127, 0, 0, 1], 4003).into()),
            blobs: Some(([127, 0, 0, 1], 4004).into()),
        };
        let text = text(&effective.config, &accounts, &endpoints, true, Duration::from_millis(120));
        for part in [
            "(0) 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266 (10000 DUSK)",
            "(0) 0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
            "and 2 more",
            "test test test",
            "31310",
            "Isthmus",
            "http://127.0.0.1:4001  ws://127.0.0.1:4001",
            "http://127.0.0.1:4002",
            "http://127.0.0.1:4003/metrics",
            "http://127.0.0.1:4004",
            "http://127.0.0.1:4005  ws://127.0.0.1:4005",
            "http://127.0.0.1:4006  ws://127.0.0.1:4006",
            "/tmp/d (removed at exit)",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn forks_by_name() {
        let mut forks = Forks::default();
        assert_eq!(newest_fork(&forks), "Isthmus");
        forks.jovian = ForkTime(Some(90));
        assert_eq!(newest_fork(&forks), "Isthmus, Jovian at 90");
        forks.jovian = ForkTime::GENESIS;
        assert_eq!(newest_fork(&forks), "Jovian");
    }
}
