// A list of topic filters as rows, with + and −, and pasting of many.

import { h, button, put, id, attr } from './dom.js';
import { t, tn } from './i18n.js';
import { showProblems } from './fields.js';

const split = (words) => words.split(/[\r\n,]+/).map((one) => one.trim().replace(/^"(.*)"$/, '$1')).filter(Boolean);

export function topicRows(initial, changed, { label = t('field.topics'), path = 'topics' } = {}) {
  let rows = [];
  const list = h('ol', { class: 'topic-rows' });
  const count = h('span', { class: 'quiet', 'aria-live': 'polite' });
  const own = h('div', { class: 'field-errors', 'aria-live': 'polite' });
  const many = h('textarea', { id: id('many'), rows: 5, spellcheck: 'false', 'aria-label': t('topics.paste'), placeholder: 'global/#\nfwd/#' });
  const panel = h('div', { class: 'paste', hidden: true }, h('p', { class: 'hint' }, t('topics.pasteHint')), many,
    h('div', { class: 'tools' }, button(t('topics.add'), {
      kind: 'small',
      onclick() {
        const words = split(many.value);
        many.value = '';
        panel.hidden = true;
        words.forEach((one) => insert(one));
        edited();
        (rows.at(-1) ?? { input: more }).input.focus();
      },
    }, 'plus'), button(t('cancel'), { kind: 'small ghost', onclick: () => { panel.hidden = true; paste.focus(); } })));
  const more = button(t('topics.addOne'), {
    kind: 'small',
    onclick() {
      insert('').input.focus();
      edited();
    },
  }, 'plus');
  const paste = button(t('topics.paste'), {
    kind: 'small ghost',
    onclick() {
      panel.hidden = false;
      many.focus();
    },
  }, 'paste');

  function edited() {
    put(count, rows.length > 1 ? tn('topics', rows.length) : '');
    changed();
  }

  function insert(value, at = rows.length) {
    const input = h('input', {
      type: 'text', class: 'mono', value, spellcheck: 'false', autocapitalize: 'none', autocomplete: 'off', 'aria-label': t('topics.row', { n: at + 1 }),
      oninput: changed,
      onkeydown(e) {
        if (e.key === 'Enter' && !e.isComposing) {
          e.preventDefault();
          insert('', rows.indexOf(row) + 1).input.focus();
          edited();
        } else if (e.key === 'Backspace' && input.value === '' && rows.length > 1) {
          e.preventDefault();
          remove(row);
        }
      },
      onpaste(e) {
        const words = split(e.clipboardData.getData('text'));
        if (words.length < 2) return;
        e.preventDefault();
        const at2 = rows.indexOf(row);
        input.value = words[0];
        words.slice(1).forEach((one, i) => insert(one, at2 + 1 + i));
        edited();
      },
    });
    const errors = h('div', { class: 'field-errors', id: id('topic') });
    attr(input, 'aria-describedby', errors.id);
    const row = { input, errors };
    const less = button('', { kind: 'ghost', onclick: () => remove(row) }, 'minus', t('topics.remove'));
    row.node = h('li', {}, h('div', { class: 'topic-row' }, input, less), errors);
    rows.splice(at, 0, row);
    list.insertBefore(row.node, list.children[at] ?? null);
    return row;
  }

  function remove(row) {
    const at = rows.indexOf(row);
    rows.splice(at, 1);
    row.node.remove();
    (rows[Math.max(at - 1, 0)]?.input ?? more).focus();
    edited();
  }

  function fill(values) {
    rows = [];
    put(list);
    values.forEach((one) => insert(one));
    if (!values.length) insert('');
    put(count, rows.length > 1 ? tn('topics', rows.length) : '');
  }

  fill(initial);
  const node = h('fieldset', { class: 'field topics-field', 'data-field': path }, h('legend', {}, label, ' ', count), list, own, panel, h('div', { class: 'tools' }, more, paste));
  return {
    node,
    // values are the topics that are not empty.
    values: () => rows.map((row) => row.input.value.trim()).filter(Boolean),
    fill,
    label: (words) => { node.querySelector('legend').firstChild.nodeValue = words; },
    focus: () => rows[0]?.input.focus(),
    // problems gives each row those that quote its text, and the rest to all.
    problems(list_) {
      const rest = [];
      const byRow = new Map();
      for (const one of list_) {
        const texts = one.topics ?? [...one.message.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map((m) => m[1]);
        const hits = rows.filter((row) => row.input.value.trim() && texts.includes(row.input.value.trim()));
        if (hits.length) byRow.set(hits.at(-1), [...(byRow.get(hits.at(-1)) ?? []), one]);
        else rest.push(one);
      }
      for (const row of rows) showProblems(row.errors, row.input, byRow.get(row) ?? []);
      showProblems(own, list, rest);
      attr(list, 'aria-invalid', null);
    },
  };
}
