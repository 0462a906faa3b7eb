//! Messages that strangers may publish: made up at random, some of them whole.

use proptest::prelude::*;

fn channel() -> BoxedStrategy<Vec<u8>> {
    let realm = prop_oneof![
        Just(b"".to_vec()),
        Just(b"realm/example.org/".to_vec()),
        Just(b"realm/three.example/eu/".to_vec()),
        prop::collection::vec(any::<u8>(), 1..6).prop_map(|name| [b"realm/", &name[..], b"/"].concat()),
    ];
    let user = prop_oneof![
        Just(b"alice".to_vec()),
        Just(b"".to_vec()),
        Just(b"a b".to_vec()),
        Just(b"x/allocation/000000000000000007/status".to_vec()),
        prop::collection::vec(any::<u8>(), 0..8),
    ];
    let kind = prop::sample::select(
        &["status", "traffic", "traffic/peer", "total_traffic", "total_traffic/peer"][..],
    );
    (realm, user, 1..4_u64, kind)
        .prop_map(|(realm, user, id, kind)| {
            [b"turn/", &realm[..], b"user/", &user[..], format!("/allocation/{id:018}/{kind}").as_bytes()]
                .concat()
        })
        .boxed()
}

fn payload() -> BoxedStrategy<Vec<u8>> {
    let number = || prop_oneof![Just(0), 0..5000_u64, Just(u64::from(u32::MAX)), any::<u64>()];
    let counters = (number(), number(), number(), number()).prop_map(|(rcvp, rcvb, sentp, sentb)| {
        format!("rcvp={rcvp}, rcvb={rcvb}, sentp={sentp}, sentb={sentb}")
    });
    let long = "type=TLS/TCP ?, local=127.0.0.1:3478, remote=[::1]:9, ssl=TLSv1.3, cipher=X";
    let status = prop::sample::select(&["new", "refreshed"][..]).prop_flat_map(move |word| {
        (0..4000_u32).prop_map(move |life| format!("{word} lifetime={life}, {long}"))
    });
    let short = prop::sample::select(&["deleted", "new lifetime=600", "refreshed lifetime=0"][..]);
    prop_oneof![3 => counters, 2 => status, 3 => short.prop_map(str::to_owned)]
        .prop_map(String::into_bytes)
        .boxed()
}

/// A message as coturn would send it, or one bent in a random place, or plain garbage.
pub fn message() -> BoxedStrategy<(Vec<u8>, Vec<u8>)> {
    let whole = (channel(), payload());
    let bent = (channel(), payload(), any::<prop::sample::Index>(), any::<bool>(), any::<u8>());
    let bent = bent.prop_map(|(mut channel, mut payload, at, of_channel, byte)| {
        let text = if of_channel { &mut channel } else { &mut payload };
        let at = at.index(text.len());
        if byte < 128 {
            text.truncate(at);
        } else {
            text[at] = byte;
        }
        (channel, payload)
    });
    let garbage = (prop::collection::vec(any::<u8>(), 0..2000), prop::collection::vec(any::<u8>(), 0..2000));
    prop_oneof![6 => whole, 3 => bent, 1 => garbage].boxed()
}
