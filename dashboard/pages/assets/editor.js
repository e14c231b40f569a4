// The window in which a link is created or changed. What is typed is tried by
// the server as one types, and written to the source only when one says so.

import { h, icon, button, put, later, text, id, attr } from './dom.js';
import { t, tn } from './i18n.js';
import * as api from './api.js';
import { state, on } from './store.js';
import { wantedLink, siteOf, external, runsHere, half } from './model.js';
import { modal } from './dialog.js';
import { diff, flows, finding, places, stateView, topics, loading } from './views.js';
import { linkForm } from './linkform.js';
import { conflict, differences } from './conflict.js';
import { fieldOf, useOf, formProblem } from './where.js';
import { probeSteps } from './probe.js';
import { problem as banner, saved } from './confirm.js';

// openEditor edits site's link to peer, or creates one, to name if given.
export async function openEditor({ site, peer, name }) {
  if (!peer) {
    new Editor(site, null, '', name).open();
    return;
  }
  const waiting = modal({ title: t('settings.title', { site, peer }), body: loading() });
  try {
    const { data, revision } = await api.getLink(site, peer);
    waiting.close();
    new Editor(site, data, revision).open();
  } catch (err) {
    put(waiting.node.querySelector('.dialog-body'), banner(err));
  }
}

class Editor {
  constructor(site, base, revision, name = '') {
    Object.assign(this, { site, base, revision });
    this.isNew = !base;
    this.asked = 0;
    this.good = false; // the form as it is has passed the server's trial
    this.busy = false;
    this.override = false;
    this.control = new AbortController();
    this.form = linkForm({ site, base, name, changed: () => this.edited() });
    this.pairBox = h('input', { type: 'checkbox', id: id('pair'), checked: true, onchange: () => {
      this.form.refuseOther(!this.pairBox.checked && !this.otherHalf());
      this.edited();
    } });
    this.alerts = h('div', { class: 'alerts' });
    this.peerPart = h('div', {});
    this.preview = h('div', { class: 'preview' });
    this.said = h('p', { class: 'foot-words', role: 'status' });
    this.steps = probeSteps();
    this.tryLater = later(350, () => this.try());
  }

  get peer() { return this.form.name(); }

  open() {
    this.save = button(this.isNew ? t('create') : t('save'), { kind: 'primary', onclick: () => this.write() });
    this.layer = modal({
      title: this.title(), kind: 'dialog-wide', leave: () => this.leave(),
      body: h('div', { class: 'editor' },
        h('div', { class: 'editor-form' }, this.alerts, this.isNew && this.siteField(), this.form.node),
        h('aside', { class: 'editor-side', 'aria-label': t('preview'), tabindex: 0 }, this.peerPart, this.preview, this.steps.node)),
      footer: [this.said, h('div', { class: 'foot-buttons' },
        button(t('probe'), { onclick: () => this.probe() }, 'plug'),
        button(t('cancel'), { onclick: () => { if (this.leave()) this.layer.close(); } }), this.save)],
      closed: () => this.closed(),
    });
    this.ends = [on('stream', () => { if (state.stream === 'open' && this.waits) this.try(); }),
      on('topology', () => this.moved()), on('live details', () => this.showPeerState())];
    this.beforeUnload = (e) => { if (this.form.dirty()) e.preventDefault(); };
    window.addEventListener('beforeunload', this.beforeUnload);
    this.showPeer();
    this.showWaiting();
    this.form.focus();
    if (this.peer) this.try();
  }

  title() {
    return this.isNew ? t('create.title') : t('settings.title', { site: this.site, peer: this.base.name });
  }

  closed() {
    this.control.abort();
    this.steps.stop();
    this.tryLater.cancel();
    clearTimeout(this.waits);
    this.ends.forEach((end) => end());
    window.removeEventListener('beforeunload', this.beforeUnload);
  }

  // leave says whether the window may close; what was typed is not thrown
  // away without a word.
  leave() {
    if (this.busy) return false;
    if (!this.form.dirty()) return true;
    this.alert('leave', h('div', { class: 'banner banner-warn', role: 'alert' }, icon('alert'), h('div', {}, h('p', {}, t('leave.words')), h('div', { class: 'tools' },
      button(t('leave.stay'), { kind: 'primary small', onclick: () => this.alert('leave') }), button(t('leave.discard'), { kind: 'small danger', onclick: () => this.layer.close() })))));
    this.alerts.querySelector('button')?.focus();
    return false;
  }

  // alert puts a banner above the form, one of each kind, or takes it away.
  // It returns whether it is a new one: one that says the same stays as it is,
  // with what was chosen in it.
  alert(kind, node) {
    const old = this.alerts.querySelector(`[data-kind="${kind}"]`);
    if (node && old?.textContent === node.textContent) return false;
    old?.remove();
    if (!node) return false;
    node.dataset.kind = kind;
    this.alerts.prepend(node);
    node.scrollIntoView({ block: 'nearest' });
    return true;
  }

  siteField() {
    const names = [...state.sites.keys()];
    const select = h('select', {
      id: id('site'),
      onchange: () => {
        this.site = select.value;
        this.form.setSite(this.site);
      },
    }, names.map((one) => h('option', { value: one }, one)));
    select.value = this.site;
    return names.length > 1 ? h('div', { class: 'field' }, h('label', { for: select.id }, t('field.site')), select, h('p', { class: 'hint' }, t('hint.site'))) : null;
  }

  edited() {
    this.good = false;
    this.asked += 1;
    this.control.abort();
    this.alert('leave');
    this.showPeer();
    this.showWaiting();
    this.tryLater();
  }

  ready() { return this.form.name() !== '' && this.form.server() !== ''; }

  canPair() {
    const peer = this.peer;
    if (!siteOf(peer) || external(peer) || peer === this.site) return false;
    const other = wantedLink(peer, this.site);
    return !other || other.enable !== this.form.enabled();
  }

  otherHalf() { return siteOf(this.peer) && wantedLink(this.peer, this.site); }

  flags(dry) {
    const pair = (this.canPair() && this.pairBox.checked) || this.form.peerTopics() !== undefined;
    return { dry_run: dry, pair, override: this.override };
  }

  send(dry, options) {
    const body = this.form.body();
    const theirs = this.form.peerTopics();
    if (theirs) body.peer_topics = theirs;
    if (this.isNew) return api.createLink(this.site, body, this.flags(dry), options);
    return api.updateLink(this.site, this.base.name, body, this.flags(dry), { ...options, ifMatch: this.revision });
  }

  // try has the server judge what is in the form.
  async try() {
    clearTimeout(this.waits);
    this.waits = 0;
    if (!this.ready()) {
      this.showWaiting();
      return false;
    }
    this.asked += 1;
    const now = this.asked;
    this.control.abort();
    this.control = new AbortController();
    text(this.said, t('check.running'));
    try {
      const { data } = await this.send(true, { signal: this.control.signal });
      if (now !== this.asked) return false;
      this.good = true;
      this.alert('away');
      this.showGood(data);
    } catch (err) {
      if (err.name === 'AbortError' || now !== this.asked) return false;
      await this.failed(err, true);
    }
    return this.good;
  }

  async write() {
    if (this.busy) return;
    if (!this.ready()) {
      this.requireFields();
      return;
    }
    this.tryLater.cancel();
    this.setBusy(true);
    try {
      if (!this.good && !(await this.try())) {
        this.layer.node.querySelector('.conflict, [aria-invalid="true"]')?.focus();
        return;
      }
      text(this.said, t('save.running'));
      const answer = await this.send(false, {});
      const words = t(this.isNew ? 'create.done' : 'save.done', { site: this.site, peer: this.peer });
      this.layer.close();
      saved(answer, words);
    } catch (err) {
      await this.failed(err, false);
    } finally {
      this.setBusy(false);
    }
  }

  setBusy(busy) {
    this.busy = busy;
    attr(this.save, 'aria-busy', busy ? 'true' : null);
    attr(this.save, 'disabled', busy ? '' : null);
  }

  requireFields() {
    const list = ['name', 'server'].filter((one) => this.form[one]() === '').map((field) => ({ field, severity: 'error', message: t('problem.required') }));
    this.form.problems(list);
    this.form.focusField(list[0].field);
  }

  async failed(err, dry) {
    this.good = false;
    if (err.away || err.status === 503) {
      this.away(err, dry);
      return;
    }
    this.alert('away');
    if (err.status === 412) await this.stale(err);
    else if (err.status === 409) this.refused(err);
    else if (err.status === 404) this.gone(err);
    else if (err.findings.length) this.showBad(err.findings);
    else if (err.status === 400) this.showForm(err);
    else this.refused(err);
  }

  away(err, dry) {
    this.alert('away', h('div', { class: 'banner banner-warn', role: 'alert' }, icon('alert'), h('div', {}, h('p', {}, err.away ? t(dry ? 'check.away' : 'save.away') : err.message),
      button(t('again'), { kind: 'small', onclick: () => this.try() }, 'reset'))));
    text(this.said, t('away'));
    this.waits = setTimeout(() => this.try(), 3000);
  }

  // stale follows the source to its present revision. Only what was changed
  // in this very link is put before the user.
  async stale(err) {
    if (err.current === null) {
      this.gone(err);
      return;
    }
    if (!differences(this.base, err.current).length) {
      this.rebase(err.current, err.revision, new Set());
      return;
    }
    const node = conflict({
      before: this.base, now: err.current, revision: err.revision, mine: (path) => this.form.mine(path),
      done: (paths) => {
        this.alert('conflict');
        this.rebase(err.current, err.revision, paths);
      },
    });
    if (this.alert('conflict', node)) node.focus();
    text(this.said, t('conflict.title'));
    put(this.preview);
  }

  rebase(link, revision, paths) {
    this.base = link;
    this.revision = revision;
    this.form.rebase(link, paths);
    this.try();
  }

  gone(err) {
    this.alert('gone', h('div', { class: 'banner banner-bad', role: 'alert' }, icon('alert'), h('div', {}, h('p', {}, this.isNew ? err.message : t('gone.words')),
      this.isNew ? null : button(t('gone.create'), {
        kind: 'small',
        onclick: () => {
          this.isNew = true;
          this.alert('gone');
          put(this.save, h('span', {}, t('create')));
          this.try();
        },
      }, 'plus'))));
    text(this.said, '');
  }

  refused(err) {
    const expression = err.status === 409 && err.code === 'CONFLICT';
    this.alert('refused', h('div', { class: 'banner banner-bad', role: 'alert' }, icon('alert'), h('div', {}, h('p', {}, err.message), places(err),
      expression && !this.override ? button(t('override'), {
        kind: 'small',
        onclick: () => {
          this.override = true;
          this.alert('refused');
          this.try();
        },
      }) : null)));
    text(this.said, t('check.refused'));
    put(this.preview);
  }

  // Showing what the server says.

  sort(findings) {
    return findings.map((f) => {
      const field = fieldOf(f, this.site, this.peer, this.form.known);
      const use = useOf(f, field);
      return { field, severity: f.severity, message: f.message, finding: f, use: use && (() => this.form.use(field, use)), useWords: use && t('use', { value: use }) };
    });
  }

  showGood(data) {
    this.preview.classList.remove('old');
    this.alert('refused');
    this.alert('gone');
    const moved = this.form.theirsMoved();
    const noted = moved ? [{ field: 'peer_topics', severity: 'warning', message: t('conflict.theirsMoved', { topics: moved.join(', ') || t('topics.none') }) }] : [];
    const rest = this.form.problems([...this.sort(data.findings), ...noted]);
    const bad = data.findings.filter((f) => f.severity === 'error').length;
    const changed = data.diff !== '';
    text(this.said, !changed ? t('check.same') : bad ? tn('check.errors', bad) : t('check.good'));
    put(this.preview,
      data.flows ? [h('h3', {}, t('flows')), flows(data.flows)] : null,
      rest.length ? [h('h3', {}, t('nav.findings')), rest.map((one) => finding(one.finding))] : null,
      h('h3', {}, t('diff')), diff(data.diff));
  }

  showBad(findings) {
    this.preview.classList.remove('old');
    this.alert('refused');
    const rest = this.form.problems(this.sort(findings));
    const errors = findings.filter((f) => f.severity === 'error').length;
    text(this.said, tn('check.bad', errors));
    put(this.preview, h('p', { class: 'banner banner-bad' }, icon('cross'), tn('check.bad', errors)),
      rest.map((one) => finding(one.finding)));
  }

  showForm(err) {
    this.preview.classList.remove('old');
    this.alert('refused');
    const one = formProblem(err);
    const field = this.form.known.has(one.field) ? one.field : '';
    const rest = this.form.problems([{ ...one, field, severity: 'error' }]);
    text(this.said, tn('check.bad', 1));
    put(this.preview, rest.map((other) => h('p', { class: 'banner banner-bad' }, icon('cross'), other.message)));
  }

  showWaiting() {
    if (this.ready()) {
      // What is shown is of the form as it was.
      this.preview.classList.add('old');
      text(this.said, t('check.running'));
      return;
    }
    this.preview.classList.remove('old');
    this.form.problems([]);
    text(this.said, '');
    put(this.preview, h('p', { class: 'hint' }, t('preview.words')));
  }

  // The other half.

  showPeer() {
    const peer = this.peer;
    const other = siteOf(peer) && wantedLink(peer, this.site);
    const shape = `${this.site}\n${peer}\n${!!siteOf(peer)}\n${!!other}\n${this.canPair()}\n${this.form.enabled()}\n${state.topology?.revision}`;
    if (shape === this.peerShape) return;
    this.peerShape = shape;
    this.peerState = null;
    if (!peer || peer === this.site) {
      put(this.peerPart);
      return;
    }
    const box = this.canPair() ? h('label', { class: 'check', for: this.pairBox.id }, this.pairBox, t(other ? 'pair.enableToo' : 'pair.write', { peer })) : null;
    put(this.peerPart, h('section', { class: 'card other-half' },
      h('h3', {}, t('pair.title'), ' ', h('span', { class: 'pair-sites' }, peer, ' ', icon('right', t('to')), ' ', this.site)),
      this.peerWords(peer, other), box));
    this.showPeerState();
  }

  peerWords(peer, other) {
    if (!siteOf(peer)) return h('p', { class: 'hint' }, t('pair.unknown', { peer }));
    if (external(peer)) return h('p', { class: 'hint' }, t('pair.external', { peer }));
    if (!other) return h('p', { class: 'hint' }, t('pair.missing', { peer, site: this.site }), runsHere(peer) ? null : [' ', t('pair.elsewhere', { peer })]);
    this.peerState = stateView();
    return [this.peerState.node, h('dl', { class: 'facts-list' },
      h('dt', {}, t('field.server')), h('dd', {}, h('code', {}, other.server)),
      h('dt', {}, t('pair.wants')), h('dd', {}, topics(other.topics, 6)))];
  }

  showPeerState() { this.peerState?.update(half(this.peer, this.site)); }

  // moved is called when the source has changed: an edit of a link is tried
  // again, so that a conflict shows at once and not when one saves.
  moved() {
    this.form.showTheirs();
    this.showPeer();
    if (!this.busy && this.ready() && !this.alerts.querySelector('[data-kind="conflict"]')) this.try();
  }

  probe() {
    if (!this.ready()) {
      this.requireFields();
      return;
    }
    this.steps.node.scrollIntoView({ block: 'nearest' });
    this.steps.run(async (options) => {
      const answer = await api.probeLink(this.site, this.form.body(), options);
      queueMicrotask(() => requestAnimationFrame(() => this.steps.node.scrollIntoView({ block: 'nearest' })));
      return answer;
    }, siteOf(this.peer) && !this.otherHalf() ? t('probe.pair') : '');
  }
}
