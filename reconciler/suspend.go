package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"clink/topology"
)

// ErrNoLink says that there is no such link at a site that is run here.
var ErrNoLink = errors.New("no such link")

const (
	suspensionsMax = 1000 // of one site
	reasonMax      = 500  // bytes
	byMax          = 200
	suspendWait    = 10 * time.Second
)

// Why a suspension ended, as the event says it.
const (
	endResumed = "resumed"
	endExpired = "expired"
	endGone    = "link-gone"
)

// A keptSuspensions is the file of one site.
type keptSuspensions struct{ Suspensions []topology.Suspension }

var suspensionsFile = kept{what: "suspended links", most: 2 << 20}

// A suspended says which links are suspended: by site, then by peer. It is
// replaced, never written to.
type suspended map[string]map[string]topology.Suspension

// with is s with one site's suspensions changed by f.
func (s suspended) with(site string, f func(map[string]topology.Suspension)) suspended {
	out, of := maps.Clone(s), maps.Clone(s[site])
	if out == nil {
		out = suspended{}
	}
	if of == nil {
		of = map[string]topology.Suspension{}
	}
	f(of)
	out[site] = of
	return out
}

// list returns all suspensions, or those of one site, in order.
func (s suspended) list(site string) []topology.Suspension {
	out := []topology.Suspension{}
	for name, of := range s {
		if site == "" || name == site {
			out = slices.AppendSeq(out, maps.Values(of))
		}
	}
	slices.SortFunc(out, func(a, b topology.Suspension) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Peer, b.Peer))
	})
	return out
}

// Suspend runs a link that the source wants as if it were disabled, until
// [Reconciler.Resume], or Until where that is given, or the link goes from the
// source. It outlives the process where DataDirs names the site's. Suspending
// again changes reason and end. It returns when the link is down. Where that
// does not come about in time the error says so, and the link stays to be
// suspended.
func (r *Reconciler) Suspend(ctx context.Context, s topology.Suspension) error {
	r.init()
	now := time.Now()
	if err := r.suspendable(s, now); err != nil {
		return fmt.Errorf("suspend %s's link to %s: %w", s.Site, s.Peer, err)
	}
	s.Since = now
	n, err := r.suspend(s.Site, func(of map[string]topology.Suspension) error {
		was, again := of[s.Peer]
		if again {
			s.Since = was.Since
		} else if len(of) >= suspensionsMax {
			return fmt.Errorf("%d links of the site are suspended already, which is the most there may be", len(of))
		}
		of[s.Peer] = s
		return nil
	}, func() { r.toldSuspended(s) })
	if err != nil {
		return fmt.Errorf("suspend %s's link to %s: %w", s.Site, s.Peer, err)
	}
	return r.inForce(ctx, s.Site, n)
}

func (r *Reconciler) toldSuspended(s topology.Suspension) {
	r.Log.Warn("link suspended", "site", s.Site, "peer", s.Peer, "by", s.By, "reason", s.Reason, "until", strings.TrimPrefix(until(s), " until "))
	r.tell(eventSuspended, s.Site, s.Peer, "", s.Reason, "suspended by "+cmp.Or(s.By, "somebody")+until(s))
}

func until(s topology.Suspension) string {
	if s.Until.IsZero() {
		return " until it is resumed"
	}
	return " until " + s.Until.UTC().Format(time.RFC3339)
}

func (r *Reconciler) suspendable(s topology.Suspension, now time.Time) error {
	r.mu.Lock()
	wanted := r.rec.wanted
	r.mu.Unlock()
	_, here := r.Targets[s.Site]
	site := sitesOf(wanted.Topology)[s.Site]
	switch {
	case !here:
		return fmt.Errorf("%w: the site is not run here", ErrNoLink)
	case wanted.Topology == nil:
		return errors.New("the source has not been loaded yet: try again when it is")
	case site == nil:
		return ErrNoLink
	case len(s.Reason) > reasonMax || !utf8.ValidString(s.Reason):
		return fmt.Errorf("the reason must be UTF-8 of at most %d bytes", reasonMax)
	case len(s.By) > byMax:
		return fmt.Errorf("the name of who does it has more than %d bytes", byMax)
	case !s.Until.IsZero() && !s.Until.After(now):
		return errors.New("its end is not in the future")
	}
	if _, ok := site.Link(s.Peer); !ok {
		return ErrNoLink
	}
	return nil
}

// Resume ends a suspension. That there is none is no error. It returns when the
// link runs as the source wants it again, as Suspend does.
func (r *Reconciler) Resume(ctx context.Context, site, peer, by string) error {
	r.init()
	if _, here := r.Targets[site]; !here {
		return fmt.Errorf("resume %s's link to %s: %w: the site is not run here", site, peer, ErrNoLink)
	}
	n, err := r.resume(site, peer, endResumed, "resumed by "+cmp.Or(by, "somebody"))
	if err != nil {
		return fmt.Errorf("resume %s's link to %s: %w", site, peer, err)
	}
	return r.inForce(ctx, site, n)
}

func (r *Reconciler) resume(site, peer, why, message string) (uint64, error) {
	ended := false
	return r.suspend(site, func(of map[string]topology.Suspension) error {
		_, ended = of[peer]
		delete(of, peer)
		return nil
	}, func() {
		if ended {
			r.toldResumed(topology.Suspension{Site: site, Peer: peer}, why, message)
		}
	})
}

func (r *Reconciler) toldResumed(s topology.Suspension, why, message string) {
	r.Log.Info("link no longer suspended", "site", s.Site, "peer", s.Peer, "why", why)
	r.tell(eventResumed, s.Site, s.Peer, "", why, message)
}

// suspend changes the suspensions of a site, on disk first, and has the sites
// brought to that. It returns the number of the change. The change is told of
// before a site can act on it, so that whoever follows the events reads the
// cause before what it led to.
func (r *Reconciler) suspend(site string, f func(map[string]topology.Suspension) error, told func()) (uint64, error) {
	r.suspending.Lock()
	defer r.suspending.Unlock()
	r.mu.Lock()
	before := r.rec.suspended
	r.mu.Unlock()
	var err error
	after := before.with(site, func(of map[string]topology.Suspension) { err = f(of) })
	if err != nil {
		return 0, err
	}
	if !maps.Equal(before[site], after[site]) {
		err = r.saveSuspensions(site, after)
	}
	if err != nil {
		return 0, err
	}
	told()
	return r.suspendedAre(after), nil
}

func (r *Reconciler) suspendedAre(s suspended) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rec.suspended = s
	r.rec.suspensions++
	r.rec.judge(time.Now())
	poke(r.again)
	return r.rec.suspensions
}

func (r *Reconciler) saveSuspensions(site string, s suspended) error {
	dir := r.DataDirs[site]
	if dir == "" {
		return nil
	}
	return suspensionsFile.save(filepath.Join(dir, "suspended"), keptSuspensions{s.list(site)})
}

// inForce waits until the site had its turn for a change of the suspensions.
func (r *Reconciler) inForce(ctx context.Context, site string, n uint64) error {
	ctx, cancel := context.WithTimeout(ctx, suspendWait)
	defer cancel()
	err := r.until(ctx, func() bool { return r.rec.served[site] >= n })
	if err != nil {
		return fmt.Errorf("it is noted, and not in force yet at %s: %w", site, err)
	}
	return nil
}

// restoreSuspensions reads what an earlier process kept.
func (r *Reconciler) restoreSuspensions() {
	all := suspended{}
	for site := range r.Targets {
		dir := r.DataDirs[site]
		if dir == "" {
			continue
		}
		var file keptSuspensions
		err := suspensionsFile.read(filepath.Join(dir, "suspended"), &file, func() error { return nil })
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			r.Log.Error("which links are suspended is not known; none is", "site", site, "err", err)
			r.tell(eventFailed, site, "", "", "suspensions", "which links are suspended is not known, none is: "+err.Error())
			continue
		}
		for _, s := range file.Suspensions[:min(len(file.Suspensions), suspensionsMax)] {
			all = all.with(site, func(of map[string]topology.Suspension) { of[s.Peer] = s })
		}
	}
	r.suspendedAre(all)
}

// nextExpiry returns when the next suspension ends by itself.
func (r *Reconciler) nextExpiry() (at time.Time, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, of := range r.rec.suspended {
		for _, s := range of {
			if !s.Until.IsZero() && (!ok || s.Until.Before(at)) {
				at, ok = s.Until, true
			}
		}
	}
	return at, ok
}

// endSuspensions ends those that are over, and those of links that the source
// no longer has. That is so even where it cannot be kept: after a restart it
// comes to the same.
func (r *Reconciler) endSuspensions(now time.Time) {
	r.mu.Lock()
	all, wanted := r.rec.suspended.list(""), r.rec.wanted
	r.mu.Unlock()
	for _, s := range all {
		why, message := "", ""
		switch {
		case !s.Until.IsZero() && !s.Until.After(now):
			why, message = endExpired, "its time is over"
		case wanted.lost(s.Site, s.Peer):
			why, message = endGone, "the source has no such link any more"
		default:
			continue
		}
		if _, err := r.resume(s.Site, s.Peer, why, message); err != nil {
			r.Log.Error("the end of a suspension could not be kept", "site", s.Site, "peer", s.Peer, "err", err)
			r.toldResumed(s, why, message)
			r.dropSuspension(s)
		}
	}
}

func (r *Reconciler) dropSuspension(s topology.Suspension) {
	r.suspending.Lock()
	defer r.suspending.Unlock()
	r.mu.Lock()
	left := r.rec.suspended.with(s.Site, func(of map[string]topology.Suspension) { delete(of, s.Peer) })
	r.mu.Unlock()
	r.suspendedAre(left)
}

// lost reports whether it is known that there is no such link. One that is
// held back without a last good state is not known of.
func (d Desired) lost(site, peer string) bool {
	if d.Topology == nil || slices.ContainsFunc(d.Held, func(h topology.Held) bool {
		return h.Site == site && (h.Peer == "" || h.Peer == peer)
	}) {
		return false
	}
	s := d.Topology.Sites[site]
	if s == nil {
		return true
	}
	_, there := s.Link(peer)
	return !there
}

// poke leaves a token in a channel with room for one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
