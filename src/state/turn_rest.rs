//! Names of the TURN REST API (draft-uberti-behave-turn-rest-00), as coturn takes them: a moment and a user id.

/// The user id of a name made of a moment and a user id, in either order; empty where the name is a moment alone.
/// `None` for any other name.
pub fn user_id(name: &[u8]) -> Option<&[u8]> {
    // Ten digits: the seconds since 1970 from 2001 to 2286, and no telephone extension.
    let is_moment = |part: &[u8]| part.len() == 10 && part.iter().all(u8::is_ascii_digit);
    let colon = name.iter().position(|&b| b == b':');
    let (first, second) = match colon.and_then(|at| name.split_at_checked(at)) {
        Some((first, rest)) => (first, rest.get(1..).unwrap_or_default()),
        None => (name, &[][..]),
    };
    if is_moment(first) {
        Some(second)
    } else if is_moment(second) {
        Some(first)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_moment_away() {
        for (name, id) in [
            ("1795343956:alice", "alice"),
            ("alice:1795343956", "alice"),
            ("1795343956", ""),
            (":1795343956", ""),
            ("1795343956:a:b", "a:b"),
            ("1795343956:1795343957", "1795343957"),
        ] {
            assert_eq!(user_id(name.as_bytes()), Some(id.as_bytes()), "{name}");
        }
        for name in
            ["", "alice", "1001", "179534395:alice", "alice:b", "17953439567", "x1795343956", "a:1795343956:"]
        {
            assert_eq!(user_id(name.as_bytes()), None, "{name}");
        }
    }
}
