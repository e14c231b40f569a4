package compiler

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"clink/topology"
)

func (d decoder) link(peer string, o object) topology.Link {
	path := d.path("cluster", "links", peer)
	written := slices.Sorted(maps.Keys(o))
	d.c.keep(d.site, peer, o)
	_, hasExport := o["export"]
	if ssl := o.object("ssl"); ssl.bool("enable") {
		ssl.under(d.defaults.object("verified").object("ssl"))
	}
	o.under(d.defaults.object("link"))
	l := topology.Link{
		Name:   peer,
		Enable: o.bool("enable"),
		Server: o.string("server"), ClientID: o.string("clientid"), Username: o.string("username"),
		Password: d.secret(o, "password", path),
		Topics:   filters(o.strings("topics")),
		SSL:      d.tls(o.object("ssl"), append(path, "ssl")),

		PoolSize:      o.int("pool_size"),
		RetryInterval: d.duration(o, "retry_interval", path),
		MaxInflight:   o.int("max_inflight"),
		TCPOpts:       d.tcpOpts(o.object("tcp_opts"), append(path, "tcp_opts")),
		ResourceOpts:  d.resourceOpts(o.object("resource_opts"), append(path, "resource_opts")),

		PasswordHash: d.secret(o, "password_hash", path),
		HasExport:    hasExport,
		Inbound:      d.inbound(o.object("inbound"), append(path, "inbound")),
		Queue:        d.queue(o.object("queue"), append(path, "queue")),
		Retained:     o.bool("retained"),

		Pos:     d.pos(path),
		Written: written,
	}
	d.sent(l.ClientID, clientIDRoom, append(path, "clientid"))
	d.sent(l.Username, 0, append(path, "username"))
	if hasExport {
		l.Export = filters(o.strings("export"))
	}
	if l.ClientID == "" {
		l.ClientID = d.site
	}
	if a, err := parseServer(l.Server); err == nil && len(a) == 1 {
		l.Address = a[0].String()
	}
	return l
}

// clientIDRoom is what the link's client ids have behind what is configured,
// such as ":routesync:0123abcd", and some more.
const clientIDRoom = 64

// sent finds what no MQTT packet can carry in a text that is sent in one.
func (d decoder) sent(text string, room int, path []string) {
	const most = math.MaxUint16
	switch {
	case strings.ContainsRune(text, 0):
		d.fault(errors.New("holds the character U+0000, which MQTT allows in no text"), path)
	case len(text) > most-room:
		d.fault(fmt.Errorf("is longer than %d bytes, more than MQTT can send", most-room), path)
	}
}

func (d decoder) tls(o object, path []string) topology.TLS {
	t := topology.TLS{
		Enable: o.bool("enable"), Verify: o.string("verify"),
		CACertFile: o.string("cacertfile"), CertFile: o.string("certfile"), KeyFile: o.string("keyfile"),
		Password:   d.secret(o, "password", path),
		ServerName: o.string("server_name_indication"), Depth: o.int("depth"),
		Versions: o.strings("versions"), Ciphers: []string{},
		FailIfNoPeerCert: o.bool("fail_if_no_peer_cert"),
		ReuseSessions:    o.bool("reuse_sessions"), SecureRenegotiate: o.bool("secure_renegotiate"),
		MiddleboxCompMode: o.boolPtr("middlebox_comp_mode"),
		HibernateAfter:    d.duration(o, "hibernate_after", path),
		LogLevel:          o.string("log_level"), PartialChain: o.string("partial_chain"),
		VerifyPeerExtUsage: o.string("verify_peer_ext_key_usage"),
	}
	if b := o.boolPtr("partial_chain"); b != nil {
		t.PartialChain = fmt.Sprint(*b)
	}
	for _, list := range o.strings("ciphers") {
		for c := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == ' ' }) {
			t.Ciphers = append(t.Ciphers, c)
		}
	}
	return t
}

func (d decoder) tcpOpts(o object, path []string) *topology.TCPOpts {
	if o == nil {
		return nil
	}
	size := func(name string) *topology.Size {
		if _, ok := o[name]; !ok {
			return nil
		}
		s := d.size(o, name, path)
		return &s
	}
	return &topology.TCPOpts{
		ActiveN: o.intPtr("active_n"), NoDelay: o.boolPtr("nodelay"),
		SndBuf: size("sndbuf"), RecBuf: size("recbuf"), Buffer: size("buffer"),
		KeepAlive: o.boolPtr("keepalive"), DelaySend: o.boolPtr("delay_send"),
	}
}

func (d decoder) resourceOpts(o object, path []string) topology.ResourceOpts {
	r := topology.ResourceOpts{
		WorkerPoolSize: o.int("worker_pool_size"), DispatchStrategy: o.string("dispatch_strategy"),
		HealthCheckInterval:       d.duration(o, "health_check_interval", path),
		HealthCheckIntervalJitter: d.duration(o, "health_check_interval_jitter", path),
		HealthCheckTimeout:        d.duration(o, "health_check_timeout", path),
		StartTimeout:              d.duration(o, "start_timeout", path),
		RequestTTL:                d.duration(o, "request_ttl", path),
		InflightWindow:            o.int("inflight_window"),
		MaxBufferBytes:            d.size(o, "max_buffer_bytes", path),
	}
	if v := r.HealthCheckInterval.Value; v != 0 && v < time.Millisecond || v > time.Hour || v == 0 && o["health_check_interval"] == int64(0) {
		d.fault(errors.New("out of the range from 1ms to 1h"), append(path, "health_check_interval"))
	}
	return r
}

func (d decoder) inbound(o object, path []string) *topology.Inbound {
	if o == nil {
		return nil
	}
	d.sent(o.string("clientid"), clientIDRoom, append(path, "clientid"))
	d.sent(o.string("username"), 0, append(path, "username"))
	return &topology.Inbound{ClientID: o.string("clientid"), Username: o.string("username"), Password: d.secret(o, "password", path)}
}

func (d decoder) queue(o object, path []string) topology.Queue {
	return topology.Queue{
		WhenFull: o.string("when_full"), MaxBytes: d.size(o, "max_bytes", path),
		MaxAge: d.duration(o, "max_age", path), Sync: o.string("sync"),
	}
}
