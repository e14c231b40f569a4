// All findings of the source, as vet prints them.

import { h, icon, put } from './dom.js';
import { t, tn } from './i18n.js';
import { state, on } from './store.js';
import { finding, empty, loading } from './views.js';

const order = ['error', 'warning', 'info'];

export function findingsPage() {
  const chosen = { severity: '', words: '' };
  const list = h('div', { class: 'finding-list', 'aria-live': 'polite' });
  const counts = h('p', { class: 'quiet' });
  const search = h('input', {
    type: 'search', class: 'search', placeholder: t('findings.search'), 'aria-label': t('findings.search'),
    oninput() {
      chosen.words = search.value.trim().toLowerCase();
      update();
    },
  });
  const levels = h('select', {
    'aria-label': t('findings.severity'),
    onchange() {
      chosen.severity = levels.value;
      update();
    },
  }, h('option', { value: '' }, t('findings.all')), order.map((one) => h('option', { value: one }, t(`severity.${one}`))));
  let shown = 200;
  const update = () => {
    const all = state.findings?.findings;
    if (!all) {
      put(list, loading());
      return;
    }
    put(counts, tn('findings.errors', state.findings.summary.errors), ', ', tn('findings.warnings', state.findings.summary.warnings), ' · ', t('revision'), ' ', h('code', {}, (state.findings.revision ?? '').slice(0, 8)));
    const found = all.filter((f) => (!chosen.severity || f.severity === chosen.severity)
      && (!chosen.words || `${f.rule} ${f.message} ${f.pos.file} ${f.sites.join(' ')}`.toLowerCase().includes(chosen.words)))
      .sort((x, y) => order.indexOf(x.severity) - order.indexOf(y.severity));
    if (!all.length) put(list, h('div', { class: 'empty good' }, icon('check'), h('h2', {}, t('findings.none')), h('p', {}, t('findings.noneWords'))));
    else if (!found.length) put(list, empty(t('findings.noMatch'), t('findings.noMatchWords')));
    else {
      put(list, found.slice(0, shown).map(finding), found.length > shown && h('button', {
        type: 'button', class: 'button wide',
        onclick() {
          shown += 200;
          update();
        },
      }, tn('more', found.length - shown)));
    }
  };
  const end = on('findings', update);
  update();
  return {
    title: t('nav.findings'),
    node: h('div', { class: 'page' },
      h('div', { class: 'page-head' }, h('div', {}, h('h1', {}, t('nav.findings')), counts), h('div', { class: 'tools' }, search, levels)),
      list),
    stop: end,
  };
}
