package loadgen

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
)

// retainWindow is how many retained messages may wait for their acknowledgement.
const retainWindow = 500

// Retain publishes n retained messages of c.Size bytes at c.PublishTo, each on
// a topic of its own under c.TopicPrefix, and returns when all are
// acknowledged.
func Retain(ctx context.Context, c Config, n int) error {
	c, err := c.filled()
	if err != nil {
		return fmt.Errorf("load generator: %w", err)
	}
	r := newRun(c, func(error) {})
	var p client
	if err := p.dial(ctx, r.PublishTo, "loadgen-"+r.id+"-retain", &r.Config, idle); err != nil {
		return fmt.Errorf("load generator: %w", err)
	}
	p.endWith(ctx)
	defer p.disconnect()
	var batch []byte
	for sent, acked := 0, 0; acked < n; {
		for ; sent < n && sent-acked < min(retainWindow, p.receiveMax); sent++ {
			batch = r.appendRetained(batch, sent)
		}
		if _, err := p.conn.Write(batch); err != nil {
			return fmt.Errorf("load generator: retain %d messages: %w", n, err)
		}
		batch = batch[:0]
		for ok := true; ok; ok = p.r.Buffered() > 0 && acked < n {
			k, err := p.next()
			if err == nil && len(k.body) > 2 && k.body[2] >= 0x80 {
				err = fmt.Errorf("the broker refused one with code 0x%02x", k.body[2])
			}
			if err != nil {
				return fmt.Errorf("load generator: retain %d messages: %w", n, err)
			}
			acked++
		}
	}
	return nil
}

// appendRetained appends the i-th retained message.
func (r *run) appendRetained(b []byte, i int) []byte {
	const qos1AndRetain = 1<<1 | 1
	body := appendString(nil, fmt.Sprintf("%s/%d/%d", r.TopicPrefix, i%100, i))
	body = binary.BigEndian.AppendUint16(body, uint16(i%65535+1))
	if r.Version == 5 {
		body = append(body, 0)
	}
	body = append(body, make([]byte, r.Size)...)
	return append(b, frame(publishByte|qos1AndRetain, body)...)
}

// Fetch subscribes to c.TopicPrefix with a fresh client at c.SubscribeAt and
// returns how many retained messages came, up to n, and how long that took
// from the SUBSCRIBE on. It gives up when nothing has come for a while.
func Fetch(ctx context.Context, c Config, n int) (int, time.Duration, error) {
	c, err := c.filled()
	if err != nil {
		return 0, 0, fmt.Errorf("load generator: %w", err)
	}
	r := newRun(c, func(error) {})
	s := &subscriber{run: r}
	if err := s.dial(ctx, r.SubscribeAt, "loadgen-"+r.id+"-fetch", &r.Config, s.settle); err != nil {
		return 0, 0, fmt.Errorf("load generator: %w", err)
	}
	s.endWith(ctx)
	defer s.disconnect()
	began, last := time.Now(), time.Now()
	if _, err := s.conn.Write(subscribePacket(&r.Config, 1, r.TopicPrefix+"/#")); err != nil {
		return 0, 0, fmt.Errorf("load generator: %w", err)
	}
	got := 0
	for got < n {
		s.conn.SetReadDeadline(time.Now().Add(r.Quiet))
		p, err := s.next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return got, 0, fmt.Errorf("load generator: fetch retained messages: %w", err)
		}
		if p.kind() != publishType {
			continue
		}
		d, err := parsePublish(p, r.Version)
		if err != nil {
			return got, 0, err
		}
		if d.qos > 0 {
			s.acks = append(s.acks, pubackType<<4, 2, d.id[0], d.id[1])
		}
		got++
		last = time.Now()
	}
	return got, last.Sub(began), nil
}
