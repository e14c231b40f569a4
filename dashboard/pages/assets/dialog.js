// Windows above the page, and short notices. <dialog> keeps the focus inside,
// and gives it back when it closes.

import { h, button, id, put, likeness, refocus } from './dom.js';
import { t } from './i18n.js';

// modal opens a dialog. leave is asked before Escape or the cross close it.
export function modal({ title, kind = '', body, footer, leave = () => true, closed = () => {}, closable = true }) {
  const heading = id('dialog');
  const opener = document.activeElement;
  const like = opener && likeness(opener);
  const node = h('dialog', { class: `dialog ${kind}`, 'aria-labelledby': heading },
    h('div', { class: 'dialog-frame' },
      h('header', { class: 'dialog-head' },
        h('h2', { id: heading }, title),
        closable && button('', { kind: 'ghost', onclick: () => { if (leave()) close(); } }, 'close', t('close'))),
      h('div', { class: 'dialog-body', tabindex: -1 }, body),
      footer && h('footer', { class: 'dialog-foot' }, footer)));
  function close() {
    node.close();
    node.remove();
    if (opener && !opener.isConnected) refocus([...document.querySelectorAll('dialog[open] .dialog-body, main')].at(-1) ?? document.body, like);
    closed();
  }
  node.addEventListener('cancel', (e) => {
    if (e.target !== node) return;
    e.preventDefault();
    if (closable && leave()) close();
  });
  document.body.append(node);
  node.showModal();
  return { node, close, retitle: (words) => put(node.querySelector(`#${heading}`), words) };
}

// notices are told once, politely, and go away by themselves unless they are
// about something that failed.
export function notice(words, { level = 'ok', more } = {}) {
  let place = document.getElementById('notices');
  if (!place) {
    place = h('div', { id: 'notices', role: 'status', 'aria-live': 'polite', popover: 'manual' });
    document.body.append(place);
  }
  const one = h('div', { class: `notice notice-${level}` },
    h('span', { class: 'notice-words' }, words), more,
    button('', { kind: 'ghost', onclick: () => gone() }, 'close', t('close')));
  const gone = () => {
    one.remove();
    if (!place.childElementCount && place.matches(':popover-open')) place.hidePopover();
  };
  place.append(one);
  // Shown anew, it is above whatever dialog is open.
  if (place.matches(':popover-open')) place.hidePopover();
  place.showPopover();
  if (level === 'ok') setTimeout(gone, 8000);
}

// menu makes a button that opens a small window beside itself.
export function menu(opener, content) {
  const name = id('menu');
  const panel = h('div', { id: name, class: 'menu', popover: 'auto' });
  opener.setAttribute('aria-expanded', 'false');
  opener.setAttribute('aria-controls', name);
  opener.addEventListener('click', () => panel.togglePopover());
  panel.addEventListener('beforetoggle', (e) => {
    if (e.newState !== 'open') return;
    put(panel, content(() => panel.hidePopover()));
    const box = opener.getBoundingClientRect();
    panel.style.top = `${box.bottom + 4}px`;
    const room = document.documentElement.clientWidth;
    panel.style.right = `${Math.min(Math.max(8, room - box.right), Math.max(8, room - 8 - Math.min(440, room - 16)))}px`;
  });
  panel.addEventListener('toggle', (e) => {
    opener.setAttribute('aria-expanded', String(e.newState === 'open'));
  });
  return [opener, panel];
}
