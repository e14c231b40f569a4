package loadgen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Crowd is many connected clients that do nothing: they have subscribed to
// topics at which nothing is published.
type Crowd struct {
	Took time.Duration // from the first connection to the last SUBACK

	conns []net.Conn
}

const (
	gatherers = 64  // clients that connect at the same time
	bunch     = 100 // filters in one SUBSCRIBE
	bunches   = 10  // SUBSCRIBEs of one client that may wait for their answer
)

// Gather connects n clients to c.SubscribeAt within c.ConnectWithin, with a
// filter of its own each. The caller closes the crowd.
func Gather(ctx context.Context, c Config, n int) (*Crowd, error) {
	return gather(ctx, c, n, func(s *subscriber, ctx context.Context, i int) error {
		return s.subscribe(ctx, fmt.Sprintf("%s/crowd/%d", s.run.topic, i))
	})
}

// SubscribeAll is like Gather, but shares n filters out among the clients. The
// filters are asked for by number, from 0 on, by several goroutines.
func SubscribeAll(ctx context.Context, c Config, clients, n int, filter func(i int) string) (*Crowd, error) {
	return gather(ctx, c, clients, func(s *subscriber, ctx context.Context, i int) error {
		return s.subscribeAll(ctx, i*n/clients, (i+1)*n/clients, filter)
	})
}

func gather(ctx context.Context, c Config, n int, settle func(s *subscriber, ctx context.Context, i int) error) (*Crowd, error) {
	c, err := c.filled()
	if err != nil {
		return nil, fmt.Errorf("load generator: %w", err)
	}
	within, cancel := context.WithTimeout(ctx, c.ConnectWithin)
	defer cancel()
	r := newRun(c, func(error) {})
	crowd := &Crowd{conns: make([]net.Conn, n)}
	errs := make([]error, gatherers)
	var next atomic.Int64
	var wg sync.WaitGroup
	for g := range gatherers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && errs[g] == nil; i = int(next.Add(1)) - 1 {
				crowd.conns[i], errs[g] = r.join(within, i, settle)
			}
		})
	}
	wg.Wait()
	crowd.Took = time.Since(r.start)
	if err := errors.Join(errs...); err != nil {
		crowd.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("load generator: connect %d clients: %w", n, err)
	}
	return crowd, nil
}

// join connects one client of a crowd and gives up its buffers.
func (r *run) join(ctx context.Context, i int, settle func(s *subscriber, ctx context.Context, i int) error) (net.Conn, error) {
	s := &subscriber{run: r}
	if err := s.dial(ctx, r.SubscribeAt, fmt.Sprintf("loadgen-%s-c%d", r.id, i), &r.Config, idle); err != nil {
		return nil, err
	}
	if err := settle(s, ctx, i); err != nil {
		s.conn.Close()
		return nil, err
	}
	return s.conn, nil
}

// subscribeAll subscribes to the filters from number at up to number end, with
// several packets on the way.
func (s *subscriber) subscribeAll(ctx context.Context, at, end int, filter func(i int) string) error {
	stop := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer stop()
	var asked []int // the filters of each packet that is not answered yet
	for id := uint16(1); at < end || len(asked) > 0; id++ {
		if at < end && len(asked) < bunches {
			var filters []string
			for ; at < end && len(filters) < bunch; at++ {
				filters = append(filters, filter(at))
			}
			if _, err := s.conn.Write(subscribePacket(&s.run.Config, max(id, 1), filters...)); err != nil {
				return err
			}
			asked = append(asked, len(filters))
			continue
		}
		if err := s.subscribed(asked[0]); err != nil {
			return err
		}
		asked = asked[1:]
	}
	return nil
}

func idle() error { return nil }

// Close disconnects all clients.
func (c *Crowd) Close() {
	for _, conn := range c.conns {
		if conn == nil {
			continue
		}
		conn.SetWriteDeadline(time.Now().Add(time.Second))
		conn.Write([]byte{disconnectByte, 0})
		conn.Close()
	}
}
