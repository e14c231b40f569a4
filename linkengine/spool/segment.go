package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A segment is one file, named for the first message that may be in it.
type segment struct {
	path  string
	first uint64
	end   uint64 // after the last message in it
	size  int64  // with what is pending
	live  int
	over  []uint64 // a bit for each message from first on: it is done, or was never there
}

// maxGap bounds the numbers that a segment may pass over; more is damage.
const maxGap = 1 << 20

func (g *segment) add(seq uint64) {
	for n := int(seq-g.first)/64 + 1; len(g.over) < n; {
		g.over = append(g.over, 0)
	}
	for ; g.end < seq; g.end++ {
		g.mark(g.end)
	}
	g.end = seq + 1
	g.live++
}

func (g *segment) mark(seq uint64) { g.over[(seq-g.first)/64] |= 1 << ((seq - g.first) % 64) }

func (g *segment) wants(seq uint64) bool {
	return seq >= g.first && seq < g.end && g.over[(seq-g.first)/64]&(1<<((seq-g.first)%64)) == 0
}

func (g *segment) finish(seq uint64) bool {
	if !g.wants(seq) {
		return false
	}
	g.mark(seq)
	g.live--
	return true
}

const suffix = ".spool"

func segmentName(first uint64) string { return fmt.Sprintf("%016x%s", first, suffix) }

func parseSegmentName(name string) (uint64, bool) {
	hex, ok := strings.CutSuffix(name, suffix)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	first, err := strconv.ParseUint(hex, 16, 64)
	return first, err == nil
}

func (s *Spool) segmentOf(seq uint64) *segment {
	i, found := slices.BinarySearchFunc(s.segs, seq, func(g *segment, seq uint64) int {
		switch {
		case seq < g.first:
			return 1
		case seq >= g.end:
			return -1
		}
		return 0
	})
	if !found {
		return nil
	}
	return s.segs[i]
}

// follow starts a new segment after the last one.
func (s *Spool) follow() error {
	first := s.next
	for fileThere(filepath.Join(s.opts.Dir, segmentName(first))) {
		first++ // the one before holds no message
	}
	if _, err := s.begin(first); err != nil {
		return err
	}
	if s.cursor.seq == s.next {
		s.cursor.seq = first
	}
	s.next, s.written = first, first
	return nil
}

// begin starts a new segment to write to.
func (s *Spool) begin(first uint64) (*segment, error) {
	g := &segment{path: filepath.Join(s.opts.Dir, segmentName(first)), first: first, end: first}
	f, err := s.opts.open(g.path)
	if err != nil {
		return nil, err
	}
	_, err = f.Write([]byte(magic))
	if err == nil {
		err = syncDir(s.opts.Dir)
	}
	if err != nil {
		f.Close()
		os.Remove(g.path)
		return nil, err
	}
	g.size = int64(len(magic))
	s.bytes += g.size
	s.out = f
	s.segs = append(s.segs, g)
	return g, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// recover reads what is there, and starts a segment of its own: what came
// before is never written to again.
func (s *Spool) recover() (Report, error) {
	var report Report
	if err := os.MkdirAll(s.opts.Dir, 0o700); err != nil {
		return report, err
	}
	names, err := os.ReadDir(s.opts.Dir)
	if err != nil {
		return report, err
	}
	for _, n := range names { // in order of name, which is that of the messages
		first, ok := parseSegmentName(n.Name())
		if !ok || !n.Type().IsRegular() {
			continue
		}
		if err := s.load(first, &report); err != nil {
			return report, err
		}
	}
	for len(s.segs) > 0 && s.segs[0].live == 0 {
		s.drop()
	}
	report.Messages, s.waiting = s.live, s.live
	s.cursor.seq = s.next
	for _, g := range s.segs {
		if g.live > 0 {
			s.cursor.seq = g.first
			break
		}
	}
	s.synced = s.next
	return report, s.follow()
}

// load reads one segment.
func (s *Spool) load(first uint64, report *Report) error {
	path := filepath.Join(s.opts.Dir, segmentName(first))
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	g := &segment{path: path, first: first, end: first}
	good, bad := s.replay(g, b)
	s.next = max(s.next, g.end, first)
	switch {
	case errors.Is(bad, errTorn):
		report.Torn++
		err = os.Truncate(path, good)
	case bad != nil:
		var aside string
		aside, err = keepAside(path, b)
		report.Damaged = append(report.Damaged, aside)
		if err == nil {
			err = os.Truncate(path, good)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	g.size = good
	if good <= int64(len(magic)) { // nothing is in it
		return os.Remove(path)
	}
	s.bytes += good
	s.segs = append(s.segs, g)
	return nil
}

// replay books the records of a segment, and returns how far it is whole.
func (s *Spool) replay(g *segment, b []byte) (good int64, err error) {
	if len(b) < len(magic) {
		return 0, errTorn
	}
	if string(b[:len(magic)]) != magic {
		return 0, errDamaged
	}
	good = int64(len(magic))
	for good < int64(len(b)) {
		r, err := parse(b[good:])
		if err != nil {
			return good, err
		}
		switch {
		case r.done != nil:
			for _, seq := range r.done {
				s.replayDone(g, seq)
			}
		case r.entry.Seq < g.end, r.entry.Seq-g.end > maxGap: // numbers only grow
			return good, errDamaged
		default:
			g.add(r.entry.Seq)
			s.live++
		}
		good += r.size
	}
	return good, nil
}

func (s *Spool) replayDone(now *segment, seq uint64) {
	g := now
	if seq < now.first {
		g = s.segmentOf(seq)
	}
	if g != nil && g.finish(seq) {
		s.live--
	}
}

// keepAside copies a damaged segment to a name that is no segment's.
func keepAside(path string, b []byte) (string, error) {
	aside := path + ".damaged"
	return aside, os.WriteFile(aside, b, 0o600)
}

// drop removes the oldest segment.
func (s *Spool) drop() {
	g := s.segs[0]
	if os.Remove(g.path) != nil && fileThere(g.path) {
		return
	}
	s.bytes -= g.size
	s.segs = s.segs[1:]
}

func fileThere(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
