// Trying a link from its own end, step by step.

import { h, icon, put } from './dom.js';
import { t, number } from './i18n.js';

export function probeSteps() {
  const node = h('div', { class: 'probe', 'aria-live': 'polite' });
  let control = null;
  return {
    node,
    // run shows what call, which is given a signal, answers.
    async run(call, hint = '') {
      control?.abort();
      control = new AbortController();
      const own = control;
      put(node, h('p', { class: 'quiet' }, t('probe.running')));
      try {
        const { data } = await call({ signal: own.signal });
        put(node,
          h('p', { class: data.ok ? 'good-words' : 'bad-words' }, icon(data.ok ? 'check' : 'cross'), ' ', t(data.ok ? 'probe.ok' : 'probe.failed')),
          h('ol', { class: 'steps' }, data.steps.map((step) => h('li', { 'data-ok': String(step.ok) },
            icon(step.ok ? 'check' : 'cross', t(step.ok ? 'truth.True' : 'truth.False')),
            h('b', {}, t(`probe.${step.name}`)), h('span', { class: 'quiet number' }, `${number(Math.round(step.ms * 10) / 10)} ms`),
            h('span', { class: 'step-words' }, step.detail)))),
          !data.ok && hint && h('p', { class: 'banner banner-warn' }, icon('info'), hint));
      } catch (err) {
        if (err.name === 'AbortError') return;
        put(node, h('p', { class: 'bad-words' }, icon('alert'), ' ', err.away ? t('away') : err.message));
      }
    },
    stop: () => control?.abort(),
  };
}
