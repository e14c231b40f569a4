package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"clink/internal/atomicfile"

	"go.etcd.io/bbolt"
)

// A generation is a directory with a base and its logs.
type generation struct {
	number uint64
	dir    string
}

const readyMark = "ready"

func (g generation) base() string        { return filepath.Join(g.dir, "base") }
func (g generation) log(n uint64) string { return filepath.Join(g.dir, fmt.Sprintf("log-%08d", n)) }

// logNumbers returns the numbers of the logs there are, in order.
func (g generation) logNumbers() ([]uint64, error) {
	files, err := os.ReadDir(g.dir)
	var out []uint64
	for _, f := range files {
		if digits, ok := strings.CutPrefix(f.Name(), "log-"); ok {
			if n, err := strconv.ParseUint(digits, 10, 64); err == nil {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return out, err
}

// removeLogs removes the logs up to the given one.
func (g generation) removeLogs(last uint64) error {
	numbers, err := g.logNumbers()
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if n <= last {
			if err := os.Remove(g.log(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// generations returns those of a root, the newest first.
func generations(root string) ([]generation, error) {
	dirs, err := os.ReadDir(root)
	var out []generation
	for _, d := range dirs {
		if n, err := strconv.ParseUint(d.Name(), 10, 64); err == nil && d.IsDir() {
			out = append(out, generation{n, filepath.Join(root, d.Name())})
		}
	}
	slices.SortFunc(out, func(a, b generation) int { return int(b.number) - int(a.number) })
	return out, err
}

func (g generation) ready() bool {
	_, err := os.Stat(filepath.Join(g.dir, readyMark))
	return err == nil
}

// keepOnly removes the generations that are not g, and what is not ready.
func keepOnly(root string, g generation) error {
	all, err := generations(root)
	for _, other := range all {
		if other != g {
			err = errors.Join(err, os.RemoveAll(other.dir))
		}
	}
	return err
}

// newGeneration makes the directory of the next generation.
func newGeneration(root string) (generation, error) {
	all, err := generations(root)
	if err != nil {
		return generation{}, err
	}
	next := uint64(1)
	if len(all) > 0 {
		next = all[0].number + 1
	}
	g := generation{next, filepath.Join(root, fmt.Sprintf("%08d", next))}
	return g, os.Mkdir(g.dir, 0o700)
}

// Open opens the store in a directory, which it makes if need be, and returns
// what it holds. If that is damaged it is moved aside, and the store is empty;
// Saved says so. [Store.Start] must follow.
func Open(root string, o Options) (*Store, *Saved, error) {
	o.fill()
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, nil, err
	}
	lock, err := takeLock(root)
	if err != nil {
		return nil, nil, err
	}
	s := newStore(root, o)
	s.lock = lock
	saved, err := s.open()
	if err != nil {
		if s.db != nil {
			s.db.Close()
		}
		lock.Close()
		return nil, nil, err
	}
	return s, saved, nil
}

func (s *Store) open() (*Saved, error) {
	all, err := generations(s.root)
	if err != nil {
		return nil, err
	}
	saved := &Saved{}
	for _, g := range all {
		if !g.ready() {
			continue
		}
		s.gen = g
		saved, err = s.load()
		if err == nil {
			return saved, errors.Join(s.rotate(), keepOnly(s.root, g))
		}
		if saved, err = s.setAside(err); err != nil {
			return nil, err
		}
		break
	}
	if err := s.begin(); err != nil {
		return nil, err
	}
	return saved, s.Finish()
}

// begin makes an empty generation.
func (s *Store) begin() error {
	g, err := newGeneration(s.root)
	if err != nil {
		return err
	}
	s.gen = g
	if err := s.openBase(); err != nil {
		return err
	}
	return errors.Join(s.move([]change{s.clockNow()}), s.rotate())
}

func (s *Store) openBase() (err error) {
	s.db, err = bbolt.Open(s.gen.base(), 0o600, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType})
	return err
}

// Rebuild opens an empty store beside the one in the directory, to be filled
// with all there is. [Store.Start] must follow, and at the end [Store.Finish].
// The store before must be closed.
func Rebuild(root string, o Options) (*Store, error) {
	o.fill()
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	lock, err := takeLock(root)
	if err != nil {
		return nil, err
	}
	s := newStore(root, o)
	s.lock = lock
	if err := s.begin(); err != nil {
		if s.db != nil {
			s.db.Close()
		}
		if s.gen.dir != "" {
			os.RemoveAll(s.gen.dir)
		}
		lock.Close()
		return nil, err
	}
	return s, nil
}

// Finish makes the generation the one that is read at the next start, and
// removes others.
func (s *Store) Finish() error {
	f, err := os.OpenFile(filepath.Join(s.gen.dir, readyMark), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(f.Sync(), f.Close(), atomicfile.SyncDir(s.gen.dir), atomicfile.SyncDir(s.root))
	if err != nil {
		return err
	}
	return keepOnly(s.root, s.gen)
}

// mostAside is how many damaged stores are kept.
const mostAside = 3

// setAside moves a damaged generation out of the way.
func (s *Store) setAside(damage error) (*Saved, error) {
	if s.db != nil {
		s.db.Close()
		s.db = nil
	}
	pattern := s.root + ".damaged-"
	to := pattern + time.Now().UTC().Format("20060102T150405.000Z")
	if err := os.Rename(s.gen.dir, to); err != nil {
		return nil, fmt.Errorf("the store is damaged (%w) and cannot be set aside: %w", damage, err)
	}
	s.opts.Log.Error("the store is damaged and was set aside; the node starts without its sessions and retained messages",
		"damage", damage.Error(), "set aside to", to)
	fresh := newStore(s.root, s.opts)
	s.sessions, s.bodies, s.retained, s.live, s.lastNumber = fresh.sessions, fresh.bodies, fresh.retained, 0, 0
	old, _ := filepath.Glob(globQuote(pattern) + "*")
	slices.Sort(old)
	for len(old) > mostAside {
		s.opts.Log.Warn("the oldest damaged store is removed", "directory", old[0])
		if err := os.RemoveAll(old[0]); err != nil {
			return nil, err
		}
		old = old[1:]
	}
	return &Saved{Damage: damage, Aside: to}, nil
}

// globQuote makes a path match itself.
func globQuote(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}
