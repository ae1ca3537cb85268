//! What a blob costs: making its commitment and proof, and checking one or a block full of them. Next to each the same by the KZG
//! library alone, called as directly as it can be: with its own types, which were made before.

#![allow(missing_docs, reason = "the macros make functions without documentation")]

use std::hint::black_box;

use c_kzg::{Blob, Bytes48, ethereum_kzg_settings};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use duskevm_blobs::{BYTES, Hash, Sidecar, kzg};

/// Blobs that fit in a block of 1 MiB.
const BLOCK: u8 = 6;

fn data(seed: u8) -> Vec<u8> {
    let mut data: Vec<u8> = (0..BYTES).map(|at| (at as u8).wrapping_mul(seed) ^ (at >> 8) as u8).collect();
    data.chunks_mut(32).for_each(|element| element[0] = 0);
    data
}

fn benches(c: &mut Criterion) {
    kzg::warm_up();
    let items: Vec<(Hash, Sidecar)> = (1..=BLOCK)
        .filter_map(|seed| kzg::commit_and_prove(&data(seed)).ok())
        .map(|made| (*made.hash(), made.sidecar().clone()))
        .collect();
    let mut group = c.benchmark_group("kzg");
    group.sample_size(20);
    let raw = data(7);
    group.bench_function("commit_and_prove", |b| b.iter(|| kzg::commit_and_prove(black_box(&raw))));
    group.bench_function("verify", |b| b.iter(|| kzg::verify(&items[0].0, black_box(items[0].1.clone()))));
    group.bench_function("verify_batch_6", |b| {
        b.iter_batched(|| items.clone(), |items| kzg::verify_batch(black_box(items)), BatchSize::SmallInput)
    });
    let mut bad = items.clone();
    bad[0].1.proof = items[1].1.proof;
    group.bench_function("verify_batch_6_one_bad", |b| {
        b.iter_batched(|| bad.clone(), |items| kzg::verify_batch(black_box(items)), BatchSize::SmallInput)
    });

    let settings = ethereum_kzg_settings(0);
    let blob = Blob::from_bytes(&raw).expect("it has the length of a blob");
    group.bench_function("direct/commit_and_prove", |b| {
        b.iter(|| {
            let commitment = settings.blob_to_kzg_commitment(black_box(&blob))?.to_bytes();
            settings.compute_blob_kzg_proof(&blob, &commitment).map(|proof| (commitment, proof))
        })
    });
    let blobs: Vec<Blob> = items.iter().map(|(_, sidecar)| Blob::new(*sidecar.data)).collect();
    let commitments: Vec<_> = items.iter().map(|(_, sidecar)| Bytes48::new(sidecar.commitment)).collect();
    let proofs: Vec<_> = items.iter().map(|(_, sidecar)| Bytes48::new(sidecar.proof)).collect();
    group.bench_function("direct/verify", |b| {
        b.iter(|| settings.verify_blob_kzg_proof(black_box(&blobs[0]), &commitments[0], &proofs[0]))
    });
    group.bench_function("direct/verify_batch_6", |b| {
        b.iter(|| settings.verify_blob_kzg_proof_batch(black_box(&blobs), &commitments, &proofs))
    });
    group.finish();
}

criterion_group!(kzg_benches, benches);
criterion_main!(kzg_benches);
