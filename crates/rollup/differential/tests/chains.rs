//! A few hundred generated chains, and a chain for each departure of kona.

#![allow(clippy::unwrap_used)]

use duskevm_rollup_differential::{
    compare::{Verdict, compare, shows, silence_panics},
    departure::Departure,
    generate::{
        Fault, generate, generate_about,
        steady::{Posting, steady},
    },
};

fn agree(seed: u64) -> Verdict {
    let verdict = compare(generate(seed));
    assert_eq!(verdict.difference, None, "seed {seed}, {:?}", verdict.focus);
    verdict
}

/// Ten chains about every fault.
#[test]
fn both_derive_the_same_attributes() {
    silence_panics();
    let verdicts: Vec<_> = (0..300).map(agree).collect();
    for fault in Fault::ALL.into_iter().skip(1) {
        let times: u64 = verdicts.iter().filter_map(|verdict| verdict.faults.get(&fault)).sum();
        assert!(times > 0, "{fault:?} never happened");
    }
    assert!(verdicts.iter().map(|verdict| verdict.attributes).sum::<usize>() > 10_000);
    assert!(verdicts.iter().any(|verdict| verdict.replaced > 0), "no payload was invalid");
}

#[test]
fn chains_without_faults_need_no_repair() {
    let verdict = compare(steady(300, 1, Posting::SpanBrotli).0);
    assert_eq!(verdict.difference, None);
    assert!(verdict.departures.is_empty() && !verdict.published_differs, "{:?}", verdict.departures);
    assert!(verdict.attributes >= 300);
}

/// With all repairs but this one kona gives something else on a chain about this fault, and with all of them it does not.
fn shown_by(departure: Departure, fault: Fault) {
    silence_panics();
    let found = (0..1_000).find(|seed| {
        let verdict = compare(generate_about(*seed, fault));
        assert_eq!(verdict.difference, None, "seed {seed}");
        verdict.departures.contains_key(&departure) && shows(generate_about(*seed, fault), departure)
    });
    assert!(found.is_some(), "no chain about {fault:?} shows {departure:?}");
}

macro_rules! departures {
    ($($name:ident: $departure:ident by $fault:ident;)*) => {
        $(#[test] fn $name() { shown_by(Departure::$departure, Fault::$fault); })*

        #[test]
        fn every_departure_has_a_test() {
            assert_eq!([$(Departure::$departure),*], Departure::ALL);
        }
    };
}

departures! {
    kona_goes_on_to_the_next_l1_block_after_a_dropped_span: DroppedSpanEndsL1Block by WrongParent;
    kona_takes_frames_out_of_order_across_transactions: FrameOrderAcrossTransactions by FramesOutOfOrder;
    kona_takes_any_last_byte_of_a_frame: FrameLastByte by FrameLastByte;
    kona_overwrites_parent_hashes: ParentHashOverwritten by WrongParent;
    kona_prunes_a_closed_channel_of_a_reused_id: ReusedChannelId by ChannelIdReused;
    kona_stops_at_a_blob_of_zeros: ZeroBlob by BadBlob;
    kona_does_not_look_at_the_first_bits_of_a_blob: BlobFirstByte by BadBlob;
    kona_loses_all_batches_of_a_corrupt_channel: ChannelNotClipped by ChannelCorrupt;
    kona_panics_at_truncated_spans: SpanDecodePanics by BatchCorrupt;
    kona_pads_a_bit_list_that_is_too_short: ShortBitList by BatchCorrupt;
    kona_takes_the_rest_of_a_span_that_repeats_other_blocks: OverlapUnchecked by SpanOverlapping;
    kona_refuses_numbers_that_are_not_minimal: NonMinimalVarint by SpanVarintNotMinimal;
    kona_stops_at_a_malformed_config_log: MalformedConfigLog by MalformedConfigLog;
    kona_ignores_high_bytes_in_deposits: DepositHighBytes by MalformedDeposit;
}
