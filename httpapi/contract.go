package httpapi

import (
	"context"
	"time"

	"clink/diagnostic"
	"clink/flow"
	"clink/topology"
)

// A Writer changes links where they are declared: in the source.
type Writer interface {
	// Write makes one change, whole or not at all, and returns when it is in
	// force or has waited long enough. What it refuses is a [*Refusal].
	Write(ctx context.Context, w Write) (Written, error)
}

// A Write is one change of a site's links. Its form has been checked, its
// meaning has not.
type Write struct {
	Site string
	// Op is "create", "put" (create or update), "update" (the link must
	// exist), "replace" (the whole list) or "delete".
	Op string
	// Links holds the fields of each link as JSON values, numbers as
	// json.Number, with its "name"; to delete, the name alone. What only an
	// answer says (status, source and the like) is not in it; a password may
	// be six asterisks, for "keep".
	Links     []map[string]any
	IfMatch   string // the revision that the source must be at; "": any
	Pair      bool   // write the other half too
	Theirs    []any  // with Pair: the topics that the other half is to want, as JSON values; nil: as they are
	DryRun    bool   // write nothing, tell the plan and the diff
	Override  bool   // where the source has an expression, put the value in its place
	Strict    bool   // refuse on any new finding
	Prune     bool   // by a "replace": remove the links that are not in the list
	By        string // the API key
	RequestID string
}

// Written is what came of a [Write].
type Written struct {
	Revision string // of the source with the change in it
	Created  bool   // by a "put": there was no such link
	InForce  bool   // false: it is in the source, and will be in force
	Reason   string // why it is not in force yet
	Links    []Link // those written, or for a "replace" all
	Findings diagnostic.List
	Halves   []Half
	Plan     []topology.PlanStep // of a dry run
	Diff     string              // of a dry run; with no credential in it
	Flows    []flow.Change       // of a dry run
}

// A Half says how far one half of a written link has come: "applied",
// "written" (its site runs elsewhere) or "unpushed".
type Half struct {
	Site  string `json:"site"`
	Peer  string `json:"-"`
	State string `json:"state"`
}

// A Refusal is why something was not done, for whoever asked for it. Without
// a Message, the kind's own words are answered.
type Refusal struct {
	Kind     string // NotFound and so on
	Message  string
	Findings diagnostic.List
	Pos      diagnostic.Pos       // in the source, where one place is at fault
	Related  []diagnostic.Related // other places that have to do with it
}

// The kinds of a [Refusal].
const (
	NotFound    = "not-found"   // 404: no such link
	Exists      = "exists"      // 400, as EMQX: to be created, but there
	Stale       = "stale"       // 412: the source is at another revision than IfMatch
	Conflict    = "conflict"    // 409: the source holds what a splice cannot change
	WouldPrune  = "would-prune" // 409: the new list lacks links, and Prune is not set
	ReadOnly    = "read-only"   // 409: the source cannot be written
	Invalid     = "invalid"     // 400: it would bring findings that are not let in
	NoSpace     = "no-space"    // 507
	Unavailable = "unavailable" // 503: not now
)

func (r *Refusal) Error() string {
	if r.Message != "" {
		return r.Message
	}
	return refusals[r.Kind].message
}

// An Operator does what changes no source.
type Operator interface {
	Suspend(ctx context.Context, s topology.Suspension) error
	Resume(ctx context.Context, site, peer, by string) error
	// Probe tries a link from its own end. A link with nothing but a name is
	// the one there is.
	Probe(ctx context.Context, site string, link map[string]any) (topology.Probe, error)
	ResetMetrics(ctx context.Context, site, peer string) error
	// Trace follows a probe message from a site. What it refuses is a
	// [*Refusal].
	Trace(ctx context.Context, site string, p topology.Probing) (topology.Trace, error)
}

// An Observer tells what happened, and what is wanted and seen of the whole
// fleet.
type Observer interface {
	history
	fleet
}

type history interface {
	// Revisions returns the latest revisions, the newest first.
	Revisions() []Revision
	// Detail returns what a revision changed, if that is still known.
	Detail(revision string) (RevisionDetail, bool)
	// Events returns the kept events after the given one, and the channel of
	// those to come; it is closed when its reader falls too far behind. stop
	// must be called once.
	Events(after uint64) (past []topology.Event, next <-chan topology.Event, stop func())
	Conditions() []topology.Condition
}

type fleet interface {
	// Topology returns what is wanted, nil before the first revision. It is
	// not changed any more.
	Topology() (t *topology.Topology, revision string)
	// Source returns where the source declares a site's link, in its order,
	// with no credential in it.
	Source(site, peer string) []Block
	// Observed returns what is seen of each link that this process runs, in
	// order of site and peer.
	Observed(ctx context.Context) ([]Observed, error)
}

// An Observed is what is seen of one half of a link that this process runs.
type Observed struct {
	Site      string
	Status    topology.LinkStatus
	Suspended bool
}

// A Block is some lines of the source.
type Block struct {
	File string `json:"file"`
	Line int    `json:"line"` // of the first
	Text string `json:"text"`
}

// RevisionDetail is what a revision changed and what was found in it.
type RevisionDetail struct {
	Before   string          `json:"before"` // the revision that it is compared with; "": there was none since the start
	Diff     string          `json:"diff"`   // of the files, unified, with no credential in it
	Cut      bool            `json:"cut"`    // there is more than is shown
	Findings diagnostic.List `json:"findings"`
}

// A Revision is one state of the source and what came of it.
type Revision struct {
	Revision string              `json:"revision"`
	Commit   string              `json:"commit"`
	Author   string              `json:"author"` // the API key that wrote it; "": an editor
	At       time.Time           `json:"at"`
	Errors   int                 `json:"errors"`
	Warnings int                 `json:"warnings"`
	Plan     []topology.PlanStep `json:"plan"`
	Result   string              `json:"result"` // applied, partly, failed, superseded or pending
	Error    string              `json:"error,omitempty"`
	Took     time.Duration       `json:"-"` // until it was in force
}
