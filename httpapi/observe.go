package httpapi

import (
	"maps"
	"net/http"
	"slices"

	"clink/topic"
	"clink/topology"
)

// topology answers what is wanted of all sites.
func (a *api) topology(w http.ResponseWriter, r *http.Request) error {
	t, revision, err := a.wanted()
	if err != nil {
		return err
	}
	if unchanged(w, r, revision) {
		return nil
	}
	sites := make([]topology.Site, 0, len(t.Sites))
	for _, name := range t.Names() {
		sites = append(sites, fullSite(*t.Sites[name]))
	}
	reply(w, http.StatusOK, map[string]any{"revision": revision, "sites": sites})
	return nil
}

// fullSite is a site whose lists are never null in JSON. It shares nothing
// that it changes.
func fullSite(s topology.Site) topology.Site {
	s.Listeners, s.Links, s.Grants = full(s.Listeners), full(s.Links), full(s.Grants)
	for i := range s.Listeners {
		s.Listeners[i].SSL = fullTLS(s.Listeners[i].SSL)
	}
	for i := range s.Links {
		s.Links[i].Topics, s.Links[i].SSL = full(s.Links[i].Topics), fullTLS(s.Links[i].SSL)
	}
	for i := range s.Grants {
		s.Grants[i].Publish, s.Grants[i].Subscribe = full(s.Grants[i].Publish), full(s.Grants[i].Subscribe)
	}
	exports := make(map[string][]topic.Filter, len(s.Exports))
	for peer, filters := range maps.All(s.Exports) {
		exports[peer] = full(filters)
	}
	s.Exports = exports
	return s
}

func fullTLS(t topology.TLS) topology.TLS {
	t.Versions, t.Ciphers = full(t.Versions), full(t.Ciphers)
	return t
}

// full is a copy of a list that is not nil.
func full[T any](l []T) []T { return append([]T{}, l...) }

// A revisionAnswer is a revision with how long it took, which is null as long
// as it is not in force.
type revisionAnswer struct {
	Revision
	Millis *int64 `json:"ms"`
}

func (a *api) revisions(w http.ResponseWriter, _ *http.Request) error {
	if a.Observer == nil {
		return errNotBuilt
	}
	list := []revisionAnswer{}
	for _, r := range a.Observer.Revisions() {
		list = append(list, answerRevision(r))
	}
	a.tagged(w, http.StatusOK, list)
	return nil
}

func answerRevision(r Revision) revisionAnswer {
	r.Plan = fullPlan(r.Plan)
	one := revisionAnswer{Revision: r}
	if ms := r.Took.Milliseconds(); r.Took > 0 {
		one.Millis = &ms
	}
	return one
}

// A detailAnswer is a revision with what was changed and found.
type detailAnswer struct {
	revisionAnswer
	RevisionDetail
	Kept bool `json:"kept"` // false: the rest is not known any more
}

func (a *api) revision(w http.ResponseWriter, r *http.Request) error {
	if a.Observer == nil {
		return errNotBuilt
	}
	name, _ := pathVar(r, "revision")
	list := a.Observer.Revisions()
	i := slices.IndexFunc(list, func(one Revision) bool { return one.Revision == name })
	if i < 0 {
		return &problem{status: http.StatusNotFound, code: "NOT_FOUND", message: "No such revision is kept; GET /revisions lists those that are"}
	}
	answer := detailAnswer{revisionAnswer: answerRevision(list[i])}
	answer.RevisionDetail, answer.Kept = a.Observer.Detail(name)
	a.tagged(w, http.StatusOK, answer)
	return nil
}
