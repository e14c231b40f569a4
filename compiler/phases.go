package compiler

import (
	"slices"
	"sync/atomic"
	"time"
)

// A stopwatch counts what a compilation's time goes into, and holds for others
// to see what it is at.
type stopwatch struct {
	phases []Phase
	at     atomic.Pointer[string]
}

// start counts for a phase until what it returns is called.
func (w *stopwatch) start(name string) func() {
	begun := time.Now()
	return func() { w.phase(name).Took += time.Since(begun) }
}

func (w *stopwatch) note(name, text string) { w.phase(name).Note = text }

func (w *stopwatch) phase(name string) *Phase {
	i := slices.IndexFunc(w.phases, func(p Phase) bool { return p.Name == name })
	if i < 0 {
		i = len(w.phases)
		w.phases = append(w.phases, Phase{Name: name})
	}
	return &w.phases[i]
}

// doing notes the file, or files, that are evaluated now.
func (w *stopwatch) doing(files string) { w.at.Store(&files) }

func (w *stopwatch) what() string {
	if p := w.at.Load(); p != nil {
		return *p
	}
	return ""
}
