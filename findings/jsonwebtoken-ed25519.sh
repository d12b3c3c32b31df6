#!/usr/bin/env bash
# jsonwebtoken verifies tokens with Ed25519 keys, but rejects those that name the algorithm `Ed25519`, which a provider offers by default.
#
# Software: jsonwebtoken 12.0.0 (crate), and oidc-provider 9.13.3 (npm), an OpenID provider.
# Expected: RFC 9864 gives the curve a name of its own, `Ed25519`, and deprecates the name `EdDSA`. A library that verifies signatures
#   of this curve accepts both names.
# Instead: jsonwebtoken only knows `EdDSA`. The header of a token with `Ed25519` cannot be parsed, so the error is about JSON and not
#   about an algorithm. The provider lists both names in its discovery document, and signs with the one that the client is
#   registered with.
# Who is affected: services behind a provider whose administrator chooses the newer name. All their tokens are rejected as malformed.
#
# Seen 2026-11-30, the algorithms in the discovery document, and jsonwebtoken's result for a token of each:
#   PS256 RS256 ES256 EdDSA Ed25519
#   EdDSA: parsed, EdDSA
#   Ed25519: JSON error: unknown variant `Ed25519`, expected one of `HS256`, `HS384`, `HS512`, `ES256`, [...]
#
# Exits with 0 while this holds. Needs Node.js and cargo. About a minute.
set -euo pipefail

folder=$(mktemp -d)
pid=
cleanup() {
  if [ -n "$pid" ]; then
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  fi
  rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"

npm install --silent --no-save --no-package-lock --prefix "$folder" oidc-provider@9.13.3
cat >provider.mjs <<'JAVASCRIPT'
import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import { Provider } from 'oidc-provider';

const key = (type, options) => ({ ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), use: 'sig' });
const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    jwks: { keys: [key('rsa', { modulusLength: 2048 }), key('ec', { namedCurve: 'P-256' }), key('ed25519', {})] },
    clients: [{
      client_id: 'client', client_secret: 'secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
    }],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => ({
          scope: 'read', audience: 'api', accessTokenFormat: 'jwt', jwt: { sign: { alg: resource.split(':').pop() } },
        }),
      },
    },
  });
  server.on('request', provider.callback());
  console.log(issuer);
});
JAVASCRIPT
node provider.mjs >issuer 2>/dev/null &
pid=$!
until [ -s issuer ]; do sleep 0.1; done
issuer=$(cat issuer)
algorithms=$(curl --silent "$issuer/.well-known/openid-configuration" |
  python3 -c 'import json, sys; print(*json.load(sys.stdin)["id_token_signing_alg_values_supported"])')

mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"
[dependencies]
jsonwebtoken = { version = "=12.0.0", default-features = false }
TOML
cat >src/main.rs <<'RUST'
fn main() {
    for argument in std::env::args().skip(1) {
        let (name, token) = argument.split_once('=').unwrap();
        match jsonwebtoken::decode_header(token) {
            Ok(header) => println!("{name}: parsed, {:?}", header.alg),
            Err(error) => println!("{name}: {error}"),
        }
    }
}
RUST
cargo build --quiet

tokens=()
for algorithm in EdDSA Ed25519; do
  answer=$(curl --silent --user client:secret --data grant_type=client_credentials --data scope=read \
    --data "resource=urn:api:$algorithm" "$issuer/token")
  token=$(python3 -c 'import json, sys; print(json.loads(sys.argv[1])["access_token"])' "$answer")
  tokens+=("$algorithm=$token")
done
seen=$(target/debug/finding "${tokens[@]}")
if [[ $algorithms == *EdDSA*Ed25519* && $seen == "EdDSA: parsed, EdDSA"*"Ed25519: JSON error: unknown variant \`Ed25519\`"* ]]; then
  exit 0
fi
printf '%s\n%s\n' "$algorithms" "$seen"
exit 1
