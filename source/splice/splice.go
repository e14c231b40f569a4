// Package splice edits halves of links in the CUE files of a topology. It works
// in memory and touches nothing but the bytes that say what is to change: what
// users wrote around it, their comments, order and layout, stays.
//
// Where a value comes from decides what happens to it. A literal is replaced; a
// field that is not written is inserted; what is a reference, an expression, or
// made elsewhere is refused with its place, because only its author knows what
// else hangs on it.
package splice

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"clink/compiler"
	"clink/compiler/cuetext"
	"clink/diagnostic"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
)

// A LinkEdit says what one half of a link is to be.
type LinkEdit struct {
	Site, Peer string
	// Want holds the fields of the half as JSON values, numbers as
	// [encoding/json.Number], without "name". What is not in it is to be
	// removed. nil: the half is to be deleted.
	Want map[string]any
	// Override replaces an expression that is no literal by the literal.
	Override bool
}

// String names the half, and says nothing of its fields: credentials may be
// among them.
func (e LinkEdit) String() string { return fmt.Sprintf("the link of %s to %s", e.Site, e.Peer) }

// Why an edit is refused. Errors wrap one of these.
var (
	// ErrConflict: the value is not a literal that stands in one place.
	ErrConflict = errors.New("the source gives this in another way than by a literal")
	// ErrUnintended: the edit would change something else, or not do what it
	// is to do.
	ErrUnintended = errors.New("the edit would not have the effect that is intended, and no other")
)

// A ConflictError is an edit that is refused, with the place in the source that
// stands in its way. It wraps [ErrConflict] or [ErrUnintended].
type ConflictError struct {
	Pos     diagnostic.Pos
	Field   string // such as ssl.verify; "" for the link itself
	Why     string // what stands there, and what to do
	Related []diagnostic.Related

	site, peer string
	kind       error
}

func (e *ConflictError) Error() string {
	what := fmt.Sprintf("the link of %s to %s", e.site, e.peer)
	if e.Field != "" {
		what = e.Field + " of " + what
	}
	return fmt.Sprintf("%s: %s: %s", e.Pos, what, e.Why)
}

// Unwrap returns which kind of refusal it is.
func (e *ConflictError) Unwrap() error { return e.kind }

// Apply returns the files that the edits change, as they are then. now is the
// result of compiling fsys as it is. That the outcome means what is intended is
// for [Prove] to say.
func Apply(fsys fs.FS, edits []LinkEdit, now *compiler.Result) (map[string][]byte, error) {
	s := &splicer{fsys: fsys, now: now, files: map[string]*file{}}
	seen := map[[2]string]bool{}
	for _, e := range edits {
		key := [2]string{e.Site, e.Peer}
		if seen[key] {
			return nil, fmt.Errorf("the link of %s to %s is edited twice", e.Site, e.Peer)
		}
		seen[key] = true
		if err := s.edit(e); err != nil {
			var over *overflow
			if errors.As(err, &over) {
				err = &ConflictError{Pos: diagnostic.Pos{File: over.name, Line: 1, Column: 1}, Why: "the file would be larger than 1 MiB: move some of it to another file", site: e.Site, peer: e.Peer, kind: ErrConflict}
			}
			return nil, err
		}
	}
	return s.finish()
}

// A splicer holds the files of the sites that are edited, as they are by now.
type splicer struct {
	fsys  fs.FS
	now   *compiler.Result
	files map[string]*file
}

// A file is one that was looked at.
type file struct {
	name   string
	before []byte
	text   []byte
	tree   *ast.File
	unused map[string]bool // of names bound in it, before
}

// open returns a file as it is by now.
func (s *splicer) open(name string) (*file, error) {
	if f := s.files[name]; f != nil {
		return f, nil
	}
	text, err := fs.ReadFile(s.fsys, name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if compiled, ok := s.now.Sources[name]; ok && !bytes.Equal(compiled, text) {
		return nil, fmt.Errorf("%s is not as it was compiled: compile it again", name)
	}
	f := &file{name: name, before: text}
	if err := f.set(text); err != nil {
		return nil, err
	}
	f.unused = names(unused(f))
	s.files[name] = f
	return f, nil
}

// set gives the file a text, which must parse.
func (f *file) set(text []byte) error {
	tree, err := compiler.Parse(f.name, text)
	if err != nil {
		return err
	}
	f.text, f.tree = text, tree
	return nil
}

// maxFile is the size of a file from which on the compiler does not take it.
const maxFile = 1 << 20

// An overflow is the error of a file that would become too large.
type overflow struct{ name string }

func (o *overflow) Error() string { return o.name + " would be too large" }

// apply makes edits of the file.
func (f *file) apply(edits ...cuetext.Edit) error {
	text := cuetext.Apply(f.text, edits...)
	if len(text) > maxFile {
		return &overflow{f.name}
	}
	if err := f.set(text); err != nil {
		return fmt.Errorf("an edit breaks the file, which is a defect of clink: %w", err)
	}
	return nil
}

// finish returns what has changed. A file that was laid out in CUE's one way
// stays so; any other keeps its own.
func (s *splicer) finish() (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		f := s.files[name]
		if bytes.Equal(f.text, f.before) {
			continue
		}
		if err := f.tidy(); err != nil {
			return nil, err
		}
		if nice, err := format.Source(f.before); err == nil && bytes.Equal(nice, f.before) {
			if nice, err = format.Source(f.text); err == nil {
				f.text = nice
			}
		}
		out[name] = f.text
	}
	return out, nil
}
