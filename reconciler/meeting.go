package reconciler

import (
	"context"
	"time"

	"clink/topology"
)

// The phases of a turn. Sites that have to do with each other go through them
// together, so that no end of a link asks the other for what that does not
// know yet, or no longer: first nobody connects any more where a connection is
// to end or to change, and everybody knows what is to come; then addresses are
// given up; then everybody lets in whom it should, and no one else; and only
// then connections are made.
const (
	phaseHold = iota
	phaseClose
	phaseSettle
	phaseConnect
	phases
)

// patience is how long a site waits for the others in all phases of a turn
// together. Then it goes on alone: the worst that can come of that is a
// refusal, which is tried again.
const patience = 2 * time.Second

// A meeting is where the turns of one load wait for each other: by site, a
// channel for each phase, closed when the site has done with it. What is of
// one site is touched by one goroutine at a time.
type meeting map[string]*attendance

type attendance struct {
	passed int // phases
	done   [phases]chan struct{}
}

func newMeeting(targets map[string]Target) meeting {
	m := make(meeting, len(targets))
	for name := range targets {
		a := &attendance{}
		for i := range a.done {
			a.done[i] = make(chan struct{})
		}
		m[name] = a
	}
	return m
}

// pass says that the site has done with all phases up to this one.
func (m meeting) pass(site string, phase int) {
	a := m[site]
	if a == nil { // a turn by itself
		return
	}
	for ; a.passed <= phase; a.passed++ {
		close(a.done[a.passed])
	}
}

// leave is for a site that will not come.
func (m meeting) leave(site string) { m.pass(site, phases-1) }

// over reports whether the site has done with all phases. Any goroutine may ask.
func (m meeting) over(site string) bool {
	select {
	case <-m[site].done[phases-1]:
		return true
	default:
		return false
	}
}

// A wait is one site's patience.
type wait struct {
	meeting
	site    string
	others  []string
	expired <-chan time.Time // started when it first waits
	alone   bool
}

// meet waits until every other site has done with the phase, or for too long.
// It returns whom it no longer waits for, "" if they all came.
func (w *wait) meet(ctx context.Context, phase int) (missing string) {
	w.pass(w.site, phase)
	if w.meeting == nil || w.alone {
		return ""
	}
	for _, name := range w.others {
		select {
		case <-w.meeting[name].done[phase]:
			continue
		default:
		}
		if w.expired == nil {
			w.expired = time.After(patience)
		}
		select {
		case <-w.meeting[name].done[phase]:
		case <-ctx.Done():
			return ""
		case <-w.expired:
			w.alone = true
			return name
		}
	}
	return ""
}

// neighbours returns for each target the other ones that have to do with it:
// there is or was a link between them, or they want or had the same address.
func neighbours(targets map[string]Target, states ...*topology.Topology) map[string][]string {
	sets := make(map[string]map[string]bool, len(targets))
	join := func(a, b string) {
		_, one := targets[a]
		_, other := targets[b]
		if !one || !other || a == b {
			return
		}
		for _, p := range [][2]string{{a, b}, {b, a}} {
			if sets[p[0]] == nil {
				sets[p[0]] = map[string]bool{}
			}
			sets[p[0]][p[1]] = true
		}
	}
	binds := map[string]string{}
	for _, t := range states {
		for name, s := range sitesOf(t) {
			for _, l := range s.Links {
				join(name, l.Name)
			}
			for _, l := range s.Listeners {
				if first, taken := binds[l.Bind]; taken {
					join(first, name)
				} else if _, ours := targets[name]; ours {
					binds[l.Bind] = name
				}
			}
		}
	}
	out := make(map[string][]string, len(sets))
	for name, set := range sets {
		for other := range set {
			out[name] = append(out[name], other)
		}
	}
	return out
}
