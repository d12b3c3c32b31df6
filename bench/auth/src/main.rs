//! CPU time of the check of one bearer token: the layer of axum-chassis-auth, the layer of jwt-authorizer, jsonwebtoken's
//! `decode`, and the signature alone. All read the same claims and verify signatures with ring, in turn, in one thread.

use std::convert::Infallible;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum_chassis::TestChassis;
use axum_chassis_auth::{Auth, Claims, Settings};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Request, Response};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use jwt_authorizer::layer::AuthorizationLayer;
use jwt_authorizer::{AuthError, IntoLayer, JwtAuthorizer};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::{Layer, Service, service_fn};

const ISSUER: &str = "https://id.example.com/";
const AUDIENCE: &str = "orders";
/// Tokens in a row, and how often it is each check's turn.
const TOKENS: u32 = 200;
const ROUNDS: usize = 101;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    println!("Medians of {ROUNDS} rounds of {TOKENS} tokens:\n");
    println!("| CPU time of a request | ES256 | RS256 |\n|---|---:|---:|");
    let columns = [Signer::es256(), Signer::rs256(folder.path())]
        .map(|signer| measure(&runtime, folder.path(), &signer));
    let names = [
        "`axum-chassis-auth`, the layer",
        "`jwt-authorizer` 0.15, the layer",
        "`jsonwebtoken` 12, `decode` alone",
        "ring, the signature alone",
        "no check",
    ];
    for (row, name) in names.iter().enumerate() {
        let [es256, rs256] = [&columns[0], &columns[1]].map(|column| micros(column.times[row]));
        println!("| {name} | {es256} | {rs256} |");
    }
    let [es256, rs256] = [&columns[0], &columns[1]].map(|column| column.ratio);
    println!(
        "| `axum-chassis-auth` divided by `jwt-authorizer` in the same round | {es256:.2} | {rs256:.2} |"
    );
}

fn micros(time: Duration) -> String {
    format!("{:.1} µs", time.as_secs_f64() * 1e6)
}

struct Column {
    times: [Duration; 5],
    ratio: f64,
}

fn measure(runtime: &Runtime, folder: &Path, signer: &Signer) -> Column {
    let file = folder.join("keys.json");
    let keys = json!({ "keys": [signer.public] }).to_string();
    fs::write(&file, &keys).expect("a file");
    let token = signer.token();
    let (_test, ours) = runtime.block_on(ours(&file));
    let theirs = runtime.block_on(theirs(&file));
    let handler = |_: Request<Body>| async { Ok::<_, Infallible>(Answer::ok()) };
    let bare = service_fn(handler);
    let ours = ours.layer().layer(service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Answer::ok().0)
    }));
    let theirs = theirs.layer(bare);

    let keys: JwkSet = serde_json::from_str(&keys).expect("keys");
    let key = DecodingKey::from_jwk(&keys.keys[0]).expect("a key");
    let mut validation = Validation::new(signer.algorithm);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[ISSUER]);
    let (message, signature) = token.rsplit_once('.').expect("a token");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("a signature");

    let mut rounds: Vec<[Duration; 5]> = (0..ROUNDS)
        .map(|_| {
            [
                send(runtime, ours.clone(), &token),
                send(runtime, theirs.clone(), &token),
                cpu(|| {
                    black_box(decode::<Claims>(&token, &key, &validation)).expect("a valid token");
                }),
                cpu(|| assert!(black_box(signer.verifies(message.as_bytes(), &signature)))),
                send(runtime, bare, &token),
            ]
        })
        .collect();
    let mut ratios: Vec<f64> = rounds
        .iter()
        .map(|round| round[0].as_secs_f64() / round[1].as_secs_f64())
        .collect();
    ratios.sort_by(f64::total_cmp);
    let times = std::array::from_fn(|row| {
        rounds.sort_by_key(|round| round[row]);
        rounds[ROUNDS / 2][row]
    });
    Column {
        times,
        ratio: ratios[ROUNDS / 2],
    }
}

/// The CPU time of one run.
fn cpu(mut run: impl FnMut()) -> Duration {
    let now = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    };
    let begun = now();
    (0..TOKENS).for_each(|_| run());
    (now() - begun) / TOKENS
}

/// The CPU time of a request with this token.
fn send<S, R: Into<Answer>>(runtime: &Runtime, mut service: S, token: &str) -> Duration
where
    S: Service<Request<Body>, Response = R, Error = Infallible>,
{
    let header = format!("Bearer {token}");
    runtime.block_on(async {
        std::future::poll_fn(|context| service.poll_ready(context))
            .await
            .expect("infallible");
    });
    cpu(|| {
        let request = Request::get("/").header("authorization", &header);
        let request = request.body(Body::empty()).expect("a request");
        let Ok(answer) = runtime.block_on(service.call(request));
        let Answer(response) = answer.into();
        assert_eq!(black_box(response).status(), 200);
    })
}

async fn ours(keys: &Path) -> (TestChassis<()>, Auth) {
    let mut settings = Settings::default();
    settings.issuer = ISSUER.to_owned();
    settings.audience = vec![AUDIENCE.to_owned()];
    settings.jwks_file = Some(keys.display().to_string());
    let test = TestChassis::new(());
    let auth = axum_chassis_auth::auth(&test.chassis(), "auth", &settings).await;
    (test, auth.expect("keys"))
}

async fn theirs(keys: &Path) -> AuthorizationLayer<Claims> {
    let validation = jwt_authorizer::Validation::new()
        .iss(&[ISSUER])
        .aud(&[AUDIENCE])
        .nbf(true);
    JwtAuthorizer::from_jwks(&keys.display().to_string())
        .validation(validation)
        .build()
        .await
        .expect("keys")
        .into_layer()
}

/// A response that both layers can create.
struct Answer(Response<Body>);

impl Answer {
    fn ok() -> Self {
        Self(Response::new(Body::empty()))
    }
}

impl From<Response<Body>> for Answer {
    fn from(response: Response<Body>) -> Self {
        Self(response)
    }
}

impl From<AuthError> for Answer {
    fn from(error: AuthError) -> Self {
        panic!("jwt-authorizer rejects the token: {error}")
    }
}

struct Signer {
    algorithm: Algorithm,
    public: Value,
    pair: Pair,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    fn es256() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let der = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref(), &random).expect("a key");
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let public = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "a",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        Self {
            algorithm: Algorithm::ES256,
            public,
            pair: Pair::Ecdsa(pair),
        }
    }

    /// ring does not generate RSA keys.
    fn rs256(folder: &Path) -> Self {
        let file = folder.join("rsa.der");
        let status = Command::new("openssl")
            .args(["genpkey", "-quiet", "-algorithm", "RSA", "-outform", "DER"])
            .args(["-pkeyopt", "rsa_keygen_bits:2048", "-out"])
            .arg(&file)
            .status();
        assert!(status.expect("openssl").success());
        let der = fs::read(file).expect("a key");
        // OpenSSL 3.0 writes PKCS #1, later versions write PKCS #8.
        let pair = RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der));
        let pair = pair.expect("a key");
        let key = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
        let public = json!({
            "kty": "RSA", "alg": "RS256", "use": "sig", "kid": "a",
            "n": URL_SAFE_NO_PAD.encode(&key.n), "e": URL_SAFE_NO_PAD.encode(&key.e),
        });
        Self {
            algorithm: Algorithm::RS256,
            public,
            pair: Pair::Rsa(pair),
        }
    }

    fn token(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("a time").as_secs();
        let header = json!({ "alg": self.public["alg"], "typ": "at+jwt", "kid": "a" });
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "4b9d2b4e-1c57-4a9e-8d7e-3e0f4b1c2d3a", "client_id": "shop",
            "jti": "0e7a3f6e-5d1c-4f0f-9b52-a1c9d7b6e8f4", "iat": now, "exp": now + 3600,
            "scope": "openid profile orders:read orders:write",
        });
        let encode = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let message = format!("{}.{}", encode(header), encode(claims));
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Ecdsa(pair) => {
                let signature = pair.sign(&random, message.as_bytes());
                signature.expect("a signature").as_ref().to_vec()
            }
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &random,
                    message.as_bytes(),
                    &mut signature,
                )
                .expect("a signature");
                signature
            }
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.pair {
            Pair::Ecdsa(pair) => {
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key());
                key.verify(message, signature).is_ok()
            }
            Pair::Rsa(pair) => {
                let key = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                    .is_ok()
            }
        }
    }
}
