package topology

import "time"

// EMQX's words for the state of a link's message connections.
const (
	Connected    = "connected"
	Connecting   = "connecting"
	Disconnected = "disconnected"
	Inconsistent = "inconsistent"
)

// The states of route replication.
const (
	ReplicationOnline        = "online"
	ReplicationBootstrapping = "bootstrapping"
	ReplicationHandshaking   = "handshaking"
	ReplicationRejected      = "rejected"
	ReplicationDown          = "down"
)

// The states of the far side's half as seen here.
const (
	InboundOnline       = "online"        // its actor is initialised with us
	InboundAbsent       = "absent"        // it has not come
	InboundRejected     = "rejected"      // it came and was refused, see the reason
	InboundNoCredential = "no-credential" // it came and its credential was refused
	InboundExpired      = "expired"       // it came and fell silent
)

// A LinkStatus is what is observed of one link at its own end.
type LinkStatus struct {
	Peer        string
	Enable      bool
	Node        string // clink@<cluster>
	State       string // of the forwarding connections, in EMQX's words
	Reason      string // of State, where it is not Connected
	Replication Replication
	Inbound     Presence
	Metrics     LinkMetrics
}

// Replication is how far announcing our routes to the peer has come.
type Replication struct {
	State      string    `json:"state"`
	Reason     string    `json:"reason"` // the peer's reject word as it came, or why it is down
	Since      time.Time `json:"since"`
	PeerRoutes int       `json:"peer_routes"` // routes the peer announced to us
	OwnRoutes  int       `json:"own_routes"`  // routes we announce to the peer
}

// Presence is the far side's half.
type Presence struct {
	State  string    `json:"state"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// LinkMetrics are a link's counters since its start, and three gauges.
// Matched to Retried are EMQX's forwarding counters.
type LinkMetrics struct {
	Matched, Success, Failed, Dropped, Retried uint64
	Queuing, QueueBytes, Inflight              int64 // gauges
	Received                                   uint64
	Reconnects                                 uint64
	DroppedBy                                  map[string]uint64 // dropped, failed and refused messages by reason, both directions
	Rate, RateLast5m, RateMax                  float64           // messages forwarded a second
	CopiesSent                                 uint64            // retained messages that the peer took because of new routes
	CopiesStored, CopiesUnchanged              uint64            // those that came from it: news here, and no news
}

// The kinds of change, in the order in which they are applied.
const (
	Delete = "delete"
	Update = "update"
	Create = "create"
)

// A Change is one step that brings a site's links to what is wanted.
//
// With Hold it is the first half of one: the link takes what its peer sends as
// both the link before and the one wanted would, and gives up connections that
// the one wanted would not have, but makes none. The same change without Hold
// must follow. So both ends can be made ready for a change before either acts
// on it. What runs a site and cannot do that does nothing on Hold.
type Change struct {
	Op   string
	Peer string
	Link Link // as wanted; for Delete as it was
	Hold bool
}

// A Held is a link, or with an empty Peer a site, that stays at its last good
// state because of a finding.
type Held struct {
	Site  string    `json:"site"`
	Peer  string    `json:"peer,omitempty"`
	Rule  string    `json:"rule"`
	Why   string    `json:"why"`
	Since time.Time `json:"since"`
}
