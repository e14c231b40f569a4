package topology_test

import (
	"encoding/json"
	"testing"
	"time"

	"clink/diagnostic"
	"clink/topology"

	"pgregory.net/rapid"
)

func TestParseDuration(t *testing.T) {
	tests := []struct {
		in   string
		want time.Duration
		ok   bool
	}{
		{"15s", 15 * time.Second, true}, {"1h30m", 90 * time.Minute, true}, {"1.5s", 1500 * time.Millisecond, true},
		{"200ms", 200 * time.Millisecond, true}, {"1D", 24 * time.Hour, true}, {"1w", 168 * time.Hour, true}, {"2f", 672 * time.Hour, true},
		{"infinity", topology.Infinity, true}, {"0s", 0, true},
		{"", 0, false}, {"s", 0, false}, {"15", 0, false}, {"-1s", 0, false}, {"1x", 0, false}, {"1s2", 0, false}, {"1.2.3s", 0, false}, {"9999999w", 0, false},
	}
	for _, tt := range tests {
		got, err := topology.ParseDuration(tt.in)
		if (err == nil) != tt.ok || got.Value != tt.want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v, ok %v", tt.in, got.Value, err, tt.want, tt.ok)
		}
	}
}

func TestParseSize(t *testing.T) {
	tests := []struct {
		in   string
		want int64
		ok   bool
	}{
		{"1024", 1024, true}, {"1b", 1, true}, {"2KB", 2048, true}, {"256MB", 256 << 20, true}, {"1gb", 1 << 30, true},
		{"", 0, false}, {"1Mb", 0, false}, {"1.5MB", 0, false}, {"-1", 0, false}, {"9999999999999GB", 0, false}, {"MB", 0, false},
	}
	for _, tt := range tests {
		got, err := topology.ParseSize(tt.in)
		if (err == nil) != tt.ok || got.Bytes != tt.want {
			t.Errorf("ParseSize(%q) = %v, %v, want %v, ok %v", tt.in, got.Bytes, err, tt.want, tt.ok)
		}
	}
}

func TestUnitsKeepTheirText(t *testing.T) {
	for _, in := range []string{`"15s"`, `15000`, `"infinity"`, `"1h30m"`} {
		var d topology.Duration
		if err := json.Unmarshal([]byte(in), &d); err != nil {
			t.Fatal(err)
		}
		if out, err := json.Marshal(d); err != nil || string(out) != in {
			t.Errorf("duration %s became %s, %v", in, out, err)
		}
	}
	for _, in := range []string{`"256MB"`, `1024`} {
		var s topology.Size
		if err := json.Unmarshal([]byte(in), &s); err != nil {
			t.Fatal(err)
		}
		if out, err := json.Marshal(s); err != nil || string(out) != in {
			t.Errorf("size %s became %s, %v", in, out, err)
		}
	}
}

func TestParseUnitsNeverPanic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		topology.ParseDuration(s)
		topology.ParseSize(s)
		var d topology.Duration
		var z topology.Size
		json.Unmarshal([]byte(s), &d)
		json.Unmarshal([]byte(s), &z)
	})
}

func TestLinkEqual(t *testing.T) {
	base := topology.Link{Name: "b", Enable: true, Server: "h:1", PoolSize: 8, RetryInterval: topology.Duration{Value: time.Minute, Text: "1m"}}
	same := base
	same.Pos = diagnostic.Pos{File: "x.cue", Line: 3}
	same.RetryInterval.Text = "60s"
	same.Written = []string{"server"}
	if !base.Equal(same) {
		t.Error("position, spelling and being written make links differ")
	}
	for name, change := range map[string]func(*topology.Link){
		"server": func(l *topology.Link) { l.Server = "h:2" },
		"topics": func(l *topology.Link) { l.Topics = append(l.Topics, "a") },
		"enable": func(l *topology.Link) { l.Enable = false },
		"digest": func(l *topology.Link) { l.Digest = "x" },
		"ssl":    func(l *topology.Link) { l.SSL.Enable = true },
		"retry":  func(l *topology.Link) { l.RetryInterval.Value = time.Hour },
		"buffer": func(l *topology.Link) { l.ResourceOpts.MaxBufferBytes.Bytes = 1 },
	} {
		other := base
		change(&other)
		if base.Equal(other) {
			t.Errorf("a change of %s is not seen", name)
		}
	}
}
