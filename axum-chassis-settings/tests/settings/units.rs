//! Durations, sizes and networks read back as they print.

use std::net::{IpAddr, Ipv6Addr};

use axum_chassis_settings::{Duration, Network, Size};
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_duration_survives_a_round_trip(seconds: u64, nanos in 0..1_000_000_000_u32, coarse: bool) {
        let duration = Duration(std::time::Duration::new(seconds, if coarse { 0 } else { nanos }));
        match duration.to_string().parse::<Duration>() {
            Ok(read) => prop_assert_eq!(read, duration),
            // More nanoseconds than a number holds: six centuries to the nanosecond are not written.
            Err(_) => prop_assert!(seconds > u64::MAX / 1_000_000_000),
        }
    }

    #[test]
    fn a_size_survives_a_round_trip(bytes: u64, shift in 0..64_u32) {
        let size = Size(bytes >> shift << shift);
        prop_assert_eq!(size.to_string().parse(), Ok(size));
    }

    #[test]
    fn other_text_is_rejected_without_a_panic(text: String) {
        let _ = (text.parse::<Duration>(), text.parse::<Size>(), text.parse::<Network>());
    }

    #[test]
    fn a_network_survives_a_round_trip_and_contains_its_addresses(bits: u128, other: u128, prefix in 0..=128_u32) {
        for (width, address) in [(32, |bits| IpAddr::from((bits as u32).to_be_bytes())), (128, |bits| IpAddr::from(Ipv6Addr::from(bits)))] as [(u32, fn(u128) -> IpAddr); 2] {
            let prefix = prefix.min(width);
            let beyond = u128::MAX.checked_shr(128 - width + prefix).unwrap_or(0);
            let network: Network = format!("{}/{prefix}", address(bits & !beyond)).parse().unwrap();
            prop_assert_eq!(network.to_string().parse(), Ok(network));
            prop_assert!(network.contains(address(bits)));
            let same = (bits ^ other) & !beyond & u128::MAX >> (128 - width) == 0;
            prop_assert_eq!(network.contains(address(other)), same);
        }
    }
}

#[test]
fn the_error_for_an_invalid_network_has_a_valid_example() {
    let plain = "expected an address or a network such as \"10.0.0.7\" or \"10.0.0.0/8\"";
    let v4 = "expected a prefix from 0 to 32 bits of an IPv4 address";
    let v6 = "expected a prefix from 0 to 128 bits of an IPv6 address";
    for (text, told) in [
        ("", plain),
        ("/8", plain),
        ("10.0.0/8", plain),
        ("proxy.internal", plain),
        ("10.0.0.1:80", plain),
        ("10.0.0.0/40", v4),
        ("10.0.0.0/", v4),
        ("10.0.0.0/+8", v4),
        ("10.0.0.0/255.0.0.0", v4),
        ("10.0.0.0/8/8", v4),
        ("fd00::/129", v6),
        ("fd00::/99999999999", v6),
        (
            "10.1.2.3/8",
            "expected \"10.0.0.0/8\" for the network, or \"10.1.2.3\" for the address alone",
        ),
        (
            "fd00::1/8",
            "expected \"fd00::/8\" for the network, or \"fd00::1\" for the address alone",
        ),
    ] {
        let error = text.parse::<Network>().expect_err(text);
        assert_eq!(error.to_string(), told, "{text}");
    }
}

#[test]
fn networks_are_written_in_one_way() {
    for (text, written) in [
        ("10.0.0.7", "10.0.0.7"),
        ("10.0.0.7/32", "10.0.0.7"),
        ("fd00::/8", "fd00::/8"),
        ("FD00::1/128", "fd00::1"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ] {
        let network: Network = text.parse().unwrap();
        assert_eq!(network.to_string(), written);
    }
}
