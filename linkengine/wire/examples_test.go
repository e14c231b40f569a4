package wire

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// The worked examples of section 14.
const (
	e1 = `83 74 00 00 00 05
		61 0a 6d 00 00 00 08 63 6c 69 6e 6b 40 6e 31
		61 0b 6e 06 00 80 59 54 83 98 01
		61 0d 6d 00 00 00 04 65 61 73 74
		61 0e 61 01
		77 03 24 6f 70 6d 00 00 00 0a 61 63 74 6f 72 5f 69 6e 69 74`
	e2 = `83 74 00 00 00 05
		61 0a 6d 00 00 00 08 63 6c 69 6e 6b 40 6e 31
		61 0e 61 01
		61 0f 77 02 6f 6b
		61 10 77 04 74 72 75 65
		77 03 24 6f 70 6d 00 00 00 0e 61 63 74 6f 72 5f 69 6e 69 74 5f 61 63 6b`
	e3 = `83 74 00 00 00 05
		61 0a 6d 00 00 00 08 63 6c 69 6e 6b 40 6e 31
		61 0e 61 01
		61 0f 68 02 77 05 65 72 72 6f 72 6d 00 00 00 0f 75 6e 6b 6e 6f 77 6e 5f 63 6c 75 73 74 65 72
		61 10 77 09 75 6e 64 65 66 69 6e 65 64
		77 03 24 6f 70 6d 00 00 00 0e 61 63 74 6f 72 5f 69 6e 69 74 5f 61 63 6b`
	e4 = `83 74 00 00 00 04
		61 0a 6d 00 00 00 08 63 6c 69 6e 6b 40 6e 31
		61 0b 6e 06 00 80 59 54 83 98 01
		61 0c 6c 00 00 00 02
		68 02 6d 00 00 00 03 74 2f 61 6d 00 00 00 03 74 2f 23
		68 03 61 64 6d 00 00 00 03 74 2f 62 6d 00 00 00 08 24 73 2f 67 2f 74 2f 62
		6a
		77 03 24 6f 70 6d 00 00 00 05 72 6f 75 74 65`
	e5 = `83 74 00 00 00 03
		61 0a 6d 00 00 00 08 63 6c 69 6e 6b 40 6e 31
		61 0b 6e 06 00 80 59 54 83 98 01
		77 03 24 6f 70 6d 00 00 00 09 68 65 61 72 74 62 65 61 74`
	e6 = `83 68 0a 77 07 6d 65 73 73 61 67 65
		6d 00 00 00 10 00 06 3b c0 a1 b2 c3 d4 f0 01 00 00 00 01 00 07
		61 01
		6d 00 00 00 02 63 31
		74 00 00 00 02 77 03 64 75 70 77 05 66 61 6c 73 65 77 06 72 65 74 61 69 6e 77 05 66 61 6c 73 65
		74 00 00 00 07
		77 0c 63 6c 69 65 6e 74 5f 61 74 74 72 73 74 00 00 00 00
		77 08 70 65 65 72 68 6f 73 74 68 04 61 7f 61 00 61 00 61 01
		77 08 70 65 65 72 6e 61 6d 65 68 02 68 04 61 7f 61 00 61 00 61 01 62 00 00 c3 50
		77 0a 70 72 6f 70 65 72 74 69 65 73 74 00 00 00 00
		77 09 70 72 6f 74 6f 5f 76 65 72 61 05
		77 08 70 72 6f 74 6f 63 6f 6c 77 04 6d 71 74 74
		77 08 75 73 65 72 6e 61 6d 65 77 09 75 6e 64 65 66 69 6e 65 64
		6d 00 00 00 03 74 2f 61
		6d 00 00 00 02 68 69
		6e 06 00 80 59 54 83 98 01
		74 00 00 00 00`
	e7 = `83 68 0a 77 07 6d 65 73 73 61 67 65 6d 00 00 00 10 00 06 3b c0 a1 b2 c3 d4 f0 01 00 00 00 01 00 07
		61 00 6d 00 00 00 02 63 31 74 00 00 00 00 74 00 00 00 00 6d 00 00 00 03 74 2f 61 6d 00 00 00 02 68 69
		6e 06 00 80 59 54 83 98 01 74 00 00 00 00`
	e8 = `83 50 00 00 00 8b 78 9c 2b 61 60 60 60 49 e4 ca 05 52 1c c9 39 99 79 d9 0e 79 86 89 dc 89 8c 89 3c 39 40
		21 c6 0c 26 90 8c 46 22 91 80 24 c5 59 e5 cc 2a f9 05 20 2d ac 45 f9 a5 25 a9 00 8f c2 2a 5d`
	// Without the version byte: this one is part of a record.
	e9 = `77 0a 70 72 6f 70 65 72 74 69 65 73 74 00 00 00 03
		77 0c 43 6f 6e 74 65 6e 74 2d 54 79 70 65 6d 00 00 00 0a 74 65 78 74 2f 70 6c 61 69 6e
		77 17 4d 65 73 73 61 67 65 2d 45 78 70 69 72 79 2d 49 6e 74 65 72 76 61 6c 61 3c
		77 0d 55 73 65 72 2d 50 72 6f 70 65 72 74 79 6c 00 00 00 01 68 02 6d 00 00 00 01 6b 6d 00 00 00 01 76 6a`
)

const (
	exampleActor       = "clink@n1"
	exampleIncarnation = 1754550000000
)

var exampleID = [16]byte{0, 6, 0x3b, 0xc0, 0xa1, 0xb2, 0xc3, 0xd4, 0xf0, 1, 0, 0, 0, 1, 0, 7}

func exampleForward() Forward {
	return Forward{ID: exampleID, QoS: 1, From: "c1", PeerHost: netip.MustParseAddrPort("127.0.0.1:50000"),
		ProtoVersion: 5, Topic: "t/a", Payload: []byte("hi"), Timestamp: exampleIncarnation}
}

func TestWorkedControl(t *testing.T) {
	tests := []struct {
		name, hex string
		want      any
	}{
		{"E1", e1, ActorInit{Actor: exampleActor, Incarnation: exampleIncarnation, Target: "east", Version: 1}},
		{"E2", e2, ActorInitAck{Actor: exampleActor, Version: 1, NeedBootstrap: true}},
		{"E3", e3, ActorInitAck{Actor: exampleActor, Version: 1, Error: UnknownCluster}},
		{"E4", e4, Routes{Actor: exampleActor, Incarnation: exampleIncarnation, Ops: []RouteOp{
			{Filter: "t/a", ID: "t/#"}, {Delete: true, Filter: "t/b", ID: ShareID("g", "t/b")}}}},
		{"E5", e5, Heartbeat{Actor: exampleActor, Incarnation: exampleIncarnation}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := fromHex(t, tt.hex)
			if out := appendControl(tt.want); !bytes.Equal(out, in) {
				t.Errorf("encoded:\n% x\nwant\n% x", out, in)
			}
			got, err := DecodeControl(in, Limits{})
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("decoded: %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
	if got := (ActorInit{Actor: exampleActor, Incarnation: exampleIncarnation, Target: "east"}).Append(nil); !bytes.Equal(got, fromHex(t, e1)) {
		t.Errorf("version zero is not written as one: % x", got)
	}
}

func TestWorkedForward(t *testing.T) {
	want := exampleForward()
	if out := want.Append(nil); !bytes.Equal(out, fromHex(t, e6)) {
		t.Errorf("E6 encoded:\n% x\nwant\n% x", out, fromHex(t, e6))
	}
	if got, err := DecodeForward(fromHex(t, e6), Limits{}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("E6 decoded: %+v, %v; want %+v", got, err, want)
	}

	smallest := Forward{ID: exampleID, From: "c1", Topic: "t/a", Payload: []byte("hi"), Timestamp: exampleIncarnation}
	if got, err := DecodeForward(fromHex(t, e7), Limits{}); err != nil || !reflect.DeepEqual(got, smallest) {
		t.Errorf("E7 decoded: %+v, %v; want %+v", got, err, smallest)
	}

	want.Properties = Properties{HasMessageExpiry: true, MessageExpiry: 60, ContentType: "text/plain", User: []UserProperty{{"k", "v"}}}
	out := want.Append(nil)
	if !bytes.Contains(out, fromHex(t, e9)) {
		t.Errorf("E9 is not part of\n% x", out)
	}
	if got, err := DecodeForward(out, Limits{}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("E9 decoded: %+v, %v; want %+v", got, err, want)
	}
}

func TestWorkedCompressed(t *testing.T) {
	long := strings.Repeat("a", 40)
	want := Routes{Actor: exampleActor, Incarnation: 1, Ops: []RouteOp{{Filter: long, ID: long}}}
	for _, lim := range []Limits{{}, DefaultLimits(0)} {
		if got, err := DecodeControl(fromHex(t, e8), lim); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("E8 decoded: %+v, %v; want %+v", got, err, want)
		}
	}
}

func TestClientID(t *testing.T) {
	tests := []struct {
		prefix, kind, node string
		n                  int
		want               string
	}{
		{"east", "routesync", "emqx@127.0.0.1", 0, "east:routesync:2bd61c44"},
		{"clink-us-", "msg", "clink@site-a", 8, "clink-us-:msg:a4885806:8"},
	}
	for _, tt := range tests {
		if got := ClientID(tt.prefix, tt.kind, tt.node, tt.n); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestParseTopic(t *testing.T) {
	type parsed struct {
		kind           Kind
		cluster, actor string
		ok             bool
	}
	tests := map[string]parsed{
		"$LINK/cluster/route/east":              {Route, "east", "", true},
		"$LINK/cluster/route/a/b":               {Route, "a/b", "", true},
		"$LINK/cluster/msg/east":                {Msg, "east", "", true},
		"$LINK/cluster/resp/east/n@h":           {Resp, "east", "n@h", true},
		"$LINK/cluster/resp/a/b/n@h":            {Resp, "a/b", "n@h", true},
		"$LINK/cluster/route/":                  {Route, "", "", false},
		"$LINK/cluster/msg/":                    {Msg, "", "", false},
		"$LINK/cluster/resp/":                   {Resp, "", "", false},
		"$LINK/cluster/resp/east":               {Resp, "", "", false},
		"$LINK/cluster/resp/east/":              {Resp, "", "", false},
		"$LINK/cluster/resp//n@h":               {Resp, "", "", false},
		"$LINK/cluster/route":                   {},
		"$LINK/cluster/other/east":              {},
		"$link/cluster/route/east":              {},
		"x/$LINK/cluster/route/east":            {},
		"":                                      {},
		"$LINK/cluster/routes/a":                {},
		"$share/g/$LINK/cluster/route/east/all": {},
	}
	for topic, want := range tests {
		kind, cluster, actor, ok := ParseTopic(topic)
		if got := (parsed{kind, cluster, actor, ok}); got != want {
			t.Errorf("%q: got %+v, want %+v", topic, got, want)
		}
	}
}
