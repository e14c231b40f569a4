// The form of one link: the vendor's fields in the vendor's order.

import { h, id, put, attr, button, icon } from './dom.js';
import { t } from './i18n.js';
import { field, wrap, showProblems, mainFields, tlsFields, tlsMoreFields, advanced, outsideFields, get, labelOf } from './fields.js';
import { topicRows } from './topics.js';
import { switcher } from './views.js';
import { siteNames, siteOf, wantedLink, endpoints, external } from './model.js';

const random = (length) => {
  const letters = 'abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789';
  return Array.from(crypto.getRandomValues(new Uint32Array(length)), (n) => letters[n % letters.length]).join('');
};

// linkForm makes the form of site's link; base is the link that there is, null
// for a new one. changed is called after each edit.
export function linkForm({ site: first, base: begin, name: given = '', changed }) {
  let site = first;
  let base = begin ?? {};
  const isNew = () => !begin;
  const touched = new Set();
  const edited = (path) => {
    touched.add(path);
    changed();
  };
  const fields = new Map();
  const add = (def) => {
    const one = field(def, base, () => edited(def.path));
    fields.set(def.path, one);
    return one.node;
  };

  const name = h('input', { id: id('name'), type: 'text', value: begin?.name ?? given, autocomplete: 'off', spellcheck: 'false', autocapitalize: 'none', readonly: !!begin });
  const server = h('input', { id: id('server'), type: 'text', class: 'mono', value: begin?.server ?? '', placeholder: 'host:port', autocomplete: 'off', spellcheck: 'false', autocapitalize: 'none' });
  const nameOffer = h('div', { class: 'offers' });
  const serverOffer = h('div', { class: 'offers' });
  const nameField = wrap('name', name, { required: true, hint: begin ? t('hint.nameFixed') : t('hint.name'), after: nameOffer });
  const serverField = wrap('server', server, { required: true, hint: t('hint.server'), after: serverOffer });
  const topics = topicRows(begin?.topics ?? [], () => edited('topics'), { label: t('field.topics') });
  // What the peer's half wants may be written along with this one.
  const other = () => wantedLink(name.value.trim(), site)?.topics ?? [];
  let theirsWere = [];
  const theirs = topicRows([], () => edited('peer_topics'), { label: t('field.topics'), path: 'peer_topics' });
  const theirsChanged = () => !theirs.node.hidden && JSON.stringify(theirs.values()) !== JSON.stringify(theirsWere);
  function showTheirs() {
    const peer = name.value.trim();
    topics.label(t('field.topicsOf', { site, peer: peer || t('peer') }));
    theirs.label(t('field.topicsOf', { site: peer || t('peer'), peer: site }));
    if (!theirsChanged()) {
      const now = other();
      if (JSON.stringify(now) !== JSON.stringify(theirsWere) || theirs.node.hidden) theirs.fill(now);
      theirsWere = now;
    }
    theirs.node.hidden = !siteOf(peer) || external(peer) || peer === site || refusesOther;
  }
  let refusesOther = false;
  const enable = switcher(begin?.enable ?? true, t('field.enable'), (next) => {
    enable.set(next);
    edited('enable');
  });
  const enableErrors = h('div', { class: 'field-errors', 'aria-live': 'polite' });
  const tls = switcher(begin?.ssl?.enable ?? false, t('field.ssl.enable'), (next) => setTls(next, true));
  const tlsErrors = h('div', { class: 'field-errors', 'aria-live': 'polite' });
  const tlsBlock = h('div', { class: 'block' }, tlsFields.map(add), h('details', { class: 'more' }, h('summary', {}, icon('down'), t('tls.more')), h('div', { class: 'grid2' }, tlsMoreFields.map(add))));

  function setTls(next, byHand) {
    tls.set(next);
    tlsBlock.hidden = !next;
    // Without TLS there is nothing to verify, and the answer says so; with it,
    // the peer is verified unless somebody chooses otherwise.
    if (next && !begin?.ssl?.enable && !touched.has('ssl.verify')) fields.get('ssl.verify').write('verify_peer');
    if (byHand) edited('ssl.enable');
  }

  function offer() {
    const free = isNew() ? siteNames().filter((one) => one !== site && !wantedLink(site, one)) : [];
    put(nameOffer, free.length && name.value.trim() === '' ? [h('span', { class: 'quiet' }, t('offer.sites')), free.slice(0, 12).map((one) => h('button', { type: 'button', class: 'offer', onclick: () => choose(one) }, one))] : null);
    const ends = endpoints(name.value.trim());
    put(serverOffer, ends.length ? [h('span', { class: 'quiet' }, t('offer.endpoints')), ends.slice(0, 8).map((one) => h('button', {
      type: 'button', class: 'offer', 'aria-pressed': String(server.value.trim() === one.address),
      onclick: () => address(one, true),
    }, h('code', {}, one.address), one.tls ? ' TLS' : ' TCP'))] : null);
  }

  function address(end, byHand) {
    server.value = end.address;
    if (end.tls !== tls.get() && (byHand || !touched.has('ssl.enable'))) setTls(end.tls, false);
    if (byHand) edited('server');
    offer();
  }

  function choose(peer) {
    name.value = peer;
    named();
    server.focus();
  }

  // named follows the name: the server of a known peer is known.
  function named() {
    const peer = name.value.trim();
    showTheirs();
    const ends = endpoints(peer);
    if (isNew() && !touched.has('server')) {
      if (ends.length) address(ends.find((one) => one.tls) ?? ends[0], false);
      else server.value = '';
    }
    outside.hidden = !(external(peer) || get(base, 'inbound.clientid') || base.export);
    offer();
    edited('name');
  }

  name.addEventListener('input', named);
  server.addEventListener('input', () => {
    edited('server');
    offer();
  });
  const outside = h('details', { class: 'group' }, h('summary', {}, icon('down'), t('outside')), h('p', { class: 'hint' }, t('outside.words')), h('div', { class: 'grid2' }, outsideFields.map(add)));
  const generate = button(t('generate'), {
    onclick() {
      const username = fields.get('username');
      if (username.raw() === '') username.write(`link-${site}`);
      fields.get('password').write(random(24));
      edited('username');
      edited('password');
    },
  }, 'reset');
  const open = h('details', { class: 'group' }, h('summary', {}, icon('down'), t('advanced')),
    advanced.map(([group, defs]) => h('fieldset', { class: 'group-fields' }, h('legend', {}, t(`advanced.${group}`)), h('div', { class: 'grid2' }, defs.map(add)))));
  const main = mainFields.map(add);
  const node = h('form', { class: 'link-form', novalidate: true, onsubmit: (e) => e.preventDefault() },
    h('div', { class: 'grid2' }, nameField.node, serverField.node),
    h('div', { class: 'grid2' }, main[0], isNew() ? h('div', { class: 'field-like' }, generate) : null),
    h('div', { class: 'grid2' }, main.slice(1)),
    h('div', { class: 'grid2 topics-pair' }, topics.node, theirs.node),
    h('div', { class: 'switch-field', 'data-field': 'ssl.enable' }, h('div', { class: 'switch-line' }, tls.node, h('span', { 'aria-hidden': 'true' }, t('field.ssl.enable'))), tlsErrors),
    tlsBlock,
    h('div', { class: 'switch-field', 'data-field': 'enable' }, h('div', { class: 'switch-line' }, enable.node, h('span', { 'aria-hidden': 'true' }, t('field.enable'))), enableErrors),
    open, outside);
  setTls(tls.get(), false);
  outside.hidden = !(external(name.value) || get(base, 'inbound.clientid') || base.export);
  theirs.node.hidden = true;
  if (given && isNew()) named();
  else showTheirs();
  offer();
  touched.clear();

  const others = { name: [nameField.errors, name], server: [serverField.errors, server], enable: [enableErrors, enable.node], 'ssl.enable': [tlsErrors, tls.node] };
  const own = {
    name: { raw: () => name.value.trim(), initial: () => base.name ?? '' },
    server: { raw: () => server.value.trim(), initial: () => base.server ?? '' },
    enable: { raw: () => enable.get(), initial: () => base.enable ?? true },
    topics: { raw: () => topics.values(), initial: () => base.topics ?? [] },
    'ssl.enable': { raw: () => tls.get(), initial: () => base.ssl?.enable ?? false },
  };
  const changedHere = (path) => (own[path] ? JSON.stringify(own[path].raw()) !== JSON.stringify(own[path].initial()) : fields.get(path)?.changed() ?? false);

  return {
    node, touched,
    known: new Set([...fields.keys(), ...Object.keys(own), 'peer_topics']),
    name: () => name.value.trim(),
    server: () => server.value.trim(),
    enabled: () => enable.get(),
    focus: () => (begin ? server : given ? (server.value ? topics : server) : name).focus(),
    focusField: (path) => {
      const at = node.querySelector(`[data-field="${CSS.escape(path)}"]`);
      for (let up = at; up && up !== node; up = up.parentElement) if (up.tagName === 'DETAILS') up.open = true;
      at?.querySelector('input, select, button')?.focus();
    },
    dirty: () => theirsChanged() || [...fields.keys(), ...Object.keys(own)].some(changedHere),
    // peerTopics is what the peer's half is to want, undefined if that stays.
    peerTopics: () => (theirsChanged() ? theirs.values() : undefined),
    // refuseOther says that the peer's half is not to be written.
    refuseOther(no) {
      refusesOther = no;
      showTheirs();
    },
    showTheirs,
    // theirsMoved: what the peer's half wants was changed here and elsewhere.
    theirsMoved: () => theirsChanged() && JSON.stringify(other()) !== JSON.stringify(theirsWere) && other(),
    setSite(next) {
      site = next;
      named();
    },
    use(path, value) {
      if (path !== 'server') return;
      server.value = value;
      edited('server');
      offer();
    },
    // body is the link as it is to be sent.
    body() {
      const link = structuredClone(base);
      for (const word of ['status', 'node_status', 'replication', 'source', 'suspension', 'findings', 'halves']) delete link[word];
      if (link.inbound) for (const word of ['state', 'reason', 'since']) delete link.inbound[word];
      if (link.inbound && !Object.keys(link.inbound).length) delete link.inbound;
      Object.assign(link, { name: name.value.trim(), server: server.value.trim(), topics: topics.values() });
      if (begin || !enable.get()) link.enable = enable.get();
      const on = tls.get();
      if (on || begin) link.ssl = { ...link.ssl, enable: on };
      for (const one of fields.values()) if (on || !one.path.startsWith('ssl.')) one.apply(link);
      if (on && fields.get('ssl.verify').raw() === 'verify_peer' && !base.ssl?.enable) delete link.ssl.verify;
      return link;
    },
    mine: (path) => ({ changed: changedHere(path), value: own[path] ? own[path].raw() : fields.get(path)?.raw() }),
    // rebase takes what is now in the source to begin with; of paths, it also
    // takes the values.
    rebase(link, paths) {
      const before = base;
      base = link;
      for (const one of fields.values()) one.rebase(link, paths.has(one.path));
      const take = (path, was) => paths.has(path) || JSON.stringify(own[path].raw()) === JSON.stringify(was);
      if (take('server', before.server ?? '')) server.value = link.server;
      if (take('enable', before.enable ?? true)) enable.set(link.enable);
      if (take('topics', before.topics ?? [])) topics.fill(link.topics);
      if (take('ssl.enable', before.ssl?.enable ?? false)) setTls(link.ssl.enable, false);
      offer();
    },
    // problems shows what is wrong, by field, and returns what has no field.
    problems(list) {
      const by = Map.groupBy(list, (one) => one.field);
      topics.problems(by.get('topics') ?? []);
      theirs.problems(by.get('peer_topics') ?? []);
      for (const [path, [errors, control]] of Object.entries(others)) showProblems(errors, control, by.get(path) ?? []);
      for (const one of fields.values()) one.problems(by.get(one.path) ?? []);
      const shown = new Set([...fields.keys(), ...Object.keys(own), ...(theirs.node.hidden ? [] : ['peer_topics'])]);
      return list.filter((one) => !shown.has(one.field));
    },
    readonly(why) { for (const control of node.querySelectorAll('input, select, textarea')) attr(control, 'readonly', why ? '' : null); },
    label: labelOf,
  };
}
