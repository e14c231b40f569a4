package wire

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"clink/internal/etf"
)

func fromHex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func payload(t testing.TB, name string) []byte {
	t.Helper()
	return fromHex(t, readFile(t, filepath.Join("testdata", name+".hex")))
}

// expectations read from a printed term what decoding must give; they panic
// where the term has not the protocol's shape, which fails the test.

func get(term any, key any) any {
	v, ok := term.(etf.Map).Get(key)
	if !ok {
		return nil
	}
	return v
}

func textOf(v any) string { return string(v.([]byte)) }

func controlOf(term any) any {
	actor := textOf(get(term, int64(10)))
	incarnation, _ := get(term, int64(11)).(int64)
	switch op := textOf(get(term, etf.Atom("$op"))); op {
	case "actor_init":
		return ActorInit{Actor: actor, Incarnation: incarnation,
			Target: textOf(get(term, int64(13))), Version: int(get(term, int64(14)).(int64))}
	case "actor_init_ack":
		m := ActorInitAck{Actor: actor, Version: int(get(term, int64(14)).(int64))}
		if failure, ok := get(term, int64(15)).(etf.Tuple); ok {
			m.Error = textOf(failure[1])
		}
		m.NeedBootstrap = get(term, int64(16)) == etf.Atom("true")
		return m
	case "heartbeat":
		return Heartbeat{Actor: actor, Incarnation: incarnation}
	case "route":
		m := Routes{Actor: actor, Incarnation: incarnation, Ops: []RouteOp{}}
		for _, e := range get(term, int64(12)).([]any) {
			e := e.(etf.Tuple)
			op := RouteOp{Delete: len(e) == 3}
			op.Filter, op.ID = textOf(e[len(e)-2]), textOf(e[len(e)-1])
			m.Ops = append(m.Ops, op)
		}
		return m
	default:
		panic(op)
	}
}

func forwardOf(term any) Forward {
	rec := term.(etf.Tuple)
	m := Forward{ID: [16]byte(rec[1].([]byte)), QoS: byte(rec[2].(int64)), Topic: textOf(rec[6]),
		Payload: rec[7].([]byte), Timestamp: rec[8].(int64)}
	switch from := rec[3].(type) {
	case etf.Atom:
		m.From = string(from)
	case []byte:
		m.From = string(from)
	}
	m.Dup = get(rec[4], etf.Atom("dup")) == etf.Atom("true")
	m.Retain = get(rec[4], etf.Atom("retain")) == etf.Atom("true")
	if user, ok := get(rec[5], etf.Atom("username")).([]byte); ok {
		m.Username = string(user)
	}
	if v, ok := get(rec[5], etf.Atom("proto_ver")).(int64); ok {
		m.ProtoVersion = byte(v)
	}
	if peer, ok := get(rec[5], etf.Atom("peername")).(etf.Tuple); ok {
		ip := peer[0].(etf.Tuple)
		m.PeerHost = netip.MustParseAddrPort(fmt.Sprintf("%d.%d.%d.%d:%d", ip[0], ip[1], ip[2], ip[3], peer[1]))
	}
	props := get(rec[5], etf.Atom("properties"))
	if v, ok := get(props, etf.Atom("Payload-Format-Indicator")).(int64); ok {
		m.Properties.PayloadFormat, m.Properties.HasPayloadFormat = byte(v), true
	}
	if v, ok := get(props, etf.Atom("Message-Expiry-Interval")).(int64); ok {
		m.Properties.MessageExpiry, m.Properties.HasMessageExpiry = uint32(v), true
	}
	if v, ok := get(props, etf.Atom("Content-Type")).([]byte); ok {
		m.Properties.ContentType = string(v)
	}
	if v, ok := get(props, etf.Atom("Response-Topic")).([]byte); ok {
		m.Properties.ResponseTopic = string(v)
	}
	if v, ok := get(props, etf.Atom("Correlation-Data")).([]byte); ok {
		m.Properties.CorrelationData = v
	}
	if v, ok := get(props, etf.Atom("User-Property")).([]any); ok {
		for _, e := range v {
			m.Properties.User = append(m.Properties.User, UserProperty{textOf(e.(etf.Tuple)[0]), textOf(e.(etf.Tuple)[1])})
		}
	}
	return m
}

// TestCaptured decodes all that was captured between real nodes and compares it,
// term by term and field by field, with what Erlang printed.
func TestCaptured(t *testing.T) {
	lim := DefaultLimits(1 << 20)
	for folder, want := range map[string]int{"emqx-5.8.9": 68, "emqx-6.0": 36} {
		terms, err := filepath.Glob(filepath.Join("testdata", folder, "*.term"))
		if err != nil || len(terms) != want {
			t.Fatalf("%s: %d files, want %d: %v", folder, len(terms), want, err)
		}
		for _, path := range terms {
			name := filepath.Join(folder, strings.TrimSuffix(filepath.Base(path), ".term"))
			t.Run(name, func(t *testing.T) {
				in, term := payload(t, name), parsePrintout(t, readFile(t, path))
				generic, err := etf.Decode(in, etf.Limits{})
				if err != nil || show(generic) != show(term) {
					t.Fatalf("term: got %s, %v; want %s", show(generic), err, show(term))
				}
				if strings.Contains(name, "-msg_") {
					compareForward(t, in, forwardOf(term), lim)
				} else {
					compareControl(t, in, controlOf(term), lim)
				}
			})
		}
	}
}

func compareControl(t *testing.T, in []byte, want any, lim Limits) {
	got, err := DecodeControl(in, lim)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
	out := appendControl(got)
	if in[1] != 80 && !bytes.Equal(out, in) {
		t.Errorf("encoded again it differs:\n% x\n% x", out, in)
	}
	if again, err := DecodeControl(out, lim); err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("encoded and decoded again: %+v, %v; want %+v", again, err, want)
	}
}

func compareForward(t *testing.T, in []byte, want Forward, lim Limits) {
	got, err := DecodeForward(in, lim)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
	if again, err := DecodeForward(got.Append(nil), lim); err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("encoded and decoded again: %+v, %v; want %+v", again, err, want)
	}
}

func appendControl(m any) []byte {
	return m.(interface{ Append([]byte) []byte }).Append(nil)
}

// TestCapturedPackets goes through the lists of what was captured: topics, sizes
// and compression.
func TestCapturedPackets(t *testing.T) {
	line := regexp.MustCompile(`^(\d{3}\S+) \| (\S+) \| QoS,retain .*\| (\d+) bytes(?: \| (?:plain|(zlib), (\d+) plain))?$`)
	folder, seen := "", 0
	for _, text := range strings.Split(readFile(t, "testdata/README.md"), "\n") {
		if name, ok := strings.CutPrefix(text, "## "); ok {
			folder = name
		}
		f := line.FindStringSubmatch(text)
		if f == nil {
			continue
		}
		seen++
		name, in := f[1], payload(t, filepath.Join(folder, f[1]))
		if size := fmt.Sprint(len(in)); size != f[3] || (in[1] == 80) != (f[4] == "zlib") {
			t.Errorf("%s: %s bytes, tag %d, want %s", name, size, in[1], text)
		}
		if r, err := etf.Open(in, etf.Limits{}); err != nil || f[4] != "" && fmt.Sprint(len(r.Bytes())+1) != f[5] {
			t.Errorf("%s: inflates to %d and the version byte, %v; want %s", name, len(r.Bytes()), err, f[5])
		}
		kind, cluster, actor, ok := ParseTopic(f[2])
		var again string
		switch kind {
		case Route:
			again = RouteTopic(cluster)
		case Msg:
			again = MsgTopic(cluster)
		case Resp:
			again = RespTopic(cluster, actor)
		}
		if !ok || again != f[2] || (kind == Msg) != strings.Contains(name, "-msg_") || (kind == Resp) != strings.Contains(name, "_ack_") {
			t.Errorf("%s: topic %s read as %d %q %q %v", name, f[2], kind, cluster, actor, ok)
		}
		if kind == Resp {
			if m, err := DecodeControl(in, Limits{}); err != nil || m.(ActorInitAck).Actor != actor {
				t.Errorf("%s: answer for %q: %+v, %v", name, actor, m, err)
			}
		}
	}
	if seen != 68+36 {
		t.Errorf("%d packets listed", seen)
	}
}
