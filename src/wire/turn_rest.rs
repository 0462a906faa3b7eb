//! Names of the TURN REST API (draft-uberti-behave-turn-rest-00), as coturn takes them: the moment at which the credential
//! expires and a user id, with a separator between them. The one definition of them in this program.

/// coturn's `rest-api-separator` where nothing else is set.
pub const DEFAULT_SEPARATOR: u8 = b':';

/// The user id of a name made of a moment and a user id, in either order; empty where the name is a moment alone.
/// `None` for any other name. As coturn does, splits at the first separator only: the rest may hold more of them.
// docs/semantics.md#turn-rest-names
pub fn user_id(name: &[u8], separator: u8) -> Option<&[u8]> {
    // Ten digits: coturn's time has 32 bits, so what it accepts lies between now and 2106; and no telephone extension has
    // as many.
    let is_moment = |part: &[u8]| part.len() == 10 && part.iter().all(u8::is_ascii_digit);
    let end = name.iter().position(|&byte| byte == separator);
    let (first, second) = match end.and_then(|at| name.split_at_checked(at)) {
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
            ("1795343956:", ""),
            (":1795343956", ""),
            ("1795343956:a:b", "a:b"),
            ("1795343956:1795343957", "1795343957"),
            ("4915112345678:1795343956", "4915112345678"),
            ("1795343956:a|b", "a|b"),
        ] {
            assert_eq!(user_id(name.as_bytes(), b':'), Some(id.as_bytes()), "{name}");
            // With another separator it is the same.
            let (name, id) = (name.replace(':', "-"), id.replace(':', "-"));
            assert_eq!(user_id(name.as_bytes(), b'-'), Some(id.as_bytes()), "{name}");
        }
        for name in
            ["", "alice", "1001", "179534395:alice", "alice:b", "17953439567", "x1795343956", "a:1795343956:"]
        {
            assert_eq!(user_id(name.as_bytes(), b':'), None, "{name}");
        }
    }

    #[test]
    fn another_separator_is_part_of_a_name() {
        assert_eq!(user_id(b"1795343956|alice", b':'), None);
        assert_eq!(user_id(b"1795343956:alice", b'|'), None);
        // A moment alone needs none.
        assert_eq!(user_id(b"1795343956", b'|'), Some(&b""[..]));
    }
}
