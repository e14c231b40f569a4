// What the pages know, and who wants to be told when it changes.

import * as api from './api.js';
import { follow } from './stream.js';
import { within } from './dom.js';

export const state = {
  session: null, // {key, role}
  status: null, // GET /status
  sites: new Map(), // the sites run here, by name
  topology: null, // {revision, sites: Map}
  findings: null, // GET /findings
  revisions: null, // GET /revisions
  live: new Map(), // by key(site, peer): the last figures of a link
  details: new Map(), // by site: its links as GET answers them, by peer
  events: [], // the newest last
  stream: 'connecting', // open, away
  error: null, // why the picture could not be read
  lastFlow: new Map(), // by key: when messages were last seen to move
};

const MOST_EVENTS = 2000;
const listeners = new Map();

// on calls f after each change of what; it returns what ends that.
export function on(what, f) {
  const names = what.split(' ');
  for (const name of names) {
    if (!listeners.has(name)) listeners.set(name, new Set());
    listeners.get(name).add(f);
  }
  return () => names.forEach((name) => listeners.get(name).delete(f));
}

export function tell(what) {
  for (const f of [...(listeners.get(what) ?? [])]) f();
}

export const key = (site, peer) => `${site}\n${peer}`;

// History: figures of each link over the last minutes.

export const series = ['rate_in', 'rate_out', 'queuing', 'inflight', 'routes_peer', 'routes_own', 'retried', 'dropped'];
const POINTS = 300;
const histories = new Map();
let clock = []; // the times of the points, the newest last
let sampled = 0;

export function history(site, peer) {
  const one = histories.get(key(site, peer));
  const count = Math.min(clock.length, one?.count ?? 0);
  const read = (name) => {
    const list = new Array(count);
    const column = series.indexOf(name) * POINTS;
    for (let i = 0; i < count; i += 1) list[i] = one.values[column + ((one.next - count + i + POINTS) % POINTS)];
    return list;
  };
  return { times: clock.slice(clock.length - count), read };
}

function remember(k, figures, before) {
  let one = histories.get(k);
  if (!one) {
    one = { values: new Float32Array(POINTS * series.length), next: 0, count: 0, retried: figures.retried ?? 0, dropped: figures.dropped ?? 0 };
    histories.set(k, one);
  }
  series.forEach((name, i) => {
    let value = figures[name] ?? 0;
    if (name === 'retried' || name === 'dropped') {
      const grown = value - one[name];
      one[name] = value;
      value = Math.max(grown, 0) / before;
    }
    one.values[i * POINTS + one.next] = value;
  });
  one.next = (one.next + 1) % POINTS;
  one.count = Math.min(one.count + 1, POINTS);
}

function figures(data) {
  const at = Date.parse(data.at) || Date.now();
  const due = at - sampled >= 950;
  const before = sampled ? Math.max((at - sampled) / 1000, 0.5) : 1;
  if (due) {
    sampled = at;
    clock.push(at);
    if (clock.length > POINTS) clock = clock.slice(-POINTS);
  }
  const seen = new Set();
  for (const link of data.links) {
    const k = key(link.site, link.peer);
    seen.add(k);
    state.live.set(k, link);
    if (link.rate_in > 0 || link.rate_out > 0) state.lastFlow.set(k, at);
    if (due) remember(k, link, before);
  }
  for (const k of state.live.keys()) if (!seen.has(k)) state.live.delete(k);
  tell('live');
}

// Reading the picture.

async function readStatus() {
  const { data } = await api.get('/status');
  state.status = data;
  tell('status');
}

async function readTopology() {
  try {
    const { data } = await api.get('/topology');
    state.topology = { revision: data.revision, sites: new Map(data.sites.map((site) => [site.name, site])) };
  } catch (err) {
    if (err.status !== 503) throw err;
    state.topology = { revision: '', sites: new Map(), problem: err.message };
  }
  tell('topology');
}

async function readSites() {
  const { data } = await api.get('/sites');
  state.sites = new Map(data.map((site) => [site.name, site]));
}

async function readFindings() {
  const { data } = await api.get('/findings');
  state.findings = data;
  tell('findings');
}

async function readRevisions() {
  const { data } = await api.get('/revisions');
  state.revisions = data;
  tell('revisions');
}

let reading = null;
let againAfter = false;

// refresh reads everything that a change of the source may have changed.
export async function refresh() {
  if (reading) {
    againAfter = true;
    return reading;
  }
  reading = (async () => {
    try {
      await readSites();
      await Promise.all([readStatus(), readTopology(), readFindings(), readRevisions(), ...[...state.sites.keys()].filter(looked).map(readDetails)]);
      state.error = null;
    } catch (err) {
      state.error = err;
      tell('status');
    }
  })();
  await reading;
  reading = null;
  if (againAfter) {
    againAfter = false;
    return refresh();
  }
  return undefined;
}

// soon refreshes once for all that happens in a short time. It is not put off
// by what happens next, or a busy fleet would never be read.
const soon = within(250, refresh);

// Details: the links of the sites that somebody looks at.

const watched = new Map(); // by site: how many look

// FEW sites are asked for their links even if nobody looks: that is quicker
// than to wait for the first figures.
const FEW = 20;
const looked = (site) => watched.has(site) || state.sites.size <= FEW;

async function readDetails(site) {
  if (!state.sites.has(site)) return;
  const { data } = await api.get(`/sites/${encodeURIComponent(site)}/cluster/links`);
  state.details.set(site, new Map(data.map((link) => [link.name, link])));
  tell('details');
}

// watch keeps the details of some sites up to date until the returned
// function is called.
export function watch(sites) {
  const own = new Set(sites);
  for (const site of own) {
    watched.set(site, (watched.get(site) ?? 0) + 1);
    readDetails(site).catch(() => {});
  }
  return () => {
    for (const site of own) {
      const left = watched.get(site) - 1;
      if (left > 0) watched.set(site, left);
      else watched.delete(site);
    }
  };
}

const stale = new Set();
const rereadDetails = within(250, () => {
  const sites = [...stale];
  stale.clear();
  sites.forEach((site) => readDetails(site).catch(() => {}));
});

// The stream.

let stream = null;

function happened(type, text) {
  let data;
  try {
    data = JSON.parse(text);
  } catch {
    return;
  }
  if (type === 'rates') {
    figures(data);
    return;
  }
  const last = state.events.at(-1);
  if (last && data.id <= last.id) {
    if (state.events.some((e) => e.id === data.id && e.time === data.time)) return;
    state.events = []; // the process has started anew and counts from 1
  }
  state.events.push(data);
  if (state.events.length > MOST_EVENTS) state.events.splice(0, 200);
  tell('events');
  if (data.type === 'link' || data.type === 'suspended' || data.type === 'resumed') {
    if (looked(data.site)) {
      stale.add(data.site);
      rereadDetails();
    }
  }
  if (data.type !== 'link') soon();
}

export function start() {
  if (stream) return;
  stream = follow('/events?rates=1s', {
    event: happened,
    state(next) {
      if (state.stream === next) return;
      const back = next === 'open' && state.stream === 'away';
      state.stream = next;
      tell('stream');
      if (back) refresh();
    },
    refused(status) {
      if (status === 401) readStatus().catch(() => {});
    },
  });
}

export function stop() {
  stream?.stop();
  stream = null;
  Object.assign(state, { session: null, status: null, topology: null, findings: null, revisions: null, events: [], stream: 'connecting', error: null });
  state.live.clear();
  state.details.clear();
  state.lastFlow.clear();
  histories.clear();
}

export function reconnect() {
  stream?.again();
  refresh();
}

// Nothing tells of what only time changes, such as an end of a suspension.
setInterval(() => { if (state.session && !document.hidden) readStatus().catch(() => {}); }, 15000);
