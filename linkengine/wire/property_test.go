package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	anyBytes = rapid.SliceOf(rapid.Byte())
	anyText  = rapid.Map(anyBytes, func(b []byte) string { return string(b) })
	mqttText = rapid.StringMatching(`[a-zé/\x{1F980} ]{0,20}`)
	someName = rapid.StringMatching(`[a-zé/@.0-9-]{1,20}`)
	anyOp    = rapid.Custom(func(t *rapid.T) RouteOp {
		return RouteOp{rapid.Bool().Draw(t, "delete"), anyText.Draw(t, "filter"), anyText.Draw(t, "id")}
	})
	anyForward = rapid.Custom(drawForward)
)

func drawForward(t *rapid.T) Forward {
	m := Forward{
		ID: [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")), QoS: rapid.ByteMax(2).Draw(t, "qos"),
		From: anyText.Draw(t, "from"), Dup: rapid.Bool().Draw(t, "dup"), Retain: rapid.Bool().Draw(t, "retain"),
		Sys: rapid.Bool().Draw(t, "sys"), Username: anyText.Draw(t, "username"), ProtoVersion: rapid.Byte().Draw(t, "version"),
		Topic: someName.Draw(t, "topic"), Payload: anyBytes.Draw(t, "payload"), Timestamp: rapid.Int64().Draw(t, "timestamp"),
	}
	if b := rapid.SampledFrom([]int{0, 4, 16}).Draw(t, "host"); b > 0 {
		host, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), b, b).Draw(t, "address"))
		m.PeerHost = netip.AddrPortFrom(host.Unmap(), rapid.Uint16().Draw(t, "port"))
	}
	p := &m.Properties
	if p.HasPayloadFormat = rapid.Bool().Draw(t, "format?"); p.HasPayloadFormat {
		p.PayloadFormat = rapid.ByteMax(1).Draw(t, "format")
	}
	if p.HasMessageExpiry = rapid.Bool().Draw(t, "expiry?"); p.HasMessageExpiry {
		p.MessageExpiry = rapid.Uint32().Draw(t, "expiry")
	}
	p.ContentType, p.ResponseTopic = mqttText.Draw(t, "content"), mqttText.Draw(t, "response")
	if rapid.Bool().Draw(t, "correlation?") {
		p.CorrelationData = anyBytes.Draw(t, "correlation")
	}
	for range rapid.IntRange(0, 3).Draw(t, "user") {
		p.User = append(p.User, UserProperty{mqttText.Draw(t, "key"), mqttText.Draw(t, "value")})
	}
	return m
}

func TestForwardRoundTrip(t *testing.T) {
	lim := DefaultLimits(1 << 20)
	rapid.Check(t, func(rt *rapid.T) {
		want := anyForward.Draw(rt, "message")
		plain := want.Append([]byte("before"))[len("before"):]
		for _, in := range [][]byte{plain, compressed(t, len(plain)-1, plain)} {
			if got, err := DecodeForward(in, lim); err != nil || !reflect.DeepEqual(got, want) {
				rt.Fatalf("got %+v, %v; want %+v", got, err, want)
			}
		}
		cut := rapid.IntRange(0, len(plain)-1).Draw(rt, "cut")
		if _, err := DecodeForward(plain[:cut], lim); err == nil {
			rt.Fatalf("cut to %d of %d bytes it still decodes", cut, len(plain))
		}
	})
}

func TestControlRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		actor, incarnation := someName.Draw(rt, "actor"), rapid.Int64().Draw(rt, "incarnation")
		version := rapid.IntRange(1, math.MaxInt32).Draw(rt, "version")
		ack := ActorInitAck{Actor: actor, Version: version, Error: anyText.Draw(rt, "error")}
		ack.NeedBootstrap = ack.Error == "" && rapid.Bool().Draw(rt, "need")
		for _, want := range []any{
			ActorInit{actor, incarnation, anyText.Draw(rt, "target"), version, rapid.Int64Range(0, 3).Draw(rt, "features")},
			ack,
			Routes{actor, incarnation, rapid.SliceOf(anyOp).Draw(rt, "ops")},
			Heartbeat{actor, incarnation},
		} {
			plain := appendControl(want)
			for _, in := range [][]byte{plain, compressed(t, len(plain)-1, plain)} {
				if got, err := DecodeControl(in, Limits{}); err != nil || !reflect.DeepEqual(got, want) {
					rt.Fatalf("got %+v, %v; want %+v", got, err, want)
				}
			}
			cut := rapid.IntRange(0, len(plain)-1).Draw(rt, "cut")
			if _, err := DecodeControl(plain[:cut], Limits{}); !errors.Is(err, ErrUndecodable) {
				rt.Fatalf("cut to %d of %d bytes: %v", cut, len(plain), err)
			}
		}
	})
}

func TestSplitOps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ops := rapid.SliceOfN(anyOp, 0, 60).Draw(t, "ops")
		maxOps := rapid.IntRange(-1, 20).Draw(t, "maxOps")
		frame := Routes{Actor: "n@h", Incarnation: 1754550000000}
		overhead := len(frame.Append(nil)) + 30
		maxBytes := overhead + rapid.IntRange(-10, 400).Draw(t, "room")
		batches, oversize := SplitOps(ops, overhead, maxOps, maxBytes)

		fits := func(ops []RouteOp) bool {
			frame.Ops = ops
			return len(frame.Append(nil))+30 <= maxBytes && (maxOps <= 0 || len(ops) <= maxOps)
		}
		var kept, lost []RouteOp
		for _, op := range ops {
			if fits([]RouteOp{op}) {
				kept = append(kept, op)
			} else {
				lost = append(lost, op)
			}
		}
		if !slices.Equal(slices.Concat(batches...), kept) || !slices.Equal(oversize, lost) {
			t.Fatalf("%v and %v from %v", batches, oversize, ops)
		}
		for i, b := range batches {
			if len(b) == 0 || !fits(b) {
				t.Fatalf("batch %d of %d operations does not fit", i, len(b))
			}
			if len(oversize) == 0 && i > 0 && fits(append(slices.Clone(batches[i-1]), b[0])) {
				t.Fatalf("batch %d would have held one more", i-1)
			}
		}
	})
	if batches, _ := SplitOps(make([]RouteOp, 8001), 100, 0, 1<<20); len(batches) != 3 || len(batches[0]) != 4000 {
		t.Errorf("%d batches by default", len(batches))
	}
}

func TestIDs(t *testing.T) {
	clock := time.UnixMicro(1754550000000000)
	now := func() time.Time { return clock }
	ids := NewIDs(now, [6]byte{1, 2, 3, 4, 5, 6})
	first := ids.Next()
	want := append(binary.BigEndian.AppendUint64(nil, 1754550000000000), 1, 2, 3, 4, 5, 6, 0, 0)
	if !bytes.Equal(first[:], want) {
		t.Errorf("first id %x, want %x", first, want)
	}
	last := first
	for i := range 3 * 65536 {
		if i == 70000 {
			clock = clock.Add(-time.Hour)
		}
		id := ids.Next()
		if key(id) <= key(last) {
			t.Fatalf("id %x after %x", id, last)
		}
		last = id
	}
	clock = clock.Add(2 * time.Hour)
	if id := ids.Next(); binary.BigEndian.Uint64(id[:]) != uint64(clock.UnixMicro()) {
		t.Errorf("id %x does not follow the clock", id)
	}
}

// key is the part of an id that changes.
func key(id [16]byte) string { return string(id[:8]) + string(id[14:]) }

func TestIDsTogether(t *testing.T) {
	ids := NewIDs(time.Now, [6]byte{})
	var group sync.WaitGroup
	made := make([][][16]byte, 4)
	for i := range made {
		group.Go(func() {
			for range 20000 {
				made[i] = append(made[i], ids.Next())
			}
		})
	}
	group.Wait()
	seen := map[[16]byte]bool{}
	for _, id := range slices.Concat(made...) {
		seen[id] = true
	}
	if len(seen) != 80000 {
		t.Errorf("%d different ids of 80000", len(seen))
	}
}

func seeds(f *testing.F, forward bool) {
	paths, err := filepath.Glob("testdata/emqx-*/*.hex")
	if err != nil || len(paths) == 0 {
		f.Fatal(err)
	}
	for _, path := range paths {
		record := strings.Contains(path, "-msg_") || strings.Contains(path, "synth_0") || strings.Contains(path, "synth_1")
		if text, err := os.ReadFile(path); err != nil {
			f.Fatal(err)
		} else if record == forward {
			f.Add(fromHex(f, string(text)))
		}
	}
}

func FuzzControl(f *testing.F) {
	seeds(f, false)
	lim := DefaultLimits(1 << 16)
	lim.Control = 1 << 18
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := DecodeControl(in, lim)
		if err != nil {
			kinds := 0
			for _, kind := range []error{ErrUndecodable, ErrUnknownOp, ErrMissingKey, ErrMalformed} {
				if errors.Is(err, kind) {
					kinds++
				}
			}
			if m != nil || kinds != 1 {
				t.Fatalf("%+v, %v", m, err)
			}
			return
		}
		// What was decoded from a version of zero comes back as one.
		switch v := m.(type) {
		case ActorInit:
			v.Version = max(v.Version, 1)
			m = v
		case ActorInitAck:
			v.Version = max(v.Version, 1)
			m = v
		}
		again, err := DecodeControl(appendControl(m), Limits{})
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%+v came back as %+v, %v", m, again, err)
		}
	})
}

func FuzzForward(f *testing.F) {
	seeds(f, true)
	lim := DefaultLimits(1 << 16)
	f.Fuzz(func(t *testing.T, in []byte) {
		kept := bytes.Clone(in)
		m, err := DecodeForward(in, lim)
		if !bytes.Equal(in, kept) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			var topic *TopicError
			if !errors.Is(err, ErrUndecodable) && !errors.Is(err, ErrMalformed) && !errors.As(err, &topic) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if reason := topicFault([]byte(m.Topic)); reason != "" || m.QoS > 2 || m.Properties.PayloadFormat > 1 {
			t.Fatalf("passed: %+v", m)
		}
		// Encoding writes an IPv4 address in IPv6 clothes as the former, and a
		// payload of no bytes as a binary.
		m.PeerHost = netip.AddrPortFrom(m.PeerHost.Addr().Unmap(), m.PeerHost.Port())
		m.Payload = append([]byte{}, m.Payload...)
		if !m.PeerHost.Addr().IsValid() {
			m.PeerHost = netip.AddrPort{}
		}
		again, err := DecodeForward(m.Append(nil), Limits{})
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%+v came back as %+v, %v", m, again, err)
		}
	})
}

func benchmarkMessage(size int) Forward {
	m := exampleForward()
	m.From, m.Topic, m.Username = "sensor-0042", "plant/7/line/3/temperature", "sensor"
	m.Payload = bytes.Repeat([]byte("0123456789abcdef"), size/16)
	return m
}

func BenchmarkDecodeForward(b *testing.B) {
	lim := DefaultLimits(1 << 20)
	for name, size := range map[string]int{"64B": 64, "1KiB": 1024} {
		m := benchmarkMessage(size)
		plain := m.Append(nil)
		m.Properties = Properties{HasMessageExpiry: true, MessageExpiry: 60, ContentType: "text/plain", User: []UserProperty{{"k", "v"}}}
		for kind, in := range map[string][]byte{"plain": plain, "properties": m.Append(nil), "zlib": compressed(b, len(plain)-1, plain)} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(plain)))
				for b.Loop() {
					if _, err := DecodeForward(in, lim); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	for name, size := range map[string]int{"64B": 64, "1KiB": 1024} {
		m, dst := benchmarkMessage(size), make([]byte, 0, 4096)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				dst = m.Append(dst[:0])
			}
			b.SetBytes(int64(len(dst)))
		})
	}
}

func BenchmarkRoutes(b *testing.B) {
	m := Routes{Actor: "clink@n1", Incarnation: 1754550000000}
	for i := range 4000 {
		m.Ops = append(m.Ops, RouteOp{Filter: "plant/" + strings.Repeat("x", i%20), ID: "plant/#"})
	}
	payload := m.Append(nil)
	b.Run("decode 4000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeControl(payload, Limits{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("append 4000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			payload = m.Append(payload[:0])
		}
	})
}

// TestFewAllocations holds the cost of the hot path: a decoded message costs the
// strings that it hands out, an encoded one nothing.
func TestFewAllocations(t *testing.T) {
	m, lim := benchmarkMessage(64), DefaultLimits(1<<20)
	in, dst := m.Append(nil), make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { _, _ = DecodeForward(in, lim) }); n > 3 {
		t.Errorf("decoding allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { dst = m.Append(dst[:0]) }); n > 0 {
		t.Errorf("encoding allocates %v times", n)
	}
}
