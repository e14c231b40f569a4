package wire

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"clink/internal/etf"
)

// encode writes a term as etf.Decode would return it, or bytes as they are
// where they come as raw.
type raw []byte

func encode(dst []byte, term any) []byte {
	switch v := term.(type) {
	case raw:
		return append(dst, v...)
	case int:
		return etf.AppendInt(dst, int64(v))
	case string:
		return etf.AppendBinary(dst, v)
	case []byte:
		return etf.AppendBinary(dst, v)
	case etf.Atom:
		return etf.AppendAtom(dst, v)
	case bool:
		return appendBool(dst, v)
	case etf.Tuple:
		dst = etf.AppendTuple(dst, len(v))
		for _, e := range v {
			dst = encode(dst, e)
		}
	case []any:
		dst = etf.AppendList(dst, len(v))
		for _, e := range v {
			dst = encode(dst, e)
		}
		if len(v) > 0 {
			dst = etf.AppendList(dst, 0)
		}
	case etf.Map:
		dst = etf.AppendMap(dst, len(v))
		for _, p := range v {
			dst = encode(encode(dst, p[0]), p[1])
		}
	default:
		panic("no such term")
	}
	return dst
}

func external(term any) []byte { return encode([]byte{etf.Version}, term) }

func compressed(t testing.TB, declared int, plain []byte) []byte {
	t.Helper()
	b := bytes.NewBuffer(binary.BigEndian.AppendUint32([]byte{etf.Version, 80}, uint32(declared)))
	z := zlib.NewWriter(b)
	if _, err := z.Write(plain[1:]); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var op = etf.Atom("$op")

func TestDecodeControlRefuses(t *testing.T) {
	good := func() etf.Map {
		return etf.Map{{op, "actor_init"}, {10, "n@h"}, {11, 5}, {13, "east"}, {14, 1}}
	}
	with := func(m etf.Map, key, value any) etf.Map {
		for i, p := range m {
			if p[0] == key {
				m[i][1] = value
				return m
			}
		}
		return append(m, [2]any{key, value})
	}
	without := func(m etf.Map, key any) etf.Map {
		var left etf.Map
		for _, p := range m {
			if p[0] != key {
				left = append(left, p)
			}
		}
		return left
	}
	routes := func(ops any) etf.Map { return etf.Map{{op, "route"}, {10, "n@h"}, {11, 5}, {12, ops}} }
	ack := func(result, need any) etf.Map {
		return etf.Map{{op, "actor_init_ack"}, {10, "n@h"}, {14, 1}, {15, result}, {16, need}}
	}
	huge := raw{111, 0, 0, 0, 9, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1}
	rejected := etf.Tuple{etf.Atom("error"), "no"}
	tests := []struct {
		name string
		in   []byte
		want error
	}{
		{"good", external(good()), nil},
		{"extra keys", external(with(with(with(good(), 99, 1), "x", 1), etf.Tuple{"k"}, huge)), nil},
		{"a huge integer as extra key", external(append(good(), [2]any{huge, 1})), nil},
		{"a key of another operation, of another shape", external(with(good(), 12, 7)), nil},
		{"empty", nil, ErrUndecodable},
		{"garbage", []byte("not a term"), ErrUndecodable},
		{"cut", external(good())[:30], ErrUndecodable},
		{"list", external([]any{1}), ErrUnknownOp},
		{"cut list", external([]any{1})[:6], ErrUndecodable},
		{"no $op", external(without(good(), op)), ErrUnknownOp},
		{"unknown $op", external(with(good(), op, "actor_exit")), ErrUnknownOp},
		{"$op an atom", external(with(good(), op, etf.Atom("actor_init"))), ErrUnknownOp},
		{"$op as a binary key", external(etf.Map{{"$op", "heartbeat"}, {10, "n@h"}, {11, 5}}), ErrUnknownOp},
		{"no actor", external(without(good(), 10)), ErrMissingKey},
		{"no incarnation", external(without(good(), 11)), ErrMissingKey},
		{"no target", external(without(good(), 13)), ErrMissingKey},
		{"no version", external(without(good(), 14)), ErrMissingKey},
		{"no ops", external(without(routes([]any{}), 12)), ErrMissingKey},
		{"heartbeat without incarnation", external(etf.Map{{op, "heartbeat"}, {10, "n@h"}}), ErrMissingKey},
		{"no result", external(without(ack(etf.Atom("ok"), true), 15)), ErrMissingKey},
		{"no need_bootstrap", external(without(ack(etf.Atom("ok"), true), 16)), ErrMissingKey},
		{"actor twice", external(append(good(), [2]any{10, "m@h"})), ErrUndecodable},
		{"actor twice in two encodings", external(append(good(), [2]any{raw{98, 0, 0, 0, 10}, "m@h"})), ErrUndecodable},
		{"$op twice", external(append(good(), [2]any{op, "route"})), ErrUndecodable},
		{"actor an atom", external(with(good(), 10, etf.Atom("n@h"))), ErrMalformed},
		{"actor empty", external(with(good(), 10, "")), ErrMalformed},
		{"actor not UTF-8", external(with(good(), 10, "\xff")), ErrMalformed},
		{"actor with a wildcard", external(with(good(), 10, "+")), ErrMalformed},
		{"actor with NUL", external(with(good(), 10, "a\x00")), ErrMalformed},
		{"actor too long", external(with(good(), 10, strings.Repeat("a", 65536))), ErrMalformed},
		{"incarnation a float", external(with(good(), 11, raw{70, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0})), ErrMalformed},
		{"incarnation beyond 64 bits", external(with(good(), 11, huge)), ErrMalformed},
		{"target a list", external(with(good(), 13, []any{})), ErrMalformed},
		{"version negative", external(with(good(), 14, -1)), ErrMalformed},
		{"result an unknown atom", external(ack(etf.Atom("maybe"), true)), ErrMalformed},
		{"result another tuple", external(ack(etf.Tuple{etf.Atom("error")}, true)), ErrMalformed},
		{"result a tuple not an error", external(ack(etf.Tuple{etf.Atom("ok"), "x"}, true)), ErrMalformed},
		{"accepted and undefined", external(ack(etf.Atom("ok"), etf.Atom("undefined"))), ErrMalformed},
		{"rejected and false", external(ack(rejected, false)), nil},
		{"rejected and undefined", external(ack(rejected, etf.Atom("undefined"))), nil},
		{"ops not a list", external(routes(etf.Map{})), ErrMalformed},
		{"ops a string", external(routes(raw{107, 0, 2, 1, 2})), ErrMalformed},
		{"ops improper", external(routes(raw{108, 0, 0, 0, 1, 104, 2, 109, 0, 0, 0, 0, 109, 0, 0, 0, 0, 97, 1})), ErrUndecodable},
		{"op a binary", external(routes([]any{"t/a"})), ErrMalformed},
		{"op of three, not a delete", external(routes([]any{etf.Tuple{101, "t/a", "t/a"}})), ErrMalformed},
		{"op of three binaries", external(routes([]any{etf.Tuple{"t/a", "t/a", "t/a"}})), ErrMalformed},
		{"op of one", external(routes([]any{etf.Tuple{"t/a"}})), ErrMalformed},
		{"op of four", external(routes([]any{etf.Tuple{100, "t/a", "t/a", "t/a"}})), ErrMalformed},
		{"op with an atom", external(routes([]any{etf.Tuple{"t/a", etf.Atom("t")}})), ErrMalformed},
		{"second op wrong", external(routes([]any{etf.Tuple{"t/a", "t/a"}, 1})), ErrMalformed},
		{"100 in the wide form", external(routes([]any{etf.Tuple{raw{98, 0, 0, 0, 100}, "t/a", "\xff\x00"}})), nil},
		{"no ops at all", external(routes([]any{})), nil},
		{"too deep", external(with(good(), 99, raw(bytes.Repeat([]byte{104, 1}, 70)))), ErrUndecodable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeControl(tt.in, DefaultLimits(1<<20))
			if !errors.Is(err, tt.want) || (got == nil) != (err != nil) {
				t.Fatalf("got %+v, %v; want %v", got, err, tt.want)
			}
			for _, other := range []error{ErrUndecodable, ErrUnknownOp, ErrMissingKey, ErrMalformed} {
				if other != tt.want && errors.Is(err, other) {
					t.Errorf("is %v as well", other)
				}
			}
		})
	}
	for reason, want := range map[any]string{etf.Atom("why"): "why", "": "unspecified", 7: "unspecified"} {
		got, err := DecodeControl(external(ack(etf.Tuple{etf.Atom("error"), reason}, false)), Limits{})
		if m, ok := got.(ActorInitAck); !ok || m.Error != want || m.NeedBootstrap {
			t.Errorf("rejection %v: %+v, %v", reason, got, err)
		}
	}
}

// record is a good record with the given fields (1 = tag) replaced.
func record(fields map[int]any) []byte {
	rec := etf.Tuple{etf.Atom("message"), exampleID[:], 1, "c1", etf.Map{}, etf.Map{}, "t/a", "hi", 1754550000000, etf.Map{}}
	for i, v := range fields {
		rec[i-1] = v
	}
	return external(rec)
}

func withProps(pairs ...[2]any) map[int]any {
	return map[int]any{6: etf.Map{{etf.Atom("properties"), etf.Map(pairs)}}}
}

func TestDecodeForwardRefuses(t *testing.T) {
	a := func(s string) etf.Atom { return etf.Atom(s) }
	long := strings.Repeat("a", 65536)
	tests := []struct {
		name string
		in   []byte
		want error
	}{
		{"good", record(nil), nil},
		{"bytes behind it", append(record(nil), 1, 2), nil},
		{"empty", nil, ErrUndecodable},
		{"cut", record(nil)[:40], ErrUndecodable},
		{"atom", external(a("message")), ErrMalformed},
		{"eleven", external(etf.Tuple{a("message"), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}), ErrMalformed},
		{"another tag", record(map[int]any{1: a("massage")}), ErrMalformed},
		{"id an integer", record(map[int]any{2: 7}), ErrMalformed},
		{"id of 3 bytes", record(map[int]any{2: "abc"}), nil},
		{"QoS 3", record(map[int]any{3: 3}), ErrMalformed},
		{"QoS -1", record(map[int]any{3: -1}), ErrMalformed},
		{"QoS an atom", record(map[int]any{3: a("one")}), ErrMalformed},
		{"QoS in the wide form", record(map[int]any{3: raw{98, 0, 0, 0, 2}}), nil},
		{"from a list", record(map[int]any{4: []any{}}), ErrMalformed},
		{"flags a list", record(map[int]any{5: []any{}}), ErrMalformed},
		{"flag not a boolean", record(map[int]any{5: etf.Map{{a("retain"), 1}}}), ErrMalformed},
		{"unknown flag", record(map[int]any{5: etf.Map{{a("sys"), true}, {a("other"), 1}, {7, 7}}}), nil},
		{"flag twice", record(map[int]any{5: etf.Map{{a("dup"), true}, {a("dup"), true}}}), ErrUndecodable},
		{"headers a list", record(map[int]any{6: []any{}}), ErrMalformed},
		{"header twice", record(map[int]any{6: etf.Map{{a("username"), "a"}, {a("username"), "b"}}}), ErrUndecodable},
		{"unknown headers", record(map[int]any{6: etf.Map{{a("x"), etf.Tuple{}}, {"y", 1.0 == 1}, {a("pid"),
			raw{88, 119, 1, 'n', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1}}}}), nil},
		{"headers of odd types", record(map[int]any{6: etf.Map{{a("proto_ver"), "5"}, {a("username"), 7},
			{a("peername"), "127.0.0.1"}, {a("peerhost"), etf.Tuple{1, 2, 3}}}}), nil},
		{"properties undefined", record(map[int]any{6: etf.Map{{a("properties"), a("undefined")}}}), nil},
		{"properties a list", record(map[int]any{6: etf.Map{{a("properties"), []any{}}}}), ErrMalformed},
		{"topic a string", record(map[int]any{7: raw{107, 0, 1, 97}}), ErrMalformed},
		{"payload an atom", record(map[int]any{8: a("x")}), ErrMalformed},
		{"payload empty", record(map[int]any{8: ""}), nil},
		{"payload too deep", record(map[int]any{8: raw(bytes.Repeat([]byte{108, 0, 0, 0, 1}, 70))}), ErrUndecodable},
		{"timestamp a binary", record(map[int]any{9: "now"}), ErrMalformed},
		{"timestamp beyond 64 bits", record(map[int]any{9: raw{110, 9, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1}}), ErrMalformed},
		{"extra a list", record(map[int]any{10: []any{}}), ErrMalformed},
		{"extra with anything", record(map[int]any{10: etf.Map{{a("link_origin"), "x"}, {a("trace"), raw{70, 1, 1, 1, 1, 1, 1, 1, 1}}}}), nil},
		{"extra cut", record(map[int]any{10: raw{116, 0, 0, 0, 1, 97}}), ErrUndecodable},
		{"extra too deep", record(map[int]any{10: raw(append([]byte{116, 0, 0, 0, 1, 97, 1}, bytes.Repeat([]byte{104, 1}, 70)...))}), ErrUndecodable},
		{"topic alias", record(withProps([2]any{a("Topic-Alias"), 3}, [2]any{a("Subscription-Identifier"), 1})), nil},
		{"property undefined", record(withProps([2]any{a("Content-Type"), a("undefined")})), nil},
		{"property twice", record(withProps([2]any{a("Content-Type"), "a"}, [2]any{"Content-Type", "b"})), ErrUndecodable},
		{"payload format 2", record(withProps([2]any{a("Payload-Format-Indicator"), 2})), ErrMalformed},
		{"expiry negative", record(withProps([2]any{a("Message-Expiry-Interval"), -1})), ErrMalformed},
		{"expiry too large", record(withProps([2]any{a("Message-Expiry-Interval"), 1 << 32})), ErrMalformed},
		{"largest expiry", record(withProps([2]any{a("Message-Expiry-Interval"), 1<<32 - 1})), nil},
		{"content type not UTF-8", record(withProps([2]any{a("Content-Type"), "\xff"})), ErrMalformed},
		{"content type too long", record(withProps([2]any{a("Content-Type"), long})), ErrMalformed},
		{"content type an integer", record(withProps([2]any{a("Content-Type"), 1})), ErrMalformed},
		{"response topic with a wildcard", record(withProps([2]any{a("Response-Topic"), "a/#"})), ErrMalformed},
		{"response topic empty", record(withProps([2]any{a("Response-Topic"), ""})), nil},
		{"correlation too long", record(withProps([2]any{a("Correlation-Data"), long})), ErrMalformed},
		{"user property not a pair", record(withProps([2]any{a("User-Property"), []any{etf.Tuple{"a"}}})), ErrMalformed},
		{"user property of integers", record(withProps([2]any{a("User-Property"), []any{etf.Tuple{1, 2}}})), ErrMalformed},
		{"user property with NUL", record(withProps([2]any{a("User-Property"), []any{etf.Tuple{"a", "\x00"}}})), ErrMalformed},
		{"user property a map", record(withProps([2]any{a("User-Property"), etf.Map{}})), ErrMalformed},
		{"no user properties", record(withProps([2]any{a("User-Property"), []any{}})), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeForward(tt.in, DefaultLimits(1<<20))
			if !errors.Is(err, tt.want) {
				t.Fatalf("%v; want %v", err, tt.want)
			}
			if err != nil && !reflect.DeepEqual(got, Forward{}) {
				t.Errorf("an error and %+v", got)
			}
			if err == nil && (got.Topic != "t/a" || got.Timestamp != 1754550000000) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestDecodeForwardTopic(t *testing.T) {
	tests := map[string]string{
		"":                                  "is empty",
		"a/+":                               "has a wildcard",
		"#":                                 "has a wildcard",
		"a\x00b":                            "has a NUL",
		"a\xffb":                            "is not UTF-8",
		strings.Repeat("a", 65536):          "is over 65535 bytes",
		strings.Repeat("a", 65535):          "",
		"a//b/":                             "",
		"$SYS/x":                            "",
		"\U0001f980/" + string(rune(65533)): "",
	}
	for topic, want := range tests {
		_, err := DecodeForward(record(map[int]any{7: topic}), Limits{})
		var bad *TopicError
		if errors.As(err, &bad) {
			if bad.Reason != want {
				t.Errorf("%.10q: %s, want %q", topic, bad.Reason, want)
			}
		} else if want != "" || err != nil {
			t.Errorf("%.10q: %v, want %q", topic, err, want)
		}
	}
}

func TestDecodeForwardHeaders(t *testing.T) {
	six := etf.Tuple{0x2001, 0xdb8, 0, 0, 0, 0, 0, 1}
	tests := map[string]etf.Map{
		"[2001:db8::1]:1883": {{etf.Atom("peername"), etf.Tuple{six, 1883}}, {etf.Atom("peerhost"), etf.Tuple{9, 9, 9, 9}}},
		"9.9.9.9:0":          {{etf.Atom("peerhost"), etf.Tuple{9, 9, 9, 9}}},
		"[2001:db8::1]:0":    {{etf.Atom("peerhost"), six}, {etf.Atom("peername"), etf.Atom("undefined")}},
		"invalid AddrPort":   {{etf.Atom("peerhost"), etf.Tuple{256, 9, 9, 9}}, {etf.Atom("peername"), etf.Tuple{six, 65536}}},
	}
	for want, headers := range tests {
		m, err := DecodeForward(record(map[int]any{6: headers}), Limits{})
		if err != nil || m.PeerHost.String() != want {
			t.Errorf("got %v, %v; want %s", m.PeerHost, err, want)
		}
	}
	mapped := Forward{Topic: "t", PeerHost: netip.MustParseAddrPort("[::ffff:1.2.3.4]:5")}
	if m, err := DecodeForward(mapped.Append(nil), Limits{}); err != nil || m.PeerHost.String() != "1.2.3.4:5" {
		t.Errorf("IPv4 in IPv6: %v, %v", m.PeerHost, err)
	}
	sys := record(map[int]any{5: etf.Map{{etf.Atom("sys"), true}}, 4: raw{100, 0, 2, 0xfc, 'b'}})
	if m, err := DecodeForward(sys, Limits{}); err != nil || !m.Sys || m.From != "üb" {
		t.Errorf("sys flag and Latin-1 name: %+v, %v", m, err)
	}
}

func TestOddIDs(t *testing.T) {
	decode := func(fields map[int]any) [16]byte {
		t.Helper()
		m, err := DecodeForward(record(fields), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return m.ID
	}
	one := decode(map[int]any{2: "abc"})
	if again := decode(map[int]any{2: "abc"}); again != one {
		t.Error("the same record has another id when it comes again")
	}
	if other := decode(map[int]any{2: "abc", 8: "ho"}); other == one {
		t.Error("two records have one id")
	}
	plain := record(map[int]any{2: "abc"})
	if m, err := DecodeForward(compressed(t, len(plain)-1, plain), Limits{}); err != nil || m.ID != one {
		t.Errorf("compressed it has another id: %v", err)
	}
}

func TestPayloadIsNotCopied(t *testing.T) {
	in := record(nil)
	m, err := DecodeForward(in, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	in[bytes.LastIndex(in, []byte("hi"))] = 'H'
	if string(m.Payload) != "Hi" || cap(m.Payload) != 2 {
		t.Errorf("payload %q of capacity %d is not that of the input", m.Payload, cap(m.Payload))
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestBombs(t *testing.T) {
	zeros := make([]byte, 4<<20)
	list := append([]byte{108}, 0xff, 0xff, 0xff, 0xff)
	ops := etf.Map{{op, "route"}, {10, "n@h"}, {11, 5}, {12, raw(list)}}
	manyEmpty := raw(append([]byte{108, 0, 15, 0x42, 0x40}, bytes.Repeat([]byte{106}, 1000001)...))
	tests := map[string][]byte{
		"zeros":                     compressed(t, len(zeros)-1, zeros),
		"zeros declared as less":    compressed(t, 1000, zeros),
		"declared beyond expansion": compressed(t, 1<<20, record(nil)),
		"list of 4 G ops":           external(ops),
		"a million empty ops":       external(etf.Map{{op, "route"}, {10, "n@h"}, {11, 5}, {12, manyEmpty}}),
		"user properties of 4 G":    record(withProps([2]any{etf.Atom("User-Property"), raw(list)})),
		"a million empty user properties": record(withProps([2]any{etf.Atom("User-Property"),
			manyEmpty})),
		"headers of 4 G":    record(map[int]any{6: raw{116, 0xff, 0xff, 0xff, 0xff}}),
		"payload of 4 GiB":  record(map[int]any{8: raw{109, 0xff, 0xff, 0xff, 0xff}}),
		"lists in lists":    record(map[int]any{8: raw(bytes.Repeat([]byte{108, 0, 0, 0xff, 0xff}, 60000))}),
		"maps in maps":      record(map[int]any{10: raw(bytes.Repeat([]byte{116, 0, 0, 0xff, 0xff}, 60000))}),
		"over the packet":   make([]byte, 3<<20),
		"tuples in tuples":  external(raw(bytes.Repeat([]byte{104, 1}, 500000))),
		"bignum of 4 GiB":   record(map[int]any{9: raw{111, 0xff, 0xff, 0xff, 0xff, 0}}),
		"large tuple":       external(raw{105, 0, 0xff, 0xff, 0xff}),
		"compressed within": external(etf.Tuple{raw(compressed(t, 1<<20, zeros)[1:])}),
	}
	// A pending list of properties may have memory set aside in proportion to
	// the packet, not to what its count says.
	const bound = 4 << 20
	lim := DefaultLimits(2 << 20)
	lim.Control = 2 << 20
	for name, in := range tests {
		t.Run(name, func(t *testing.T) {
			var control, forward error
			if n := allocated(func() { _, control = DecodeControl(in, lim) }); n > bound || control == nil {
				t.Errorf("control: %d bytes allocated, %v", n, control)
			}
			if n := allocated(func() { _, forward = DecodeForward(in, lim) }); n > bound || forward == nil {
				t.Errorf("record: %d bytes allocated, %v", n, forward)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	m := exampleForward()
	m.Payload = bytes.Repeat([]byte("a"), 5000)
	plain := m.Append(nil)
	packed := compressed(t, len(plain)-1, plain)
	lim := DefaultLimits(1000)
	lim.Record = 4000
	if _, err := DecodeForward(packed, lim); !errors.Is(err, ErrUndecodable) {
		t.Errorf("record inflates beyond the limit: %v", err)
	}
	if _, err := DecodeForward(plain, lim); !errors.Is(err, ErrUndecodable) {
		t.Errorf("packet beyond the limit: %v", err)
	}
	if got, err := DecodeForward(packed, DefaultLimits(1000)); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("a record may inflate to 64 KiB more than a packet: %v", err)
	}
	two := Routes{Actor: "n@h", Ops: []RouteOp{{Filter: "a", ID: "a"}, {Filter: "b", ID: "b"}}}.Append(nil)
	if _, err := DecodeControl(two, Limits{Ops: 1}); !errors.Is(err, ErrUndecodable) {
		t.Errorf("operations beyond the limit: %v", err)
	}
	if _, err := DecodeControl(two, Limits{Ops: 2}); err != nil {
		t.Errorf("operations at the limit: %v", err)
	}
}
