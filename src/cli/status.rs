//! `duskevm status`: one screen about a running node.

use jsonrpsee::rpc_params;

use super::admin::Admin;
use super::args::StatusArgs;
use super::{CliError, OK, print, view};

pub(crate) fn run(args: StatusArgs) -> Result<u8, CliError> {
    let status = Admin::new(&args.target)?.call("admin_status", rpc_params![])?;
    print(&if args.target.json { view::json(&status) } else { view::status(&status) })?;
    Ok(OK)
}
