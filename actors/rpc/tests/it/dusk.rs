//! The admin methods about the L1, over scripted ports.

use crate::client::Client;
use alloy_primitives::{B256, Bytes};
use duskevm_dusk_l1::contracts::CallFailure;
use duskevm_l1_view::{DuskBlock, DuskEvent, DuskTx, LOG_TOPIC, ViewBlock, ViewConfig, encode_log, project};
use duskevm_messages::consensus::{
    ConsensusState, ConsensusStep, DuskAccount, DuskProvisioner, DuskTransactionStatus, ReadDuskContract, SubmitRefusal,
};
use duskevm_messages::l1::ViewTransaction;
use duskevm_rpc::{AdminBackend, AdminConfig, AdminServer, DuskPorts, Socket, admin_spec};
use duskevm_supervision::{ActorStatus, AskError, Cause, Fault, InjectError, Port, Ref, Strategy, Supervisor, Tree};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// Base58 of the BLS public key whose secret key is 1: the generator of the group.
const KEY: &str = "swVJmkrgSeVKhyDHqRXbDhToeQtR2JPTTnD6fp9Jty9jfLDqDh7sAhgbHBZTfXDFh3kvZxMCwe5w4R7FXbHNt6PUkyJEsuvJ8bsqFocwyuygsJMpjaFYB8914BoaiNFsUiK";

struct Backend(Option<DuskPorts>);

impl AdminBackend for Backend {
    fn actors(&self) -> Vec<ActorStatus> {
        vec![]
    }
    fn why(&self) -> Vec<Cause> {
        vec![]
    }
    fn inject(&self, name: &str, _: Fault) -> Result<(), InjectError> {
        Err(InjectError::Unknown { name: name.into(), known: vec![] })
    }
    fn status(&self) -> BoxFuture<'static, Value> {
        Box::pin(async { json!({}) })
    }
    fn node_info(&self) -> Value {
        json!({})
    }
    fn dusk(&self) -> Option<DuskPorts> {
        self.0.clone()
    }
}

fn ports() -> DuskPorts {
    DuskPorts {
        submit: Port::from_fn(|msg: duskevm_messages::consensus::SubmitDuskTransaction| async move {
            if msg.bytes == Bytes::from_static(&[1, 2]) {
                Ok(B256::repeat_byte(7))
            } else {
                Err(SubmitRefusal::Busy { waiting: 3 })
            }
        }),
        account: Port::from_fn(|_| async {
            DuskAccount { nonce: 4, balance: u64::MAX, next_nonce: 6, stake: 1_000, reward: 0 }
        }),
        transaction: Port::from_fn(|msg: duskevm_messages::consensus::GetDuskTransaction| async move {
            match msg.id.0[0] {
                0 => DuskTransactionStatus::Unknown,
                1 => DuskTransactionStatus::Waiting,
                _ => DuskTransactionStatus::Included {
                    height: 9,
                    index: 1,
                    gas_spent: 50,
                    error: Some("no".into()),
                    is_final: true,
                },
            }
        }),
        provisioners: Port::from_fn(|_| async {
            vec![DuskProvisioner {
                account: KEY.parse().unwrap(),
                stake: 5,
                locked: 6,
                eligibility: 7,
                reward: 8,
                faults: 1,
                hard_faults: 2,
            }]
        }),
        state: Port::from_fn(|_| async {
            ConsensusState { round: 12, iteration: 3, step: ConsensusStep::Validation, votes: true, syncing: false }
        }),
        read: Port::from_fn(|msg: ReadDuskContract| async move {
            match msg.method.as_str() {
                "gasLimit" => Ok([msg.contract.as_slice(), &msg.args].concat().into()),
                other => Err(CallFailure::UnknownFunction(other.into())),
            }
        }),
        view: Port::from_fn(|msg: ViewTransaction| async move {
            let block = viewed();
            (msg.id == SECOND).then(|| (Arc::new(block), 1))
        }),
    }
}

const SECOND: B256 = B256::repeat_byte(2);

/// A block of the view with two transactions, of two logs and of one.
fn viewed() -> ViewBlock {
    let contract = B256::repeat_byte(9);
    let log = || DuskEvent { contract, topic: LOG_TOPIC.into(), data: encode_log(&[SECOND], &[5]).into() };
    let tx = |index: u32, events| DuskTx { id: B256::repeat_byte(index as u8 + 1), index, events };
    let block = DuskBlock {
        height: 0,
        timestamp: 77,
        hash: B256::repeat_byte(3),
        prev_hash: B256::ZERO,
        seed: [0; 48],
        txs: vec![tx(0, vec![log(), log()]), tx(1, vec![log()])],
    };
    project(&ViewConfig { chain_id: 5, emitters: [contract].into(), inbox: None }, None, &block).unwrap()
}

#[tokio::test]
async fn contracts_are_asked_and_the_view_is_shown() {
    let (client, supervisor) = start(Some(ports())).await;
    let contract = B256::repeat_byte(4);
    let answer = client.call("admin_duskRead", json!([contract, "gasLimit", "0xc0"])).await;
    assert_eq!(answer, json!(format!("0x{}c0", "04".repeat(32))));
    let answer = client.call("admin_duskRead", json!([contract, "gasLimit"])).await;
    assert_eq!(answer, json!(contract));
    let (code, message) = client.error("admin_duskRead", json!([contract, "colour", "0x"])).await;
    assert_eq!((code, message.as_str()), (-32000, "the contract has no function `colour`"));

    assert_eq!(client.call("admin_l1Transaction", json!([B256::ZERO])).await, Value::Null);
    let shown = client.call("admin_l1Transaction", json!([SECOND])).await;
    let block = viewed();
    assert_eq!(shown["blockNumber"], 0);
    assert_eq!(shown["blockHash"], json!(block.hash()));
    assert_eq!(shown["transactionHash"], json!(block.transactions[1].hash()));
    assert_eq!(shown["transactionIndex"], 1);
    let logs = shown["logs"].as_array().unwrap();
    assert_eq!(logs.len(), 1);
    assert_eq!((&logs[0]["logIndex"], &logs[0]["data"]), (&json!("0x2"), &json!("0x05")), "counted through the block");
    for (method, params) in [
        ("admin_duskRead", json!([])),
        ("admin_duskRead", json!([contract])),
        ("admin_duskRead", json!(["0x01", "gasLimit"])),
        ("admin_duskRead", json!([contract, "gasLimit", "c0", 1])),
        ("admin_l1Transaction", json!(["0x01"])),
    ] {
        assert_eq!(client.error(method, params.clone()).await.0, -32602, "{method} {params}");
    }
    supervisor.shutdown(Duration::from_secs(10)).await;
}

async fn start(ports: Option<DuskPorts>) -> (Client, Supervisor) {
    let config = AdminConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)) };
    let socket = Socket::new(config.listen);
    let actor: Ref<AdminServer> = Ref::declare("admin");
    let supervisor = Tree::new("root", Strategy::OneForOne)
        .actor(admin_spec(&actor, config, socket.clone(), Arc::new(Backend(ports))))
        .start();
    supervisor.ready().await.unwrap();
    (Client::new(socket.local_addr().unwrap()), supervisor)
}

#[tokio::test]
async fn the_l1_is_asked_and_fed() {
    let (client, supervisor) = start(Some(ports())).await;
    for bytes in ["0x0102", "0102"] {
        assert_eq!(client.call("admin_submitDusk", json!([bytes])).await, format!("0x{}", "07".repeat(32)));
    }
    let (code, message) = client.error("admin_submitDusk", json!(["0x"])).await;
    assert_eq!((code, message.contains("busy checking 3 other")), (-32000, true), "{message}");
    assert_eq!(
        client.call("admin_duskAccount", json!([KEY])).await,
        json!({
            "account": KEY,
            "nonce": 4,
            "nextNonce": 6,
            "balance": "18446744073709551615",
            "stake": "1000",
            "reward": "0",
        })
    );
    let transaction = async |first: u8| {
        let id = B256::repeat_byte(first);
        client.call("admin_duskTransaction", json!([id])).await
    };
    assert_eq!(transaction(0).await, json!({ "state": "unknown" }));
    assert_eq!(transaction(1).await, json!({ "state": "waiting" }));
    assert_eq!(
        transaction(2).await,
        json!({ "state": "included", "height": 9, "index": 1, "gasSpent": 50, "error": "no", "final": true })
    );
    assert_eq!(
        client.call("admin_duskProvisioners", json!([])).await,
        json!([{
            "account": KEY,
            "stake": "5",
            "locked": "6",
            "eligibility": 7,
            "reward": "8",
            "faults": 1,
            "hardFaults": 2,
        }])
    );
    assert_eq!(
        client.call("admin_consensusState", json!([])).await,
        json!({ "round": 12, "iteration": 3, "step": "validation", "votes": true, "syncing": false })
    );
    for (method, params) in [
        ("admin_submitDusk", json!([])),
        ("admin_submitDusk", json!(["0xzz"])),
        ("admin_duskAccount", json!(["abc"])),
        ("admin_duskTransaction", json!(["0x01"])),
        ("admin_duskProvisioners", json!([1])),
    ] {
        let (code, message) = client.error(method, params.clone()).await;
        assert_eq!(code, -32602, "{method} {params}: {message}");
    }
    supervisor.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_node_without_l1_says_so_and_an_absent_l1_too() {
    let (client, supervisor) = start(None).await;
    let (code, message) = client.error("admin_duskProvisioners", json!([])).await;
    assert_eq!((code, message.contains("runs no L1")), (-32000, true), "{message}");
    supervisor.shutdown(Duration::from_secs(10)).await;

    let gone = Port::try_from_fn(|_| async { Err(AskError::Gone { actor: "consensus".into() }) });
    let (client, supervisor) = start(Some(DuskPorts { state: gone, ..ports() })).await;
    let (code, message) = client.error("admin_consensusState", json!([])).await;
    assert_eq!((code, message.starts_with("the L1 is not available: ")), (-32000, true), "{message}");
    supervisor.shutdown(Duration::from_secs(10)).await;
}
