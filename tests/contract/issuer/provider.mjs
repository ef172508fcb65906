// A certified OpenID provider with accounts like Entra ID's, to sign in against.
//   node provider.mjs '{"host": "127.0.0.1", "port": 9000, "issuer": "http://127.0.0.1:9000/tenant/v2.0", ...}'
// More keys: console ({id, secretFile, back}: a web application), cert, key (PEM files: serve over TLS), audience,
// deviceClient, services ({id: {secret, scope}}), accounts ({name: claims}), tenant (of services), tokenSeconds,
// control (true: /control/... changes it while it runs).
// Says {"issuer": ...} on one line when it listens.
import * as crypto from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as http from 'node:http';
import * as https from 'node:https';
import { Provider } from 'oidc-provider';

const options = JSON.parse(process.argv[2]);
const { host = '127.0.0.1', port, issuer, audience = 'api://satchel', services = {}, control = false } = options;
const deviceClient = options.deviceClient ?? 'satchel-device';
const tokenSeconds = options.tokenSeconds ?? 600;
const accounts = new Map(Object.entries(options.accounts ?? {}));
const disabled = new Set();
const keys = [newKey()];
const secret = crypto.randomBytes(32).toString('base64url');
const CLAIMS = ['oid', 'tid', 'email', 'email_verified', 'preferred_username', 'name', 'roles', 'groups'];

function newKey() {
  const { privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: crypto.randomUUID() };
}

function claimsOf(name) {
  const claims = accounts.get(name) ?? {};
  return Object.fromEntries(CLAIMS.filter((each) => each in claims).map((each) => [each, claims[each]]));
}

async function findAccount(_, name) {
  if (!accounts.has(name) || disabled.has(name)) return undefined;
  return { accountId: name, claims: async () => ({ sub: name, ...claimsOf(name) }) };
}

function configuration() {
  const client = {
    client_id: deviceClient,
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
    redirect_uris: ['http://localhost', 'http://127.0.0.1'],
    response_types: ['code'],
  };
  const web = options.console ? [{
    client_id: options.console.id, client_secret: readFileSync(options.console.secretFile, 'utf8').trim(),
    token_endpoint_auth_method: 'client_secret_post',
    grant_types: ['authorization_code', 'refresh_token'], redirect_uris: [options.console.back], response_types: ['code'],
  }] : [];
  const others = Object.entries(services).map(([id, each]) => ({
    client_id: id, client_secret: each.secret, grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
    scope: each.scope, token_endpoint_auth_method: 'client_secret_post',
  }));
  return {
    clients: [client, ...web, ...others],
    findAccount,
    jwks: { keys },
    cookies: { keys: [secret] },
    claims: { openid: ['sub', ...CLAIMS] },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    scopes: ['openid', 'offline_access', ...new Set(Object.values(services).flatMap((each) => each.scope.split(' ')))],
    ttl: { AccessToken: tokenSeconds, ClientCredentials: tokenSeconds, IdToken: tokenSeconds, RefreshToken: 86400,
           Grant: 86400, Session: 3600, Interaction: 600, DeviceCode: 600, AuthorizationCode: 60 },
    issueRefreshToken: async (_, each) => each.grantTypeAllowed('refresh_token'),
    extraTokenClaims: async (_, token) => (token.accountId ? claimsOf(token.accountId) : { tid: options.tenant }),
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      devInteractions: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => audience,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, resource, each) => ({
          audience: resource, accessTokenFormat: 'jwt', accessTokenTTL: tokenSeconds,
          scope: ['access', services[each.clientId]?.scope ?? ''].join(' ').trim(), jwt: { sign: { alg: keys[0].alg } },
        }),
      },
    },
  };
}

let provider, answer;
function start() {
  provider = new Provider(issuer, configuration());
  answer = provider.callback();
}

const CONTROL = {
  // A new key signs; with {"keep": true} the old ones can still be used to check what they signed.
  rotate: ({ keep = true }) => { keys.splice(0, keep ? 0 : keys.length, newKey()); start(); },
  disable: ({ account }) => { disabled.add(account); },
  enable: ({ account }) => { disabled.delete(account); },
  account: ({ account, claims }) => { accounts.set(account, claims); },
  keys: () => keys,
};

function body(request) {
  return new Promise((resolve) => {
    const parts = [];
    request.on('data', (part) => parts.push(part)).on('end', () => resolve(Buffer.concat(parts).toString()));
  });
}

async function handle(request, response) {
  const word = /^\/control\/(\w+)$/.exec(request.url)?.[1];
  if (control && word in CONTROL) {
    const given = CONTROL[word](JSON.parse((await body(request)) || '{}'));
    response.setHeader('content-type', 'application/json');
    return response.end(JSON.stringify(given ?? {}));
  }
  const prefix = new URL(issuer).pathname.replace(/\/$/, '');
  if (prefix && !request.url.startsWith(prefix)) {
    response.statusCode = 404;
    return response.end();
  }
  request.originalUrl = request.url;
  request.url = request.url.slice(prefix.length) || '/';
  return answer(request, response);
}

start();
const tls = options.cert ? { cert: readFileSync(options.cert), key: readFileSync(options.key) } : undefined;
const server = tls ? https.createServer(tls, handle) : http.createServer(handle);
server.listen(port, host, () => console.log(JSON.stringify({ issuer })));
process.on('SIGTERM', () => process.exit(0));
