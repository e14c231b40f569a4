package extrouter

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"time"

	"clink/linkengine/wire"
)

// What [Table.Save] writes is a line that says so, a record for each actor and
// then for each route of a cluster, a record of nothing, and the checksum of it
// all. Numbers are varints, texts have their length before them.
const (
	savedAs = "clink peers' routes 1\n"

	recordEnd   = 0
	recordActor = 1 // number, cluster, name, incarnation
	recordRoute = 2 // how many actors, their numbers, filter, whether the ID is another, ID

	// saveChunk is for how many filters at a time a table is locked.
	saveChunk = 4000
)

// ErrChanged is why a table could not be saved: actors came or went meanwhile.
var ErrChanged = errors.New("the actors changed while the table was saved")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Save writes all routes for [Table.Load], as far as their actors stay the same
// meanwhile. Others may change; they are in it or not.
func (t *Table) Save(w io.Writer) error {
	sum := crc32.New(castagnoli)
	s := saver{Table: t, out: bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10), numbers: make(map[*cluster]*[64]uint64)}
	s.out.WriteString(savedAs)
	if err := s.save(); err != nil {
		return err
	}
	s.out.WriteByte(recordEnd)
	if err := s.out.Flush(); err != nil {
		return err
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

// A saver holds the table's lock but for the time it takes to write.
type saver struct {
	*Table
	out     *bufio.Writer
	buf     []byte
	era     uint64
	filters int                      // since the table was last unlocked
	numbers map[*cluster]*[64]uint64 // of actors, by their bits
}

func (s *saver) save() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.era = s.Table.era
	s.actors()
	for _, in := range []map[string]*cluster{s.clusters, s.past} {
		for _, c := range in {
			if err := s.others(c); err != nil {
				return err
			}
		}
	}
	for at := range s.spots() {
		filter := at.filter()
		for h := at.at.Load(); h != nil; h = h.next {
			if h.plain != 0 {
				s.route(h.cluster, h.plain, filter, filter)
			}
		}
		if err := s.pause(); err != nil {
			return err
		}
	}
	s.filters = saveChunk
	return s.pause()
}

func (s *saver) others(c *cluster) error {
	for key, held := range c.others {
		s.route(c, held, key.filter, key.id)
		if err := s.pause(); err != nil {
			return err
		}
	}
	return nil
}

// actors writes who there is: those as they are now before past ones.
func (s *saver) actors() {
	number := uint64(0)
	for _, in := range []map[string]*cluster{s.clusters, s.past} {
		for _, c := range in {
			numbers := new([64]uint64)
			for name, a := range c.actors {
				number++
				s.buf = appendText(appendText(binary.AppendUvarint(append(s.buf, recordActor), number), c.name), name)
				s.buf = binary.AppendVarint(s.buf, a.incarnation)
				numbers[bits.TrailingZeros64(a.bit)] = number
			}
			s.numbers[c] = numbers
		}
	}
}

func (s *saver) route(c *cluster, held uint64, filter, id string) {
	numbers := s.numbers[c]
	s.buf = binary.AppendUvarint(append(s.buf, recordRoute), uint64(bits.OnesCount64(held)))
	for ; held != 0; held &= held - 1 {
		s.buf = binary.AppendUvarint(s.buf, numbers[bits.TrailingZeros64(held)])
	}
	s.buf = appendText(s.buf, filter)
	if id == filter {
		s.buf = append(s.buf, 0)
	} else {
		s.buf = appendText(append(s.buf, 1), id)
	}
}

// pause writes what there is, with the table unlocked, if it was locked long
// enough.
func (s *saver) pause() error {
	if s.filters++; s.filters < saveChunk {
		return nil
	}
	s.mu.Unlock()
	_, err := s.out.Write(s.buf)
	s.mu.Lock()
	s.buf, s.filters = s.buf[:0], 0
	if err == nil && s.era != s.Table.era {
		err = ErrChanged
	}
	return err
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// Load takes the routes that an earlier table saved as past ones, which stay for
// [TTL], and returns how many there are. Each actor is new all the same when it
// comes, and is to announce all it has.
func (t *Table) Load(now time.Time, saved []byte) (routes int, err error) {
	body, ok := bytes.CutPrefix(saved, []byte(savedAs))
	end := len(saved) - crc32.Size
	if !ok || end < len(savedAs) || binary.BigEndian.Uint32(saved[end:]) != crc32.Checksum(saved[:end], castagnoli) {
		return 0, errors.New("it is not what was saved, or not all of it")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l := loader{Table: t, in: body, actors: make(map[uint64]restored), expires: now.Add(TTL)}
	for {
		switch kind := l.byte(); {
		case l.err != nil:
			return l.routes, l.err
		case kind == recordEnd:
			return l.routes, nil
		case kind == recordActor:
			l.actor()
		case kind == recordRoute:
			l.route()
		default:
			return l.routes, fmt.Errorf("it has a record of the unknown kind %d", kind)
		}
	}
}

type restored struct {
	*actor
	of *cluster
}

type loader struct {
	*Table
	in      []byte
	actors  map[uint64]restored
	expires time.Time
	routes  int
	err     error
}

var errShort = errors.New("it ends in the middle of a record")

func (l *loader) fail() { l.in, l.err = nil, errShort }

func (l *loader) byte() byte {
	if len(l.in) == 0 {
		l.fail()
		return 0
	}
	b := l.in[0]
	l.in = l.in[1:]
	return b
}

func (l *loader) number() uint64 {
	n, size := binary.Uvarint(l.in)
	if size <= 0 {
		l.fail()
		return 0
	}
	l.in = l.in[size:]
	return n
}

func (l *loader) text() string {
	n := l.number()
	if n > uint64(len(l.in)) {
		l.fail()
		return ""
	}
	s := string(l.in[:n])
	l.in = l.in[n:]
	return s
}

func (l *loader) actor() {
	number, name, actorName := l.number(), l.text(), l.text()
	incarnation, size := binary.Varint(l.in)
	if size <= 0 {
		l.fail()
		return
	}
	l.in = l.in[size:]
	if l.err != nil {
		return
	}
	p := l.pastOf(name)
	a := p.actors[actorName]
	if a == nil {
		a = p.take(actorName, incarnation)
	}
	if a != nil {
		a.expires = l.expires
		l.actors[number] = restored{a, p}
	}
}

func (l *loader) route() {
	n := l.number()
	if n > MaxActors {
		l.fail()
		return
	}
	holders := make([]uint64, n)
	for i := range holders {
		holders[i] = l.number()
	}
	op := wire.RouteOp{Filter: l.text()}
	op.ID = op.Filter
	if l.byte() != 0 {
		op.ID = l.text()
	}
	if l.err != nil {
		return
	}
	l.routes++
	for _, number := range holders {
		if r, ok := l.actors[number]; ok {
			l.add(r.of, r.actor, op)
		}
	}
}
