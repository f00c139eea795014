//! Distance to a TCP server: the time that its handshake takes, which is one round trip.
//!
//! Addresses come from others, so private ones are refused unless the owner allows them: nobody may use our process
//! to look around in our network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, lookup_host};

const LIMIT: Duration = Duration::from_secs(5);

/// Which addresses may be measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Globally routed ones.
    #[default]
    Public,
    /// Private and loopback ones as well.
    Anywhere,
}

#[derive(Debug, thiserror::Error)]
pub enum RoundTripError {
    #[error("{0} has no address")]
    NoAddress(String),
    #[error("{0} is not a public address")]
    Private(IpAddr),
    #[error("no answer within {LIMIT:?}")]
    Silent,
    #[error("{0}")]
    Failed(#[from] std::io::Error),
}

/// Opens and closes a connection to `host:port`; the name is looked up before the clock starts.
///
/// # Errors
/// When the name has no permitted address, or no connection comes up within 5 s.
pub async fn round_trip(address: &str, reach: Reach) -> Result<Duration, RoundTripError> {
    let within = tokio::time::timeout(LIMIT, measure(address, reach));
    within.await.map_err(|_| RoundTripError::Silent)?
}

async fn measure(address: &str, reach: Reach) -> Result<Duration, RoundTripError> {
    let found: Option<SocketAddr> = lookup_host(address).await?.next();
    let found = found.ok_or_else(|| RoundTripError::NoAddress(address.to_owned()))?;
    if reach == Reach::Public && !is_public(found.ip()) {
        return Err(RoundTripError::Private(found.ip()));
    }
    let started = Instant::now();
    TcpStream::connect(found).await?;
    Ok(started.elapsed())
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => address
            .to_ipv4_mapped()
            .map_or_else(|| is_public_v6(address), is_public_v4),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    // 100.64.0.0/10 lies behind carriers' address translation, 198.18.0.0/15 in test networks.
    let shared = first == 100 && (64..128).contains(&second);
    let benchmarking = first == 198 && (18..20).contains(&second);
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || first == 0
        || first >= 240
        || shared
        || benchmarking)
}

/// 2000::/3 is all that is routed globally; NAT64's 64:ff9b::/96 could lead to private IPv4 addresses.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let first = address.segments()[0];
    let documentation = address.segments()[..2] == [0x2001, 0x0db8];
    // 6to4 carries an IPv4 address.
    (0x2000..0x4000).contains(&first) && first != 0x2002 && !documentation
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn private_networks_are_told_apart() {
        for public in ["8.8.8.8", "100.63.0.1", "172.32.0.1", "2a00:1450::1", "::ffff:1.1.1.1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "198.18.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:db8::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    #[tokio::test]
    async fn a_listener_is_measured_and_a_closed_port_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let refused = round_trip(&address, Reach::Public).await.unwrap_err();
        assert_eq!(refused.to_string(), "127.0.0.1 is not a public address");
        assert!(round_trip(&address, Reach::Anywhere).await.unwrap() < LIMIT);
        drop(listener);
        assert!(round_trip(&address, Reach::Anywhere).await.is_err());
        assert!(round_trip("no-port", Reach::Anywhere).await.is_err());
    }
}
