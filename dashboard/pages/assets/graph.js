// The picture that the server draws, brought to life: what is pointed at is
// told beside it, and rates stand at the edges. It comes as a document of its
// own, and only elements and attributes that draw are taken over from it.

import { s, text, attr } from './dom.js';
import * as api from './api.js';
import { state, key } from './store.js';
import { rate, t } from './i18n.js';
import { half } from './model.js';

const elements = new Set(['svg', 'g', 'defs', 'path', 'line', 'polyline', 'polygon', 'rect', 'circle', 'ellipse', 'text', 'tspan', 'title', 'desc', 'marker']);
const attributes = new Set([
  'class', 'id', 'lang', 'role', 'tabindex', 'viewBox', 'preserveAspectRatio', 'transform', 'd', 'points',
  'x', 'y', 'x1', 'y1', 'x2', 'y2', 'cx', 'cy', 'r', 'rx', 'ry', 'dx', 'dy', 'width', 'height',
  'color', 'opacity', 'fill', 'fill-opacity', 'stroke', 'stroke-width', 'stroke-opacity', 'stroke-dasharray', 'stroke-linecap', 'stroke-linejoin',
  'text-anchor', 'dominant-baseline', 'font-size', 'font-family', 'font-weight', 'unicode-bidi', 'pointer-events',
  'marker-start', 'marker-mid', 'marker-end', 'markerWidth', 'markerHeight', 'markerUnits', 'refX', 'refY', 'orient',
]);
const drawn = (name) => attributes.has(name) || /^(data|aria)-[\w-]+$/.test(name);

// copied is a node of the picture, made anew out of what may be in one.
function copied(node) {
  if (node.nodeType === Node.TEXT_NODE) return document.createTextNode(node.nodeValue);
  if (node.nodeType !== Node.ELEMENT_NODE || !elements.has(node.localName)) return null;
  const made = s(node.localName, {});
  for (const { name, value } of node.attributes) {
    const local = /url\(/i.test(value) ? /^url\(#[\w-]+\)$/.test(value.trim()) : true;
    if (drawn(name) && local) made.setAttribute(name, value);
  }
  for (const child of node.childNodes) {
    const one = copied(child);
    if (one) made.append(one);
  }
  return made;
}

// readGraph asks for the picture; panel is told what is pointed at.
export async function readGraph(language, signal, panel) {
  const { data } = await api.get(`/graph.svg?lang=${language}`, { signal, headers: { Accept: 'image/svg+xml' } });
  // The page's policy lets no inline style in; pages.css has the colours.
  const parsed = new DOMParser().parseFromString(data.replace(/<style>[^<]*<\/style>/g, ''), 'image/svg+xml');
  if (parsed.documentElement.localName !== 'svg') throw new Error(t('topology.noGraph'));
  const svg = copied(parsed.documentElement);
  svg.classList.add('clink-graph');
  // A small fleet is drawn larger, up to what still looks well.
  const width = Number(svg.getAttribute('width')) || 900;
  const natural = Math.max(width, Math.min(width * 1.6, 900));
  attr(svg, 'width', natural);
  attr(svg, 'height', null);
  const edges = [...svg.querySelectorAll('g.link')].map((node) => edge(node, panel));
  for (const node of svg.querySelectorAll('g.site')) {
    const name = node.dataset.site;
    attr(node, 'tabindex', 0);
    attr(node, 'role', 'link');
    attr(node, 'aria-label', [...node.querySelectorAll('text')].map((one) => one.textContent).join(' ') || name);
    const go = () => { location.hash = `#/links/${encodeURIComponent(name)}`; };
    listen(node, () => panel.site(name), go);
  }
  return {
    node: svg,
    // zoom makes the picture larger or smaller; 0 fits it into its place.
    zoom(by) {
      svg.classList.toggle('zoomed', by > 0);
      attr(svg, 'width', by > 0 ? Math.min(Math.max(Math.round(svg.getBoundingClientRect().width * by), 200), 12000) : natural);
    },
    update: () => edges.forEach((one) => one.update()),
    // states are the words for all halves: as long as they stay, so does the
    // picture.
    states: () => edges.map((one) => one.state()).join(),
    // behind: messages move, or stopped, where the picture has it otherwise.
    behind: () => edges.some((one) => one.behind()),
    focused() {
      const at = document.activeElement?.closest?.('g.site, g.link');
      return at && svg.contains(at) ? { ...at.dataset } : null;
    },
    focus({ site, a, b }) {
      const of = site ? `g.site[data-site="${CSS.escape(site)}"]` : `g.link[data-a="${CSS.escape(a)}"][data-b="${CSS.escape(b)}"]`;
      svg.querySelector(of)?.focus({ preventScroll: true });
    },
  };
}

function listen(node, show, go) {
  node.addEventListener('pointerenter', show);
  node.addEventListener('focus', show);
  node.addEventListener('click', go);
  node.addEventListener('keydown', (e) => {
    if (e.key !== 'Enter' && e.key !== ' ') return;
    e.preventDefault();
    go();
  });
}

function edge(node, panel) {
  const { a, b } = node.dataset;
  attr(node, 'tabindex', 0);
  attr(node, 'role', 'link');
  attr(node, 'aria-label', t('topology.pair', { a, b }));
  listen(node, () => panel.pair(a, b), () => { location.hash = `#/link/${encodeURIComponent(a)}/${encodeURIComponent(b)}`; });
  const label = s('text', { class: 'edge-rate', 'text-anchor': 'middle', visibility: 'hidden', 'aria-hidden': 'true' });
  node.append(label);
  let placed = false;
  return {
    state: () => `${half(a, b).word} ${half(b, a).word}`,
    behind() {
      const flowing = [half(a, b).word, half(b, a).word].includes('flowing');
      return node.dataset.state === (flowing ? 'replicating' : 'flowing');
    },
    update() {
      const near = state.live.get(key(a, b));
      const far = state.live.get(key(b, a));
      const sum = near ? near.rate_in + near.rate_out : far ? far.rate_in + far.rate_out : 0;
      attr(label, 'visibility', sum > 0 ? 'visible' : 'hidden');
      node.classList.toggle('moving', sum > 0);
      if (!(sum > 0)) return;
      if (!placed) placed = middle(node, label);
      text(label, `${rate(sum)}/s`);
    },
  };
}

// middle puts a label beside the middle of an edge.
function middle(node, label) {
  const line = node.querySelector('path, line, polyline');
  if (!line?.getTotalLength) return false;
  const length = line.getTotalLength();
  const at = line.getPointAtLength(length * 0.68);
  attr(label, 'x', at.x.toFixed(1));
  attr(label, 'y', (at.y - 5).toFixed(1));
  return true;
}
