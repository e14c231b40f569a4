// What the header says of the process: whether what is written is in force,
// what is held back, and how far write-backs have come in git.

import { h, icon } from './dom.js';
import { t, tn } from './i18n.js';
import { state } from './store.js';
import { when } from './views.js';

const condition = (type) => state.status?.conditions?.find((one) => one.type === type);

// processWords is the one line, and how it stands.
export function processWords() {
  if (state.stream === 'away') return { level: 'unknown', words: t('process.away') };
  if (!state.status) return { level: 'unknown', words: t('process.reading') };
  if (condition('Stalled')?.status === 'True') return { level: 'bad', words: t('process.stalled') };
  if (state.status.reload && !state.status.reload.ok) return { level: 'bad', words: t('process.broken') };
  if (state.status.held.length) return { level: 'warn', words: tn('process.held', state.status.held.length) };
  if (condition('Reconciling')?.status === 'True') return { level: 'busy', words: t('process.reconciling') };
  if (condition('Ready')?.status === 'True' || state.status.ready) return { level: 'ok', words: t('process.ready') };
  return { level: 'busy', words: t('process.notReady') };
}

function row(label, ...content) {
  return [h('dt', {}, label), h('dd', {}, content)];
}

function gitRows(git) {
  if (!git) return row(t('git'), t('git.off'));
  return [
    row(t('git'), git.commit ? h('code', {}, git.commit.slice(0, 12)) : t('git.nothing')),
    git.uncommitted?.length ? row(t('git.uncommitted'), git.uncommitted.map((one) => h('p', { class: 'warn-words' }, icon('alert'), ' ', one.subject, one.error ? `: ${one.error}` : ''))) : null,
    git.unpushed ? row(t('git.unpushed'), tn('git.commits', git.unpushed)) : null,
    git.lost ? row(t('git.lost'), h('code', {}, git.lost.slice(0, 12))) : null,
    git.push_error ? row(t('git.pushError'), git.push_error, git.push_next ? [' ', t('git.next'), ' ', when(git.push_next)] : null) : null,
  ];
}

export function processPanel() {
  const now = state.status;
  if (!now) return [h('p', {}, t('process.reading'))];
  return [h('div', { class: 'process-panel' },
    h('dl', {},
      row(t('process.sites'), tn('sites', now.sites.length)),
      row(t('process.version'), now.version, ' · ', t('process.since'), ' ', when(now.started)),
      row(t('revision'), h('code', {}, now.revision || '–')),
      now.commit ? row(t('commit'), h('code', {}, now.commit.slice(0, 12))) : null,
      gitRows(now.git),
      now.reload && !now.reload.ok ? row(t('process.reload'), h('p', { class: 'bad-words' }, icon('cross'), ' ', now.reload.error || t('process.unread'))) : null),
    h('h3', {}, t('conditions')),
    h('ul', { class: 'conditions' }, (now.conditions ?? []).map((one, i, all) => h('li', {},
      h('b', {}, t(`condition.${one.type}`)), ' ', h('span', { class: 'tag' }, t(`truth.${one.status}`)), ' ',
      h('span', { class: 'quiet' }, one.message === all[i - 1]?.message ? null : `${one.message} · `, when(one.since))))),
    now.held.length ? [h('h3', {}, t('held')), h('ul', { class: 'conditions' }, now.held.map((one) => h('li', {},
      h('b', {}, one.site, one.peer ? [' ', icon('right', t('to')), ' ', one.peer] : null), ' ', h('code', { class: 'rule' }, one.rule), ' ', one.why, ' ', h('span', { class: 'quiet' }, when(one.since)))))] : null,
    now.suspensions.length ? [h('h3', {}, t('suspensions')), h('ul', { class: 'conditions' }, now.suspensions.map((one) => h('li', {},
      h('b', {}, one.site, ' ', icon('right', t('to')), ' ', one.peer), ' ', one.reason, ' ', h('span', { class: 'quiet' }, one.by, one.until ? [' · ', t('until'), ' ', when(one.until)] : null))))] : null)];
}
