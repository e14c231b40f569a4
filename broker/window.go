package broker

import (
	"sync"
	"sync/atomic"
)

// A window holds the packet identifiers of the deliveries with QoS above 0
// that a client has not acknowledged, and lets in no more than the client's
// Receive Maximum (MQTT 5.0 §4.9). It keeps its own account, because the
// engine's map loses entries when a client uses the same identifier for a
// publish of its own.
type window struct {
	max   int
	freed chan struct{}
	stuck atomic.Bool // somebody waits for an acknowledgement

	mu  sync.Mutex
	out map[uint16]struct{}
}

func newWindow(max uint16) *window {
	return &window{max: int(max), freed: make(chan struct{}, 1), out: make(map[uint16]struct{})}
}

// acquire waits for a place. It gives up when done is closed; then what
// follows is written to a closed connection.
func (w *window) acquire(id uint16, done <-chan struct{}) {
	if w.try(id) {
		return
	}
	w.stuck.Store(true)
	defer w.stuck.Store(false)
	for !w.try(id) {
		select {
		case <-w.freed:
		case <-done:
			return
		}
	}
}

// open reports whether there is a place. Who asks must be the only one to take
// places.
func (w *window) open() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.out) < w.max
}

func (w *window) try(id uint16) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, again := w.out[id]; !again && len(w.out) >= w.max {
		return false
	}
	w.out[id] = struct{}{}
	if len(w.out) < w.max {
		w.signal() // there may be a second waiter
	}
	return true
}

// take books id without waiting.
func (w *window) take(id uint16) {
	w.mu.Lock()
	w.out[id] = struct{}{}
	w.mu.Unlock()
}

func (w *window) release(id uint16) {
	w.mu.Lock()
	delete(w.out, id)
	w.mu.Unlock()
	w.signal()
}

func (w *window) signal() {
	select {
	case w.freed <- struct{}{}:
	default:
	}
}
