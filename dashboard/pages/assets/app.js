// The frame around the pages: signing in, the header, and which page is shown.

import { h, s, icon, button, put, text, attr } from './dom.js';
import { t, tn, setLanguage, firstLanguage, languages, lang } from './i18n.js';
import * as api from './api.js';
import { state, on, start, stop, refresh, reconnect } from './store.js';
import { menu, notice } from './dialog.js';
import * as signin from './signin.js';
import { processPanel, processWords } from './process.js';
import { topologyPage } from './topology.js';
import { linksPage } from './links.js';
import { linkPage } from './link.js';
import { revisionsPage } from './revisions.js';
import { findingsPage } from './findings.js';

const app = document.getElementById('app');

// Kept choices: the language and the theme.

function kept(name) {
  try {
    return localStorage.getItem(`clink.${name}`);
  } catch {
    return null;
  }
}

function keep(name, value) {
  try {
    localStorage.setItem(`clink.${name}`, value);
  } catch { /* it lasts as long as the page, then */ }
}

const themes = ['system', 'light', 'dark'];
const themeIcons = { system: 'screen', light: 'sun', dark: 'moon' };
let theme = themes.includes(kept('theme')) ? kept('theme') : 'system';

function showTheme() {
  attr(document.documentElement, 'data-theme', theme === 'system' ? null : theme);
}

// Routes.

const routes = [
  ['topology', /^topology$/, topologyPage],
  ['links', /^links(?:\/([^/]+))?$/, linksPage],
  ['links', /^link\/([^/]+)\/([^/]+)$/, linkPage],
  ['revisions', /^revisions(?:\/([^/]+))?$/, revisionsPage],
  ['findings', /^findings$/, findingsPage],
];

function decoded(part) {
  try {
    return part === undefined ? undefined : decodeURIComponent(part);
  } catch {
    return part;
  }
}

function route() {
  const at = location.hash.replace(/^#\/?/, '');
  for (const [tab, form, page] of routes) {
    const match = form.exec(at);
    if (match) return { tab, page, params: match.slice(1).map(decoded), at };
  }
  return { tab: 'topology', page: topologyPage, params: [], at };
}

let shown = null; // {page, stop}
let main = null;
let ends = [];

function showPage() {
  if (!main) return;
  const next = route();
  shown?.stop?.();
  shown = next.page(...next.params);
  put(main, shown.node);
  document.title = `${shown.title} · clink`;
  for (const tab of app.querySelectorAll('[data-tab]')) attr(tab, 'aria-current', tab.dataset.tab === next.tab ? 'page' : null);
}

window.addEventListener('hashchange', () => {
  if (!state.session) return;
  for (const open of document.querySelectorAll('.menu:popover-open')) open.hidePopover();
  showPage();
  // What was pressed is gone: a reader goes on at the new page's beginning.
  main?.focus({ preventScroll: true });
  window.scrollTo(0, 0);
});

// The header.

function mark() {
  return s('svg', { class: 'mark', viewBox: '0 0 32 32', width: 24, height: 24, 'aria-hidden': 'true' },
    s('rect', { class: 'mark-a', x: 3.5, y: 10, width: 14, height: 12, rx: 6 }),
    s('rect', { class: 'mark-b', x: 14.5, y: 10, width: 14, height: 12, rx: 6 }));
}

function choices(close) {
  const pick = (label, now, list, choose) => h('fieldset', { class: 'choices' }, h('legend', {}, label),
    h('div', { class: 'segments' }, list.map(([value, words, glyph]) => h('button', {
      type: 'button', 'aria-pressed': String(value === now),
      onclick() {
        close();
        choose(value);
      },
    }, glyph && icon(glyph), words))));
  return [
    h('p', { class: 'who' }, h('b', {}, state.session.key || t('session.unknown')), h('span', { class: 'tag' }, t(`role.${state.session.role}`))),
    pick(t('language'), lang(), Object.entries(languages), (value) => {
      keep('lang', value);
      setLanguage(value);
      show();
    }),
    pick(t('theme'), theme, themes.map((one) => [one, t(`theme.${one}`), themeIcons[one]]), (value) => {
      theme = value;
      keep('theme', value);
      showTheme();
    }),
    button(t('signout'), { kind: 'ghost wide', onclick: leave }, 'out'),
  ];
}

async function leave() {
  try {
    await api.signOut();
  } catch (err) {
    if (err.status !== 401) {
      notice(t('signout.failed', { why: err.away ? t('away') : err.message }), { level: 'bad' });
      return;
    }
  }
  signin.forget();
  stop();
  show();
}

function header() {
  const count = h('span', { class: 'count' });
  const tab = (name, glyph, words, extra) => h('a', { href: `#/${name}`, 'data-tab': name }, icon(glyph), h('span', {}, words), extra);
  const light = h('span', { class: 'light', 'aria-hidden': 'true' });
  const words = h('span', { class: 'process-words' });
  const revision = h('code', { class: 'process-revision' });
  const process = h('button', { type: 'button', class: 'process', 'aria-haspopup': 'dialog' }, light, words, revision, icon('down'));
  const account = button('', { kind: 'ghost' }, 'gear', t('preferences'));
  const update = () => {
    const now = processWords();
    attr(light, 'data-level', now.level);
    text(words, now.words);
    text(revision, state.status?.revision ? state.status.revision.slice(0, 8) : '');
    attr(process, 'title', t('process.label', { words: now.words, revision: state.status?.revision ?? '–' }));
    const n = (state.status?.findings.errors ?? 0) + (state.status?.findings.warnings ?? 0);
    text(count, n || '');
    count.hidden = !n;
    attr(count, 'data-level', state.status?.findings.errors ? 'bad' : 'warn');
    attr(count, 'aria-label', tn('findings.count', n));
  };
  ends.push(on('status stream', update));
  update();
  return h('header', { class: 'top' },
    h('a', { class: 'brand', href: '#/topology', 'aria-label': 'clink' }, mark(), h('span', {}, 'clink')),
    h('nav', { 'aria-label': t('nav') },
      tab('topology', 'topology', t('nav.topology')),
      tab('links', 'link', t('nav.links')),
      tab('revisions', 'history', t('nav.revisions')),
      tab('findings', 'flag', t('nav.findings'), count)),
    h('div', { class: 'top-end' }, menu(process, processPanel), menu(account, choices)));
}

// away tells that what is on the screen is no longer live.
function awayBar() {
  const words = h('span', {});
  const bar = h('div', { class: 'away', role: 'status' }, icon('alert'), words,
    button(t('away.again'), { kind: 'small', onclick: reconnect }));
  const update = () => {
    const problem = state.error && !state.error.away ? state.error.message : '';
    bar.hidden = state.stream !== 'away' && !problem;
    text(words, problem || t('away.words'));
  };
  ends.push(on('stream status', update));
  update();
  return bar;
}

function showSignIn(problem) {
  main = null;
  document.title = `${t('signin')} · clink`;
  put(app, h('main', { class: 'signin' }, h('div', { class: 'signin-card' },
    h('div', { class: 'signin-brand' }, mark(), h('h1', {}, 'clink')),
    h('p', { class: 'quiet' }, t('signin.words')),
    signin.form(begin, problem),
    h('div', { class: 'segments signin-language' }, Object.entries(languages).map(([value, words]) => h('button', {
      type: 'button', lang: value, 'aria-pressed': String(value === lang()),
      onclick() {
        keep('lang', value);
        setLanguage(value);
        showSignIn();
      },
    }, words))))));
  app.querySelector('input')?.focus();
}

function show(problem) {
  shown?.stop?.();
  shown = null;
  ends.forEach((end) => end());
  ends = [];
  if (!state.session) {
    showSignIn(problem);
    return;
  }
  main = h('main', { id: 'main', tabindex: -1 });
  put(app,
    h('a', { class: 'skip', href: '#main', onclick(e) { e.preventDefault(); main.focus(); } }, t('skip')),
    header(), awayBar(), main);
  showPage();
}

function begin() {
  api.onSignedOut(() => signin.askAgain().then(() => reconnect()));
  start();
  refresh();
  show();
}

async function main_() {
  setLanguage(firstLanguage(kept('lang')));
  showTheme();
  const problem = await signin.takeToken();
  try {
    await signin.recall();
    if (state.session) begin();
    else show(problem);
  } catch (err) {
    state.session = null;
    show(problem ?? (err.status === 401 ? undefined : err));
  }
}

main_();
