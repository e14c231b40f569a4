package compiler

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"clink/topology"
)

func (d decoder) listener(name string, o object) topology.Listener {
	path := d.path("listeners", name)
	ssl := o.object("ssl")
	off, given := ssl["enable"].(bool)
	kind := o.string("type")
	if kind == "" {
		kind = topology.TCP
		if ssl != nil && (!given || off) {
			kind = topology.SSL
		}
	}
	o = o.under(d.defaults.object("listener"))
	if o.bool("proxy_protocol") {
		o = o.under(d.defaults.object("proxied"))
	}
	l := topology.Listener{
		Name:   name,
		Type:   kind,
		Enable: o.bool("enable"),
		Bind:   o.string("bind"), Advertise: o.strings("advertise"),
		Mountpoint: o.string("mountpoint"), MaxConnections: o.int("max_connections"),
		MaxPacketSize: d.size(o, "max_packet_size", path),
		MaxConnRate:   d.rate(o, "max_conn_rate", path),
		MessagesRate:  d.rate(o, "messages_rate", path),
		BytesRate:     d.rate(o, "bytes_rate", path),
		SSL:           d.tls(o.object("ssl"), append(path, "ssl")),

		ProxyProtocol:        o.bool("proxy_protocol"),
		ProxyProtocolTimeout: d.duration(o, "proxy_protocol_timeout", path),
		PeerCertAsUsername:   o.string("peer_cert_as_username"),
		Pos:                  d.pos(path),
	}
	l.SSL.Enable = kind == topology.SSL || kind == topology.WSS
	d.ports(l, path)
	d.fitting(l, ssl != nil && (!given || off), path)
	return l
}

// ports refuses ports that no address can have, and paths where a port belongs.
func (d decoder) ports(l topology.Listener, path []string) {
	if l.Type == topology.Unix {
		d.socket(l, path)
	} else if l.Bind != "" {
		_, err := parseEndpoint(l.Bind)
		if strings.Contains(l.Bind, "/") {
			err = fmt.Errorf(`%q is a path, which a listener of type unix is bound to; one of type %s takes host:port`, l.Bind, l.Type)
		}
		if err != nil {
			d.fault(err, append(path, "bind"))
		}
	}
	for i, a := range l.Advertise {
		if _, err := parseEndpoint(a); err != nil {
			d.fault(err, append(path, "advertise", fmt.Sprint(i)))
		}
	}
}

// maxSocketPath is the most that the system takes of a socket's name, in bytes.
const maxSocketPath = 107

// socket refuses what a socket in the file system cannot be.
func (d decoder) socket(l topology.Listener, path []string) {
	switch {
	case l.Bind == "":
	case !strings.Contains(l.Bind, "/"):
		d.fault(fmt.Errorf("a listener of type unix is bound to a path, such as ./mqtt.sock or /run/clink/mqtt.sock, not to %q", l.Bind), append(path, "bind"))
	case strings.HasSuffix(l.Bind, "/"):
		d.fault(fmt.Errorf("%q names a directory; a listener of type unix is bound to a file in it, such as %q", l.Bind, l.Bind+"mqtt.sock"), append(path, "bind"))
	case len(filepath.Clean(l.Bind)) > maxSocketPath:
		d.fault(fmt.Errorf("the path has %d bytes; the system takes %d of a socket's name", len(filepath.Clean(l.Bind)), maxSocketPath), append(path, "bind"))
	}
	if len(l.Advertise) > 0 {
		d.fault(errors.New("a listener of type unix is reached from its own machine only, so that peers cannot use what it advertises"), append(path, "advertise"))
	}
}

// fitting refuses what does not go together.
func (d decoder) fitting(l topology.Listener, ssl bool, path []string) {
	if l.Type == topology.Unix && ssl {
		d.fault(errors.New("a listener of type unix has no TLS: what comes through it never leaves the machine"), append(path, "ssl"))
	}
	if l.PeerCertAsUsername != "" && !d.c.bad.touches(append(path, "ssl")...) && !(l.SSL.Enable && l.SSL.Verify == "verify_peer") {
		d.fault(errors.New(`it needs ssl with verify: "verify_peer": without that no client's certificate is verified`), append(path, "peer_cert_as_username"))
	}
	if t := l.ProxyProtocolTimeout.Value; l.ProxyProtocol && (t <= 0 || t > time.Minute) {
		d.fault(fmt.Errorf("%v is not above 0 and up to 1m", t), append(path, "proxy_protocol_timeout"))
	}
}

// rate reads EMQX's text form.
func (d decoder) rate(o object, name string, above []string) topology.Rate {
	s := o.string(name)
	if s == "" {
		return topology.Rate{}
	}
	r, err := topology.ParseRate(s)
	if err != nil {
		d.fault(err, append(slices.Clone(above), name))
	}
	return r
}

// mqtt reads the site's mqtt block.
func (d decoder) mqtt(o object) topology.MQTT {
	path, declared := d.path("mqtt"), o != nil
	if !declared {
		o = object{}
	}
	o = o.under(d.defaults.object("mqtt"))
	m := topology.MQTT{
		ServerKeepalive:       d.duration(o, "server_keepalive", path),
		SessionExpiryInterval: d.duration(o, "session_expiry_interval", path),
		IdleTimeout:           d.duration(o, "idle_timeout", path),
		MaxTopicLevels:        o.int("max_topic_levels"),
		MaxTopicLength:        o.int("max_topic_length"),
		MaxClientIDLength:     o.int("max_clientid_len"),
		MaxQueueLength:        o.int("max_mqueue_len"),
		MaxQueueBytes:         d.size(o, "max_mqueue_bytes", path),
		MaxSessions:           o.int("max_sessions"),
		MaxSubscriptions:      o.int("max_subscriptions"),
		MaxRetained:           o.int("max_retained_messages"),
		MaxRetainedBytes:      d.size(o, "max_retained_bytes", path),
		Declared:              declared,
	}
	d.within(m, path)
	return m
}

// within refuses what MQTT cannot say, and what would let nobody in.
func (d decoder) within(m topology.MQTT, path []string) {
	const seconds = math.MaxUint16 * time.Second
	for _, x := range []struct {
		name        string
		value       time.Duration
		least, most time.Duration
		more        string
	}{
		{"server_keepalive", m.ServerKeepalive.Value, time.Second, seconds, ", or infinity"},
		{"session_expiry_interval", m.SessionExpiryInterval.Value, time.Second, math.MaxUint32 * time.Second, ""},
		{"idle_timeout", m.IdleTimeout.Value, 100 * time.Millisecond, time.Minute, ""},
	} {
		if (x.value < x.least || x.value > x.most) && !(x.value == topology.Infinity && x.more != "") {
			d.fault(fmt.Errorf("%v is not from %v to %v%s", x.value, x.least, x.most, x.more), append(slices.Clone(path), x.name))
		}
	}
	for name, n := range map[string]int64{"max_mqueue_bytes": m.MaxQueueBytes.Bytes, "max_retained_bytes": m.MaxRetainedBytes.Bytes} {
		if n < 1 {
			d.fault(errors.New("it must be above 0"), append(slices.Clone(path), name))
		}
	}
}
