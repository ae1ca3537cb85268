use crate::{chain::MemoryChain, node::{Node, transfer, user}};
use alloy_primitives::{Address, hex};
use std::time::Instant;
use tokio::{io::{AsyncReadExt as _, AsyncWriteExt as _}, net::TcpStream};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore]
async fn throughput() {
    let node = Node::start(MemoryChain::isthmus()).await;
    let per: usize = 400;
    let conns: usize = 64;
    let mut all = Vec::new();
    for c in 0..conns {
        let key = alloy_signer_local::PrivateKeySigner::from_bytes(&alloy_primitives::B256::with_last_byte(c as u8 + 1)).unwrap();
        let _ = user(0);
        let txs: Vec<Vec<u8>> = (0..per).map(|n| {
            let tx = transfer(&key, n as u64, Address::ZERO, 1);
            let body = format!(r#"{{"jsonrpc":"2.0","id":{n},"method":"eth_sendRawTransaction","params":["{}"]}}"#, hex::encode_prefixed(tx.encoded()));
            format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{}", body.len(), body).into_bytes()
        }).collect();
        all.push(txs);
    }
    for what in ["send", "chainId", "balance"] {
        let started = Instant::now();
        let tasks: Vec<_> = all.clone().into_iter().map(|txs| {
            let address = node.address;
            let what = what.to_owned();
            tokio::spawn(async move {
                let mut s = TcpStream::connect(address).await.unwrap();
                s.set_nodelay(true).unwrap();
                let mut buf = vec![0u8; 4096];
                for tx in txs {
                    let tx = match what.as_str() {
                        "send" => tx,
                        "chainId" => b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 60\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_chainId\",\"params\":[] }".to_vec(),
                        _ => { let b = r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"]}"#; format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{}", b.len(), b).into_bytes() }
                    };
                    s.write_all(&tx).await.unwrap();
                    let mut n = 0;
                    loop {
                        n += s.read(&mut buf[n..]).await.unwrap();
                        if let Some(p) = buf[..n].windows(4).position(|w| w == b"\r\n\r\n") {
                            let head = std::str::from_utf8(&buf[..p]).unwrap();
                            let len: usize = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ").map(|v| v.parse().unwrap())).unwrap();
                            if n >= p + 4 + len { assert!(std::str::from_utf8(&buf[p..n]).unwrap().contains("result"), "{}", std::str::from_utf8(&buf[..n]).unwrap()); break; }
                        }
                    }
                }
            })
        }).collect();
        for t in tasks { t.await.unwrap(); }
        let n = per * conns;
        println!("{what}: {n} in {:?}: {:.0}/s", started.elapsed(), n as f64 / started.elapsed().as_secs_f64());
    }
}
