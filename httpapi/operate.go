package httpapi

import (
	"io"
	"net/http"
	"slices"
	"time"

	"clink/topology"
)

// maxReason bounds the text of a suspension.
const maxReason = 1000

// namedPeer returns the site and the name of the link that the path names.
func (a *api) namedPeer(r *http.Request) (site, peer string, err error) {
	if a.Operator == nil {
		return "", "", errNotBuilt
	}
	if err := readFlags(r.URL.RawQuery, nil); err != nil {
		return "", "", err
	}
	if site, err = a.site(r); err != nil {
		return "", "", err
	}
	l, _, err := a.namedLink(r)
	return site, l.Name, err
}

func (a *api) resetMetrics(w http.ResponseWriter, r *http.Request) error {
	site, peer, err := a.namedPeer(r)
	if err == nil {
		err = a.Operator.ResetMetrics(r.Context(), site, peer)
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (a *api) suspend(w http.ResponseWriter, r *http.Request) error {
	site, peer, err := a.namedPeer(r)
	if err != nil {
		return err
	}
	body, err := readObject(w, r)
	if err != nil {
		return err
	}
	s, err := suspension(body)
	if err != nil {
		return err
	}
	s.Site, s.Peer, s.By = site, peer, callOf(r).name
	if err := a.Operator.Suspend(r.Context(), s); err != nil {
		return err
	}
	reply(w, http.StatusOK, s)
	return nil
}

// suspension reads why, and until when.
func suspension(body map[string]any) (topology.Suspension, error) {
	s := topology.Suspension{Since: time.Now().UTC()}
	for name := range body {
		if fields := []string{"reason", "until"}; !slices.Contains(fields, name) {
			return s, bad("Unknown field " + limited(name) + didYouMean(name, fields) + "; a suspension has a reason and, if it is to end by itself, until")
		}
	}
	var ok bool
	if s.Reason, ok = body["reason"].(string); !ok || s.Reason == "" || len(s.Reason) > maxReason {
		return s, bad("A suspension needs a reason: a text of at most 1000 bytes, for whoever finds the link down")
	}
	if body["until"] == nil {
		return s, nil
	}
	text, _ := body["until"].(string)
	until, err := time.Parse(time.RFC3339, text)
	if err != nil || !until.After(s.Since) {
		return s, bad("until must be a time to come, such as 2030-12-31T18:00:00Z; leave it out to suspend until resumed")
	}
	s.Until = until.UTC()
	return s, nil
}

func (a *api) resume(w http.ResponseWriter, r *http.Request) error {
	site, peer, err := a.namedPeer(r)
	if err == nil {
		err = a.Operator.Resume(r.Context(), site, peer, callOf(r).name)
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// probe tries a link that there is.
func (a *api) probe(w http.ResponseWriter, r *http.Request) error {
	site, peer, err := a.namedPeer(r)
	if err != nil {
		return err
	}
	if n, _ := io.ReadFull(r.Body, make([]byte, 1)); n > 0 {
		return bad("This probes the link as it is and takes no body; POST another one to …/cluster/links/probe")
	}
	return a.answerProbe(w, r, site, map[string]any{"name": peer})
}

// probeBody tries a link that need not be there.
func (a *api) probeBody(w http.ResponseWriter, r *http.Request) error {
	if a.Operator == nil {
		return errNotBuilt
	}
	if err := readFlags(r.URL.RawQuery, nil); err != nil {
		return err
	}
	site, err := a.site(r)
	if err != nil {
		return err
	}
	known, err := a.knownNames(r, site)
	if err != nil {
		return err
	}
	m, err := readObject(w, r)
	if err != nil {
		return err
	}
	if err := checkNamed(m, "root", known); err != nil {
		return err
	}
	return a.answerProbe(w, r, site, m)
}

func (a *api) answerProbe(w http.ResponseWriter, r *http.Request, site string, link map[string]any) error {
	p, err := a.Operator.Probe(r.Context(), site, link)
	if err != nil {
		return err
	}
	if p.Steps == nil {
		p.Steps = []topology.ProbeStep{}
	}
	reply(w, http.StatusOK, p)
	return nil
}
