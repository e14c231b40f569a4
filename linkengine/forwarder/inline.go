package forwarder

import "time"

// What a publisher has queued in a lane is sent by the publisher itself as soon
// as it has no more, and what the window held up by the reader of the
// acknowledgements: to wake the lane's goroutine for each message would cost
// more than the message. Neither ever waits for the peer: what its socket does
// not take at once is left to the lane's goroutine. The queue stays the one
// place where entries get their order, and one goroutine at a time takes them
// out, which is the one that has made the pump busy.

const (
	inlineCount  = 256 // entries; when so many are queued, the lane's goroutine begins
	inlineRounds = 4   // batches that others than the lane's goroutine send in a row
)

// post lets others send through the pump.
func (p *pump) post() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pump = p
}

// retire ends that, and returns when nobody does any more.
func (p *pump) retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pump, p.ending = nil, false
	for p.busy && p.inline {
		p.free.Wait()
	}
}

// finishing has the lane's goroutine told of acknowledgements.
func (p *pump) finishing() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ending = true
}

// Flush sends what is queued as far as that needs no waiting, and tells the
// lane's goroutine of the rest.
func (l *lane) Flush() {
	for range inlineRounds {
		p := l.borrow(time.Now())
		if p == nil || !p.send() {
			return
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.queue.len() > 0 {
		l.signal()
	}
}

// borrow returns the pump with a batch to be sent, or nil if there is nothing
// to send, or that is for others to do.
func (l *lane) borrow(now time.Time) *pump {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pump
	switch {
	case p == nil || p.busy || p.left || l.queue.len() == 0:
		return nil // whoever is at work looks again when it is done
	case l.parked.len() > 0 || !p.conn.CanTry():
		l.signal()
		return nil
	case !p.take(now):
		return nil
	}
	p.busy, p.inline = true, true
	return p
}

// send sends the batch, and reports whether all of it has gone.
func (p *pump) send() bool {
	p.encode()
	taken, whole := true, true
	var err error
	if len(p.parts) > 0 {
		taken, whole, err = p.conn.TryWrite(p.parts)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inline = false
	if err == nil && whole {
		p.written()
		return true
	}
	if taken {
		p.parts = p.parts[:0] // the connection has what is left of it
	}
	p.busy, p.left = false, true
	p.free.Broadcast()
	p.signal()
	return false
}
