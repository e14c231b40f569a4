// Small changes of a link that are shown before they are made: deleting,
// enabling and disabling, and suspending, which changes no source.

import { h, button, put, id, icon, text } from './dom.js';
import { t } from './i18n.js';
import * as api from './api.js';
import { refresh } from './store.js';
import { wantedLink, external } from './model.js';
import { modal, notice } from './dialog.js';
import { diff, flows, finding, places, loading } from './views.js';

// saved says what came of a write.
export function saved({ data, status, revision }, words) {
  const halves = (data?.halves ?? []).map((one) => `${one.site}: ${t(`halfState.${one.state}`)}`).join(', ');
  const at = revision ?? data?.revision;
  const late = status === 202 ? ` ${t('saved.late')}` : '';
  notice(`${words}${at ? ` ${t('saved.revision', { revision: at.slice(0, 8) })}` : ''}${halves ? ` · ${halves}` : ''}.${late}`);
  refresh();
}

export function problem(err) {
  const words = err.away ? t('save.away') : err.message;
  return h('div', { class: 'banner banner-bad', role: 'alert' }, icon('alert'), h('div', {}, words, places(err),
    err.findings?.length ? h('div', { class: 'finding-list' }, err.findings.map(finding)) : null));
}

// confirmWrite shows what a change does, and makes it. write is called with
// flags and options, first for show.
function confirmWrite({ title, question, yes, kind, site, peer, write, done }) {
  const both = h('input', { type: 'checkbox', id: id('both'), checked: true });
  const canBoth = !!wantedLink(peer, site) && !external(peer);
  const shown = h('div', { class: 'preview', 'aria-live': 'polite' });
  const failed = h('div', { class: 'failed' });
  const go = button(yes, { kind, onclick: save });
  let match = '';
  let asked = 0;
  let control = new AbortController();
  const pair = () => canBoth && both.checked;
  // What the source says is there before it is in force: for that moment, what
  // was read is not what is written, and it is looked at again without a word.
  async function look(again = 10) {
    asked += 1;
    const now = asked;
    control.abort();
    control = new AbortController();
    put(shown, loading());
    go.setAttribute('disabled', '');
    try {
      const { revision, data: link } = await api.getLink(site, peer, { signal: control.signal });
      const { data } = await write(link, { pair: pair(), dry_run: true }, { ifMatch: revision, signal: control.signal });
      if (now !== asked) return;
      match = revision;
      put(failed);
      put(shown,
        data.flows ? [h('h3', {}, t('flows')), flows(data.flows)] : null,
        data.findings?.length ? [h('h3', {}, t('nav.findings')), data.findings.map(finding)] : null,
        h('h3', {}, t('diff')), diff(data.diff));
      go.removeAttribute('disabled');
    } catch (err) {
      if (err.name === 'AbortError' || now !== asked) return;
      if (err.status === 412 && again > 0) {
        await new Promise((done_) => { setTimeout(done_, 300); });
        if (now === asked && layer.node.isConnected) await look(again - 1);
        return;
      }
      put(shown);
      put(failed, problem(err), h('div', { class: 'tools' }, button(t('again'), { kind: 'small', onclick: () => look() }, 'reset')));
    }
  }
  async function save() {
    go.setAttribute('disabled', '');
    go.setAttribute('aria-busy', 'true');
    try {
      const { data: link } = await api.getLink(site, peer);
      const answer = await write(link, { pair: pair() }, { ifMatch: match });
      layer.close();
      saved(answer, done);
    } catch (err) {
      if (err.status === 412) {
        await look();
        put(failed, h('div', { class: 'banner banner-warn', role: 'alert' }, icon('alert'), t('confirm.changed')));
      } else {
        put(failed, problem(err));
        go.removeAttribute('disabled');
      }
    } finally {
      go.removeAttribute('aria-busy');
    }
  }
  both.addEventListener('change', () => look());
  const layer = modal({
    title, kind: 'dialog-middle',
    body: [h('p', {}, question),
      canBoth && h('label', { class: 'check', for: both.id }, both, t('confirm.both', { peer })),
      failed, shown],
    footer: [button(t('cancel'), { kind: '', onclick: () => layer.close() }), go],
    closed: () => control.abort(),
  });
  look();
}

export function confirmDelete(site, peer) {
  confirmWrite({
    title: t('delete.title', { site, peer }), question: t('delete.question', { site, peer }), yes: t('delete'), kind: 'danger-primary', site, peer,
    write: (_, flags, options) => api.deleteLink(site, peer, flags, options), done: t('delete.done', { site, peer }),
  });
}

export function confirmEnable(site, peer, enable) {
  confirmWrite({
    title: t(enable ? 'enable.title' : 'disable.title', { site, peer }),
    question: t(enable ? 'enable.question' : 'disable.question', { site, peer }),
    yes: t(enable ? 'enable' : 'disable'), kind: 'primary', site, peer,
    write: (link, flags, options) => api.updateLink(site, peer, { ...link, enable }, flags, options),
    done: t(enable ? 'enable.done' : 'disable.done', { site, peer }),
  });
}

const lengths = { m30: 30, h1: 60, h4: 240, d1: 1440 };

export function suspend(site, peer) {
  const reason = h('textarea', { id: id('reason'), rows: 2, maxlength: 900, required: true });
  const until = h('select', { id: id('until') }, Object.keys(lengths).map((one) => h('option', { value: one }, t(`suspend.${one}`))),
    h('option', { value: 'at' }, t('suspend.at')), h('option', { value: '' }, t('suspend.open')));
  const exact = h('input', { type: 'datetime-local', 'aria-label': t('suspend.at'), hidden: true });
  until.addEventListener('change', () => { exact.hidden = until.value !== 'at'; });
  const failed = h('div', {});
  const layer = modal({
    title: t('suspend.title', { site, peer }), kind: 'dialog-small',
    body: [h('p', {}, t('suspend.words')),
      h('label', { for: reason.id }, t('suspend.reason')), reason,
      h('label', { for: until.id }, t('suspend.until')), until, exact, failed],
    footer: [button(t('cancel'), { onclick: () => layer.close() }), button(t('suspend'), {
      kind: 'primary',
      async onclick() {
        const body = { reason: reason.value.trim() };
        if (lengths[until.value]) body.until = new Date(Date.now() + lengths[until.value] * 60000).toISOString();
        if (until.value === 'at') {
          const at = new Date(exact.value);
          if (!(at > Date.now())) {
            put(failed, h('p', { class: 'field-error', role: 'alert' }, t('suspend.past')));
            exact.focus();
            return;
          }
          body.until = at.toISOString();
        }
        if (!body.reason) {
          put(failed, h('p', { class: 'field-error', role: 'alert' }, t('suspend.needReason')));
          reason.focus();
          return;
        }
        try {
          await api.suspendLink(site, peer, body);
          layer.close();
          notice(t('suspend.done', { site, peer }));
          refresh();
        } catch (err) {
          put(failed, problem(err));
        }
      },
    }, 'pause')],
  });
  reason.focus();
}

export async function resume(site, peer) {
  try {
    await api.resumeLink(site, peer);
    notice(t('resume.done', { site, peer }));
    refresh();
  } catch (err) {
    notice(err.away ? t('away') : err.message, { level: 'bad' });
  }
}

export async function reset(site, peer) {
  const words = h('p', {}, t('reset.question', { site, peer }));
  const layer = modal({
    title: t('reset.title'), kind: 'dialog-small', body: words,
    footer: [button(t('cancel'), { onclick: () => layer.close() }), button(t('reset'), {
      kind: 'primary',
      async onclick() {
        try {
          await api.resetMetrics(site, peer);
          layer.close();
          notice(t('reset.done'));
        } catch (err) {
          text(words, err.away ? t('away') : err.message);
        }
      },
    }, 'reset')],
  });
}
