// The fields of a link's form: what there is, how each is read from a link and
// written into one, and its control with its label, hint and errors.

import { h, id, icon, button, put, attr, text } from './dom.js';
import { t, has } from './i18n.js';

const get = (object, path) => path.split('.').reduce((at, name) => at?.[name], object);

function set(object, path, value) {
  const names = path.split('.');
  const last = names.pop();
  let at = object;
  for (const name of names) {
    if (value === undefined && at[name] === undefined) return;
    at[name] ??= {};
    at = at[name];
  }
  if (value === undefined) delete at[last];
  else at[last] = value;
}

const number = (raw) => (/^\d+$/.test(raw) ? Number(raw) : raw);

// kinds say how a value is shown as text, and read back. Text that is no value
// is sent as it is: the server says what is wrong with it.
const kinds = {
  text: { show: (v) => v ?? '', read: (raw) => raw || undefined },
  int: { show: (v) => (v === undefined ? '' : String(v)), read: (raw) => (raw === '' ? undefined : number(raw)) },
  span: { show: (v) => (v === undefined ? '' : String(v)), read: (raw) => (raw === '' ? undefined : number(raw)) },
  choice: { show: (v) => (v === undefined ? '' : String(v)), read: (raw) => ({ '': undefined, true: true, false: false })[raw] ?? (raw || undefined) },
  switch: { show: (v) => String(v ?? false), read: (raw) => raw === 'true' },
  list: { show: (v) => (v ?? []).join(', '), read: (raw) => raw.split(/[\s,]+/).filter(Boolean) },
  secret: { show: (v) => v ?? '', read: (raw) => raw || undefined },
};

const yesNo = ['', 'true', 'false'];

export const mainFields = [
  { path: 'clientid', kind: 'text', hint: true },
  { path: 'username', kind: 'text' },
  { path: 'password', kind: 'secret', hint: true },
];

export const tlsFields = [
  { path: 'ssl.verify', kind: 'choice', options: ['verify_peer', 'verify_none'] },
  { path: 'ssl.server_name_indication', kind: 'text' },
  { path: 'ssl.cacertfile', kind: 'text', hint: true },
  { path: 'ssl.certfile', kind: 'text' },
  { path: 'ssl.keyfile', kind: 'text' },
  { path: 'ssl.password', kind: 'secret' },
];

export const tlsMoreFields = [
  { path: 'ssl.depth', kind: 'int', usual: '10' },
  { path: 'ssl.versions', kind: 'list', usual: 'tlsv1.3, tlsv1.2' },
  { path: 'ssl.ciphers', kind: 'list' },
  { path: 'ssl.hibernate_after', kind: 'span', usual: '5s' },
  { path: 'ssl.reuse_sessions', kind: 'choice', options: yesNo },
  { path: 'ssl.secure_renegotiate', kind: 'choice', options: yesNo },
  { path: 'ssl.middlebox_comp_mode', kind: 'choice', options: yesNo },
  { path: 'ssl.partial_chain', kind: 'text' },
  { path: 'ssl.verify_peer_ext_key_usage', kind: 'text' },
  { path: 'ssl.log_level', kind: 'text', usual: 'notice' },
];

// advanced are EMQX's advanced settings, in its order, then clink's own.
export const advanced = [
  ['mqtt', [
    { path: 'pool_size', kind: 'int', usual: '8' },
    { path: 'retry_interval', kind: 'span', usual: '15s' },
    { path: 'max_inflight', kind: 'int', usual: '32' },
  ]],
  ['resource', [
    { path: 'resource_opts.start_timeout', kind: 'span', usual: '5s' },
    { path: 'resource_opts.worker_pool_size', kind: 'int', usual: '16' },
    { path: 'resource_opts.request_ttl', kind: 'span', usual: '45s' },
    { path: 'resource_opts.health_check_interval', kind: 'span', usual: '15s' },
    { path: 'resource_opts.health_check_interval_jitter', kind: 'span' },
    { path: 'resource_opts.health_check_timeout', kind: 'span' },
    { path: 'resource_opts.max_buffer_bytes', kind: 'span', usual: '256MB' },
    { path: 'resource_opts.inflight_window', kind: 'int', usual: '100' },
    { path: 'resource_opts.dispatch_strategy', kind: 'choice', options: ['', 'per_clientid', 'random'] },
  ]],
  ['tcp', [
    { path: 'tcp_opts.active_n', kind: 'int' },
    { path: 'tcp_opts.nodelay', kind: 'choice', options: yesNo },
    { path: 'tcp_opts.keepalive', kind: 'choice', options: yesNo },
    { path: 'tcp_opts.delay_send', kind: 'choice', options: yesNo },
    { path: 'tcp_opts.sndbuf', kind: 'span' },
    { path: 'tcp_opts.recbuf', kind: 'span' },
    { path: 'tcp_opts.buffer', kind: 'span' },
  ]],
  ['queue', [
    { path: 'queue.when_full', kind: 'choice', options: ['', 'block', 'drop_oldest', 'drop_new'] },
    { path: 'queue.max_bytes', kind: 'span' },
    { path: 'queue.max_age', kind: 'span' },
    { path: 'queue.sync', kind: 'choice', options: ['', 'interval', 'always'] },
    { path: 'retained', kind: 'choice', options: yesNo },
  ]],
];

// outsideFields are for a peer whose own half is not declared.
export const outsideFields = [
  { path: 'export', kind: 'list', hint: true },
  { path: 'inbound.clientid', kind: 'text' },
  { path: 'inbound.username', kind: 'text' },
  { path: 'inbound.password', kind: 'secret' },
];

export const labelOf = (path) => (has(`field.${path}`) ? t(`field.${path}`) : path);

// wrap puts label, hint and errors around a control.
export function wrap(path, control, { hint, label = labelOf(path), required, after } = {}) {
  const name = control.id || id('field');
  control.id = name;
  const hintId = `${name}-hint`;
  const errorId = `${name}-error`;
  const errors = h('div', { id: errorId, class: 'field-errors', 'aria-live': 'polite' });
  attr(control, 'aria-describedby', hint ? `${hintId} ${errorId}` : errorId);
  if (required) control.setAttribute('aria-required', 'true');
  const node = h('div', { class: 'field', 'data-field': path },
    h('label', { for: name }, label, required && h('span', { class: 'required', 'aria-hidden': 'true' }, ' *')),
    control.parentElement ?? control, after,
    hint && h('p', { id: hintId, class: 'hint' }, hint), errors);
  return { node, errors };
}

// problems are what is wrong with a field: [{severity, message, use, useWords}].
export function showProblems(errors, control, problems) {
  const bad = problems.some((one) => one.severity === 'error');
  attr(control, 'aria-invalid', bad ? 'true' : null);
  const now = problems.map((one) => `${one.severity}${one.message}`).join('\n');
  if (errors.dataset.shown === now) return;
  errors.dataset.shown = now;
  put(errors, problems.map((one) => h('p', { class: `field-problem field-${one.severity}` },
    icon(one.severity === 'error' ? 'cross' : 'alert', t(`severity.${one.severity}`)), h('span', {}, one.message, ' ',
      one.use && h('button', { type: 'button', class: 'textlink', onclick: one.use }, one.useWords)))));
}

function secretControl(changed) {
  const input = h('input', { type: 'password', autocomplete: 'new-password', spellcheck: 'false', autocapitalize: 'none' });
  const reveal = h('button', { type: 'button', class: 'button ghost square inset', 'aria-pressed': 'false', 'aria-label': t('reveal'), title: t('reveal') }, icon('eye'));
  const reference = () => /^(file|env):\/\//.test(input.value);
  const show = () => {
    const open = reveal.getAttribute('aria-pressed') === 'true';
    input.type = open || reference() ? 'text' : 'password';
    reveal.hidden = reference();
    put(reveal, icon(open ? 'eye-off' : 'eye'));
  };
  reveal.addEventListener('click', () => {
    attr(reveal, 'aria-pressed', String(reveal.getAttribute('aria-pressed') !== 'true'));
    show();
  });
  input.addEventListener('input', () => {
    show();
    changed();
  });
  h('div', { class: 'with-inset' }, input, reveal);
  return { control: input, shown: show };
}

function plainControl(def, changed) {
  if (def.kind === 'choice') {
    const options = def.options.map((value) => h('option', { value }, value === '' ? t('default') : value === 'true' ? t('on') : value === 'false' ? t('off') : value));
    return h('select', { onchange: changed }, options);
  }
  return h('input', { type: 'text', inputmode: def.kind === 'int' ? 'numeric' : undefined, placeholder: def.usual ?? '', autocomplete: 'off', spellcheck: 'false', autocapitalize: 'none', class: def.kind === 'text' ? '' : 'number', oninput: changed });
}

const KEPT = '******';

// field makes one. base is the link it begins with, {} for a new one.
export function field(def, base, changed) {
  const kind = kinds[def.kind];
  const show = (link) => kind.show(get(link, def.path));
  let initial = show(base);
  const { control, shown = () => {} } = def.kind === 'secret' ? secretControl(() => changed(one)) : { control: plainControl(def, () => changed(one)) };
  const keeps = () => def.kind === 'secret' && initial === KEPT;
  const drop = h('button', {
    type: 'button', class: 'textlink', hidden: true,
    onclick() {
      one.dropped = !one.dropped;
      text(drop, t(one.dropped ? 'secret.keep' : 'secret.drop'));
      control.placeholder = one.dropped ? t('secret.dropped') : t('secret.kept');
      changed(one);
    },
  }, t('secret.drop'));
  const { node, errors } = wrap(def.path, control, { hint: def.hint && t(`hint.${def.path}`), after: def.kind === 'secret' && drop });
  const one = {
    ...def, node, control, dropped: false,
    raw: () => (keeps() && control.value === '' && !one.dropped ? KEPT : control.value.trim()),
    changed: () => one.raw() !== initial,
    write(raw) {
      control.value = raw === KEPT && def.kind === 'secret' ? '' : raw;
      if (def.kind === 'choice' && control.value !== raw) control.selectedIndex = 0;
      shown();
    },
    // rebase takes another link to begin with; what was typed stays, unless
    // theirs is wanted.
    rebase(link, theirs) {
      const typed = one.raw();
      const kept = one.changed() && !theirs;
      initial = show(link);
      if (!kept) one.write(initial);
      else if (typed === KEPT) one.write('');
      drop.hidden = !keeps();
      if (keeps()) control.placeholder = t('secret.kept');
    },
    apply(body) { if (one.changed()) set(body, def.path, kind.read(one.raw())); },
    problems: (list) => showProblems(errors, control, list),
  };
  one.write(def.kind === 'choice' && initial === '' ? def.options[0] : initial);
  one.rebase(base);
  if (def.kind === 'choice' && !def.options.includes(initial)) initial = def.options[0];
  return one;
}

export { get, set };
