package topology

// An MQTT says how an embedded node serves its clients: the site's mqtt block.
// Names follow EMQX's mqtt, session and retainer settings; values are always
// filled in.
type MQTT struct {
	ServerKeepalive       Duration `json:"server_keepalive"`        // longest keep-alive of MQTT 5 clients that ask for one (MQTT 5.0 §3.2.2.3.14); Infinity: theirs
	SessionExpiryInterval Duration `json:"session_expiry_interval"` // longest life of an offline session, and that of MQTT 3.1.1 ones
	IdleTimeout           Duration `json:"idle_timeout"`            // from accepting a connection to its CONNECT
	MaxTopicLevels        int      `json:"max_topic_levels"`        // of topic names and filters
	MaxTopicLength        int      `json:"max_topic_length"`        // bytes of topic names and filters
	MaxClientIDLength     int      `json:"max_clientid_len"`        // bytes
	MaxQueueLength        int      `json:"max_mqueue_len"`          // messages of one session that wait or are unacknowledged
	MaxQueueBytes         Size     `json:"max_mqueue_bytes"`        // payload bytes of these
	MaxSessions           int      `json:"max_sessions"`            // with and without a connection; 0: no limit
	MaxSubscriptions      int      `json:"max_subscriptions"`       // of one client; 0: no limit
	MaxRetained           int      `json:"max_retained_messages"`   // 0: no limit
	MaxRetainedBytes      Size     `json:"max_retained_bytes"`      // payload bytes of all of these

	Declared bool `json:"-"` // the source says something of it
}

// IsZero reports whether the source leaves all of m at its defaults.
func (m MQTT) IsZero() bool { return !m.Declared }
