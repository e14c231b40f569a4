// Parts that several pages show: findings, diffs, flows, plans, topics, states.

import { h, s, icon, button, text, attr } from './dom.js';
import { t, tn, rate, dateTime, ago } from './i18n.js';

export function severity(level) {
  const glyph = { error: 'cross', warning: 'alert', info: 'info' }[level] ?? 'info';
  return h('span', { class: `severity severity-${level}` }, icon(glyph), t(`severity.${level}`));
}

export const place = (pos) => (pos?.file ? `${pos.file}:${pos.line}:${pos.column}` : '');

// places are where a finding or a refusal points at in the source.
export function places(of) {
  const related = of.related ?? [];
  if (!place(of.pos) && !related.length) return null;
  return h('ul', { class: 'places' }, place(of.pos) && h('li', {}, h('code', {}, place(of.pos))),
    related.map((one) => h('li', {}, h('code', {}, place(one.pos)), ' ', one.message)));
}

// finding shows one, with both of its positions.
export function finding(f) {
  return h('article', { class: `finding finding-${f.severity}` },
    h('div', { class: 'finding-head' }, severity(f.severity), h('code', { class: 'rule' }, f.rule),
      h('span', { class: 'finding-words' }, f.message)),
    places(f),
    f.fix && h('p', { class: 'fix' }, h('span', { class: 'tag' }, t('fix')), ' ', f.fix.message));
}

// diff shows a unified diff; the signs stay, so that colour says nothing that
// the text does not.
export function diff(source) {
  if (!source) return h('p', { class: 'empty-line' }, t('diff.none'));
  const rows = source.replace(/\n$/, '').split('\n');
  const files = [];
  let current = null;
  for (const line of rows) {
    if (line.startsWith('--- ')) {
      current = { old: line.slice(4), name: '', lines: [] };
      files.push(current);
    } else if (line.startsWith('+++ ') && current && !current.name) {
      current.name = line.slice(4).replace(/^b\//, '');
      if (current.name === '/dev/null') current.name = current.old.replace(/^a\//, '');
    } else if (current) current.lines.push(line);
  }
  return h('div', { class: 'diff' }, files.map((file) => {
    const added = file.lines.filter((l) => l.startsWith('+')).length;
    const removed = file.lines.filter((l) => l.startsWith('-')).length;
    return h('figure', {},
      h('figcaption', {}, icon('file'), h('code', {}, file.name),
        h('span', { class: 'counts' }, h('span', { class: 'plus' }, `+${added}`), ' ', h('span', { class: 'minus' }, `−${removed}`))),
      h('pre', { tabindex: 0, 'aria-label': t('diff.of', { file: file.name }) }, file.lines.map(diffLine)));
  }));
}

function diffLine(line) {
  const kind = { '+': 'add', '-': 'del', '@': 'hunk' }[line[0]] ?? 'same';
  if (kind === 'hunk') return h('span', { class: 'line hunk' }, `${line}\n`);
  return h('span', { class: `line ${kind}` }, h('span', { class: 'sign' }, line[0] || ' '), `${line.slice(1).replaceAll('\t', '    ')}\n`);
}

// flows shows which topics start and stop crossing.
export function flows(changes) {
  if (!changes) return null;
  if (!changes.length) return h('p', { class: 'empty-line' }, t('flows.none'));
  return h('ul', { class: 'flows' }, changes.map((one) => h('li', {},
    h('div', { class: 'flow-sites' }, h('b', {}, one.from), icon('right', t('to')), h('b', {}, one.to)),
    h('ul', {},
      (one.starts ?? []).map((topic) => h('li', { class: 'starts' }, icon('plus'), h('span', { class: 'quiet' }, t('flows.starts')), h('code', {}, topic))),
      (one.stops ?? []).map((topic) => h('li', { class: 'stops' }, icon('minus'), h('span', { class: 'quiet' }, t('flows.stops')), h('code', {}, topic)))))));
}

export function plan(steps) {
  if (!steps?.length) return h('p', { class: 'empty-line' }, t('plan.none'));
  return h('ul', { class: 'plan' }, steps.map((one) => h('li', {},
    h('span', { class: `op op-${one.op}` }, t(`op.${one.op}`)),
    h('span', {}, one.site, ' ', icon('right', t('to')), ' ', one.peer),
    one.fields?.length ? h('span', { class: 'quiet' }, one.fields.join(', ')) : null)));
}

// topics shows the first few, and says how many more there are.
export function topics(list, most = 3) {
  if (!list?.length) return h('span', { class: 'quiet' }, t('topics.none'));
  return h('span', { class: 'topics' }, list.slice(0, most).map((one) => h('code', { title: one }, one)),
    list.length > most && h('span', { class: 'quiet', title: list.slice(most, most + 40).join('\n') }, tn('topics.more', list.length - most)));
}

const levelIcon = { ok: 'check', busy: 'reset', warn: 'pause', bad: 'cross', off: 'minus', unknown: 'more' };
const factNames = ['configured', 'connected', 'replicating', 'flowing'];

// stateView shows a half's state: four facts as a row of marks, and in words.
// It returns the node and what brings it up to date.
export function stateView() {
  const marks = factNames.map(() => s('rect', { width: 9, height: 8, y: 4, rx: 2 }));
  marks.forEach((mark, i) => mark.setAttribute('x', i * 12 + 0.5));
  const meter = s('svg', { class: 'facts', viewBox: '0 0 47 16', width: 47, height: 16, 'aria-hidden': 'true' }, marks);
  const glyph = h('span', { class: 'state-glyph' });
  const word = h('span', { class: 'state-word' });
  const why = h('span', { class: 'state-why' });
  const facts = h('span', { class: 'visually-hidden' });
  const node = h('div', { class: 'state' }, h('div', { class: 'state-line' }, meter, glyph, word, facts), why);
  let shown = '';
  return {
    node,
    update(half) {
      const now = `${half.word} ${half.level} ${half.facts} ${half.reason} ${half.held?.why}`;
      if (now === shown) return;
      shown = now;
      attr(node, 'data-level', half.level);
      half.facts.forEach((fact, i) => attr(marks[i], 'data-fact', fact));
      glyph.replaceChildren(icon(levelIcon[half.level]));
      text(word, t(`status.${half.word}`));
      const reason = half.reason || (half.held && half.word !== 'held' ? t('status.heldBack', { why: half.held.why }) : '');
      text(why, reason);
      attr(why, 'title', reason || null);
      why.hidden = !reason;
      attr(node, 'data-held', half.held ? '' : null);
      const words = factNames.map((name, i) => `${t(`fact.${name}`)}: ${t(`fact.${half.facts[i]}`)}`).join(', ');
      text(facts, ` (${words})`);
      attr(node, 'title', words);
    },
  };
}

// rates shows what comes in and goes out.
export function ratesView() {
  const inward = h('span', {});
  const outward = h('span', {});
  const node = h('span', { class: 'rates' },
    h('span', { class: 'rate' }, icon('left', t('rate.in')), inward),
    h('span', { class: 'rate' }, icon('right', t('rate.out')), outward));
  return {
    node,
    update(live) {
      text(inward, live ? rate(live.rate_in) : '–');
      text(outward, live ? rate(live.rate_out) : '–');
      node.classList.toggle('moving', !!live && (live.rate_in > 0 || live.rate_out > 0));
    },
  };
}

export function when(at) {
  return h('time', { datetime: at, title: dateTime(at) }, ago(at));
}

export function empty(title, words, ...actions) {
  return h('div', { class: 'empty' }, h('h2', {}, title), h('p', {}, words), actions.length ? h('p', {}, actions) : null);
}

// loading is a skeleton, which stands still where less motion is asked for.
export function loading() {
  return h('div', { class: 'loading', role: 'status' }, h('span', { class: 'visually-hidden' }, t('loading')),
    [1, 2, 3, 4].map(() => h('div', { class: 'bone', 'aria-hidden': 'true' })));
}

export function copyButton(content) {
  const one = button(t('copy'), {
    kind: 'small',
    async onclick() {
      const words = one.querySelector('span');
      try {
        await navigator.clipboard.writeText(content());
        text(words, t('copied'));
      } catch {
        text(words, t('copy.failed'));
      }
      setTimeout(() => text(words, t('copy')), 2000);
    },
  }, 'copy');
  return one;
}

// switcher is an on/off control that a form or a list can hold.
export function switcher(on, label, changed) {
  const node = h('button', { type: 'button', class: 'switch', role: 'switch', 'aria-checked': String(on), 'aria-label': label },
    h('span', { class: 'knob', 'aria-hidden': 'true' }));
  node.addEventListener('click', () => changed(node.getAttribute('aria-checked') !== 'true'));
  return { node, set: (next) => attr(node, 'aria-checked', String(next)), get: () => node.getAttribute('aria-checked') === 'true' };
}
