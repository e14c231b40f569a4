// Package compiler turns a topology's CUE source into a checked
// [topology.Topology] and the findings about it; and it says what of a new
// state may be applied while findings stand.
//
// Validity lives in package schema. The compiler evaluates it, finds the place
// in the user's files for each fault, and words it. It reads only the fs.FS it
// is given, resolves no secrets, opens no certificates, and keeps no state:
// every compilation has a CUE context of its own, because a context keeps all
// that was ever built in it.
package compiler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"clink/diagnostic"
	"clink/internal/secret"
	"clink/topology"
)

// Options of a compilation. The zero value is good.
type Options struct {
	Now      time.Time     // for findings that depend on the date
	Timeout  time.Duration // for reading and evaluating; 0: a minute
	Previous *Result       // of an earlier state of the same source: what did not change is taken from it

	// ReadFile reads a certificate or key that the source names, relative to
	// the topology directory. Without it no rule looks into files.
	ReadFile func(name string) ([]byte, error)
	// Secret tries a reference to a credential; without it none is tried.
	Secret func(secret.Ref) error
	// Here are the sites that this host runs; nil: all. Files with absolute
	// names and credentials are looked for only for these, and only with Secret.
	Here []string
}

// A Phase is a part of a compilation.
type Phase struct {
	Name string
	Took time.Duration
	Note string // what there was to do, such as "1000 files"
}

const defaultTimeout = 60 * time.Second

// A Result is what one source means. Topology holds every site that could be
// read at all, also those with findings, with every default filled in; it is
// never nil.
type Result struct {
	Topology *topology.Topology
	Findings diagnostic.List   // in source order
	Waived   diagnostic.List   // what waivers accept, in source order
	Sources  map[string][]byte // the files read, by name
	Phases   []Phase           // what the time went into, in order

	lost    map[string]string // files that could not be used, and why
	partial map[string]bool   // sites of which a part may stand in a lost file
	tainted map[string]bool   // files whose values depend on which sites there are
	bad     badPaths          // what could not be read
	masked  map[string]bool   // files that make sites, and sites that make links, in an unknown number

	defaults object // of links, and of other things

	parts map[string]*part // by file, of those that were evaluated alone
	rest  *part            // of all others

	ruled *ruled
	shelf *shelf // the certificate files that were read
}

// Compile reads the CUE package topology at the root of fsys. Faults of the
// source are findings; an error means that the work could not be done: no CUE
// files, unreadable, over a limit, or out of time.
//
// An evaluation of CUE cannot be interrupted. When it is given up, for its time
// or its memory, the error names the file, and the goroutine goes on until it
// ends by itself: do not compile the same source again.
func Compile(ctx context.Context, fsys fs.FS, opts Options) (*Result, error) {
	timeout := opts.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it took more than %v", timeout))
	defer cancel()
	watch := &stopwatch{}
	stop := watch.start("files")
	src, err := readSource(ctx, fsys)
	if err != nil {
		return nil, err
	}
	stop()
	watch.note("files", fmt.Sprintf("%d files, %d bytes", len(src.names), src.total))
	watch.doing(src.describe()) // until it is known more exactly
	var res *Result             // is not looked at when f is given up
	err = bounded(ctx, watch, maxHeap, func() error {
		r, err := compile(src, opts, watch)
		res = r
		return err
	})
	if gave := (*givenUp)(nil); errors.As(err, &gave) {
		return nil, err // it says where
	}
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", src.describe(), err)
	}
	return res, nil
}

func compile(src *source, opts Options, watch *stopwatch) (*Result, error) {
	c := &compilation{src: src, lost: map[string]string{}, watch: watch}
	return c.compile(opts)
}

func (c *compilation) compile(opts Options) (*Result, error) {
	t, err := c.evaluate(opts.Previous)
	if err != nil {
		return nil, err
	}
	k := &checker{t: t, names: c.names, at: c.locate, bad: c.bad, hidden: c.mayDeclare, lost: len(c.lost) > 0, masked: c.masked, opts: opts, edit: &editor{c.index}}
	stop := c.watch.start("rules")
	c.watch.doing(c.src.describe())
	own, err := c.readTeam()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(k.run(), own.run(t, k.anywhere)); err != nil {
		return nil, err
	}
	c.unknownRules(t, own)
	Derive(t)
	findings := slices.Concat(c.findings, k.findings, own.findings, c.duplicates())
	c.settle(findings)
	findings, waived := c.waive(findings, opts.Now, own)
	res := &Result{
		Topology: t,
		Findings: grade(findings, t.Severity).Sort(),
		Waived:   grade(waived, t.Severity).Sort(),
		Sources:  own.sources(),
		lost:     c.lost,
		partial:  c.partial(),
		tainted:  c.index.overSites,
		bad:      c.bad,
		masked:   c.masked,
		defaults: c.defaults,
		parts:    c.parts,
		rest:     c.rest,
		ruled:    k.ruled,
		shelf:    k.shelf,
	}
	stop()
	c.watch.note("rules", fmt.Sprintf("%d links", t.Links()))
	res.Phases = c.watch.phases
	return res, nil
}

// Check finds what is wrong between the sites of t, by the same rules as
// [Compile]. It knows no more of positions than t does.
func Check(t *topology.Topology, opts Options) diagnostic.List {
	k := &checker{t: t, opts: opts}
	if err := k.run(); err != nil {
		// The rules are clink's own text and run over data: this is a defect,
		// and nobody may take it for a clean topology.
		k.findings = append(k.findings, diagnostic.Diagnostic{Rule: ruleSchema, Severity: diagnostic.Error, Message: err.Error()})
	}
	return grade(k.findings, t.Severity).Sort()
}

// grade gives each finding its severity by the policy and drops those that are
// off. A rule that gates goes on gating unless it is off. What a comprehension
// made several times over is told once, and holds all that it made.
func grade(l diagnostic.List, policy map[string]diagnostic.Severity) diagnostic.List {
	type place struct {
		rule, message string
		pos           diagnostic.Pos
	}
	graded := make(diagnostic.List, 0, len(l))
	seen := make(map[place]int, len(l))
	for _, d := range l {
		if s, ok := policy[d.Rule]; ok && d.Rule != ruleSchema {
			d.Severity = s
		}
		if d.Severity == diagnostic.Off {
			continue
		}
		at := place{d.Rule, d.Message, d.Pos}
		if i, again := seen[at]; again {
			join(&graded[i], d)
			continue
		}
		seen[at] = len(graded)
		if d.Related == nil {
			d.Related = []diagnostic.Related{}
		}
		if d.Sites == nil {
			d.Sites = []string{}
		}
		graded = append(graded, d)
	}
	return graded
}

// join makes of two findings with the same words at the same place one.
func join(d *diagnostic.Diagnostic, other diagnostic.Diagnostic) {
	d.Holds, d.Links = slices.Concat(d.Holds, other.Holds), slices.Concat(d.Links, other.Links)
	const most = 20 // related places: one comprehension makes thousands of links
	for _, r := range other.Related {
		if len(d.Related) < most && r.Pos != d.Pos && !slices.Contains(d.Related, r) {
			d.Related = append(slices.Clip(d.Related), r)
		}
	}
	for _, s := range other.Sites {
		if !slices.Contains(d.Sites, s) {
			d.Sites = append(slices.Clip(d.Sites), s)
		}
	}
}
