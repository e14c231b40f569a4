package topology_test

import (
	"encoding/json"
	"testing"
	"time"

	"clink/topology"

	"pgregory.net/rapid"
)

func TestParseRate(t *testing.T) {
	tests := []struct {
		in    string
		count int64
		per   time.Duration
		ok    bool
	}{
		{"100/s", 100, time.Second, true}, {"6000/m", 6000, time.Minute, true}, {"64KB/s", 64 << 10, time.Second, true},
		{"10MB/10s", 10 << 20, 10 * time.Second, true}, {"1/500ms", 1, 500 * time.Millisecond, true}, {"infinity", 0, 0, true}, {"1/24h", 1, 24 * time.Hour, true},
		{"", 0, 0, false}, {"100", 0, 0, false}, {"/s", 0, 0, false}, {"100/", 0, 0, false}, {"0/s", 0, 0, false}, {"-1/s", 0, 0, false},
		{"1/0s", 0, 0, false}, {"1/25h", 0, 0, false}, {"1.5/s", 0, 0, false}, {"1/s/s", 0, 0, false}, {"9999999999999/s", 0, 0, false}, {"1/infinity", 0, 0, false},
	}
	for _, tt := range tests {
		got, err := topology.ParseRate(tt.in)
		if (err == nil) != tt.ok || got.Count != tt.count || got.Per != tt.per {
			t.Errorf("ParseRate(%q) = %+v, %v", tt.in, got, err)
		}
	}
	a, _ := topology.ParseRate("60/m")
	b, _ := topology.ParseRate("60/60s")
	c, _ := topology.ParseRate("1/s")
	if !a.Same(b) || a.Same(c) || !a.Same(topology.Rate{Count: 60, Per: time.Minute}) {
		t.Error("spelling counts, or what may come at once does not")
	}
}

func TestRateKeepsItsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.StringMatching(`[1-9][0-9]{0,5}(KB|MB|b)?/[1-9]?(s|m|h|ms)`).Draw(t, "rate")
		quoted, _ := json.Marshal(in)
		var r, again topology.Rate
		if err := json.Unmarshal(quoted, &r); err != nil {
			t.Fatal(err)
		}
		if out, err := json.Marshal(r); err != nil || string(out) != string(quoted) {
			t.Fatalf("%s became %s, %v", quoted, out, err)
		}
		r.Text = ""
		out, _ := json.Marshal(r)
		if err := json.Unmarshal(out, &again); err != nil || !again.Same(r) {
			t.Fatalf("%s without its text became %s, %v", in, out, err)
		}
		topology.ParseRate(rapid.String().Draw(t, "anything")) // does not panic
	})
}

func TestListenerEqual(t *testing.T) {
	rate := func(s string) topology.Rate {
		r, err := topology.ParseRate(s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	base := topology.Listener{Name: "l", Type: topology.SSL, Bind: "127.0.0.1:1", BytesRate: rate("1MB/s")}
	same := base
	same.BytesRate, same.Pos.Line = rate("1024KB/s"), 3
	if !base.Equal(same) {
		t.Error("position and spelling make listeners differ")
	}
	for name, change := range map[string]func(*topology.Listener){
		"max_conn_rate":          func(l *topology.Listener) { l.MaxConnRate = rate("1/s") },
		"messages_rate":          func(l *topology.Listener) { l.MessagesRate = rate("1/s") },
		"bytes_rate":             func(l *topology.Listener) { l.BytesRate = rate("2MB/s") },
		"proxy_protocol":         func(l *topology.Listener) { l.ProxyProtocol = true },
		"proxy_protocol_timeout": func(l *topology.Listener) { l.ProxyProtocolTimeout.Value = 1 },
		"peer_cert_as_username":  func(l *topology.Listener) { l.PeerCertAsUsername = topology.PeerCertCN },
		"digest":                 func(l *topology.Listener) { l.Digest = "x" },
	} {
		other := base
		if change(&other); base.Equal(other) {
			t.Errorf("a change of %s is not seen", name)
		}
	}
}
