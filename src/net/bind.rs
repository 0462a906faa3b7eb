//! Listen addresses: binding them on both address families.

use crate::config::ListenAddress;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::{TcpListener, TcpSocket, lookup_host};

/// Connections that wait to be accepted, as far as the system allows: a coturn that starts has a connection for each of its
/// threads.
const BACKLOG: u32 = 4096;

/// A listen address that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}; {}", advice(.error, .flag))]
pub struct BindError {
    address: String,
    flag: &'static str,
    error: io::Error,
}

fn advice(error: &io::Error, flag: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!("stop what uses the port or set another {flag}"),
        io::ErrorKind::PermissionDenied => {
            format!("this user may not use the port (below 1024?); set another {flag}")
        }
        _ => format!("set a {flag} that this machine has"),
    }
}

/// Binds one address, on every address family that it stands for: a name gets one socket for each address that it has.
/// `flag` is the one that set the address; an error names it.
///
/// # Errors
///
/// The address cannot be bound, and what to change.
pub async fn bind(address: &ListenAddress, flag: &'static str) -> Result<Vec<TcpListener>, BindError> {
    let bound = match address {
        ListenAddress::Any { port } => bind_all_interfaces(*port, listen).map(|listener| vec![listener]),
        ListenAddress::Socket(address) => {
            listen(*address, Families::AsTheSystemHasIt).map(|listener| vec![listener])
        }
        ListenAddress::Name { host, port } => match lookup_host((host.as_str(), *port)).await {
            Ok(found) => bind_found(found),
            Err(error) => Err(error),
        },
    };
    bound.map_err(|error| BindError { address: address.to_string(), flag, error })
}

/// Whether a socket that is bound to `bound` listens where `address` says.
pub async fn stands_for(address: &ListenAddress, bound: SocketAddr) -> bool {
    match address {
        ListenAddress::Any { port } => bound.ip().is_unspecified() && bound.port() == *port,
        ListenAddress::Socket(address) => *address == bound,
        ListenAddress::Name { host, port } => {
            let found = lookup_host((host.as_str(), *port)).await;
            found.is_ok_and(|mut found| found.any(|address| address == bound))
        }
    }
}

/// Which address families an IPv6 socket takes connections of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Families {
    /// IPv4 as well, whatever `net.ipv6.bindv6only` says.
    Both,
    /// What that setting says.
    AsTheSystemHasIt,
}

fn listen(address: SocketAddr, families: Families) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    listen_on(socket, address, families)
}

fn listen_on(socket: TcpSocket, address: SocketAddr, families: Families) -> io::Result<TcpListener> {
    // What is left of a connection of an earlier process must not keep the port from us.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    if families == Families::Both {
        socket2::SockRef::from(&socket).set_only_v6(false)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Binds `port` on all addresses of the machine; `listen` is an argument so that a test can stand for a machine without IPv6.
fn bind_all_interfaces<L>(
    port: u16,
    listen: impl Fn(SocketAddr, Families) -> io::Result<L>,
) -> io::Result<L> {
    match listen((Ipv6Addr::UNSPECIFIED, port).into(), Families::Both) {
        Ok(listener) => Ok(listener),
        // A machine without IPv6.
        Err(error) if is_no_address_here(&error) => {
            listen((Ipv4Addr::UNSPECIFIED, port).into(), Families::AsTheSystemHasIt)
        }
        Err(error) => Err(error),
    }
}

fn bind_found(found: impl Iterator<Item = SocketAddr>) -> io::Result<Vec<TcpListener>> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut tried = Vec::new();
    let mut missing = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for mut address in found {
        if tried.contains(&address) {
            continue;
        }
        tried.push(address);
        // Where the system chooses the port, all addresses of the name get the same one.
        if let (0, Some(first)) = (address.port(), listeners.first()) {
            address.set_port(first.local_addr()?.port());
        }
        match listen(address, Families::AsTheSystemHasIt) {
            Ok(listener) => listeners.push(listener),
            // `localhost` names ::1 also on machines without IPv6: one that can be bound is enough.
            Err(error) if is_no_address_here(&error) => missing = error,
            Err(error) => return Err(error),
        }
    }
    if listeners.is_empty() { Err(missing) } else { Ok(listeners) }
}

/// Whether this machine does not have the address, or not even its family.
fn is_no_address_here(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    const FLAG: &str = "--web.listen-address";

    #[tokio::test]
    async fn a_socket_stands_for_the_address_that_it_is_bound_to() {
        for (address, bound, expected) in [
            (":6390", "[::]:6390", true),
            (":6390", "0.0.0.0:6390", true),
            (":6390", "127.0.0.1:6390", false),
            ("127.0.0.1:6390", "127.0.0.1:6390", true),
            ("127.0.0.1:6390", "127.0.0.1:6391", false),
            ("127.0.0.1:6390", "0.0.0.0:6390", false),
            ("localhost:6390", "127.0.0.1:6390", true),
            ("localhost:6390", "192.0.2.1:6390", false),
        ] {
            let is_same = stands_for(&address.parse().unwrap(), bound.parse().unwrap()).await;
            assert_eq!(is_same, expected, "{address} {bound}");
        }
    }

    #[tokio::test]
    async fn every_interface_means_both_families() {
        let listeners = bind(&":0".parse().unwrap(), FLAG).await.unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        assert!(listeners.iter().all(|listener| listener.local_addr().unwrap().port() == port));
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("IPv4");
        if listeners[0].local_addr().unwrap().is_ipv6() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.expect("IPv6");
        }
    }

    /// What `net.ipv6.bindv6only` sets for each new socket.
    #[tokio::test]
    async fn every_interface_takes_ipv4_where_the_system_keeps_it_apart() {
        let socket = TcpSocket::new_v6().unwrap();
        socket2::SockRef::from(&socket).set_only_v6(true).unwrap();
        let listener = listen_on(socket, (Ipv6Addr::UNSPECIFIED, 0).into(), Families::Both).unwrap();
        assert!(!socket2::SockRef::from(&listener).only_v6().unwrap());
        TcpStream::connect((Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port())).await.expect("IPv4");
        // That it is asked for.
        let asked = bind_all_interfaces(0, |address, families| Ok((address, families))).unwrap();
        assert_eq!(asked, ((Ipv6Addr::UNSPECIFIED, 0).into(), Families::Both));
    }

    #[test]
    fn every_interface_is_ipv4_where_there_is_no_ipv6() {
        for missing in [rustix::io::Errno::AFNOSUPPORT, rustix::io::Errno::ADDRNOTAVAIL] {
            let listen = |address: SocketAddr, _| {
                if address.is_ipv6() { Err(missing.into()) } else { Ok(address) }
            };
            assert_eq!(bind_all_interfaces(80, listen).unwrap(), (Ipv4Addr::UNSPECIFIED, 80).into());
        }
        let taken = |_, _| Err::<(), _>(rustix::io::Errno::ADDRINUSE.into());
        assert_eq!(bind_all_interfaces(80, taken).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn a_name_is_bound_on_each_of_its_addresses() {
        let both: [SocketAddr; 3] = [
            (Ipv6Addr::LOCALHOST, 0).into(),
            (Ipv4Addr::LOCALHOST, 0).into(),
            (Ipv4Addr::LOCALHOST, 0).into(),
        ];
        let listeners = bind_found(both.into_iter()).unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        let bound: Vec<SocketAddr> =
            listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        assert_eq!(bound, [(Ipv6Addr::LOCALHOST, port).into(), (Ipv4Addr::LOCALHOST, port).into()]);
        // 192.0.2.1 is nobody's.
        let here: [SocketAddr; 2] = [([192, 0, 2, 1], 0).into(), (Ipv4Addr::LOCALHOST, 0).into()];
        assert_eq!(bind_found(here.into_iter()).unwrap().len(), 1);
        assert!(bind_found(here.into_iter().take(1)).is_err());
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error_that_names_the_address() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = taken.local_addr().unwrap();
        for text in [address.to_string(), format!(":{}", address.port())] {
            let error = bind(&text.parse().unwrap(), FLAG).await.unwrap_err().to_string();
            assert!(error.contains(&text) && error.contains(FLAG), "{error}");
        }
    }
}
