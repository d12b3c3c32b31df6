//! IP networks in settings, such as `"10.0.0.0/8"`.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub(crate) const NETWORK: &str = "ip-network";
pub(crate) const NETWORK_EXPECTED: &str =
    r#"an address or a network such as "10.0.0.7" or "10.0.0.0/8""#;

/// A network in settings, such as `"10.0.0.0/8"` or `"fd00::/8"`; a single address is one, too.
///
/// Bits after the prefix have to be zero: `"10.1.2.3/8"` is rejected, because it is ambiguous.
///
/// ```
/// use axum_chassis_settings::Network;
///
/// let cluster: Network = "10.0.0.0/8".parse()?;
/// assert!(cluster.contains([10, 1, 2, 3].into()));
/// assert_eq!(
///     "10.1.2.3/8".parse::<Network>().unwrap_err().to_string(),
///     r#"expected "10.0.0.0/8" for the network, or "10.1.2.3" for the address alone"#
/// );
/// # Ok::<(), axum_chassis_settings::InvalidNetwork>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    /// The length of the network's prefix in bits.
    prefix: u32,
}

/// Text that is not a [`Network`]; its `Display` is the expected form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidNetwork(String);

// === impl Network ===

impl Network {
    /// Whether this address is in the network. An IPv4 address that is mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let differ = bits(self.address) ^ bits(address);
        self.address.is_ipv4() == address.is_ipv4() && differ.leading_zeros() >= self.prefix
    }

    /// Whether the network contains every address of its family.
    pub fn is_everything(&self) -> bool {
        self.prefix == 0
    }

    fn width(address: IpAddr) -> u32 {
        if address.is_ipv4() { 32 } else { 128 }
    }
}

/// The bits of an address, aligned to the highest bit, so that prefixes of IPv4 and IPv6 are compared alike.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (written, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let Ok(written) = written.parse::<IpAddr>() else {
            return Err(InvalidNetwork(format!("expected {NETWORK_EXPECTED}")));
        };
        let most = Self::width(written);
        let prefix = match prefix {
            None => Some(most),
            // The parser of `u32` would accept a sign as well.
            Some(digits) if !digits.bytes().all(|byte| byte.is_ascii_digit()) => None,
            Some(digits) => digits.parse().ok().filter(|prefix| *prefix <= most),
        };
        let Some(prefix) = prefix else {
            let version = if most == 32 { 4 } else { 6 };
            return Err(InvalidNetwork(format!(
                "expected a prefix from 0 to {most} bits of an IPv{version} address"
            )));
        };
        let (address, prefix) = match written.to_canonical() {
            IpAddr::V4(v4) if most == 128 && prefix >= 96 => (v4.into(), prefix - 96),
            _ => (written, prefix),
        };
        let beyond = u128::MAX.checked_shr(prefix).unwrap_or(0);
        let network = bits(address) & !beyond;
        if network != bits(address) {
            let network = match address {
                IpAddr::V4(_) => IpAddr::V4(((network >> 96) as u32).into()),
                IpAddr::V6(_) => IpAddr::V6(network.into()),
            };
            return Err(InvalidNetwork(format!(
                "expected \"{network}/{prefix}\" for the network, or \"{address}\" for the address alone"
            )));
        }
        Ok(Self { address, prefix })
    }
}

impl From<IpAddr> for Network {
    /// The network that contains only this address.
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self {
            address,
            prefix: Self::width(address),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        match self.prefix {
            all if all == Self::width(self.address) => Ok(()),
            prefix => write!(f, "/{prefix}"),
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Network {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": NETWORK,
            "pattern": "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$",
        })
    }
}

// === impl InvalidNetwork ===

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidNetwork {}
