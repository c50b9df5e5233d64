//! Which addresses a webhook may have (R74). An authority chooses its address, and we connect to it from inside our own
//! network: so it must be a name on the public Internet, whatever way it is written, and each address that the name stands
//! for must be a public one.

// Values only: nothing here opens a connection or asks for a name.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// The longest address, in characters.
const LONGEST: usize = 1_024;
/// The ports of HTTPS.
const PORTS: [u16; 2] = [443, 8443];
/// Ends of names that stand for this machine or its network, never for a place on the Internet (RFC 6761, 6762, 7686, 8375,
/// and the names that clouds and home networks use inside).
const INSIDE: [&str; 9] =
    ["localhost", "local", "internal", "intranet", "lan", "home.arpa", "in-addr.arpa", "ip6.arpa", "onion"];

/// Why an address is refused; the sentence says how to mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefused {
    /// Longer than 1,024 characters.
    #[error("the address is longer than 1,024 characters")]
    TooLong,
    /// It is no `https://` address, or has characters in it that readers of addresses take differently.
    #[error("the address must begin with https:// and have no spaces, control characters, backslashes or fragment")]
    NotPlain,
    /// It has a user name or password.
    #[error("the address must not hold a user name or password")]
    UserInfo,
    /// It has no host by name.
    #[error("the host must be a name with a dot in it, such as council.example, not a number or an address")]
    NotAName,
    /// The name is one of an inner network.
    #[error("the host is a name of an inner network, not of the Internet")]
    Inside,
    /// Another port than those of HTTPS.
    #[error("the port must be 443 or 8443")]
    Port,
}

/// What may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The public Internet.
    Internet,
    /// This machine too, over HTTP and on any port: for a local stack, never for one that is deployed.
    ThisMachineToo,
}

/// An address that a webhook may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverUrl(Url);

impl ReceiverUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// [`UrlRefused`] for one that is no plain HTTPS address of a public name.
    pub fn parse(text: &str, reach: Reach) -> Result<Self, UrlRefused> {
        if text.len() > LONGEST {
            return Err(UrlRefused::TooLong);
        }
        let local = reach == Reach::ThisMachineToo;
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://").filter(|_| local));
        let odd = |c: char| c.is_whitespace() || c.is_control() || !c.is_ascii() || matches!(c, '\\' | '#');
        let rest = rest.filter(|rest| !rest.contains(odd)).ok_or(UrlRefused::NotPlain)?;
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(UrlRefused::UserInfo);
        }
        // Whatever needs decoding could be decoded in two ways.
        if authority.is_empty() || authority.contains('%') {
            return Err(UrlRefused::NotAName);
        }
        let url = Url::parse(text).map_err(|_| UrlRefused::NotAName)?;
        if local && is_this_machine(&url) {
            return Ok(Self(url));
        }
        if url.scheme() != "https" {
            return Err(UrlRefused::NotPlain);
        }
        let Some(Host::Domain(name)) = url.host() else { return Err(UrlRefused::NotAName) };
        public_name(name)?;
        if !url.port_or_known_default().is_some_and(|port| PORTS.contains(&port)) {
            return Err(UrlRefused::Port);
        }
        Ok(Self(url))
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn public_name(name: &str) -> Result<(), UrlRefused> {
    if !name.contains('.') && !INSIDE.contains(&name) || name.split('.').any(str::is_empty) {
        return Err(UrlRefused::NotAName);
    }
    let inside = INSIDE
        .iter()
        .any(|end| name.strip_suffix(end).is_some_and(|before| before.is_empty() || before.ends_with('.')));
    if inside { Err(UrlRefused::Inside) } else { Ok(()) }
}

/// Whether a connection may be made to an address (R74): one of the public Internet. Everything that IANA's registries of
/// special-purpose addresses set apart is refused, and every IPv6 address that holds an IPv4 one, so that none is taken for
/// something else.
#[must_use]
pub fn may_be_reached(ip: IpAddr, reach: Reach) -> bool {
    let this_machine = ip.is_loopback() && reach == Reach::ThisMachineToo;
    this_machine
        || match ip {
            IpAddr::V4(ip) => is_public_v4(ip),
            IpAddr::V6(ip) => is_public_v6(ip),
        }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    /// First address and length of the prefix.
    const SET_APART: [([u8; 4], u32); 17] = [
        ([0, 0, 0, 0], 8),       // this network
        ([10, 0, 0, 0], 8),      // private
        ([100, 64, 0, 0], 10),   // shared by carriers, and by clouds inside
        ([127, 0, 0, 0], 8),     // this machine
        ([169, 254, 0, 0], 16),  // link-local, and the metadata services of clouds
        ([172, 16, 0, 0], 12),   // private
        ([192, 0, 0, 0], 24),    // protocol assignments
        ([192, 0, 2, 0], 24),    // documentation
        ([192, 31, 196, 0], 24), // AS112
        ([192, 52, 193, 0], 24), // AMT
        ([192, 88, 99, 0], 24),  // 6to4 relays
        ([192, 168, 0, 0], 16),  // private
        ([192, 175, 48, 0], 24), // AS112
        ([198, 18, 0, 0], 15),   // benchmarking
        ([198, 51, 100, 0], 24), // documentation
        ([203, 0, 113, 0], 24),  // documentation
        ([224, 0, 0, 0], 3),     // multicast, reserved, broadcast
    ];
    let bits = ip.to_bits();
    !SET_APART.iter().any(|(first, length)| (bits ^ Ipv4Addr::from(*first).to_bits()) >> (32 - length) == 0)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    /// Within 2000::/3, the only part given out to the Internet.
    const SET_APART: [([u16; 2], u32); 5] = [
        ([0x2001, 0x0000], 23), // protocol assignments: Teredo, ORCHID, benchmarking
        ([0x2001, 0x0db8], 32), // documentation
        ([0x2002, 0x0000], 16), // 6to4: holds an IPv4 address
        ([0x2620, 0x004f], 32), // AS112 (2620:4f:8000::/48)
        ([0x3fff, 0x0000], 20), // documentation
    ];
    let first = u32::try_from(ip.to_bits() >> 96).unwrap_or_default();
    let given_out = first >> 29 == 1;
    let apart = |([high, low], length): &([u16; 2], u32)| {
        (first ^ (u32::from(*high) << 16 | u32::from(*low))) >> (32 - length) == 0
    };
    given_out && !SET_APART.iter().any(apart)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn r74_plain_addresses_of_public_names_are_taken() {
        for good in [
            "https://council.example/asn",
            "https://council.example",
            "https://hooks.council.example:8443/cpis/asn?tenant=1",
            "https://council.example:443/",
            "https://xn--bcher-kva.example/",
            "https://COUNCIL.example/UP",
        ] {
            assert!(ReceiverUrl::parse(good, Reach::Internet).is_ok(), "{good}");
        }
    }

    #[test]
    fn r74_hostile_addresses_are_refused_however_they_are_written() {
        use UrlRefused::{Inside, NotAName, NotPlain, Port, TooLong, UserInfo};
        let long = format!("https://council.example/{}", "a".repeat(1_024));
        for (bad, why) in [
            // Other schemes.
            ("http://council.example/", NotPlain),
            ("HTTPS://council.example/", NotPlain),
            ("ftp://council.example/", NotPlain),
            ("file:///etc/passwd", NotPlain),
            ("gopher://council.example:70/", NotPlain),
            ("javascript:alert(1)", NotPlain),
            ("//council.example/", NotPlain),
            ("https:council.example", NotPlain),
            ("https:/council.example", NotPlain),
            ("", NotPlain),
            // This machine and its network, by number.
            ("https://127.0.0.1/", NotAName),
            ("https://127.1/", NotAName),
            ("https://2130706433/", NotAName),
            ("https://0x7f000001/", NotAName),
            ("https://0x7f.1/", NotAName),
            ("https://017700000001/", NotAName),
            ("https://0177.0.0.1/", NotAName),
            ("https://0/", NotAName),
            ("https://0.0.0.0/", NotAName),
            ("https://10.0.0.1/", NotAName),
            ("https://172.16.0.1/", NotAName),
            ("https://192.168.1.1/", NotAName),
            ("https://169.254.169.254/latest/meta-data/", NotAName),
            ("https://2852039166/", NotAName),
            ("https://8.8.8.8/", NotAName),
            ("https://255.255.255.255/", NotAName),
            ("https://256.1.1.1/", NotAName),
            ("https://[::1]/", NotAName),
            ("https://[::]/", NotAName),
            ("https://[::ffff:127.0.0.1]/", NotAName),
            ("https://[::ffff:7f00:1]/", NotAName),
            ("https://[::127.0.0.1]/", NotAName),
            ("https://[64:ff9b::7f00:1]/", NotAName),
            ("https://[fe80::1]/", NotAName),
            ("https://[fe80::1%25eth0]/", NotAName),
            ("https://[fe80::1%eth0]/", NotAName),
            ("https://[fd00:ec2::254]/", NotAName),
            ("https://%31%32%37.0.0.1/", NotAName),
            ("https://council%2eexample/", NotAName),
            ("https://１２７.0.0.1/", NotPlain),
            ("https://①②⑦.0.0.1/", NotPlain),
            ("https://127。0。0。1/", NotPlain),
            // By name.
            ("https://localhost/", Inside),
            ("https://LOCALHOST/", Inside),
            ("https://a.localhost/", Inside),
            ("https://localhost./", NotAName),
            ("https://printer.local/", Inside),
            ("https://metadata.google.internal/", Inside),
            ("https://ip-10-0-0-1.eu-west-2.compute.internal/", Inside),
            ("https://1.0.0.127.in-addr.arpa/", Inside),
            ("https://router.home.arpa/", Inside),
            ("https://hidden.onion/", Inside),
            ("https://metadata/", NotAName),
            ("https://council.example./", NotAName),
            ("https://council..example/", NotAName),
            ("https://.example/", NotAName),
            ("https:///path", NotAName),
            ("https://:443/", NotAName),
            // Who is it really?
            ("https://council.example@127.0.0.1/", UserInfo),
            ("https://user:secret@council.example/", UserInfo),
            ("https://@council.example/", UserInfo),
            ("https://council.example:443@evil.example/", UserInfo),
            ("https://council.example\\@evil.example/", NotPlain),
            ("https://evil.example\\.council.example/", NotPlain),
            ("https://council.example#@evil.example/", NotPlain),
            ("https://council.example/#fragment", NotPlain),
            ("https://council.example/a b", NotPlain),
            (" https://council.example/", NotPlain),
            ("https://council.example/\r\nHost: evil.example", NotPlain),
            ("https://coun\tcil.example/", NotPlain),
            ("https://council.example/\0", NotPlain),
            ("https://council\u{200b}.example/", NotPlain),
            // Ports of other services.
            ("https://council.example:22/", Port),
            ("https://council.example:25/", Port),
            ("https://council.example:80/", Port),
            ("https://council.example:6379/", Port),
            ("https://council.example:9001/", Port),
            ("https://council.example:0/", Port),
            ("https://council.example:65536/", NotAName),
            (&long, TooLong),
        ] {
            assert_eq!(ReceiverUrl::parse(bad, Reach::Internet), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn r74_a_local_stack_reaches_this_machine_and_nothing_else_besides() {
        for (url, good) in [
            ("http://127.0.0.1:49152/asn", true),
            ("http://localhost:8080/", true),
            ("https://[::1]:8443/", true),
            ("https://council.example/", true),
            ("http://council.example/", false),
            ("http://10.0.0.1/", false),
            ("http://169.254.169.254/", false),
            ("http://user@127.0.0.1/", false),
            ("http://[::ffff:127.0.0.1]/", false),
        ] {
            assert_eq!(ReceiverUrl::parse(url, Reach::ThisMachineToo).is_ok(), good, "{url}");
        }
        let ip = |text: &str| text.parse().expect("an address");
        for (address, good) in [("127.0.0.1", true), ("::1", true), ("10.0.0.1", false), ("169.254.169.254", false)] {
            assert_eq!(may_be_reached(ip(address), Reach::ThisMachineToo), good, "{address}");
            assert!(!may_be_reached(ip(address), Reach::Internet), "{address}");
        }
    }

    #[test]
    fn r74_only_public_addresses_are_connected_to() {
        for (address, public) in [
            ("8.8.8.8", true),
            ("1.1.1.1", true),
            ("9.255.255.255", true),
            ("11.0.0.0", true),
            ("172.15.255.255", true),
            ("172.32.0.0", true),
            ("192.167.255.255", true),
            ("100.63.255.255", true),
            ("100.128.0.0", true),
            ("198.17.255.255", true),
            ("198.20.0.0", true),
            ("223.255.255.255", true),
            ("2a00:1450:4009:822::200e", true),
            ("2606:4700::1111", true),
            ("2001:4860:4860::8888", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("10.255.255.255", false),
            ("100.64.0.0", false),
            ("100.100.100.200", false),
            ("127.255.255.255", false),
            ("169.254.169.254", false),
            ("169.254.170.2", false),
            ("172.16.0.0", false),
            ("172.31.255.255", false),
            ("192.0.0.192", false),
            ("192.0.2.1", false),
            ("192.88.99.1", false),
            ("192.168.0.0", false),
            ("198.18.0.0", false),
            ("198.19.255.255", false),
            ("203.0.113.7", false),
            ("224.0.0.1", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:8.8.8.8", false),
            ("::ffff:127.0.0.1", false),
            ("::127.0.0.1", false),
            ("64:ff9b::a9fe:a9fe", false),
            ("64:ff9b:1::1", false),
            ("100::1", false),
            ("2001::1", false),
            ("2001:1ff::1", false),
            ("2001:db8::1", false),
            ("2002:7f00:1::", false),
            ("3fff::1", false),
            ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(may_be_reached(address.parse().expect("an address"), Reach::Internet), public, "{address}");
        }
    }

    proptest! {
        #[test]
        fn r74_no_number_is_a_name(bits in any::<u32>()) {
            let ip = Ipv4Addr::from_bits(bits);
            let [a, b, c, d] = ip.octets();
            for host in [
                ip.to_string(), bits.to_string(), format!("0x{bits:x}"), format!("0{bits:o}"),
                format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"), format!("0x{a:x}.{b}.{c}.{d}"), format!("{a}.{}", bits & 0xff_ffff),
                format!("[::ffff:{ip}]"), format!("[::{ip}]"), format!("[64:ff9b::{ip}]"),
            ] {
                let url = format!("https://{host}/");
                prop_assert_eq!(ReceiverUrl::parse(&url, Reach::Internet), Err(UrlRefused::NotAName), "{}", url);
            }
        }

        /// What the standard library itself calls private, local or otherwise special is never reached.
        #[test]
        fn r74_nothing_that_is_not_public_is_reached(bits in any::<u32>(), six in any::<u128>()) {
            let ip = Ipv4Addr::from_bits(bits);
            let special = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast()
                || ip.is_broadcast() || ip.is_documentation() || ip.is_unspecified();
            prop_assert!(!(special && may_be_reached(ip.into(), Reach::Internet)), "{}", ip);
            prop_assert!(!may_be_reached(ip.to_ipv6_mapped().into(), Reach::Internet));
            let ip = Ipv6Addr::from_bits(six);
            let special = ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_multicast() || ip.is_loopback();
            prop_assert!(!(special && may_be_reached(ip.into(), Reach::Internet)), "{}", ip);
        }

        #[test]
        fn r74_any_text_is_taken_or_refused(text in ".{0,60}", path in "[ -~]{0,30}") {
            let _ = ReceiverUrl::parse(&text, Reach::Internet);
            if let Ok(url) = ReceiverUrl::parse(&format!("https://{path}"), Reach::Internet) {
                let again = ReceiverUrl::parse(url.as_str(), Reach::Internet);
                prop_assert_eq!(again.map(|u| u.as_str().to_owned()), Ok(url.as_str().to_owned()));
            }
        }
    }
}
