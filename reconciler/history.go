package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"clink/topology"
)

// What came of a [Pass].
const (
	resultPending    = "pending"    // some site has not had its turn
	resultApplied    = "applied"    // all of it is in force
	resultPartly     = "partly"     // something failed, or is held back
	resultFailed     = "failed"     // the load did, or something at every site
	resultSuperseded = "superseded" // another revision came before every site had its turn
)

// A Pass is one entry of the history: a revision as it came, or a load that
// failed.
type Pass struct {
	Revision string // "": the load failed
	Commit   string
	Author   string // the API key that wrote it; "": somebody's editor
	At       time.Time
	Duration time.Duration // until every site had its turn; 0: that has not come, or another load overtook it
	Findings int
	Errors   int                 // of the findings
	Warnings int                 // of the findings
	Plan     []topology.PlanStep // what it changes at the sites of this process, against what was wanted before
	PlanMore int                 // steps that are left out because there are too many
	Changes  int                 // applied for it, corrections of later drift included
	Result   string              // pending, applied, partly, failed or superseded
	Error    string              // of the load, or of the sites' turns; one a line
}

const (
	historySize = 50
	planSteps   = 200 // of a Pass
	errorLines  = 10  // of a Pass
	errorText   = 4000
)

// A keptHistory is the file of it.
type keptHistory struct{ History []Pass }

var historyFile = kept{what: "history of revisions", most: 32 << 20}

func (c *record) enter(p Pass) {
	p.Error = p.Error[:min(len(p.Error), errorText)]
	if n := len(p.Plan) - planSteps; n > 0 {
		p.Plan, p.PlanMore = slices.Clone(p.Plan[:planSteps]), n
	}
	if h := c.state.History; len(h) > 0 && h[0].Result == resultPending && p.Revision != "" {
		h[0].Result = resultSuperseded
	}
	c.state.History = slices.Insert(c.state.History, 0, p)
	c.state.History = c.state.History[:min(len(c.state.History), historySize)]
}

// pass returns the latest entry of the revision, if it is still there.
func (c *record) pass(revision string) *Pass {
	i := slices.IndexFunc(c.state.History, func(p Pass) bool { return p.Revision == revision && revision != "" })
	if i < 0 {
		return nil
	}
	return &c.state.History[i]
}

// finish closes the pass if no site's turn is outstanding, and reports whether
// its result is new. Turns after that, which try again, correct what it says
// went wrong.
func (c *record) finish() (p Pass, news bool) {
	if len(c.pending) > 0 {
		return Pass{}, false
	}
	if !c.began.IsZero() {
		c.state.Duration, c.began = time.Since(c.began), time.Time{}
	}
	c.inForce = c.state.Revision
	entry := c.pass(c.state.Revision)
	if entry == nil {
		return Pass{}, false
	}
	if entry.Duration == 0 {
		entry.Duration = c.state.Duration
	}
	was := entry.Result
	entry.Result, entry.Error = c.result(), c.complaints()
	return *entry, entry.Result != was
}

func (c *record) result() string {
	failing := 0
	for _, s := range c.state.Sites {
		if len(s.Failures) > 0 {
			failing++
		}
	}
	switch {
	case failing > 0 && failing == len(c.state.Sites) && c.counted == 0:
		return resultFailed
	case failing > 0 || len(c.heldHere("")) > 0:
		return resultPartly
	}
	return resultApplied
}

// heldHere returns what is held back of the site, or of all that this process
// is responsible for.
func (c *record) heldHere(site string) (held []topology.Held) {
	for _, h := range c.state.Held {
		if _, ours := c.state.Sites[h.Site]; ours && (site == "" || h.Site == site) {
			held = append(held, h)
		}
	}
	return held
}

// complaints is what failed, a line each.
func (c *record) complaints() string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(c.state.Sites)) {
		for _, f := range c.state.Sites[name].Failures {
			lines = append(lines, fmt.Sprintf("%s: %s %s: %s", name, f.Op, f.Peer, f.Error))
		}
	}
	if n := len(lines) - errorLines; n > 0 {
		lines = append(lines[:errorLines], fmt.Sprintf("and %d more", n))
	}
	text := strings.Join(lines, "\n")
	return strings.ToValidUTF8(text[:min(len(text), errorText)], "")
}

// restoreHistory reads what an earlier process kept, the newest where sites
// have different ones. What was pending then is never heard of again, unless
// the revision is still the one wanted.
func (r *Reconciler) restoreHistory() {
	var newest []Pass
	for _, dir := range r.dirs() {
		var file keptHistory
		err := historyFile.read(filepath.Join(dir, "history"), &file, func() error { return nil })
		switch h := file.History; {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			r.Log.Error("the history of revisions begins anew", "err", err)
		case len(h) > 0 && (newest == nil || h[0].At.After(newest[0].At)):
			newest = h[:min(len(h), historySize)]
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rec.state.History = append(r.rec.state.History, newest...)
	if len(newest) > 0 {
		r.rec.known = newest[0].Revision
	}
}

// keepHistory saves the history whenever it was changed, until ctx ends. Nobody
// waits for it.
func (r *Reconciler) keepHistory(ctx context.Context) {
	failed := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.changed:
		}
		err := r.saveHistory()
		if text := fmt.Sprint(err); err != nil && text != failed {
			r.Log.Error("the history of revisions could not be kept; a restart would go without it", "err", err)
			failed = text
		} else if err == nil {
			failed = ""
		}
	}
}

func (r *Reconciler) saveHistory() error {
	h := keptHistory{r.State().History}
	var errs []error
	for _, dir := range r.dirs() {
		errs = append(errs, historyFile.save(filepath.Join(dir, "history"), h))
	}
	return errors.Join(errs...)
}

// dirs returns the data directories that there are.
func (r *Reconciler) dirs() []string {
	all := slices.Sorted(maps.Values(r.DataDirs))
	return slices.DeleteFunc(all, func(dir string) bool { return dir == "" })
}
