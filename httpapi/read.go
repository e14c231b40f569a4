package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"clink/diagnostic"
	"clink/topology"
)

func (a *api) livez(w http.ResponseWriter, _ *http.Request) error {
	reply(w, http.StatusOK, map[string]string{"status": "ok"})
	return nil
}

// readyz tells anybody whether the process is ready, and who has a key also why
// it is not: the reasons quote the source.
func (a *api) readyz(w http.ResponseWriter, r *http.Request) error {
	if reasons := a.store.State().NotReady; len(reasons) > 0 {
		body := map[string]any{"status": "not ready"}
		if a.knownHost(r) {
			if _, _, err := a.authenticate(r); err == nil {
				body["reasons"] = reasons
			}
		}
		reply(w, http.StatusServiceUnavailable, body)
		return nil
	}
	reply(w, http.StatusOK, map[string]string{"status": "ok"})
	return nil
}

func (a *api) sites(w http.ResponseWriter, _ *http.Request) error {
	type site struct {
		Name      string     `json:"name"`
		Listeners []Listener `json:"listeners"`
	}
	brokers := a.store.Brokers()
	list := []site{}
	for _, name := range a.store.Sites() {
		s := site{Name: name, Listeners: []Listener{}}
		if i := slices.IndexFunc(brokers, func(b Broker) bool { return b.Site == name }); i >= 0 {
			s.Listeners = append(s.Listeners, brokers[i].Listeners...)
		}
		list = append(list, s)
	}
	a.tagged(w, http.StatusOK, list)
	return nil
}

func (a *api) findings(w http.ResponseWriter, r *http.Request) error {
	s := a.store.State()
	setTag(w, s.Revision)
	w.Header().Set("Content-Type", "application/json")
	report := diagnostic.Report{Revision: s.Revision, Findings: s.Findings, Waived: s.Waived, Sites: s.AllSites, Links: s.AllLinks}
	if err := report.WriteJSON(w); err != nil {
		a.Log.Debug("answer "+r.URL.Path, "err", err)
	}
	return nil
}

func (a *api) status(w http.ResponseWriter, r *http.Request) error {
	s, you := a.store.State(), callOf(r).actor
	a.tagged(w, http.StatusOK, map[string]any{
		"you":     map[string]string{"key": you.name, "role": you.role},
		"version": a.Version, "started": s.Started, "sites": full(a.store.Sites()),
		"revision": s.Revision, "commit": s.Commit,
		"findings":    map[string]int{"errors": s.Findings.Count(diagnostic.Error), "warnings": s.Findings.Count(diagnostic.Warning)},
		"held":        full(s.Held),
		"suspensions": full(s.Suspensions),
		"git":         s.Git,
		"read_only":   s.ReadOnly,
		"conditions":  a.conditions(),
		"reload":      map[string]any{"at": s.LastReload, "ok": s.ReloadOK, "error": s.ReloadError},
		"ready":       len(s.NotReady) == 0, "not_ready": full(s.NotReady),
	})
	return nil
}

// conditions are the process's, none where nobody tells them.
func (a *api) conditions() []topology.Condition {
	if a.Observer == nil {
		return []topology.Condition{}
	}
	return full(a.Observer.Conditions())
}

// site returns the site that a request is about.
func (a *api) site(r *http.Request) (string, error) {
	names := a.store.Sites()
	if name, ok := pathVar(r, "site"); ok {
		if slices.Contains(names, name) {
			return name, nil
		}
		return "", &problem{status: http.StatusNotFound, code: "NOT_FOUND", message: "This process runs no site of that name; it runs " + strings.Join(names, ", ")}
	}
	if len(names) == 1 {
		return names[0], nil
	}
	return "", &problem{status: http.StatusBadRequest, code: "SITE_REQUIRED", sites: names,
		message: "This process runs several sites: put /sites/NAME in front of the path, NAME one of " + strings.Join(names, ", ")}
}

// siteLinks returns the links of the request's site, and the revision that they
// are at: one that is no newer than they are, since who writes with it as
// If-Match says that he has seen it.
func (a *api) siteLinks(r *http.Request) (links []Link, revision string, err error) {
	site, err := a.site(r)
	if err != nil {
		return nil, "", err
	}
	revision = a.inForce(site) // before the links are read
	links, err = a.store.Links(r.Context(), site)
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("read the links of site %s: %w", site, err)
	}
	return links, revision, err
}

func (a *api) inForce(site string) string {
	s := a.store.State()
	return cmp.Or(s.InForce[site], s.Revision)
}

func (a *api) links(w http.ResponseWriter, r *http.Request) error {
	links, revision, err := a.siteLinks(r)
	if err == nil {
		setTag(w, revision)
		reply(w, http.StatusOK, answers(links))
	}
	return err
}

func (a *api) namedLink(r *http.Request) (l Link, revision string, err error) {
	links, revision, err := a.siteLinks(r)
	if err != nil {
		return Link{}, "", err
	}
	name, _ := pathVar(r, "name")
	i := slices.IndexFunc(links, func(l Link) bool { return l.Name == name })
	if i < 0 {
		return Link{}, "", notFound()
	}
	return links[i], revision, nil
}

func (a *api) link(w http.ResponseWriter, r *http.Request) error {
	l, revision, err := a.namedLink(r)
	if err == nil {
		setTag(w, revision)
		reply(w, http.StatusOK, answer(l))
	}
	return err
}

func (a *api) linkMetrics(w http.ResponseWriter, r *http.Request) error {
	l, _, err := a.namedLink(r)
	if err == nil {
		reply(w, http.StatusOK, metricsAnswer(l.Observed))
	}
	return err
}

// tagged answers with the source's revision as ETag.
func (a *api) tagged(w http.ResponseWriter, status int, body any) {
	setTag(w, a.store.State().Revision)
	reply(w, status, body)
}
