package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// A cursor is how far messages were handed out.
type cursor struct {
	seq  uint64 // of the next one
	file *os.File
	path string
	at   int64 // in file, where a record begins
}

func (c *cursor) close() {
	if c.file != nil {
		c.file.Close()
		c.file = nil
	}
}

// Next hands out the next messages, about limit bytes of them and at least one,
// in order. It returns none when all were handed out.
func (s *Spool) Next(limit int) ([]Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	var out []Entry
	for limit > 0 && s.waiting > 0 {
		g, err := s.seek()
		if err != nil {
			return out, err
		}
		more, err := s.read(g, limit)
		if err != nil {
			return append(out, more...), fmt.Errorf("read the queue on disk %s at %d: %w", g.path, s.cursor.at, err)
		}
		for _, e := range more {
			limit -= len(e.Data) + messageHead
		}
		out = append(out, more...)
	}
	return out, nil
}

// seek opens the segment that the next message is in, or the first after it.
func (s *Spool) seek() (*segment, error) {
	i := slices.IndexFunc(s.segs, func(g *segment) bool { return g.live > 0 && g.end > s.cursor.seq })
	g := s.segs[i] // there is one, because a message waits
	if i == len(s.segs)-1 && len(s.pending) > 0 {
		if s.write(); s.err != nil {
			return nil, s.err
		}
	}
	c := &s.cursor
	if c.file != nil && c.path == g.path {
		return g, nil
	}
	c.close()
	f, err := os.Open(g.path)
	if err != nil {
		return nil, fmt.Errorf("read the queue on disk: %w", err)
	}
	c.file, c.path, c.at = f, g.path, int64(len(magic))
	return g, nil
}

const readChunk = 256 << 10

// read hands out messages of one segment.
func (s *Spool) read(g *segment, limit int) ([]Entry, error) {
	c := &s.cursor
	var out []Entry
	b := make([]byte, readChunk)
	n, err := c.file.ReadAt(b, c.at)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	b = b[:n]
	for c.seq < g.end && limit > 0 {
		r, err := parse(b)
		if errors.Is(err, errTorn) && len(out) > 0 {
			return out, nil // the next call reads on from there
		}
		if errors.Is(err, errTorn) && int64(len(b)) < g.size-c.at {
			if b, err = s.readLong(g, b); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			// It was whole when it was written or opened: the disk has lost it.
			s.abandonFrom(g)
			return out, err
		}
		b = b[r.size:]
		c.at += r.size
		if r.done != nil || r.entry.Seq < c.seq {
			continue
		}
		c.seq = r.entry.Seq + 1
		if !g.wants(r.entry.Seq) {
			continue
		}
		s.waiting--
		out = append(out, r.entry)
		limit -= len(r.entry.Data) + messageHead
	}
	return out, nil
}

// readLong reads a record that is longer than a chunk.
func (s *Spool) readLong(g *segment, head []byte) ([]byte, error) {
	size := min(2*int64(len(head))+readChunk, g.size-s.cursor.at)
	b := make([]byte, size)
	_, err := io.ReadFull(io.NewSectionReader(s.cursor.file, s.cursor.at, size), b)
	return b, err
}

// abandonFrom gives up what was not handed out of a segment.
func (s *Spool) abandonFrom(g *segment) {
	for s.cursor.seq = max(s.cursor.seq, g.first); s.cursor.seq < g.end; s.cursor.seq++ {
		if g.finish(s.cursor.seq) {
			s.live--
			s.waiting--
		}
	}
	s.cursor.close()
}
