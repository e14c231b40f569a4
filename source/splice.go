package source

import (
	"maps"
	"time"

	"clink/compiler"
	"clink/source/splice"
)

// Splice returns the files that the edits of links change, as they are then,
// and changes nothing itself. now is the result of compiling the snapshot.
func (s *Snapshot) Splice(edits []splice.LinkEdit, now *compiler.Result) (map[string][]byte, error) {
	return splice.Apply(s, edits, now)
}

// With returns the snapshot as it is when files have other contents, or nil for
// a file that is gone.
func (s *Snapshot) With(contents map[string][]byte) *Snapshot {
	files := maps.Clone(s.files)
	for name, data := range contents {
		if data == nil {
			delete(files, name)
			continue
		}
		files[name] = file{data, time.Time{}}
	}
	next := newSnapshot(files)
	next.Commit = s.Commit
	return next
}
