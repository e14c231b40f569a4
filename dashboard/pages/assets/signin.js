// Signing in: as a page of its own, or as a layer above whatever is open when
// the session ends, so that nothing typed is lost.

import { h, button, id, icon, text, put } from './dom.js';
import { t } from './i18n.js';
import { modal } from './dialog.js';
import * as api from './api.js';
import { state } from './store.js';

const KEPT = 'clink.session';

export function keep(session) {
  state.session = { key: session.key, role: session.role };
  try {
    localStorage.setItem(KEPT, JSON.stringify(state.session));
  } catch { /* a browser that keeps nothing asks the server instead */ }
}

export function forget() {
  state.session = null;
  try {
    localStorage.removeItem(KEPT);
  } catch { /* nothing was kept */ }
}

// recall finds out whether the session that this browser had still lasts. It
// asks nothing where there was none.
export async function recall() {
  let session = null;
  try {
    session = JSON.parse(localStorage.getItem(KEPT));
  } catch { /* nothing is kept */ }
  session ??= state.session;
  if (!session) return;
  try {
    await api.call('GET', '/status', { signingIn: true });
    state.session = session;
  } catch (err) {
    if (err.status === 401) forget();
    throw err;
  }
}

// takeToken signs in with the one-time token in the page's address, and takes
// it out of there.
export async function takeToken() {
  const token = /^#token=(.+)$/.exec(location.hash)?.[1];
  if (!token) return null;
  history.replaceState(null, '', location.pathname);
  try {
    keep((await api.signIn({ token: decodeURIComponent(token) })).data);
    return null;
  } catch (err) {
    return err;
  }
}

// form is the fields and what they do; done is called when they let in.
export function form(done, problem) {
  const said = h('p', { class: 'form-error', role: 'alert' });
  const keyId = id('key');
  const secretId = id('secret');
  const name = h('input', { id: keyId, name: 'key', autocomplete: 'username', spellcheck: 'false', autocapitalize: 'none', required: true });
  const secret = h('input', { id: secretId, name: 'secret', type: 'password', autocomplete: 'current-password', required: true });
  const submit = button(t('signin.do'), { kind: 'primary wide', type: 'submit' });
  const fail = (err) => {
    put(said, icon('alert'), err.away ? t('signin.away') : err.message);
    said.hidden = false;
  };
  said.hidden = true;
  if (problem) fail(problem);
  return h('form', {
    class: 'signin-form',
    async onsubmit(e) {
      e.preventDefault();
      // "key:secret", as the file has it, may be pasted into the first field.
      let key = name.value.trim();
      let given = secret.value;
      if (!given && key.includes(':')) [key, given] = [key.slice(0, key.indexOf(':')), key.slice(key.indexOf(':') + 1)];
      if (!key || !given) {
        fail({ message: t('signin.both') });
        (key ? secret : name).focus();
        return;
      }
      submit.setAttribute('aria-busy', 'true');
      try {
        keep((await api.signIn({ key, secret: given })).data);
        done();
      } catch (err) {
        fail(err);
        secret.select();
        secret.focus();
      } finally {
        submit.removeAttribute('aria-busy');
      }
    },
    novalidate: true,
  },
  h('label', { for: keyId }, t('signin.key')), name,
  h('label', { for: secretId }, t('signin.secret')), secret,
  said, submit,
  h('p', { class: 'hint' }, t('signin.hint')));
}

let asking = null;

// askAgain puts the sign-in above everything else.
export function askAgain() {
  asking ??= new Promise((resolve, reject) => {
    let let_in = false;
    const layer = modal({
      title: t('signin.again'), kind: 'dialog-small',
      body: [h('p', {}, t('signin.againWords')), form(() => {
        let_in = true;
        layer.close();
      })],
      closed() {
        asking = null;
        if (let_in) resolve();
        else reject(new api.ApiError(401, { message: t('signin.needed') }));
      },
    });
    layer.node.querySelector('input').focus();
  });
  return asking;
}
