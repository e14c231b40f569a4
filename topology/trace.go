package topology

import "time"

// A Probing says what probe message to follow.
type Probing struct {
	Topic   string
	Payload []byte
	QoS     byte
	Deliver bool          // to those who subscribe to it; else it is only looked who they are
	Timeout time.Duration // for the answers of peers
}

// How far a probe came over a link.
const (
	TraceWithheld = "withheld" // it was not sent, for the reason given
	TraceQueued   = "queued"
	TraceSent     = "sent"
	TraceAcked    = "acknowledged" // but the peer has not said what it did with it
	TraceArrived  = "arrived"      // and the peer has
	TraceDropped  = "dropped"
)

// A Trace is what came of a probe message.
type Trace struct {
	Topic   string      `json:"topic"`
	QoS     byte        `json:"qos"`
	Deliver bool        `json:"deliver"`
	Site    TracedSite  `json:"site"` // where it was published
	Links   []TracedHop `json:"links"`
}

// A TracedSite is who gets the probe at one site, or would.
type TracedSite struct {
	Name        string `json:"name"`
	Subscribers int    `json:"subscribers"`  // connected
	Sessions    int    `json:"sessions"`     // without a connection, where it would wait
	Groups      int    `json:"share_groups"` // in each of which one member gets it
	Delivered   bool   `json:"delivered"`
}

// Receivers is how many get the probe at the site, or would.
func (s TracedSite) Receivers() int { return s.Subscribers + s.Sessions + s.Groups }

// A TracedHop is the way of the probe over one link. Times are milliseconds
// since the probe was made, and null where that did not happen.
type TracedHop struct {
	Peer   string      `json:"peer"`
	State  string      `json:"state"`
	Reason string      `json:"reason"` // one word, "" where all is well
	Detail string      `json:"detail"` // the same for people
	Routes []string    `json:"routes"` // of the peer, that match
	Queued *float64    `json:"queued_ms"`
	Sent   *float64    `json:"sent_ms"`
	Acked  *float64    `json:"acknowledged_ms"`
	Told   *float64    `json:"reported_ms"`
	Code   *int        `json:"puback"` // the reason code
	Site   *TracedSite `json:"site"`   // null: the peer has not said
}
