package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"clink/compiler"
	"clink/internal/pki"
	"clink/internal/secret"
	"clink/reconciler"
	"clink/source"
	"clink/topology"
)

// A loader turns the source into what the reconciler should bring about: it
// takes a snapshot, compiles it, keeps what a finding holds back at its last
// good state, and remembers the outcome for the next start.
type loader struct {
	dir     *source.Dir
	dataDir string
	sites   []string
	log     *slog.Logger
	timeout time.Duration // of a compilation; 0: the compiler's own
	memory  *memory

	seen func(commit string) // told what is loaded, may be nil

	mu       sync.Mutex // guards the fields below
	last     reconciler.LastGood
	wasWhole bool // a load since the start held back no site
	nSites   int  // in the source
	nLinks   int
	result   *compiler.Result // of the last source that could be compiled: what did not change is taken from it
	endless  string           // revision of a source whose evaluation was given up
	gaveUp   error            // and why
	authors  []authored       // the latest revisions that came over REST, the newest last
	topology *topology.Topology
	revision string
	clashes  []clash // among the listeners of what is in force

	changes changes // has its own lock
}

// An authored revision is one that an API key wrote.
type authored struct{ revision, key string }

const maxAuthors = 100

// wrote notes who wrote a revision.
func (l *loader) wrote(revision, key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.authors = append(l.authors, authored{revision, key})
	l.authors = l.authors[max(0, len(l.authors)-maxAuthors):]
}

func (l *loader) author(revision string) string {
	for _, a := range slices.Backward(l.authors) {
		if a.revision == revision {
			return a.key
		}
	}
	return ""
}

// wanted is what the source says, whether or not it is in force; nil before the
// first load.
func (l *loader) wanted() (t *topology.Topology, revision string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.topology, l.revision
}

// load is the reconciler's Load.
func (l *loader) load(ctx context.Context) (reconciler.Desired, error) {
	snap, err := l.dir.Snapshot(ctx)
	if err != nil {
		return reconciler.Desired{}, err
	}
	now := time.Now()
	res, err := l.compile(ctx, snap, now)
	if err != nil {
		return reconciler.Desired{}, fmt.Errorf("compile the topology: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	applied, held := compiler.Hold(res, l.last.Topology, l.last.Held, now)
	files := l.referenced(applied)
	l.dir.SetExtra(files) // before the digests, so that no change falls between
	l.digest(applied)
	l.keepUsable(applied, l.last.Topology)
	l.last = reconciler.LastGood{Topology: applied, Held: held, Revision: snap.Revision}
	l.nSites, l.nLinks = len(res.Topology.Sites), res.Topology.Links()
	l.wasWhole = l.wasWhole || !slices.ContainsFunc(held, func(h topology.Held) bool { return h.Peer == "" })
	if l.revision != snap.Revision { // the same source wants the same
		l.topology, l.revision = res.Topology, snap.Revision
	}
	l.changes.note(snap.Revision, res)
	l.tellClashes(applied)
	l.memory.follow(applied, l.sites)
	if l.seen != nil {
		l.seen(snap.Commit)
	}
	d := reconciler.Desired{Topology: applied, Revision: snap.Revision, Commit: snap.Commit, Author: l.author(snap.Revision), Findings: res.Findings, Waived: res.Waived, Held: held}
	if err := l.remember(); err != nil {
		// A full disk must not stop an incident's change from taking effect.
		l.log.Error("the last good state could not be kept; a restart on a broken source would go without it", "err", err)
	}
	return d, nil
}

// compileOptions look into the files and credentials that the sites need which
// this process runs.
func compileOptions(base string, now time.Time, here []string) compiler.Options {
	return compiler.Options{
		Now:      now,
		ReadFile: func(name string) ([]byte, error) { return pki.ReadFile(base, name) },
		Secret: func(r secret.Ref) error {
			_, err := r.Resolve(base)
			return err
		},
		Here: here,
	}
}

// compiled hands over what somebody else has made of the source, so that what
// is the same in the next snapshot need not be evaluated again.
func (l *loader) compiled(res *compiler.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.result = res
}

// compile compiles the source. One whose evaluation was given up is not
// evaluated again until it changes: what was given up is still going on.
func (l *loader) compile(ctx context.Context, snap *source.Snapshot, now time.Time) (*compiler.Result, error) {
	l.mu.Lock()
	previous, endless, gaveUp := l.result, l.endless, l.gaveUp
	l.mu.Unlock()
	if gaveUp != nil && endless == snap.Revision {
		return nil, fmt.Errorf("%w (not tried again until the source changes)", gaveUp)
	}
	opts := compileOptions(l.dir.Path(), now, l.sites)
	opts.Timeout, opts.Previous = l.timeout, previous
	res, err := compiler.Compile(ctx, snap, opts)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.result = res
	} else if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		l.endless, l.gaveUp = snap.Revision, err
		l.log.Error("the evaluation of the source was given up; it may go on to take processor time and memory until clinkd is restarted", "err", err)
	}
	return res, err
}

// restore reads the last good state of an earlier run: the newest that any
// site of this process has. It is set aside where it cannot be used.
func (l *loader) restore() error {
	var errs []error
	for _, site := range l.sites {
		g, err := reconciler.ReadLastGood(lastGoodFile(l.dataDir, site))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			errs = append(errs, err)
		case l.last.Topology == nil:
			l.last = g
		}
	}
	return errors.Join(errs...)
}

func (l *loader) remember() error {
	var files []string
	for _, site := range l.sites {
		files = append(files, lastGoodFile(l.dataDir, site))
	}
	if len(files) == 0 {
		return nil
	}
	return reconciler.SaveLastGood(files[0], l.last, files[1:]...)
}

func lastGoodFile(dataDir, site string) string {
	return filepath.Join(siteDir(dataDir, site), "last-good")
}

// good reports whether the source could be read as a whole since the start.
func (l *loader) good() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wasWhole
}

// size returns how many sites and links the source has.
func (l *loader) size() (sites, links int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nSites, l.nLinks
}

// digest makes the content of the files that links, listeners, grants and
// accounts name a part of them, so that a rotated secret or certificate is a
// change of exactly those that use it.
func (l *loader) digest(t *topology.Topology) {
	base := l.dir.Path()
	for _, name := range l.sites {
		// What is held back shares its lists with the state before, which
		// others are reading.
		if s, ok := t.Sites[name]; ok {
			s.Links, s.Listeners, s.Grants = slices.Clone(s.Links), slices.Clone(s.Listeners), slices.Clone(s.Grants)
		}
	}
	l.eachUse(t, func(digest *string, files []string) { *digest = source.Digest(base, files) })
}

// referenced returns the secret and certificate files of this process's sites.
func (l *loader) referenced(t *topology.Topology) []string {
	var all []string
	l.eachUse(t, func(_ *string, files []string) { all = append(all, files...) })
	slices.Sort(all)
	return slices.Compact(all)
}

// eachUse calls f for each part of this process's sites that may name files,
// with the part's digest.
func (l *loader) eachUse(t *topology.Topology, f func(digest *string, files []string)) {
	base := l.dir.Path()
	use := func(digest *string, tls []string, secrets ...string) {
		files := append(tls, secrets...)
		f(digest, slices.DeleteFunc(files, func(p string) bool { return p == "" }))
	}
	for _, name := range l.sites {
		s, ok := t.Sites[name]
		if !ok {
			continue
		}
		for i := range s.Links {
			k := &s.Links[i]
			use(&k.Digest, k.SSL.Files(), k.Password.File(base), k.SSL.Password.File(base))
		}
		for i := range s.Listeners {
			k := &s.Listeners[i]
			use(&k.Digest, k.SSL.Files(), k.SSL.Password.File(base))
		}
		for i := range s.Grants {
			g := &s.Grants[i]
			use(&g.Digest, nil, g.Password.File(base), g.PasswordHash.File(base))
		}
		var accounts []string
		for _, u := range s.Access.Users {
			accounts = append(accounts, u.Password.File(base), u.PasswordHash.File(base))
		}
		use(&s.Access.Digest, nil, accounts...)
	}
}
