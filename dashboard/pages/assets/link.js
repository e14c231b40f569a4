// One half of a link in full: its state, figures over time, what happened to
// it, where it is written, and the access that its peer must give.

import { h, icon, button, put, frame, disable, text } from './dom.js';
import { t, tn, number, time } from './i18n.js';
import * as api from './api.js';
import { state, on, key, history, watch } from './store.js';
import { half, wantedLink, detailOf, inboundOf, suspensionOf, runsHere, siteOf, whyNot, explain } from './model.js';
import { stateView, ratesView, switcher, when, plan, empty, loading, copyButton, finding } from './views.js';
import { result } from './revisions.js';
import { chart } from './chart.js';
import { linkHref } from './links.js';
import { openEditor } from './editor.js';
import { confirmDelete, confirmEnable, suspend, resume, reset } from './confirm.js';
import { probeSteps } from './probe.js';

function fact(label, ...content) {
  return [h('dt', {}, label), h('dd', {}, content)];
}

function headActions(site, peer) {
  const why = whyNot(site);
  const link = wantedLink(site, peer);
  const paused = suspensionOf(site, peer);
  const sw = switcher(link.enable, t('enable.of', { site, peer }), (next) => confirmEnable(site, peer, next));
  return h('div', { class: 'tools' },
    h('span', { class: 'switch-line' }, disable(sw.node, why), h('span', {}, t(link.enable ? 'enabled' : 'disabled'))),
    paused ? disable(button(t('resume'), { onclick: () => resume(site, peer) }, 'play'), why)
      : disable(button(t('suspend'), { onclick: () => suspend(site, peer) }, 'pause'), why),
    disable(button(t('settings'), { onclick: () => openEditor({ site, peer }) }, 'gear'), why),
    disable(button(t('delete'), { kind: 'danger', onclick: () => confirmDelete(site, peer) }, 'trash'), why));
}

// halfCard tells of one half.
function halfCard(site, peer) {
  const view = stateView();
  const rates = ratesView();
  const more = h('dl', { class: 'facts-list' });
  const node = h('section', { class: 'card half-card' },
    h('h2', {}, h('a', { href: linkHref(site, peer) }, site, icon('right', t('to')), peer)), view.node, more);
  return {
    node,
    update() {
      const now = half(site, peer);
      const link = wantedLink(site, peer);
      view.update(now);
      rates.update(state.live.get(key(site, peer)));
      const paused = suspensionOf(site, peer);
      const since = detailOf(site, peer)?.replication?.since;
      const inbound = inboundOf(site, peer);
      put(more,
        link && fact(t('field.server'), h('code', {}, link.server)),
        link && fact(t('link.wants'), link.topics.length ? h('span', { class: 'topics topics-all' }, link.topics.slice(0, 50).map((one) => h('code', {}, one)), link.topics.length > 50 && tn('topics.more', link.topics.length - 50)) : h('span', { class: 'quiet' }, t('topics.none'))),
        link && fact(t('link.security'), [link.ssl.enable ? t(`verify.${link.ssl.verify}`) : t('link.plain'), link.username ? ` · ${t('field.username')} ${link.username}` : '']),
        runsHere(site) && link && fact(t('links.rate'), rates.node),
        since && now.level === 'ok' && fact(t('link.since'), when(since)),
        runsHere(site) && inbound.state && inbound.state !== 'online' && fact(t('link.inbound'), t(`inbound.${inbound.state}`), inbound.reason ? `: ${explain(inbound.reason)}` : ''),
        paused && fact(t('suspended'), paused.reason, ' · ', paused.by, paused.until ? [' · ', t('until'), ' ', when(paused.until)] : null));
      rates.node.isConnected || rates.update(state.live.get(key(site, peer)));
    },
  };
}

function charts(site, peer) {
  const list = [
    [chart(t('chart.rate'), [{ label: t('rate.in') }, { label: t('rate.out') }]), ['rate_in', 'rate_out']],
    [chart(t('chart.queue'), [{ label: t('chart.queuing') }, { label: t('chart.inflight') }], { whole: true }), ['queuing', 'inflight']],
    [chart(t('chart.routes'), [{ label: t('chart.routesPeer') }, { label: t('chart.routesOwn') }], { whole: true }), ['routes_peer', 'routes_own']],
    [chart(t('chart.faults'), [{ label: t('chart.retried') }, { label: t('chart.dropped') }]), ['retried', 'dropped']],
  ];
  return {
    node: h('div', { class: 'charts' }, list.map(([one]) => one.node)),
    update() {
      const past = history(site, peer);
      list.forEach(([one, names]) => one.set(past.times, names.map(past.read)));
    },
  };
}

function totals(site, peer) {
  const body = h('dl', { class: 'totals' });
  const drops = h('ul', { class: 'drops' });
  const names = ['success', 'received', 'dropped', 'retried'];
  const values = names.map(() => h('dd', {}));
  put(body, names.map((name, i) => h('div', {}, h('dt', {}, t(`total.${name}`)), values[i])));
  const again = disable(button(t('reset'), { kind: 'small', onclick: () => reset(site, peer) }, 'reset'), whyNot(site));
  return {
    node: h('section', { class: 'card' }, h('div', { class: 'card-head' }, h('h2', {}, t('link.totals')), again), body, h('h3', {}, t('link.drops')), drops),
    update() {
      const live = state.live.get(key(site, peer));
      names.forEach((name, i) => text(values[i], live ? number(live[name] ?? 0) : '–'));
      const by = Object.entries(live?.dropped_by ?? {}).filter(([, n]) => n > 0).sort((x, y) => y[1] - x[1]);
      put(drops, by.length ? by.map(([why, n]) => h('li', {}, h('span', {}, explain(why)), h('b', {}, number(n)))) : h('li', { class: 'quiet' }, t('link.noDrops')));
    },
  };
}

function events(site, peer) {
  const list = h('ol', { class: 'events' });
  let last = -1;
  return {
    node: h('section', { class: 'card' }, h('h2', {}, t('link.events')), list),
    update() {
      const own = state.events.filter((e) => (e.site === site && e.peer === peer) || (e.site === peer && e.peer === site));
      const newest = own.at(-1)?.id ?? 0;
      if (newest === last) return;
      last = newest;
      put(list, own.length ? own.slice(-60).reverse().map((e) => h('li', {},
        h('time', { datetime: e.time, title: e.time }, time(e.time)),
        h('span', { class: 'event-site' }, e.site), h('span', { class: 'event-words' }, e.message, e.reason && !e.message.includes(e.reason) ? h('span', { class: 'quiet' }, ` (${explain(e.reason)})`) : null)))
        : h('li', { class: 'quiet' }, t('link.noEvents')));
    },
  };
}

function changes(site, peer) {
  const list = h('ol', { class: 'events' });
  return {
    node: h('section', { class: 'card' }, h('h2', {}, t('link.revisions')), list),
    update() {
      const about = (step) => (step.site === site && step.peer === peer) || (step.site === peer && step.peer === site);
      const own = (state.revisions ?? []).filter((r) => r.plan.some(about));
      put(list, own.length ? own.slice(0, 20).map((r) => h('li', {},
        h('a', { href: `#/revisions/${encodeURIComponent(r.revision)}` }, h('code', {}, r.revision.slice(0, 8))), ' ', when(r.at), ' ', result(r.result), ' ', r.author || h('span', { class: 'quiet' }, t('revisions.editor')),
        plan(r.plan.filter(about)))) : h('li', { class: 'quiet' }, t('link.noRevisions')));
    },
  };
}

// source shows the lines that declare the half.
function source(site, peer) {
  const body = h('div', {}, loading());
  let read = '';
  return {
    node: h('section', { class: 'card wide' }, h('h2', {}, t('link.source')), body),
    async update() {
      const now = `${state.topology?.revision}`;
      if (now === read) return;
      read = now;
      try {
        const { data } = await api.get(`/sites/${encodeURIComponent(site)}/cluster/links/${encodeURIComponent(peer)}/source`);
        const lines = data.text.replace(/\n$/, '').split('\n');
        put(body, h('div', { class: 'card-head' }, h('code', {}, `${data.file}:${data.line}`), copyButton(() => data.text)),
          h('pre', { class: 'code', tabindex: 0, 'aria-label': t('link.source') }, lines.map((line, i) => h('span', { class: 'line' }, h('span', { class: 'number' }, String(data.line + i)), `${line.replaceAll('\t', '    ')}\n`))));
      } catch (err) {
        put(body, h('p', { class: 'empty-line' }, err.away ? t('away') : err.message));
      }
    },
  };
}

function acl(peer) {
  const body = h('div', {}, loading());
  let read = '';
  return {
    node: h('section', { class: 'card wide' }, h('h2', {}, t('link.acl', { peer })), h('p', { class: 'quiet' }, t('link.aclWords', { peer })), body),
    async update() {
      const now = `${state.topology?.revision}`;
      if (now === read) return;
      read = now;
      try {
        const { data } = await api.get(`/sites/${encodeURIComponent(peer)}/acl`, { headers: { Accept: 'text/plain' } });
        put(body, h('div', { class: 'card-head' }, h('code', {}, 'acl.conf'), copyButton(() => data)), h('pre', { class: 'code', tabindex: 0, 'aria-label': t('link.acl', { peer }) }, data));
      } catch (err) {
        put(body, h('p', { class: 'empty-line' }, err.away ? t('away') : err.message));
      }
    },
  };
}

function probeCard(site, peer) {
  const steps = probeSteps();
  const go = disable(button(t('probe'), { kind: 'small', onclick: () => steps.run((options) => api.call('POST', `${api.linkPath(site, peer)}/probe`, options)) }, 'plug'), whyNot(site));
  return { node: h('section', { class: 'card' }, h('div', { class: 'card-head' }, h('h2', {}, t('probe')), go), h('p', { class: 'quiet' }, t('probe.words')), steps.node), update() {} };
}

function ownFindings(site, peer) {
  const node = h('section', { class: 'link-findings' });
  return {
    node,
    update() {
      const own = (state.findings?.findings ?? []).filter((f) => f.sites.includes(site) && f.sites.includes(peer));
      put(node, own.map(finding));
    },
  };
}

export function linkPage(site, peer) {
  const body = h('div', {});
  let parts = { live: [], events: [], source: [] };
  let shape = '';
  const build = () => {
    if (!state.topology) {
      put(body, loading());
      return;
    }
    const link = wantedLink(site, peer);
    const next = `${!!link} ${link?.enable} ${!!wantedLink(peer, site)} ${!!suspensionOf(site, peer)} ${runsHere(site)} ${runsHere(peer)}`;
    if (next === shape) return;
    shape = next;
    if (!link) {
      parts = { live: [], events: [], source: [] };
      put(body, missing(site, peer));
      return;
    }
    const cards = [halfCard(site, peer), halfCard(peer, site)];
    const live = runsHere(site) ? [charts(site, peer), totals(site, peer), probeCard(site, peer)] : [];
    const past = [events(site, peer), changes(site, peer)];
    const texts = [...(runsHere(site) ? [source(site, peer)] : []), acl(peer)];
    const found = ownFindings(site, peer);
    parts = { live: [...cards, ...live], events: past, source: [...texts, found] };
    put(body,
      h('div', { class: 'page-head' },
        h('div', {}, h('p', { class: 'crumbs' }, h('a', { href: `#/links/${encodeURIComponent(site)}` }, t('links.of', { site }))),
          h('h1', { class: 'link-title' }, site, icon('both', t('and')), peer)),
        headActions(site, peer)),
      found.node, h('div', { class: 'cards two' }, cards.map((one) => one.node)),
      runsHere(site) ? null : h('p', { class: 'banner' }, icon('info'), t('link.elsewhere', { site })),
      live[0]?.node, h('div', { class: 'cards two' },
        h('div', { class: 'column' }, [live[1], past[0]].map((one) => one?.node)),
        h('div', { class: 'column' }, [live[2], past[1]].map((one) => one?.node))),
      h('div', { class: 'cards' }, texts.map((one) => one.node)));
    all();
  };
  const update = (name) => parts[name].forEach((one) => one.update());
  const all = () => Object.keys(parts).forEach(update);
  const ends = [
    on('topology status', () => {
      build();
      update('source');
    }),
    on('live details status', frame(() => update('live'))), on('events revisions findings', frame(() => { update('events'); update('source'); })),
    watch([site, peer]),
  ];
  build();
  return { title: `${site} ⇄ ${peer}`, node: h('div', { class: 'page' }, body), stop: () => ends.forEach((end) => end()) };
}

function missing(site, peer) {
  const words = siteOf(site)
    ? empty(t('link.none', { site, peer }), t('link.noneWords'),
      disable(button(t('create'), { kind: 'primary', onclick: () => openEditor({ site, name: peer }) }, 'plus'), whyNot(site)),
      wantedLink(peer, site) ? h('a', { href: linkHref(peer, site) }, t('link.otherHalf')) : h('a', { href: '#/links' }, t('nav.links')))
    : empty(t('link.noSite', { site }), t('link.noSiteWords'), h('a', { href: '#/links' }, t('nav.links')));
  return [h('h1', { class: 'link-title' }, site, icon('both', t('and')), peer), words];
}
