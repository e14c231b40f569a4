// Package writeback makes a change of links that was asked for over an API part
// of the topology's source: as one transaction, from the fields of the links
// that are wanted to the files on disk, or to a refusal with nothing changed.
//
// A change is tried in memory first: the files are spliced, the outcome is
// compiled, and compared with what was asked for. Only then are credentials and
// certificates that came in clear put into files of their own, and the source's
// files replaced.
//
// It starts nothing and tells no broker: what is in force is for others, who
// look at the source.
package writeback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"clink/compiler"
	"clink/diagnostic"
	"clink/source"
	"clink/source/splice"
	"clink/topology"
)

// What a [Request] does with its links.
const (
	Create  = "create"  // each must be new
	Put     = "put"     // each is created or replaced
	Update  = "update"  // each must exist
	Replace = "replace" // they are all the links of the site
	Delete  = "delete"  // each must exist
)

// A Request is one change of the links of one site.
type Request struct {
	Op    string
	Site  string
	Links []map[string]any // the fields of each as JSON values, numbers as [encoding/json.Number]; "name" is the peer

	IfMatch  string // the revision that it is meant for; "": any
	Pair     bool   // the peer's half too: added, enabled or disabled, deleted
	Theirs   []any  // with Pair: the topics that the peer's half is to want; nil: none for one that is added, else those it has
	Override bool   // replace what is no literal in the source by the literal
	Prune    bool   // Replace may delete
	Strict   bool   // refuse for findings that do not gate, too
	DryRun   bool   // write nothing
}

// A Half is one half of a link that a request touched.
type Half struct{ Site, Peer string }

// An Outcome is what came of a request. After a dry run it is what would come.
type Outcome struct {
	Snapshot      *source.Snapshot // the source afterwards
	Before, After *compiler.Result
	Halves        []Half // that are as the request says, in its order, the peers' halves after them
	Created       []Half
	Files         []string          // of the source, changed; none: all was as it should be
	Replaced      map[string][]byte // what was in these files; nil: there was none
	Secrets       []string          // files that were made for credentials and certificates
	Findings      diagnostic.List   // that are new or name a touched half
	Diff          string            // of the files, credentials masked; after a dry run alone
}

// Why a request was refused.
const (
	NotFound   = "not-found"
	Exists     = "exists"
	Stale      = "stale"
	Conflict   = "conflict" // a value in the source is not a literal, or the text is out of the splicer's reach
	WouldPrune = "would-prune"
	ReadOnly   = "read-only"
	NoSpace    = "no-space"
	Invalid    = "invalid"

	unavailable = "unavailable" // too many changes wait already, or this one waited too long
)

// A Refusal is the error of a request that cannot be made; nothing was written.
type Refusal struct {
	Kind     string
	Message  string
	Findings diagnostic.List // for Invalid: what the change would bring
	Pos      diagnostic.Pos  // for Conflict
	Related  []diagnostic.Related
}

func (r *Refusal) Error() string { return r.Message }

func refuse(kind, format string, args ...any) *Refusal {
	return &Refusal{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// An Editor makes changes, one at a time.
type Editor struct {
	Dir *source.Dir
	// Options returns how to compile. Planned are files that do not exist yet,
	// by absolute name: they count as if they did.
	Options func(planned map[string][]byte) compiler.Options
	Secrets string // absolute: where credentials and certificates that come in clear are put
	Log     *slog.Logger
	// Begin, if not nil, is called with what is about to be written. What it
	// returns is called if that fails.
	Begin func(Request, Outcome) (failed func())
	// Done, if not nil, is called with what was written, before the next change
	// is begun: the files are still as this one left them, unless somebody else
	// saved them.
	Done func(context.Context, Request, Outcome)
	// Step, if not nil, is called after each file that is made in Secrets, as
	// [source.Options] has it.
	Step func(what string)

	turn  chan struct{} // holds one token; made by [New]
	line  chan struct{} // a token for each change that waits for its turn, or has it
	aside chan struct{} // a token for each [Editor.Try] at work

	known    *compiler.Result // of the revision below
	revision string
}

const (
	// most bounds how many changes wait: each holds what it asks for in memory,
	// and one that would wait longer than this gives is better told so.
	most = 128
	// editTime bounds one change that has its turn: trying it takes two or
	// three compilations.
	editTime = 2 * time.Minute
)

// New makes e ready, and returns it.
func New(e *Editor) *Editor {
	if e.Log == nil {
		e.Log = slog.New(slog.DiscardHandler)
	}
	if e.Step == nil {
		e.Step = func(string) {}
	}
	if e.Begin == nil {
		e.Begin = func(Request, Outcome) func() { return func() {} }
	}
	e.turn, e.line, e.aside = make(chan struct{}, 1), make(chan struct{}, most), make(chan struct{}, 1)
	sweep(e.Secrets, e.Log)
	return e
}

// tries bounds how often a change is begun anew because an editor saved a file
// in between.
const tries = 10

// Edit makes one change, or returns a [*Refusal]. Another error says that the
// work could not be done; then too nothing was written.
//
// A change that still waits for those before it is given up when ctx ends. Once
// it has its turn it is not: what is written is committed and told, whether or
// not whoever asked still listens.
func (e *Editor) Edit(ctx context.Context, r Request) (Outcome, error) {
	done, err := e.enter(ctx)
	if err != nil {
		return Outcome{}, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), editTime)
	defer cancel()
	for n := 1; ; n++ {
		out, err := e.try(ctx, r)
		moved := errors.Is(err, source.ErrStale) || errors.Is(err, source.ErrUnstable)
		if n < tries && moved && ctx.Err() == nil {
			continue // somebody saves files: look again
		}
		return out, refusal(err)
	}
}

// enter waits for the turn.
func (e *Editor) enter(ctx context.Context) (leave func(), err error) {
	select {
	case e.line <- struct{}{}:
	default:
		return nil, refuse(unavailable, "%d changes wait already: ask again later", most)
	}
	select {
	case e.turn <- struct{}{}:
		return func() { <-e.turn; <-e.line }, nil
	case <-ctx.Done():
		<-e.line
		return nil, refuse(unavailable, "the changes before this one took too long (%v); nothing was written", context.Cause(ctx))
	}
}

// refusal gives the errors of the source their kinds.
func refusal(err error) error {
	var conflict *splice.ConflictError
	switch {
	case errors.As(err, &conflict):
		return &Refusal{Kind: Conflict, Message: conflict.Error(), Pos: conflict.Pos, Related: conflict.Related}
	case errors.Is(err, source.ErrStale):
		return refuse(Stale, "%v, again and again: ask again", err)
	case errors.Is(err, source.ErrUnstable):
		return refuse(unavailable, "%v: ask again", err)
	case errors.Is(err, source.ErrReadOnly):
		return refuse(ReadOnly, "%v: change the links where the source is written", err)
	case errors.Is(err, source.ErrNoSpace), errors.Is(err, source.ErrTooLarge):
		return refuse(NoSpace, "%v; nothing was written", err)
	}
	return err
}

func (e *Editor) try(ctx context.Context, r Request) (Outcome, error) {
	snap, err := e.Dir.Snapshot(ctx)
	if err != nil {
		return Outcome{}, err
	}
	if r.IfMatch != "" && r.IfMatch != snap.Revision {
		return Outcome{}, refuse(Stale, "the source is at revision %s and no longer at %s: read it again", snap.Revision, r.IfMatch)
	}
	before, err := e.compiled(ctx, snap)
	if err != nil {
		return Outcome{}, err
	}
	c := &change{e: e, r: r, snap: snap, before: before, vault: newVault(e.Secrets, e.Dir.Path())}
	if err := c.plan(ctx); err != nil {
		return Outcome{}, err
	}
	if err := e.renew(ctx, c); err != nil {
		return Outcome{}, err
	}
	if err := c.judge(); err != nil {
		return Outcome{}, err
	}
	if r.DryRun || len(c.files) == 0 {
		return c.outcome(c.next), nil
	}
	if err := c.vault.write(e.Step); err != nil {
		return Outcome{}, err
	}
	failed := e.Begin(r, c.outcome(c.next))
	now, err := e.Dir.Replace(ctx, snap, c.files)
	if err != nil {
		failed()
		return Outcome{}, errors.Join(err, c.vault.undo())
	}
	e.known, e.revision = c.after, now.Revision
	out := c.outcome(now)
	if e.Done != nil {
		e.Done(ctx, r, out)
	}
	return out, nil
}

// Lock keeps the source's files from being changed by the editor until Unlock,
// for somebody else who will.
func (e *Editor) Lock() { e.turn <- struct{}{} }

// Unlock ends what Lock began.
func (e *Editor) Unlock() { <-e.turn }

// Try returns the half of a link as it would be with these fields, to be tried
// out; nothing is written to the source. What came in clear is in files until
// done is called.
func (e *Editor) Try(ctx context.Context, site string, fields map[string]any) (l topology.Link, done func(), err error) {
	select { // it compiles the source, which is not to be done by many at once
	case e.aside <- struct{}{}:
		defer func() { <-e.aside }()
	case <-ctx.Done():
		return l, nil, refuse(unavailable, "others try links out (%v): ask again", context.Cause(ctx))
	}
	snap, err := e.Dir.Snapshot(ctx)
	if err != nil {
		return l, nil, err
	}
	before, err := compiler.Compile(ctx, snap, e.Options(nil))
	if err != nil {
		return l, nil, err
	}
	dir, err := os.MkdirTemp("", "clink-try-*") // mode 0700
	if err != nil {
		return l, nil, fmt.Errorf("make a directory for credentials: %w", err)
	}
	done = func() { _ = os.RemoveAll(dir) } // it is in the system's place for such
	r := Request{Op: Put, Site: site, Links: []map[string]any{fields}, Override: true}
	c := &change{e: e, r: r, snap: snap, before: before, vault: newVault(dir, e.Dir.Path())}
	if err = c.plan(ctx); err == nil {
		err = c.vault.write(e.Step)
	}
	name, _ := fields["name"].(string)
	if err == nil {
		var ok bool
		if l, ok = c.after.Topology.Sites[site].Link(name); !ok {
			err = refuse(Invalid, "a link to %q cannot be made of these fields", name)
		}
	}
	if err != nil {
		done()
		return l, nil, refusal(err)
	}
	return l, done, nil
}

// compiled compiles a snapshot, unless it is what the last change left.
func (e *Editor) compiled(ctx context.Context, s *source.Snapshot) (*compiler.Result, error) {
	if e.known != nil && e.revision == s.Revision {
		return e.known, nil
	}
	o := e.Options(nil)
	o.Previous = e.known
	res, err := compiler.Compile(ctx, s, o)
	if err == nil {
		e.known, e.revision = res, s.Revision
	}
	return res, err
}

// renew compiles the source as it stands once more, if the change seems to
// bring findings and what is known is of an earlier moment: some findings
// depend on the clock and on files elsewhere, and are not this change's doing.
func (e *Editor) renew(ctx context.Context, c *change) error {
	if len(c.files) == 0 || len(c.fresh()) == 0 {
		return nil
	}
	o := e.Options(nil)
	o.Previous = c.before
	before, err := compiler.Compile(ctx, c.snap, o)
	if err == nil {
		c.before = before
	}
	return err
}

// A change is one try to make a request.
type change struct {
	e      *Editor
	r      Request
	snap   *source.Snapshot
	before *compiler.Result
	vault  *vault

	edits   []splice.LinkEdit
	created []Half
	files   map[string][]byte
	next    *source.Snapshot
	after   *compiler.Result
}

// plan decides what each half is to be, and tries it in memory.
func (c *change) plan(ctx context.Context) error {
	site := c.before.Topology.Sites[c.r.Site]
	if site == nil {
		return refuse(NotFound, "site %s cannot be read in the source now; GET /findings says why", c.r.Site)
	}
	if c.r.Op == Replace {
		if err := c.rest(site.Links); err != nil {
			return err
		}
	}
	for _, l := range c.r.Links {
		name, _ := l["name"].(string)
		_, exists := site.Link(name)
		if err := c.half(name, l, exists); err != nil {
			return err
		}
	}
	if err := c.try(ctx); err != nil {
		return err
	}
	if !c.r.Pair || c.r.Op == Delete {
		return nil
	}
	n := len(c.edits)
	if err := c.others(); err != nil || len(c.edits) == n {
		return err
	}
	return c.try(ctx)
}

// half decides what the half of one link of the request is to be.
func (c *change) half(peer string, fields map[string]any, exists bool) error {
	switch {
	case exists && c.r.Op == Create:
		return refuse(Exists, "Cluster link already exists")
	case !exists && (c.r.Op == Update || c.r.Op == Delete):
		return refuse(NotFound, "Cluster link not found")
	}
	if c.r.Op == Delete {
		return c.drop(peer)
	}
	var current map[string]any
	if exists {
		current, _ = c.before.Given(c.r.Site, peer)
	}
	want := maps.Clone(fields)
	delete(want, "name")
	if err := c.hide(want, current, c.r.Site, peer); err != nil {
		return err
	}
	c.edits = append(c.edits, splice.LinkEdit{Site: c.r.Site, Peer: peer, Want: want, Override: c.r.Override})
	if !exists {
		c.created = append(c.created, Half{c.r.Site, peer})
	}
	return nil
}

// drop deletes the half, and with Pair the other one where there is one.
func (c *change) drop(peer string) error {
	e := splice.LinkEdit{Site: c.r.Site, Peer: peer, Override: c.r.Override}
	c.edits = append(c.edits, e)
	if !c.r.Pair || peer == c.r.Site {
		return nil
	}
	other := c.before.Topology.Sites[peer]
	if other == nil && c.unreadable(peer) {
		return c.halfless(e, "its site cannot be read in the source now")
	}
	if other != nil {
		if _, ok := other.Link(c.r.Site); ok {
			c.edits = append(c.edits, splice.LinkEdit{Site: peer, Peer: c.r.Site, Override: c.r.Override})
		}
	}
	return nil
}

// try splices the edits, compiles what comes of it, and proves that it is what
// was asked for and nothing else.
func (c *change) try(ctx context.Context) (err error) {
	if c.files, err = splice.Apply(c.snap, c.edits, c.before); err != nil {
		return err
	}
	if c.next, c.after = c.snap, c.before; len(c.files) == 0 {
		return nil
	}
	c.next = c.snap.With(c.files)
	o := c.e.Options(c.vault.planned)
	o.Previous = c.before
	after, err := splice.Prove(ctx, c.next, c.edits, c.before, o)
	if err != nil {
		return err
	}
	c.after = after
	return nil
}

// outcome is what there is to tell, with the source as it is now.
func (c *change) outcome(now *source.Snapshot) Outcome {
	o := Outcome{
		Snapshot: now, Before: c.before, After: c.after, Created: c.created,
		Files: slices.Sorted(maps.Keys(c.files)), Replaced: map[string][]byte{}, Secrets: c.vault.names(),
	}
	for _, e := range c.edits {
		o.Halves = append(o.Halves, Half{e.Site, e.Peer})
	}
	o.Findings = c.told()
	for _, name := range o.Files {
		o.Replaced[name], _ = c.snap.ReadFile(name) // what is not there is empty
	}
	if c.r.DryRun {
		o.Diff = c.diff(o.Files)
	}
	return o
}

// diff is what changes in the files. It is shown to whoever asks, and the lines
// around a change are a human's: what is a credential in them is masked.
func (c *change) diff(files []string) string {
	known := append(literals(c.before.Topology), literals(c.after.Topology)...)
	slices.Sort(known)
	known = slices.Compact(known)
	var all strings.Builder
	for _, name := range files {
		old, _ := c.snap.ReadFile(name) // what is not there is empty
		all.WriteString(splice.DiffMasked(name, old, c.files[name], func(text []byte) []byte { return splice.Mask(name, text, known) }))
	}
	return all.String()
}
