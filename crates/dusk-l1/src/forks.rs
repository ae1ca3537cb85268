//! Hard-fork switches of the ledger formats.

use dusk_node_data::hard_fork;

/// Height at which every Dusk hard fork is active on the networks that this program runs itself.
///
/// The published node treats every chain id that it does not know the same way.
pub const FORK_HEIGHT: u64 = 1;

/// Activates Aegis and Boreas at [`FORK_HEIGHT`] for the whole process.
///
/// `dusk-node-data` keeps the heights in process-wide cells whose default is *never*; until this has been called it
/// would sign with the old, forgeable BLS scheme and write transactions in the oldest format. The call is idempotent and
/// cheap, so that everything here that signs or decodes makes it first.
pub fn activate() {
    hard_fork::set_aegis_activation_height(FORK_HEIGHT);
    hard_fork::set_boreas_activation_height(FORK_HEIGHT);
}
