// Package topology is the linked clusters as plain data: what is wanted (sites,
// listeners, access, links, and what is derived from them) and what is
// observed (status and metrics of links).
//
// Names, types, units and defaults of link fields are EMQX's (cluster.links);
// the JSON form of a [Link] is the one its REST API answers with. The package
// reads nothing, connects to nothing and judges nothing: values come from the
// compiler, already checked, with every default filled in.
package topology

import (
	"maps"
	"slices"

	"clink/diagnostic"
	"clink/internal/secret"
	"clink/topic"
)

// A Topology is all sites of one source.
type Topology struct {
	Sites    map[string]*Site
	Severity map[string]diagnostic.Severity // policy.severity: what the team says of a rule
	Policies []Policy                       // policy.flows, in order of name; of one name never before always
}

// Names returns the names of the sites in order.
func (t *Topology) Names() []string {
	return slices.Sorted(maps.Keys(t.Sites))
}

// Links returns the number of links of all sites, disabled ones too.
func (t *Topology) Links() int {
	n := 0
	for _, s := range t.Sites {
		n += len(s.Links)
	}
	return n
}

// A Site is one MQTT cluster: a broker that clink runs, one that it drives, or
// one that it only knows.
type Site struct {
	Name   string            `json:"name"` // the key in the source, and the cluster's name on the wire
	Labels map[string]string `json:"labels,omitempty"`
	Host   string            `json:"host,omitempty"`   // sites with different, given hosts cannot meet on loopback
	Memory Size              `json:"memory,omitzero"`  // budget for buffers; 0: none named
	Target Target            `json:"target"`           // what runs it
	Intent Intent            `json:"intent,omitempty"` // what clients here are meant to do

	Listeners []Listener `json:"listeners"`     // in order of name
	MQTT      MQTT       `json:"mqtt,omitzero"` // shown where the source says something of it
	Access    Access     `json:"access"`
	Links     []Link     `json:"links"` // in order of peer

	// Derived from all sites together.
	Grants  []Grant                   `json:"grants"`  // who may connect here as a link peer
	Exports map[string][]topic.Filter `json:"exports"` // by peer: what it may be sent; a peer not named gets nothing

	Pos   diagnostic.Pos `json:"-"` // the site's label
	Files []string       `json:"-"` // the source files that say something about the site
}

// Link returns the site's link to peer.
func (s *Site) Link(peer string) (Link, bool) {
	i := slices.IndexFunc(s.Links, func(l Link) bool { return l.Name == peer })
	if i < 0 {
		return Link{}, false
	}
	return s.Links[i], true
}

// The kinds of target.
const (
	Embedded = "embedded" // run inside clinkd
	EMQX     = "emqx"     // driven through its REST API
	External = "external" // known, not managed
)

// A Target says what runs a site's broker. API and the fields after it are
// for kind EMQX only.
type Target struct {
	Kind    string     `json:"kind"`
	API     string     `json:"api,omitempty"`
	Key     string     `json:"key,omitempty"`
	Secret  secret.Ref `json:"secret,omitzero"`
	Version string     `json:"version,omitempty"`
	Nodes   int        `json:"nodes,omitempty"`
	Licence string     `json:"licence,omitempty"`
}

// Intent is what a site's own clients publish and subscribe to.
type Intent struct {
	Publishes  []topic.Filter `json:"publishes,omitempty"`
	Subscribes []topic.Filter `json:"subscribes,omitempty"`
}

// The types of listener.
const (
	TCP  = "tcp"
	SSL  = "ssl"
	WS   = "ws"
	WSS  = "wss"
	Unix = "unix" // a socket in the file system, for clients of this machine
)

// A Listener is where a site accepts MQTT connections.
type Listener struct {
	Name           string   `json:"name"`
	Type           string   `json:"type"` // TCP, SSL, WS, WSS or Unix
	Enable         bool     `json:"enable"`
	Bind           string   `json:"bind"`                // host:port, the host perhaps empty or unspecified; or of Unix, a path
	Advertise      []string `json:"advertise,omitempty"` // host:port as peers reach it
	Mountpoint     string   `json:"mountpoint,omitempty"`
	MaxConnections int      `json:"max_connections,omitempty"` // 0: no limit
	MaxPacketSize  Size     `json:"max_packet_size"`           // bytes
	MaxConnRate    Rate     `json:"max_conn_rate,omitzero"`    // of new connections
	MessagesRate   Rate     `json:"messages_rate,omitzero"`    // of what each client publishes
	BytesRate      Rate     `json:"bytes_rate,omitzero"`       // of what each client sends
	SSL            TLS      `json:"ssl"`

	ProxyProtocol        bool     `json:"proxy_protocol,omitempty"` // every connection begins with a header that says where it comes from
	ProxyProtocolTimeout Duration `json:"proxy_protocol_timeout,omitzero"`
	PeerCertAsUsername   string   `json:"peer_cert_as_username,omitempty"` // PeerCertCN or PeerCertSAN; such a client needs no password

	Pos    diagnostic.Pos `json:"-"`
	Digest string         `json:"-"` // of the certificate and key files it names
}

// What of a client's certificate may be its user name.
const (
	PeerCertCN  = "cn"
	PeerCertSAN = "san" // the first DNS name, else the first email address, else the first URI
)

// Equal reports whether the two listeners do the same; positions and spelling
// do not count.
func (l Listener) Equal(m Listener) bool {
	return l.Name == m.Name && l.Type == m.Type && l.Enable == m.Enable && l.Bind == m.Bind &&
		slices.Equal(l.Advertise, m.Advertise) && l.Mountpoint == m.Mountpoint &&
		l.MaxConnections == m.MaxConnections && l.MaxPacketSize.Bytes == m.MaxPacketSize.Bytes &&
		l.MaxConnRate.Same(m.MaxConnRate) && l.MessagesRate.Same(m.MessagesRate) && l.BytesRate.Same(m.BytesRate) &&
		l.ProxyProtocol == m.ProxyProtocol && l.ProxyProtocolTimeout.Value == m.ProxyProtocolTimeout.Value &&
		l.PeerCertAsUsername == m.PeerCertAsUsername && l.SSL.Equal(m.SSL) && l.Digest == m.Digest
}

// Access says which ordinary clients an embedded node lets in, and what they
// may do. Nobody here ever gets $LINK/#.
type Access struct {
	Anonymous bool   `json:"anonymous"`
	Users     []User `json:"users,omitempty"` // in order of name
	ACL       []Rule `json:"acl,omitempty"`   // first match wins; nil: everything is allowed
	HasACL    bool   `json:"-"`               // an empty list of rules denies everything
	Declared  bool   `json:"-"`               // the source says something of access
	Digest    string `json:"-"`               // of the secret files it names
}

// A User is an ordinary client's account. PasswordHash is bcrypt's.
type User struct {
	Name         string     `json:"name"`
	Password     secret.Ref `json:"password,omitzero"`
	PasswordHash secret.Ref `json:"-"`
}

// A Rule of an ACL. Empty fields match anything; ${clientid} and ${username}
// in topics stand for the client's own.
type Rule struct {
	Permit   string   `json:"permit"` // allow or deny
	Action   string   `json:"action"` // publish, subscribe or all
	Topics   []string `json:"topics,omitempty"`
	User     string   `json:"user,omitempty"`
	ClientID string   `json:"clientid,omitempty"`
	QoS      []int    `json:"qos,omitempty"`
	Retain   *bool    `json:"retain,omitempty"`
}

// A Grant lets one peer's link connections in, and nothing more: derived from
// the peer's half of the link. A connection belongs to the grant if its client
// id begins with ClientIDPrefix and a colon, and it proves the credential.
type Grant struct {
	Peer           string     `json:"peer"`     // the one cluster name it may speak as
	ClientIDPrefix string     `json:"clientid"` // without the colon
	Username       string     `json:"username,omitempty"`
	Password       secret.Ref `json:"password,omitzero"`
	PasswordHash   secret.Ref `json:"-"`                  // bcrypt; checked instead of Password where given
	CertName       string     `json:"cert_cn,omitempty"`  // the client certificate's CN, where no username is given
	Loopback       bool       `json:"loopback,omitempty"` // neither credential: let in from loopback only
	Publish        []string   `json:"publish"`            // topic filters
	Subscribe      []string   `json:"subscribe"`          // topic filters
	Digest         string     `json:"-"`
}
