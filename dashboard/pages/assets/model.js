// What is true of a link, out of what is wanted, what is seen at either end,
// and what stands in the way.

import { state, key } from './store.js';
import { t, has } from './i18n.js';

// recently is how long ago a message may have moved for a link to be flowing.
const recently = 5000;

export const siteNames = () => [...(state.topology?.sites.keys() ?? [])];
export const siteOf = (name) => state.topology?.sites.get(name);
export const runsHere = (name) => state.sites.has(name);
export const wantedLink = (site, peer) => siteOf(site)?.links.find((link) => link.name === peer);
export const external = (name) => siteOf(name)?.target.kind === 'external';

// pairs lists each two sites that at least one half joins. Those of one site
// have it as their a.
export function pairs(site) {
  const seen = new Map();
  for (const [name, one] of state.topology?.sites ?? []) {
    for (const link of one.links) {
      if (site && name !== site && link.name !== site) continue;
      const [a, b] = site ? [site, name === site ? link.name : name] : [name, link.name].sort();
      if (!seen.has(key(a, b))) seen.set(key(a, b), { a, b });
    }
  }
  return [...seen.values()].sort((x, y) => x.a.localeCompare(y.a) || x.b.localeCompare(y.b));
}

export function heldOf(site, peer) {
  return state.status?.held.find((one) => one.site === site && (!one.peer || one.peer === peer));
}

export function suspensionOf(site, peer) {
  return state.status?.suspensions.find((one) => one.site === site && one.peer === peer);
}

// replicationOf is {state, reason}, from whichever source tells more.
function replicationOf(live, detail) {
  const now = live?.replication;
  if (now && typeof now === 'object') return now;
  const known = detail?.replication ?? {};
  if (!now) return known;
  return { ...known, state: now, reason: known.state === now ? known.reason : '' };
}

export function inboundOf(site, peer) {
  const live = state.live.get(key(site, peer))?.inbound;
  if (live && typeof live === 'object') return live;
  const known = detailOf(site, peer)?.inbound ?? {};
  return live ? { ...known, state: live, reason: known.state === live ? known.reason : '' } : known;
}

export const detailOf = (site, peer) => state.details.get(site)?.get(peer);

// explain words a reason: the peer's reject words are known, others are texts.
export function explain(reason) {
  if (!reason) return '';
  return has(`reject.${reason}`) ? t(`reject.${reason}`) : reason;
}

// half tells of one site's half of a link:
//   word: one of the words of status.*; reason: text; level: ok, idle, busy,
//   warn, bad, off or unknown; facts: yes, no, off or unknown for each of the
//   four.
export function half(site, peer) {
  const link = wantedLink(site, peer);
  const here = runsHere(site);
  const tell = (word, level, facts, reason = '') => ({ word, level, facts, reason, link, here, site, peer, held: heldOf(site, peer) });
  if (!link) {
    const held = heldOf(site, peer);
    if (held) return tell('held', 'warn', ['unknown', 'unknown', 'unknown', 'unknown'], held.why);
    return external(site) ? tell('undeclared', 'unknown', ['unknown', 'unknown', 'unknown', 'unknown'])
      : tell('absent', siteOf(site) ? 'bad' : 'unknown', ['no', 'no', 'no', 'no'], siteOf(site) ? '' : t('status.unknownSite'));
  }
  const paused = suspensionOf(site, peer);
  if (!link.enable) return tell('disabled', 'off', ['off', 'off', 'off', 'off']);
  if (paused) return tell('suspended', 'warn', ['off', 'off', 'off', 'off'], paused.reason);
  if (!here) return tell('elsewhere', 'unknown', ['yes', 'unknown', 'unknown', 'unknown']);
  const live = state.live.get(key(site, peer));
  const detail = detailOf(site, peer);
  if (!live && !detail) {
    const held = heldOf(site, peer);
    return held ? tell('held', 'bad', ['no', 'no', 'no', 'no'], held.why) : tell('unknown', 'unknown', ['yes', 'unknown', 'unknown', 'unknown']);
  }
  return running(tell, live, detail, key(site, peer));
}

function running(tell, live, detail, k) {
  const status = live?.status ?? detail.status;
  const replication = replicationOf(live, detail);
  const reason = explain(replication.reason);
  const connected = status === 'connected' ? 'yes' : 'no';
  if (replication.state === 'rejected') return tell('rejected', 'bad', ['yes', connected, 'no', 'no'], reason);
  if (connected === 'no') {
    return status === 'connecting' ? tell('connecting', 'busy', ['yes', 'no', 'no', 'no'], reason)
      : tell('disconnected', 'bad', ['yes', 'no', 'no', 'no'], reason);
  }
  if (replication.state === 'handshaking' || replication.state === 'bootstrapping') {
    return tell(replication.state, 'busy', ['yes', 'yes', 'no', 'no'], reason);
  }
  if (replication.state !== 'online') return tell('notReplicating', 'bad', ['yes', 'yes', 'no', 'no'], reason);
  const moved = state.lastFlow.get(k) ?? 0;
  const flowing = (live && (live.rate_in > 0 || live.rate_out > 0)) || Date.now() - moved < recently;
  return tell(flowing ? 'flowing' : 'ready', 'ok', ['yes', 'yes', 'yes', flowing ? 'yes' : 'no']);
}

// endpoints are the addresses at which peers reach a site's listeners, with
// whether each speaks TLS.
export function endpoints(name) {
  const list = [];
  for (const listener of siteOf(name)?.listeners ?? []) {
    if (!listener.enable || !['tcp', 'ssl'].includes(listener.type)) continue;
    const tls = listener.type === 'ssl';
    const unspecified = /^(0\.0\.0\.0|\[::\]|):/.test(listener.bind) || /^\d+$/.test(listener.bind);
    const at = listener.advertise?.length ? listener.advertise : unspecified || listener.proxy_protocol ? [] : [listener.bind];
    for (const address of at) list.push({ address, tls, listener: listener.name });
  }
  return list;
}

// why an ordinary user cannot change something; '' if they can.
export function whyNot(site) {
  if (state.session?.role === 'viewer') return t('deny.viewer');
  if (site && !runsHere(site)) return t('deny.elsewhere', { site });
  return '';
}
