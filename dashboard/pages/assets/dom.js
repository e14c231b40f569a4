// Elements are made here and nowhere else, as nodes: no text that comes from
// outside is ever parsed as markup.

const SVG = 'http://www.w3.org/2000/svg';

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'class') node.setAttribute('class', value);
    else if (name === 'value' && 'value' in node) node.value = value;
    else if (name === 'checked') node.checked = true;
    else node.setAttribute(name, value === true ? '' : String(value));
  }
  append(node, children);
  return node;
}

function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false || child === '') continue;
    node.append(child instanceof Node ? child : String(child));
  }
}

// h makes an HTML element; a prop "onclick" listens, any other is an attribute.
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

// s makes an SVG element.
export function s(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

// likeness is what a control is called and where it leads: by it, it is found
// again when what is around it was made anew.
export function likeness(el) {
  return [el.tagName, el.getAttribute('aria-label') ?? el.labels?.[0]?.textContent ?? el.textContent, el.getAttribute('href')].join('\n');
}

// refocus gives the focus to the control in a node that is like one that is
// gone, or else to the window or page that the node is in, so that somebody who
// goes by the keyboard stays where they were.
export function refocus(node, like) {
  const same = [...node.querySelectorAll('a[href], button, input, select, textarea, summary')].find((el) => likeness(el) === like);
  (same ?? node.closest('.dialog-body, main'))?.focus({ preventScroll: true });
}

// put replaces what is in a node, and keeps the focus there.
export function put(node, ...children) {
  const had = document.activeElement;
  const like = had && had !== node && node.contains(had) ? likeness(had) : null;
  node.replaceChildren();
  append(node, children);
  if (like !== null && !had.isConnected) refocus(node, like);
  return node;
}

// text changes a node's text only where it differs, so that nothing is drawn
// or read aloud twice.
export function text(node, value) {
  const next = String(value);
  if (node.textContent !== next) node.textContent = next;
}

// attr sets, or with null takes away, an attribute where it differs.
export function attr(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

let ids = 0;
export function id(prefix) {
  ids += 1;
  return `${prefix}-${ids}`;
}

// The icons are strokes on a 16 by 16 grid.
const icons = {
  topology: 'M3.5 5.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM12.5 5.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM8 14.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM5.5 3.5h5M4.5 5.3l2.6 5.2M11.5 5.3l-2.6 5.2',
  link: 'M6.5 9.5l3-3M7.5 4.5l1.2-1.2a2.8 2.8 0 0 1 4 4L11.5 8.5M8.5 11.5l-1.2 1.2a2.8 2.8 0 0 1-4-4L4.5 7.5',
  history: 'M2 8a6 6 0 1 0 2-4.5M2 2v3h3M8 5v3.2l2.2 1.3',
  flag: 'M3.5 14.5v-13M3.5 2.5h8.5l-2 3 2 3H3.5',
  plus: 'M8 3v10M3 8h10',
  minus: 'M3 8h10',
  close: 'M3.5 3.5l9 9M12.5 3.5l-9 9',
  gear: 'M2 4.5h6M12 4.5h2M2 11.5h2M8 11.5h6M10 6.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM6 13.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4z',
  trash: 'M2.5 4h11M6 4V2.5h4V4M4 4l.6 9.5h6.8L12 4M6.7 6.5v4.5M9.3 6.5v4.5',
  eye: 'M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8zM8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4z',
  'eye-off': 'M3 3l10 10M6.3 3.8A6 6 0 0 1 8 3.5c4 0 6.5 4.5 6.5 4.5a11 11 0 0 1-1.9 2.4M4 5.2A10.6 10.6 0 0 0 1.5 8S4 12.5 8 12.5a6 6 0 0 0 2.6-.6',
  check: 'M3 8.5l3.5 3.5L13 4.5',
  cross: 'M4 4l8 8M12 4l-8 8',
  alert: 'M8 2L1.5 13.5h13zM8 6.5v3M8 11.4v.2',
  info: 'M8 14.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM8 7.5v4M8 4.8v.2',
  pause: 'M5.5 3v10M10.5 3v10',
  play: 'M4.5 2.5v11l8.5-5.5z',
  copy: 'M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3',
  search: 'M7 12a5 5 0 1 0 0-10 5 5 0 0 0 0 10zM10.7 10.7l3.3 3.3',
  sun: 'M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1',
  moon: 'M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7z',
  screen: 'M2 3h12v8H2zM6 14h4M8 11v3',
  out: 'M6 2.5H3v11h3M7 8h7M11 5l3 3-3 3',
  right: 'M2.5 8h11M9.5 4l4 4-4 4',
  left: 'M13.5 8h-11M6.5 4l-4 4 4 4',
  both: 'M2.5 5.5h11M10.5 2.5l3 3M13.5 10.5h-11M5.5 13.5l-3-3',
  down: 'M4 6l4 4 4-4',
  reset: 'M13.5 8a5.5 5.5 0 1 1-1.6-3.9M13.5 1.5v3.5H10',
  plug: 'M5.5 1.5v4M10.5 1.5v4M3.5 5.5h9v2a4.5 4.5 0 0 1-9 0zM8 12v2.5',
  paste: 'M5.5 2.5h-2v12h9v-12h-2M5.5 1.5h5v2.5h-5z',
  globe: 'M8 14.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM1.5 8h13M8 1.5c4 4.5 4 8.5 0 13M8 1.5c-4 4.5-4 8.5 0 13',
  file: 'M3.5 1.5h6l3 3v10h-9zM9.5 1.5v3h3',
  table: 'M2 3h12v10H2zM2 6.5h12M2 10h12M6.5 6.5v6.5',
  more: 'M3 8h.1M8 8h.1M13 8h.1',
};

// icon is a drawing beside words, or with a label one instead of words.
export function icon(name, label) {
  const node = s('svg', { class: `icon icon-${name}`, viewBox: '0 0 16 16', width: 16, height: 16 },
    s('path', { d: icons[name] }));
  if (label) fill(node, { role: 'img', 'aria-label': label }, []);
  else fill(node, { 'aria-hidden': 'true' }, []);
  return node;
}

// button makes a button with an icon, words, or both. Without words, label is
// its name and its tooltip.
export function button(words, props = {}, iconName, label) {
  const { kind = '', ...rest } = props;
  return h('button', {
    type: 'button', class: `button ${kind} ${words ? '' : 'square'}`.trim(),
    'aria-label': words ? undefined : label, title: label, ...rest,
  }, iconName && icon(iconName), words && h('span', {}, words));
}

// disable turns a control off and says why, to the eye and to a reader. It
// stays reachable by keyboard, so that the reason can be found.
export function disable(control, why) {
  if (!why) {
    attr(control, 'aria-disabled', null);
    return control;
  }
  control.setAttribute('aria-disabled', 'true');
  control.setAttribute('title', why);
  control.setAttribute('aria-description', why);
  const stop = (e) => {
    if (control.getAttribute('aria-disabled') !== 'true') return;
    e.preventDefault();
    e.stopImmediatePropagation();
  };
  control.addEventListener('click', stop, true);
  control.addEventListener('keydown', (e) => { if (e.key === ' ' || e.key === 'Enter') stop(e); }, true);
  return control;
}

// frame calls f once before the next drawing, however often it is asked to.
export function frame(f) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      f();
    });
  };
}

// later calls f when it was not asked for some time.
export function later(ms, f) {
  let timer;
  const call = (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...args), ms);
  };
  call.cancel = () => clearTimeout(timer);
  return call;
}

// within calls f once, some time after it was first asked for.
export function within(ms, f) {
  let timer = 0;
  const call = () => {
    timer ||= setTimeout(() => {
      timer = 0;
      f();
    }, ms);
  };
  call.cancel = () => {
    clearTimeout(timer);
    timer = 0;
  };
  return call;
}
