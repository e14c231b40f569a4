package reconciler

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"clink/topology"
)

// The conditions of the process and of each site, in the words of kstatus, as
// Flux uses them. What a peer answers has no part in them: a link that runs as
// wanted, and is refused, is a link whose status says so.
//
//	Ready        True     what is wanted is in force: Applied, or Suspended
//	                      where that is so but for links that are suspended
//	             Unknown  it is on its way: Loading before the first load ended,
//	                      Progressing while a revision is being applied
//	             False    it is not: LoadFailed, HeldBack (a gating finding),
//	                      ApplyFailed (a change, or the site's listeners and
//	                      access)
//	Reconciling  True     somebody works on it: Loading, Progressing, Retrying
//	Stalled      True     nothing goes on until somebody does something:
//	                      HeldBack; LoadFailed and ApplyFailed when that has
//	                      lasted for five minutes
//
// At most one of Reconciling and Stalled is True; where they are False they
// have Ready's reason. A look again at what is in force already changes none
// of them. The revision of Ready is the one in force as far as it is known,
// that of the others the one wanted.
const (
	condTrue    = "True"
	condFalse   = "False"
	condUnknown = "Unknown"

	becauseLoading     = "Loading"
	becauseProgressing = "Progressing"
	becauseApplied     = "Applied"
	becauseSuspended   = "Suspended"
	becauseLoadFailed  = "LoadFailed"
	becauseHeldBack    = "HeldBack"
	becauseApplyFailed = "ApplyFailed"
	becauseRetrying    = "Retrying"

	stallAfter    = 5 * time.Minute
	conditionMost = 3 // examples that a message names
)

// facts are what the conditions of the process, or of one site, follow from.
type facts struct {
	wanted, inForce string
	loaded          bool
	loadError       string
	failingSince    time.Time
	applying        bool
	held, failures  []string
	suspended       []string
	oldest          time.Time // since when the oldest of the failures lasts
}

func (c *record) facts(site string) facts {
	s := &c.state
	f := facts{wanted: s.Revision, inForce: c.inForce, loaded: !s.Loaded.IsZero(), loadError: s.LoadError, failingSince: s.FailingSince}
	if site != "" {
		f.inForce = s.Sites[site].Revision
	}
	for _, h := range c.heldHere(site) {
		f.held = append(f.held, fmt.Sprintf("%s by %s: %s", linkName(h.Site, h.Peer), h.Rule, h.Why))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Sites)) {
		if site != "" && site != name {
			continue
		}
		of := s.Sites[name]
		f.applying = f.applying || of.Revision != s.Revision
		for _, x := range of.Failures {
			f.failures = append(f.failures, fmt.Sprintf("%s: %s: %s", linkName(name, x.Peer), x.Op, x.Error))
			if f.oldest.IsZero() || x.Since.Before(f.oldest) {
				f.oldest = x.Since
			}
		}
	}
	for _, x := range c.suspended.list(site) {
		f.suspended = append(f.suspended, linkName(x.Site, x.Peer)+until(x))
	}
	return f
}

func linkName(site, peer string) string {
	if peer == "" {
		return "site " + site
	}
	return site + "'s link to " + peer
}

// some names the first few.
func some(what []string) string {
	n := len(what) - conditionMost
	if n <= 0 {
		return strings.Join(what, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(what[:conditionMost], "; "), n)
}

func (f facts) ready() (status, reason, message string) {
	switch {
	case f.loadError != "" && !f.loaded:
		return condFalse, becauseLoadFailed, "nothing could be loaded since the start: " + f.loadError
	case f.loadError != "":
		return condFalse, becauseLoadFailed, "what runs keeps running, what is wanted cannot be loaded: " + f.loadError
	case !f.loaded:
		return condUnknown, becauseLoading, "what is wanted is being loaded for the first time"
	case f.applying:
		return condUnknown, becauseProgressing, "revision " + f.wanted + " is being applied"
	case len(f.held) > 0:
		return condFalse, becauseHeldBack, "held back at the last good state: " + some(f.held)
	case len(f.failures) > 0:
		return condFalse, becauseApplyFailed, some(f.failures)
	case len(f.suspended) > 0:
		return condTrue, becauseSuspended, "revision " + f.wanted + " is in force, but for what is suspended: " + some(f.suspended)
	}
	return condTrue, becauseApplied, "revision " + f.wanted + " is in force"
}

// conditions returns all three, with the time since when, where it is known.
func (f facts) conditions(now time.Time) []topology.Condition {
	status, reason, message := f.ready()
	ready := topology.Condition{Type: topology.Ready, Status: status, Reason: reason, Message: short(message), Revision: f.inForce}
	working := topology.Condition{Type: topology.Reconciling, Status: condFalse, Reason: reason, Message: ready.Message, Revision: f.wanted}
	stalled := working
	stalled.Type = topology.Stalled
	since := f.failingSince // of what is tried again
	if reason == becauseApplyFailed {
		since = f.oldest
	}
	switch {
	case reason == becauseLoading || reason == becauseProgressing:
		working.Status = condTrue
	case reason == becauseHeldBack:
		stalled.Status = condTrue
	case reason != becauseLoadFailed && reason != becauseApplyFailed:
	case now.Sub(since) >= stallAfter:
		stalled.Status, stalled.Since = condTrue, since.Add(stallAfter)
	default:
		working.Status, working.Reason = condTrue, becauseRetrying
	}
	return []topology.Condition{ready, working, stalled}
}

// judge brings the conditions up to date.
func (c *record) judge(now time.Time) {
	scopes := append(slices.Collect(maps.Keys(c.state.Sites)), "")
	for _, scope := range scopes {
		next := c.facts(scope).conditions(now)
		for i := range next {
			switch was := c.conditions[scope]; {
			case was != nil && was[i].Status == next[i].Status:
				next[i].Since = was[i].Since
			case next[i].Since.IsZero():
				next[i].Since = now
			}
		}
		c.conditions[scope] = next
	}
}
