package git

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	pushFirst = 2 * time.Second
	pushLast  = 5 * time.Minute
)

// A Pusher pushes what is not pushed, and tries again where that fails.
type Pusher struct {
	Repo           *Repo
	Remote, Branch string
	Check          func(ctx context.Context, dir string) error // see [Repo.Push]
	Log            *slog.Logger                                // nil for none
	Done           func(PushStatus)                            // called after each try, may be nil

	first, last time.Duration // between tries; for tests
	once        sync.Once
	poke        chan struct{}

	mu     sync.Mutex
	status PushStatus
	again  retrier
}

// A PushStatus is what is known of the commits that are to be pushed.
type PushStatus struct {
	Unpushed int       // commits that the remote branch is not known to have
	Pushed   string    // the last commit that it was seen to have here
	Since    time.Time // of the first try in a row that failed, zero if the last one did not
	Tries    int       // that failed in a row
	Err      error     // of the last try
	Next     time.Time // when it is tried again, zero if there is nothing to do
}

func (p *Pusher) init() {
	p.once.Do(func() {
		p.poke = make(chan struct{}, 1)
		p.again = retrier{first: pushFirst, last: pushLast}
		if p.first > 0 {
			p.again.first, p.again.last = p.first, p.last
		}
		if p.Log == nil {
			p.Log = slog.New(slog.DiscardHandler)
		}
	})
}

// Wake asks for a push soon, such as after a commit. It never blocks. While
// pushes fail it shortens the wait, but does not end it: a remote that refuses
// a password is not to be asked at every commit.
func (p *Pusher) Wake() {
	p.init()
	p.mu.Lock()
	at := time.Now()
	if p.again.failures > 0 {
		at = at.Add(p.again.first)
	}
	if p.again.next.IsZero() || at.Before(p.again.next) {
		p.again.next = at
	}
	p.mu.Unlock()
	prod(p.poke)
}

// Status returns what the last try left.
func (p *Pusher) Status() PushStatus {
	p.init()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.status
	s.Next = p.again.next
	return s
}

// Run pushes until ctx ends, and then returns nil. It begins with what an
// earlier process has left unpushed.
func (p *Pusher) Run(ctx context.Context) error {
	p.Wake()
	loop(ctx, p.poke, func() time.Time {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.again.next
	}, func() { p.try(ctx) })
	return nil
}

func (p *Pusher) try(ctx context.Context) {
	p.mu.Lock()
	p.again.next = time.Time{} // a wake from here on asks for another push
	p.mu.Unlock()
	p.count(ctx) // a push can take long; until then the number tells
	err := p.Repo.Push(ctx, p.Remote, p.Branch, p.Check)
	if ctx.Err() != nil {
		return
	}
	p.count(ctx)
	p.tell(err)
	if p.Done != nil {
		p.Done(p.Status())
	}
}

// count keeps the old number where git cannot tell: the push says why.
func (p *Pusher) count(ctx context.Context) {
	t, err := p.Repo.target(ctx, p.Remote, p.Branch)
	if err != nil {
		return
	}
	n, err := p.Repo.unpushed(ctx, t)
	if err != nil {
		return
	}
	seen, err := p.Repo.resolve(ctx, t.tracking)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.status.Unpushed, p.status.Pushed = n, seen
	p.mu.Unlock()
}

func (p *Pusher) tell(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.status
	if err == nil {
		s.Since, s.Tries, s.Err = time.Time{}, 0, nil
		p.again.failures = 0
		return
	}
	if s.Err == nil || s.Err.Error() != err.Error() {
		p.Log.Warn("push failed, it is tried again", "unpushed", s.Unpushed, "err", err)
	}
	if s.Since.IsZero() {
		s.Since = time.Now()
	}
	s.Tries++
	s.Err = err
	p.again.failed()
}
