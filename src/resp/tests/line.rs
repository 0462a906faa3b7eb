//! Headers: the short way gives what the long way gives, and takes all that it is for.

use crate::resp::ProtocolError;
use crate::resp::line::{MAX_LINE, length, line, number_line, short_header};

#[test]
fn counts_of_up_to_three_digits_go_the_short_way() {
    for number in 0..=999_usize {
        for kind in [b'*', b'$'] {
            let mut header = vec![kind];
            header.extend_from_slice(number.to_string().as_bytes());
            header.extend_from_slice(b"\r\n");
            let whole = header.len();
            assert_eq!(short_header(kind, &header), Some((number, whole)), "{}", header.escape_ascii());
            // What follows is none of its business; the other type is.
            header.extend_from_slice(b"7\r\n");
            assert_eq!(short_header(kind, &header), Some((number, whole)));
            assert_eq!(short_header(b'*' + b'$' - kind, &header), None);
            assert_eq!(number_line(&header), Ok(Some((i64::try_from(number).unwrap(), whole))));
            for cut in 0..whole {
                assert_eq!(short_header(kind, &header[..cut]), None, "{}", header[..cut].escape_ascii());
            }
        }
    }
}

#[test]
fn all_else_goes_the_long_way() {
    for header in [
        "*1000\r\n",
        "*01\r\n",
        "*001\r\n",
        "*-1\r\n",
        "*\r\n",
        "*1\n",
        "*1\r",
        "*1x\r\n",
        "*x\r\n",
        "*12x\r\n",
        "*/\r\n",
    ] {
        assert_eq!(short_header(b'*', header.as_bytes()), None, "{header:?}");
    }
}

#[test]
fn a_line_ends_with_both_bytes_and_in_time() {
    for (bytes, expected) in [
        (&b"+\r\n"[..], Ok(Some(3))),
        (b"+OK\r\n+", Ok(Some(5))),
        (b"\r\n", Err(ProtocolError::LineEnd)),
        (b"+\n", Err(ProtocolError::LineEnd)),
        (b"\n", Err(ProtocolError::LineEnd)),
        (b"+OK\n", Err(ProtocolError::LineEnd)),
        (b"+OK\r", Ok(None)),
        (b"+OK", Ok(None)),
        (b"", Ok(None)),
    ] {
        assert_eq!(line(bytes, MAX_LINE), expected, "{}", bytes.escape_ascii());
    }
    let text = [&b"+"[..], &[b'x'; 10], b"\r\n"].concat();
    assert_eq!(line(&text, text.len()), Ok(Some(text.len())), "as long as may be");
    assert_eq!(line(&text, text.len() - 1), Err(ProtocolError::Line), "one more");
    assert_eq!(line(&text[..8], 8), Err(ProtocolError::Line));
    assert_eq!(line(&text[..8], 9), Ok(None));
}

#[test]
fn a_length_is_neither_negative_nor_over_its_limit() {
    for (number, expected) in [
        (0, Ok(0)),
        (1, Ok(1)),
        (9, Ok(9)),
        (10, Ok(10)),
        (11, Err(ProtocolError::Length)),
        (12, Err(ProtocolError::Length)),
        (-1, Err(ProtocolError::Length)),
    ] {
        assert_eq!(length(number, 10), expected, "{number}");
    }
}
