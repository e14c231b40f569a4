package compiler

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"clink/schema"
)

// Bounds of a source. CUE's parser and evaluator recurse, and a Go stack that
// overflows cannot be recovered: with these, the deepest input that was found
// stays within a quarter of it.
const (
	maxFiles    = 20_000
	maxTotal    = 64 << 20 // bytes of all files
	maxFile     = 1 << 20  // bytes of one file
	maxColons   = 20_000   // nested labels a: b: c: in one statement
	maxDepth    = 2_000    // of a syntax tree
	maxImports  = 200      // packages imported
	maxReadRuns = 50       // tries to evaluate, one file left out after the other
)

// A source is the text of a topology directory.
type source struct {
	fsys  fs.FS
	texts map[string][]byte // the files of the package topology, by name
	names []string          // in order
	total int

	imported map[string][]byte // files of packages that are imported, by name
}

// text is what a file of the package, or of one that it imports, says.
func (s *source) text(name string) []byte {
	if text, ok := s.texts[name]; ok {
		return text
	}
	return s.imported[name]
}

func (s *source) describe() string {
	if len(s.names) > 5 {
		return fmt.Sprintf("%s and %d more files", strings.Join(s.names[:5], ", "), len(s.names)-5)
	}
	return strings.Join(s.names, ", ")
}

// readSource reads the CUE files at the root; those in folders are no part of
// the package.
func readSource(ctx context.Context, fsys fs.FS) (*source, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("read the topology directory: %w", err)
	}
	s := &source{fsys: fsys, texts: map[string][]byte{}, imported: map[string][]byte{}}
	for _, e := range entries {
		if !isSource(e) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("read the topology directory: %w", err)
		}
		if len(s.names) == maxFiles {
			return nil, fmt.Errorf("read the topology directory: more than %d CUE files", maxFiles)
		}
		text, err := s.read(e.Name())
		if err != nil {
			return nil, err
		}
		s.texts[e.Name()] = text
		s.names = append(s.names, e.Name())
	}
	if len(s.names) == 0 {
		return nil, errors.New("no CUE files: a topology is a directory with files such as site-a.cue that begin with: package topology")
	}
	slices.Sort(s.names)
	return s, nil
}

func isSource(e fs.DirEntry) bool {
	name := e.Name()
	return !e.IsDir() && isCUE(name) && name != schema.Generated
}

// isCUE reports whether cue itself would take the file for part of a package.
func isCUE(name string) bool {
	return path.Ext(name) == ".cue" && !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "_") &&
		!strings.HasSuffix(name, "_tool.cue") && !strings.HasSuffix(name, "_test.cue")
}

// read returns a file's text and counts it against the bounds.
func (s *source) read(name string) ([]byte, error) {
	f, err := s.fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	s.total += len(text)
	switch {
	case len(text) > maxFile:
		return nil, fmt.Errorf("read %s: larger than %d bytes: put the sites into several files", name, maxFile)
	case s.total > maxTotal:
		return nil, fmt.Errorf("read %s: all files together are larger than %d bytes", name, maxTotal)
	}
	return text, nil
}

// tooManyLabels returns where a statement nests more labels than the parser,
// which recurses for each, can be trusted with; -1 if none does. Statements end
// with a line that does not end in a colon; too many colons for other reasons
// are as unlikely as such a nest itself.
func tooManyLabels(text []byte) int {
	colons, at := 0, 0
	for line := range bytes.Lines(text) {
		code, _, _ := bytes.Cut(line, []byte("//"))
		if colons += bytes.Count(line, []byte(":")); colons > maxColons {
			return at
		}
		if code = bytes.TrimSpace(code); len(code) > 0 && code[len(code)-1] != ':' {
			colons = 0
		}
		at += len(line)
	}
	return -1
}
