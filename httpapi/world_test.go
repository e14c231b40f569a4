package httpapi_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"clink/diagnostic"
	"clink/httpapi"
	"clink/topic"
	"clink/topology"
)

// A world is the links of one site in memory, to be read and written: what
// the daemon does, without a source and without brokers.
type world struct {
	template httpapi.Link

	mu       sync.Mutex
	links    []httpapi.Link
	revision int
	writes   []httpapi.Write
	refuse   error           // what the next writes are refused with
	written  httpapi.Written // what the next writes answer besides
	later    bool            // the next writes are not in force in time
	suspends []topology.Suspension
	probed   map[string]any
	traced   topology.Probing
	resets   []string

	observed []httpapi.Observed
	readOnly *bool
	blind    error // what looking at the links comes to
	looks    int   // at the links

	past []topology.Event
	next chan topology.Event
	wake chan uint64 // told of each subscription
}

func newWorld(t testing.TB) *world {
	return &world{template: clB(t), revision: 1, next: make(chan topology.Event), wake: make(chan uint64, 10)}
}

func (w *world) rev() string { return fmt.Sprintf("r%d", w.revision) }

func (w *world) Sites() []string           { return []string{"site-a"} }
func (w *world) Brokers() []httpapi.Broker { return nil }
func (w *world) Links(context.Context, string) ([]httpapi.Link, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.links), nil
}

func (w *world) State() httpapi.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return httpapi.State{Revision: w.rev(), Suspensions: w.suspends, Started: time.Unix(1, 0), ReadOnly: w.readOnly}
}

func (w *world) index(name any) int {
	return slices.IndexFunc(w.links, func(l httpapi.Link) bool { return l.Name == name })
}

func (w *world) Write(_ context.Context, wr httpapi.Write) (httpapi.Written, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes = append(w.writes, wr)
	if wr.IfMatch != "" && wr.IfMatch != w.rev() {
		return httpapi.Written{}, &httpapi.Refusal{Kind: httpapi.Stale}
	}
	if w.refuse != nil {
		return httpapi.Written{}, fmt.Errorf("write: %w", w.refuse)
	}
	done := w.written
	if wr.DryRun {
		return done, nil
	}
	if err := w.apply(wr, &done); err != nil {
		return httpapi.Written{}, err
	}
	w.revision++
	done.Revision, done.InForce = w.rev(), !w.later
	return done, nil
}

func (w *world) apply(wr httpapi.Write, done *httpapi.Written) error {
	i := w.index(wr.Links[0]["name"])
	switch {
	case wr.Op == "replace":
		w.links = nil
		for _, m := range wr.Links {
			w.links = append(w.links, w.link(m))
		}
		done.Links = w.links
		return nil
	case wr.Op == "create" && i >= 0:
		return &httpapi.Refusal{Kind: httpapi.Exists}
	case (wr.Op == "update" || wr.Op == "delete") && i < 0:
		return &httpapi.Refusal{Kind: httpapi.NotFound}
	case wr.Op == "delete":
		w.links = slices.Delete(w.links, i, i+1)
		return nil
	}
	if done.Created = i < 0; i < 0 {
		w.links, i = append(w.links, httpapi.Link{}), len(w.links)
	}
	w.links[i] = w.link(wr.Links[0])
	done.Links = []httpapi.Link{w.links[i]}
	return nil
}

// link is the template with some of the fields of a body.
func (w *world) link(m map[string]any) httpapi.Link {
	l := w.template
	l.Name = m["name"].(string)
	l.Server, _ = m["server"].(string)
	l.Enable = m["enable"] != false
	l.ClientID, _ = m["clientid"].(string)
	l.Topics = nil
	list, _ := m["topics"].([]any)
	for _, t := range list {
		l.Topics = append(l.Topics, topic.Filter(t.(string)))
	}
	l.Revision = w.rev()
	return l
}

func (w *world) last(t testing.TB) httpapi.Write {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.writes) == 0 {
		t.Fatal("nothing was written")
	}
	return w.writes[len(w.writes)-1]
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.writes)
}

func (w *world) Suspend(_ context.Context, s topology.Suspension) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.suspends = append(w.suspends, s)
	w.links[w.index(s.Peer)].Suspension = &s
	return nil
}

func (w *world) Resume(_ context.Context, site, peer, _ string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.suspends)
	w.suspends = slices.DeleteFunc(w.suspends, func(s topology.Suspension) bool { return s.Site == site && s.Peer == peer })
	if len(w.suspends) == n {
		return &httpapi.Refusal{Kind: httpapi.NotFound, Message: "The link is not suspended"}
	}
	w.links[w.index(peer)].Suspension = nil
	return nil
}

func (w *world) Probe(_ context.Context, _ string, link map[string]any) (topology.Probe, error) {
	w.probed = link
	return topology.Probe{Steps: []topology.ProbeStep{{Name: "dns", Millis: 0.5, Detail: "no such host"}}}, nil
}

func (w *world) Trace(_ context.Context, site string, p topology.Probing) (topology.Trace, error) {
	if strings.ContainsAny(p.Topic, "+#") {
		return topology.Trace{}, &httpapi.Refusal{Kind: httpapi.Invalid, Message: "a topic name has no wildcard"}
	}
	w.traced = p
	return topology.Trace{
		Topic: p.Topic, QoS: p.QoS, Deliver: p.Deliver, Site: topology.TracedSite{Name: site, Subscribers: 1},
		Links: []topology.TracedHop{{Peer: "clB", State: topology.TraceWithheld, Reason: "not-announced", Detail: "nobody at clB subscribes to it", Routes: []string{}}},
	}, nil
}

func (w *world) ResetMetrics(_ context.Context, site, peer string) error {
	w.resets = append(w.resets, site+"/"+peer)
	return nil
}

func (w *world) Revisions() []httpapi.Revision {
	return []httpapi.Revision{
		{Revision: "r2", Author: "admin", At: time.Unix(2, 0), Result: "pending"},
		{Revision: "r1", Commit: "abc", At: time.Unix(1, 0), Errors: 1, Plan: []topology.PlanStep{{Site: "site-a", Op: "create", Peer: "clB"}}, Result: "applied", Took: 3 * time.Millisecond},
	}
}

func (w *world) Events(after uint64) ([]topology.Event, <-chan topology.Event, func()) {
	i := slices.IndexFunc(w.past, func(e topology.Event) bool { return e.ID > after })
	if i < 0 {
		i = len(w.past)
	}
	w.wake <- after
	return w.past[i:], w.next, func() {}
}

func (w *world) Topology() (*topology.Topology, string) {
	l := w.template.Link
	l.Password = mustRef(hidden)
	return &topology.Topology{Sites: map[string]*topology.Site{
		"site-a": {Name: "site-a", Target: topology.Target{Kind: topology.Embedded}, Links: []topology.Link{l}, Listeners: []topology.Listener{{Name: "mqtt", Type: topology.TCP, SSL: topology.TLS{Verify: "verify_none"}}},
			Access: topology.Access{Users: []topology.User{{Name: "u", Password: mustRef(hidden)}}}, Grants: []topology.Grant{{Peer: "clB"}}, Exports: map[string][]topic.Filter{"clB": nil}},
		"clB": {Name: "clB", Target: topology.Target{Kind: topology.External}},
	}}, "r1"
}

func (w *world) Conditions() []topology.Condition {
	return []topology.Condition{{Type: topology.Ready, Status: "True", Reason: "Applied", Message: "all in force", Since: time.Unix(1, 0), Revision: "r1"}}
}

func (w *world) Detail(revision string) (httpapi.RevisionDetail, bool) {
	if revision != "r2" {
		return httpapi.RevisionDetail{}, false
	}
	return httpapi.RevisionDetail{Before: "r1", Diff: "--- a/a.cue\n", Findings: oneSided}, true
}

func (w *world) Source(site, peer string) []httpapi.Block {
	if site != "site-a" && site != "clB" || peer != "clB" {
		return nil
	}
	return []httpapi.Block{{File: "a.cue", Line: 7, Text: "\tclB: {\n\t}\n"}, {File: "b.cue", Line: 1, Text: "more\n"}}
}

func (w *world) Observed(context.Context) ([]httpapi.Observed, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	return slices.Clone(w.observed), w.blind
}

// writable serves the world with all its parts.
func writable(t testing.TB, w *world) string {
	t.Helper()
	return serveWith(t, w, httpapi.Options{Writer: w, Operator: w, Observer: w}).URL
}

const newLink = `{"name":"clA","server":"127.0.0.1:21883","clientid":"r2","topics":["x/#"],"pool_size":1}`

var oneSided = diagnostic.List{{Rule: "one-sided", Severity: diagnostic.Error, Message: "no link back", Pos: diagnostic.Pos{File: "a.cue", Line: 1, Column: 1, EndLine: 1, EndColumn: 2}, Sites: []string{"site-a"}}}

func contained(body string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(body, p) {
			return false
		}
	}
	return true
}

// panicking has a fault.
type panicking struct{ httpapi.Writer }

func (panicking) Write(context.Context, httpapi.Write) (httpapi.Written, error) { panic("a fault") }
