// What somebody else changed in a link while it was being edited.

import { h, icon, button, id } from './dom.js';
import { t } from './i18n.js';
import { get, labelOf } from './fields.js';

const notWritten = new Set(['status', 'node_status', 'replication', 'source', 'suspension', 'findings', 'halves', 'ps_actor_incarnation', 'name']);
const observed = new Set(['inbound.state', 'inbound.reason', 'inbound.since']);

function flat(link, at = '', into = new Map()) {
  for (const [name, value] of Object.entries(link ?? {})) {
    const path = at ? `${at}.${name}` : name;
    if ((!at && notWritten.has(name)) || observed.has(path)) continue;
    if (value && typeof value === 'object' && !Array.isArray(value)) flat(value, path, into);
    else into.set(path, JSON.stringify(value));
  }
  return into;
}

// differences are the fields in which two links say something else.
export function differences(before, now) {
  const old = flat(before);
  const next = flat(now);
  return [...new Set([...old.keys(), ...next.keys()])].filter((path) => old.get(path) !== next.get(path)).sort();
}

function shown(value) {
  if (value === undefined || value === '') return h('span', { class: 'quiet' }, '–');
  return h('code', {}, Array.isArray(value) ? value.join('\n') : String(value));
}

// conflict shows the fields that were changed meanwhile, next to what is in
// the form, and lets one choose where both were changed.
//   mine(path) is {changed, value}; done is given the paths to take over.
export function conflict({ before, now, revision, mine, done }) {
  const paths = differences(before, now);
  const choices = new Map();
  const rows = paths.map((path) => {
    const own = mine(path);
    const name = id('choice');
    const pick = (value, checked) => h('label', { class: 'check' }, h('input', { type: 'radio', name, value, checked, onchange: () => choices.set(path, value) }), t(`conflict.${value}`));
    choices.set(path, own.changed ? 'mine' : 'theirs');
    return h('tr', {},
      h('th', { scope: 'row' }, labelOf(path)),
      h('td', { 'data-label': t('conflict.before') }, shown(get(before, path))),
      h('td', { 'data-label': t('conflict.now') }, shown(get(now, path))),
      h('td', { 'data-label': t('conflict.yours') }, own.changed ? shown(own.value) : h('span', { class: 'quiet' }, t('conflict.untouched'))),
      h('td', {}, own.changed ? [pick('mine', true), pick('theirs', false)] : t('conflict.theirs')));
  });
  return h('section', { class: 'banner banner-warn conflict', role: 'alert', tabindex: -1 }, icon('alert'), h('div', {},
    h('h3', {}, t('conflict.title')),
    h('p', {}, t('conflict.words', { revision: (revision ?? '').slice(0, 8) })),
    h('div', { class: 'scroll-x', tabindex: 0, role: 'group', 'aria-label': t('conflict.title') }, h('table', { class: 'table' },
      h('thead', {}, h('tr', {}, [t('conflict.field'), t('conflict.before'), t('conflict.now'), t('conflict.yours'), t('conflict.keep')].map((words) => h('th', { scope: 'col' }, words)))),
      h('tbody', {}, rows))),
    button(t('conflict.apply'), { kind: 'primary', onclick: () => done(new Set(paths.filter((path) => choices.get(path) === 'theirs'))) }, 'check')));
}
