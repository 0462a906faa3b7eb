//! Listen addresses: binding them on both address families.

use crate::config::ListenAddress;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::{TcpListener, lookup_host};

/// A listen address that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; {}", advice(.source, .flag))]
pub struct BindError {
    address: String,
    flag: &'static str,
    source: io::Error,
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

/// Binds one address: every interface needs up to two sockets, a name one for each address it has. `flag` is the one
/// that set the address; an error names it.
///
/// # Errors
///
/// The address cannot be bound, and what to change.
pub async fn bind(address: &ListenAddress, flag: &'static str) -> Result<Vec<TcpListener>, BindError> {
    let bound = match address {
        ListenAddress::Any { port } => bind_all_interfaces(*port).await,
        ListenAddress::Socket(address) => TcpListener::bind(address).await.map(|listener| vec![listener]),
        ListenAddress::Name { host, port } => match lookup_host((host.as_str(), *port)).await {
            Ok(found) => bind_found(found).await,
            Err(error) => Err(error),
        },
    };
    bound.map_err(|source| BindError { address: address.to_string(), flag, source })
}

async fn bind_all_interfaces(port: u16) -> io::Result<Vec<TcpListener>> {
    let v6 = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Ok(v6) => v6,
        Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {
            return Err(error);
        }
        // A machine without IPv6.
        Err(_) => return Ok(vec![TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?]),
    };
    // An IPv6 socket takes IPv4 too, unless the system is set otherwise (`bindv6only`). In the first case this
    // second bind fails because the port is in use, by us; in the second it is needed.
    let v4 = TcpListener::bind((Ipv4Addr::UNSPECIFIED, v6.local_addr()?.port())).await;
    Ok(std::iter::once(v6).chain(v4.ok()).collect())
}

async fn bind_found(found: impl Iterator<Item = SocketAddr>) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut tried = Vec::new();
    let mut missing = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in found {
        if tried.contains(&address) {
            continue;
        }
        tried.push(address);
        match TcpListener::bind(address).await {
            Ok(listener) => listeners.push(listener),
            // `localhost` names ::1 also on machines without IPv6: one that can be bound is enough.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => missing = error,
            Err(error) => return Err(error),
        }
    }
    if listeners.is_empty() { Err(missing) } else { Ok(listeners) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    const FLAG: &str = "--web.listen-address";

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
