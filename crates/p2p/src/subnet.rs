//! Ranges of IP addresses in CIDR notation: `10.0.0.0/8`, `2001:db8::/32` (RFC 4632, RFC 4291).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of IP addresses: those that begin with the same bits. What lies behind the prefix is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subnet {
    first: IpAddr,
    prefix: u8,
}

/// A text that is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no range of addresses: write it as 10.0.0.0/8 or 2001:db8::/32")]
pub struct BadSubnet(String);

/// The bits of an address, from the highest on, and how many there are.
fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

/// So many ones, then zeros.
fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

impl Subnet {
    /// The range of an address with a prefix of so many bits; `None` if there are not so many.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let (bits, length) = bits(address);
        if prefix > length {
            return None;
        }
        let masked = bits & mask(prefix);
        let first = match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(masked >> 96).ok()?)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(masked)),
        };
        Some(Self { first, prefix })
    }

    /// Its lowest address.
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// Bits that all its addresses share.
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether an address lies in it. Addresses of the other kind never do.
    pub fn contains(&self, address: &IpAddr) -> bool {
        Self::new(*address, self.prefix) == Some(*self)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = BadSubnet;

    fn from_str(text: &str) -> Result<Self, BadSubnet> {
        let parts = text.split_once('/').and_then(|(address, prefix)| {
            // A sign is no digit.
            let is_number = prefix.bytes().all(|byte| byte.is_ascii_digit());
            Some((address.parse().ok()?, is_number.then(|| prefix.parse().ok())??))
        });
        parts
            .and_then(|(address, prefix)| Self::new(address, prefix))
            .ok_or_else(|| BadSubnet(text.chars().take(60).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_holds_the_addresses_with_its_prefix() {
        let ten = subnet("10.1.2.3/8");
        assert_eq!(ten.to_string(), "10.0.0.0/8");
        for (address, inside) in [("10.255.0.1", true), ("11.0.0.0", false), ("::ffff:10.0.0.1", false)] {
            assert_eq!(ten.contains(&address.parse().unwrap()), inside, "{address}");
        }
        let v6 = subnet("2001:db8::/32");
        assert!(v6.contains(&"2001:db8:ffff::1".parse().unwrap()));
        assert!(!v6.contains(&"2001:db9::".parse().unwrap()));
        assert!(subnet("0.0.0.0/0").contains(&"255.1.2.3".parse().unwrap()));
        assert!(!subnet("0.0.0.0/0").contains(&"::1".parse().unwrap()));
        assert!(subnet("1.2.3.4/32").contains(&"1.2.3.4".parse().unwrap()));
        assert!(!subnet("1.2.3.4/32").contains(&"1.2.3.5".parse().unwrap()));
    }

    #[test]
    fn other_texts_are_refused() {
        for wrong in ["", "10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/+8", "10.0.0.0/", "x/8", "10.0.0.0/256"] {
            let error = wrong.parse::<Subnet>().unwrap_err().to_string();
            assert!(error.contains("10.0.0.0/8"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn ranges_are_read_as_they_were_written(address in any::<IpAddr>(), prefix in 0u8..=128) {
            let Some(range) = Subnet::new(address, prefix) else { return Ok(()) };
            prop_assert_eq!(range.to_string().parse::<Subnet>(), Ok(range));
            prop_assert!(range.contains(&address) && range.contains(&range.first()));
        }
    }
}
