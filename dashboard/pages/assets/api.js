// The REST API, from the page's own origin with the session's cookie.

export class ApiError extends Error {
  constructor(status, body, revision) {
    super(body?.message || `HTTP ${status}`);
    Object.assign(this, { status, code: body?.code ?? '', findings: body?.findings ?? [], current: body?.current, pos: body?.pos, related: body?.related ?? [], revision });
  }

  // away: nobody answered, or whoever stands between did.
  get away() { return this.status === 0 || this.status === 502 || this.status === 504; }
}

// lost is called when the session has ended; it resolves when somebody has
// signed in again, and rejects when they will not.
let lost = () => Promise.reject(new Error('signed out'));
export function onSignedOut(f) { lost = f; }

const quoted = (header) => header?.replace(/^W\//, '').replace(/^"|"$/g, '');

async function send(method, path, { body, ifMatch, signal, headers = {} }) {
  const init = { method, signal, credentials: 'same-origin', cache: 'no-store', headers: { Accept: 'application/json', ...headers } };
  if (body !== undefined || (method !== 'GET' && method !== 'DELETE')) init.headers['Content-Type'] = 'application/json';
  if (body !== undefined) init.body = JSON.stringify(body);
  if (ifMatch) init.headers['If-Match'] = `"${ifMatch}"`;
  try {
    return await fetch(path, init);
  } catch (err) {
    if (err.name === 'AbortError') throw err;
    throw new ApiError(0, { code: 'AWAY', message: err.message });
  }
}

async function read(response) {
  const kind = response.headers.get('Content-Type') ?? '';
  if (response.status === 204 || response.status === 304) return null;
  try {
    return kind.includes('json') ? await response.json() : await response.text();
  } catch (err) {
    if (err.name === 'AbortError') throw err;
    throw new ApiError(0, { code: 'AWAY', message: err.message });
  }
}

// call asks once, and when the session has ended again after a sign-in.
// It returns {data, status, revision}.
export async function call(method, path, options = {}) {
  const response = await send(method, path, options);
  const data = await read(response);
  const revision = quoted(response.headers.get('ETag'));
  if (response.ok || response.status === 304) return { data, status: response.status, revision };
  const error = new ApiError(response.status, typeof data === 'object' ? data : { message: data }, revision);
  if (response.status === 401 && !options.signingIn) {
    await lost(error);
    return call(method, path, options);
  }
  throw error;
}

export const get = (path, options) => call('GET', path, options);

const linksOf = (site) => `/sites/${encodeURIComponent(site)}/cluster/links`;
export const linkPath = (site, peer) => `${linksOf(site)}/link/${encodeURIComponent(peer)}`;

const query = (flags) => {
  const set = Object.entries(flags).filter(([, on]) => on).map(([name]) => `${name}=true`);
  return set.length ? `?${set.join('&')}` : '';
};

export const createLink = (site, link, flags = {}, options = {}) =>
  call('POST', linksOf(site) + query(flags), { ...options, body: link });
export const updateLink = (site, peer, link, flags = {}, options = {}) =>
  call('PUT', linkPath(site, peer) + query(flags), { ...options, body: link });
export const deleteLink = (site, peer, flags = {}, options = {}) =>
  call('DELETE', linkPath(site, peer) + query(flags), options);
export const getLink = (site, peer, options) => get(linkPath(site, peer), options);
export const probeLink = (site, link, options) => call('POST', `${linksOf(site)}/probe`, { ...options, body: link });
export const resetMetrics = (site, peer) => call('PUT', `${linkPath(site, peer)}/metrics/reset`);
export const suspendLink = (site, peer, body) => call('PUT', `${linkPath(site, peer)}/suspend`, { body });
export const resumeLink = (site, peer) => call('PUT', `${linkPath(site, peer)}/resume`);

export const signIn = (credentials) => call('POST', '/session', { body: credentials, signingIn: true });
export const signOut = () => call('DELETE', '/session', { signingIn: true });
