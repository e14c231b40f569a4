package reconciler

import (
	"maps"
	"slices"

	"clink/topology"
)

// How a link has drifted, as the event says it.
const (
	driftMissing = "missing"
	driftChanged = "changed"
	driftUnknown = "unknown" // it is there, and was not made here
)

var driftText = map[string]string{
	driftMissing: "the link was gone; it is made again",
	driftChanged: "the link was not as it was left; it is set right",
	driftUnknown: "there was a link that was not made here; it goes, unless the source wants it",
}

// drift tells which links are not as the last turn left them. The order itself
// does not count.
func (w *worker) drift(o order, actual []topology.Link) {
	now := byName(actual)
	if w.left == nil { // what there is at first is where counting begins
		w.left = now
		return
	}
	found := map[string]string{}
	for peer, was := range w.left {
		if l, there := now[peer]; !there {
			found[peer] = driftMissing
		} else if !l.Equal(was) {
			found[peer] = driftChanged
		}
	}
	for peer := range now {
		if _, known := w.left[peer]; !known {
			found[peer] = driftUnknown
		}
	}
	for _, peer := range slices.Sorted(maps.Keys(found)) {
		if how := found[peer]; !w.unsure[peer] {
			w.r.Log.Warn("drift found", "site", w.site, "peer", peer, "how", how)
			w.r.tell(eventDrift, w.site, peer, o.revision, how, driftText[how])
		}
	}
	w.left = now
	clear(w.unsure)
}

// note keeps how a change leaves its link.
func (w *worker) note(c topology.Change, err error) {
	delete(w.unsure, c.Peer)
	switch {
	case err != nil:
		w.unsure[c.Peer] = true
	case w.left == nil:
	case c.Op == topology.Delete:
		delete(w.left, c.Peer)
	default:
		w.left[c.Peer] = c.Link
	}
}
