//! Key sets, [RFC 7517](https://www.rfc-editor.org/rfc/rfc7517), parsed once when they are fetched.

use std::sync::Arc;

use anyhow::{Context, ensure};
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// The maximum number of keys in a set. Providers publish two to ten.
const MAX_KEYS: usize = 100;

/// A key that can verify signatures with at least one accepted algorithm.
#[derive(Debug)]
pub(crate) struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(crate) decoding: DecodingKey,
}

/// The usable keys of a key set.
#[derive(Debug)]
pub(crate) struct KeySet(Vec<Arc<Key>>);

impl KeySet {
    /// Parses a key set. Keys of other types, for encryption, or for other algorithms are left out, as RFC 7517 section 5
    /// recommends; one key that cannot be parsed does not invalidate the others.
    ///
    /// # Errors
    /// If this is not a key set, or no key is usable.
    pub(crate) fn parse(json: &[u8], accepted: &[Algorithm]) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let Document { keys } =
            serde_json::from_slice(json).context("the response is not a key set")?;
        ensure!(
            keys.len() <= MAX_KEYS,
            "the key set has {} keys, more than {MAX_KEYS}",
            keys.len()
        );
        let usable = keys.into_iter().filter_map(|key| Key::parse(key, accepted));
        let usable: Vec<_> = usable.map(Arc::new).collect();
        ensure!(
            !usable.is_empty(),
            "the key set has no key for the accepted algorithms ({accepted:?})"
        );
        Ok(Self(usable))
    }

    /// The key with this ID for this algorithm. For a token without a key ID, the only key for its algorithm.
    pub(crate) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&Arc<Key>> {
        let mut keys = self.0.iter().filter(|key| {
            key.algorithms.contains(&algorithm) && (id.is_none() || key.id.as_deref() == id)
        });
        let first = keys.next();
        if id.is_none() && keys.next().is_some() {
            return None;
        }
        first
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Key {
    fn parse(json: Value, accepted: &[Algorithm]) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(json).ok()?;
        let common = &jwk.common;
        let verifies = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature))
            && common
                .key_operations
                .as_ref()
                .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        let algorithms: Vec<_> = accepted
            .iter()
            .copied()
            .filter(|algorithm| fits(*algorithm, &jwk))
            .collect();
        (verifies && !algorithms.is_empty()).then_some(())?;
        Some(Self {
            decoding: DecodingKey::from_jwk(&jwk).ok()?,
            id: jwk.common.key_id,
            algorithms,
        })
    }
}

/// Whether a key can be used with an algorithm, by its type and its own `alg` (RFC 8725 section 3.1).
fn fits(algorithm: Algorithm, jwk: &Jwk) -> bool {
    let has_type = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => algorithm.family() == AlgorithmFamily::Rsa,
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => algorithm == Algorithm::ES256,
            EllipticCurve::P384 => algorithm == Algorithm::ES384,
            _ => false,
        },
        AlgorithmParameters::OctetKeyPair(key) => {
            key.curve == EllipticCurve::Ed25519 && algorithm == Algorithm::EdDSA
        }
        // Symmetric keys and unknown ones.
        _ => false,
    };
    let own = jwk.common.key_algorithm;
    has_type && own.is_none_or(|own| own == KeyAlgorithm::from(algorithm))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

    fn parse(keys: Value) -> anyhow::Result<KeySet> {
        let accepted = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), &accepted)
    }

    #[test]
    fn keys_that_cannot_verify_a_token_are_left_out() {
        for key in [
            json!({"kty": "oct", "k": "c2VjcmV0", "kid": "a"}),
            json!({"kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "RS256"}),
            json!({"kty": "EC", "crv": "P-256", "x": X, "y": Y, "use": "enc"}),
            json!({"kty": "EC", "crv": "P-256", "x": X, "y": Y, "key_ops": ["sign"]}),
            json!({"kty": "EC", "crv": "P-256", "x": X, "y": Y, "alg": "ES384"}),
            json!({"kty": "EC", "crv": "P-256", "x": X, "y": Y, "alg": "HS256"}),
            json!({"kty": "EC", "crv": "P-384", "x": X, "y": Y}),
            json!({"kty": "EC", "crv": "secp256k1", "x": X, "y": Y}),
            json!({"kty": "OKP", "crv": "X25519", "x": X}),
            json!({"kty": "RSA", "n": "AQAB"}),
            json!({"kty": "new"}),
            json!({"kid": 5}),
            json!("a"),
        ] {
            let good = json!({"kty": "EC", "crv": "P-256", "x": X, "y": Y, "kid": "good"});
            let keys = parse(json!([key, good])).expect("one key");
            assert_eq!(keys.len(), 1, "{key}");
            assert!(keys.find(Some("good"), Algorithm::ES256).is_some());
            assert!(keys.find(Some("good"), Algorithm::RS256).is_none());
            assert!(parse(json!([key])).is_err(), "{key}");
        }
    }

    #[test]
    fn a_token_without_a_key_id_is_verified_if_one_key_has_its_algorithm() {
        let key = |id| json!({"kty": "EC", "crv": "P-256", "x": X, "y": Y, "kid": id});
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": X, "kid": "c"});
        let one = parse(json!([key("a"), ed])).expect("two keys");
        assert!(one.find(None, Algorithm::ES256).is_some());
        let two = parse(json!([key("a"), key("b")])).expect("two keys");
        assert!(two.find(None, Algorithm::ES256).is_none());
    }

    #[test]
    fn a_key_set_with_too_many_keys_is_an_error() {
        let key = json!({"kty": "EC", "crv": "P-256", "x": X, "y": Y});
        let error = parse(json!(vec![key; MAX_KEYS + 1])).expect_err("too many");
        assert!(error.to_string().contains("101 keys"), "{error}");
    }
}
