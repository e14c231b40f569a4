// Which field of a link a problem that the server found belongs to.

import { t } from './i18n.js';

const byRule = {
  'unknown-site': 'name', 'self-link': 'name', 'name-mismatch': 'name', 'name-unsafe': 'name', 'duplicate-link': 'name', 'one-sided': 'pair',
  'enable-mismatch': 'enable', 'server-is-self': 'server', 'server-is-third': 'server', 'server-unknown': 'server', 'server-many': 'server',
  'listener-loopback': 'server', 'listener-mountpoint': 'server', 'packet-size': 'server', 'plaintext-public': 'server',
  'tls-mismatch': 'ssl.enable', 'tls-no-port': 'server', 'tls-no-verify': 'ssl.verify', 'tls-files': 'ssl.cacertfile', 'tls-cert': 'ssl.cacertfile', 'tls-client-cert': 'ssl.certfile',
  'clientid-collision': 'clientid', 'clientid-overlap': 'clientid', 'peer-unauthenticated': 'username', 'shared-credentials': 'username', 'missing-credentials': 'username',
  'literal-secret': 'password', 'secret-unreadable': 'password', 'redacted-secret': 'password',
  'topic-invalid': 'topics', 'topic-reserved': 'topics', 'topic-redundant': 'topics', 'nothing-flows': 'topics', 'no-transit': 'topics',
  'connection-budget': 'pool_size', 'buffer-budget': 'resource_opts.max_buffer_bytes', 'acl-missing': 'username',
};

// fieldOf is the field that a finding about site's link to peer belongs to;
// '' if it is about something else.
export function fieldOf(f, site, peer, known) {
  if (f.sites?.length > 0 && f.sites[0] === peer && f.sites[0] !== site && f.rule.startsWith('topic-')) return 'peer_topics';
  if (f.sites?.length && f.sites[0] !== site) return '';
  if (f.sites?.length > 1 && !f.sites.includes(peer) && f.rule !== 'unknown-site') return '';
  const first = /^"?([a-z_]+(?:\.[a-z_]+)*)/.exec(f.message)?.[1];
  if (known.has(first)) return first;
  const named = /\b(?:of|in) (topics|[a-z_]+(?:\.[a-z_]+)+)\b/.exec(f.message)?.[1];
  if (named && known.has(named)) return named;
  return byRule[f.rule] ?? '';
}

// useOf offers a finding's remedy where that is one value for its own field.
export function useOf(f, field) {
  if (field !== 'server' || f.fix?.edits.length !== 1) return null;
  try {
    const value = JSON.parse(f.fix.edits[0].text);
    return typeof value === 'string' ? value : null;
  } catch {
    return null;
  }
}

// formProblem reads EMQX's form of an error: JSON text in the message.
export function formProblem(err) {
  let parsed;
  try {
    parsed = JSON.parse(err.message);
  } catch {
    const path = /^root\.([a-z_.]+)/.exec(err.message)?.[1];
    if (err.code === 'ALREADY_EXISTS') return { field: 'name', message: err.message };
    return { field: path ?? '', message: err.message };
  }
  const reason = parsed.reason;
  const field = parsed.path?.replace(/^root\.?/, '') ?? '';
  if (reason?.reason === 'redundant_topics') {
    return { field: 'topics', topics: reason.topics, message: t('problem.redundant', { topics: reason.topics.map((one) => `"${one}"`).join(', ') }) };
  }
  if (reason === 'required_field') return { field, message: t('problem.required'), required: true };
  const words = typeof reason === 'string' ? reason : JSON.stringify(reason);
  return { field: field || (/name/i.test(words) ? 'name' : ''), message: words };
}
