package topology

import "time"

// A Suspension keeps one link disabled without a change of the source, for a
// reason and until a time.
type Suspension struct {
	Site   string    `json:"site"`
	Peer   string    `json:"peer"`
	Reason string    `json:"reason"`
	By     string    `json:"by"` // the API key
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero: until it is resumed
}

// The types of a [Condition], the words of kstatus.
const (
	Ready       = "Ready"       // what is wanted is in force
	Reconciling = "Reconciling" // it is being brought into force
	Stalled     = "Stalled"     // it cannot be, until somebody does something
)

// A Condition says whether one thing holds of the process or of a site.
type Condition struct {
	Type     string    `json:"type"`
	Status   string    `json:"status"` // True, False or Unknown
	Reason   string    `json:"reason"` // one word in CamelCase
	Message  string    `json:"message"`
	Since    time.Time `json:"since"` // of the last change of Status
	Revision string    `json:"revision,omitempty"`
}

// An Event is something that happened, for whoever watches.
type Event struct {
	ID       uint64    `json:"id"` // counts up from the start of the process
	Time     time.Time `json:"time"`
	Type     string    `json:"type"` // such as revision, applied, failed, held, link, suspended
	Site     string    `json:"site,omitempty"`
	Peer     string    `json:"peer,omitempty"`
	Revision string    `json:"revision,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Message  string    `json:"message"`
}

// A PlanStep is one link that a change of the source creates, updates or
// deletes at a site, without any of its values.
type PlanStep struct {
	Site   string   `json:"site"`
	Op     string   `json:"op"`
	Peer   string   `json:"peer"`
	Fields []string `json:"fields"` // of an update: the fields that differ
}

// A Probe is what came of trying a link from its own end.
type Probe struct {
	OK    bool        `json:"ok"`
	Steps []ProbeStep `json:"steps"`
}

// A ProbeStep is one step of a [Probe]; after one that is not OK there is none.
type ProbeStep struct {
	Name   string  `json:"name"`
	OK     bool    `json:"ok"`
	Millis float64 `json:"ms"`
	Detail string  `json:"detail"`
}
