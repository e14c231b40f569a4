package git

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	commitFirst = time.Second
	commitLast  = time.Minute
	maxPending  = 1000
	maxTrailers = 200 // of several changes in one commit
)

// A Committer commits changes, and keeps those that cannot be committed yet,
// such as during a rebase, until they can. It is one commit a change, unless a
// change has a file in common with one that is kept: then both go into one
// commit, since only what is on disk can be committed.
//
// What is kept does not outlive the process, but the files do: [Repo.Dirty]
// finds them at the next start.
type Committer struct {
	Repo *Repo
	Log  *slog.Logger                // nil for none
	Done func(c Change, id string)   // called after each commit, may be nil
	Fail func(c Change, cause error) // called after each try that failed, may be nil

	first, last time.Duration // between tries; for tests
	once        sync.Once
	poke        chan struct{}
	work        gate // held while committing

	mu      sync.Mutex
	pending []*pending
	began   time.Time // of the commit that is being made, zero if none is
	again   retrier
}

type pending struct {
	change Change
	Pending
}

// Pending is a change that is on disk and not committed yet.
type Pending struct {
	Files   []string
	Subject string
	Since   time.Time
	Tries   int
	Err     error     // of the last try, nil before the first
	Next    time.Time // when it is tried again
}

func (c *Committer) init() {
	c.once.Do(func() {
		c.poke, c.work = make(chan struct{}, 1), newGate()
		c.again = retrier{first: commitFirst, last: commitLast}
		if c.first > 0 {
			c.again.first, c.again.last = c.first, c.last
		}
		if c.Log == nil {
			c.Log = slog.New(slog.DiscardHandler)
		}
	})
}

// Add keeps a change for Run to commit, and returns at once.
func (c *Committer) Add(change Change) error {
	c.init()
	if err := c.Repo.valid(change); err != nil {
		return err
	}
	c.keep(change)
	c.Wake()
	return nil
}

// Commit commits a change now, as [Repo.Commit] does. If that fails the change
// is kept, and Run tries again.
func (c *Committer) Commit(ctx context.Context, change Change) (string, error) {
	c.init()
	if err := c.Repo.valid(change); err != nil {
		return "", err
	}
	if err := c.work.enter(ctx); err != nil {
		c.keep(change)
		c.Wake()
		return "", fmt.Errorf("commit: wait for another commit: %w", err)
	}
	defer c.work.leave()
	id, err := c.try(ctx, c.keep(change))
	if err != nil {
		c.mu.Lock()
		if c.again.next.IsZero() {
			c.again.failed()
		}
		c.mu.Unlock()
		prod(c.poke)
	}
	return id, err
}

// Wake makes Run try now what is pending.
func (c *Committer) Wake() {
	c.init()
	c.mu.Lock()
	if len(c.pending) > 0 {
		c.again.next = time.Now()
	}
	c.mu.Unlock()
	prod(c.poke)
}

// Busy returns for how long the commit that is being made has been under way: 0
// if none is.
func (c *Committer) Busy() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.began.IsZero() {
		return 0
	}
	return time.Since(c.began)
}

// Settle waits until no commit is being made.
func (c *Committer) Settle() {
	c.init()
	if c.work.enter(context.Background()) == nil {
		c.work.leave()
	}
}

// Status returns what is pending, the oldest first.
func (c *Committer) Status() []Pending {
	c.init()
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Pending, 0, len(c.pending))
	for _, p := range c.pending {
		s := p.Pending
		s.Files, s.Subject, s.Next = slices.Clone(p.change.Files), p.change.Subject, c.again.next
		list = append(list, s)
	}
	return list
}

// Run tries again what is pending until ctx ends, and then returns nil.
func (c *Committer) Run(ctx context.Context) error {
	c.init()
	loop(ctx, c.poke, func() time.Time {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.again.next
	}, func() { c.retry(ctx) })
	return nil
}

func (c *Committer) retry(ctx context.Context) {
	if c.work.enter(ctx) != nil {
		return
	}
	defer c.work.leave()
	c.mu.Lock()
	list := slices.Clone(c.pending)
	c.mu.Unlock()
	for _, p := range list {
		if ctx.Err() != nil {
			return
		}
		if _, err := c.try(ctx, p); errors.Is(err, ErrBusy) {
			break // the others would fail alike
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) > 0 {
		c.again.failed()
	}
}

// keep puts a change among the pending ones, into one with those that have a
// file in common with it.
func (c *Committer) keep(change Change) *pending {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &pending{change: change, Pending: Pending{Since: time.Now()}}
	full := len(c.pending) >= maxPending
	for i := len(c.pending) - 1; i >= 0; i-- {
		old := c.pending[i]
		if overlap(old.change.Files, p.change.Files) || full {
			p.change, p.Since = merge(old.change, p.change), old.Since
			p.Tries, p.Err = old.Tries, old.Err
			c.pending = slices.Delete(c.pending, i, i+1)
			full = false
		}
	}
	c.pending = append(c.pending, p)
	return p
}

// current returns the pending change that p is, or has gone into.
func (c *Committer) current(p *pending) *pending {
	if slices.Contains(c.pending, p) {
		return p
	}
	for _, q := range c.pending {
		if overlap(q.change.Files, p.change.Files) {
			return q
		}
	}
	return p
}

// try commits one pending change. Whoever calls holds work.
func (c *Committer) try(ctx context.Context, p *pending) (string, error) {
	c.mu.Lock()
	p = c.current(p)
	change := p.change
	c.began = time.Now()
	c.mu.Unlock()
	id, err := c.Repo.Commit(ctx, change)
	c.mu.Lock()
	c.began = time.Time{}
	p.Tries++
	news := err != nil && (p.Err == nil || p.Err.Error() != err.Error())
	p.Err = err
	if err == nil {
		c.pending = slices.DeleteFunc(c.pending, func(q *pending) bool { return q == p })
		if len(c.pending) == 0 {
			c.again.done()
		}
	}
	c.mu.Unlock()
	switch {
	case err == nil && c.Done != nil:
		c.Done(change, id)
	case err != nil && c.Fail != nil:
		c.Fail(change, err)
	}
	if news {
		c.Log.Warn("commit failed, the change is on disk and is tried again", "subject", change.Subject, "err", err)
	}
	return id, err
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(file string) bool { return slices.Contains(b, file) })
}

// merge makes one change of two. The newer one's author makes the commit, the
// other is named in it.
func merge(old, new Change) Change {
	m := Change{
		Files:    slices.Clone(old.Files),
		Subject:  new.Subject,
		Body:     strings.TrimSpace(old.Body + "\n" + new.Body),
		Author:   new.Author,
		Trailers: slices.Clone(old.Trailers),
	}
	for _, file := range new.Files {
		if !slices.Contains(m.Files, file) {
			m.Files = append(m.Files, file)
		}
	}
	if old.Subject != new.Subject {
		m.Body = strings.TrimSpace(old.Subject + "\n" + m.Body)
	}
	trailers := new.Trailers
	if old.Author != new.Author {
		name, email := author(old.Author)
		trailers = append(trailers[:len(trailers):len(trailers)], [2]string{"Co-authored-by", name + " <" + email + ">"})
	}
	for _, t := range trailers {
		if !slices.Contains(m.Trailers, t) {
			m.Trailers = append(m.Trailers, t)
		}
	}
	m.Trailers = m.Trailers[max(0, len(m.Trailers)-maxTrailers):]
	m.Body = m.Body[max(0, len(m.Body)-maxBody):] // printable mends a character that is cut
	return m
}

// valid tells whether a change could be committed at all.
func (r *Repo) valid(c Change) error {
	if _, err := c.message(); err != nil {
		return err
	}
	if _, err := r.names(c.Files); errors.Is(err, errInvalid) {
		return err
	}
	return nil
}
