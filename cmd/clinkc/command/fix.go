package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"clink/diagnostic"
)

// maxRounds bounds how often what was mended is looked at again: a mend may
// bring to light what another one can mend.
const maxRounds = 100

// fix mends in the source what can be mended for certain, and prints the
// findings that remain. Every mend is tried in memory first: one after which
// its finding is still there, or an error is that was not before, is left out.
func (c Command) fix(ctx context.Context, o *vetOptions, args []string) error {
	files, revision, err := c.read(ctx, args)
	if err != nil {
		return err
	}
	first, err := c.compile(ctx, files, revision, args, o.loading())
	if err != nil {
		return err
	}
	if _, err := c.about(first, o, args); err != nil {
		return err
	}
	m := &mender{c: c, o: o, args: args, files: overlay{files, map[string][]byte{}}, revision: revision}
	if err := m.run(ctx, first); err != nil {
		return err
	}
	if err := m.write(); err != nil {
		return err
	}
	for _, line := range m.done {
		fmt.Fprintln(c.Stderr, line)
	}
	l, err := c.load(ctx, args, o.loading())
	if err != nil {
		return err
	}
	return c.verdict(l, o, args)
}

// A mender applies fixes in memory.
type mender struct {
	c        Command
	o        *vetOptions
	args     []string
	files    overlay
	revision string
	original map[string][]byte
	done     []string // what was mended, for people
}

func (m *mender) run(ctx context.Context, now *loaded) error {
	m.original = now.Sources
	left := map[string]bool{} // what made things worse
	for range maxRounds {
		list := slices.DeleteFunc(m.wanted(now), func(d diagnostic.Diagnostic) bool { return left[findingKey(d)] })
		list = apart(list)
		if len(list) == 0 {
			return ctx.Err()
		}
		next := m.attempt(ctx, now, list)
		if next != nil || ctx.Err() != nil {
			now = next
			if now == nil {
				return ctx.Err()
			}
			continue
		}
		// One of them is in the way of the others.
		var alone *loaded
		for _, d := range list {
			if alone = m.attempt(ctx, now, diagnostic.List{d}); alone != nil {
				break // positions have moved
			}
			left[findingKey(d)] = true
		}
		if alone == nil {
			return ctx.Err()
		}
		now = alone
	}
	return ctx.Err()
}

// apart leaves out mends that touch what an earlier one changes. Those that put
// something in at one place follow each other there.
func apart(list diagnostic.List) diagnostic.List {
	var kept diagnostic.List
	var edits []diagnostic.Edit
	for _, d := range list {
		meets := slices.ContainsFunc(d.Fix.Edits, func(e diagnostic.Edit) bool {
			return slices.ContainsFunc(edits, func(x diagnostic.Edit) bool {
				return e.Pos != x.Pos && touch(e.Pos, x.Pos) || e.Pos == x.Pos && !inserts(e)
			})
		})
		if !meets {
			kept, edits = append(kept, d), append(edits, d.Fix.Edits...)
		}
	}
	return kept
}

// findingKey tells findings apart by more than where they are.
func findingKey(d diagnostic.Diagnostic) string {
	return d.Rule + "\x00" + strings.Join(d.Sites, "\x00") + "\x00" + d.Message
}

// attempt compiles the source with the mends made, and keeps them if all that
// they aim at is gone and no error came; else it returns nil.
func (m *mender) attempt(ctx context.Context, now *loaded, aims diagnostic.List) *loaded {
	var edits []diagnostic.Edit
	for _, d := range aims {
		edits = append(edits, d.Fix.Edits...)
	}
	texts, err := applyEdits(now.Sources, edits)
	if err != nil {
		return nil
	}
	tried := m.files.with(texts)
	how := m.o.loading()
	how.previous = now.Result
	next, err := m.c.compile(ctx, tried, m.revision, m.args, how)
	if err != nil || worse(now.Findings, next.Findings, aims) {
		return nil
	}
	m.files = tried
	for _, d := range aims {
		m.done = append(m.done, fmt.Sprintf("fixed %s: %s: %s", d.Pos, d.Rule, d.Fix.Message))
	}
	return next
}

// wanted are the findings that have a mend and were asked for.
func (m *mender) wanted(now *loaded) diagnostic.List {
	report, err := m.c.about(now, m.o, m.args)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(report.Findings), func(d diagnostic.Diagnostic) bool {
		return d.Fix == nil || len(d.Fix.Edits) == 0
	})
}

// worse reports whether an aim is still there, or an error that was not.
func worse(before, after, aims diagnostic.List) bool {
	key := func(d diagnostic.Diagnostic) string { return d.Rule + "\x00" + strings.Join(d.Sites, "\x00") }
	had, aimed := map[string]int{}, map[string]int{}
	for _, d := range before {
		had[key(d)]++
	}
	for _, d := range aims {
		aimed[key(d)]++
	}
	have := map[string]int{}
	for _, d := range after {
		have[key(d)]++
		if n := have[key(d)]; d.Severity == diagnostic.Error && n > had[key(d)] && !uncovered(d, aims) {
			return true
		}
	}
	for k, n := range aimed {
		if have[k] > had[k]-n {
			return true
		}
	}
	return false
}

// uncovered reports whether a finding was there before and not told, because an
// aim silenced it: as long as an address is wrong, nothing is said of the TLS
// that is spoken there.
func uncovered(d diagnostic.Diagnostic, aims diagnostic.List) bool {
	if !strings.HasPrefix(d.Rule, "tls-") && d.Rule != "listener-loopback" {
		return false
	}
	return slices.ContainsFunc(aims, func(aim diagnostic.Diagnostic) bool {
		return strings.HasPrefix(aim.Rule, "server-") && len(d.Sites) > 0 && aim.Sites[0] == d.Sites[0]
	})
}

// inserts reports whether an edit only puts something in.
func inserts(e diagnostic.Edit) bool {
	return e.Pos.Line == e.Pos.EndLine && e.Pos.Column == e.Pos.EndColumn
}

// touch reports whether two ranges overlap or meet.
func touch(a, b diagnostic.Pos) bool {
	if a.File != b.File {
		return false
	}
	before := func(l1, c1, l2, c2 int) bool { return l1 < l2 || l1 == l2 && c1 < c2 }
	return !before(a.EndLine, a.EndColumn, b.Line, b.Column) && !before(b.EndLine, b.EndColumn, a.Line, a.Column)
}

// applyEdits returns the files that the edits change, as they are then.
func applyEdits(sources map[string][]byte, edits []diagnostic.Edit) (map[string][]byte, error) {
	byFile := map[string][]diagnostic.Edit{}
	for _, e := range edits {
		byFile[e.Pos.File] = append(byFile[e.Pos.File], e)
	}
	texts := map[string][]byte{}
	for file, list := range byFile {
		text, ok := sources[file]
		if !ok {
			return nil, fmt.Errorf("%s was not read", file)
		}
		// From the end on, so that offsets before stay as they are; of those at
		// one place the last one first, so that they come to stand in order.
		slices.Reverse(list)
		slices.SortStableFunc(list, func(a, b diagnostic.Edit) int { return b.Pos.Compare(a.Pos) })
		for _, e := range list {
			from, to := offset(text, e.Pos.Line, e.Pos.Column), offset(text, e.Pos.EndLine, e.Pos.EndColumn)
			if from < 0 || to < from {
				return nil, fmt.Errorf("%s: no such place", e.Pos)
			}
			text = slices.Concat(text[:from], []byte(e.Text), text[to:])
		}
		texts[file] = text
	}
	return texts, nil
}

// offset is the byte offset of a line and column, both from 1, or -1.
func offset(text []byte, line, column int) int {
	at := 0
	for ; line > 1; line-- {
		i := bytes.IndexByte(text[at:], '\n')
		if i < 0 {
			return -1
		}
		at += i + 1
	}
	if column < 1 || at+column-1 > len(text) {
		return -1
	}
	return at + column - 1
}

// write puts the files that were mended into their places, if nobody changed
// them meanwhile.
func (m *mender) write() error {
	var base string
	if base, _ = m.c.base(m.args); base == "" {
		base = "."
	}
	var ready []*pending
	defer func() {
		for _, p := range ready {
			_ = p.discard() // it is in its place, or an error was returned
		}
	}()
	for name, text := range m.files.texts {
		p, err := supersede(filepath.Join(base, filepath.FromSlash(name)), m.original[name], text)
		if errors.Is(err, errChanged) {
			return fmt.Errorf("%w; nothing is mended: run vet --fix again", err)
		} else if err != nil {
			return err
		}
		ready = append(ready, p)
	}
	for _, p := range ready {
		if err := p.commit(); err != nil {
			return fmt.Errorf("%w: what was written before it stays", err)
		}
	}
	return nil
}

// An overlay is a directory with some of its files replaced.
type overlay struct {
	fs.FS
	texts map[string][]byte
}

func (o overlay) with(texts map[string][]byte) overlay {
	all := map[string][]byte{}
	for _, m := range []map[string][]byte{o.texts, texts} {
		for name, text := range m {
			all[name] = text
		}
	}
	return overlay{o.FS, all}
}

// Open follows fs.FS.
func (o overlay) Open(name string) (fs.File, error) {
	f, err := o.FS.Open(name)
	text, replaced := o.texts[name]
	if err != nil || !replaced {
		return f, err
	}
	info, err := f.Stat()
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return overlaid{bytes.NewReader(text), info}, nil
}

// ReadDir follows fs.ReadDirFS.
func (o overlay) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(o.FS, name) }

type overlaid struct {
	io.Reader
	info fs.FileInfo
}

func (f overlaid) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f overlaid) Close() error               { return nil }
