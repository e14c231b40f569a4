package command

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"clink/source/git"
	"clink/source/writeback"
	"clink/topology"
)

// A held edit is one that is in the files and not committed yet, with what it
// takes to make it again: who ends a rebase with git rebase --abort has git set
// the files back, and means his own changes by that.
type held struct {
	revision string // that it made
	request  writeback.Request
	who      asker
	halves   []writeback.Half
	files    map[string]fileChange // by absolute name
}

// A change of a file is what was in it before, and after.
type fileChange struct{ before, after sum }

type sum [sha256.Size]byte

// maxHeld bounds how many are kept; of more, those to come are only told.
const maxHeld = 200

// An again is the edits that are held, and those that are to be made again.
type again struct {
	poke chan struct{} // capacity 1

	mu   sync.Mutex
	held []held
	redo []held
}

// hold keeps an edit until it is committed.
func (a *again) hold(base string, r writeback.Request, who asker, out writeback.Outcome) {
	h := held{revision: out.Snapshot.Revision, request: r, who: who, halves: out.Halves, files: map[string]fileChange{}}
	h.request.IfMatch = ""
	for _, f := range out.Files {
		after, _ := out.Snapshot.ReadFile(f) // what is not there is empty
		h.files[filepath.Join(base, filepath.FromSlash(f))] = fileChange{sha256.Sum256(out.Replaced[f]), sha256.Sum256(after)}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.held) < maxHeld {
		a.held = append(a.held, h)
	}
}

// settle is told of what git takes for committed, lets go of the edits in it,
// and plans to make those again that somebody has set back before. It reports
// whether that is all of them.
func (a *again) settle(c git.Change) (none bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []held
	a.held = slices.DeleteFunc(a.held, func(h held) bool {
		of := slices.Contains(c.Trailers, [2]string{revisionTrailer, h.revision})
		if of {
			list = append(list, h)
		}
		return of
	})
	back := setBack(list)
	for i, h := range list {
		if back[i] && !overtaken(list, i, back) {
			a.redo = append(a.redo, h)
		}
	}
	if len(a.redo) > 0 {
		select {
		case a.poke <- struct{}{}:
		default:
		}
	}
	return len(list) > 0 && len(back) == len(list)
}

// overtaken reports whether a later edit that holds says what a half of the ith
// is to be.
func overtaken(list []held, i int, back map[int]bool) bool {
	for j := i + 1; j < len(list); j++ {
		for _, half := range list[j].halves {
			if !back[j] && slices.Contains(list[i].halves, half) {
				return true
			}
		}
	}
	return false
}

// setBack returns which of the edits, made one after the other, were set back:
// where a file was next seen not as an edit left it but as that one or one
// before had found it.
func setBack(list []held) map[int]bool {
	back, touch := map[int]bool{}, map[string][]int{}
	for i, h := range list {
		for file := range h.files {
			touch[file] = append(touch[file], i)
		}
	}
	for file, edits := range touch {
		for p, i := range edits {
			next := sumOf(file)
			if p+1 < len(edits) {
				next = list[edits[p+1]].files[file].before
			}
			if next == list[i].files[file].after {
				continue
			}
			for q := p; q >= 0; q-- {
				if list[edits[q]].files[file].before == next {
					for _, undone := range edits[q : p+1] {
						back[undone] = true
					}
					break
				}
			}
		}
	}
	return back
}

// sumOf is the zero sum, which is no file's, where a file cannot be read.
func sumOf(file string) sum {
	text, err := os.ReadFile(file)
	if err != nil {
		return sum{}
	}
	return sha256.Sum256(text)
}

// undone makes edits again that somebody has set back.
func (r *recorder) undone(ctx context.Context) {
	r.again.mu.Lock()
	list := r.again.redo
	r.again.redo = nil
	r.again.mu.Unlock()
	for _, h := range list {
		work, cancel := context.WithTimeout(context.WithValue(ctx, askerKey{}, h.who), turnTime)
		out, err := r.edit(work, h.request)
		cancel()
		switch {
		case errors.Is(err, context.Canceled) && ctx.Err() != nil:
			return
		case err != nil:
			r.log.Error("an edit over REST was set back by somebody and cannot be made again", "revision", h.revision, "site", h.request.Site, "request", h.who.request, "err", err)
			r.publish(topology.Event{Type: "reset", Site: h.request.Site, Revision: h.revision, Reason: "EditLost", Message: fmt.Sprintf("an edit over REST was set back before it could be committed, and cannot be made again: %v", err)})
		default:
			r.log.Warn("an edit over REST was set back by somebody before it could be committed; it is made again", "was", h.revision, "revision", out.Snapshot.Revision, "site", h.request.Site, "request", h.who.request)
			r.publish(topology.Event{Type: "reset", Site: h.request.Site, Revision: out.Snapshot.Revision, Reason: "EditRestored", Message: "an edit over REST was set back before it could be committed, and is made again"})
		}
	}
}
