// Server-sent events, read with fetch: it tells why a stream is refused, which
// an EventSource keeps to itself, and takes events of any type.

const FIRST = 1000;
const LONGEST = 30000;

// follow reads a stream until stop is called, and comes again after a pause
// that doubles as long as nobody answers.
//   event(type, data, id), state('open' | 'away'), refused(status)
export function follow(path, { event, state, refused }) {
  let pause = FIRST;
  let last = '';
  let timer;
  let control = new AbortController();
  let stopped = false;

  async function run() {
    control = new AbortController();
    try {
      const headers = { Accept: 'text/event-stream' };
      if (last) headers['Last-Event-ID'] = last;
      const response = await fetch(path, { headers, signal: control.signal, cache: 'no-store' });
      if (!response.ok) {
        refused(response.status);
        throw new Error(`HTTP ${response.status}`);
      }
      state('open');
      pause = FIRST;
      await lines(response.body, parser((type, data, id) => {
        if (id) last = id;
        event(type, data, id);
      }));
    } catch {
      // Whatever the reason, the next try tells whether it still holds.
    }
    if (stopped) return;
    state('away');
    timer = setTimeout(run, pause * (0.75 + Math.random() / 2));
    pause = Math.min(pause * 2, LONGEST);
  }

  run();
  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
      control.abort();
    },
    // again tries at once, for somebody who does not want to wait.
    again() {
      pause = FIRST;
      clearTimeout(timer);
      control.abort();
      if (!stopped) timer = setTimeout(run, 50);
    },
    forget() { last = ''; },
  };
}

async function lines(body, line) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split('\n');
    rest = parts.pop();
    for (const part of parts) line(part.endsWith('\r') ? part.slice(0, -1) : part);
  }
}

function parser(event) {
  let type = '';
  let data = [];
  let id = '';
  return (line) => {
    if (line === '') {
      if (data.length) event(type || 'message', data.join('\n'), id);
      type = '';
      data = [];
      id = '';
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'event') type = value;
    else if (name === 'data') data.push(value);
    else if (name === 'id') id = value;
  };
}
