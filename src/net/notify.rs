//! Messages to the service manager, by the protocol of `sd_notify(3)`: datagrams of lines `NAME=value` to the socket that
//! `NOTIFY_SOCKET` names. Without that variable there is nobody to tell.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The socket of the service manager.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
    manager: SocketAddr,
}

impl NotifySocket {
    /// The one that `NOTIFY_SOCKET` names; `None` where it names none.
    ///
    /// # Errors
    ///
    /// It names what is no socket's address, or there are no sockets to send from.
    pub fn from_env() -> io::Result<Option<Self>> {
        let named = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        named.map(|name| Self::at(&name)).transpose()
    }

    /// The one of this name: a path, or after `@` a name that is not in the file system.
    ///
    /// # Errors
    ///
    /// This is no socket's address, or there are no sockets to send from.
    pub fn at(name: &OsStr) -> io::Result<Self> {
        let manager = match name.as_bytes() {
            [b'@', name @ ..] => abstract_address(name)?,
            path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
        };
        let socket = UnixDatagram::unbound()?;
        // A service manager that is slow must not hold up what it watches.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, manager })
    }

    /// Sends one message.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn send(&self, message: &str) -> io::Result<()> {
        self.socket.send_to_addr(message.as_bytes(), &self.manager).map(drop)
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

/// How long the service manager waits for a sign of life before it restarts the process; `None` where it does not.
pub fn watchdog_patience() -> Option<Duration> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let patience = number("WATCHDOG_USEC").filter(|&micros| is_ours && micros > 0);
    patience.map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_at_a_path_and_at_a_name_outside_of_the_file_system() {
        let path = std::env::temp_dir().join(format!("notify-{}", std::process::id()));
        let outside = format!("@coturn-exporter-notify-{}", std::process::id());
        let receivers = [
            (path.as_os_str(), UnixDatagram::bind(&path).unwrap()),
            (
                OsStr::new(&outside),
                UnixDatagram::bind_addr(&abstract_address(&outside.as_bytes()[1..]).unwrap()).unwrap(),
            ),
        ];
        for (name, receiver) in &receivers {
            NotifySocket::at(name).unwrap().send("READY=1\nSTATUS=x").unwrap();
            let mut message = [0; 64];
            let length = receiver.recv(&mut message).unwrap();
            assert_eq!(&message[..length], b"READY=1\nSTATUS=x", "{name:?}");
        }
        std::fs::remove_file(&path).unwrap();
        let gone = NotifySocket::at(path.as_os_str()).unwrap().send("READY=1").unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }
}
