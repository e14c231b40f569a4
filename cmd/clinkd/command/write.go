package command

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"clink/compiler"
	"clink/flow"
	"clink/httpapi"
	"clink/internal/pki"
	"clink/internal/secret"
	"clink/linkengine"
	"clink/reconciler"
	"clink/source"
	"clink/source/writeback"
	"clink/topology"
)

// inForceWithin is how long a write waits to be in force before it is answered.
const inForceWithin = 10 * time.Second

// A writer is the REST API's [httpapi.Writer] and [httpapi.Operator]: what is
// written takes the same road as an edit of the files, which begins with the
// source.
type writer struct {
	d      *daemon
	editor *writeback.Editor
}

func newWriter(d *daemon) *writer {
	w := &writer{d: d}
	w.editor = writeback.New(&writeback.Editor{
		Dir: d.dir, Secrets: d.secretsDir, Log: d.log, Options: w.compileOptions,
		Begin: d.git.begin, Done: w.written,
	})
	return w
}

// compileOptions are the loader's, with files that do not exist yet.
func (w *writer) compileOptions(planned map[string][]byte) compiler.Options {
	base := w.d.dir.Path()
	o := compileOptions(base, time.Now(), w.d.sites)
	o.Timeout = w.d.loader.timeout
	o.ReadFile = func(name string) ([]byte, error) {
		at := filepath.FromSlash(name)
		if !filepath.IsAbs(at) {
			at = filepath.Join(base, at)
		}
		if text, ok := planned[at]; ok {
			return text, nil
		}
		return pki.ReadFile(base, name)
	}
	resolve := o.Secret
	o.Secret = func(r secret.Ref) error {
		if _, ok := planned[r.File(base)]; ok {
			return nil
		}
		return resolve(r)
	}
	return o
}

// written is called when a change is in the files, and before the next one
// begins.
func (w *writer) written(ctx context.Context, q writeback.Request, out writeback.Outcome) {
	who := askerOf(ctx)
	w.d.loader.wrote(out.Snapshot.Revision, who.key)
	w.d.loader.compiled(out.After)
	// The commit is to be told with the revision, but a hook that takes long
	// must not hold up what is wanted now.
	late := time.AfterFunc(commitGrace, w.d.rec.Wake)
	w.d.git.record(ctx, who, q, out)
	late.Stop()
	w.d.rec.Wake()
}

// commitGrace is how long a change waits for its commit before it is applied.
const commitGrace = 200 * time.Millisecond

// An asker is who asked for a change.
type asker struct{ key, request string }

type askerKey struct{}

func askerOf(ctx context.Context) asker {
	who, _ := ctx.Value(askerKey{}).(asker) // the zero one is clinkd itself
	return who
}

// Write implements [httpapi.Writer].
func (w *writer) Write(ctx context.Context, r httpapi.Write) (httpapi.Written, error) {
	waiting, cancel := context.WithTimeout(context.WithValue(ctx, askerKey{}, asker{r.By, r.RequestID}), turnTime)
	defer cancel()
	out, err := w.editor.Edit(waiting, writeback.Request{
		Op: r.Op, Site: r.Site, Links: r.Links, IfMatch: r.IfMatch,
		Pair: r.Pair, Theirs: r.Theirs, Override: r.Override, Prune: r.Prune, Strict: r.Strict, DryRun: r.DryRun,
	})
	if err != nil {
		return httpapi.Written{}, w.refused(err)
	}
	res := httpapi.Written{
		Revision: out.Snapshot.Revision,
		Created:  slices.ContainsFunc(out.Created, func(h writeback.Half) bool { return h.Site == r.Site }),
		Findings: out.Findings,
	}
	if r.DryRun {
		res.Plan, res.Diff = reconciler.Plan(out.Before.Topology, out.After.Topology, nil), out.Diff
		res.Flows = flow.Diff(touched(out.Before.Topology, out.Halves), touched(out.After.Topology, out.Halves))
		return res, nil
	}
	if res.InForce = len(out.Files) == 0 || w.inForce(ctx, out); !res.InForce {
		res.Reason = w.notYet()
	}
	for _, h := range out.Halves {
		res.Halves = append(res.Halves, httpapi.Half{Site: h.Site, Peer: h.Peer, State: w.state(h.Site, res.InForce)})
	}
	res.Links, err = w.links(ctx, r)
	return res, err
}

// turnTime is how long a change waits for those before it.
const turnTime = 20 * time.Second

// touched is a topology with no more sites than a change can make a difference
// between: what flows between two sites is up to their own halves, and that of
// a whole fleet takes long to say.
func touched(t *topology.Topology, halves []writeback.Half) *topology.Topology {
	few := &topology.Topology{Sites: map[string]*topology.Site{}}
	for _, h := range halves {
		for _, name := range []string{h.Site, h.Peer} {
			if s := t.Sites[name]; s != nil {
				few.Sites[name] = s
			}
		}
	}
	return few
}

// refused turns a refusal of the source into the API's.
func (w *writer) refused(err error) error {
	var r *writeback.Refusal
	switch {
	case errors.As(err, &r):
		return &httpapi.Refusal{Kind: r.Kind, Message: r.Message, Findings: r.Findings, Pos: r.Pos, Related: r.Related}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, source.ErrUnstable):
		return &httpapi.Refusal{Kind: httpapi.Unavailable, Message: err.Error() + ": ask again"}
	}
	return err
}

// inForce waits until the sites that a change touches, and that run here, have
// had their turn for it.
func (w *writer) inForce(ctx context.Context, out writeback.Outcome) bool {
	var here []string
	for _, h := range out.Halves {
		if w.d.nodes[h.Site] != nil && !slices.Contains(here, h.Site) {
			here = append(here, h.Site)
		}
	}
	if len(here) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, inForceWithin)
	defer cancel()
	return w.d.rec.Wait(ctx, out.Snapshot.Revision, here...) == nil
}

// notYet says why what is written is not in force.
func (w *writer) notYet() string {
	if s := w.d.rec.State(); s.LoadError != "" {
		return "the source cannot be loaded: " + s.LoadError
	}
	return fmt.Sprintf("not every site has come to it within %v; GET /status says what is going on", inForceWithin)
}

// state says how far the half of a site has come.
func (w *writer) state(site string, inForce bool) string {
	switch {
	case w.d.nodes[site] == nil && w.d.git.unpushed():
		return "unpushed"
	case w.d.nodes[site] == nil || !inForce:
		return "written"
	}
	return "applied"
}

// links are those that the answer is about, as they run.
func (w *writer) links(ctx context.Context, r httpapi.Write) ([]httpapi.Link, error) {
	all, err := w.d.Links(ctx, r.Site)
	if err != nil || r.Op == writeback.Replace {
		return all, err
	}
	return slices.DeleteFunc(all, func(l httpapi.Link) bool {
		return !slices.ContainsFunc(r.Links, func(m map[string]any) bool { return m["name"] == l.Name })
	}), nil
}

// Suspend implements [httpapi.Operator].
func (w *writer) Suspend(ctx context.Context, s topology.Suspension) error {
	return operated(w.d.rec.Suspend(ctx, s))
}

// Resume implements [httpapi.Operator].
func (w *writer) Resume(ctx context.Context, site, peer, by string) error {
	return operated(w.d.rec.Resume(ctx, site, peer, by))
}

// operated turns an error of the reconciler into the API's.
func operated(err error) error {
	switch {
	case errors.Is(err, reconciler.ErrNoLink):
		return &httpapi.Refusal{Kind: httpapi.NotFound}
	case errors.Is(err, context.DeadlineExceeded):
		return &httpapi.Refusal{Kind: httpapi.Unavailable, Message: err.Error()}
	}
	return err
}

// Probe implements [httpapi.Operator].
func (w *writer) Probe(ctx context.Context, site string, fields map[string]any) (topology.Probe, error) {
	node := w.d.nodes[site]
	if node == nil {
		return topology.Probe{}, fmt.Errorf("no site %q here", site)
	}
	name, _ := fields["name"].(string)
	if len(fields) > 1 {
		bounded, cancel := context.WithTimeout(ctx, turnTime)
		defer cancel()
		l, done, err := w.editor.Try(bounded, site, fields)
		if err != nil {
			return topology.Probe{}, w.refused(err)
		}
		defer done()
		return node.engine.Probe(ctx, l), nil
	}
	links := node.engine.Links()
	i := slices.IndexFunc(links, func(l topology.Link) bool { return l.Name == name })
	if i < 0 {
		return topology.Probe{}, &httpapi.Refusal{Kind: httpapi.NotFound}
	}
	return node.engine.Probe(ctx, links[i]), nil
}

// Trace implements [httpapi.Operator].
func (w *writer) Trace(ctx context.Context, site string, p topology.Probing) (topology.Trace, error) {
	node := w.d.nodes[site]
	if node == nil {
		return topology.Trace{}, &httpapi.Refusal{Kind: httpapi.NotFound}
	}
	t, err := node.engine.Trace(ctx, p)
	switch {
	case errors.Is(err, linkengine.ErrProbe):
		return t, &httpapi.Refusal{Kind: httpapi.Invalid, Message: err.Error()}
	case errors.Is(err, linkengine.ErrProbes):
		return t, &httpapi.Refusal{Kind: httpapi.Unavailable, Message: err.Error()}
	}
	return t, err
}

// ResetMetrics implements [httpapi.Operator].
func (w *writer) ResetMetrics(_ context.Context, site, peer string) error {
	if node := w.d.nodes[site]; node == nil || !node.engine.ResetMetrics(peer) {
		return &httpapi.Refusal{Kind: httpapi.NotFound}
	}
	return nil
}

// An observer is the REST API's [httpapi.Observer].
type observer struct{ d *daemon }

// Revisions implements [httpapi.Observer].
func (o observer) Revisions() []httpapi.Revision {
	var l []httpapi.Revision
	for _, p := range o.d.rec.State().History {
		l = append(l, httpapi.Revision{
			Revision: p.Revision, Commit: p.Commit, Author: p.Author, At: p.At, Errors: p.Errors, Warnings: p.Warnings,
			Plan: p.Plan, Result: p.Result, Error: p.Error, Took: p.Duration,
		})
	}
	return l
}

// Events implements [httpapi.Observer].
func (o observer) Events(after uint64) ([]topology.Event, <-chan topology.Event, func()) {
	return o.d.rec.Events(after)
}

// Topology implements [httpapi.Observer].
func (o observer) Topology() (*topology.Topology, string) { return o.d.loader.wanted() }

// Conditions implements [httpapi.Observer].
func (o observer) Conditions() []topology.Condition { return o.d.rec.State().Conditions }

// Detail implements [httpapi.Observer].
func (o observer) Detail(revision string) (httpapi.RevisionDetail, bool) {
	return o.d.loader.changes.detail(revision)
}

// Source implements [httpapi.Observer].
func (o observer) Source(site, peer string) []httpapi.Block { return o.d.loader.blocks(site, peer) }

// Observed implements [httpapi.Observer].
func (o observer) Observed(ctx context.Context) ([]httpapi.Observed, error) {
	suspended := map[[2]string]bool{}
	for _, s := range o.d.rec.State().Suspensions {
		suspended[[2]string{s.Site, s.Peer}] = true
	}
	var list []httpapi.Observed
	for _, site := range o.d.sites {
		status, err := o.d.nodes[site].Status(ctx)
		if err != nil {
			return nil, fmt.Errorf("status of the links of site %s: %w", site, err)
		}
		for _, s := range status {
			list = append(list, httpapi.Observed{Site: site, Status: s, Suspended: suspended[[2]string{site, s.Peer}]})
		}
	}
	return list, nil
}
