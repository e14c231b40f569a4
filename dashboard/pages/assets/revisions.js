// The revisions of the source: who wrote them, when, and what came of them.

import { h, icon, put } from './dom.js';
import { t, tn } from './i18n.js';
import * as api from './api.js';
import { state, on } from './store.js';
import { diff, finding, plan, when, empty, loading, copyButton } from './views.js';

const resultLevels = { applied: 'ok', partly: 'warn', failed: 'bad', superseded: 'off', pending: 'busy' };
const resultIcons = { ok: 'check', warn: 'alert', bad: 'cross', off: 'minus', busy: 'reset' };

export function result(word) {
  const level = resultLevels[word] ?? 'unknown';
  return h('span', { class: 'result', 'data-level': level }, icon(resultIcons[level] ?? 'more'), t(`result.${word}`));
}

function who(one) {
  return one.author ? h('span', {}, one.author) : h('span', { class: 'quiet' }, t('revisions.editor'));
}

function detail(one) {
  const body = h('div', { class: 'revision-body' }, loading());
  const control = new AbortController();
  api.get(`/revisions/${encodeURIComponent(one.revision)}`, { signal: control.signal }).then(({ data }) => {
    put(body,
      data.findings?.length ? [h('h3', {}, t('nav.findings')), data.findings.slice(0, 100).map(finding)] : null,
      h('h3', {}, t('revisions.diff')), data.diff ? diff(data.diff) : h('p', { class: 'empty-line' }, t('revisions.noDiff')));
  }).catch((err) => {
    if (err.name === 'AbortError') return;
    put(body, h('p', { class: 'empty-line' }, err.status === 404 ? t('revisions.forgotten') : err.away ? t('away') : err.message));
  });
  return {
    node: h('div', { class: 'revision-detail' },
      h('div', { class: 'detail-head' }, h('h2', {}, t('revision'), ' ', h('code', {}, one.revision)), copyButton(() => one.revision)),
      h('dl', { class: 'facts-list' },
        h('dt', {}, t('revisions.result')), h('dd', {}, result(one.result), one.ms === null ? null : ` ${t('revisions.took', { ms: one.ms })}`),
        h('dt', {}, t('revisions.who')), h('dd', {}, who(one)),
        h('dt', {}, t('revisions.when')), h('dd', {}, when(one.at)),
        h('dt', {}, t('commit')), h('dd', {}, one.commit ? h('code', {}, one.commit.slice(0, 12)) : t('revisions.noCommit'))),
      one.error && h('p', { class: 'bad-words' }, icon('cross'), ' ', one.error),
      h('h3', {}, t('revisions.plan')), plan(one.plan),
      body),
    stop: () => control.abort(),
  };
}

export function revisionsPage(chosen) {
  const list = h('div', { class: 'revision-list' });
  const side = h('div', { class: 'revision-side' });
  let open = null;
  let openOf = '';
  const update = () => {
    const all = state.revisions;
    if (!all) {
      put(list, loading());
      return;
    }
    if (!all.length) {
      put(list, empty(t('revisions.none'), t('revisions.noneWords')));
      return;
    }
    const one = all.find((r) => r.revision === chosen) ?? (chosen ? undefined : all[0]);
    put(list, h('ol', {}, all.map((r) => h('li', {}, h('a', {
      href: `#/revisions/${encodeURIComponent(r.revision)}`, 'aria-current': r === one ? 'true' : undefined,
    },
    h('span', { class: 'revision-line' }, h('code', {}, r.revision.slice(0, 8)), result(r.result), when(r.at)),
    h('span', { class: 'revision-line quiet' }, who(r),
      r.plan.length ? ` · ${tn('changes', r.plan.length)}` : '',
      r.errors ? ` · ${tn('findings.errors', r.errors)}` : '', r.warnings ? ` · ${tn('findings.warnings', r.warnings)}` : ''))))));
    const same = one && `${one.revision} ${one.result} ${one.ms} ${one.commit}`;
    if (!one) put(side, empty(t('revisions.unknown'), t('revisions.forgotten'), h('a', { href: '#/revisions' }, t('revisions.latest'))));
    else if (same !== openOf) {
      open?.stop();
      openOf = same;
      open = detail(one);
      put(side, open.node);
    }
  };
  const end = on('revisions', update);
  update();
  return {
    title: t('nav.revisions'),
    node: h('div', { class: `page ${chosen ? 'has-chosen' : ''}` },
      h('div', { class: 'page-head' }, h('h1', {}, t('nav.revisions')),
        chosen && h('a', { class: 'back', href: '#/revisions' }, icon('left'), t('revisions.all'))),
      h('div', { class: 'revisions' }, list, side)),
    stop() {
      end();
      open?.stop();
    },
  };
}
