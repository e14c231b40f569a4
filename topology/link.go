package topology

import (
	"reflect"
	"slices"

	"clink/diagnostic"
	"clink/internal/secret"
	"clink/topic"
)

// A Link is one site's half of a link between two clusters. Name is the peer;
// Topics are the filters that this side wants to receive from it.
type Link struct {
	Name     string         `json:"name"`
	Enable   bool           `json:"enable"`
	Server   string         `json:"server"`   // as written
	ClientID string         `json:"clientid"` // prefix of the client ids
	Username string         `json:"username,omitempty"`
	Password secret.Ref     `json:"password,omitzero"`
	Topics   []topic.Filter `json:"topics"` // never null in JSON
	SSL      TLS            `json:"ssl"`

	PoolSize      int          `json:"pool_size"`      // connections for forwarding
	RetryInterval Duration     `json:"retry_interval"` // of unacknowledged QoS 1 messages
	MaxInflight   int          `json:"max_inflight"`   // unacknowledged messages a connection; 0: as the peer allows
	TCPOpts       *TCPOpts     `json:"tcp_opts,omitempty"`
	ResourceOpts  ResourceOpts `json:"resource_opts"`

	// clink's own.
	PasswordHash secret.Ref     `json:"password_hash,omitzero"`
	Export       []topic.Filter `json:"export,omitempty"` // what an external peer may be sent; HasExport tells none from all
	HasExport    bool           `json:"-"`
	Inbound      *Inbound       `json:"inbound,omitempty"`
	Queue        Queue          `json:"queue,omitzero"`
	Retained     bool           `json:"retained,omitempty"`

	Address string         `json:"-"` // Server as host:port, scheme removed, default port filled in
	Digest  string         `json:"-"` // of the secret and certificate files it names
	Pos     diagnostic.Pos `json:"-"` // the link's label in the source
	Written []string       `json:"-"` // top-level fields that the source sets itself
}

// Equal reports whether two links do the same. Where they were written, and
// whether a value was written or is a default, does not count.
func (l Link) Equal(m Link) bool {
	for _, x := range []*Link{&l, &m} {
		x.Pos, x.Written = diagnostic.Pos{}, nil
		x.RetryInterval.Text = ""
		x.ResourceOpts = x.ResourceOpts.plain()
		x.Queue.MaxAge.Text, x.Queue.MaxBytes.Text = "", ""
		x.SSL = x.SSL.plain()
		x.Topics = emptyToNil(x.Topics)
		x.Export = emptyToNil(x.Export)
	}
	return reflect.DeepEqual(l, m)
}

func emptyToNil[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

// Inbound says how an external peer, whose own half is not declared, connects
// to us.
type Inbound struct {
	ClientID string     `json:"clientid,omitempty"`
	Username string     `json:"username,omitempty"`
	Password secret.Ref `json:"password,omitzero"`
}

// Queue is how messages wait while the peer is away (clink's own).
type Queue struct {
	WhenFull string   `json:"when_full,omitempty"` // block, drop_oldest or drop_new
	MaxBytes Size     `json:"max_bytes,omitzero"`
	MaxAge   Duration `json:"max_age,omitzero"`
	Sync     string   `json:"sync,omitempty"` // interval or always
}

// TCPOpts are socket options of a link's connections; nil: the system's.
type TCPOpts struct {
	ActiveN   *int  `json:"active_n,omitempty"`
	NoDelay   *bool `json:"nodelay,omitempty"`
	SndBuf    *Size `json:"sndbuf,omitempty"`
	RecBuf    *Size `json:"recbuf,omitempty"`
	Buffer    *Size `json:"buffer,omitempty"`
	KeepAlive *bool `json:"keepalive,omitempty"`
	DelaySend *bool `json:"delay_send,omitempty"`
}

// ResourceOpts are EMQX's options of the queue in front of a link.
type ResourceOpts struct {
	WorkerPoolSize            int      `json:"worker_pool_size"`
	DispatchStrategy          string   `json:"dispatch_strategy,omitempty"`
	HealthCheckInterval       Duration `json:"health_check_interval"`
	HealthCheckIntervalJitter Duration `json:"health_check_interval_jitter,omitzero"`
	HealthCheckTimeout        Duration `json:"health_check_timeout,omitzero"`
	StartTimeout              Duration `json:"start_timeout"`
	RequestTTL                Duration `json:"request_ttl"`
	InflightWindow            int      `json:"inflight_window"`
	MaxBufferBytes            Size     `json:"max_buffer_bytes"` // for each of the workers
}

func (o ResourceOpts) plain() ResourceOpts {
	for _, d := range []*Duration{&o.HealthCheckInterval, &o.HealthCheckIntervalJitter, &o.HealthCheckTimeout, &o.StartTimeout, &o.RequestTTL} {
		d.Text = ""
	}
	o.MaxBufferBytes.Text = ""
	return o
}

// TLS is EMQX's ssl block, of a link (client) or of a listener. File names are
// as written: relative ones are relative to the topology directory.
type TLS struct {
	Enable             bool       `json:"enable"`
	Verify             string     `json:"verify"` // verify_peer or verify_none
	CACertFile         string     `json:"cacertfile,omitempty"`
	CertFile           string     `json:"certfile,omitempty"`
	KeyFile            string     `json:"keyfile,omitempty"`
	Password           secret.Ref `json:"password,omitzero"` // of the key
	ServerName         string     `json:"server_name_indication,omitempty"`
	Depth              int        `json:"depth"`
	Versions           []string   `json:"versions"`
	Ciphers            []string   `json:"ciphers"`
	FailIfNoPeerCert   bool       `json:"fail_if_no_peer_cert,omitempty"` // listeners
	ReuseSessions      bool       `json:"reuse_sessions"`
	SecureRenegotiate  bool       `json:"secure_renegotiate"`
	MiddleboxCompMode  *bool      `json:"middlebox_comp_mode,omitempty"`
	HibernateAfter     Duration   `json:"hibernate_after"`
	LogLevel           string     `json:"log_level"`
	PartialChain       string     `json:"partial_chain,omitempty"`
	VerifyPeerExtUsage string     `json:"verify_peer_ext_key_usage,omitempty"`
}

func (t TLS) plain() TLS {
	t.HibernateAfter.Text = ""
	t.Versions, t.Ciphers = emptyToNil(t.Versions), emptyToNil(t.Ciphers)
	return t
}

// Equal reports whether two blocks mean the same.
func (t TLS) Equal(u TLS) bool { return reflect.DeepEqual(t.plain(), u.plain()) }

// Files returns the files that the block names, as written.
func (t TLS) Files() []string {
	return slices.DeleteFunc([]string{t.CACertFile, t.CertFile, t.KeyFile}, func(f string) bool { return f == "" })
}
