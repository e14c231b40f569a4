package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"clink/diagnostic"
	"clink/topology"
)

// The values of [Write.Op].
const (
	opCreate  = "create"
	opPut     = "put"
	opUpdate  = "update"
	opReplace = "replace"
	opDelete  = "delete"
)

// A writeAnswer is a written link in an answer.
type writeAnswer struct {
	linkAnswer
	Findings diagnostic.List `json:"findings"`
	Halves   []Half          `json:"halves"`
}

var errNotBuilt = &problem{status: http.StatusNotImplemented, code: "NOT_IMPLEMENTED", message: "This process cannot do that; edit the topology's source, clinkd applies it on save"}

// createLink is POST of the list.
func (a *api) createLink(w http.ResponseWriter, r *http.Request) error {
	return a.writeOne(w, r, opCreate)
}

// putLinks is PUT of the list: an object is one link to create or update, an
// array is the whole list.
func (a *api) putLinks(w http.ResponseWriter, r *http.Request) error {
	body, err := a.writeBody(w, r)
	if err != nil {
		return err
	}
	wr, err := a.newWrite(r, opPut)
	if err != nil {
		return err
	}
	known, err := a.knownNames(r, wr.Site)
	if err != nil {
		return err
	}
	switch body := body.(type) {
	case map[string]any:
		if wr.Theirs, err = theirs(body, wr.Pair); err != nil {
			return err
		}
		if err := checkNamed(body, "root", known); err != nil {
			return err
		}
		wr.Links = []map[string]any{body}
	case []any:
		wr.Op = opReplace
		if wr.Links, err = checkList(body, known); err != nil {
			return err
		}
	default:
		return bad("The body must be a JSON object, one link, or an array of all links")
	}
	return a.write(w, r, wr)
}

func (a *api) writeOne(w http.ResponseWriter, r *http.Request, op string) error {
	body, err := a.writeBody(w, r)
	if err != nil {
		return err
	}
	m, ok := body.(map[string]any)
	if !ok {
		return bad("The body must be a JSON object: one link")
	}
	wr, err := a.newWrite(r, op)
	if err != nil {
		return err
	}
	if wr.Theirs, err = theirs(m, wr.Pair); err != nil {
		return err
	}
	if op == opCreate {
		err = checkNamed(m, "root", func(string) bool { return false })
	} else if m["name"], err = linkName(r); err == nil { // the path's name wins
		err = tidyLink(m, "root")
	}
	if err == nil && op == opCreate {
		err = keptSecret(m, "root")
	}
	if err != nil {
		return err
	}
	wr.Links = []map[string]any{m}
	return a.write(w, r, wr)
}

// theirs takes out of a link what the peer's half is to want.
func theirs(m map[string]any, pair bool) ([]any, error) {
	v, ok := m["peer_topics"]
	delete(m, "peer_topics")
	if !ok {
		return nil, nil
	}
	list, ok := v.([]any)
	switch {
	case !pair:
		return nil, bad("root.peer_topics is what the peer's half is to want, and that half is written with pair=true only")
	case !ok || slices.ContainsFunc(list, func(t any) bool { _, ok := t.(string); return !ok }):
		return nil, bad("root.peer_topics must be a list of topic filters")
	}
	return list, nil
}

func (a *api) putLink(w http.ResponseWriter, r *http.Request) error {
	return a.writeOne(w, r, opUpdate)
}

func (a *api) deleteLink(w http.ResponseWriter, r *http.Request) error {
	if a.Writer == nil {
		return errNotBuilt
	}
	wr, err := a.newWrite(r, opDelete)
	if err != nil {
		return err
	}
	name, err := linkName(r)
	if err != nil {
		return err
	}
	wr.Links = []map[string]any{{"name": name}}
	return a.write(w, r, wr)
}

func (a *api) writeBody(w http.ResponseWriter, r *http.Request) (any, error) {
	if a.Writer == nil {
		return nil, errNotBuilt
	}
	return readBody(w, r)
}

// knownNames returns what tells the names of links that the site has.
func (a *api) knownNames(r *http.Request, site string) (func(string) bool, error) {
	links, err := a.store.Links(r.Context(), site)
	names := make(map[string]bool, len(links))
	for _, l := range links {
		names[l.Name] = true
	}
	return func(name string) bool { return names[name] }, err
}

// linkName returns the link's name in the path. A name that no link can have
// names none.
func linkName(r *http.Request) (string, error) {
	name, _ := pathVar(r, "name")
	if name == "" || name == "." || name == ".." || name == "link" || strings.ContainsAny(name, "/\x00+#") {
		return "", notFound()
	}
	return name, nil
}

// newWrite is a write with what stands around its body.
func (a *api) newWrite(r *http.Request, op string) (Write, error) {
	site, err := a.site(r)
	if err != nil {
		return Write{}, err
	}
	wr := Write{Site: site, Op: op, By: callOf(r).name, RequestID: callOf(r).id}
	if wr.IfMatch, err = a.ifMatch(r, site); err != nil {
		return Write{}, err
	}
	flags := map[string]*bool{"pair": &wr.Pair, "dry_run": &wr.DryRun, "override": &wr.Override, "strict": &wr.Strict}
	if op == opPut {
		flags["prune"] = &wr.Prune
	}
	return wr, readFlags(r.URL.RawQuery, flags)
}

// readFlags reads a query of true and false. What is not understood is
// refused: a misspelt dry_run must not write.
func readFlags(raw string, flags map[string]*bool) error {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return bad("The query is not well formed")
	}
	names := make([]string, 0, len(flags))
	for name := range flags {
		names = append(names, name)
	}
	slices.Sort(names)
	for name, values := range q {
		flag, ok := flags[name]
		switch {
		case !ok && len(names) == 0:
			return bad("This takes no query")
		case !ok:
			return bad("Unknown flag " + limited(name) + didYouMean(name, names) + "; there are " + strings.Join(names, ", "))
		case len(values) != 1 || values[0] != "true" && values[0] != "false":
			return bad("The flag " + name + " is given once, as " + name + "=true or " + name + "=false")
		}
		*flag = values[0] == "true"
	}
	return nil
}

// limited is the beginning of what somebody sent.
func limited(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

// write has a change made and answers what came of it.
func (a *api) write(w http.ResponseWriter, r *http.Request, wr Write) error {
	done, err := a.Writer.Write(r.Context(), wr)
	var ref *Refusal
	if errors.As(err, &ref) && ref.Kind == Stale {
		return a.stale(w, r, wr, ref)
	}
	if err != nil {
		return err
	}
	if done.Findings == nil {
		done.Findings = diagnostic.List{}
	}
	if done.Halves == nil {
		done.Halves = []Half{}
	}
	if wr.DryRun {
		reply(w, http.StatusOK, map[string]any{"plan": fullPlan(done.Plan), "diff": done.Diff, "findings": done.Findings, "flows": full(done.Flows)})
		return nil
	}
	setTag(w, done.Revision)
	a.answerWrite(w, wr, done)
	return nil
}

func (a *api) answerWrite(w http.ResponseWriter, wr Write, done Written) {
	status := http.StatusOK
	if wr.Op == opCreate || wr.Op == opPut && done.Created {
		status = http.StatusCreated
	}
	switch {
	case !done.InForce || wr.Op != opDelete && wr.Op != opReplace && len(done.Links) == 0:
		reply(w, http.StatusAccepted, struct {
			Revision string          `json:"revision"`
			Reason   string          `json:"reason,omitempty"`
			Findings diagnostic.List `json:"findings"`
			Halves   []Half          `json:"halves"`
		}{done.Revision, done.Reason, done.Findings, done.Halves})
	case wr.Op == opDelete:
		w.WriteHeader(http.StatusNoContent)
	case wr.Op == opReplace:
		reply(w, status, writtenList(wr.Site, done))
	default:
		reply(w, status, writeAnswer{answer(done.Links[0]), done.Findings, done.Halves})
	}
}

// stale answers a write that came too late, with what there is now.
func (a *api) stale(w http.ResponseWriter, r *http.Request, wr Write, ref *Refusal) error {
	revision := a.inForce(wr.Site)
	links, err := a.store.Links(r.Context(), wr.Site)
	if err != nil {
		return err
	}
	var current any
	if wr.Op == opReplace {
		current = answers(links)
	} else if i := slices.IndexFunc(links, func(l Link) bool { return l.Name == wr.Links[0]["name"] }); i >= 0 {
		current = answer(links[i])
	}
	e := ref.answer()
	if e.Current, err = json.Marshal(current); err != nil {
		return err
	}
	setTag(w, revision)
	reply(w, http.StatusPreconditionFailed, e)
	return nil
}

// fullPlan is a plan without nulls.
func fullPlan(steps []topology.PlanStep) []topology.PlanStep {
	full := make([]topology.PlanStep, len(steps))
	for i, s := range steps {
		if s.Fields == nil {
			s.Fields = []string{}
		}
		full[i] = s
	}
	return full
}
