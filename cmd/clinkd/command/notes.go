package command

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"

	"clink/internal/atomicfile"
	"clink/source/git"
)

// Notes are the edits that are on disk and not in a commit yet, kept in the data
// directory so that a process that dies leaves none uncommitted.
type notes struct {
	path string
	log  *slog.Logger

	mu   sync.Mutex
	list []git.Change
}

const maxNotes = 1000

// read returns what an earlier process has noted.
func (n *notes) read() []git.Change {
	n.mu.Lock()
	defer n.mu.Unlock()
	text, err := os.ReadFile(n.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, &n.list)
	}
	if err != nil {
		n.log.Error("the notes of what is not committed cannot be read; look at git status in the topology", "file", n.path, "err", err)
	}
	n.list = slices.DeleteFunc(n.list, func(c git.Change) bool { return len(c.Trailers) == 0 })
	return slices.Clone(n.list)
}

func (n *notes) add(c git.Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.list) < maxNotes {
		n.list = append(n.list, c)
	}
	n.save()
}

// name puts a change into the place of the note of the same revision, which did
// not know yet who asked.
func (n *notes) name(c git.Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i := n.find(c); i >= 0 {
		n.list[i] = c
	} else if len(n.list) < maxNotes {
		n.list = append(n.list, c)
	}
	n.save()
}

// remove takes away the notes of all revisions that a commit is for.
func (n *notes) remove(c git.Change) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := len(n.list)
	n.list = slices.DeleteFunc(n.list, func(o git.Change) bool { return slices.Contains(c.Trailers, o.Trailers[0]) })
	if len(n.list) < before {
		n.save()
	}
}

func (n *notes) find(c git.Change) int {
	return slices.IndexFunc(n.list, func(o git.Change) bool { return o.Trailers[0] == c.Trailers[0] })
}

// save writes the notes; that they cannot be written stops no edit.
func (n *notes) save() {
	text, err := json.Marshal(n.list)
	if err == nil {
		err = atomicfile.Replace(n.path, text)
	}
	if err != nil {
		n.log.Error("what is not committed could not be noted; after a crash it would not be committed by itself", "file", n.path, "err", err)
	}
}
