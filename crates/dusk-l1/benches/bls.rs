//! Signatures of the consensus: one, and a committee's, with the published way beside ours.

#![allow(missing_docs, reason = "criterion makes undocumented items")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use dusk_core::signatures::bls::{self, BlsVersion};
use duskevm_dusk_l1::keys::{AccountId, Signer};
use duskevm_dusk_l1::sa::bls::{Bls, DuskBls};

const MEMBERS: usize = 64;
const MESSAGE: [u8; 75] = [7; 75];

fn signatures(c: &mut Criterion) {
    let bls = DuskBls::default();
    let signers: Vec<_> = (0..MEMBERS).map(|i| Signer::from_seed(&i.to_le_bytes())).collect();
    let ids: Vec<AccountId> = signers.iter().map(Signer::id).collect();
    let each: Vec<_> = signers.iter().map(|signer| bls.sign(signer, &MESSAGE)).collect();
    let summed = |members: usize| {
        let sum = each[..members].iter().try_fold(None, |sum, signature| bls.add(sum, signature).map(Some));
        sum.ok().flatten().expect("signatures made here can be added")
    };

    c.bench_function("bls/sign", |b| b.iter(|| bls.sign(&signers[0], &MESSAGE)));
    let one = summed(1);
    c.bench_function("bls/add a signature", |b| b.iter(|| bls.add(Some(one.clone()), &each[0])));
    c.bench_function("bls/prepare a key", |b| b.iter(|| DuskBls::default().key(&ids[0])));
    for members in [1, 4, 16, MEMBERS] {
        let total = bls.sum_bytes(&summed(members));
        assert!(bls.verify_ids(&ids[..members], &MESSAGE, &total).is_ok());
        c.bench_with_input(BenchmarkId::new("bls/verify a committee of", members), &members, |b, members| {
            b.iter(|| bls.verify_ids(&ids[..*members], &MESSAGE, &total));
        });
    }

    let keys: Vec<_> = signers.iter().map(|signer| *signer.public_key()).collect();
    for members in [1, 4, 16, MEMBERS] {
        let theirs = signers[..members]
            .iter()
            .map(|s| bls::sign_multisig(s.secret_key(), s.public_key(), &MESSAGE, BlsVersion::V2))
            .reduce(|sum, next| sum.aggregate(&[next]));
        let Some(theirs) = theirs else { return };
        c.bench_with_input(BenchmarkId::new("published/verify a committee of", members), &members, |b, members| {
            b.iter(|| {
                let key = bls::aggregate(&keys[..*members], BlsVersion::V2);
                key.and_then(|key| bls::verify_multisig(&key, &theirs, &MESSAGE, BlsVersion::V2))
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = signatures
}
criterion_main!(benches);
