//! Frames to send: a client's commands, a server's replies.

/// Appends a command, as clients send them.
pub fn command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    array(out, parts.len());
    for part in parts {
        bulk(out, part);
    }
}

/// Appends a status.
pub fn simple(out: &mut Vec<u8>, text: &str) {
    line(out, b'+', text.as_bytes());
}

/// Appends an error, its code first. What could end its line is left out.
pub fn error(out: &mut Vec<u8>, text: &str) {
    line(out, b'-', text.replace(['\r', '\n'], " ").as_bytes());
}

/// Appends a number.
pub fn integer(out: &mut Vec<u8>, number: u64) {
    line(out, b':', number.to_string().as_bytes());
}

/// Appends any bytes.
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    line(out, b'$', bytes.len().to_string().as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends nothing, as a value.
pub fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"$-1\r\n");
}

/// Appends nothing, as a value of RESP3.
pub fn null3(out: &mut Vec<u8>) {
    out.extend_from_slice(b"_\r\n");
}

/// Appends the head of a map of RESP3, whose names and values follow.
pub fn map(out: &mut Vec<u8>, length: usize) {
    line(out, b'%', length.to_string().as_bytes());
}

/// Appends the head of an array, whose values follow.
pub fn array(out: &mut Vec<u8>, length: usize) {
    line(out, b'*', length.to_string().as_bytes());
}

fn line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.push(kind);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}
