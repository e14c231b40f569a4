// Line charts, drawn as SVG. They grow with the page and are redrawn from
// their numbers once a frame at the most.

import { h, s, text, attr } from './dom.js';
import { t, rate, number, time } from './i18n.js';

const HEIGHT = 120;
const LEFT = 44;
const BOTTOM = 18;

// nice is a round number that is not less; half of it is one too.
function nice(most, whole) {
  const power = 10 ** Math.floor(Math.log10(most));
  const step = (whole && power === 1 ? [2, 4, 6, 10] : [1, 2, 4, 6, 10]).find((one) => most <= one * power);
  return step * power;
}

// chart shows series [{name, label}] over the same times. whole: the numbers
// are counts.
export function chart(title, lines, { whole = false } = {}) {
  const paths = lines.map((_, i) => s('path', { class: `chart-line line-${i}` }));
  const fillPath = s('path', { class: 'chart-fill' });
  const grid = [0, 0.5, 1].map(() => s('line', { class: 'chart-grid' }));
  const labels = [0, 0.5, 1].map(() => s('text', { class: 'chart-label', 'text-anchor': 'end' }));
  const from = s('text', { class: 'chart-label' });
  const to = s('text', { class: 'chart-label', 'text-anchor': 'end' });
  const cursor = s('line', { class: 'chart-cursor', visibility: 'hidden' });
  const svg = s('svg', { class: 'chart-svg', height: HEIGHT, role: 'img', 'aria-label': title }, grid, labels, from, to, fillPath, paths, cursor);
  const values = lines.map(() => h('b', {}));
  const at = h('span', { class: 'chart-at quiet' });
  const node = h('figure', { class: 'chart' },
    h('figcaption', {}, h('span', { class: 'chart-title' }, title), at,
      h('span', { class: 'legend' }, lines.map((line, i) => h('span', { class: 'legend-one' }, s('svg', { width: 16, height: 8, viewBox: '0 0 16 8', 'aria-hidden': 'true' }, s('path', { class: `chart-line line-${i}`, d: 'M0 4h16' })), line.label, ' ', values[i])))),
    svg);
  let data = { times: [], columns: lines.map(() => []) };
  let hover = -1;
  const show = whole ? (n) => number(Math.round(n)) : rate;

  function draw() {
    const width = Math.max(svg.clientWidth, 160);
    const { times, columns } = data;
    const most = nice(columns.reduce((top, column) => column.reduce((x, y) => Math.max(x, y), top), whole ? 4 : 1), whole);
    const plot = { w: width - LEFT - 8, h: HEIGHT - BOTTOM - 8 };
    const span = Math.max(times.length ? times.at(-1) - times[0] : 0, 60000);
    const begin = (times.at(-1) ?? 0) - span;
    const x = (i) => LEFT + ((times[i] - begin) / span) * plot.w;
    const y = (v) => 8 + plot.h - (v / most) * plot.h;
    attr(svg, 'viewBox', `0 0 ${width} ${HEIGHT}`);
    [0, 0.5, 1].forEach((part, i) => {
      const line = y(most * part).toFixed(1);
      for (const [name, value] of [['x1', LEFT], ['x2', width - 8], ['y1', line], ['y2', line]]) attr(grid[i], name, value);
      attr(labels[i], 'x', LEFT - 6);
      attr(labels[i], 'y', Number(line) + 4);
      text(labels[i], show(most * part));
    });
    paths.forEach((path, k) => attr(path, 'd', times.map((_, i) => `${i ? 'L' : 'M'}${x(i).toFixed(1)} ${y(columns[k][i]).toFixed(1)}`).join('')));
    const under = times.length > 1 ? `${paths[0].getAttribute('d')}L${x(times.length - 1).toFixed(1)} ${y(0)}L${x(0).toFixed(1)} ${y(0)}Z` : '';
    attr(fillPath, 'd', under);
    attr(from, 'x', LEFT);
    attr(to, 'x', width - 8);
    attr(from, 'y', HEIGHT - 3);
    attr(to, 'y', HEIGHT - 3);
    text(from, times.length ? time(begin) : '');
    text(to, times.length ? time(times.at(-1)) : t('chart.waiting'));
    const i = hover < 0 ? times.length - 1 : Math.min(hover, times.length - 1);
    attr(cursor, 'visibility', hover < 0 || i < 0 ? 'hidden' : 'visible');
    if (i >= 0) {
      for (const [name, value] of [['x1', x(i)], ['x2', x(i)], ['y1', 8], ['y2', 8 + plot.h]]) attr(cursor, name, value.toFixed(1));
    }
    values.forEach((value, k) => text(value, i < 0 ? '–' : show(columns[k][i])));
    text(at, hover < 0 || i < 0 ? '' : time(times[i]));
  }

  svg.addEventListener('pointermove', (e) => {
    const { times } = data;
    if (!times.length) return;
    const box = svg.getBoundingClientRect();
    const span = Math.max(times.at(-1) - times[0], 60000);
    const moment = times.at(-1) - span + ((e.clientX - box.left - LEFT) / (box.width - LEFT - 8)) * span;
    hover = times.findIndex((one) => one >= moment);
    if (hover < 0) hover = times.length - 1;
    draw();
  });
  new ResizeObserver(draw).observe(svg);
  svg.addEventListener('pointerleave', () => {
    hover = -1;
    draw();
  });
  return {
    node,
    set(times, columns) {
      data = { times, columns };
      draw();
    },
  };
}
