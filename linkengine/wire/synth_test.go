package wire

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// TestSynthRecords gives DecodeForward what was published to an EMQX 5.8.9
// node by hand. Delivered tells whether a subscriber there got it. Where want
// differs from that, why says so.
func TestSynthRecords(t *testing.T) {
	notRecord := ErrMalformed
	tests := []struct {
		name      string
		delivered bool
		want      error
		why       string
		topic     string
		size      int
	}{
		{name: "synth_01_full", delivered: true, topic: "u/s/full", size: 2},
		{name: "synth_02_compressed", delivered: true, topic: "u/s/compressed", size: 4000},
		{name: "synth_03_minimal_maps", delivered: true, topic: "u/s/minimal", size: 2},
		{name: "synth_04_emptyid", delivered: true, topic: "u/s/emptyid", size: 2},
		{name: "synth_05_latin1_atoms", delivered: true, topic: "u/s/minor1", size: 2},
		{name: "synth_06_unknown_atom", topic: "u/s/unknownatom", size: 1,
			why: "EMQX refuses atoms that its node does not know, to keep its atom table small; here an atom is a string, and a header that nobody reads is no reason to lose a message"},
		{name: "synth_07_garbage", want: ErrUndecodable},
		{name: "synth_08_topic_not_in_link", topic: "zz/notcovered", size: 2,
			why: "the record is right; that its topic is not one the link asks for is for the engine to find"},
		{name: "synth_09_binary_prop_keys", delivered: true, topic: "u/s/binprops", size: 2},
		{name: "synth_10_extra_empty_list", want: notRecord},
		{name: "synth_11_nine_tuple", want: notRecord},
		{name: "synth_12_user_prop_no_headers_props", delivered: true, topic: "u/s/props", size: 2},
		{name: "synth_13_other_term", want: notRecord},
		{name: "synth_14_from_atom", delivered: true, topic: "u/s/fromatom", size: 2},
		{name: "synth_15_retain_flag", delivered: true, topic: "u/s/retain", size: 8},
		{name: "synth_16_iolist_payload", delivered: true, topic: "u/s/iolist", size: 2},
		{name: "synth_17_string_topic", want: notRecord},
		{name: "synth_18_link_origin_set", delivered: true, topic: "u/s/origin", size: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.delivered != (tt.want == nil) && tt.why == "" {
				t.Fatal("differs from EMQX and does not say why")
			}
			got, err := DecodeForward(payload(t, "emqx-5.8.9/"+tt.name), DefaultLimits(1<<20))
			if !errors.Is(err, tt.want) {
				t.Fatalf("%v; want %v", err, tt.want)
			}
			if got.Topic != tt.topic || len(got.Payload) != tt.size {
				t.Fatalf("got %q with %d bytes, want %q with %d", got.Topic, len(got.Payload), tt.topic, tt.size)
			}
		})
	}
}

// TestSynthDetails looks at what makes each of those records special.
func TestSynthDetails(t *testing.T) {
	decode := func(name string) Forward {
		t.Helper()
		m, err := DecodeForward(payload(t, "emqx-5.8.9/"+name), Limits{})
		if err != nil {
			t.Fatal(name, err)
		}
		return m
	}
	full := decode("synth_01_full")
	if full.From != "synth" || full.QoS != 1 || full.ProtoVersion != 5 || full.PeerHost.String() != "127.0.0.1:1234" {
		t.Errorf("full: %+v", full)
	}
	if empty := decode("synth_04_emptyid"); empty.ID == [16]byte{} || empty.ID != decode("synth_04_emptyid").ID || empty.ID == full.ID {
		t.Errorf("empty id became %x", empty.ID)
	}
	// EMQX delivers this one without the property, whose name it knows as an
	// atom only.
	if m := decode("synth_09_binary_prop_keys"); m.Properties.ContentType != "x" {
		t.Errorf("binary property names: %+v", m.Properties)
	}
	want := Properties{HasMessageExpiry: true, MessageExpiry: 30, User: []UserProperty{{"a", "b"}}}
	if m := decode("synth_12_user_prop_no_headers_props"); !reflect.DeepEqual(m.Properties, want) || m.QoS != 0 {
		t.Errorf("properties: %+v", m)
	}
	if m := decode("synth_14_from_atom"); m.From != "cluster" {
		t.Errorf("from: %q", m.From)
	}
	if m := decode("synth_15_retain_flag"); !m.Retain || m.Dup {
		t.Errorf("flags: %+v", m)
	}
	if m := decode("synth_16_iolist_payload"); string(m.Payload) != "ab" {
		t.Errorf("iolist: %q", m.Payload)
	}
	if m := decode("synth_02_compressed"); strings.Trim(string(m.Payload), string(m.Payload[:1])) != "" {
		t.Errorf("compressed: %.20q", m.Payload)
	}
}

// TestSynthControl does the same for control payloads. What EMQX objected to in
// the first four was the conversation, not the payload.
func TestSynthControl(t *testing.T) {
	tests := []struct {
		name string
		want any
		err  error
	}{
		{"synth_r1_heartbeat_without_init", Heartbeat{Actor: "X@h", Incarnation: 1}, nil},
		{"synth_r2_route_without_init", Routes{Actor: "X@h", Incarnation: 1, Ops: []RouteOp{{Filter: "u/1", ID: "u/1"}}}, nil},
		{"synth_r3_init_no_resp_topic", ActorInit{Actor: "X@h", Incarnation: 1, Target: "clA", Version: 1}, nil},
		{"synth_r4_init_proto2", ActorInit{Actor: "X@h", Incarnation: 1, Target: "clA", Version: 2}, nil},
		{"synth_r5_unknown_op", nil, ErrUnknownOp},
	}
	for _, tt := range tests {
		got, err := DecodeControl(payload(t, "emqx-5.8.9/"+tt.name), Limits{})
		if !errors.Is(err, tt.err) || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %+v, %v; want %+v, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
}
