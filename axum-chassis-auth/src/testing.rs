//! An issuer for tests, on a free port of this machine: it signs tokens, rotates its keys, and fails on request.
//!
//! ```
//! use axum_chassis_auth::testing::Issuer;
//!
//! let issuer = Issuer::start();
//! // Settings of the service under test, such as `auth.issuer`.
//! for (key, value) in issuer.settings("auth", "orders") {
//!     println!("{key} = {value}");
//! }
//! let token = issuer.token("orders").subject("alice").scope("orders:read").sign();
//! let header = format!("Bearer {token}");
//!
//! issuer.rotate(); // the next tokens have a new key
//! ```
//!
//! All functions block only for the time of a lock. Dropping the issuer closes its port.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Map, Value, json};

/// An OpenID provider for tests. It signs with ES256, and publishes a discovery document and its keys over HTTP.
#[derive(Debug)]
pub struct Issuer {
    shared: Arc<SharedIssuer>,
    address: SocketAddr,
}

/// The behavior of an issuer's key set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Behavior {
    /// Responds with the keys.
    #[default]
    Serve,
    /// Accepts connections, and never responds.
    Stall,
    /// Responds with this status, and an empty body.
    Status(u16),
    /// Redirects to this URL.
    Redirect(String),
    /// Responds with status 200 and this body instead of the keys.
    Body(String),
}

#[derive(Debug)]
struct SharedIssuer {
    state: Mutex<IssuerState>,
    fetches: AtomicUsize,
    is_closed: AtomicBool,
}

#[derive(Debug)]
struct IssuerState {
    /// The last one signs.
    keys: Vec<SigningKey>,
    next_key: usize,
    behavior: Behavior,
    /// Stalled connections, kept open.
    stalled: Vec<TcpStream>,
    metadata: Map<String, Value>,
}

#[derive(Clone, Debug)]
struct SigningKey {
    id: String,
    pair: Arc<EcdsaKeyPair>,
}

/// A token to sign. By default it is valid for five minutes, and has the header and all claims of
/// [RFC 9068](https://www.rfc-editor.org/rfc/rfc9068#section-2).
#[derive(Clone, Debug)]
#[must_use = "a token is only made by `sign`"]
pub struct Token {
    key: SigningKey,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

// === impl Issuer ===

impl Issuer {
    /// Starts an issuer.
    ///
    /// # Panics
    /// If the operating system has no free port.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let issuer = format!("http://{address}");
        let state = IssuerState {
            keys: vec![SigningKey::new(1)],
            next_key: 2,
            behavior: Behavior::default(),
            stalled: Vec::new(),
            metadata: object(json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")})),
        };
        let shared = Arc::new(SharedIssuer {
            state: Mutex::new(state),
            fetches: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
        });
        let serving = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.is_closed.load(Ordering::Relaxed) {
                    return;
                }
                let shared = serving.clone();
                // A client that closes its connection early does not matter.
                thread::spawn(move || shared.answer(stream).ok());
            }
        });
        Self { shared, address }
    }

    /// The issuer identifier, `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Settings that a service needs to accept the tokens of this issuer: `section` is the name of the settings' section,
    /// and `audience` the service's name in tokens.
    pub fn settings(&self, section: &str, audience: &str) -> [(String, String); 3] {
        [
            (format!("{section}.issuer"), self.url()),
            (format!("{section}.audience"), audience.to_owned()),
            (format!("{section}.allow_http_loopback"), "true".to_owned()),
        ]
    }

    /// A token for this audience, with the issuer's current key.
    pub fn token(&self, audience: &str) -> Token {
        let key = self.state().keys.last().cloned().expect("a key");
        let claims = json!({
            "iss": self.url(), "aud": audience, "sub": "somebody", "client_id": "a-client", "jti": "1",
            "iat": now(), "exp": now() + 300,
        });
        Token {
            header: object(json!({"alg": "ES256", "typ": "at+jwt", "kid": key.id})),
            claims: object(claims),
            key,
        }
    }

    /// Publishes a new key and signs with it from now on. Older keys stay published.
    pub fn rotate(&self) {
        let mut state = self.state();
        let key = SigningKey::new(state.next_key);
        state.next_key += 1;
        state.keys.push(key);
    }

    /// Stops publishing all keys but the current one.
    pub fn withdraw_old_keys(&self) {
        let mut state = self.state();
        let old = state.keys.len() - 1;
        state.keys.drain(..old);
    }

    /// Changes the response to requests for the keys. Connections that stall are closed.
    pub fn behave(&self, behavior: Behavior) {
        let mut state = self.state();
        state.behavior = behavior;
        state.stalled.clear();
    }

    /// Changes a member of the discovery document, such as `jwks_uri`.
    pub fn set_metadata(&self, name: &str, value: impl Into<Value>) {
        self.state().metadata.insert(name.to_owned(), value.into());
    }

    /// The number of requests for the keys so far.
    pub fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::Relaxed)
    }

    /// The current key set, for a file.
    pub fn key_set(&self) -> String {
        self.state().key_set()
    }

    fn state(&self) -> MutexGuard<'_, IssuerState> {
        self.shared.state()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::Relaxed);
        self.behave(Behavior::Serve);
        // Wakes the thread, which then closes the port.
        let _ = TcpStream::connect(self.address);
    }
}

// === impl SharedIssuer ===

impl SharedIssuer {
    fn state(&self) -> MutexGuard<'_, IssuerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        // The empty line ends the head.
        while lines
            .next()
            .transpose()?
            .is_some_and(|line| !line.is_empty())
        {}
        let mut state = self.state();
        let (status, location, body) = match request.split(' ').nth(1) {
            Some("/.well-known/openid-configuration") => {
                (200, None, Value::from(state.metadata.clone()).to_string())
            }
            Some("/keys") => {
                self.fetches.fetch_add(1, Ordering::Relaxed);
                match state.behavior.clone() {
                    Behavior::Serve => (200, None, state.key_set()),
                    Behavior::Status(status) => (status, None, String::new()),
                    Behavior::Redirect(url) => (302, Some(url), String::new()),
                    Behavior::Body(body) => (200, None, body),
                    Behavior::Stall => {
                        state.stalled.push(stream);
                        return Ok(());
                    }
                }
            }
            _ => (404, None, String::new()),
        };
        drop(state);
        let location = location.map_or_else(String::new, |url| format!("location: {url}\r\n"));
        let head = format!(
            "HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close\r\n{location}\r\n",
            body.len()
        );
        (&stream).write_all((head + &body).as_bytes())
    }
}

impl IssuerState {
    fn key_set(&self) -> String {
        let keys: Vec<_> = self.keys.iter().map(SigningKey::public).collect();
        json!({ "keys": keys }).to_string()
    }
}

// === impl SigningKey ===

impl SigningKey {
    fn new(number: usize) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pair = EcdsaKeyPair::generate_pkcs8(algorithm, &random)
            .ok()
            .and_then(|der| EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref(), &random).ok())
            .expect("a key");
        Self {
            id: format!("key-{number}"),
            pair: Arc::new(pair),
        }
    }

    fn public(&self) -> Value {
        // An uncompressed point: a byte, and two coordinates.
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.id,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }
}

// === impl Token ===

impl Token {
    /// Sets `sub`.
    pub fn subject(self, subject: &str) -> Self {
        self.claim("sub", subject)
    }

    /// Sets `scope`: one scope, or several separated by spaces.
    pub fn scope(self, scope: &str) -> Self {
        self.claim("scope", scope)
    }

    /// Sets `exp` to this time from now.
    pub fn expires_in(self, time: Duration) -> Self {
        self.claim("exp", now() + time.as_secs())
    }

    /// Sets a claim, also to an invalid value. `null` removes it.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.claims, name, value.into());
        self
    }

    /// Sets a header parameter, also to an invalid value. `null` removes it.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        set(&mut self.header, name, value.into());
        self
    }

    /// Signs the token.
    ///
    /// # Panics
    /// If the operating system has no random numbers.
    #[must_use]
    pub fn sign(self) -> String {
        let claims = Value::from(self.claims.clone()).to_string();
        self.sign_payload(&claims)
    }

    /// Signs this text instead of the claims, for example JSON in which a claim occurs twice.
    ///
    /// # Panics
    /// Like [`sign`](Self::sign).
    #[must_use]
    pub fn sign_payload(self, payload: &str) -> String {
        let header = URL_SAFE_NO_PAD.encode(Value::from(self.header).to_string());
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
        let signature = self.key.pair.sign(&SystemRandom::new(), message.as_bytes());
        let signature = signature.expect("random numbers");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

fn set(map: &mut Map<String, Value>, name: &str, value: Value) {
    if value.is_null() {
        map.remove(name);
    } else {
        map.insert(name.to_owned(), value);
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}
