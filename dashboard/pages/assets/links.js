// The links of one site, or of all: both halves of a pair in one row.

import { h, button, put, frame, disable, attr, id } from './dom.js';
import { t, tn, number } from './i18n.js';
import { state, on, key, watch } from './store.js';
import { pairs, half, wantedLink, siteNames, runsHere, whyNot } from './model.js';
import { stateView, ratesView, topics, switcher, empty, loading } from './views.js';
import { openEditor } from './editor.js';
import { confirmDelete, confirmEnable } from './confirm.js';

const PAGE = 50;

export const linkHref = (site, peer) => `#/link/${encodeURIComponent(site)}/${encodeURIComponent(peer)}`;

// own is the half that this process can write: a's where it runs a.
function own(pair) {
  if (runsHere(pair.a) && wantedLink(pair.a, pair.b)) return [pair.a, pair.b];
  if (runsHere(pair.b) && wantedLink(pair.b, pair.a)) return [pair.b, pair.a];
  return wantedLink(pair.a, pair.b) ? [pair.a, pair.b] : [pair.b, pair.a];
}

function cell(label, kind, ...content) {
  return h('td', { class: kind, 'data-label': label }, content);
}

// actions are the row's controls; missing is for a pair of which this half is
// to be created.
function actions(pair) {
  const [site, peer] = own(pair);
  const why = whyNot(site);
  const missing = [[pair.a, pair.b], [pair.b, pair.a]].find(([x, y]) => !wantedLink(x, y) && runsHere(x));
  return h('div', { class: 'actions' },
    missing && disable(button(t('links.addHalf'), { kind: 'small', onclick: () => openEditor({ site: missing[0], name: missing[1] }) }, 'plus'), whyNot(missing[0])),
    disable(button('', { kind: 'ghost', onclick: () => openEditor({ site, peer }) }, 'gear', t('settings.of', { site, peer })), why),
    disable(button('', { kind: 'ghost danger', onclick: () => confirmDelete(site, peer) }, 'trash', t('delete.of', { site, peer })), why));
}

function enableSwitch(pair) {
  const [site, peer] = own(pair);
  const enabled = !!wantedLink(site, peer)?.enable;
  const sw = switcher(enabled, t('enable.of', { site, peer }), (next) => confirmEnable(site, peer, next));
  disable(sw.node, whyNot(site));
  return sw.node;
}

// halfRow is one half: what its site receives from the peer, and how it is.
function halfRow(site, peer, ...shared) {
  const link = wantedLink(site, peer);
  const view = stateView();
  const rates = ratesView();
  const node = h('tr', {},
    h('th', { scope: 'row', class: 'cell-site' }, h('a', { class: 'pair-name', href: linkHref(site, peer) }, site)),
    cell(t('field.server'), 'cell-server', link ? h('code', { class: 'server' }, link.server) : h('span', { class: 'quiet' }, '–')),
    cell(t('links.receives'), 'cell-topics', link ? topics(link.topics) : h('span', { class: 'quiet' }, '–')),
    cell(t('links.state'), 'cell-state', view.node),
    cell(t('links.rate'), 'cell-rate', rates.node), shared);
  return {
    node,
    update() {
      view.update(half(site, peer));
      rates.update(state.live.get(key(site, peer)));
    },
  };
}

// row is a pair: its two halves, and what is done to both.
function row(pair) {
  const both = (label, kind, ...content) => h('td', { class: kind, 'data-label': label, rowspan: 2 }, content);
  const first = halfRow(pair.a, pair.b, both(t('enable'), 'cell-enable', enableSwitch(pair)), both(t('links.actions'), 'cell-actions', actions(pair)));
  const second = halfRow(pair.b, pair.a);
  return {
    node: h('tbody', { class: 'pair' }, first.node, second.node),
    update() {
      first.update();
      second.update();
    },
  };
}

const matches = (pair, words) => words.every((word) => [pair.a, pair.b,
  ...[[pair.a, pair.b], [pair.b, pair.a]].flatMap(([x, y]) => {
    const link = wantedLink(x, y);
    return link ? [link.server, link.username ?? '', ...link.topics] : [];
  })].some((text) => text.toLowerCase().includes(word)));

const troubled = (pair) => [half(pair.a, pair.b), half(pair.b, pair.a)].some((one) => one.level === 'bad' || one.level === 'warn' || one.held);

export function linksPage(site) {
  const chosen = { words: [], trouble: false, page: 0 };
  let rows = [];
  const body = h('div', { class: 'links-body' });
  const said = h('p', { class: 'quiet', 'aria-live': 'polite' });
  const pager = h('nav', { class: 'pager', 'aria-label': t('pager') });
  const update = frame(() => rows.forEach((one) => one.update()));
  const rebuild = () => {
    rows = [];
    if (!state.topology) {
      put(body, loading());
      return;
    }
    const all = pairs(site);
    const found = all.filter((pair) => matches(pair, chosen.words) && (!chosen.trouble || troubled(pair)));
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    chosen.page = Math.min(chosen.page, pages - 1);
    put(said, found.length === all.length ? tn('links.pairs', all.length) : t('links.found', { n: number(found.length), all: number(all.length) }));
    if (state.topology.problem) put(body, empty(t('topology.broken'), state.topology.problem, h('a', { href: '#/findings' }, t('nav.findings'))));
    else if (!all.length) put(body, empty(t('links.none'), t('links.noneWords'), create()));
    else if (!found.length) put(body, empty(t('links.noMatch'), t('links.noMatchWords')));
    else {
      rows = found.slice(chosen.page * PAGE, (chosen.page + 1) * PAGE).map(row);
      put(body, table(site, rows));
      rows.forEach((one) => one.update());
    }
    put(pager, pages > 1 && pagerButtons(chosen, pages, rebuild));
  };
  const create = () => disable(button(t('create'), { kind: 'primary', onclick: () => openEditor({ site: site ?? firstHere() }) }, 'plus'), whyNot(site));
  const ends = [on('topology', rebuild), on('live details status', update), watch(site ? [site, ...pairs(site).map((pair) => pair.b)] : [])];
  rebuild();
  return {
    title: site ?? t('nav.links'),
    node: h('div', { class: 'page' },
      h('div', { class: 'page-head' },
        h('div', {}, h('h1', {}, site ? t('links.of', { site }) : t('nav.links')), said),
        h('div', { class: 'tools' }, siteSelect(site), searchBox((words) => {
          Object.assign(chosen, { words: words.toLowerCase().split(/\s+/).filter(Boolean), page: 0 });
          rebuild();
        }), troubleSwitch((next) => {
          Object.assign(chosen, { trouble: next, page: 0 });
          rebuild();
        }), create())),
      body, pager),
    stop: () => ends.forEach((end) => end()),
  };
}

const firstHere = () => [...state.sites.keys()][0];

function siteSelect(site) {
  const select = h('select', {
    'aria-label': t('links.site'),
    onchange: () => { location.hash = select.value ? `#/links/${encodeURIComponent(select.value)}` : '#/links'; },
  }, h('option', { value: '' }, t('links.all')),
  siteNames().map((name) => h('option', { value: name }, runsHere(name) ? name : t('links.notHere', { site: name }))));
  select.value = site ?? '';
  return select;
}

function searchBox(changed) {
  const box = h('input', { type: 'search', class: 'search', placeholder: t('links.search'), 'aria-label': t('links.search'), oninput: () => changed(box.value) });
  return box;
}

function troubleSwitch(changed) {
  const name = id('trouble');
  const box = h('input', { type: 'checkbox', id: name, onchange: () => changed(box.checked) });
  return h('label', { class: 'check', for: name }, box, t('links.trouble'));
}

function table(site, rows) {
  const head = [t('links.pair'), t('field.server'), t('links.receives'), t('links.state'), t('links.rate'), t('enable'), t('links.actions')];
  return h('table', { class: 'table links' }, h('caption', { class: 'visually-hidden' }, site ? t('links.of', { site }) : t('nav.links')),
    h('thead', {}, h('tr', {}, head.map((words) => h('th', { scope: 'col' }, words)))),
    rows.map((one) => one.node));
}

function pagerButtons(chosen, pages, rebuild) {
  const go = (step) => () => {
    chosen.page += step;
    rebuild();
    window.scrollTo(0, 0);
  };
  const back = button(t('pager.back'), { kind: 'small', onclick: go(-1) }, 'left');
  const next = button(t('pager.next'), { kind: 'small', onclick: go(1) }, 'right');
  attr(back, 'disabled', chosen.page === 0 ? '' : null);
  attr(next, 'disabled', chosen.page === pages - 1 ? '' : null);
  return [back, h('span', {}, t('pager.at', { page: chosen.page + 1, pages })), next];
}
