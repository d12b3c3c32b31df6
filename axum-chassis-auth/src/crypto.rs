//! Signature verification with ring, for jsonwebtoken.
//!
//! jsonwebtoken has two providers of its own. aws-lc-rs would be a second cryptography library next to ring, which rustls
//! uses in this workspace. The crates of RustCrypto would add more than 60 crates.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: |algorithm, key| {
        let kind = kind(*algorithm).ok_or(ErrorKind::UnsupportedAlgorithm)?;
        Ok(Box::new(RingVerifier {
            algorithm: *algorithm,
            kind,
            key: key.clone(),
        }))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

/// Installs the verifier, unless the process already has a provider: one that it installed, or that of a feature of
/// jsonwebtoken that the service enables for its own use.
pub(crate) fn install() {
    if CryptoProvider::try_get_default().is_none() {
        // `Err` means that another thread was faster.
        let _ = PROVIDER.install_default();
    }
}

#[derive(Clone, Copy)]
enum SignatureKind {
    Rsa(&'static signature::RsaParameters),
    Other(&'static dyn signature::VerificationAlgorithm),
}

/// `None` for symmetric algorithms.
fn kind(algorithm: Algorithm) -> Option<SignatureKind> {
    use SignatureKind::{Other, Rsa};
    Some(match algorithm {
        Algorithm::RS256 => Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Rsa(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Rsa(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Rsa(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => Other(&signature::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Other(&signature::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Other(&signature::ED25519),
        _ => return None,
    })
}

struct RingVerifier {
    algorithm: Algorithm,
    kind: SignatureKind,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Error> {
        // Checked here as well, because jsonwebtoken leaves it to its providers.
        if self.key.family() != self.algorithm.family() {
            return Err(Error::new());
        }
        let verified = match (self.kind, self.key.kind()) {
            (SignatureKind::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (SignatureKind::Rsa(parameters), DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(parameters, key).verify(message, signature)
            }
            (SignatureKind::Other(algorithm), DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(algorithm, key).verify(message, signature)
            }
            _ => return Err(Error::new()),
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
