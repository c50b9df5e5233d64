//! Every way to forge a token that we know of, each by its name and with the reason for which it is refused; and good tokens, which
//! differ from the forged ones in nothing else.

use aws_lc_rs::{
    encoding::AsDer,
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
        RSA_PSS_SHA512, RsaEncoding, RsaPublicKeyComponents,
    },
};
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use cpis::fuzz::run;
use serde_json::json;

use super::*;
use crate::keys::in_set;

const NOW: i64 = 1_800_000_000;
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "https://api.example/cpis";
/// Order of the group of P-256.
const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const HEAD: &str = r#"{"alg":"ES256","kid":"ec","typ":"JWT"}"#;

/// The issuer, whose private keys forgers do not have, and a stranger's key, which they do.
struct Issuer {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed: Ed25519KeyPair,
    stranger: EcdsaKeyPair,
}

/// A header to send, by what it tries, with the reason to refuse it.
struct Row {
    name: String,
    header: String,
    reason: Refusal,
}

fn row(name: impl Into<String>, header: impl Into<String>, reason: Refusal) -> Row {
    Row { name: name.into(), header: header.into(), reason }
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn point(pair: &EcdsaKeyPair) -> (String, String) {
    let point = pair.public_key().as_ref();
    let (x, y) = point[1..].split_at(point.len() / 2);
    (b64(x), b64(y))
}

impl Issuer {
    fn new() -> Self {
        let p256 = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
            p256: p256(),
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key"),
            ed: Ed25519KeyPair::generate().expect("a key"),
            stranger: p256(),
        }
    }

    /// The issuer's key set: good keys, and such as must not verify a token.
    fn key_set(&self) -> Value {
        let (x, y) = point(&self.p256);
        let (x384, y384) = point(&self.p384);
        let rsa = RsaPublicKeyComponents::<Vec<u8>>::from(self.rsa.public_key());
        let (n, e) = (b64(&rsa.n), b64(&rsa.e));
        let ec = |kid: &str, more: Value| {
            let mut key = json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y});
            key.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            key
        };
        json!({"keys": [
            ec("ec", json!({"use": "sig", "alg": "ES256"})),
            ec("encrypts", json!({"use": "enc"})),
            ec("wraps", json!({"key_ops": ["wrapKey"]})),
            ec("leaked", json!({"d": "AAAA"})),
            ec("misnamed", json!({"alg": "RS256"})),
            ec("twice", json!({})),
            ec("twice", json!({})),
            {"kty": "EC", "crv": "P-384", "kid": "ec384", "x": x384, "y": y384},
            {"kty": "RSA", "kid": "rsa", "n": n, "e": e},
            {"kty": "RSA", "kid": "rs256", "alg": "RS256", "n": n, "e": e},
            {"kty": "RSA", "kid": "weak", "n": b64([0xff; 128]), "e": e},
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(self.ed.public_key().as_ref())},
            {"kty": "oct", "kid": "oct", "k": b64("a shared secret of 32 bytes or more"), "alg": "HS256"},
        ]})
    }

    fn sign(&self, algorithm: &str, text: &str) -> Vec<u8> {
        let (text, random) = (text.as_bytes(), SystemRandom::new());
        let rsa = |encoding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(encoding, &random, text, &mut signature).expect("signed");
            signature
        };
        match algorithm {
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "RS384" => rsa(&RSA_PKCS1_SHA384),
            "RS512" => rsa(&RSA_PKCS1_SHA512),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "PS384" => rsa(&RSA_PSS_SHA384),
            "PS512" => rsa(&RSA_PSS_SHA512),
            "ES384" => self.p384.sign(&random, text).expect("signed").as_ref().to_vec(),
            "EdDSA" => self.ed.sign(text).as_ref().to_vec(),
            _ => self.p256.sign(&random, text).expect("signed").as_ref().to_vec(),
        }
    }

    /// A token of this header and these claims, truly signed with the key of the algorithm.
    fn signed(&self, algorithm: &str, head: &str, claims: &str) -> String {
        let signed = format!("{}.{}", b64(head), b64(claims));
        format!("Bearer {signed}.{}", b64(self.sign(algorithm, &signed)))
    }

    /// Truly signed with the key `ec`, whatever the header says.
    fn es(&self, head: &str, claims: &str) -> String {
        self.signed("ES256", head, claims)
    }

    fn good(&self) -> String {
        self.es(HEAD, &claims().to_string())
    }

    /// Signed by somebody else.
    fn by_stranger(&self, head: &str) -> String {
        let signed = format!("{}.{}", b64(head), b64(claims().to_string()));
        let signature = self.stranger.sign(&SystemRandom::new(), signed.as_bytes()).expect("signed");
        format!("Bearer {signed}.{}", b64(signature.as_ref()))
    }

    fn verdict(&self, header: &str) -> Result<Claims, Refusal> {
        let expected = Expected { issuer: ISSUER.into(), audience: AUDIENCE.into() };
        let unverified = Unverified::from_header(header)?;
        let key = in_set(&self.key_set(), unverified.key_id()).ok_or(Refusal::UnknownKey)?;
        unverified.verify(&key, &expected, Timestamp::from_second(NOW).expect("in range"))
    }
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "client", "jti": "0b7e1c5e-6c1d-4b1e-9a55-3d8f0c2b7a10",
        "iat": NOW - 60, "nbf": NOW - 60, "exp": NOW + 240, "cpis": {"authority": "E06000001"}})
}

fn with(name: &str, value: impl Into<Value>) -> String {
    let mut claims = claims();
    claims[name] = value.into();
    claims.to_string()
}

fn without(name: &str) -> String {
    let mut claims = claims();
    claims.as_object_mut().expect("an object").remove(name);
    claims.to_string()
}

fn person() -> Value {
    json!({"person": {"user": "555000000001", "roleProfile": "555000000002", "name": "Alex Example",
            "jobRole": {"code": "R0670", "display": "Midwife - Sister/Charge Nurse"}},
        "organisation": {"code": "ZX001", "name": "Sample Hospital"}, "activities": ["B0107"]})
}

fn device() -> Value {
    json!({"device": {"asid": "200000000001", "responsible": "Sam Sample"},
        "organisation": {"code": "ZX002", "name": "Sample Ambulance Control"}, "activities": ["B0107"]})
}

/// With the value at this place replaced, or added.
fn at(mut value: Value, pointer: &str, new: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    value.pointer_mut(parent).expect("there")[name] = new;
    value
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex")).collect()
}

/// `n - s`, for which a signature is as good as for `s`.
fn complement(s: &[u8]) -> Vec<u8> {
    let (mut result, mut borrow) = (vec![0; 32], 0_i16);
    for (i, order) in bytes(ORDER).iter().enumerate().rev() {
        let digit = i16::from(*order) - i16::from(s[i]) - borrow;
        borrow = i16::from(digit < 0);
        result[i] = u8::try_from(digit.rem_euclid(256)).expect("a byte");
    }
    result
}

fn unsigned_and_symmetric(issuer: &Issuer) -> Vec<Row> {
    let mut rows = Vec::new();
    let claims = claims().to_string();
    for alg in ["none", "None", "NONE", "nOnE", "NoNe", " none", "none ", "n\u{3bf}ne", "", "null"] {
        let head = json!({"alg": alg, "kid": "ec"}).to_string();
        let unsigned = format!("Bearer {}.{}.", b64(&head), b64(&claims));
        rows.push(row(format!("alg {alg:?}, no signature"), unsigned, Refusal::Algorithm));
        rows.push(row(format!("alg {alg:?}, a true signature"), issuer.es(&head, &claims), Refusal::Algorithm));
    }
    let (x, y) = point(&issuer.p256);
    let spki = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(issuer.p256.public_key()).expect("DER");
    let der = spki.as_ref();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
    let jwk = in_text(&issuer.key_set()["keys"][0]);
    let secrets: [(&str, Vec<u8>); 10] = [
        ("JWK", jwk.into_bytes()),
        ("key set", in_text(&issuer.key_set()).into_bytes()),
        ("PEM", pem.clone().into_bytes()),
        ("PEM without its last line end", pem.trim_end().as_bytes().to_vec()),
        ("DER", der.to_vec()),
        ("point", issuer.p256.public_key().as_ref().to_vec()),
        ("coordinates", [x.as_bytes(), y.as_bytes()].concat()),
        ("key id", b"ec".to_vec()),
        ("one zero byte", vec![0]),
        ("shared key of the set", b"a shared secret of 32 bytes or more".to_vec()),
    ];
    for (alg, hash) in [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)] {
        for (name, secret) in &secrets {
            let kid = if *name == "shared key of the set" { "oct" } else { "ec" };
            let signed = format!("{}.{}", b64(json!({"alg": alg, "kid": kid}).to_string()), b64(&claims));
            let tag = hmac::sign(&hmac::Key::new(hash, secret), signed.as_bytes());
            rows.push(row(
                format!("{alg} with the {name}"),
                format!("Bearer {signed}.{}", b64(tag)),
                Refusal::Algorithm,
            ));
        }
    }
    rows
}

fn in_text(value: &Value) -> String {
    value.to_string()
}

fn algorithms(issuer: &Issuer) -> Vec<Row> {
    let mut rows = Vec::new();
    let claims = claims().to_string();
    for alg in ["es256", "ES256 ", "ES256\0", "ES512", "ES256K", "Ed25519", "RSA-OAEP", "dir", "A128KW", "RS1", "S256"]
    {
        let head = json!({"alg": alg, "kid": "ec"}).to_string();
        rows.push(row(format!("alg {alg:?}"), issuer.es(&head, &claims), Refusal::Algorithm));
    }
    for (name, alg) in
        [("null", json!(null)), ("number", json!(256)), ("list", json!(["ES256"])), ("object", json!({}))]
    {
        let head = json!({"alg": alg, "kid": "ec"}).to_string();
        rows.push(row(format!("alg is {name}"), issuer.es(&head, &claims), Refusal::Algorithm));
    }
    rows.push(row("no alg", issuer.es(r#"{"kid":"ec"}"#, &claims), Refusal::Algorithm));
    rows.push(row("alg in capitals", issuer.es(r#"{"ALG":"ES256","kid":"ec"}"#, &claims), Refusal::Algorithm));
    for (kid, alg) in [
        ("ec", "RS256"),
        ("ec", "PS256"),
        ("ec", "EdDSA"),
        ("ec", "ES384"),
        ("ec384", "ES256"),
        ("rsa", "ES256"),
        ("rsa", "EdDSA"),
        ("ed", "ES256"),
        ("ed", "RS256"),
        ("rs256", "RS384"),
        ("rs256", "RS512"),
        ("rs256", "PS256"),
    ] {
        let head = json!({"alg": alg, "kid": kid}).to_string();
        rows.push(row(format!("{alg} with the key {kid}"), issuer.signed(alg, &head, &claims), Refusal::KeyMismatch));
    }
    for (said, used) in [("RS256", "PS256"), ("PS256", "RS256"), ("RS256", "RS512"), ("PS512", "PS256")] {
        let head = json!({"alg": said, "kid": "rsa"}).to_string();
        let header = issuer.signed(used, &head, &claims);
        rows.push(row(format!("signed with {used}, said to be {said}"), header, Refusal::Signature));
    }
    rows
}

fn key_ids(issuer: &Issuer) -> Vec<Row> {
    let mut rows = Vec::new();
    let claims = claims().to_string();
    for (kid, reason) in [
        ("", Refusal::NoKeyId),
        ("ec ", Refusal::NoKeyId),
        (" ec", Refusal::NoKeyId),
        ("ec\0", Refusal::NoKeyId),
        ("ec\n", Refusal::NoKeyId),
        ("\u{435}c", Refusal::NoKeyId),
        ("x' UNION SELECT 'AA", Refusal::NoKeyId),
        (&"k".repeat(MAX_KEY_ID + 1), Refusal::NoKeyId),
        (&"k".repeat(MAX_KEY_ID), Refusal::UnknownKey),
        ("EC", Refusal::UnknownKey),
        ("e", Refusal::UnknownKey),
        ("ec*", Refusal::UnknownKey),
        ("ec%00", Refusal::UnknownKey),
        ("'OR'1'='1", Refusal::UnknownKey),
        ("../../../../dev/null", Refusal::UnknownKey),
        ("/proc/sys/kernel/randomize_va_space", Refusal::UnknownKey),
        ("file:///etc/passwd", Refusal::UnknownKey),
        ("https://evil.example/jwks.json", Refusal::UnknownKey),
        ("|id", Refusal::UnknownKey),
        ("${jndi:ldap://evil.example}", Refusal::UnknownKey),
        ("__proto__", Refusal::UnknownKey),
        ("0", Refusal::UnknownKey),
        ("encrypts", Refusal::UnknownKey),
        ("wraps", Refusal::UnknownKey),
        ("leaked", Refusal::UnknownKey),
        ("misnamed", Refusal::UnknownKey),
        ("twice", Refusal::UnknownKey),
        ("oct", Refusal::UnknownKey),
        ("ec384", Refusal::KeyMismatch),
    ] {
        let head = json!({"alg": "ES256", "kid": kid}).to_string();
        rows.push(row(format!("kid {kid:.50?}"), issuer.es(&head, &claims), reason));
    }
    let weak = issuer.signed("RS256", r#"{"alg":"RS256","kid":"weak"}"#, &claims);
    rows.push(row("a key of 1,024 bits", weak, Refusal::UnknownKey));
    rows.push(row("no kid", issuer.es(r#"{"alg":"ES256"}"#, &claims), Refusal::NoKeyId));
    for (name, kid) in
        [("null", "null"), ("true", "true"), ("a number", "7"), ("a list", r#"["ec"]"#), ("an object", "{}")]
    {
        let head = format!(r#"{{"alg":"ES256","kid":{kid}}}"#);
        rows.push(row(format!("kid is {name}"), issuer.es(&head, &claims), Refusal::NoKeyId));
    }
    rows
}

fn header_members(issuer: &Issuer) -> Vec<Row> {
    let mut rows = Vec::new();
    let claims = claims().to_string();
    let head = |member: &str, value: &Value| {
        let mut head = json!({"alg": "ES256", "kid": "ec"});
        head[member] = value.clone();
        head.to_string()
    };
    let (x, y) = point(&issuer.stranger);
    let own = json!({"kty": "EC", "crv": "P-256", "kid": "ec", "x": x, "y": y});
    for (member, value) in [
        ("jwk", own),
        ("jwk", json!(null)),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!([STANDARD.encode("certificate")])),
        ("x5c", json!([])),
        ("x5t", json!(b64([0; 20]))),
        ("x5t#S256", json!(b64([0; 32]))),
    ] {
        let head = head(member, &value);
        rows.push(row(
            format!("{member} {value:.30}, a stranger's signature"),
            issuer.by_stranger(&head),
            Refusal::EmbeddedKey,
        ));
        rows.push(row(
            format!("{member} {value:.30}, a true signature"),
            issuer.es(&head, &claims),
            Refusal::EmbeddedKey,
        ));
    }
    for (member, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", json!("b64")),
        ("crit", json!(null)),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("cty", json!("JWT")),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
        ("epk", json!({})),
        ("p2s", json!("AAAA")),
        ("typ", json!("JWE")),
        ("typ", json!("JOSE")),
        ("typ", json!("JOSE+JSON")),
        ("typ", json!("")),
        ("typ", json!(" JWT")),
        ("typ", json!("JWT\0")),
        ("typ", json!("at+jwt;charset=utf-8")),
        ("typ", json!("dpop+jwt")),
        ("typ", json!("logout+jwt")),
        ("typ", json!("secevent+jwt")),
        ("typ", json!(null)),
        ("typ", json!(1)),
        ("typ", json!(["JWT"])),
    ] {
        rows.push(row(format!("{member} {value}"), issuer.es(&head(member, &value), &claims), Refusal::Header));
    }
    let unencoded = r#"{"alg":"ES256","kid":"ec","b64":false,"crit":["b64"]}"#;
    let signed = format!("{}.{claims}", b64(unencoded));
    let header = format!("Bearer {signed}.{}", b64(issuer.sign("ES256", &signed)));
    rows.push(row("claims that are not encoded", header, Refusal::Unreadable));
    rows
}

fn issuers_and_audiences(issuer: &Issuer) -> Vec<Row> {
    let mut rows = Vec::new();
    for (claim, right, reason) in [("iss", ISSUER, Refusal::Issuer), ("aud", AUDIENCE, Refusal::Audience)] {
        for (name, wrong) in [
            ("another", "https://evil.example".to_owned()),
            ("empty", String::new()),
            ("with a slash behind", format!("{right}/")),
            ("with more behind", format!("{right}.evil.example")),
            ("with more before", format!("https://evil.example/{right}")),
            ("as user of another host", right.replacen("https://", "https://evil.example@", 1)),
            ("cut short", right[..right.len() - 1].to_owned()),
            ("in capitals", right.to_uppercase()),
            ("over plain HTTP", right.replacen("https", "http", 1)),
            ("with space before", format!(" {right}")),
            ("with space behind", format!("{right} ")),
            ("with a line end", format!("{right}\n")),
            ("with NUL", format!("{right}\0")),
            ("with a look-alike letter", right.replacen('e', "\u{435}", 1)),
            ("with two of them", format!("{right} {right}")),
        ] {
            rows.push(row(format!("{claim} {name}"), issuer.es(HEAD, &with(claim, wrong)), reason));
        }
        for (name, wrong) in [
            ("null", json!(null)),
            ("true", json!(true)),
            ("a number", json!(0)),
            ("a list of it", json!([right])),
            ("a list with it", json!(["other", right])),
            ("an empty list", json!([])),
            ("an object", json!({"value": right})),
        ] {
            rows.push(row(format!("{claim} is {name}"), issuer.es(HEAD, &with(claim, wrong)), Refusal::Claims));
        }
        rows.push(row(format!("no {claim}"), issuer.es(HEAD, &without(claim)), Refusal::Claims));
    }
    rows
}

fn times(issuer: &Issuer) -> Vec<Row> {
    let mut rows = Vec::new();
    for (claim, value, reason) in [
        ("exp", json!(NOW - 30), Refusal::Times),
        ("exp", json!(NOW - 1_000_000), Refusal::Times),
        ("exp", json!(0), Refusal::Times),
        ("exp", json!(-1), Refusal::Times),
        ("exp", json!(NOW - 60 + 13 * 3600 + 1), Refusal::Times),
        ("exp", json!(NOW * 1_000), Refusal::Times),
        ("exp", json!(i64::MAX), Refusal::Times),
        ("exp", json!(i64::MIN), Refusal::Times),
        ("exp", json!(u64::MAX), Refusal::Claims),
        ("exp", json!(1.8e9), Refusal::Claims),
        ("exp", json!(NOW.to_string()), Refusal::Claims),
        ("exp", json!("never"), Refusal::Claims),
        ("exp", json!(null), Refusal::Claims),
        ("exp", json!(true), Refusal::Claims),
        ("exp", json!([NOW + 240]), Refusal::Claims),
        ("exp", json!({}), Refusal::Claims),
        ("iat", json!(NOW + 31), Refusal::Times),
        ("iat", json!(NOW * 1_000), Refusal::Times),
        ("iat", json!(0), Refusal::Times),
        ("iat", json!(-NOW), Refusal::Times),
        ("iat", json!(i64::MIN), Refusal::Times),
        ("iat", json!(null), Refusal::Claims),
        ("iat", json!(1.5), Refusal::Claims),
        ("iat", json!("0"), Refusal::Claims),
        ("nbf", json!(NOW + 31), Refusal::Times),
        ("nbf", json!(i64::MAX), Refusal::Times),
        ("nbf", json!(null), Refusal::Claims),
        ("nbf", json!(0.5), Refusal::Claims),
        ("nbf", json!("0"), Refusal::Claims),
        ("nbf", json!(false), Refusal::Claims),
    ] {
        rows.push(row(format!("{claim} {value}"), issuer.es(HEAD, &with(claim, value)), reason));
    }
    for claim in ["exp", "iat"] {
        rows.push(row(format!("no {claim}"), issuer.es(HEAD, &without(claim)), Refusal::Claims));
    }
    let huge = claims().to_string().replacen(&(NOW + 240).to_string(), "1e400", 1);
    rows.push(row("exp 1e400", issuer.es(HEAD, &huge), Refusal::Claims));
    let backwards = claims().to_string().replacen(&(NOW + 240).to_string(), &(NOW - 20).to_string(), 1);
    let backwards = backwards.replacen(&format!("\"iat\":{}", NOW - 60), &format!("\"iat\":{}", NOW + 20), 1);
    rows.push(row("expired before it was issued", issuer.es(HEAD, &backwards), Refusal::Times));
    rows
}

fn repeated_members(issuer: &Issuer) -> Vec<Row> {
    let mut rows = Vec::new();
    let text = claims().to_string();
    let twice = |member: &str| format!("{{{member},{}", &text[1..]);
    for member in [
        r#""iss":"https://evil.example""#,
        r#""iss":"https://issuer.example""#,
        r#""aud":"other""#,
        r#""exp":1"#,
        r#""iat":1"#,
        r#""nbf":1"#,
        r#""sub":"other""#,
        r#""jti":"other""#,
        r#""cpis":{"authority":"E06000002"}"#,
        r#""\u0063pis":{"authority":"E06000002"}"#,
        r#""unknown":1,"unknown":1"#,
        r#""unknown":[{"a":{"b":1,"b":1}}]"#,
    ] {
        rows.push(row(format!("claims with {member} too"), issuer.es(HEAD, &twice(member)), Refusal::Claims));
    }
    let inner = text.replacen(r#"{"authority""#, r#"{"authority":"E06000002","authority""#, 1);
    rows.push(row("two authorities in one claim", issuer.es(HEAD, &inner), Refusal::Claims));
    for head in [
        r#"{"alg":"none","alg":"ES256","kid":"ec"}"#,
        r#"{"alg":"ES256","alg":"none","kid":"ec"}"#,
        r#"{"alg":"ES256","kid":"ec","kid":"ec"}"#,
        r#"{"alg":"ES256","kid":"other","kid":"ec"}"#,
        r#"{"alg":"ES256","k\u0069d":"other","kid":"ec"}"#,
        r#"{"alg":"ES256","kid":"ec","typ":"JWE","typ":"JWT"}"#,
        r#"{"alg":"ES256","kid":"ec","x":1,"x":2}"#,
    ] {
        rows.push(row(format!("header {head}"), issuer.es(head, &text), Refusal::Unreadable));
    }
    rows
}

fn broken_and_signed_anew(issuer: &Issuer) -> Vec<Row> {
    let good = issuer.good();
    let token = &good["Bearer ".len()..];
    let parts: Vec<&str> = token.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    let other = issuer.es(HEAD, &with("sub", "other"));
    let others: Vec<&str> = other["Bearer ".len()..].split('.').collect();
    let raw = URL_SAFE_NO_PAD.decode(signature).expect("Base64");
    let flipped = |byte: usize, bit: u8| {
        let mut raw = raw.clone();
        raw[byte] ^= 1 << bit;
        b64(raw)
    };
    let signed = |signature: &str| format!("Bearer {head}.{body}.{signature}");
    let evil = b64(with("cpis", json!({"authority": "E06000002"})));
    let cut = b64(&claims().to_string()[..100]);
    vec![
        row("a stranger's signature under the issuer's kid", issuer.by_stranger(HEAD), Refusal::Signature),
        row("another authority put in", format!("Bearer {head}.{evil}.{signature}"), Refusal::Signature),
        row("the signature of another token", signed(others[2]), Refusal::Signature),
        row("the claims of another token", format!("Bearer {head}.{}.{signature}", others[1]), Refusal::Signature),
        row(
            "signed with another key of the set",
            issuer.signed("ES384", HEAD, &claims().to_string()),
            Refusal::Signature,
        ),
        row("no signature", signed(""), Refusal::Signature),
        row("signature cut by a byte", signed(&b64(&raw[..63])), Refusal::Signature),
        row("signature cut by half", signed(&b64(&raw[..32])), Refusal::Signature),
        row("signature and a byte", signed(&b64([&raw[..], &[0]].concat())), Refusal::Signature),
        row("signature twice", signed(&b64([&raw[..], &raw[..]].concat())), Refusal::Signature),
        row("signature backwards", signed(&b64(raw.iter().rev().copied().collect::<Vec<_>>())), Refusal::Signature),
        row("its halves exchanged", signed(&b64([&raw[32..], &raw[..32]].concat())), Refusal::Signature),
        row("first bit flipped", signed(&flipped(0, 7)), Refusal::Signature),
        row("last bit flipped", signed(&flipped(63, 0)), Refusal::Signature),
        row("all zero", signed(&b64([0; 64])), Refusal::Signature),
        row("r zero", signed(&b64([&[0; 32], &raw[32..]].concat())), Refusal::Signature),
        row("s zero", signed(&b64([&raw[..32], &[0; 32]].concat())), Refusal::Signature),
        row("r the order", signed(&b64([&bytes(ORDER), &raw[32..]].concat())), Refusal::Signature),
        row("s the order", signed(&b64([&raw[..32], &bytes(ORDER)].concat())), Refusal::Signature),
        row("all ones", signed(&b64([0xff; 64])), Refusal::Signature),
        row("in DER", signed(&b64(der_signature(issuer, &format!("{head}.{body}")))), Refusal::Signature),
        row("claims cut off", format!("Bearer {head}.{cut}.{signature}"), Refusal::Signature),
        row("claims empty", format!("Bearer {head}..{signature}"), Refusal::Signature),
        row("header empty", format!("Bearer .{body}.{signature}"), Refusal::Unreadable),
        row("header cut off", format!("Bearer {}.{body}.{signature}", &head[..10]), Refusal::Unreadable),
        row("header and claims exchanged", format!("Bearer {body}.{head}.{signature}"), Refusal::Algorithm),
        row("token cut by a letter", &good[..good.len() - 1], Refusal::Signature),
    ]
}

/// A true signature in the other form that there is for one.
fn der_signature(issuer: &Issuer, text: &str) -> Vec<u8> {
    let pkcs8 = issuer.p256.to_pkcs8v1().expect("a key");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref()).expect("a key");
    pair.sign(&SystemRandom::new(), text.as_bytes()).expect("signed").as_ref().to_vec()
}

fn forms(issuer: &Issuer) -> Vec<Row> {
    let good = issuer.good();
    let token = good["Bearer ".len()..].to_owned();
    let parts: Vec<&str> = token.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    let flattened = json!({"protected": head, "payload": body, "signature": signature}).to_string();
    let general = json!({"payload": body, "signatures": [{"protected": head, "signature": signature}]}).to_string();
    let mut rows = vec![
        row("nothing", "", Refusal::NoToken),
        row("a space", " ", Refusal::NoToken),
        row("the scheme alone", "Bearer", Refusal::NoToken),
        row("the scheme and a space", "Bearer ", Refusal::NoToken),
        row("no scheme", &token[..], Refusal::NoToken),
        row("Basic", format!("Basic {token}"), Refusal::NoToken),
        row("DPoP", format!("DPoP {token}"), Refusal::NoToken),
        row("a tab behind the scheme", format!("Bearer\t{token}"), Refusal::NoToken),
        row("a space before the scheme", format!(" Bearer {token}"), Refusal::NoToken),
        row("a colon behind the scheme", format!("Bearer: {token}"), Refusal::NoToken),
        row("a look-alike scheme", format!("B\u{435}arer {token}"), Refusal::NoToken),
    ];
    for (name, form) in [
        ("two spaces", format!(" {token}")),
        ("a space behind", format!("{token} ")),
        ("the scheme twice", good.clone()),
        ("two tokens with a comma", format!("{token},{token}")),
        ("two tokens with a space", format!("{token} {token}")),
        ("two credentials", format!("{token}, {good}")),
        ("in quotation marks", format!("\"{token}\"")),
        ("a line end within", format!("{head}.\n{body}.{signature}")),
        ("NUL behind", format!("{token}\0")),
        ("letters beyond ASCII", format!("{token}\u{e9}")),
        ("one part", head.to_owned()),
        ("two parts", format!("{head}.{body}")),
        ("four parts", format!("{token}.{signature}")),
        ("five parts, as encrypted tokens have", format!("{head}.{body}.{signature}.{signature}.{signature}")),
        ("a full stop before", format!(".{token}")),
        ("a full stop behind", format!("{token}.")),
        ("full stops alone", "..".into()),
        ("colons for full stops", token.replace('.', ":")),
        ("JSON, flattened", flattened),
        ("JSON, general", general),
        ("percent-encoded", token.replace('.', "%2E")),
        ("header padded", format!("{}.{body}.{signature}", URL_SAFE.encode(r#"{"alg":"ES256","kid":"ec"  }"#))),
        ("header with padding put on", format!("{head}=.{body}.{signature}")),
        ("claims with padding put on", format!("{head}.{body}==.{signature}")),
        ("signature with padding put on", format!("{token}==")),
        ("another alphabet", format!("{head}.{body}.{}", STANDARD_NO_PAD.encode([0xfb; 64]))),
        ("a space in the signature", format!("{head}.{body}.{} {}", &signature[..9], &signature[9..])),
    ] {
        rows.push(row(name, format!("Bearer {form}"), Refusal::Unreadable));
    }
    let hex: String = URL_SAFE_NO_PAD.decode(signature).expect("Base64").iter().map(|b| format!("{b:02x}")).collect();
    rows.push(row("signature in hexadecimal", format!("Bearer {head}.{body}.{hex}"), Refusal::Signature));
    rows.push(row("spare bits of the signature set", format!("Bearer {}", spare_bit(&token)), Refusal::Signature));
    let long = issuer.es(HEAD, &with("padding", "x".repeat(MAX_TOKEN)));
    rows.push(row("a long token, truly signed", long, Refusal::Oversize));
    rows.push(row("a long header", issuer.es(&format!("{HEAD}{}", " ".repeat(MAX_TOKEN)), "{}"), Refusal::Oversize));
    rows.push(row("a megabyte", format!("Bearer {}", "a".repeat(1 << 20)), Refusal::Oversize));
    rows
}

/// The same bytes written in another way: Base64 of 64 bytes leaves four bits over.
fn spare_bit(token: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = token.bytes().last().expect("a letter");
    let value = LETTERS.iter().position(|letter| *letter == last).expect("a letter");
    format!("{}{}", &token[..token.len() - 1], char::from(LETTERS[value | 1]))
}

fn what_is_no_claims(issuer: &Issuer) -> Vec<Row> {
    let text = claims().to_string();
    let mut rows = Vec::new();
    for (name, claims) in [
        ("nothing", String::new()),
        ("text that is no JSON", "iss=x".into()),
        ("null", "null".into()),
        ("a list", format!("[{text}]")),
        ("a text", json!(text).to_string()),
        ("a number", "7".into()),
        ("two objects", format!("{text}{text}")),
        ("something behind", format!("{text}x")),
        ("cut off", text[..text.len() - 1].into()),
        ("a byte order mark", format!("\u{feff}{text}")),
        ("NUL before", format!("\0{text}")),
        ("a comment", text.replacen('{', "{/**/", 1)),
        ("single quotation marks", text.replace('"', "'")),
        ("a comma too many", format!("{},}}", &text[..text.len() - 1])),
        ("half a surrogate pair", text.replacen("client", r"\ud800", 1)),
        ("a line end in a text", text.replacen("client", "cli\nent", 1)),
        ("a thousand levels", text.replacen('{', &format!("{{\"x\":{}{},", "[".repeat(1_000), "]".repeat(1_000)), 1)),
    ] {
        rows.push(row(format!("claims: {name}"), issuer.es(HEAD, &claims), Refusal::Claims));
    }
    let mut latin = text.replacen("client", "cli~nt", 1).into_bytes();
    latin.iter_mut().filter(|b| **b == b'~').for_each(|b| *b = 0xe9);
    let signed = format!("{}.{}", b64(HEAD), b64(latin));
    let header = format!("Bearer {signed}.{}", b64(issuer.sign("ES256", &signed)));
    rows.push(row("claims: not UTF-8", header, Refusal::Claims));
    for (name, head) in [
        ("a list", r#"["ES256"]"#),
        ("null", "null"),
        ("a text", r#""ES256""#),
        ("cut off", r#"{"alg":"ES256","kid":"ec""#),
        ("something behind", r#"{"alg":"ES256","kid":"ec"}{}"#),
        ("a byte order mark", "\u{feff}{\"alg\":\"ES256\",\"kid\":\"ec\"}"),
    ] {
        rows.push(row(format!("header: {name}"), issuer.es(head, &text), Refusal::Unreadable));
    }
    rows
}

fn callers(issuer: &Issuer) -> Vec<Row> {
    let mut rows = Vec::new();
    let both = at(person(), "/authority", json!("E06000001"));
    let everybody = at(both.clone(), "/device", device()["device"].clone());
    for (name, caller) in [
        ("null", json!(null)),
        ("true", json!(true)),
        ("a text", json!("E06000001")),
        ("a number", json!(1)),
        ("an empty list", json!([])),
        ("a list of one", json!([{"authority": "E06000001"}])),
        ("an empty object", json!({})),
        ("an unknown shape", json!({"administrator": true})),
        ("an authority in Wales", json!({"authority": "W06000001"})),
        ("an authority in small letters", json!({"authority": "e06000001"})),
        ("an authority with a path", json!({"authority": "E06000001/../E06000002"})),
        ("an authority with a wildcard", json!({"authority": "*"})),
        ("an authority and a line end", json!({"authority": "E06000001\n"})),
        ("an authority of null", json!({"authority": null})),
        ("a list of authorities", json!({"authority": ["E06000001"]})),
        ("an authority and more", json!({"authority": "E06000001", "activities": ["B0107"]})),
        (
            "an authority and an organisation",
            json!({"authority": "E06000001", "organisation": {"code": "ZX001", "name": "S"}}),
        ),
        ("a person and an authority", both),
        ("a person and a device", at(person(), "/device", device()["device"].clone())),
        ("all three", everybody),
        ("a person and more", at(person(), "/oversight", json!("national"))),
        ("a person with more", at(person(), "/person/administrator", json!(true))),
        ("a person without a name", at(person(), "/person", json!({"user": "1"}))),
        ("a person of null", at(person(), "/person", json!(null))),
        ("a job role with more", at(person(), "/person/jobRole/clinical", json!(true))),
        ("a job role that is a text", at(person(), "/person/jobRole", json!("R0670"))),
        ("an organisation with more", at(person(), "/organisation/region", json!("London"))),
        ("an organisation that is a text", at(person(), "/organisation", json!("ZX001"))),
        ("an organisation without a code", at(person(), "/organisation/code", json!(""))),
        ("an organisation's code with a space", at(person(), "/organisation/code", json!("ZX001 ZX002"))),
        ("an organisation's code of 33 letters", at(person(), "/organisation/code", json!("Z".repeat(MAX_CODE + 1)))),
        ("activities in a text", at(person(), "/activities", json!("B0107"))),
        ("activities of null", at(person(), "/activities", json!(null))),
        ("an activity that is a number", at(person(), "/activities", json!([107]))),
        ("an activity within a list", at(person(), "/activities", json!([["B0107"]]))),
        ("a name with a line end", at(person(), "/person/name", json!("Alex\r\nExample"))),
        ("a name with NUL", at(person(), "/person/name", json!("Alex\0"))),
        ("a name of 257 letters", at(person(), "/person/name", json!("x".repeat(MAX_TEXT + 1)))),
        ("a device with more", at(device(), "/device/trusted", json!(true))),
        ("a device that nobody answers for", at(device(), "/device", json!({"asid": "200000000001"}))),
        (
            "a device in capitals",
            json!({"Device": device()["device"], "organisation": device()["organisation"], "activities": []}),
        ),
    ] {
        rows.push(row(format!("caller: {name}"), issuer.es(HEAD, &with("cpis", caller)), Refusal::Caller));
    }
    rows.push(row("nothing said at all", issuer.es(HEAD, "{}"), Refusal::Caller));
    rows.push(row("no caller", issuer.es(HEAD, &without("cpis")), Refusal::Caller));
    for claim in ["sub", "jti"] {
        for (name, value) in [
            ("null", json!(null)),
            ("a number", json!(7)),
            ("a list", json!(["x"])),
            ("empty", json!("")),
            ("with a line end", json!("a\r\nb")),
            ("with NUL", json!("a\0")),
            ("beyond ASCII", json!("caf\u{e9}")),
            ("of 257 letters", json!("x".repeat(MAX_TEXT + 1))),
        ] {
            rows.push(row(format!("{claim} {name}"), issuer.es(HEAD, &with(claim, value)), Refusal::Claims));
        }
        rows.push(row(format!("no {claim}"), issuer.es(HEAD, &without(claim)), Refusal::Claims));
    }
    rows
}

#[test]
fn r28_r62_forged_tokens_are_refused_each_for_its_reason() {
    let issuer = Issuer::new();
    let rows: Vec<Row> = [
        unsigned_and_symmetric,
        algorithms,
        key_ids,
        header_members,
        issuers_and_audiences,
        times,
        repeated_members,
        broken_and_signed_anew,
        forms,
        what_is_no_claims,
        callers,
    ]
    .iter()
    .flat_map(|rows| rows(&issuer))
    .collect();
    let wrong: Vec<_> = rows
        .iter()
        .filter_map(|row| {
            let found = issuer.verdict(&row.header).map(drop);
            (found != Err(row.reason)).then(|| format!("{}: {found:?} for {:?}", row.name, row.reason))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    let mut names: Vec<_> = rows.iter().map(|row| &row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), rows.len(), "two forgeries have one name");
    assert!(rows.len() >= 400, "{} forgeries", rows.len());
}

#[test]
fn r28_r62_good_tokens_are_accepted() {
    let issuer = Issuer::new();
    let text = claims().to_string();
    let accepted = |name: &str, header: &str| match issuer.verdict(header) {
        Ok(claims) => claims,
        Err(refusal) => panic!("{name}: {refusal}"),
    };
    for (alg, kid) in [
        ("RS256", "rsa"),
        ("RS256", "rs256"),
        ("RS384", "rsa"),
        ("RS512", "rsa"),
        ("PS256", "rsa"),
        ("PS384", "rsa"),
        ("PS512", "rsa"),
        ("ES256", "ec"),
        ("ES384", "ec384"),
        ("EdDSA", "ed"),
    ] {
        accepted(alg, &issuer.signed(alg, &json!({"alg": alg, "kid": kid}).to_string(), &text));
    }
    for (name, head) in [
        ("of type JWT", HEAD),
        ("of type at+jwt", r#"{"alg":"ES256","kid":"ec","typ":"at+JWT"}"#),
        ("with a member that is not known", r#"{"alg":"ES256","kid":"ec","pi.atm":"2","nonce":[{}]}"#),
    ] {
        accepted(name, &issuer.es(head, &text));
    }
    for (name, claims) in [
        ("without nbf", without("nbf")),
        ("with other claims", with("acr", json!({"a": [1, 2.5, null]}))),
        ("at the end of the leeway", with("exp", NOW - 29)),
        ("at the beginning of the leeway", with("iat", NOW + 30)),
        ("for a whole shift", with("exp", NOW - 60 + 13 * 3600)),
        ("of a person", with("cpis", person())),
        ("of a device", with("cpis", device())),
        ("with accents and marks", with("cpis", at(person(), "/person/name", json!("S\u{ed}le \"O'Neill\" \u{142}")))),
        ("without activities", with("cpis", at(person(), "/activities", json!([])))),
    ] {
        accepted(name, &issuer.es(HEAD, &claims));
    }
    let good = issuer.good();
    let claims = accepted("in small letters", &good.replacen("Bearer", "bearer", 1));
    assert_eq!((claims.subject_kind(), claims.sub.as_str()), ("authority", "client"));
    assert_eq!(claims.id().as_deref(), Some("0b7e1c5e-6c1d-4b1e-9a55-3d8f0c2b7a10"));
    // ECDSA has two signatures for one, and RFC 7518 allows both. It says nothing else, so nothing is gained by it.
    let (signed, signature) = good.rsplit_once('.').expect("three parts");
    let raw = URL_SAFE_NO_PAD.decode(signature).expect("Base64");
    let other = b64([&raw[..32], &complement(&raw[32..])].concat());
    assert_ne!(other, signature);
    accepted("with the other signature", &format!("{signed}.{other}"));
}

fn way(verdict: &Result<Claims, Refusal>) -> String {
    verdict.as_ref().map_or_else(|refusal| refusal.code().to_owned(), |_| "accepted".to_owned())
}

#[test]
fn fuzz_tokens() {
    let issuer = Issuer::new();
    let (good, person) = (issuer.good(), issuer.es(HEAD, &with("cpis", person())));
    let genuine = [&good[7..], &person[7..]];
    run("token", "accepted", &[good.as_bytes(), person.as_bytes(), b"Bearer e30.e30.AA"], |input| {
        let header = String::from_utf8_lossy(input);
        let verdict = issuer.verdict(&header);
        // Nobody else can sign.
        assert!(verdict.is_err() || genuine.iter().any(|token| header.ends_with(token)), "a forgery is accepted");
        way(&verdict)
    });
}

#[test]
fn fuzz_token_headers() {
    let seeds: [&[u8]; 3] = [
        HEAD.as_bytes(),
        br#"{"alg":"none","kid":"ec"}"#,
        br#"{"alg":"RS256","kid":"rsa","crit":["b64"],"b64":false}"#,
    ];
    run("token-header", "read", &seeds, |input| {
        match Unverified::from_header(&format!("Bearer {}.e30.AA", b64(input))) {
            Ok(read) => {
                let header: Value = serde_json::from_slice(input).expect("JSON");
                assert_eq!(header["kid"], read.key_id());
                assert_eq!(header["alg"], format!("{:?}", read.algorithm));
                assert!(header.get("crit").is_none() && header.get("jwk").is_none());
                "read".into()
            }
            Err(refusal) => refusal.code().into(),
        }
    });
}

#[test]
fn fuzz_claims() {
    let seeds = [claims().to_string(), with("cpis", person()), with("cpis", device())];
    let expected = Expected { issuer: ISSUER.into(), audience: AUDIENCE.into() };
    let now = Timestamp::from_second(NOW).expect("in range");
    run("claims", "accepted", &seeds.each_ref().map(|seed| seed.as_bytes()), |input| {
        let Some(said) = object(&b64(input)) else { return "no object".into() };
        let verdict = check(said.clone(), &expected, now);
        if let Ok(claims) = &verdict {
            assert_eq!((&said["iss"], &said["aud"]), (&json!(ISSUER), &json!(AUDIENCE)));
            assert!((claims.exp - claims.iat) <= 13 * 3600 && claims.exp > NOW - 30 && claims.iat <= NOW + 30);
            assert_eq!(serde_json::to_value(&claims.cpis).ok().as_ref(), said.get("cpis"));
        }
        way(&verdict)
    });
}
