//! A real OpenID provider, oidc-provider on Node.js, with its own client credentials.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::program::{get_with, program_without_settings};

/// The provider: three keys, and a client that may request tokens for the audience `orders`.
const PROVIDER: &str = r#"
import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import { Provider } from 'MODULE';

const key = (type, options, kid) =>
    ({ ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), use: 'sig', kid });
const server = createServer();
server.listen(0, '127.0.0.1', () => {
    const issuer = `http://127.0.0.1:${server.address().port}`;
    const provider = new Provider(issuer, {
        jwks: {
            keys: [
                key('rsa', { modulusLength: 2048 }, 'rsa'),
                key('ec', { namedCurve: 'P-256' }, 'ec'),
                key('ed25519', {}, 'ed'),
            ],
        },
        clients: [{
            client_id: 'nightly', client_secret: 'secret', grant_types: ['client_credentials'],
            redirect_uris: [], response_types: [],
        }],
        features: {
            clientCredentials: { enabled: true },
            devInteractions: { enabled: false },
            resourceIndicators: {
                enabled: true,
                // The last part of the resource is the algorithm.
                getResourceServerInfo: (_, resource) => ({
                    scope: 'orders:read orders:write', audience: 'orders', accessTokenFormat: 'jwt',
                    jwt: { sign: { alg: resource.split(':').pop() } },
                }),
            },
        },
    });
    server.on('request', provider.callback());
    console.log(`issuer ${issuer}`);
});
"#;

struct Provider {
    child: Child,
    issuer: String,
}

impl Provider {
    fn start() -> Self {
        let modules = std::env::var("NODE_MODULES").expect("NODE_MODULES, with oidc-provider");
        let program = PROVIDER.replace("MODULE", &format!("{modules}/oidc-provider/lib/index.js"));
        let mut child = Command::new("node")
            .args(["--input-type=module", "--eval", &program])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let issuer =
            lines.find_map(|line| line.unwrap().strip_prefix("issuer ").map(str::to_owned));
        Self {
            child,
            issuer: issuer.expect("oidc-provider"),
        }
    }

    /// An access token by client credentials.
    fn token(&self, algorithm: &str, scope: &str) -> String {
        let output = Command::new("curl")
            .args(["--silent", "--user", "nightly:secret"])
            .args(["--data", "grant_type=client_credentials"])
            .args(["--data-urlencode", &format!("scope={scope}")])
            .args([
                "--data-urlencode",
                &format!("resource=urn:orders:{algorithm}"),
            ])
            .arg(format!("{}/token", self.issuer))
            .output()
            .expect("curl");
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let token = answer["access_token"].as_str();
        token.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.child.kill().expect("a process that runs");
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "needs Node.js, and oidc-provider in NODE_MODULES"]
fn tokens_of_a_real_provider_are_accepted_with_discovery_and_the_default_settings() {
    let provider = Provider::start();
    let service = program_without_settings()
        .set("auth.issuer", &provider.issuer)
        .set("auth.audience", "orders")
        .set("auth.allow_http_loopback", true)
        .start();
    for algorithm in ["RS256", "PS256", "ES256", "EdDSA"] {
        let token = provider.token(algorithm, "orders:read");
        let response = get_with(&service, "/", &token);
        assert_eq!(
            (response.status, response.text()),
            (200, "nightly"),
            "{algorithm}"
        );
        assert_eq!(
            get_with(&service, "/write", &token).status,
            403,
            "{algorithm}"
        );
        let token = provider.token(algorithm, "orders:read orders:write");
        assert_eq!(
            get_with(&service, "/write", &token).status,
            200,
            "{algorithm}"
        );
    }
    // jsonwebtoken does not know the name that RFC 9864 gives to EdDSA with this curve.
    let token = provider.token("Ed25519", "orders:read");
    assert_eq!(get_with(&service, "/", &token).status, 401);
}
