package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"clink/compiler"
	"clink/diagnostic"
	"clink/httpapi"
	"clink/reconciler"
	"clink/source"
	"clink/source/git"
	"clink/source/writeback"
	"clink/topology"
)

// A recorder commits what is written back, and pushes it, where that is asked
// for. The zero recorder does nothing. An edit is never given up: what cannot
// be committed now is on disk, noted in the data directory, and tried again.
type recorder struct {
	repo      *git.Repo
	committer *git.Committer
	pusher    *git.Pusher // nil: nothing is pushed
	base      string      // the topology
	notes     *notes
	publish   func(topology.Event)
	edit      func(context.Context, writeback.Request) (writeback.Outcome, error) // set before run
	again     again
	log       *slog.Logger

	life  context.Context // ends when the process is told to
	heads chan string     // capacity 1: what HEAD was last seen to be

	mu   sync.Mutex // guards the fields below
	head string     // last looked at
	last string     // our last commit, "" if none is to be looked for
	lost string     // our last commit, if it is not in HEAD
}

// revisionTrailer is what a commit says of the source that it left.
const revisionTrailer = "Clink-Revision"

// commitTime bounds one commit, hooks included, before it is left to be tried
// again.
const commitTime = 30 * time.Second

// commitWait is how long a change waits for a commit, its own or one before it:
// a hook that hangs must not hold up whoever asked, nor the changes behind.
const commitWait = inForceWithin

// commitStop is what a commit is given when the process is to end.
const commitStop = 3 * time.Second

// newRecorder opens the repository around the topology.
func newRecorder(ctx context.Context, d *daemon) (*recorder, error) {
	if !d.gitCommit {
		return &recorder{}, nil
	}
	repo, err := git.Open(ctx, d.options.dir)
	if err != nil {
		return nil, fmt.Errorf("--git-commit: %w", err)
	}
	r := &recorder{
		repo: repo, base: d.options.dir, log: d.log, publish: d.rec.Publish, heads: make(chan string, 1),
		again: again{poke: make(chan struct{}, 1)},
		notes: &notes{path: filepath.Join(d.dataDir, "uncommitted"), log: d.log},
	}
	r.committer = &git.Committer{Repo: repo, Log: d.log, Done: r.committed, Fail: r.failed}
	if remote, branch, ok := strings.Cut(d.gitPush, "/"); ok {
		r.pusher = &git.Pusher{Repo: repo, Remote: remote, Branch: branch, Log: d.log, Check: checkPushed, Done: r.pushed}
	}
	return r, r.resume(ctx)
}

// resume takes up what an earlier process has written and not committed.
func (r *recorder) resume(ctx context.Context) error {
	for _, c := range r.notes.read() {
		dirty, err := r.repo.Dirty(ctx, c.Files)
		switch {
		case err == nil && len(dirty) > 0:
			r.log.Warn("an edit of an earlier run is not committed yet", "subject", c.Subject, "files", dirty)
			err = r.committer.Add(c)
		case err == nil:
			r.notes.remove(c)
		}
		if err != nil {
			return fmt.Errorf("--git-commit: %w", err)
		}
	}
	return nil
}

// run tries again what could not be committed or pushed, until ctx ends.
func (r *recorder) run(ctx context.Context) error {
	if r.repo == nil {
		return nil
	}
	var wg sync.WaitGroup
	var errs [2]error
	wg.Go(func() { errs[0] = r.committer.Run(ctx) })
	if r.pusher != nil {
		wg.Go(func() { errs[1] = r.pusher.Run(ctx) })
	}
	// A push that had to rebase moves HEAD a moment before it tells our commits'
	// new ids: what looks lost then is looked at once more.
	var head string
	settle := time.NewTimer(time.Hour)
	defer settle.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case head = <-r.heads:
			settle.Reset(0)
			if r.pusher != nil {
				settle.Reset(settleTime)
			}
		case <-settle.C:
			r.look(ctx, head)
		case <-r.again.poke:
			r.undone(ctx)
		}
	}
	wg.Wait()
	r.committer.Settle() // what nobody waits for any more: it is cut off soon
	return errors.Join(errs[:]...)
}

// settleTime is how long a push may take from moving HEAD to saying so.
const settleTime = 2 * time.Second

// begin notes what is about to be written, so that it is committed even if the
// process dies in between.
func (r *recorder) begin(q writeback.Request, out writeback.Outcome) (failed func()) {
	if r.repo == nil {
		return func() {}
	}
	c := r.change(asker{}, out)
	r.notes.add(c)
	return func() { r.notes.remove(c) }
}

// change is what the commit of a write says.
func (r *recorder) change(who asker, out writeback.Outcome) git.Change {
	c := git.Change{Author: who.key, Trailers: [][2]string{{revisionTrailer, out.Snapshot.Revision}}}
	if who.request != "" {
		c.Trailers = append(c.Trailers, [2]string{"Clink-Request-Id", who.request})
	}
	for _, f := range out.Files {
		c.Files = append(c.Files, filepath.Join(r.base, filepath.FromSlash(f)))
	}
	var lines []string
	for _, s := range reconciler.Plan(out.Before.Topology, out.After.Topology, nil) {
		line := fmt.Sprintf("%s: %s the link to %s", s.Site, s.Op, s.Peer)
		if len(lines) == 0 {
			c.Subject = line
		}
		if len(s.Fields) > 0 {
			line += ": " + strings.Join(s.Fields, ", ")
		}
		lines = append(lines, line)
	}
	switch len(lines) {
	case 0:
		c.Subject = "write links without changing what they say"
	case 1:
		_, changed, _ := strings.Cut(lines[0], c.Subject+": ")
		lines = nil
		if changed != "" {
			lines = []string{"Changed: " + changed}
		}
	default:
		c.Subject += fmt.Sprintf(", and %d more", len(lines)-1)
	}
	const most = 50
	if n := len(lines) - most; n > 0 {
		lines = append(lines[:most], fmt.Sprintf("and %d more", n))
	}
	c.Body = strings.Join(lines, "\n")
	return c
}

// record commits what was written.
func (r *recorder) record(ctx context.Context, who asker, q writeback.Request, out writeback.Outcome) {
	if r.repo == nil || len(out.Files) == 0 {
		return
	}
	c := r.change(who, out)
	r.notes.name(c)
	r.again.hold(r.base, q, who, out)
	if r.committer.Busy() > commitWait {
		if err := r.committer.Add(c); err != nil {
			r.log.Error("an edit cannot be committed", "subject", c.Subject, "err", err)
		}
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.commit(context.WithoutCancel(ctx), c)
	}()
	enough := time.NewTimer(commitWait)
	defer enough.Stop()
	select {
	case <-done:
	case <-enough.C:
		r.log.Warn("a commit takes long, and goes on by itself", "subject", c.Subject, "waited", commitWait)
	}
}

func (r *recorder) commit(ctx context.Context, c git.Change) {
	ctx, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	// A commit is not cut off because the process is to end, but a hook that
	// hangs is: git takes its lock files away, and the note is for the next run.
	defer context.AfterFunc(r.life, func() { time.AfterFunc(commitStop, cancel) })()
	if _, err := r.committer.Commit(ctx, c); err != nil {
		return // it is told and kept
	}
	if r.pusher != nil {
		r.pusher.Wake()
	}
}

func (r *recorder) committed(c git.Change, id string) {
	r.notes.remove(c)
	if r.again.settle(c) {
		return // it is not in the commit
	}
	r.mu.Lock()
	r.last, r.lost = id, ""
	r.mu.Unlock()
	r.publish(topology.Event{Type: "committed", Revision: trailer(c, revisionTrailer), Reason: "Committed", Message: fmt.Sprintf("commit %s: %s", id, c.Subject)})
	if r.pusher != nil {
		r.pusher.Wake()
	}
}

func (r *recorder) failed(c git.Change, err error) {
	r.publish(topology.Event{Type: "uncommitted", Revision: trailer(c, revisionTrailer), Reason: "CommitFailed", Message: fmt.Sprintf("%s: the edit is in the files and not committed: %v", c.Subject, err)})
}

func trailer(c git.Change, name string) string {
	for _, t := range c.Trailers {
		if t[0] == name {
			return t[1]
		}
	}
	return ""
}

// pushed notes what a push left: one that had to rebase gave our commits other
// ids.
func (r *recorder) pushed(s git.PushStatus) {
	if s.Err != nil {
		r.publish(topology.Event{Type: "unpushed", Reason: "PushFailed", Message: fmt.Sprintf("%d commits are not pushed: %v", s.Unpushed, s.Err)})
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.Pushed != "" && r.last != "" {
		r.last, r.lost = s.Pushed, ""
	}
}

// seen is told what HEAD is at each load.
func (r *recorder) seen(head string) {
	if r.repo == nil {
		return
	}
	select {
	case <-r.heads:
	default:
	}
	select {
	case r.heads <- head:
	default:
	}
}

// look notices that somebody has set the tree back behind our last commit, as a
// git-sync does that knows nothing of it.
func (r *recorder) look(ctx context.Context, head string) {
	r.mu.Lock()
	last, same := r.last, head == r.head
	r.head = head
	r.mu.Unlock()
	if last == "" || same || head == last {
		return
	}
	in, err := r.repo.Contains(ctx, last)
	if err != nil || in {
		return
	}
	r.mu.Lock()
	again := r.lost == last
	r.lost = last
	r.mu.Unlock()
	if again || ctx.Err() != nil {
		return
	}
	r.log.Warn("the topology was set back: the last edit over REST is no longer in it", "commit", last, "head", head,
		"next", "git show "+last+" has the edit; push edits with --git-push, or let whatever syncs the tree keep them")
	r.publish(topology.Event{Type: "reset", Reason: "EditLost", Message: fmt.Sprintf("the tree was set back to %.12s, which does not have commit %.12s, the last edit over REST; git show %.12s has it", head, last, last)})
}

// unpushed reports whether there are commits that others do not have.
func (r *recorder) unpushed() bool {
	return r.pusher != nil && (r.pusher.Status().Unpushed > 0 || len(r.committer.Status()) > 0 || r.pusher.Status().Pushed != r.lastCommit())
}

func (r *recorder) lastCommit() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// status is what the API tells, nil where nothing is committed.
func (r *recorder) status() *httpapi.Git {
	if r.repo == nil {
		return nil
	}
	r.mu.Lock()
	s := &httpapi.Git{Commit: r.last, Lost: r.lost, Uncommitted: []httpapi.Uncommitted{}}
	r.mu.Unlock()
	for _, p := range r.committer.Status() {
		u := httpapi.Uncommitted{Subject: p.Subject, Since: p.Since}
		if p.Err != nil {
			u.Error = p.Err.Error()
		}
		s.Uncommitted = append(s.Uncommitted, u)
	}
	if r.pusher != nil {
		p := r.pusher.Status()
		s.Unpushed = p.Unpushed
		if p.Err != nil {
			s.PushError, s.PushNext = p.Err.Error(), p.Next
		}
	}
	return s
}

// checkPushed refuses to push a topology that a rebase has made invalid: two
// changes that are each right may be wrong together. What depends on files that
// are not in git is for the hosts to judge.
func checkPushed(ctx context.Context, dir string) error {
	d, err := source.Open(dir, source.Options{})
	if err != nil {
		return err
	}
	snap, err := d.Snapshot(ctx)
	if err != nil {
		return err
	}
	res, err := compiler.Compile(ctx, snap, compiler.Options{Now: time.Now()})
	if err != nil {
		return err
	}
	gating := slices.DeleteFunc(slices.Clone(res.Findings), func(f diagnostic.Diagnostic) bool {
		rule, known := diagnostic.FindRule(f.Rule)
		return !known || !rule.Gates || f.Severity < diagnostic.Error
	})
	if len(gating) == 0 {
		return nil
	}
	return fmt.Errorf("together with what others pushed the topology has %d errors, the first is %s: %s", len(gating), gating[0].Pos, gating[0].Message)
}
