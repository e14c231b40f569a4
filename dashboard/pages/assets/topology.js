// The fleet as a picture, and the same as a table.

import { h, icon, put, frame, within, button } from './dom.js';
import { t, tn, lang } from './i18n.js';
import { state, on, key } from './store.js';
import { pairs, half, siteNames, siteOf, wantedLink, endpoints, runsHere } from './model.js';
import { stateView, ratesView, topics, empty, loading } from './views.js';
import { readGraph } from './graph.js';
import { linkHref } from './links.js';

const KEPT = 'clink.topology';
const MANY = 100;

function keptView() {
  try {
    return localStorage.getItem(KEPT) === 'table' ? 'table' : 'graph';
  } catch {
    return 'graph';
  }
}

// direction is what one site wants from another, with the state of its half.
function direction(site, peer) {
  const link = wantedLink(site, peer);
  const view = stateView();
  const rates = ratesView();
  return {
    node: h('div', { class: 'direction' },
      h('div', { class: 'direction-head' }, h('b', {}, peer), icon('right', t('to')), h('b', {}, site), rates.node),
      link ? topics(link.topics, 8) : h('span', { class: 'quiet' }, t('status.absent')),
      h('div', { class: 'direction-state' }, h('span', { class: 'quiet' }, t('topology.halfOf', { site })), view.node)),
    update() {
      view.update(half(site, peer));
      const live = state.live.get(key(site, peer));
      const far = state.live.get(key(peer, site));
      rates.update(live ? { rate_in: live.rate_in, rate_out: live.rate_out } : far && { rate_in: far.rate_out, rate_out: far.rate_in });
    },
  };
}

// panel tells of what is pointed at in the picture.
function panel() {
  const node = h('aside', { class: 'card graph-panel', 'aria-live': 'polite' });
  let parts = [];
  const show = {
    node,
    none() {
      parts = [{ update: () => put(node, summary()) }];
      show.update();
    },
    pair(a, b) {
      parts = [direction(a, b), direction(b, a)];
      put(node, h('h2', {}, h('a', { href: linkHref(a, b) }, a, icon('both', t('and')), b)), parts.map((one) => one.node));
      show.update();
    },
    site(name) {
      const site = siteOf(name);
      if (!site) return;
      parts = [];
      put(node, h('h2', {}, h('a', { href: `#/links/${encodeURIComponent(name)}` }, name)), siteFacts(site));
    },
    update() { parts.forEach((one) => one.update()); },
  };
  show.none();
  return show;
}

function siteFacts(site) {
  const labels = Object.entries(site.labels ?? {});
  const links = pairs(site.name);
  return h('dl', { class: 'facts-list' },
    h('dt', {}, t('site.target')), h('dd', {}, runsHere(site.name) ? t('site.here') : t(`target.${site.target.kind}`)),
    labels.length ? [h('dt', {}, t('site.labels')), h('dd', {}, labels.map(([name, value]) => h('span', { class: 'tag' }, `${name}: ${value}`)))] : null,
    h('dt', {}, t('site.endpoints')), h('dd', {}, endpoints(site.name).length ? endpoints(site.name).map((one) => h('div', {}, h('code', {}, one.address), one.tls ? ' TLS' : '')) : '–'),
    h('dt', {}, t('nav.links')), h('dd', {}, links.length ? h('ul', { class: 'plain' }, links.slice(0, 20).map((pair) => h('li', {}, h('a', { href: linkHref(pair.a, pair.b) }, pair.b), ' ', h('span', { class: 'quiet' }, t(`status.${half(pair.a, pair.b).word}`))))) : '–'),
    links.length > 20 ? h('dd', { class: 'quiet' }, tn('topics.more', links.length - 20)) : null);
}

function summary() {
  const all = pairs();
  const levels = {};
  for (const pair of all) for (const one of [half(pair.a, pair.b), half(pair.b, pair.a)]) levels[one.word] = (levels[one.word] ?? 0) + 1;
  return [h('h2', {}, t('topology.fleet')), h('dl', { class: 'facts-list' },
    h('dt', {}, t('process.sites')), h('dd', {}, tn('sites', siteNames().length)),
    h('dt', {}, t('nav.links')), h('dd', {}, tn('links.pairs', all.length)),
    Object.entries(levels).sort((x, y) => y[1] - x[1]).map(([word, n]) => [h('dt', {}, t(`status.${word}`)), h('dd', {}, tn('halves', n))])),
  h('p', { class: 'hint' }, t('topology.hint'))];
}

function graphView() {
  const place = h('div', { class: 'graph', role: 'group', 'aria-label': t('nav.topology') }, loading());
  const side = panel();
  let graph = null;
  let control = null;
  let drawn = ''; // what the halves were like when the picture was drawn
  const read = async () => {
    if (!state.topology || state.topology.problem || !siteNames().length) return;
    control?.abort();
    control = new AbortController();
    try {
      const next = await readGraph(lang(), control.signal, side);
      const focused = graph?.focused();
      const old = graph?.node;
      graph = next;
      if (old?.classList.contains('zoomed')) {
        graph.node.classList.add('zoomed');
        graph.node.setAttribute('width', old.getAttribute('width'));
      }
      const { scrollLeft, scrollTop } = place;
      put(place, graph.node);
      place.scrollTo(scrollLeft, scrollTop);
      graph.update();
      drawn = graph.states();
      if (focused) graph.focus(focused);
    } catch (err) {
      if (err.name !== 'AbortError' && !graph) put(place, empty(t('topology.noGraph'), err.away ? t('away') : err.message));
    }
  };
  const soon = within(1000, read);
  // The server measures over another time than the page, so that the two may
  // disagree for a moment.
  const later = within(3000, read);
  const update = frame(() => {
    graph?.update();
    side.update();
    if (graph && graph.states() !== drawn) soon();
    else if (graph?.behind()) later();
  });
  const ends = [on('topology events', soon), on('live status details', update)];
  read();
  return {
    node: h('div', { class: 'graph-view' }, h('div', { class: 'graph-place' }, place, zoomButtons((by) => graph?.zoom(by))), side.node),
    stop() {
      ends.forEach((end) => end());
      control?.abort();
      soon.cancel();
      later.cancel();
    },
  };
}

function zoomButtons(zoom) {
  return h('div', { class: 'zoom' },
    button('', { kind: 'small', onclick: () => zoom(1.25) }, 'plus', t('zoom.in')),
    button('', { kind: 'small', onclick: () => zoom(0.8) }, 'minus', t('zoom.out')),
    button('', { kind: 'small', onclick: () => zoom(0) }, 'screen', t('zoom.fit')));
}

function tableView() {
  let rows = [];
  let shown = MANY;
  const node = h('div', {});
  const row = (site, peer) => {
    const link = wantedLink(site, peer);
    const view = stateView();
    const rates = ratesView();
    const cell = (label, ...content) => h('td', { 'data-label': label }, content);
    return {
      node: h('tr', {},
        cell(t('topology.at'), h('a', { class: 'pair-name', href: linkHref(site, peer) }, site)),
        cell(t('topology.from'), h('span', { class: 'pair-name plain-name' }, peer)),
        cell(t('field.topics'), link ? topics(link.topics, 4) : '–'),
        cell(t('field.server'), link ? h('code', { class: 'server' }, link.server) : '–'),
        cell(t('links.state'), view.node), cell(t('links.rate'), rates.node)),
      update() {
        view.update(half(site, peer));
        rates.update(state.live.get(key(site, peer)));
      },
    };
  };
  const rebuild = () => {
    if (!state.topology) {
      put(node, loading());
      return;
    }
    const all = pairs().flatMap(({ a, b }) => [[a, b], [b, a]]);
    rows = all.slice(0, shown).map(([a, b]) => row(a, b));
    put(node,
      h('h2', {}, t('topology.sites')),
      h('table', { class: 'table' }, h('caption', { class: 'visually-hidden' }, t('topology.sites')),
        h('thead', {}, h('tr', {}, [t('topology.site'), t('site.target'), t('site.labels'), t('site.endpoints'), t('nav.links')].map((words) => h('th', { scope: 'col' }, words)))),
        h('tbody', {}, siteNames().map((name) => siteRow(siteOf(name))))),
      h('h2', {}, t('topology.halves')),
      rows.length ? h('table', { class: 'table halves' }, h('caption', { class: 'visually-hidden' }, t('topology.halves')),
        h('thead', {}, h('tr', {}, [t('topology.at'), t('topology.from'), t('field.topics'), t('field.server'), t('links.state'), t('links.rate')].map((words) => h('th', { scope: 'col' }, words)))),
        h('tbody', {}, rows.map((one) => one.node))) : empty(t('links.none'), t('links.noneWords')),
      all.length > shown && button(tn('more', all.length - shown), {
        kind: 'wide',
        onclick() {
          shown += MANY;
          rebuild();
        },
      }));
    rows.forEach((one) => one.update());
  };
  const ends = [on('topology', rebuild), on('live details status', frame(() => rows.forEach((one) => one.update())))];
  rebuild();
  return { node, stop: () => ends.forEach((end) => end()) };
}

function siteRow(site) {
  const cell = (label, ...content) => h('td', { 'data-label': label }, content);
  return h('tr', {},
    cell(t('topology.site'), h('a', { class: 'pair-name', href: `#/links/${encodeURIComponent(site.name)}` }, site.name)),
    cell(t('site.target'), runsHere(site.name) ? t('site.here') : t(`target.${site.target.kind}`)),
    cell(t('site.labels'), Object.entries(site.labels ?? {}).map(([name, value]) => h('span', { class: 'tag' }, `${name}: ${value}`))),
    cell(t('site.endpoints'), endpoints(site.name).map((one) => h('div', {}, h('code', {}, one.address), one.tls ? ' TLS' : ''))),
    cell(t('nav.links'), site.links.length));
}

export function topologyPage() {
  let view = null;
  let kind = keptView();
  const body = h('div', { class: 'topology-body' });
  const switcher = h('div', { class: 'segments', role: 'group', 'aria-label': t('topology.view') });
  const words = h('p', { class: 'quiet' });
  const show = () => {
    view?.stop();
    put(switcher, ['graph', 'table'].map((one) => h('button', { type: 'button', 'aria-pressed': String(one === kind), onclick: () => choose(one) }, icon(one === 'graph' ? 'topology' : 'table'), t(`topology.${one}`))));
    view = kind === 'graph' ? graphView() : tableView();
    put(body, view.node);
  };
  const choose = (next) => {
    kind = next;
    try {
      localStorage.setItem(KEPT, kind);
    } catch { /* asked anew next time */ }
    show();
    switcher.querySelector('[aria-pressed="true"]').focus();
  };
  let had = '';
  const update = () => {
    const names = siteNames();
    const now = !state.topology ? 'loading' : state.topology.problem ? 'broken' : names.length ? 'there' : 'empty';
    if (state.topology) put(words, tn('sites', names.length), ' · ', tn('links.pairs', pairs().length));
    if (now === had) return;
    had = now;
    if (now === 'there') show();
    else put(body, now === 'loading' ? loading() : empty(t(`topology.${now}`), state.topology.problem ?? t('topology.emptyWords')));
  };
  const ends = [on('topology', update)];
  update();
  return {
    title: t('nav.topology'),
    node: h('div', { class: 'page' }, h('div', { class: 'page-head' }, h('div', {}, h('h1', {}, t('nav.topology')), words), h('div', { class: 'tools' }, switcher)), body),
    stop() {
      ends.forEach((end) => end());
      view?.stop();
    },
  };
}
