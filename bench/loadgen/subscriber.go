package loadgen

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// A subscriber receives what all publishers send, acknowledges it and keeps
// the books. All but measured and reached belongs to its reader.
type subscriber struct {
	client
	run     *run
	acks    []byte
	from    []sequence
	latency histogram

	measured atomic.Uint64
	reached  chan struct{} // closed at the first message
	probed   bool
}

func newSubscriber(r *run) *subscriber {
	return &subscriber{run: r, from: make([]sequence, r.Publishers), reached: make(chan struct{})}
}

func (s *subscriber) connect(ctx context.Context, number int) error {
	r := s.run
	id := fmt.Sprintf("loadgen-%s-s%d", r.id, number)
	if err := s.dial(ctx, r.SubscribeAt, id, &r.Config, s.settle); err != nil {
		return err
	}
	return s.subscribe(ctx, r.topic+"/#")
}

// subscribe waits for the answer.
func (s *subscriber) subscribe(ctx context.Context, filter string) error {
	stop := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer stop()
	if _, err := s.conn.Write(subscribePacket(&s.run.Config, 1, filter)); err != nil {
		return err
	}
	return s.subscribed(1)
}

// subscribed reads the answer to a SUBSCRIBE of n filters.
func (s *subscriber) subscribed(n int) error {
	p, err := s.next()
	if err != nil {
		return fmt.Errorf("read the answer to SUBSCRIBE: %w", err)
	}
	if p.kind() != subackType || len(p.body) < 2+n {
		return errors.New("the broker did not answer SUBSCRIBE as it should")
	}
	for _, code := range p.body[len(p.body)-n:] {
		if code > 2 {
			return fmt.Errorf("the broker refused the subscription with code 0x%02x", code)
		}
	}
	return nil
}

// settle does what was put off while there was input.
func (s *subscriber) settle() error {
	for _, p := range s.run.pubs {
		p.rouse()
	}
	if len(s.acks) == 0 {
		return nil
	}
	_, err := s.conn.Write(s.acks)
	s.acks = s.acks[:0]
	return err
}

func (s *subscriber) read() error {
	for {
		p, err := s.next()
		if err == nil && p.kind() == publishType {
			err = s.take(p)
		}
		if err != nil {
			return fmt.Errorf("subscriber: %w", err)
		}
	}
}

func (s *subscriber) take(p packet) error {
	d, err := parsePublish(p, s.run.Version)
	if err != nil {
		return err
	}
	if d.qos > 0 {
		s.acks = append(s.acks, pubackType<<4, 2, d.id[0], d.id[1])
	}
	if len(d.payload) < stampSize {
		return fmt.Errorf("a message of %d bytes came that nobody here sent", len(d.payload))
	}
	return s.count(stampOf(d.payload))
}

func (s *subscriber) count(at int64, publisher uint32, seq uint64) error {
	if publisher == probeNumber {
		if !s.probed {
			s.probed = true
			close(s.reached)
		}
		return nil
	}
	pubs := s.run.pubs
	if int64(publisher) >= int64(len(pubs)) || seq >= pubs[publisher].sent.Load() {
		return errors.New("a message came that nobody here sent")
	}
	if s.from[publisher].see(seq) { // else the last ones would not be waited for
		pubs[publisher].delivered.Add(1)
		s.run.received.Add(1)
	}
	if tell := s.run.Delivered; tell != nil {
		tell(s.run.start.Add(time.Duration(at)), time.Now())
	}
	if s.run.measuring.Load() {
		s.measured.Add(1)
		s.latency.add(s.run.clock() - at)
	}
	return nil
}
