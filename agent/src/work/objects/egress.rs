//! `host:port` pairs that a work pod may reach: pure.

use std::fmt;
use std::net::IpAddr;

/// Where a work pod may connect to, over TCP.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Destination {
    pub host: Host,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Host {
    Address(IpAddr),
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EgressError {
    text: String,
    problem: &'static str,
}

impl fmt::Display for EgressError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "egress `{}` {}", self.text, self.problem)
    }
}

/// # Errors
/// Names the first pair that is malformed, or that no tenant's work may reach.
pub(crate) fn parse(pairs: &[String]) -> Result<Vec<Destination>, EgressError> {
    let mut destinations: Vec<Destination> = pairs.iter().map(|pair| parse_one(pair)).collect::<Result<_, _>>()?;
    destinations.sort();
    destinations.dedup();
    Ok(destinations)
}

fn parse_one(pair: &str) -> Result<Destination, EgressError> {
    let error = |problem| EgressError {
        text: pair.to_owned(),
        problem,
    };
    let (host, port) = pair.rsplit_once(':').ok_or_else(|| error("is not host:port"))?;
    let port: u16 = port.parse().map_err(|_| error("has no port from 1 to 65535"))?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if host.is_empty() || port == 0 {
        return Err(error("is not host:port"));
    }
    let host = host.parse().map_or_else(|_| Host::Name(host.to_owned()), Host::Address);
    if matches!(&host, Host::Address(address) if is_of_the_machine(*address)) {
        return Err(error(
            "is an address of the machine itself (metadata, loopback): no work may reach it",
        ));
    }
    Ok(Destination { host, port })
}

/// Link-local (cloud metadata lives there), loopback and unspecified addresses.
fn is_of_the_machine(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(four) => four.is_link_local() || four.is_loopback() || four.is_unspecified(),
        IpAddr::V6(six) => six.is_unicast_link_local() || six.is_loopback() || six.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(pair: &str) -> Result<Vec<Destination>, EgressError> {
        parse(&[pair.to_owned()])
    }

    #[test]
    fn reads_names_and_addresses() {
        let name = Destination {
            host: Host::Name("store.example.com".to_owned()),
            port: 443,
        };
        let four = Destination {
            host: Host::Address("203.0.113.7".parse().unwrap()),
            port: 9000,
        };
        let six = Destination {
            host: Host::Address("2001:db8::1".parse().unwrap()),
            port: 9000,
        };
        assert_eq!(one("store.example.com:443"), Ok(vec![name]));
        assert_eq!(one("203.0.113.7:9000"), Ok(vec![four]));
        assert_eq!(one("[2001:db8::1]:9000"), Ok(vec![six]));
    }

    #[test]
    fn refuses_the_machine_itself_and_what_is_no_pair() {
        for pair in [
            "169.254.169.254:80",
            "127.0.0.1:443",
            "0.0.0.0:1",
            "[::1]:443",
            "[fe80::1]:80",
            "[::ffff:169.254.169.254]:80",
        ] {
            assert_eq!(one(pair).unwrap_err().problem.split(' ').nth(1), Some("an"), "{pair}");
        }
        for pair in ["store", "store:", ":443", "store:0", "store:70000", ""] {
            assert!(one(pair).is_err(), "{pair}");
        }
    }

    #[test]
    fn the_same_pair_twice_is_one() {
        assert_eq!(parse(&["a:1".to_owned(), "a:1".to_owned()]).unwrap().len(), 1);
    }
}
