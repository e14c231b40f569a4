package loadgen

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// writeBatch is how many bytes are gathered before they are written.
const writeBatch = 32 << 10

// A publisher sends numbered messages as fast as its windows allow, or at a
// given rate.
type publisher struct {
	client
	run     *run
	number  int
	head    []byte // of each PUBLISH: fixed header and topic
	payload []byte
	batch   []byte

	sent      atomic.Uint64 // the number of the next message
	acked     atomic.Uint64
	delivered atomic.Uint64 // to all subscribers together
	refused   atomic.Uint64
	waiting   atomic.Bool
	wake      chan struct{}
}

func newPublisher(r *run, number int) *publisher {
	p := &publisher{run: r, number: number, wake: make(chan struct{}, 1), payload: make([]byte, r.Size)}
	for i := range p.payload {
		p.payload[i] = 'a' + byte(i%26)
	}
	topic := fmt.Sprintf("%s/%d", r.topic, number)
	length := 2 + len(topic) + r.Size
	if r.QoS > 0 {
		length += 2
	}
	if r.Version == 5 {
		length++
	}
	p.head = appendString(appendHeader(nil, publishByte|r.QoS<<1, length), topic)
	return p
}

func (p *publisher) connect(ctx context.Context) error {
	id := fmt.Sprintf("loadgen-%s-p%d", p.run.id, p.number)
	return p.dial(ctx, p.run.PublishTo, id, &p.run.Config, func() error { p.rouse(); return nil })
}

// rouse lets a waiting sender look again.
func (p *publisher) rouse() {
	if p.waiting.Load() {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// probe sends a message that nobody counts, always at QoS 0 so that it needs
// no acknowledgement.
func (p *publisher) probe() error {
	var stamp [stampSize]byte
	putStamp(stamp[:], p.run.clock(), probeNumber, 0)
	b := appendString(nil, fmt.Sprintf("%s/%d", p.run.topic, p.number))
	if p.run.Version == 5 {
		b = append(b, 0)
	}
	_, err := p.conn.Write(frame(publishByte, append(b, stamp[:]...)))
	return err
}

// read takes acknowledgements until the connection ends.
func (p *publisher) read() error {
	for {
		k, err := p.next()
		if err != nil {
			return fmt.Errorf("publisher %d: %w", p.number, err)
		}
		if k.kind() != pubackType {
			continue
		}
		if len(k.body) > 2 && k.body[2] >= 0x80 {
			p.refused.Add(1)
		}
		p.acked.Add(1)
	}
}

var errStop = errors.New("stop")

// send publishes until stop is closed.
func (p *publisher) send(stop <-chan struct{}) error {
	began := time.Now()
	for {
		err := p.room(stop)
		if err == nil && p.run.Rate > 0 {
			err = p.pace(began, stop)
		}
		if err == nil {
			p.add()
			if len(p.batch) >= writeBatch {
				err = p.flush()
			}
		}
		select {
		case <-stop:
			err = errors.Join(err, errStop)
		default:
		}
		if err != nil {
			return p.finish(err)
		}
	}
}

// finish writes what was counted as sent.
func (p *publisher) finish(err error) error {
	if !errors.Is(err, errStop) {
		return err
	}
	return p.flush()
}

func (p *publisher) add() {
	seq := p.sent.Load()
	putStamp(p.payload, p.run.clock(), uint32(p.number), seq)
	p.batch = append(p.batch, p.head...)
	if p.run.QoS > 0 {
		p.batch = binary.BigEndian.AppendUint16(p.batch, uint16(seq%65535+1))
	}
	if p.run.Version == 5 {
		p.batch = append(p.batch, 0)
	}
	p.batch = append(p.batch, p.payload...)
	p.sent.Store(seq + 1)
}

func (p *publisher) flush() error {
	if len(p.batch) == 0 {
		return nil
	}
	_, err := p.conn.Write(p.batch)
	p.batch = p.batch[:0]
	if err != nil {
		return fmt.Errorf("publisher %d: %w", p.number, err)
	}
	return nil
}

// full reports whether the next message must wait.
func (p *publisher) full() bool {
	sent := p.sent.Load()
	if p.run.Rate == 0 && sent-p.delivered.Load()/uint64(p.run.Subscribers) >= uint64(p.run.Window) {
		return true
	}
	return p.run.QoS > 0 && sent-p.acked.Load() >= uint64(min(p.receiveMax, maxWindow))
}

// room waits until the next message may be sent, everything before it written.
func (p *publisher) room(stop <-chan struct{}) error {
	if !p.full() {
		return nil
	}
	if err := p.flush(); err != nil {
		return err
	}
	p.waiting.Store(true)
	defer p.waiting.Store(false)
	for p.full() {
		select {
		case <-p.wake:
		case <-stop:
			return errStop
		}
	}
	return nil
}

// pace waits until the next message is due.
func (p *publisher) pace(began time.Time, stop <-chan struct{}) error {
	due := time.Duration(float64(p.sent.Load()) * float64(p.run.Publishers) / float64(p.run.Rate) * float64(time.Second))
	wait := due - time.Since(began)
	if wait < 50*time.Microsecond {
		return nil
	}
	if err := p.flush(); err != nil {
		return err
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-stop:
		return errStop
	}
}
